//! What can be asked of the benchmark on its command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use crate::load::Pace;
use crate::server::{Kind, Programs};

/// Measures Mooring's hub, and mosquitto beside it. Prints and records numbers; asserts none.
#[derive(Parser)]
#[command(version)]
pub struct Options {
    /// Scenarios to run; all of them when none is named.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<Scenario>,
    /// Publishing connections, each a device of its own.
    #[arg(long, default_value_t = 100)]
    pub connections: usize,
    /// Messages in flight on each connection.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1])]
    pub windows: Vec<usize>,
    /// Bytes of payload.
    #[arg(long, default_value_t = 256)]
    pub payload: usize,
    /// Measured seconds of each run, after a warm-up of a fifth of that and at least one second.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Runs of each server, taken in turns; medians are reported.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Idle connections.
    #[arg(long, default_value_t = 10_000)]
    pub idle: usize,
    /// Connects in each run.
    #[arg(long, default_value_t = 4000)]
    pub connects: usize,
    /// Connections that post over HTTPS.
    #[arg(long, default_value_t = 32)]
    pub https_connections: usize,
    /// Connected devices that take commands.
    #[arg(long, default_value_t = 1000)]
    pub command_devices: usize,
    /// Back ends that send commands, each on an HTTPS connection of its own.
    #[arg(long, default_value_t = 32)]
    pub command_senders: usize,
    /// Back ends that read and complete receipts, each on an HTTPS connection of its own.
    #[arg(long, default_value_t = 4)]
    pub command_readers: usize,
    /// Commands on their way at once, from the request that sends one to the answer to the request that completes its receipt.
    #[arg(long, default_value_t = 256)]
    pub command_window: usize,
    /// Events in the journal that is read.
    #[arg(long, default_value_t = 4_000_000)]
    pub events: usize,
    /// Readers of events, each of a partition of its own; one after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32])]
    pub readers: Vec<usize>,
    /// Browsers that look at the dashboard.
    #[arg(long, default_value_t = 20)]
    pub browsers: usize,
    /// Devices whose connection is reset.
    #[arg(long, default_value_t = 500)]
    pub resets: usize,
    /// Identities in the registry.
    #[arg(long, default_value_t = 1_000_000)]
    pub identities: usize,
    /// Connected devices of these that are disabled.
    #[arg(long, default_value_t = 500)]
    pub disables: usize,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// A first impression in three minutes: one round, three seconds each, 2,000 idle connections, 1,000 connects, 20,000 identities, 200,000 events.
    #[arg(long)]
    pub quick: bool,
    /// Measure on a busy machine too, to try the benchmark out: such numbers mean nothing.
    #[arg(long)]
    pub anyway: bool,
    /// The hub's program; by default the one that lies beside this one.
    #[arg(long)]
    pub hub: Option<PathBuf>,
    /// mosquitto's program.
    #[arg(long, default_value = "/usr/sbin/mosquitto")]
    pub mosquitto: PathBuf,
    /// The program that fe2o3-amqp's acceptor is in; by default the one that lies beside this one.
    #[arg(long)]
    pub fe2o3: Option<PathBuf>,
    /// The folder of Apache ActiveMQ Artemis.
    #[arg(long, default_value = "/opt/artemis")]
    pub artemis: PathBuf,
    /// Which servers to measure; by default the hub and mosquitto, and of the others those that are there.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub servers: Vec<Kind>,
    /// Where the servers keep their data (several GB in passing), on the disk that shall be measured.
    #[arg(long, default_value = "/var/tmp/mooring-bench")]
    pub work_folder: PathBuf,
    /// The file of results; by default a new one in the work folder.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// MQTT QoS 1 over TLS.
    Publish,
    /// Memory of idle TLS connections.
    Idle,
    /// CPU of connecting.
    Connects,
    /// POST of telemetry (hub only).
    Https,
    /// MQTT QoS 1 over TLS while people look at the dashboard (hub only).
    Browsers,
    /// Commands from the request to the receipt (hub only).
    Commands,
    /// From a connection's reset until the API says so (hub only).
    Presence,
    /// A large registry: created, restarted, read, devices disabled (hub only).
    Identities,
    /// Telemetry over AMQP.
    AmqpSend,
    /// Memory of idle AMQP connections with a session and two links.
    AmqpIdle,
    /// Events read over AMQP from a cold journal (hub only).
    AmqpRead,
    /// Telemetry over AMQP while others read a cold journal from its beginning (hub only).
    AmqpCatchUp,
    /// Windows from 1 to 50 (hub only).
    WindowSweep,
    /// Payloads from 16 bytes to 64 KiB (hub only).
    PayloadSweep,
}

impl Options {
    pub fn read() -> Self {
        let mut options = Self::parse();
        if options.quick {
            options.rounds = 1;
            options.seconds = options.seconds.min(3);
            options.idle = options.idle.min(2000);
            options.connects = options.connects.min(1000);
            options.command_devices = options.command_devices.min(200);
            options.resets = options.resets.min(100);
            options.identities = options.identities.min(20_000);
            options.disables = options.disables.min(100);
            options.events = options.events.min(200_000);
        }
        options
    }

    pub fn wants(&self, scenario: Scenario) -> bool {
        self.only.is_empty() || self.only.contains(&scenario)
    }

    pub fn pace(&self) -> Pace {
        Pace {
            warm_up: Duration::from_secs((self.seconds / 5).max(1)),
            measured: Duration::from_secs(self.seconds),
            threads: self.threads.max(1),
        }
    }

    /// The servers' programs: those that were built with this benchmark, unless others are named.
    pub fn programs(&self) -> Result<Programs> {
        let program = std::env::current_exe()?;
        let beside = program.parent().context("this program lies in no folder")?;
        Ok(Programs {
            hub: self.hub.clone().unwrap_or_else(|| beside.join("mooring-hub")),
            mosquitto: self.mosquitto.clone(),
            fe2o3: self.fe2o3.clone().unwrap_or_else(|| beside.join("bench-fe2o3")),
            artemis: self.artemis.clone(),
        })
    }
}
