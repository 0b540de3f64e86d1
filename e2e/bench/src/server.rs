//! The servers under measurement: started fresh for each run with their own folder and ports, ended and swept away after it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};

use crate::amqp::Proof;
use crate::sas::Device;
use crate::tls::{Certificate, HOST};
use crate::{clock, hub, peers};

/// A server that has not begun to listen by then will not.
const START_LIMIT: Duration = Duration::from_secs(30);
const START_POLL: Duration = Duration::from_millis(20);
/// How much of a failed server's log is shown.
const LOG_TAIL_LINES: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Mooring's.
    Hub,
    /// MQTT's peer.
    Mosquitto,
    /// AMQP's peer that stores nothing: the acceptor of the crate fe2o3-amqp.
    #[value(name = "fe2o3")]
    Fe2o3,
    /// AMQP's peer that stores what it is sent: Apache ActiveMQ Artemis.
    Artemis,
}

/// Who speaks MQTT.
pub const MQTT: [Kind; 2] = [Kind::Hub, Kind::Mosquitto];
/// Who speaks AMQP.
pub const AMQP: [Kind; 3] = [Kind::Hub, Kind::Fe2o3, Kind::Artemis];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hub => "mooring-hub",
            Self::Mosquitto => "mosquitto",
            Self::Fe2o3 => "fe2o3-amqp",
            Self::Artemis => "artemis",
        }
    }

    /// How a device introduces itself over AMQP.
    pub fn proof(self, device: &Device) -> Proof {
        match self {
            Self::Hub => Proof::Plain { user: format!("{}@sas.{HOST}", device.id), password: device.token.clone() },
            Self::Mosquitto | Self::Fe2o3 | Self::Artemis => Proof::Anonymous,
        }
    }
}

/// Where the programs are, and what all servers share.
pub struct Stage {
    pub folder: PathBuf,
    pub certificate: Certificate,
    pub programs: Programs,
    /// The servers that are measured, in the order of their turns.
    pub kinds: Vec<Kind>,
}

/// Where each server's program is.
pub struct Programs {
    pub hub: PathBuf,
    pub mosquitto: PathBuf,
    pub fe2o3: PathBuf,
    /// Artemis' folder.
    pub artemis: PathBuf,
}

impl Programs {
    pub fn of(&self, kind: Kind) -> &Path {
        match kind {
            Kind::Hub => &self.hub,
            Kind::Mosquitto => &self.mosquitto,
            Kind::Fe2o3 => &self.fe2o3,
            Kind::Artemis => &self.artemis,
        }
    }
}

/// Addresses on 127.0.0.1 that were free a moment ago.
pub struct Addresses {
    pub mqtt: SocketAddr,
    pub amqp: SocketAddr,
    pub https: SocketAddr,
    pub api: SocketAddr,
    pub metrics: SocketAddr,
}

/// A running server. Dropping it kills it and removes its data.
pub struct Server {
    kind: Kind,
    command: Command,
    child: Child,
    pub folder: PathBuf,
    pub addresses: Addresses,
    /// What lets one do everything with it; empty for a server that asks nobody.
    pub owner_token: String,
}

impl Stage {
    /// Starts a server that knows the devices numbered 0 to `devices` (the peers know nobody and let everybody in).
    pub fn start(&self, kind: Kind, devices: usize) -> Result<Server> {
        self.start_with(kind, devices, "")
    }

    /// The same with more settings for the hub.
    pub fn start_with(&self, kind: Kind, devices: usize, more: &str) -> Result<Server> {
        let folder = self.folder.join(kind.name());
        // A run that was interrupted may have left its folder behind.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let addresses = Addresses::free()?;
        let mut owner_key = None;
        let program = self.programs.of(kind);
        let mut command = match kind {
            Kind::Hub => {
                let (settings, key) = (folder.join("settings.toml"), crate::sas::random_key()?);
                hub::write_settings(&settings, &addresses, &self.certificate, &key, more)?;
                owner_key = Some(key);
                let mut command = Command::new(program);
                command.arg("serve").arg("--config").arg(&settings);
                command
            }
            Kind::Mosquitto => peers::mosquitto(program, &folder, &addresses, &self.certificate)?,
            Kind::Fe2o3 => peers::fe2o3(program, &addresses, &self.certificate),
            Kind::Artemis => peers::artemis(program, &folder, &addresses, &self.certificate)?,
        };
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
        // All are held at once, so that they differ.
        let listeners = [(); 5].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let mut addresses = Vec::new();
        for listener in &listeners {
            addresses.push(listener.as_ref().map_err(|error| anyhow::anyhow!("no free port: {error}"))?.local_addr()?);
        }
        let [mqtt, amqp, https, api, metrics] = addresses[..] else { bail!("five addresses were asked for") };
        Ok(Self { mqtt, amqp, https, api, metrics })
    }
}

impl Server {
    pub fn kind(&self) -> Kind {
        self.kind
    }

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
            Kind::Hub => vec![self.addresses.mqtt, self.addresses.amqp, self.addresses.https, self.addresses.api],
            Kind::Mosquitto => vec![self.addresses.mqtt],
            Kind::Fe2o3 | Kind::Artemis => vec![self.addresses.amqp],
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
