//! The IotHub controller: reads, checks, settles keys and certificates, builds, applies, and says how the hub stands.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Api, Client, Resource, ResourceExt as _};
use mooring_crds::IotHub;
use mooring_crds::iot_hub::DeviceCounts;
use rand::RngCore as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::apply::Applied;
use self::build::{Plan, Surroundings};
use self::child::{Kind, OPTIONAL_KINDS};
use self::dereference::{Facts, dereference};
use self::material::{For, Material, settle};
use self::status::{Known, is_rolled_out, status};
use self::validate::{Valid, validate};
use crate::clock::Clock;
use crate::events::Events;
use crate::hub::{HubInfo, HubKey, Links};
use crate::observe::{Metrics, Outcome};
use crate::scope::Scope;
use crate::seldom::Seldom;

pub mod apply;
pub mod build;
pub mod certificates;
pub mod child;
mod connect;
pub mod dereference;
pub mod lost;
pub mod material;
pub mod quantity;
mod say;
pub mod status;
#[cfg(test)]
mod tests;
pub mod validate;
mod watch;

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
    join_all(namespaces.into_iter().map(|namespace| watch::follow(Arc::clone(&context), namespace, stop.clone()))).await;
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
    let certificate = connect::certificate_pem(hub, &facts);
    connect::connect(hub, &key, &facts, certificate.as_deref(), context, now);
    context.links.looked_at(&key);
    let deployment = facts.deployment(&key.name);
    let is_there = deployment.as_ref().is_some_and(is_rolled_out);
    let info = if is_there { connect::ask(&key, context).await } else { Err("it does not run".to_owned()) };
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
