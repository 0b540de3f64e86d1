//! `mooring-hub dev`: the hub on a laptop.

use std::env;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use crate::config::HostName;
use crate::config::value::{Count, LogFormat, Value as _};
use crate::core::consumer_group::parse_groups;
use crate::core::device_id::DeviceId;
use crate::serve::dev::{self, DevOptions, Output};
use crate::serve::logs;

/// Run a hub on this machine, with nothing beside it
///
/// Makes a certificate authority of its own, listens on loopback, and prints the connection strings that clients need.
#[derive(Args)]
pub struct Arguments {
    /// Where events, identities, keys and certificates are kept [default: $XDG_DATA_HOME/mooring or ~/.local/share/mooring; for a COMMAND a fresh folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// A name of the hub; the first is the HostName in connection strings [default: localhost]
    #[arg(long = "hostname", value_name = "NAME")]
    host_names: Vec<HostName>,

    /// The name of another hub that clients may come with, because their connection string has a GatewayHostName
    #[arg(long = "alias", value_name = "NAME")]
    aliases: Vec<HostName>,

    /// The address to listen on; 127.0.0.1 means ::1 as well, where there is IPv6
    #[arg(long, value_name = "IP", default_value_t = Ipv4Addr::LOCALHOST.into())]
    listen: IpAddr,

    /// Create this device if it is missing, enabled and with generated keys
    #[arg(long = "device", value_name = "ID", value_parser = parse_device_id)]
    devices: Vec<DeviceId>,

    /// Follow the device manifests (mooring.dev/v1alpha1, YAML or JSON) in this folder; credentials go to `credentials` in the data folder
    #[arg(long = "devices", value_name = "DIR")]
    manifests: Option<PathBuf>,

    /// Let in devices registered as CA-signed whose certificate an authority in this file (PEM) has issued to their id; it is followed
    #[arg(long = "device-ca", value_name = "FILE")]
    device_ca: Option<PathBuf>,

    /// A consumer group besides $Default: back ends that go on where they were need one each
    #[arg(long = "consumer-group", value_name = "NAME")]
    consumer_groups: Vec<String>,

    /// How many partitions its events have, 1 to 32; fixed once the data folder is made [default: 4]
    #[arg(long, value_name = "N", value_parser = Count::<1, 32>::from_text)]
    partitions: Option<Count<1, 32>>,

    /// How to say on standard output that the hub is ready
    #[arg(long, value_enum, default_value_t = OutputName::Text, conflicts_with = "command")]
    output: OutputName,

    /// Which events to log on standard error: a level, or levels per module as mooring_hub::mqtt=debug,info [default: info; warn for a COMMAND]
    #[arg(long = "log-filter", env = "MOORING_LOG_FILTER", value_name = "FILTER")]
    log_filter: Option<String>,

    /// Run this command against the hub, with connection strings and trust in its environment, and exit with its status
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputName {
    /// For people
    Text,
    /// One JSON document
    Json,
}

/// Runs it until it is told to stop.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let default_filter = if arguments.command.is_empty() { "info" } else { "warn" };
    logs::start(LogFormat::Auto, arguments.log_filter.as_deref().unwrap_or(default_filter))?;
    let data = match arguments.data {
        None if arguments.command.is_empty() => Some(default_data_folder().context("there is no home folder: use --data DIR")?),
        given => given,
    };
    let options = DevOptions {
        data,
        host_names: arguments.host_names,
        aliases: arguments.aliases,
        listen: arguments.listen,
        devices: arguments.devices,
        manifests: arguments.manifests,
        consumer_groups: parse_groups(&arguments.consumer_groups).context("--consumer-group")?,
        partitions: arguments.partitions,
        device_ca: arguments.device_ca,
        output: match arguments.output {
            OutputName::Text => Output::Text,
            OutputName::Json => Output::Json,
        },
        command: arguments.command,
    };
    Ok(super::runtime()?.block_on(dev::run(options))?.into())
}

/// Where a laptop's hub keeps its data: the place that the XDG base directory specification has for it.
pub(super) fn default_data_folder() -> Option<PathBuf> {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = named("XDG_DATA_HOME").or_else(|| Some(named("HOME")?.join(".local/share")))?;
    Some(base.join("mooring"))
}

fn parse_device_id(text: &str) -> Result<DeviceId, String> {
    DeviceId::parse(text).map_err(|error| error.to_string())
}
