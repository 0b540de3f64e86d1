//! The laptop mode: a whole hub with nothing beside it, and with everything that a client needs to use it.
//!
//! Owns the choices that nobody has to make on a laptop. What it runs is the hub that [`super::start`] starts, with nothing left out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use self::document::{Endpoints, HUB_FILE, HubDocument, device_connection_string, event_hub_connection_string, policy_connection_strings};
use super::certificate_authority::{CertificateAuthorityError, DevelopmentCertificates, certificates_for};
use super::clock::SystemClock;
use super::listeners::Ports;
use super::private_file::write_private;
use super::stores::Stores;
use super::{RunningHub, StartError, start, told_to_stop};
use crate::config::settings::{AuthoritySettings, Events, Limits, Listeners, Log};
use crate::config::value::{Count, Listen, Value as _};
use crate::config::{Config, HostName};
use crate::core::consumer_group::ConsumerGroup;
use crate::core::device_id::DeviceId;
use crate::core::time::Clock;
use crate::ops::Hub;

pub mod command;
pub mod devices;
pub mod document;
pub mod java_trust_store;
pub mod trust;

/// Azure's ports, which its clients have built in, and ours.
const MQTT_PORT: u16 = 8883;
const AMQP_PORT: u16 = 5671;
const HTTPS_PORT: u16 = 443;
const API_PORT: u16 = 8443;
const METRICS_PORT: u16 = 9464;

/// Connections at once: more than the fleets that a laptop simulates, fewer than the file descriptors that most systems grant.
const CONNECTIONS: &str = "16000";

/// What the authority of `--device-ca` is called.
const DEVICE_CA: &str = "device-ca";

/// The device that a command gets when none was asked for.
const COMMANDS_DEVICE: &str = "device-1";

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// The data folder; `None` is a fresh one that goes away with the hub.
    pub data: Option<PathBuf>,
    /// The hub's names; the first is the one in connection strings. Empty: `localhost`.
    pub host_names: Vec<HostName>,
    /// Hubs that clients may believe this one to be.
    pub aliases: Vec<HostName>,
    /// Where to listen.
    pub listen: IpAddr,
    /// Devices to create if they are missing.
    pub devices: Vec<DeviceId>,
    /// A folder of device manifests to follow.
    pub manifests: Option<PathBuf>,
    /// Consumer groups besides `$Default`.
    pub consumer_groups: Vec<ConsumerGroup>,
    /// How many partitions; a hub's usual number when it is not said.
    pub partitions: Option<Count<1, 32>>,
    /// PEM: authorities that may issue any device's certificate.
    pub device_ca: Option<PathBuf>,
    /// How to say that the hub is ready.
    pub output: Output,
    /// What to run beside the hub.
    pub command: Vec<OsString>,
}

