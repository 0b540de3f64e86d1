//! The table of settings. A setting is written here once: name, meaning, form with range, default.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use ipnet::IpNet;
use serde::Deserialize;

use super::host_name::HostName;
pub use super::named::{AuthoritySettings, GroupRights, OpenIdSettings, PersonSettings, PolicySettings};
use super::value::{self, Count, GroupNames, InvalidValue, Listen, LogFormat, Size, Span, Value};
use crate::core::hub_place::HubPlace;

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its name in a file: section, dot, key. Those of no section come without a dot.
    pub name: String,
    /// Its flag, without the two hyphens.
    pub flag: String,
    /// Its environment variable.
    pub environment_variable: String,
    /// What it decides.
    pub about: String,
    /// Its form and range.
    pub form: String,
    /// What holds when it is not set; empty when nothing does.
    pub default: &'static str,
}

impl Setting {
    /// All that flags and the environment can set.
    #[must_use]
    pub fn all() -> &'static [Self] {
        static ALL: LazyLock<Vec<Setting>> = LazyLock::new(Settings::describe);
        &ALL
    }

    fn new<Form: Value>(section: &str, key: &str, about: &[&str], default: &'static str) -> Self {
        let name = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
        Self {
            flag: name.replace(['.', '_'], "-"),
            environment_variable: format!("MOORING_{}", name.replace('.', "_").to_ascii_uppercase()),
            about: about.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "),
            form: Form::form(),
            default,
            name,
        }
    }
}

/// Declares a section: a struct that can be read from a file, set key by key, and described.
macro_rules! section {
    ($(#[doc = $about:literal])+ $name:ident $path:literal { $( $(#[doc = $doc:literal])+ $key:ident: $form:ty = $default:literal; )+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $( $(#[doc = $doc])+ #[serde(deserialize_with = "value::deserialize")] pub $key: $form, )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: <$form as Value>::from_text($default).expect("a test reads every default"), )+ }
            }
        }

        impl $name {
            fn describe() -> Vec<Setting> {
                vec![ $( Setting::new::<$form>($path, stringify!($key), &[$($doc),+], $default), )+ ]
            }

            fn set(&mut self, key: &str, text: &str) -> Option<Result<(), InvalidValue>> {
                match key {
                    $( stringify!($key) => Some(<$form as Value>::from_text(text).map(|value| self.$key = value)), )+
                    _ => None,
                }
            }
        }
    };
}

section! {
    /// The hub itself.
    General "" {
        /// The hub's name: the `HostName` of its connection strings. Its certificate has to be for it. Required.
        host_name: Option<HostName> = "";
        /// Further names under which clients reach the hub; `localhost` for those that come through a port forwarding.
        other_host_names: Vec<HostName> = "";
        /// Names of other hubs that clients may believe this one to be: those that come with `GatewayHostName` in their connection string.
        aliases: Vec<HostName> = "";
        /// The folder for events and identities. Required.
        data: Option<PathBuf> = "";
        /// A folder of device manifests (mooring.dev/v1alpha1, YAML or JSON), which is followed. Credentials go to `credentials` in the data folder.
        devices: Option<PathBuf> = "";
    }
}

section! {
    /// Where the hub listens. `[::]` takes IPv4 connections as well, where the machine has it so.
    Listeners "listeners" {
        /// MQTT over TLS.
        mqtt: Listen = "0.0.0.0:8883";
        /// AMQP 1.0 over TLS.
        amqp: Listen = "0.0.0.0:5671";
        /// HTTPS and WebSockets for devices and Azure's service clients.
        https: Listen = "0.0.0.0:443";
        /// The hub's own API, and Azure's for services; no client certificate is requested.
        api: Listen = "0.0.0.0:8443";
        /// Health and metrics.
        metrics: Listen = "0.0.0.0:9464";
    }
}

section! {
    /// The hub's certificate. Both files are read again when they change.
    Tls "tls" {
        /// PEM: the certificate, then those that lead to its root. Required.
        certificate: Option<PathBuf> = "";
        /// PEM: the private key. Required.
        key: Option<PathBuf> = "";
    }
}

section! {
    /// Where identities are kept.
    Registry "registry" {
        /// A file with the URL of a PostgreSQL database, `postgres://USER:PASSWORD@HOST/DATABASE`; without it, SQLite in the data folder.
        url_file: Option<PathBuf> = "";
    }
}

section! {
    /// Device-to-cloud messages.
    Events "events" {
        /// How many partitions; fixed once the data folder is made.
        partitions: Count<1, 32> = "4";
        /// How long events are kept.
        retention_time: Span<3_600, 315_360_000> = "1d";
        /// How much disk events may take; beyond it the oldest go.
        retention_size: Size<{ 256 << 20 }, { 1 << 50 }> = "64GiB";
        /// Consumer groups besides `$Default`, which is always there: back ends that go on where they were need one each. Capitals make no
        /// difference. In the file they are followed while the hub runs.
        consumer_groups: GroupNames = "";
    }
}

