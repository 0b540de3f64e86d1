//! The real binary, started in a story's namespaces, killed when the story lets go of it, its log at hand when the story fails.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};

use crate::connection_string::ConnectionString;
use crate::namespace::HUB;
use crate::patience::within;

/// How much of a log a failed story shows.
const LAST_WORDS_BYTES: usize = 8 * 1024;

thread_local! {
    /// What the story's hubs and operators logged last; a story has a thread of its own.
    static LAST_WORDS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// The binary under test.
///
/// # Errors
/// When nobody said where it is.
pub fn binary() -> Result<PathBuf> {
    let path = std::env::var_os("MOORING_HUB_BIN").context("MOORING_HUB_BIN is not set: run the rings by `make test` or `make e2e`")?;
    let path = PathBuf::from(path);
    ensure!(path.is_file(), "MOORING_HUB_BIN={} is not there", path.display());
    Ok(path)
}

/// How a hub is reached, and with what: what `mooring-hub dev --output json` says when it is ready, or a story that has started one otherwise.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// The hub's own name.
    pub host_name: String,
    /// Where its CA is.
    pub ca_file: PathBuf,
    /// Where it listens.
    pub endpoints: Endpoints,
    /// Where a person signs in to the dashboard, once.
    #[serde(default)]
    pub dashboard: Option<String>,
    /// By policy.
    pub connection_strings: BTreeMap<String, String>,
    /// For Event Hubs' clients; where a story has started the hub otherwise, it is not told.
    #[serde(default)]
    pub event_hub_connection_string: String,
    /// By device id.
    pub devices: BTreeMap<String, String>,
}

impl Ready {
    /// A device's connection string.
    ///
    /// # Errors
    /// When the hub was not started with this device.
    pub fn device(&self, id: &str) -> Result<ConnectionString> {
        ConnectionString::parse(self.devices.get(id).with_context(|| format!("the hub was not started with device {id}"))?)
    }

    /// A policy's connection string.
    ///
    /// # Errors
    /// When the hub has no such policy.
    pub fn policy(&self, name: &str) -> Result<ConnectionString> {
        ConnectionString::parse(self.connection_strings.get(name).with_context(|| format!("the hub said nothing of policy {name}"))?)
    }

    /// The file that holds the hub's CA.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }
}

/// Where a hub listens.
#[derive(Clone, Debug, Deserialize)]
pub struct Endpoints {
    /// 8883.
    pub mqtt: String,
    /// 443, when it may be bound.
    pub https: Option<String>,
    /// 8443.
    pub api: String,
    /// 9464.
    pub metrics: String,
}

/// How a story wants its hub.
#[derive(Clone, Debug, Default)]
pub struct Options {
    arguments: Vec<String>,
    data: Option<PathBuf>,
    wrapper: Vec<String>,
}

impl Options {
    /// With devices, created when the hub starts.
    #[must_use]
    pub fn devices(self, ids: &[&str]) -> Self {
        ids.iter().fold(self, |options, id| options.argument("--device").argument(id))
    }

    /// With one more argument of `mooring-hub dev`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With its data in a folder of the story's.
    #[must_use]
    pub fn data(mut self, folder: &Path) -> Self {
        self.data = Some(folder.to_owned());
        self
    }

    /// Started by another program, which is given the binary and its arguments.
    #[must_use]
    pub fn started_by(mut self, program: &[&str]) -> Self {
        self.wrapper = program.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Starts it, and waits until it is ready.
    ///
    /// # Errors
    /// When it ends before it is ready, or says something else than one JSON document.
    pub async fn start(self) -> Result<Hub> {
        let own = TempDir::with_prefix("mooring-e2e-")?;
        let data = self.data.clone().unwrap_or_else(|| own.path().join("data"));
        let log = own.path().join("hub.log");
        let (child, stdout, ready) = launch(&self, &data, &log).await.inspect_err(|_| remember(&log))?;
        Ok(Hub { child, stdout, ready, options: self, data, log, _own: own })
    }
}

/// A running hub.
pub struct Hub {
    /// What it said when it was ready.
    pub ready: Ready,
    child: Child,
    stdout: ChildStdout,
    options: Options,
    data: PathBuf,
    log: PathBuf,
    _own: TempDir,
}

impl Hub {
    /// A hub with these devices.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(devices: &[&str]) -> Result<Self> {
        Options::default().devices(devices).start().await
    }