/// How to say that the hub is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// The laptop's hub can't run.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// No folder for its data.
    #[error("the data folder {path} can't be made")]
    Data {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No certificate.
    #[error("the development certificates can't be made")]
    Certificates(#[from] CertificateAuthorityError),
    /// The hub.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A device.
    #[error("the device {id} can't be created")]
    Device {
        /// Which.
        id: DeviceId,
        /// Why.
        source: devices::DeviceError,
    },
    /// A file.
    #[error("{path} can't be written")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard output.
    #[error("standard output can't be written to")]
    Output(#[source] io::Error),
    /// What makes the command trust the hub.
    #[error("the files that make the command trust the hub can't be made")]
    Trust(#[from] trust::TrustError),
    /// The command.
    #[error(transparent)]
    Command(#[from] command::CommandError),
}

/// Runs the hub until it is told to stop, or until its command ends. The answer is the process's exit status.
pub async fn run(options: DevOptions) -> Result<u8, DevError> {
    let folder = Folder::of(&options)?;
    let config = configuration(&options, &folder.path);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // The stores come first: they lock the folder.
    let stores = Stores::open(&config, &clock).await.map_err(StartError::from)?;
    let certificates = certificates(&options, &folder.path, &*clock)?;
    let mut running = start(&config, stores, Arc::clone(&clock), Ports::OnALaptop)?;
    if let Some(reason) = running.https_left_out() {
        warn!(
            "port {HTTPS_PORT} is left out: {reason}. Without it there are no WebSockets and no HTTPS for devices; MQTT on {MQTT_PORT}, AMQP on {AMQP_PORT} and the API on {API_PORT}, Azure's for services included, are there"
        );
    }
    // Before the devices that are asked for by name: one that has a manifest is made as that wants it.
    running.follow_manifests(&config).await.map_err(StartError::from)?;
    let outcome = run_beside(&options, &folder.path, &certificates, &running, &*clock).await;
    running.stop().await;
    outcome
}

async fn run_beside(
    options: &DevOptions,
    data: &Path,
    certificates: &DevelopmentCertificates,
    running: &RunningHub,
    clock: &dyn Clock,
) -> Result<u8, DevError> {
    let document = describe(options, certificates, running).await?;
    let path = data.join(HUB_FILE);
    write_private(&path, document.to_json().as_bytes()).map_err(|source| DevError::Write { path, source })?;
    if !options.command.is_empty() {
        let variables = command_variables(data, certificates, &document, clock)?;
        return Ok(command::run(&options.command, &variables).await?);
    }
    let mut hangup = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
    let told_to_stop = told_to_stop()?;
    // For whoever reads this, and not for the file: the link is good once.
    let link = dashboard_link(&document.endpoints.api, running.hub());
    announce(&match options.output {
        Output::Json => document.with_dashboard(link).to_json(),
        Output::Text => document.with_dashboard(link).to_text(data),
    })
    .map_err(DevError::Output)?;
    let name = tokio::select! {
        name = told_to_stop => name,
        _ = hangup.recv() => "SIGHUP",
    };
    info!(signal = name, "stopping: {name}");
    Ok(0)
}

/// The data folder, by its whole path.
struct Folder {
    path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Folder {
    fn of(options: &DevOptions) -> Result<Self, DevError> {
        match &options.data {
            Some(given) => {
                let failed = |source| DevError::Data { path: given.clone(), source };
                Ok(Self { path: std::path::absolute(given).map_err(failed)?, _temporary: None })
            }
            None => {
                let made = tempfile::Builder::new().prefix("mooring-").tempdir();
                let temporary = made.map_err(|source| DevError::Data { path: std::env::temp_dir(), source })?;
                Ok(Self { path: temporary.path().to_path_buf(), _temporary: Some(temporary) })
            }
        }
    }
}

/// What `serve` would read from a file.
fn configuration(options: &DevOptions, data: &Path) -> Config {
    let listen = |port| Listen(Some(SocketAddr::new(options.listen, port)));
    // What is counted is nobody else's business, wherever the rest listens.
    let metrics = if options.listen.is_loopback() { options.listen } else { Ipv4Addr::LOCALHOST.into() };
    let mut host_names = options.host_names.iter().cloned();
    let authorities =
        options.device_ca.iter().cloned().map(|file| (DEVICE_CA.to_owned(), AuthoritySettings { file, id_prefix: String::new() }));
    Config {
        host_name: host_names.next().unwrap_or_else(HostName::localhost),
        other_host_names: host_names.chain([HostName::localhost()]).collect(),
        aliases: options.aliases.clone(),
        data: data.to_path_buf(),
        devices: options.manifests.clone(),
        certificate: data.join("tls/server.pem"),
        key: data.join("tls/server.key"),
        registry_url_file: None,
        listeners: Listeners {
            mqtt: listen(MQTT_PORT),
            amqp: listen(AMQP_PORT),
            https: listen(HTTPS_PORT),
            api: listen(API_PORT),
            metrics: Listen(Some(SocketAddr::new(metrics, METRICS_PORT))),
        },
        events: Events {
            consumer_groups: options.consumer_groups.clone().into(),
            partitions: options.partitions.unwrap_or(Events::default().partitions),
            ..Events::default()
        },
        commands: Default::default(),
        offline_after: None,
        proxy_sources: Vec::new(),
        sign_in: Default::default(),
        audit: Default::default(),
        limits: Limits { connections: Count::from_text(CONNECTIONS).expect("it is in range"), ..Limits::default() },
        log: Log::default(),
        policies: BTreeMap::new(),
        device_authorities: authorities.collect(),
        people: BTreeMap::new(),
        openid: None,
    }
}

fn certificates(options: &DevOptions, data: &Path, clock: &dyn Clock) -> Result<DevelopmentCertificates, DevError> {
    let made = certificates_for(&data.join("tls"), &options.host_names, clock.now())?;
    if made.authority_is_new {
        info!(authority = %made.authority.display(), "made a certificate authority: clients have to trust {}", made.authority.display());
    }
    Ok(made)
}

async fn describe(options: &DevOptions, certificates: &DevelopmentCertificates, running: &RunningHub) -> Result<HubDocument, DevError> {
    let hub = running.hub();
    let name = hub.names.primary();
    let needs_device = !options.command.is_empty() && options.devices.is_empty();
    let commands_device = needs_device.then(|| DeviceId::parse(COMMANDS_DEVICE).expect("it is one by its looks"));
    let mut devices = BTreeMap::new();
    for id in options.devices.iter().chain(&commands_device) {
        let authentication = devices::ensure(hub, id).await.map_err(|source| DevError::Device { id: id.clone(), source })?;
        devices.insert(id.to_string(), device_connection_string(name, id, &authentication));
    }
    // An IPv6 address in a URL has brackets.
    let host = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
    let metrics_host = if options.listen.is_loopback() { &host } else { "localhost" };
    let port = |address: Option<SocketAddr>| address.map(|address| address.port());
    let addresses = running.addresses();
    let url = |scheme: &str, host: &str, port: Option<u16>| format!("{scheme}://{host}:{}", port.unwrap_or_default());
    Ok(HubDocument {
        host_name: name.to_owned(),
        ca_file: certificates.authority.clone(),
        endpoints: Endpoints {
            mqtt: url("mqtts", &host, port(addresses.mqtt)),
            amqp: url("amqps", &host, port(addresses.amqp)),
            https: addresses.https.map(|_| format!("https://{host}")),
            api: url("https", &host, port(addresses.api)),
            metrics: url("https", metrics_host, port(addresses.metrics)),
        },
        dashboard: None,
        connection_strings: policy_connection_strings(name, &hub.policies.current()),
        event_hub_connection_string: event_hub_connection_string(&hub.names, &hub.policies.current()),
        devices,
    })
}

/// What an Azure user's test suite reads, and what makes it trust the hub.
fn command_variables(
    data: &Path,
    certificates: &DevelopmentCertificates,
    document: &HubDocument,
    clock: &dyn Clock,
) -> Result<Vec<(&'static str, OsString)>, DevError> {
    let folder = data.join("trust");
    let mut variables = trust::trust_authority(&folder, &certificates.authority, |name| std::env::var_os(name), clock.now())?;
    let owner = document.connection_strings.get("iothubowner").cloned().unwrap_or_default();
    variables.push(("IOTHUB_CONNECTION_STRING", owner.into()));
    variables.push(("EVENTHUB_CONNECTION_STRING", document.event_hub_connection_string.clone().into()));
    if let Some(device) = document.devices.values().next() {
        variables.push(("IOTHUB_DEVICE_CONNECTION_STRING", device.into()));
    }
    Ok(variables)
}

/// A link that signs somebody in once. What is behind `#` no browser sends to anybody.
fn dashboard_link(api: &str, hub: &Hub) -> String {
    format!("{api}/sign-in#link={}", hub.sign_in.links.make(hub.now()))
}

fn announce(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{}", text.trim_end())?;
    output.flush()
}