section! {
    /// Cloud-to-device commands.
    Commands "commands" {
        /// How long a command waits for its device, unless the sender gives it an expiry of its own.
        default_ttl: Span<60, 172_800> = "1h";
        /// How long a command that was delivered is locked. It goes back to its queue when it is not settled in that time.
        lock_time: Span<5, 300> = "60s";
        /// How often a command is delivered before it is dead-lettered.
        delivery_count_max: Count<1, 100> = "10";
        /// How many commands of one device may wait, delivered ones included.
        queue_depth_max: Count<1, 1_000> = "50";
        /// How many commands of all devices may wait; each takes about 500 bytes of memory.
        pending_max: Count<1, 10_000_000> = "1000000";
    }
}

section! {
    /// Receipts of commands, for back ends.
    Feedback "feedback" {
        /// How long a receipt waits for a back end.
        ttl: Span<60, 172_800> = "1h";
        /// How long receipts that were received are locked.
        lock_time: Span<5, 300> = "60s";
        /// How often a receipt is handed out before it is dropped.
        delivery_count_max: Count<1, 100> = "100";
        /// How many receipts may wait; each takes about 500 bytes of memory. The oldest make room for new ones.
        pending_max: Count<1, 10_000_000> = "500000";
    }
}

section! {
    /// What the metrics say about devices that stay away.
    Monitoring "monitoring" {
        /// After how long without a connection an enabled device counts as offline, unless it has a time of its own; devices without any are not expected.
        offline_after: Option<Span<10, 7_776_000>> = "";
    }
}

section! {
    /// Load balancers before the hub that speak the PROXY protocol, version 2.
    ProxyProtocol "proxy_protocol" {
        /// Connections from these networks have to begin with a PROXY protocol header, and it is believed; not on the metrics port.
        sources: Vec<IpNet> = "";
    }
}

section! {
    /// How people sign in to the dashboard.
    SignIn "sign_in" {
        /// How long somebody stays signed in; never longer than the token that she signed in with.
        session_time: Span<60, 2_592_000> = "12h";
        /// How long somebody stays signed in who does nothing and has no page open.
        idle_time: Span<60, 2_592_000> = "1h";
        /// The IotHub that this hub is in its cluster: then people sign in with the cluster's tokens, made for the audience `mooring:NAMESPACE/NAME`.
        kubernetes_hub: Option<HubPlace> = "";
    }
}

section! {
    /// Who did what.
    Audit "audit" {
        /// How long it is kept.
        retention_time: Span<3_600, 315_360_000> = "90d";
        /// How many entries are kept; each takes about 250 bytes of disk. The oldest go first.
        entries_max: Count<1_000, 100_000_000> = "1000000";
    }
}

section! {
    /// What strangers, and all together, are held to.
    Limits "limits" {
        /// Connections at once. The metrics port is not part of this: it takes 64 of its own.
        connections: Count<1, 4_000_000> = "100000";
        /// From accepting a connection to the end of its TLS handshake.
        handshake_time: Span<1, 300> = "10s";
        /// From the end of the TLS handshake to somebody's authentication; over AMQP for each step on the way there (SASL, open, begin, two links), 15 seconds at most.
        authentication_time: Span<1, 300> = "30s";
        /// For the header of an HTTP request, and between two requests.
        request_header_time: Span<1, 300> = "60s";
        /// Connections, from wherever, on which nobody has authenticated yet.
        unfinished_connections: Count<1, 60_000> = "2048";
        /// The same, of one address (IPv6: of one /64).
        unfinished_connections_per_address: Count<1, 60_000> = "512";
        /// Connections of one address that may end without anybody's authentication, in a burst; then the address is shut out.
        failed_connections_per_address: Count<1, 1_000_000> = "200";
        /// How many such failures are forgiven a second.
        failed_connections_forgiven_per_second: Count<1, 1_000_000> = "20";
        /// Bytes, as they are on the wire, that a connection may send before somebody has authenticated on it.
        bytes_before_authentication: Size<{ 16 << 10 }, { 4 << 20 }> = "128KiB";
        /// For connections to end when the hub is told to stop.
        shutdown_time: Span<1, 300> = "10s";
    }
}

section! {
    /// Logs, on standard error.
    Log "log" {
        /// How they look.
        format: LogFormat = "auto";
        /// Which events: a level, or levels per module as `mooring_hub::mqtt=debug,info`.
        filter: String = "info";
    }
}

