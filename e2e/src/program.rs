//! Programs that others wrote, or that use what others wrote: SDK scripts, mosquitto's clients, curl. One program is one actor in a story.
//!
//! A script prints one JSON document a line on standard output; what it prints on standard error is shown when the story fails.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::hub::Ready;
use crate::patience::within;

/// A program about to be started.
pub struct Program {
    name: String,
    command: Command,
    own_group: bool,
}

/// A process group that does not outlive the story.
struct Group(Option<Pid>);

impl Group {
    /// The group that a program leads, when it was started in its own.
    fn of(child: &Child, own_group: bool) -> Self {
        Self(child.id().filter(|_| own_group).and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Mostly nobody is left.
            let _ = killpg(leader, Signal::SIGKILL);
        }
    }
}

/// What a program that has ended left behind.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Program {
    /// Any program on the PATH.
    #[must_use]
    pub fn named(program: &str) -> Self {
        Self { name: program.to_owned(), command: Command::new(program), own_group: false }
    }

    /// A script of `e2e/python`, in the virtual environment with the pinned SDKs, trusting the hub's CA.
    ///
    /// # Errors
    /// When there is no such environment.
    pub fn python(script: &str, hub: &Ready) -> Result<Self> {
        let python = std::env::var_os("MOORING_PYTHON").context("MOORING_PYTHON is not set: run the rings by `make test` or `make e2e`")?;
        let mut command = Command::new(python);
        command.arg(here("python").join(script)).env("SSL_CERT_FILE", hub.ca_file()).env("REQUESTS_CA_BUNDLE", hub.ca_file());
        command.env("PYTHONUNBUFFERED", "1");
        Ok(Self { name: script.to_owned(), command, own_group: false })
    }

    /// A script of `e2e/node`, with the pinned SDKs, trusting the hub's CA.
    ///
    /// # Errors
    /// When they are not installed.
    pub fn node(script: &str, hub: &Ready) -> Result<Self> {
        let modules =
            std::env::var_os("MOORING_NODE_PATH").context("MOORING_NODE_PATH is not set: run the rings by `make test` or `make e2e`")?;
        let mut command = Command::new("node");
        command.arg(here("node").join(script)).env("NODE_PATH", modules).env("NODE_EXTRA_CA_CERTS", hub.ca_file());
        Ok(Self { name: script.to_owned(), command, own_group: false })
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn args<A: AsRef<std::ffi::OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Without a variable that this process has.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// As a terminal starts it: a signal for it reaches what it starts, too, and none of that outlives the story.
    #[must_use]
    pub fn in_its_own_group(mut self) -> Self {
        self.command.process_group(0);
        self.own_group = true;
        self
    }

    /// Runs it to its end, however it ends.
    ///
    /// # Errors
    /// When it can't be started or does not end.
    pub async fn outcome(mut self) -> Result<Outcome> {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = self.command.spawn().with_context(|| format!("no {}", self.name))?;
        let _group = Group::of(&child, self.own_group);
        let output = within(&format!("the end of {}", self.name), child.wait_with_output()).await??;
        Ok(Outcome { status: output.status, stdout: output.stdout, stderr: String::from_utf8_lossy(&output.stderr).into_owned() })
    }

    /// Runs it to its end, which must be a good one, and answers the bytes it printed.
    ///
    /// # Errors
    /// When it fails, with what it said on standard error.
    pub async fn output(self) -> Result<Vec<u8>> {
        let name = self.name.clone();
        let outcome = self.outcome().await?;
        let printed = String::from_utf8_lossy(&outcome.stdout);
        ensure!(outcome.status.success(), "{name}: {}\n{}{printed}", outcome.status, outcome.stderr);
        Ok(outcome.stdout)
    }

    /// Runs it to its end, which must be a good one, and answers the JSON documents it printed, one a line.
    ///
    /// # Errors
    /// When it fails, or prints something else.
    pub async fn story(self) -> Result<Vec<Value>> {
        let name = self.name.clone();
        let printed = String::from_utf8(self.output().await?)?;
        printed.lines().map(|line| serde_json::from_str(line).with_context(|| format!("{name} printed {line}"))).collect()
    }

    /// Starts it, to be talked with.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(mut self) -> Result<Actor> {
        let said = NamedTempFile::new()?;
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(said.reopen()?).kill_on_drop(true);
        let mut child = self.command.spawn().with_context(|| format!("no {}", self.name))?;
        let group = Group::of(&child, self.own_group);
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        Ok(Actor { name: self.name, child, stdin, lines, said, group })
    }
}

/// A program that runs beside the story: told things line by line, and listened to.
pub struct Actor {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    said: NamedTempFile,
    group: Group,
}

impl Actor {
    /// Its next line; `None` when it has said all.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn line(&mut self) -> Result<Option<String>> {
        let waited = within(&format!("a word from {}", self.name), self.lines.next_line()).await;
        Ok(waited.with_context(|| self.standard_error())??)
    }

    /// Its next line, which must be a JSON document.
    ///
    /// # Errors
    /// When none comes, or something else.
    pub async fn next(&mut self) -> Result<Value> {
        let line = self.line().await?.with_context(|| format!("{} ended\n{}", self.name, self.standard_error()))?;
        serde_json::from_str(&line).with_context(|| format!("{} printed {line}", self.name))
    }

    /// Listens until it reports `event`, passing over anything else; answers that document.
    ///
    /// # Errors
    /// When it ends or falls silent first.
    pub async fn until(&mut self, event: &str) -> Result<Value> {
        loop {
            let document = self.next().await.with_context(|| format!("waiting for {event:?}"))?;
            if document["event"] == event {
                return Ok(document);
            }
        }
    }

    /// Tells it a line.
    ///
    /// # Errors
    /// When it no longer listens.
    pub async fn tell(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("it was told that no more is coming")?;
        stdin.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(stdin.flush().await?)
    }

    /// Tells it that no more is coming, and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn end(&mut self) -> Result<ExitStatus> {
        self.stdin = None;
        Ok(within(&format!("the end of {}", self.name), self.child.wait()).await??)
    }

    /// SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// When it can't be killed.
    pub async fn kill9(&mut self) -> Result<()> {
        Ok(within(&format!("the end of {}, which was killed", self.name), self.child.kill()).await??)
    }

    /// Whether it is still there.
    ///
    /// # Errors
    /// When it has ended, with what it said on standard error.
    pub fn still_runs(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "{} ended: {ended:?}\n{}", self.name, self.standard_error());
        Ok(())
    }

    /// Ctrl-C, for a program in its own group: it and everything that it started hear it.
    ///
    /// # Errors
    /// When nobody is left, or it has no group of its own.
    pub fn interrupt(&self) -> Result<()> {
        Ok(killpg(self.group.0.context("it was not started in its own group")?, Signal::SIGINT)?)
    }

    /// SIGHUP, at which a server looks at its files.
    ///
    /// # Errors
    /// When it has ended.
    pub fn hang_up(&self) -> Result<()> {
        let id = self.child.id().context("it has ended")?;
        Ok(kill(Pid::from_raw(i32::try_from(id)?), Signal::SIGHUP)?)
    }

    /// What it has said on standard error.
    #[must_use]
    pub fn standard_error(&self) -> String {
        std::fs::read_to_string(self.said.path()).unwrap_or_default()
    }
}

/// A folder beside this crate's manifest.
#[must_use]
pub fn here(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}
