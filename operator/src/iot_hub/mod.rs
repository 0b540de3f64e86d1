//! The IotHub controller: reads, checks, settles keys and certificates, builds, applies, and says how the hub stands.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, future};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use mooring_crds::IotHub;
use mooring_crds::iot_hub::DeviceCounts;
use rand::RngCore as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::apply::Applied;
use self::build::{Plan, Surroundings};
use self::certificates::behind_first;
use self::child::{ChildKey, Kind, OPTIONAL_KINDS};
use self::dereference::{Facts, dereference, entry, names, references};
use self::material::{For, Material, settle, signing_key};
use self::status::{Known, is_rolled_out, status};
use self::validate::{Valid, validate};
use crate::clock::Clock;
use crate::events::Events;
use crate::hub::{Endpoint, HubInfo, HubKey, Links};
use crate::labels::{self, HubChildren};
use crate::observe::{Metrics, Outcome};
use crate::scope::Scope;
use crate::seldom::Seldom;

pub mod apply;
pub mod build;
pub mod certificates;
pub mod child;
pub mod dereference;
pub mod lost;
pub mod material;
pub mod quantity;
mod say;
pub mod status;
#[cfg(test)]
mod tests;
pub mod validate;

/// How often a hub that runs is asked how many devices it has; what is told of them is at most this old, and no newer.
const DEVICES_READ_EVERY: Duration = Duration::from_secs(30);

/// How soon a hub that ought to answer and does not yet is asked again; each time that it does not, it is given twice as long.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// And at the most so long.
const ASKED_AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);

/// How often a hub is looked at that waits for something that no watch tells of.
const LOOKED_AT_AGAIN_AFTER: Duration = Duration::from_secs(15);

/// How long it is known which kinds that are not part of Kubernetes there are.
const KINDS_KNOWN_FOR: Duration = Duration::from_secs(60);

/// How many hubs are reconciled at once.
const CONCURRENT_MAX: u16 = 8;

/// How long a hub may take to say something about itself.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How often that is told: all watches of a namespace that is gone are refused for ever.
static WATCHES_BEGUN_AGAIN: Seldom = Seldom::new(Duration::from_secs(60));

/// An IotHub, or what of it could not be read as one: a malformed one stops nobody else.
type Guarded = DeserializeGuard<IotHub>;

