//! From a file, the environment and flags to a configuration that holds together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use super::host_name::HostName;
use super::settings::{
    Audit, AuthoritySettings, Commands, Events, Feedback, File, Limits, Listeners, Log, OpenIdSettings, PersonSettings, PolicySettings,
    Setting, Settings, SignIn,
};
use super::value::{InvalidValue, Span};
use crate::core::command::CommandLimits;
use crate::core::device_id::DeviceId;
use crate::core::policy::BUILT_IN_POLICIES;

/// The most authorities: each may be asked about each certificate that nobody knows.
const DEVICE_AUTHORITIES_MAX: usize = 64;

/// The most people with passwords: a file for each is looked at again and again.
const PEOPLE_MAX: usize = 1000;

/// The longest name.
const PERSON_NAME_MAX_BYTES: usize = 128;

/// A setting from outside the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The setting's name in a file.
    pub name: String,
    /// Its value.
    pub text: String,
    /// Where it comes from, such as `--data` or `MOORING_DATA`.
    pub origin: String,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    /// What comes from outside it, and wins.
    pub overrides: Vec<Override>,
}

/// What a hub runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name in connection strings.
    pub host_name: HostName,
    /// Further names.
    pub other_host_names: Vec<HostName>,
    /// Foreign hubs' names that clients may come with.
    pub aliases: Vec<HostName>,
    /// The folder for everything.
    pub data: PathBuf,
    /// The folder of device manifests, if there is to be one.
    pub devices: Option<PathBuf>,
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
    /// The file with the registry's URL; `None` is SQLite in the data folder.
    pub registry_url_file: Option<PathBuf>,
    /// Where to listen.
    pub listeners: Listeners,
    /// Partitions and retention.
    pub events: Events,
    /// What commands and receipts are held to.
    pub commands: CommandLimits,
    /// After how long a device counts as offline that says nothing about it itself.
    pub offline_after: Option<Duration>,
    /// Networks whose PROXY protocol headers are required and believed.
    pub proxy_sources: Vec<ipnet::IpNet>,
    /// How people sign in.
    pub sign_in: SignIn,
    /// What is kept of the audit.
    pub audit: Audit,
    /// Limits.
    pub limits: Limits,
    /// Logs.
    pub log: Log,
    /// Policies with keys from files, by name.
    pub policies: BTreeMap<String, PolicySettings>,
    /// Authorities that issue certificates to devices, by name.
    pub device_authorities: BTreeMap<String, AuthoritySettings>,
    /// People with passwords, by name.
    pub people: BTreeMap<String, PersonSettings>,
    /// The issuer that people come from, if there is one.
    pub openid: Option<OpenIdSettings>,
}

/// The configuration does not hold. Displays what to change, and where.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration file {path} can't be read")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not as it should be; `problem` names the line and the key.
    #[error("{path}: {problem}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong, with its line.
        problem: String,
    },
    /// A flag or an environment variable is not as it should be.
    #[error("{origin}: {problem}")]
    Override {
        /// The flag or the variable.
        origin: String,
        /// What is wrong.
        problem: InvalidValue,
    },
    /// A setting that has no default is not set.
    #[error("{name} is not set: put it into the file, or use --{flag} or {variable}")]
    Missing {
        /// The setting.
        name: String,
        /// Its flag.
        flag: String,
        /// Its environment variable.
        variable: String,
    },
    /// Each is right, together they are not.
    #[error("{0}")]
    Contradiction(String),
}

impl Source {
    /// Reads everything: the file (when there is one), then what comes from outside it.
    pub fn read(&self) -> Result<Config, ConfigError> {
        match &self.path {
            Some(path) => {
                let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
                self.parse(&text)
            }
            None => self.complete(Settings::default()),
        }
    }

    /// The same, when the file holds `text`.
    pub fn parse(&self, text: &str) -> Result<Config, ConfigError> {
        let path = || self.path.clone().unwrap_or_default();
        self.complete(parse(text).map_err(|problem| ConfigError::File { path: path(), problem })?)
    }

    fn complete(&self, mut settings: Settings) -> Result<Config, ConfigError> {
        for given in &self.overrides {
            match settings.set(&given.name, &given.text) {
                Some(Ok(())) => {}
                Some(Err(problem)) => return Err(ConfigError::Override { origin: given.origin.clone(), problem }),
                None => return Err(ConfigError::Contradiction(format!("{}: there is no setting {}", given.origin, given.name))),
            }
        }
        Config::check(settings)
    }
}

fn parse(text: &str) -> Result<Settings, String> {
    toml::from_str::<File>(text).map(Settings::from).map_err(|error| error.to_string().trim_end().to_owned())
}

