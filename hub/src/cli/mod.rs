//! What a person types: arguments in, words and an exit status out.
//!
//! Owns the arguments' names and the words for what went wrong. What a command does is done by `serve`, or by a hub over its API.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod dev;
mod serve;

/// A self-hosted IoT hub that speaks Azure IoT Hub's wire protocols.
#[derive(Parser)]
#[command(name = "mooring-hub", version, about, max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Dev(dev::Arguments),
    Serve(serve::Arguments),
}

/// Runs what the process was started for.
#[must_use]
pub fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Dev(arguments) => dev::run(arguments),
        Command::Serve(arguments) => serve::run(&arguments),
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

/// Tokio, with a thread per core.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