/// A hub can't be reconciled for now.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API server.
    #[error("the API server: {0}")]
    Api(#[from] kube::Error),
    /// A certificate can't be made.
    #[error("a certificate can't be made: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// What the controller works with.
pub struct Context {
    client: Client,
    surroundings: Surroundings,
    links: Links,
    events: Events,
    metrics: Metrics,
    clock: Clock,
    memory: Mutex<HashMap<HubKey, Memory>>,
    kinds: tokio::sync::Mutex<Option<(BTreeSet<Kind>, Instant)>>,
}

/// What is remembered of a hub between reconciles. Forgotten with the process: everything that has to last is in the cluster.
#[derive(Clone, Debug, Default)]
struct Memory {
    uid: String,
    material: Option<Material>,
    devices_read: Option<Instant>,
    /// How often, one time after the other, the hub was asked and did not answer.
    unanswered: u32,
}

impl Context {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(client: Client, surroundings: Surroundings, links: Links, events: Events, metrics: Metrics, clock: Clock) -> Self {
        Self { client, surroundings, links, events, metrics, clock, memory: Mutex::default(), kinds: tokio::sync::Mutex::default() }
    }

    fn remembered(&self, key: &HubKey, uid: &str) -> Memory {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.get(key).filter(|memory| memory.uid == uid).cloned().unwrap_or_else(|| Memory { uid: uid.to_owned(), ..Memory::default() })
    }

    fn remember(&self, key: &HubKey, memory: Memory) {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), memory);
    }

    fn forget(&self, key: &HubKey) {
        self.links.remove(key);
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Which of the kinds that are not part of Kubernetes there are.
    async fn optional_kinds(&self) -> Result<BTreeSet<Kind>, kube::Error> {
        let mut known = self.kinds.lock().await;
        if let Some((kinds, since)) = known.as_ref()
            && since.elapsed() < KINDS_KNOWN_FOR
        {
            return Ok(kinds.clone());
        }
        let mut kinds = BTreeSet::new();
        for api in OPTIONAL_KINDS.iter().map(|(_, api)| *api).collect::<BTreeSet<_>>() {
            match self.client.list_api_group_resources(api).await {
                Ok(list) => {
                    let there = |kind: Kind| list.resources.iter().any(|resource| resource.kind == kind.name());
                    kinds.extend(OPTIONAL_KINDS.into_iter().filter(|(kind, of)| *of == api && there(*kind)).map(|(kind, _)| kind));
                }
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        *known = Some((kinds.clone(), Instant::now()));
        Ok(kinds)
    }
}

/// Looks after the IotHubs of the scope until it is told to stop; then ends what it has begun.
pub async fn controller(context: Arc<Context>, scope: Scope, stop: CancellationToken) {
    let namespaces: Vec<Option<String>> = match scope {
        Scope::Cluster => vec![None],
        Scope::Namespaces(names) => names.into_iter().map(Some).collect(),
    };
    join_all(namespaces.into_iter().map(|namespace| follow(Arc::clone(&context), namespace, stop.clone()))).await;
}

async fn follow(context: Arc<Context>, namespace: Option<String>, stop: CancellationToken) {
    let (hubs, writer) = reflector::store();
    let changes = watcher(api::<Guarded>(&context.client, namespace.as_deref()), watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .applied_objects()
        .predicate_filter(what_counts, kube::runtime::PredicateConfig::default());
    let controller = Controller::for_stream(changes, hubs.clone())
        .with_config(controller::Config::default().concurrency(CONCURRENT_MAX))
        .graceful_shutdown_on(stop.cancelled_owned());
    let (client, namespace) = (&context.client, namespace.as_deref());
    let controller = children::<Deployment>(controller, client, namespace);
    let controller = children::<Pod>(controller, client, namespace);
    let controller = children::<Service>(controller, client, namespace);
    let controller = children::<Secret>(controller, client, namespace);
    let controller = children::<ConfigMap>(controller, client, namespace);
    let controller = children::<PersistentVolumeClaim>(controller, client, namespace);
    let controller = children::<ServiceAccount>(controller, client, namespace);
    let controller = children::<NetworkPolicy>(controller, client, namespace);
    let controller = children::<PodDisruptionBudget>(controller, client, namespace);
    let controller = referenced::<Secret>(controller, client, namespace, Kind::Secret, &hubs);
    let controller = referenced::<ConfigMap>(controller, client, namespace, Kind::ConfigMap, &hubs);
    controller
        .run(reconcile, |_, _, _| Action::requeue(LOOKED_AT_AGAIN_AFTER), Arc::clone(&context))
        .for_each(|result| {
            match result {
                Ok(_) => {}
                Err(controller::Error::ObjectNotFound(hub)) => {
                    let key = HubKey { namespace: hub.namespace.clone().unwrap_or_default(), name: hub.name.clone() };
                    debug!(hub = %hub, "{} {} is gone", key.namespace, key.name);
                    context.forget(&key);
                }
                Err(controller::Error::ReconcilerFailed(error, hub)) => {
                    warn!(%error, hub = hub.name, namespace = hub.namespace, "the hub {} is tried again: {error}", hub.name);
                }
                Err(error) => match WATCHES_BEGUN_AGAIN.speaks(Instant::now()) {
                    Some(silent) => warn!(%error, silent, "a watch is begun again: {error}"),
                    None => debug!(%error, "a watch is begun again: {error}"),
                },
            }
            future::ready(())
        })
        .await;
}

fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(client: &Client, namespace: Option<&str>) -> Api<K> {
    namespace.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace))
}

/// A status is our own, and metadata says nothing to us.
fn what_counts(hub: &Guarded) -> Option<u64> {
    let generation = u64::try_from(hub.meta().generation?).ok()?;
    Some(generation * 2 + u64::from(hub.meta().deletion_timestamp.is_some()))
}

/// What we labelled leads to its hub, and so does what has lost its labels. Credentials of Devices are not the hub's.
fn children<K>(controller: Controller<Guarded>, client: &Client, namespace: Option<&str>) -> Controller<Guarded>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    let ours = format!("{}={},{},!{}", labels::MANAGED_BY, labels::MANAGER, labels::HUB, labels::DEVICE_HASH);
    let stream = watcher(api::<PartialObjectMeta<K>>(client, namespace), watcher::Config::default().labels(&ours));
    controller.watches_stream(stream.default_backoff().touched_objects(), |child: PartialObjectMeta<K>| {
        let hub = child.labels().get(labels::HUB)?;
        Some(ObjectRef::new(hub).within(&child.namespace()?))
    })
}

