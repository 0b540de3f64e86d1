//! The servers under measurement: started fresh for each run with their own folder and ports, ended and swept away after it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::clock;
use crate::hub;
use crate::report;
use crate::tls::Certificate;

/// A server that has not begun to listen by then will not.
const START_LIMIT: Duration = Duration::from_secs(30);
const START_POLL: Duration = Duration::from_millis(20);
/// How much of a failed server's log is shown.
const LOG_TAIL_LINES: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Hub,
    Mosquitto,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hub => "mooring-hub",
            Self::Mosquitto => report::PEER,
        }
    }
}

/// Where the programs are, and what all servers share.
pub struct Stage {
    pub folder: PathBuf,
    pub certificate: Certificate,
    pub hub: PathBuf,
    pub mosquitto: PathBuf,
    /// The servers of a comparison, in the order of their turns.
    pub kinds: Vec<Kind>,
}

/// Addresses on 127.0.0.1 that were free a moment ago.
pub struct Addresses {
    pub mqtt: SocketAddr,
    pub https: SocketAddr,
    pub api: SocketAddr,
    pub metrics: SocketAddr,
}

/// A running server. Dropping it kills it and removes its data.
pub struct Server {
    kind: Kind,
    command: Command,
    child: Child,
    folder: PathBuf,
    pub addresses: Addresses,
    /// What lets one do everything with it; empty for a server that asks nobody.
    pub owner_token: String,
}

impl Stage {
    /// Starts a server that knows the devices numbered 0 to `devices` (mosquitto knows nobody and lets everybody in).
    pub fn start(&self, kind: Kind, devices: usize) -> Result<Server> {
        let folder = self.folder.join(kind.name());
        // A run that was interrupted may have left its folder behind.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let addresses = Addresses::free()?;
        let settings = folder.join("settings.toml");
        let mut command;
        let mut owner_key = None;
        match kind {
            Kind::Hub => {
                let key = crate::sas::random_key()?;
                hub::write_settings(&settings, &folder, &addresses, &self.certificate, &key)?;
                command = Command::new(&self.hub);
                command.arg("serve").arg("--config").arg(&settings);
                owner_key = Some(key);
            }
            Kind::Mosquitto => {
                fs::write(&settings, mosquitto_settings(&addresses, &self.certificate))?;
                command = Command::new(&self.mosquitto);
                command.arg("-c").arg(&settings);
            }
        }
        let log = File::create(folder.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = spawn(&mut command)?;
        let owner_token = owner_key.as_deref().map(hub::owner_token).unwrap_or_default();
        let mut server = Server { kind, command, child, folder, addresses, owner_token };
        server.wait_until_listening().with_context(|| format!("{} did not start:\n{}", kind.name(), server.log_tail()))?;
        if kind == Kind::Hub {
            let registered = hub::register(server.addresses.api, &self.certificate, &server.owner_token, 0..devices, 1);
            registered.with_context(|| format!("creating {devices} devices:\n{}", server.log_tail()))?;
        }
        Ok(server)
    }
}

impl Addresses {
    fn free() -> Result<Self> {
        // All four are held at once, so that they differ.
        let listeners = [(); 4].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let mut addresses = Vec::new();
        for listener in &listeners {
            addresses.push(listener.as_ref().map_err(|error| anyhow::anyhow!("no free port: {error}"))?.local_addr()?);
        }
        let [mqtt, https, api, metrics] = addresses[..] else { bail!("four addresses were asked for") };
        Ok(Self { mqtt, https, api, metrics })
    }
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of what the server has said, to explain a failure.
    pub fn log_tail(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// Tells it to stop, as an operator would, and waits for its end.
    pub fn stop(&mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process has an id")?;
        kill_process(pid, Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again over the same data, and waits until it listens.
    pub fn start_again(&mut self) -> Result<()> {
        self.child = spawn(&mut self.command)?;
        self.wait_until_listening().with_context(|| format!("it did not start again:\n{}", self.log_tail()))
    }

    fn wait_until_listening(&mut self) -> Result<()> {
        let deadline = clock::now() + START_LIMIT;
        let needed = match self.kind {
            Kind::Hub => vec![self.addresses.mqtt, self.addresses.https, self.addresses.api],
            Kind::Mosquitto => vec![self.addresses.mqtt],
        };
        while !needed.iter().all(|address| TcpStream::connect(address).is_ok()) {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            if clock::now() >= deadline {
                bail!("it does not listen after {} s", START_LIMIT.as_secs());
            }
            thread::sleep(START_POLL);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Killed, not asked: its data is thrown away in any case. Failures here have nobody left to hurt.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn().with_context(|| format!("starting {}", command.get_program().display()))
}

/// Nothing is stored, nobody is checked, no delay for small packets: all of it in mosquitto's favour.
fn mosquitto_settings(addresses: &Addresses, certificate: &Certificate) -> String {
    let file = |path: &Path| path.display().to_string();
    let mut lines = vec![
        format!("listener {} 127.0.0.1", addresses.mqtt.port()),
        format!("certfile {}", file(&certificate.chain_file)),
        format!("keyfile {}", file(&certificate.key_file)),
        "tls_version tlsv1.3".to_owned(),
        "allow_anonymous true".to_owned(),
        "persistence false".to_owned(),
        "set_tcp_nodelay true".to_owned(),
        "connection_messages false".to_owned(),
        "log_dest stderr".to_owned(),
        "log_type error".to_owned(),
        "log_type warning".to_owned(),
    ];
    // Started by root, mosquitto becomes another user, who may not read the key.
    if rustix::process::geteuid().is_root() {
        lines.push("user root".to_owned());
    }
    lines.join("\n") + "\n"
}