fn command_limits(commands: &Commands, feedback: &Feedback) -> CommandLimits {
    let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    CommandLimits {
        default_ttl: commands.default_ttl.get(),
        lock_time: commands.lock_time.get(),
        delivery_count_max: commands.delivery_count_max.get_u32(),
        queue_depth_max: count(commands.queue_depth_max.get()),
        pending_max: count(commands.pending_max.get()),
        feedback_ttl: feedback.ttl.get(),
        feedback_lock_time: feedback.lock_time.get(),
        feedback_delivery_count_max: feedback.delivery_count_max.get_u32(),
        feedback_max: count(feedback.pending_max.get()),
    }
}

impl Config {
    fn check(settings: Settings) -> Result<Self, ConfigError> {
        let Settings {
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
        } = settings;
        let config = Self {
            host_name: general.host_name.ok_or_else(|| missing("host_name"))?,
            other_host_names: general.other_host_names,
            aliases: general.aliases,
            data: general.data.ok_or_else(|| missing("data"))?,
            devices: general.devices,
            certificate: tls.certificate.ok_or_else(|| missing("tls.certificate"))?,
            key: tls.key.ok_or_else(|| missing("tls.key"))?,
            registry_url_file: registry.url_file,
            listeners,
            events,
            commands: command_limits(&commands, &feedback),
            offline_after: monitoring.offline_after.map(Span::get),
            proxy_sources: proxy_protocol.sources,
            sign_in,
            audit,
            limits,
            log,
            policies,
            device_authorities,
            people,
            openid,
        };
        config.check_listeners()?;
        config.check_limits()?;
        config.check_policies()?;
        config.check_device_authorities()?;
        config.check_people()?;
        config.check_openid()?;
        Ok(config)
    }

    fn check_listeners(&self) -> Result<(), ConfigError> {
        let Listeners { mqtt, amqp, https, api, metrics } = &self.listeners;
        let addresses: Vec<_> = [mqtt, amqp, https, api, metrics].into_iter().filter_map(|listen| listen.0).collect();
        let twice = addresses.iter().enumerate().find(|(at, address)| address.port() != 0 && addresses[..*at].contains(address));
        match twice {
            Some((_, address)) => Err(ConfigError::Contradiction(format!("two listeners are on {address}"))),
            None if addresses.is_empty() => Err(ConfigError::Contradiction("every listener is off".to_owned())),
            None => Ok(()),
        }
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        let all = self.limits.unfinished_connections.get();
        let one = self.limits.unfinished_connections_per_address.get();
        if one > all {
            return Err(ConfigError::Contradiction(format!(
                "limits.unfinished_connections_per_address ({one}) is above limits.unfinished_connections ({all})"
            )));
        }
        Ok(())
    }

    fn check_policies(&self) -> Result<(), ConfigError> {
        for (name, policy) in &self.policies {
            let is_built_in = BUILT_IN_POLICIES.iter().any(|(built_in, _)| built_in == name);
            let problem = match (is_built_in, policy.permissions.is_empty()) {
                _ if !is_plain(name) => "its name may have 1 to 64 letters, digits, hyphens, underscores and dots",
                (true, false) => "what this policy allows is fixed; leave permissions out",
                (false, true) => "permissions are missing: RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect",
                _ => continue,
            };
            return Err(ConfigError::Contradiction(format!("policies.{name}: {problem}")));
        }
        Ok(())
    }

    fn check_device_authorities(&self) -> Result<(), ConfigError> {
        if self.device_authorities.len() > DEVICE_AUTHORITIES_MAX {
            return Err(ConfigError::Contradiction(format!("there are at most {DEVICE_AUTHORITIES_MAX} device_authorities")));
        }
        for (name, authority) in &self.device_authorities {
            let problem = if !is_plain(name) {
                "its name may have 1 to 64 letters, digits, hyphens, underscores and dots"
            } else if !authority.id_prefix.is_empty() && DeviceId::parse(&authority.id_prefix).is_err() {
                "no device id begins with its id_prefix"
            } else {
                continue;
            };
            return Err(ConfigError::Contradiction(format!("device_authorities.{name}: {problem}")));
        }
        Ok(())
    }