/// What somebody else keeps leads to the hubs whose specs name it. Their metadata alone is watched; what is in them is read when a hub
/// needs it.
fn referenced<K>(
    controller: Controller<Guarded>,
    client: &Client,
    namespace: Option<&str>,
    kind: Kind,
    hubs: &Store<Guarded>,
) -> Controller<Guarded>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    let theirs = format!("{}!={}", labels::MANAGED_BY, labels::MANAGER);
    let stream = watcher(api::<PartialObjectMeta<K>>(client, namespace), watcher::Config::default().labels(&theirs));
    let hubs = hubs.clone();
    controller.watches_stream(stream.default_backoff().touched_objects(), move |object: PartialObjectMeta<K>| {
        let key = ChildKey::new(kind, object.name_any());
        let namespace = object.namespace();
        let concerned = |hub: &Guarded| {
            let Ok(hub) = &hub.0 else { return false };
            // By a child's name: cert-manager's, or somebody's who is in the way.
            hub.namespace() == namespace && (references(hub).contains(&key) || names(hub).contains(&key))
        };
        hubs.state().into_iter().filter(|hub| concerned(hub)).map(|hub| ObjectRef::from_obj(hub.as_ref())).collect::<Vec<_>>()
    })
}

async fn reconcile(hub: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let begun = Instant::now();
    let result = reconcile_once(&hub, &context).await;
    let outcome = match &result {
        Ok((_, outcome)) => *outcome,
        Err(_) => Outcome::Failed,
    };
    context.metrics.reconciled("IotHub", outcome, begun.elapsed());
    result.map(|(action, _)| action)
}

