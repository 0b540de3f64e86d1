//! `mooring-hub simulate`: a fleet of devices to play with, over MQTT as real ones.
//!
//! Owns the arguments and the order of things: identities, devices, progress, end, summary. Never touches the hub but over the wire.

mod arguments;
mod back_end;
mod behaviour;
mod connection;
mod device;
mod fleet;
mod progress;
mod refusal;
mod tally;
mod template;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use rand::RngCore as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use super::client::{DeviceEndpoints, HubArguments, HubClient, now};
use super::device::{OutputFormat, print_line};
use super::duration::parse_duration;
use crate::core::sas::sign;
use arguments::{Flap, Share, Sleep, parse_rate};
use behaviour::{Behaviour, Habits};
use device::{Device, Identity};
use fleet::Member;
use progress::{Progress, Summary};
use tally::Tally;
use template::Template;
use world::{Pacer, World};

/// How long a device's token is good. A simulation that takes longer reconnects when the hub closes what the token had opened.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Descriptors of this process that are no device's connection.
const OWN_DESCRIPTORS: u64 = 64;

/// The largest message that a hub takes, in bytes.
const PAYLOAD_MAX_BYTES: usize = 256 * 1024;

/// Runs a fleet of simulated devices against a hub.
///
/// They connect over MQTT and TLS as real devices do, send what a template says, and take commands. Their identities are made if they are
/// missing, and stay unless --remove says otherwise.
#[derive(Debug, Args)]
#[command(after_long_help = template::HELP)]
pub struct SimulateCommand {
    /// How many devices
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    devices: usize,
    /// What their names begin with; a number follows
    #[arg(long, value_name = "TEXT", default_value = "sim-")]
    prefix: String,
    /// Simulate the devices of this file instead, which holds a connection string a line; `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["devices", "prefix", "remove"])]
    connection_strings: Option<PathBuf>,
    /// Between two messages of a device, more or less
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    interval: Duration,
    /// The same as a rate, such as 2/s or 10/m
    #[arg(long, value_name = "RATE", value_parser = parse_rate, conflicts_with = "interval")]
    rate: Option<Duration>,
    /// What they send: a text with placeholders, or the file that holds it (see below)
    #[arg(long, value_name = "TEXT|FILE")]
    template: Option<String>,
    /// How many devices sleep, and how long they are awake and asleep, as 20%:30s/2m
    #[arg(long, value_name = "SHARE[:AWAKE/ASLEEP]")]
    sleep: Option<Sleep>,
    /// How many devices lose their connection again and again, and how long it mostly holds, as 2%:10s
    #[arg(long, value_name = "SHARE[:TIME]")]
    flap: Option<Flap>,
    /// How many of the devices that take commands answer them with a message
    #[arg(long, value_name = "SHARE", default_value = "100%")]
    answer: Share,
    /// How many devices never acknowledge a command
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    ignore: Share,
    /// How many devices refuse every command, over HTTPS, since MQTT 3.1.1 has no refusal
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    refuse: Share,
    /// Send commands to random devices as well, so often, and show what becomes of each
    #[arg(long, value_name = "RATE", value_parser = parse_rate, conflicts_with = "connection_strings")]
    commands: Option<Duration>,
    /// How fast devices connect, all together
    #[arg(long, value_name = "RATE", default_value = "200/s", value_parser = parse_rate)]
    connect_rate: Duration,
    /// Stop after this time [default: go on until Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    run_for: Option<Duration>,
    /// Stop when each device has sent so many messages
    #[arg(long, value_name = "NUMBER")]
    messages: Option<u64>,
    /// What chance is made from: the same number gives the same habits, values and pauses
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Remove the devices afterwards that this or an earlier simulation has made
    #[arg(long)]
    remove: bool,
    /// How to print the summary
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
    #[command(flatten)]
    hub: HubArguments,
}

/// What is simulated, and against which hub.
struct Fleet {
    members: Vec<Member>,
    /// The registry, unless the devices came from a file.
    registry: Option<HubClient>,
    hub: DeviceEndpoints,
}