    fn check_people(&self) -> Result<(), ConfigError> {
        if self.people.len() > PEOPLE_MAX {
            return Err(ConfigError::Contradiction(format!("there are at most {PEOPLE_MAX} people")));
        }
        for (name, person) in &self.people {
            let problem = if name.is_empty() || name.len() > PERSON_NAME_MAX_BYTES || name.chars().any(char::is_control) {
                "a name has 1 to 128 bytes, without control characters"
            } else if person.rights.is_empty() {
                "rights are missing: Read, Bodies, Commands, Devices, Secrets"
            } else {
                continue;
            };
            return Err(ConfigError::Contradiction(format!("people.{name:?}: {problem}")));
        }
        Ok(())
    }

    fn check_openid(&self) -> Result<(), ConfigError> {
        let Some(openid) = &self.openid else { return Ok(()) };
        let problem = if !openid.issuer.starts_with("https://") {
            "issuer: its URL begins with https://"
        } else if openid.client_id.is_empty() {
            "client_id is empty"
        } else if openid.groups.is_empty() || openid.groups.values().any(|group| group.0.is_empty()) {
            "groups are missing, each with rights: Read, Bodies, Commands, Devices, Secrets"
        } else {
            return Ok(());
        };
        Err(ConfigError::Contradiction(format!("openid.{problem}")))
    }
}