async fn reconcile_once(hub: &Guarded, context: &Context) -> Result<(Action, Outcome), ReconcileError> {
    let key = HubKey { namespace: hub.namespace().unwrap_or_default(), name: hub.name_any() };
    if hub.meta().deletion_timestamp.is_some() {
        // What it owns goes with it; its Devices find no link any more.
        context.forget(&key);
        context.links.looked_at(&key);
        return Ok((Action::await_change(), Outcome::Done));
    }
    if hub.0.is_err() {
        context.links.looked_at(&key);
        say::unreadable(&key, context).await?;
        return Ok((Action::await_change(), Outcome::Refused));
    }
    let now = (context.clock)();
    // What the watch brought may be older than a status that was written since.
    let Some(hub) = &Api::<IotHub>::namespaced(context.client.clone(), &key.namespace).get_opt(&key.name).await? else {
        context.forget(&key);
        return Ok((Action::await_change(), Outcome::Done));
    };
    let mut memory = context.remembered(&key, &hub.uid().unwrap_or_default());
    let mut facts = dereference(&context.client, hub, context.optional_kinds().await?).await?;
    let believed = believed(&facts, hub);
    let valid = validate(hub, &facts).and_then(|valid| {
        lost::authority_is_there(hub, &valid, &believed, memory.material.as_ref())?;
        Ok(valid)
    });
    let mut applied = None;
    if let Ok(valid) = &valid
        && !hub.spec.paused
    {
        let lost = lost::policies(hub, valid, &believed, memory.material.as_ref());
        let material = settled(hub, valid, &believed, memory.material.as_ref(), context, now)?;
        // Before anything is written: what fails half-way goes on with the keys of which the first Secrets tell already.
        memory.material = Some(material.clone());
        context.remember(&key, memory.clone());
        tell_of_lost(hub, &lost, context).await;
        applied = Some(carry_out(hub, valid, &material, &facts, context, now).await?);
    }
    if let Some(applied) = &applied {
        facts.live.extend(applied.live.clone());
    }
    let certificate = certificate_pem(hub, &facts);
    connect(hub, &key, &facts, certificate.as_deref(), context, now);
    context.links.looked_at(&key);
    let deployment = facts.deployment(&key.name);
    let is_there = deployment.as_ref().is_some_and(is_rolled_out);
    let info = if is_there { ask(&key, context).await } else { Err("it does not run".to_owned()) };
    memory.unanswered = if info.is_ok() || !is_there { 0 } else { memory.unanswered.saturating_add(1) };
    let devices = devices_to_tell(info.as_ref().ok(), &mut memory);
    context.remember(&key, memory.clone());
    let (volume, devices_service) = (facts.volume(&key.name), facts.service(&key.name));
    let known = Known {
        hub,
        now,
        valid: valid.as_ref(),
        material: memory.material.as_ref(),
        applied: applied.as_ref(),
        deployment: deployment.as_ref(),
        pods: &facts.pods,
        volume: volume.as_ref(),
        devices_service: devices_service.as_ref(),
        certificate_ends: certificate.as_deref().and_then(certificates::read).map(|facts| facts.not_after),
        info: info.as_ref().map_err(String::as_str),
        devices,
    };
    let next = status(known);
    let before = hub.status.clone().unwrap_or_default();
    say::say(&hub.object_ref(&()), &before, &next, context).await?;
    let outcome = if valid.is_ok() { Outcome::Done } else { Outcome::Refused };
    Ok((Action::requeue(look_again(info.is_ok(), memory.unanswered)), outcome))
}

fn look_again(answers: bool, unanswered: u32) -> Duration {
    match unanswered.checked_sub(1) {
        _ if answers => DEVICES_READ_EVERY,
        Some(before) => ASKED_AGAIN_AFTER.saturating_mul(1 << before.min(16)).min(ASKED_AGAIN_AFTER_MAX),
        None => LOOKED_AT_AGAIN_AFTER,
    }
}

/// What there is, without the Secrets that are not the hub's own: keys and certificates in them are nobody's to believe.
fn believed(facts: &Facts, hub: &IotHub) -> Facts {
    let mut believed = facts.clone();
    believed.live.retain(|key, live| key.kind != Kind::Secret || apply::is_ours(live, hub));
    believed
}

async fn tell_of_lost(hub: &IotHub, lost: &BTreeMap<String, String>, context: &Context) {
    for (policy, secret) in lost {
        let note = format!(
            "the Secret {secret} was gone, and with it the keys of the policy {policy}: it has new ones. Whoever has the old ones is refused \
             from now on: give them the new connection string"
        );
        warn!(hub = hub.name_any(), policy, secret, "{note}");
        context.events.warn(&hub.object_ref(&()), "PolicyKeysLost", &note).await;
    }
}

fn settled(
    hub: &IotHub,
    valid: &Valid,
    believed: &Facts,
    remembered: Option<&Material>,
    context: &Context,
    now: Timestamp,
) -> Result<Material, rcgen::Error> {
    let names = build::certificate_names(hub, &context.surroundings);
    let (namespace, name) = (hub.namespace().unwrap_or_default(), hub.name_any());
    let of = For { namespace: &namespace, hub: &name, names: &names, now };
    let mut random = || {
        let mut bytes = [0; 32];
        rand::rng().fill_bytes(&mut bytes);
        bytes
    };
    settle(of, valid, believed, remembered, &mut random)
}

