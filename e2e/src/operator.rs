//! The real operator as a process beside an API server: started in a story's namespaces, killed when the story lets go of it, its log at hand when
//! the story fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::cluster::Namespace;
use crate::hub::remember;
use crate::patience::within;

/// Its metrics: what is written of a series, with its labels, and the value.
pub type Samples = BTreeMap<String, f64>;

/// A running operator, which looks after the story's namespace alone.
pub struct Operator {
    child: Child,
    address: String,
    log: PathBuf,
    _own: TempDir,
}

impl Operator {
    /// Starts it, with its metrics on a port of the story's own network, and waits until it says that it is ready. Its name among several, and
    /// whatever else its command line is to have, are the story's to say.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(namespace: &Namespace, port: u16, arguments: &[&str]) -> Result<Self> {
        let own = TempDir::with_prefix("mooring-e2e-")?;
        let log = own.path().join("operator.log");
        let (address, name) = (format!("127.0.0.1:{port}"), namespace.name.as_str());
        let mut command = Command::new(binary()?);
        command.args(["--watch-namespace", name, "--lease-namespace", name, "--metrics", &address, "--log-format", "text"]).args(arguments);
        command.env("KUBECONFIG", namespace.kubeconfig()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log)?);
        let child = command.kill_on_drop(true).spawn().context("the operator does not start")?;
        let mut operator = Self { child, address, log, _own: own };
        within("the operator to be ready", operator.ready()).await??;
        Ok(operator)
    }

    async fn ready(&mut self) -> Result<()> {
        while !self.ask("readyz").await.is_ok_and(|answer| answer.status().is_success()) {
            let ended = self.child.try_wait()?;
            ensure!(ended.is_none(), "the operator ended before it was ready: {ended:?}");
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn ask(&self, path: &str) -> Result<reqwest::Response> {
        Ok(reqwest::get(format!("http://{}/{path}", self.address)).await?)
    }

    /// Its metrics now.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<Samples> {
        let text = self.ask("metrics").await?.error_for_status()?.text().await?;
        let sample = |line: &str| line.rsplit_once(' ').and_then(|(series, value)| Some((series.to_owned(), value.parse().ok()?)));
        Ok(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// Asks until its metrics are as the story wants them.
    ///
    /// # Errors
    /// When they do not become so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Samples) -> bool) -> Result<Samples> {
        let asking = async {
            loop {
                let samples = self.metrics().await?;
                if is_so(&samples) {
                    return anyhow::Ok(samples);
                }
                tokio::task::yield_now().await;
            }
        };
        within(&format!("the operator's metrics to say that {what}"), asking).await?
    }

    /// SIGTERM; answers how it ended.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        let id = self.child.id().context("the operator has ended already")?;
        kill(Pid::from_raw(i32::try_from(id)?), Signal::SIGTERM)?;
        self.end().await
    }

    /// Waits until it ends by itself; answers how.
    ///
    /// # Errors
    /// When it does not.
    pub async fn end(&mut self) -> Result<ExitStatus> {
        Ok(within("the operator's end", self.child.wait()).await??)
    }

    /// SIGKILL, and waits until the process is gone.
    ///
    /// # Errors
    /// When it can't be killed.
    pub async fn kill9(&mut self) -> Result<()> {
        within("the killed operator's end", self.child.kill()).await?.context("the operator can't be killed")
    }

    /// Everything that it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        remember(&self.log);
    }
}

/// How many reconciles of a kind have ended, however they did.
#[must_use]
pub fn reconciles(samples: &Samples, kind: &str) -> f64 {
    let of_kind = format!("mooring_operator_reconciles_total{{kind=\"{kind}\",");
    samples.iter().filter(|(series, _)| series.starts_with(&of_kind)).map(|(_, value)| value).sum()
}

/// What has been written to the API server, except for the Lease.
#[must_use]
pub fn writes(samples: &Samples) -> Vec<&str> {
    let is_write = |series: &&String| series.starts_with("mooring_operator_api_writes_total{") && !series.contains("resource=\"leases\"");
    samples.keys().filter(is_write).map(String::as_str).collect()
}

fn binary() -> Result<PathBuf> {
    let path = std::env::var_os("MOORING_OPERATOR_BIN")
        .context("MOORING_OPERATOR_BIN is not set: run the stories by `make test` or `make kubernetes`")?;
    ensure!(Path::new(&path).is_file(), "MOORING_OPERATOR_BIN={} is not there", path.display());
    Ok(path.into())
}