/// Whether a section may be called that.
fn is_plain(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn missing(name: &str) -> ConfigError {
    let setting = Setting::all().iter().find(|setting| setting.name == name);
    let (flag, variable) = setting.map(|setting| (setting.flag.clone(), setting.environment_variable.clone())).unwrap_or_default();
    ConfigError::Missing { name: name.to_owned(), flag, variable }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "host_name = \"hub.example\"\ndata = \"/data\"\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n";

    fn check(text: &str) -> Result<Config, String> {
        parse(text).and_then(|settings| Config::check(settings).map_err(|error| error.to_string()))
    }

    fn with(text: &str) -> Result<Config, String> {
        check(&format!("{WHOLE}{text}"))
    }

    #[test]
    fn the_rules_of_commands_have_the_same_defaults_in_both_places() {
        assert_eq!(check(WHOLE).unwrap().commands, CommandLimits::default());
        let config = with("[commands]\nlock_time = \"5s\"\n[feedback]\npending_max = 7\n").unwrap();
        assert_eq!((config.commands.lock_time.as_secs(), config.commands.feedback_max), (5, 7));
    }

    #[test]
    fn a_file_is_read() {
        let config = with(concat!(
            "[listeners]\nmqtt = \"127.0.0.1:1\"\nhttps = \"off\"\n[events]\npartitions = 8\nretention_time = \"7d\"\n",
            "[proxy_protocol]\nsources = [\"10.0.0.0/8\"]\n[limits]\nbytes_before_authentication = \"64KiB\"\n",
            "[policies.reader]\npermissions = [\"ServiceConnect\"]\nprimary_key_file = \"a\"\nsecondary_key_file = \"b\"\n",
        ))
        .unwrap();
        assert_eq!(config.host_name.as_str(), "hub.example");
        assert_eq!((config.listeners.mqtt.0, config.listeners.https.0), ("127.0.0.1:1".parse().ok(), None));
        assert_eq!((config.events.partitions.get(), config.events.retention_time.get().as_secs()), (8, 7 * 86_400));
        assert_eq!(config.events.retention_size.get(), 64 << 30, "what is not named keeps its default");
        assert_eq!(config.limits.bytes_before_authentication.get(), 64 << 10);
        assert_eq!(config.policies["reader"].permissions.len(), 1);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_name() {
        for (text, line, key) in [
            ("host_nam = \"x\"", 1, "host_nam"),
            ("data = \"x\"\n[listenrs]\n", 2, "listenrs"),
            ("[limits]\n\nhandshake_tim = \"1s\"", 3, "handshake_tim"),
            ("[device_authorities.p]\nfile = \"a\"\nprefix = \"b\"", 3, "prefix"),
            ("[people.ada]\nrights = \"Read\"\nhash = \"b\"", 3, "hash"),
            ("[policies.p]\nprimary_key_file = \"a\"\nkey = \"b\"", 3, "key"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(&format!("line {line}")) && error.contains(&format!("unknown field `{key}`")), "{error}");
        }
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_its_line_and_range() {
        let error = check("[limits]\nhandshake_time = \"10m\"").unwrap_err();
        assert!(error.contains("line 2") && error.contains("handshake_time") && error.contains("from 1s to 5m"), "{error}");
        let error = check("[events]\npartitions = 33").unwrap_err();
        assert!(error.contains("line 2") && error.contains("from 1 to 32"), "{error}");
        assert!(check("[events]\npartitions = -1").unwrap_err().contains("line 2"));
        assert!(check("host_name = \"hub:443\"").unwrap_err().contains("line 1"));
    }

    #[test]
    fn consumer_groups_are_a_list_of_names_or_say_what_is_wrong_with_it() {
        let groups = |text: &str| {
            let config = with(&format!("[events]\nconsumer_groups = {text}\n"))?;
            Ok::<_, String>(config.events.consumer_groups.get().iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(groups("[\"alerts\", \"Billing\"]"), Ok(vec!["alerts".to_owned(), "Billing".to_owned()]));
        assert_eq!(groups("\"alerts, Billing\"").unwrap().len(), 2);
        assert_eq!(groups("[]"), Ok(vec![]));
        for (text, word) in [
            ("[\"a\", \"A\"]", "A is there twice"),
            ("[\"$Default\"]", "$Default is there already: leave it out"),
            ("[\"a b\"]", "not ' '"),
            ("[\"-a\"]", "not '-'"),
        ] {
            let error = groups(text).unwrap_err();
            assert!(error.contains("line 7") && error.contains("at most 19 names") && error.contains(word), "{error}");
        }
        let many = format!("{:?}", (0..20).map(|number| format!("g{number}")).collect::<Vec<_>>());
        assert!(groups(&many).unwrap_err().contains("leave 1 out"));
    }

    #[test]
    fn what_is_missing_is_named_in_all_three_ways() {
        let error = check("data = \"x\"").unwrap_err();
        assert_eq!(error, "host_name is not set: put it into the file, or use --host-name or MOORING_HOST_NAME");
        let error = check("host_name = \"x\"\ndata = \"x\"\n[tls]\ncertificate = \"x\"").unwrap_err();
        assert_eq!(error, "tls.key is not set: put it into the file, or use --tls-key or MOORING_TLS_KEY");
    }

    #[test]
    fn contradictions_are_refused() {
        let policy = |name: &str, more: &str| format!("[policies.{name}]\n{more}primary_key_file = \"a\"\nsecondary_key_file = \"b\"\n");
        for (text, word) in [
            ("[listeners]\nmqtt = \"0.0.0.0:443\"\n".to_owned(), "two listeners are on 0.0.0.0:443"),
            (
                "[listeners]\nmqtt = \"off\"\namqp = \"off\"\nhttps = \"off\"\napi = \"off\"\nmetrics = \"off\"".to_owned(),
                "every listener is off",
            ),
            ("[limits]\nunfinished_connections = 100".to_owned(), "(512) is above limits.unfinished_connections (100)"),
            (policy("mine", ""), "permissions are missing"),
            (policy("service", "permissions = [\"RegistryWrite\"]\n"), "leave permissions out"),
            (policy("\"a b\"", ""), "its name may have"),
            ("[people.ada]\npassword_hash_file = \"f\"\nrights = []".to_owned(), "people.\"ada\": rights are missing"),
            ("[openid]\nissuer = \"http://i\"\nclient_id = \"m\"".to_owned(), "openid.issuer: its URL begins with https://"),
            ("[openid]\nissuer = \"https://i\"\nclient_id = \"m\"".to_owned(), "openid.groups are missing"),
            ("[people.\"\"]\npassword_hash_file = \"f\"\nrights = [\"Read\"]".to_owned(), "a name has 1 to 128 bytes"),
            ("[device_authorities.\"a b\"]\nfile = \"f\"".to_owned(), "device_authorities.a b: its name may have"),
            ("[device_authorities.plant]\nfile = \"f\"\nid_prefix = \"a b\"".to_owned(), "no device id begins with its id_prefix"),
        ] {
            let error = with(&text).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn flags_and_environment_win_over_the_file_and_are_named_when_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.toml");
        fs::write(&path, WHOLE).unwrap();
        let given = |name: &str, text: &str| Override { name: name.into(), text: text.into(), origin: format!("--{name}") };
        let read = |path: Option<&PathBuf>, overrides: &[Override]| Source { path: path.cloned(), overrides: overrides.to_vec() }.read();
        let config = read(Some(&path), &[given("data", "/elsewhere"), given("aliases", "a.example,b.example")]).unwrap();
        assert_eq!((config.data, config.aliases.len()), (PathBuf::from("/elsewhere"), 2));
        let error = read(Some(&path), &[given("events.partitions", "0")]).unwrap_err().to_string();
        assert_eq!(error, "--events.partitions: \"0\" is not a number from 1 to 32");
        assert!(matches!(read(Some(&folder.path().join("absent")), &[]), Err(ConfigError::Read { .. })));
        assert!(read(None, &[given("host_name", "h"), given("data", "d"), given("tls.certificate", "c"), given("tls.key", "k")]).is_ok());
    }
}