async fn carry_out(
    hub: &IotHub,
    valid: &Valid,
    material: &Material,
    facts: &Facts,
    context: &Context,
    now: Timestamp,
) -> Result<Applied, kube::Error> {
    let volume = facts.volume(&hub.name_any());
    let (surroundings, optional_kinds) = (&context.surroundings, &facts.optional_kinds);
    let plan = Plan { hub, valid, material, volume: volume.as_ref(), optional_kinds, surroundings, now };
    apply::apply(&context.client, hub, build::build(plan), facts).await
}

/// The certificate that the hub serves, with what stands behind it.
fn certificate_pem(hub: &IotHub, facts: &Facts) -> Option<String> {
    let secret = certificate_secret(hub, facts)?;
    entry(&secret, "tls.crt")
}

fn certificate_secret(hub: &IotHub, facts: &Facts) -> Option<Secret> {
    match &hub.spec.tls.secret_ref {
        Some(reference) => facts.secrets.get(&reference.name).cloned(),
        None => facts.child(Kind::Secret, &HubChildren(&hub.name_any()).certificate()),
    }
}

/// Says where the hub is, as soon as it has an address and the operator a key.
fn connect(hub: &IotHub, key: &HubKey, facts: &Facts, certificate: Option<&str>, context: &Context, now: Timestamp) {
    let children = HubChildren(&key.name);
    let ours = |kind, name: String| facts.live.get(&ChildKey::new(kind, name)).is_some_and(|live| apply::is_ours(live, hub));
    if !ours(Kind::Service, children.api_service()) || !ours(Kind::Secret, children.operator_policy()) {
        return;
    }
    let service = facts.service(&children.api_service()).and_then(|service| service.spec);
    let address: Option<IpAddr> = service.as_ref().and_then(|spec| spec.cluster_ip.as_ref()?.parse().ok());
    let port = service.as_ref().and_then(|spec| spec.ports.as_ref()?.iter().find(|port| port.name.as_deref() == Some("api")));
    let port = port.and_then(|port| u16::try_from(port.port).ok());
    let keys = facts.child::<Secret>(Kind::Secret, &children.operator_policy()).as_ref().and_then(material::keys_of);
    let (Some(address), Some(port), Some(keys)) = (address, port, keys) else { return };
    let authority = certificate_secret(hub, facts).and_then(|secret| entry(&secret, "ca.crt")).unwrap_or_default();
    // Whoever made a certificate by hand often leaves ca.crt out: what it brings with it is as good.
    let chain = certificate.map(behind_first).unwrap_or_default();
    let roots_pem = if hub.spec.tls.issuer_ref.is_some() && authority.is_empty() { String::new() } else { format!("{authority}{chain}") };
    let endpoint = Endpoint {
        host_name: hub.spec.hostnames.first().cloned().unwrap_or_default(),
        address: SocketAddr::new(address, port),
        roots_pem,
        policy: labels::OPERATOR_POLICY.to_owned(),
        key: signing_key(&keys, now),
    };
    context.links.set(key.clone(), endpoint);
}

async fn ask(key: &HubKey, context: &Context) -> Result<HubInfo, String> {
    let Some(link) = context.links.get(key) else { return Err("its address is not known yet".to_owned()) };
    match tokio::time::timeout(ANSWER_MAX, link.info()).await {
        Ok(info) => info.map_err(|error| error.to_string()),
        Err(_) => Err("it takes too long".to_owned()),
    }
}

/// What is told of devices is at most as new as every 30 s, or each one that comes and goes would be a write.
fn devices_to_tell(info: Option<&HubInfo>, memory: &mut Memory) -> Option<DeviceCounts> {
    let info = info?;
    if memory.devices_read.is_some_and(|read| read.elapsed() < DEVICES_READ_EVERY) {
        return None;
    }
    memory.devices_read = Some(Instant::now());
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    Some(DeviceCounts { total: count(info.devices.total), enabled: count(info.devices.enabled), connected: count(info.devices.connected) })
}
