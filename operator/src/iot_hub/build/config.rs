//! The hub's configuration, as it reads it.

use kube::ResourceExt as _;
use mooring_crds::GoDuration;
use mooring_crds::iot_hub::{IotHub, Permission};
use toml::{Table, Value};

use super::{Plan, cluster_names};
use crate::labels::{self, OPERATOR_POLICY};

/// The file, and the ConfigMap's entry.
pub const FILE: &str = "hub.toml";

/// Where its folder is in a Pod. The whole folder is mounted: a file alone would stay as it was when the Pod began, and the hub follows it.
pub const FOLDER: &str = "/etc/mooring/config";

/// Where the file is in a Pod.
pub const FILE_PATH: &str = "/etc/mooring/config/hub.toml";

/// Where the certificate is.
pub const TLS_FOLDER: &str = "/etc/mooring/tls";

/// Where the policies' keys are, in a folder for each.
pub const POLICIES_FOLDER: &str = "/etc/mooring/policies";

/// Where the device authorities' certificates are, in a folder for each.
pub const AUTHORITIES_FOLDER: &str = "/etc/mooring/authorities";

/// Where the token is with which the hub asks the cluster, as every client of Kubernetes looks for it.
pub const ACCOUNT_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where the hub's data is.
pub const DATA_FOLDER: &str = "/var/lib/mooring";

/// MQTT.
pub const MQTT_PORT: u16 = 8883;

/// AMQP.
pub const AMQP_PORT: u16 = 5671;

/// HTTPS: a port that needs no privilege.
pub const HTTPS_PORT: u16 = 10443;

/// The hub's own API.
pub const API_PORT: u16 = 8443;

/// Health and metrics.
pub const METRICS_PORT: u16 = 9464;

/// For connections to end when the hub is told to stop.
pub const SHUTDOWN_TIME_S: u64 = 10;

/// The hub's configuration.
#[derive(Clone, Debug)]
pub struct HubToml {
    /// The whole file.
    pub file: String,
    /// Tells two files apart between which the hub has to restart.
    pub hash: String,
}

/// The configuration. Its hash leaves out what the hub follows while it runs.
#[must_use]
pub fn hub_toml(plan: Plan<'_>) -> HubToml {
    let mut file = at_start(plan);
    let hash = labels::short_hash(written(&file).as_bytes());
    let groups = &plan.hub.spec.consumer_groups;
    if let (false, Some(events)) = (groups.is_empty(), file.get_mut("events").and_then(Value::as_table_mut)) {
        events.insert("consumer_groups".to_owned(), Value::Array(groups.iter().map(text).collect()));
    }
    HubToml { file: written(&file), hash }
}

fn written(file: &Table) -> String {
    toml::to_string(file).expect("strings, numbers and lists are TOML")
}

/// What the hub reads when it starts, and not again.
fn at_start(plan: Plan<'_>) -> Table {
    let hub = plan.hub;
    let mut file = general(plan);
    let sections = [
        ("listeners", listeners(hub)),
        ("tls", table([("certificate", text(format!("{TLS_FOLDER}/tls.crt"))), ("key", text(format!("{TLS_FOLDER}/tls.key")))])),
        ("events", events(plan)),
        ("commands", commands(hub)),
        ("feedback", feedback(hub)),
        ("proxy_protocol", proxy_protocol(hub)),
        ("sign_in", sign_in(plan)),
        ("limits", limits(hub)),
        ("monitoring", table(hub.spec.monitoring.offline_after.map(|time| ("offline_after", span(time))))),
        ("log", table([("format", text("json")), ("filter", text(&hub.spec.log_filter))])),
        ("policies", policies(plan)),
        ("device_authorities", authorities(hub)),
    ];
    for (name, section) in sections {
        if !section.is_empty() {
            file.insert(name.to_owned(), Value::Table(section));
        }
    }
    file
}

fn general(plan: Plan<'_>) -> Table {
    let mut names = plan.hub.spec.hostnames.iter();
    let host_name = names.next().cloned().unwrap_or_default();
    let within = cluster_names(&plan.hub.name_any(), &plan.namespace(), &plan.surroundings.cluster_domain);
    let mut others: Vec<Value> = Vec::new();
    for name in names.cloned().chain(within).filter(|name| *name != host_name) {
        let name = Value::String(name);
        if !others.contains(&name) {
            others.push(name);
        }
    }
    table([("host_name", text(host_name)), ("other_host_names", Value::Array(others)), ("data", text(DATA_FOLDER))])
}

fn listeners(hub: &IotHub) -> Table {
    let devices = &hub.spec.services.devices;
    let listen = |enabled: bool, port: u16| text(if enabled { format!("0.0.0.0:{port}") } else { "off".to_owned() });
    table([
        ("mqtt", listen(devices.mqtt.enabled, MQTT_PORT)),
        ("amqp", listen(devices.amqp.enabled, AMQP_PORT)),
        ("https", listen(devices.https.enabled, HTTPS_PORT)),
        ("api", listen(true, API_PORT)),
        ("metrics", listen(true, METRICS_PORT)),
    ])
}

