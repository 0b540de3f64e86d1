//! The composition root: from a configuration to a hub that listens, and back.
//!
//! Owns the order in which things begin and end. Decides nothing that a request could notice.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::cluster::ClusterSetupError;
use self::configuration::FollowedConfiguration;
use self::device_authorities::{AuthorityError, FollowedAuthorities};
use self::following::LookNow;
use self::health::Health;
use self::listeners::{Addresses, BoundPorts, Edge, Ports};
use self::manifests::{Manifests, ManifestsError};
use self::openid::OpenIdSetupError;
use self::people::{FollowedPeople, PersonError};
use self::policies::{FollowedPolicies, PolicyError};
use self::stores::{StoreError, Stores};
use self::surroundings::AroundTheHub;
use crate::config::{Config, HostName, Source};
use crate::core::consumer_group::ConsumerGroup;
use crate::core::host::HubNames;
use crate::core::session::DisconnectReason;
use crate::core::time::Clock;
use crate::net::certificate::CertificateError;
use crate::net::{Admissions, BindError, CertificateFiles, ReloadingCertificate, StrangerLimits};
use crate::ops::describe_hub::CertificateExpiry;
use crate::ops::device_authorities::replace_device_authorities;
use crate::ops::open_session::close_all_sessions;
use crate::ops::sign_in::password::replace_people;
use crate::ops::{Hub, HubParts, commands};

pub mod certificate_authority;
pub mod clock;
pub mod cluster;
mod configuration;
pub mod dev;
pub mod device_authorities;
mod following;
pub mod health;
pub mod http_server;
pub mod listeners;
pub mod logs;
pub mod manifests;
pub mod openid;
pub mod people;
pub mod policies;
pub mod private_file;
pub mod protocols;
pub mod readiness;
mod settling;
pub mod stores;
mod surroundings;
#[cfg(test)]
mod tests;
pub mod trust;
mod upkeep;

/// How often sessions are told to end while the hub waits for them: one may have begun after the last time.
const FAREWELL_EVERY: Duration = Duration::from_millis(50);