    /// The hub's data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Everything it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Whether the process is still there.
    ///
    /// # Errors
    /// When it has ended.
    pub fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the hub ended: {status}"),
        }
    }

    /// The process's id.
    ///
    /// # Errors
    /// When it has ended.
    pub fn process_id(&self) -> Result<Pid> {
        let id = self.child.id().context("the hub has ended already")?;
        Ok(Pid::from_raw(i32::try_from(id)?))
    }

    /// SIGKILL, and waits until the process is gone.
    ///
    /// # Errors
    /// When it can't be killed.
    pub async fn kill9(&mut self) -> Result<()> {
        within("the killed hub's end", self.child.kill()).await?.context("the hub can't be killed")
    }

    /// Starts it again over the same data, after [`Hub::kill9`] or [`Hub::stop`].
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart(&mut self) -> Result<()> {
        (self.child, self.stdout, self.ready) = launch(&self.options, &self.data, &self.log).await?;
        Ok(())
    }

    /// SIGTERM; answers how it ended, and what else it had written to standard output.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&mut self) -> Result<(ExitStatus, String)> {
        kill(self.process_id()?, Signal::SIGTERM)?;
        let status = within("the hub's graceful end", self.child.wait()).await??;
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).await?;
        Ok((status, rest))
    }
}

/// Who talks to a hub needs to know how it is reached, and no more.
impl std::ops::Deref for Hub {
    type Target = Ready;

    fn deref(&self) -> &Ready {
        &self.ready
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        remember(&self.log);
        if std::thread::panicking() {
            show_last_words();
        }
    }
}

async fn launch(options: &Options, data: &Path, log: &Path) -> Result<(Child, ChildStdout, Ready)> {
    let binary = binary()?;
    let mut words = options.wrapper.iter().map(Into::into).chain([binary.into_os_string()]);
    let mut command = Command::new(words.next().context("no program")?);
    command.args(words).args(["dev", "--hostname", HUB, "--output", "json"]).arg("--data").arg(data).args(&options.arguments);
    let stderr = std::fs::File::options().create(true).append(true).open(log)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true);
    let mut child = command.spawn().context("the hub does not start")?;
    let mut stdout = child.stdout.take().context("no standard output")?;
    let ready = within("the hub to be ready", first_document(&mut stdout)).await??;
    Ok((child, stdout, ready))
}

/// Reads exactly one JSON document, which may have any number of lines, from a stream that stays open.
async fn first_document(stdout: &mut ChildStdout) -> Result<Ready> {
    let mut text = Vec::new();
    loop {
        ensure!(stdout.read_buf(&mut text).await? > 0, "the hub ended before it was ready");
        match serde_json::from_slice(&text) {
            Ok(ready) => return Ok(ready),
            Err(err) if err.is_eof() => {}
            Err(err) => bail!("the hub's first words are not what was agreed ({err}): {}", String::from_utf8_lossy(&text)),
        }
    }
}

/// Keeps the end of a log for [`show_last_words`].
pub(crate) fn remember(log: &Path) {
    let text = std::fs::read(log).unwrap_or_default();
    let tail = &text[text.len().saturating_sub(LAST_WORDS_BYTES)..];
    LAST_WORDS.with_borrow_mut(|words| words.push(String::from_utf8_lossy(tail).into_owned()));
}

/// Prints what the story's hubs and operators logged last, for whoever reads why it failed.
#[expect(clippy::print_stderr, reason = "a test's voice")]
pub fn show_last_words() {
    for words in LAST_WORDS.take() {
        eprintln!("--- last words ---\n{words}--- end ---");
    }
}