fn events(plan: Plan<'_>) -> Table {
    let mut events = table([
        ("partitions", Value::Integer(plan.hub.spec.partitions.into())),
        ("retention_size", text(size(plan.valid.retention_bytes))),
    ]);
    events.extend(plan.hub.spec.retention.time.map(|time| ("retention_time".to_owned(), span(time))));
    events
}

fn commands(hub: &IotHub) -> Table {
    let commands = &hub.spec.cloud_to_device;
    given([
        ("default_ttl", commands.default_ttl.map(span)),
        ("lock_time", commands.lock_duration.map(span)),
        ("delivery_count_max", commands.max_delivery_count.map(number)),
        ("queue_depth_max", commands.max_queue_depth.map(number)),
        ("pending_max", hub.spec.limits.pending_commands.map(number)),
    ])
}

fn feedback(hub: &IotHub) -> Table {
    let feedback = &hub.spec.cloud_to_device.feedback;
    given([
        ("ttl", feedback.ttl.map(span)),
        ("lock_time", feedback.lock_duration.map(span)),
        ("delivery_count_max", feedback.max_delivery_count.map(number)),
    ])
}

fn proxy_protocol(hub: &IotHub) -> Table {
    let sources = hub.spec.proxy_protocol.as_ref().map(|proxy| proxy.sources.iter().map(text).collect());
    given([("sources", sources.map(Value::Array))])
}

/// The hub asks the cluster about people's tokens.
fn sign_in(plan: Plan<'_>) -> Table {
    let place = || text(format!("{}/{}", plan.namespace(), plan.name()));
    given([("kubernetes_hub", plan.hub.spec.dashboard.kubernetes.enabled.then(place))])
}

fn limits(hub: &IotHub) -> Table {
    let limits = &hub.spec.limits;
    given([
        ("connections", limits.connections.map(number)),
        ("unfinished_connections", limits.unfinished_connections.map(number)),
        ("unfinished_connections_per_address", limits.unfinished_connections_per_address.map(number)),
        ("failed_connections_per_address", limits.failed_connections_per_address.map(number)),
        ("shutdown_time", Some(text(format!("{SHUTDOWN_TIME_S}s")))),
    ])
}

fn policies(plan: Plan<'_>) -> Table {
    let files = |name: &str| {
        table([
            ("primary_key_file", text(format!("{POLICIES_FOLDER}/{name}/primaryKey"))),
            ("secondary_key_file", text(format!("{POLICIES_FOLDER}/{name}/secondaryKey"))),
        ])
    };
    let allowed = |permissions: &[Permission]| Value::Array(permissions.iter().map(|permission| text(format!("{permission:?}"))).collect());
    let mut policies = Table::new();
    for policy in &plan.valid.policies {
        let mut section = files(&policy.name);
        section.extend(policy.permissions.as_ref().map(|permissions| ("permissions".to_owned(), allowed(permissions))));
        policies.insert(policy.name.clone(), Value::Table(section));
    }
    let mut operators = files(OPERATOR_POLICY);
    operators.insert("permissions".to_owned(), allowed(&[Permission::RegistryRead, Permission::RegistryWrite]));
    policies.insert(OPERATOR_POLICY.to_owned(), Value::Table(operators));
    policies
}

fn authorities(hub: &IotHub) -> Table {
    let section = |authority: &mooring_crds::iot_hub::DeviceAuthority| {
        let bundle = authority.config_map_ref.as_ref().or(authority.secret_ref.as_ref())?;
        let file = text(format!("{AUTHORITIES_FOLDER}/{}/{}", authority.name, bundle.key));
        let section = given([("file", Some(file)), ("id_prefix", authority.id_prefix.as_ref().map(text))]);
        Some((authority.name.clone(), Value::Table(section)))
    };
    hub.spec.device_authorities.iter().filter_map(section).collect()
}

/// Whole MiB where it is so, for people.
fn size(bytes: u64) -> String {
    format!("{}MiB", bytes >> 20)
}

/// The hub knows no fractions of a second.
fn span(time: GoDuration) -> Value {
    Value::String(GoDuration(std::time::Duration::from_secs(time.0.as_secs())).to_string())
}

fn number(value: i32) -> Value {
    Value::Integer(value.into())
}

fn text(value: impl AsRef<str>) -> Value {
    Value::String(value.as_ref().to_owned())
}

fn table<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Table {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn given<const N: usize>(entries: [(&str, Option<Value>); N]) -> Table {
    table(entries.into_iter().filter_map(|(key, value)| Some((key, value?))))
}