/// Every setting, as it was read: in range, but not yet looked at together.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Without a section.
    pub general: General,
    /// `[listeners]`
    pub listeners: Listeners,
    /// `[tls]`
    pub tls: Tls,
    /// `[registry]`
    pub registry: Registry,
    /// `[events]`
    pub events: Events,
    /// `[commands]`
    pub commands: Commands,
    /// `[feedback]`
    pub feedback: Feedback,
    /// `[monitoring]`
    pub monitoring: Monitoring,
    /// `[proxy_protocol]`
    pub proxy_protocol: ProxyProtocol,
    /// `[sign_in]`
    pub sign_in: SignIn,
    /// `[audit]`
    pub audit: Audit,
    /// `[limits]`
    pub limits: Limits,
    /// `[log]`
    pub log: Log,
    /// `[policies.NAME]`
    pub policies: BTreeMap<String, PolicySettings>,
    /// `[device_authorities.NAME]`
    pub device_authorities: BTreeMap<String, AuthoritySettings>,
    /// `[people.NAME]`
    pub people: BTreeMap<String, PersonSettings>,
    /// `[openid]`
    pub openid: Option<OpenIdSettings>,
}

impl Settings {
    fn describe() -> Vec<Setting> {
        [
            General::describe(),
            Listeners::describe(),
            Tls::describe(),
            Registry::describe(),
            Events::describe(),
            Commands::describe(),
            Feedback::describe(),
            Monitoring::describe(),
            ProxyProtocol::describe(),
            SignIn::describe(),
            Audit::describe(),
            Limits::describe(),
            Log::describe(),
        ]
        .concat()
    }

    /// Sets one by its name. `None`: there is no setting of that name.
    pub fn set(&mut self, name: &str, text: &str) -> Option<Result<(), InvalidValue>> {
        match name.split_once('.').unwrap_or(("", name)) {
            ("", key) => self.general.set(key, text),
            ("listeners", key) => self.listeners.set(key, text),
            ("tls", key) => self.tls.set(key, text),
            ("registry", key) => self.registry.set(key, text),
            ("events", key) => self.events.set(key, text),
            ("commands", key) => self.commands.set(key, text),
            ("feedback", key) => self.feedback.set(key, text),
            ("monitoring", key) => self.monitoring.set(key, text),
            ("proxy_protocol", key) => self.proxy_protocol.set(key, text),
            ("sign_in", key) => self.sign_in.set(key, text),
            ("audit", key) => self.audit.set(key, text),
            ("limits", key) => self.limits.set(key, text),
            ("log", key) => self.log.set(key, text),
            _ => None,
        }
    }
}

/// The file's form. (Serde can't refuse unknown keys in a struct that flattens another, so the keys without a section are named twice:
/// here and in [`General`]. A test compares the two.)
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default, deserialize_with = "value::deserialize")]
    host_name: Option<HostName>,
    #[serde(default, deserialize_with = "value::deserialize")]
    other_host_names: Vec<HostName>,
    #[serde(default, deserialize_with = "value::deserialize")]
    aliases: Vec<HostName>,
    #[serde(default, deserialize_with = "value::deserialize")]
    data: Option<PathBuf>,
    #[serde(default, deserialize_with = "value::deserialize")]
    devices: Option<PathBuf>,
    #[serde(default)]
    listeners: Listeners,
    #[serde(default)]
    tls: Tls,
    #[serde(default)]
    registry: Registry,
    #[serde(default)]
    events: Events,
    #[serde(default)]
    commands: Commands,
    #[serde(default)]
    feedback: Feedback,
    #[serde(default)]
    monitoring: Monitoring,
    #[serde(default)]
    proxy_protocol: ProxyProtocol,
    #[serde(default)]
    sign_in: SignIn,
    #[serde(default)]
    audit: Audit,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    policies: BTreeMap<String, PolicySettings>,
    #[serde(default)]
    device_authorities: BTreeMap<String, AuthoritySettings>,
    #[serde(default)]
    people: BTreeMap<String, PersonSettings>,
    #[serde(default)]
    openid: Option<OpenIdSettings>,
}

impl From<File> for Settings {
    fn from(file: File) -> Self {
        let File {
            host_name,
            other_host_names,
            aliases,
            data,
            devices,
            listeners,
            tls,
            registry,
            events,
            commands,
            feedback,
            monitoring,
            proxy_protocol,
            sign_in,
            audit,
            limits,
            log,
            policies,
            device_authorities,
            people,
            openid,
        } = file;
        let general = General { host_name, other_host_names, aliases, data, devices };
        Self {
            general,
            listeners,
            tls,
            registry,
            events,
            commands,
            feedback,
            monitoring,
            proxy_protocol,
            sign_in,
            audit,
            limits,
            log,
            policies,
            device_authorities,
            people,
            openid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_takes_its_own_default_from_a_flag_and_from_a_file() {
        let mut settings = Settings::default();
        for setting in Setting::all() {
            settings.set(&setting.name, setting.default).unwrap().unwrap();
            let (section, key) = setting.name.split_once('.').unwrap_or(("", &setting.name));
            let header = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
            let text = format!("{header}{key} = {:?}", setting.default);
            toml::from_str::<File>(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        assert!(settings.set("limits.nothing", "1").is_none() && settings.set("nothing.data", "1").is_none());
    }
}
