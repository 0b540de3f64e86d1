//! Runs somebody's command beside the hub: an Azure user's test suite, say. Its signals and its exit status pass through.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// The command can't be run.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Nothing to run.
    #[error("there is no command after --")]
    Empty,
    /// It could not be started.
    #[error("{} can't be started", .program.display())]
    Start {
        /// What.
        program: OsString,
        /// Why.
        source: io::Error,
    },
    /// It runs, but can't be watched.
    #[error("the command can't be waited for")]
    Watch(#[source] io::Error),
}

/// Runs `words` with these variables set, until it ends. The answer is what a shell would make of its end: its exit status, or 128 and
/// the signal that ended it.
pub async fn run(words: &[OsString], variables: &[(&str, OsString)]) -> Result<u8, CommandError> {
    let (program, arguments) = words.split_first().ok_or(CommandError::Empty)?;
    let mut command = Command::new(program);
    command.args(arguments).envs(variables.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
    let child = command.spawn().map_err(|source| CommandError::Start { program: program.clone(), source })?;
    watch(child).await.map_err(CommandError::Watch)
}

async fn watch(mut child: Child) -> io::Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    // A terminal sends Ctrl-C to both of us; a second one would make many programs give up without cleaning up.
    let interrupted_by_terminal = io::stdin().is_terminal();
    loop {
        tokio::select! {
            status = child.wait() => return status.map(exit_code),
            _ = interrupt.recv() => if !interrupted_by_terminal { forward(&child, Signal::INT) },
            _ = terminate.recv() => forward(&child, Signal::TERM),
            _ = hangup.recv() => forward(&child, Signal::HUP),
        }
    }
}

fn forward(child: &Child, signal: Signal) {
    // Without an id it has ended, and its status is about to be seen.
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id
        && let Err(error) = kill_process(id, signal)
    {
        tracing::warn!(%error, "a signal could not be passed on to the command: {error}");
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code & 0xFF).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str) -> u8 {
        run(&["sh".into(), "-c".into(), script.into()], &[("GREETING", "hello".into())]).await.unwrap()
    }

    #[tokio::test]
    async fn the_exit_status_is_the_commands() {
        assert_eq!(shell("exit 0").await, 0);
        assert_eq!(shell("exit 42").await, 42);
        assert_eq!(shell("kill -KILL $$").await, 137);
        assert_eq!(shell("test \"$GREETING\" = hello").await, 0);
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_named() {
        let error = run(&["/nonexistent/program".into()], &[]).await.unwrap_err().to_string();
        assert_eq!(error, "/nonexistent/program can't be started");
        assert!(matches!(run(&[], &[]).await, Err(CommandError::Empty)));
    }
}