impl SimulateCommand {
    /// Runs the fleet until it has done enough, its time is over, or somebody stops it. Fails when no device was ever let in.
    pub async fn run(self) -> Result<ExitCode> {
        let (template, bag) = self.template()?;
        let fleet = self.fleet().await?;
        let count = fleet.members.len();
        let seed = self.seed.unwrap_or_else(|| u64::from(rand::rng().next_u32()));
        let behaviours = behaviour::deal(&self.habits(), count, seed)?;
        if behaviours.iter().any(|behaviour| behaviour.on_command == behaviour::OnCommand::Refuse) {
            ensure!(fleet.hub.https.is_some(), "--refuse needs HTTPS, for which this hub has no port: its log says why");
        }
        make_room_for(count)?;
        let world = Arc::new(World {
            template,
            bag,
            hub: fleet.hub,
            interval: self.rate.unwrap_or(self.interval),
            messages: self.messages,
            tally: Tally::new(),
            pacer: Pacer::new(self.connect_rate),
            stop: CancellationToken::new(),
        });
        let begun = Instant::now();
        let devices = start(&fleet.members, &behaviours, &world, seed);
        let told = match (self.commands, &fleet.registry) {
            (Some(every), Some(_)) => {
                let ids = fleet.members.iter().map(|member| member.id.clone()).collect();
                back_end::start(self.hub.connect("service").await?, ids, every, seed)
            }
            _ => mpsc::channel(1).1,
        };
        let stopped_by = self.watch(devices, told, &world).await?;
        let elapsed = begun.elapsed();
        let removed = match &fleet.registry {
            Some(registry) if self.remove => Some(fleet::remove(registry, &fleet.members).await?),
            _ => None,
        };
        let summary = Summary { devices: count, elapsed, stopped_by, tally: &world.tally, removed };
        match self.output {
            OutputFormat::Text => print_line(summary.text().trim_end())?,
            OutputFormat::Json => print_line(&summary.json().to_string())?,
        }
        if world.tally.connects.get() == 0 && world.tally.errors.get() > 0 {
            bail!("no device was let in: {}", world.tally.last_error().unwrap_or_default());
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What devices say, and what their topics say of it.
    fn template(&self) -> Result<(Template, String)> {
        let text = match self.template.as_deref() {
            None => template::DEFAULT.to_owned(),
            Some(given) if Path::new(given).is_file() => {
                std::fs::read_to_string(given).with_context(|| format!("{given} can't be read"))?
            }
            Some(given) => given.to_owned(),
        };
        let template = Template::parse(&text)?;
        let sample = template.sample(now());
        ensure!(sample.len() <= PAYLOAD_MAX_BYTES, "a message would have {} bytes; a hub takes {PAYLOAD_MAX_BYTES}", sample.len());
        let is_json = serde_json::from_str::<serde_json::Value>(&sample).is_ok();
        Ok((template, if is_json { "%24.ct=application%2Fjson&%24.ce=utf-8" } else { "" }.to_owned()))
    }

    fn habits(&self) -> Habits {
        Habits { sleep: self.sleep, flap: self.flap, ignore: self.ignore, refuse: self.refuse, answer: self.answer }
    }

    async fn fleet(&self) -> Result<Fleet> {
        if let Some(file) = &self.connection_strings {
            let (host_name, members) = fleet::from_file(file)?;
            return Ok(Fleet { members, registry: None, hub: self.hub.device_endpoints(Some(&host_name)).await? });
        }
        let registry = self.hub.connect("registryReadWrite").await?;
        let members = fleet::ensure_devices(&registry, fleet::names(&self.prefix, self.devices)?).await?;
        Ok(Fleet { members, registry: Some(registry), hub: self.hub.device_endpoints(None).await? })
    }

    /// Shows how it goes until every device has ended, and tells them when to. Answers why they did.
    async fn watch(&self, mut devices: JoinSet<()>, mut told: mpsc::Receiver<String>, world: &World) -> Result<&'static str> {
        let mut progress = Progress::new(&world.tally);
        let mut lines = interval_at(Instant::now() + progress.every(), progress.every());
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let end = self.run_for.map(|time| Instant::now() + time);
        let mut stopped_by = None;
        loop {
            let stop = tokio::select! {
                ended = devices.join_next() => match ended {
                    Some(ended) => {
                        ended.context("a device's task was lost")?;
                        continue;
                    }
                    None => break,
                },
                _ = lines.tick() => {
                    progress.show(&world.tally);
                    continue;
                }
                Some(line) = told.recv() => {
                    progress.say(&line);
                    continue;
                }
                () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() && stopped_by.is_none() => "time",
                _ = interrupt.recv() => "signal",
                _ = terminate.recv() => "signal",
            };
            if stopped_by.replace(stop).is_some() {
                // Somebody is in a hurry: the last acknowledgements are not waited for.
                devices.abort_all();
            }
            world.stop.cancel();
        }
        progress.clear();
        Ok(stopped_by.unwrap_or("messages"))
    }
}

/// A task for each device.
fn start(members: &[Member], behaviours: &[Behaviour], world: &Arc<World>, seed: u64) -> JoinSet<()> {
    let mut devices = JoinSet::new();
    for ((member, behaviour), number) in members.iter().zip(behaviours).zip(1..) {
        let identity = Identity { id: member.id.clone(), number, key: member.key.clone(), behaviour: *behaviour };
        let (device, world) = (Device::new(identity, world, seed), Arc::clone(world));
        devices.spawn(async move { device.live(&world).await });
    }
    devices
}

/// The token with which a device connects.
fn device_token(identity: &Identity, hub: &DeviceEndpoints) -> String {
    sign(&format!("{}/devices/{}", hub.host_name, identity.id), now().plus(TOKEN_LIFETIME), &identity.key, None)
}

/// Every connection is a descriptor; takes as many as the system grants without asking.
fn make_room_for(devices: usize) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).is_ok();
    let usable = if raised { limit.maximum } else { limit.current };
    let needed = devices as u64 + OWN_DESCRIPTORS;
    ensure!(
        usable.is_none_or(|usable| usable >= needed),
        "{devices} devices need {needed} file descriptors, and this process may have {}: raise it (ulimit -Hn), or simulate fewer",
        usable.unwrap_or_default()
    );
    Ok(())
}
