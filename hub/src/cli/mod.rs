//! What a person types: arguments in, words and an exit status out.
//!
//! Owns the arguments' names and the words for what went wrong. What a command does is done by `serve`, or by a hub over its API.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod client;
mod command;
mod connection_string;
mod dev;
mod device;
mod duration;
mod events;
mod feedback;
mod password_hash;
mod serve;
mod simulate;
mod token;
mod watch;

/// A self-hosted IoT hub that speaks Azure IoT Hub's wire protocols.
#[derive(Parser)]
#[command(name = "mooring-hub", version, about, max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Dev(dev::Arguments),
    Serve(serve::Arguments),
    Device(device::DeviceCommand),
    Token(token::TokenCommand),
    Events(events::EventsCommand),
    Watch(watch::WatchCommand),
    Command(command::CommandCommand),
    Feedback(feedback::FeedbackCommand),
    Simulate(simulate::SimulateCommand),
    PasswordHash(password_hash::PasswordHashCommand),
}

/// Runs what the process was started for.
#[must_use]
pub fn run() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Dev(arguments) => dev::run(arguments),
        Verb::Serve(arguments) => serve::run(arguments),
        Verb::Device(command) => talk(command.run()),
        Verb::Token(command) => talk(command.run()),
        Verb::Events(command) => talk(command.run()),
        Verb::Watch(command) => talk(command.run()),
        Verb::Command(command) => runtime().and_then(|runtime| runtime.block_on(command.run())),
        Verb::Feedback(command) => talk(command.run()),
        Verb::PasswordHash(command) => command.run().map(|()| ExitCode::SUCCESS),
        Verb::Simulate(command) => runtime().and_then(|runtime| runtime.block_on(command.run())),
    };
    outcome.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::FAILURE
    })
}

/// Says on standard error what went wrong, and why, cause by cause.
#[expect(clippy::print_stderr, reason = "the last word of a command is for the person who typed it")]
fn complain(error: &anyhow::Error) {
    eprintln!("mooring-hub: {error:#}");
}

/// Runs a command that talks to a hub.
fn talk(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(command).map(|()| ExitCode::SUCCESS)
}

/// Tokio, with a thread per core.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