/// The hub can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The certificate.
    #[error("the hub's certificate can't be used")]
    Certificate(#[from] CertificateError),
    /// An authority of devices.
    #[error("an authority of devices can't be used")]
    DeviceAuthority(#[from] AuthorityError),
    /// TLS.
    #[error("TLS can't be set up")]
    Tls(#[from] rustls::Error),
    /// The policies' keys.
    #[error("the shared access policies can't be read")]
    Policies(#[from] PolicyError),
    /// A person's password.
    #[error("the people who sign in can't be read")]
    People(#[from] PersonError),
    /// The cluster whose tokens are taken.
    #[error("the cluster whose tokens people sign in with can't be asked")]
    Cluster(#[from] ClusterSetupError),
    /// The issuer whose word is taken.
    #[error("the OpenID Connect issuer can't be asked")]
    OpenId(#[from] OpenIdSetupError),
    /// The stores.
    #[error("the hub's data can't be opened")]
    Stores(#[from] StoreError),
    /// The folder of manifests.
    #[error("the devices' manifests can't be followed")]
    Manifests(#[from] ManifestsError),
    /// The log filter.
    #[error(transparent)]
    Log(#[from] logs::LogError),
    /// Signals.
    #[error("signals can't be waited for")]
    Signals(#[source] std::io::Error),
}

/// A hub that listens.
pub struct RunningHub {
    hub: Arc<Hub>,
    stores: Stores,
    health: Health,
    addresses: Addresses,
    https_left_out: Option<BindError>,
    stop: CancellationToken,
    look_now: LookNow,
    listening: JoinSet<()>,
    upkeep: JoinSet<()>,
    command_desk: JoinHandle<()>,
    shutdown_time: Duration,
}

/// Runs a hub until the process is told to stop. SIGHUP makes it look at the files that it follows; `source` is where `config` was read.
pub async fn run(config: &Config, source: &Source) -> Result<(), StartError> {
    let clock: Arc<dyn Clock> = Arc::new(clock::SystemClock);
    let stores = Stores::open(config, &clock).await?;
    let mut running = start(config, stores, clock, Ports::Exactly)?;
    running.follow_configuration(config, source);
    running.follow_manifests(config).await?;
    let mut hangup = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
    let mut told_to_stop = Box::pin(told_to_stop()?);
    loop {
        tokio::select! {
            name = &mut told_to_stop => {
                info!(signal = name, "stopping: {name}");
                break;
            }
            _ = hangup.recv() => running.look_now.look(),
        }
    }
    running.stop().await;
    Ok(())
}

/// Starts a hub on open stores.
pub fn start(config: &Config, stores: Stores, clock: Arc<dyn Clock>, ports: Ports) -> Result<RunningHub, StartError> {
    let mut ports = BoundPorts::bind(config, ports)?;
    raise_descriptor_limit(config);
    let certificate = ReloadingCertificate::load(certificate_files(config))?;
    for name in names_not_covered(config, &certificate) {
        warn!(%name, "the certificate is not for {name}: clients that come by this name will refuse it");
    }
    let authorities = FollowedAuthorities::load(&config.device_authorities)?;
    let policies = FollowedPolicies::load(&config.data, &config.policies)?;
    let people = FollowedPeople::load(&config.people)?;
    let cluster = config.sign_in.kubernetes_hub.clone().map(cluster::door).transpose()?;
    let issuer = config.openid.as_ref().map(openid::door).transpose()?;
    let admissions = Admissions::new(stranger_limits(config), Arc::clone(&clock));
    let hub = Arc::new(Hub::new(HubParts {
        names: hub_names(config),
        boot: stores.boot,
        policies: policies.current(),
        command_limits: config.commands.clone(),
        offline_after: config.offline_after,
        registry: Arc::clone(&stores.registry),
        events: Arc::clone(&stores.journal) as _,
        commands: Arc::clone(&stores.commands),
        connection_log: Arc::clone(&stores.connection_log),
        group_positions: Arc::clone(&stores.group_positions),
        audit: people::audit(config, &stores),
        sign_in: people::sign_in(config),
        certificate_expiry: CertificateExpiry::told_by({
            let certificate = Arc::clone(&certificate);
            move || certificate.not_after()
        }),
        surroundings: Arc::new(AroundTheHub {
            admissions: Arc::clone(&admissions),
            certificate: Arc::clone(&certificate),
            journal: Arc::clone(&stores.journal),
            data: config.data.clone(),
            retention_bytes: config.events.retention_size.get(),
            retention: config.events.retention_time.get(),
        }),
        clock,
    }));
    replace_device_authorities(&hub, authorities.current());
    hub.consumer_groups.replace(config.events.consumer_groups.get().to_vec());
    replace_people(&hub, people.current());
    cluster.into_iter().for_each(|door| drop(hub.sign_in.cluster.set(door)));
    issuer.into_iter().for_each(|door| drop(hub.sign_in.openid.set(door)));
    let health = Health::new(&hub, &stores.journal, &admissions, &certificate);

    let mut running = RunningHub {
        stores,
        health,
        addresses: ports.addresses(),
        https_left_out: ports.https_left_out.take(),
        stop: CancellationToken::new(),
        look_now: LookNow::default(),
        listening: JoinSet::new(),
        upkeep: JoinSet::new(),
        command_desk: tokio::spawn(commands::run(Arc::clone(&hub))),
        shutdown_time: config.limits.shutdown_time.get(),
        hub,
    };
    running.look_now.follow(&running.hub, (Arc::clone(&certificate), authorities, policies, people), &mut running.upkeep);
    upkeep::begin(&running.hub, &mut running.upkeep);
    running.upkeep.spawn(people::keep_sessions(Arc::clone(&running.hub)));
    running.upkeep.spawn(people::review_sessions(Arc::clone(&running.hub)));
    running.upkeep.spawn(people::keep_audit(Arc::clone(&running.hub)));
    let edge = Edge { config, certificate, admissions, stop: running.stop.clone() };
    let routers = protocols::routers(&running.hub, &running.health, config.limits.authentication_time.get(), &running.stop);
    edge.serve(ports, &running.hub, &routers, &mut running.listening)?;
    running.health.set_open(true);
    info!(host_name = %config.host_name, "the hub {} listens: {}", config.host_name, running.addresses);
    Ok(running)
}

impl RunningHub {
    /// The hub.
    #[must_use]
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Why there is no HTTPS port, if it was left out.
    #[must_use]
    pub fn https_left_out(&self) -> Option<&BindError> {
        self.https_left_out.as_ref()
    }

    /// Follows the file that `config` was read from, if there is one.
    pub fn follow_configuration(&mut self, config: &Config, source: &Source) {
        if let Some(followed) = FollowedConfiguration::of(source, config) {
            self.look_now.follow_configuration(&self.hub, followed, &mut self.upkeep);
        }
    }

    /// Carries out what the folder of manifests says, if there is to be one, and follows it from then on.
    pub async fn follow_manifests(&mut self, config: &Config) -> Result<(), ManifestsError> {
        if let Some(folder) = &config.devices {
            let mut manifests = Manifests::open(&self.hub, folder, &config.data)?;
            manifests.carry_out_once().await;
            self.upkeep.spawn(manifests.follow());
        }
        Ok(())
    }

    /// Takes no more connections, ends the sessions, and closes the stores. Takes no longer than it may.
    pub async fn stop(mut self) {
        self.health.set_open(false);
        self.stop.cancel();
        if time::timeout(self.shutdown_time, self.drain()).await.is_err() {
            warn!("connections did not end within {:?} and were cut", self.shutdown_time);
        }
        self.listening.shutdown().await;
        // Those of connections that were cut: who watches and who asks later hear that they ended, and why.
        close_all_sessions(&self.hub, DisconnectReason::HubShutdown);
        self.hub.changes.end();
        self.hub.commands.stop();
        if time::timeout(self.shutdown_time, &mut self.command_desk).await.is_err() {
            warn!("the commands' store did not answer within {:?}, what was asked of it last may not have happened", self.shutdown_time);
            self.command_desk.abort();
        }
        self.upkeep.shutdown().await;
        upkeep::end(&self.hub).await;
        drop(self.hub);
        self.stores.close().await;
        info!("stopped");
    }

    /// Ends sessions until all connections are gone. Those who watch see the sessions end, and are then told that it is over.
    async fn drain(&mut self) {
        while !self.listening.is_empty() {
            self.hub.presence.end_all(DisconnectReason::HubShutdown);
            if self.hub.presence.is_empty() {
                self.hub.changes.end();
            }
            let _ = time::timeout(FAREWELL_EVERY, self.listening.join_next()).await;
        }
    }
}

/// What a hub with this configuration would do, for people. Reads the files that it names; binds, opens and changes nothing.
pub fn check(config: &Config) -> Result<String, StartError> {
    logs::check(&config.log.filter)?;
    let certificate = ReloadingCertificate::load(certificate_files(config))?;
    for (name, settings) in &config.policies {
        policies::check(name, settings)?;
    }
    FollowedAuthorities::load(&config.device_authorities)?;
    FollowedPeople::load(&config.people)?;
    config.openid.as_ref().map(openid::door).transpose()?;
    let mut text = String::new();
    let _ = describe(&mut text, config, &certificate);
    Ok(text)
}

fn describe(text: &mut String, config: &Config, certificate: &ReloadingCertificate) -> std::fmt::Result {
    writeln!(text, "The configuration is good. The hub would")?;
    writeln!(text, "  be called {}", list([&config.host_name].into_iter().chain(&config.other_host_names)))?;
    if !config.aliases.is_empty() {
        writeln!(text, "  stand in for {}", list(&config.aliases))?;
    }
    let not_after = certificate.not_after().map_or_else(|| "an unknown time".to_owned(), |time| time.to_string());
    writeln!(text, "  show the certificate {}, valid until {not_after}", config.certificate.display())?;
    for name in names_not_covered(config, certificate) {
        writeln!(text, "    which is NOT for {name}: clients that come by this name would refuse it")?;
    }
    let listeners = &config.listeners;
    for (what, listen) in [
        ("MQTT", listeners.mqtt),
        ("AMQP", listeners.amqp),
        ("HTTPS", listeners.https),
        ("API", listeners.api),
        ("metrics", listeners.metrics),
    ] {
        match listen.0 {
            Some(address) => writeln!(text, "  listen on {address} for {what}")?,
            None => writeln!(text, "  not listen for {what}")?,
        }
    }
    writeln!(
        text,
        "  keep events in {}, {} partitions, for {:?}, at most {} MiB",
        config.data.display(),
        config.events.partitions.get(),
        config.events.retention_time.get(),
        config.events.retention_size.get() >> 20
    )?;
    let groups = [ConsumerGroup::default()].into_iter().chain(config.events.consumer_groups.get().iter().cloned());
    writeln!(text, "  have the consumer groups {}", list(groups))?;
    match &config.registry_url_file {
        Some(path) => writeln!(text, "  keep identities in the PostgreSQL database that {} names", path.display())?,
        None => writeln!(text, "  keep identities in {}, in SQLite", config.data.display())?,
    }
    if let Some(folder) = &config.devices {
        writeln!(text, "  carry out the device manifests in {}", folder.display())?;
    }
    writeln!(
        text,
        "  believe the PROXY protocol headers of {}",
        if config.proxy_sources.is_empty() { "nobody".to_owned() } else { list(&config.proxy_sources) }
    )?;
    for (name, authority) in &config.device_authorities {
        let whose = if authority.id_prefix.is_empty() {
            "any device".to_owned()
        } else {
            format!("devices whose id begins with {}", authority.id_prefix)
        };
        writeln!(text, "  let in {whose} with a certificate of the authority {name} in {}", authority.file.display())?;
    }
    for (name, person) in &config.people {
        writeln!(text, "  let {name} sign in with a password, with the rights {}", list(&person.rights))?;
    }
    if let Some(place) = &config.sign_in.kubernetes_hub {
        writeln!(text, "  let people sign in with tokens of the cluster for the audience {}", place.audience())?;
    }
    if let Some(openid) = &config.openid {
        writeln!(text, "  let people sign in whom {} knows, in the groups {}", openid.issuer, list(openid.groups.keys()))?;
    }
    let own: Vec<_> = config.policies.keys().collect();
    writeln!(
        text,
        "  have the five built-in policies{}",
        if own.is_empty() { String::new() } else { format!(", with keys from files for {}", list(own)) }
    )
}

fn list(items: impl IntoIterator<Item = impl ToString>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn certificate_files(config: &Config) -> CertificateFiles {
    CertificateFiles { certificate: config.certificate.clone(), key: config.key.clone() }
}

fn names_not_covered<'a>(config: &'a Config, certificate: &ReloadingCertificate) -> Vec<&'a HostName> {
    let own = [&config.host_name].into_iter().chain(&config.other_host_names);
    own.filter(|name| !certificate.is_for(name.as_str())).collect()
}

fn hub_names(config: &Config) -> HubNames {
    let others = config.other_host_names.iter().chain(&config.aliases).map(ToString::to_string).collect::<Vec<_>>();
    HubNames::new(config.host_name.as_str(), &others)
}

fn stranger_limits(config: &Config) -> StrangerLimits {
    let limits = &config.limits;
    StrangerLimits {
        connections: limits.connections.get_u32(),
        unfinished: limits.unfinished_connections.get_u32(),
        unfinished_per_address: limits.unfinished_connections_per_address.get_u32(),
        failed_per_address: limits.failed_connections_per_address.get_u32(),
        failed_per_address_per_second: limits.failed_connections_forgiven_per_second.get_u32(),
        bytes_before_authentication: u32::try_from(limits.bytes_before_authentication.get()).unwrap_or(u32::MAX),
    }
}

/// Takes as many file descriptors as the system grants without asking: a connection needs one.
fn raise_descriptor_limit(config: &Config) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).is_ok();
    let usable = if raised { limit.maximum } else { limit.current };
    let wanted = config.limits.connections.get();
    if let Some(usable) = usable.filter(|usable| *usable < wanted) {
        warn!(
            usable,
            wanted, "this process may have {usable} file descriptors (ulimit -Hn), fewer than limits.connections, which is {wanted}"
        );
    }
}

/// Answers with the signal's name when the process is told to stop.
fn told_to_stop() -> Result<impl Future<Output = &'static str>, StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}
