//! What every reconcile has at hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use mooring_crds::Device;
use tokio::sync::watch;

use super::DeviceName;
use super::caches::{Hubs, Secrets};
use super::endings::Endings;
use super::index::Index;
use crate::distinct_queue::DistinctQueue;
use crate::hub::identity::Presence;
use crate::hub::{Instruments, Links};
use crate::scope::Scope;
use crate::status_writer::{Shown, ShownStatus, StatusWriter};

/// A Device, or what of it could not be read as one.
pub type Guarded = DeserializeGuard<Device>;

/// The longest wait before something that does not go well is tried again. What helps wakes it before.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// What every reconcile has at hand.
pub struct Context {
    pub client: Client,
    pub instruments: Instruments,
    pub scope: Scope,
    pub links: Links,
    pub devices: Index,
    pub hubs: Hubs,
    pub secrets: Secrets,
    pub endings: Endings,
    pub statuses: StatusWriter,
    /// Who is to be shut out now.
    pub lane: DistinctQueue<DeviceName>,
    /// Who is to be looked at, per watch of the scope.
    wakes: Vec<(Option<String>, Arc<DistinctQueue<DeviceName>>)>,
    /// The Devices as the watches have shown them.
    stores: Vec<(Option<String>, Store<Guarded>)>,
    retries: Mutex<HashMap<DeviceName, u32>>,
    /// The parts of the scope in which a watch was refused.
    pub refused: DistinctQueue<Option<String>>,
    /// What has not been seen yet, per part of the scope.
    unsynced: watch::Sender<HashMap<Option<String>, Unsynced>>,
}

/// What of a part of the scope has not been seen yet.
#[derive(Clone, Copy, Debug)]
struct Unsynced {
    /// So many watches have not shown all there is.
    watches: usize,
    /// Whether others wait for them.
    awaited: bool,
}

impl Context {
    /// With a store per part of the scope, and in each so many `watches` that have to be synced before anything is done.
    pub fn new(client: Client, instruments: Instruments, scope: Scope, links: Links, stores: Vec<Store<Guarded>>, watches: usize) -> Self {
        let namespaces: Vec<Option<String>> = match &scope {
            Scope::Cluster => vec![None],
            Scope::Namespaces(names) => names.iter().cloned().map(Some).collect(),
        };
        Self {
            statuses: StatusWriter::new(client.clone(), instruments.clock, instruments.metrics.clone()),
            client,
            instruments,
            scope,
            links,
            devices: Index::default(),
            hubs: Hubs::default(),
            secrets: Secrets::default(),
            endings: Endings::default(),
            lane: DistinctQueue::default(),
            wakes: namespaces.iter().map(|namespace| (namespace.clone(), Arc::default())).collect(),
            unsynced: watch::Sender::new(
                namespaces.iter().map(|namespace| (namespace.clone(), Unsynced { watches, awaited: true })).collect(),
            ),
            stores: namespaces.into_iter().zip(stores).collect(),
            retries: Mutex::default(),
            refused: DistinctQueue::default(),
        }
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        (self.instruments.clock)()
    }

    /// Has the Device looked at soon.
    pub fn wake(&self, name: &DeviceName) {
        if let Some(queue) = of_namespace(&self.wakes, &name.namespace) {
            queue.put(name.clone());
        }
    }

    /// The parts of the scope, a namespace each or the cluster, with the queues of Devices to look at there.
    pub fn parts(&self) -> impl Iterator<Item = (Option<String>, Arc<DistinctQueue<DeviceName>>)> {
        self.wakes.iter().map(|(namespace, queue)| (namespace.clone(), Arc::clone(queue)))
    }

    /// All Devices that the watches have shown, whether they can be read or not.
    pub fn all_shown(&self) -> Vec<DeviceName> {
        self.stores.iter().flat_map(|(_, store)| store.state()).map(|device| DeviceName::of(&*device)).collect()
    }

    /// Whether a namespace is being deleted, or gone.
    pub async fn is_ending(&self, namespace: &str) -> Result<bool, kube::Error> {
        self.endings.is_ending(&self.client, namespace).await
    }

    /// The Device as the watch has shown it.
    pub fn cached(&self, name: &DeviceName) -> Option<Arc<Guarded>> {
        let reference = ObjectRef::new(&name.name).within(&name.namespace);
        of_namespace(&self.stores, &name.namespace)?.get(&reference)
    }

    /// One more watch has shown all there is in its part of the scope.
    pub fn one_synced(&self, part: &Option<String>) {
        self.unsynced.send_modify(|parts| {
            if let Some(part) = parts.get_mut(part) {
                part.watches = part.watches.saturating_sub(1);
            }
        });
    }

    /// Not all can be seen there, and what is elsewhere is not to wait for it. Answers whether this is news.
    pub fn not_awaited(&self, part: &Option<String>) -> bool {
        self.unsynced.send_if_modified(|parts| {
            let waits = parts.get_mut(part).filter(|part| part.awaited && part.watches > 0);
            waits.is_some_and(|part| std::mem::take(&mut part.awaited))
        })
    }

    /// Whether a namespace of the scope has not been seen in full.
    pub fn is_unseen(&self, namespace: &str) -> bool {
        let parts = self.unsynced.borrow();
        let part = parts.get(&None).or_else(|| parts.get(&Some(namespace.to_owned())));
        part.is_some_and(|part| part.watches > 0)
    }

    /// Waits until all that is there has been seen: before, what is missing may only not have come yet.
    pub async fn synced(&self) {
        // The sender lives as long as this does.
        let _ = self.unsynced.subscribe().wait_for(|parts| parts.values().all(|part| part.watches == 0 || !part.awaited)).await;
    }

    /// How long to wait this time; longer every time.
    pub fn retry_after(&self, name: &DeviceName) -> Duration {
        let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        let count = retries.entry(name.clone()).or_default();
        let wait = Duration::from_secs(1 << (*count).min(9)).min(RETRY_MAX);
        *count += 1;
        wait.mul_f64(rand::random_range(0.5..1.0))
    }

    /// It went well, or is gone.
    pub fn retried(&self, name: &DeviceName) {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

fn of_namespace<'a, T>(parts: &'a [(Option<String>, T)], namespace: &str) -> Option<&'a T> {
    parts.iter().find(|(of, _)| of.as_deref().is_none_or(|of| of == namespace)).map(|(_, part)| part)
}

impl Shown for Context {
    fn shown(&self, name: &DeviceName) -> Option<ShownStatus> {
        let cached = self.cached(name)?;
        let metadata = kube::Resource::meta(&*cached);
        Some(ShownStatus {
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone(),
            status: cached.0.as_ref().ok().and_then(|device| device.status.clone()).unwrap_or_default(),
        })
    }

    fn presence(&self, name: &DeviceName) -> Option<Presence> {
        let seen = self.devices.get(name)?;
        self.links.known().presence(&seen.hub, &seen.device_id)
    }

    async fn is_ending(&self, name: &DeviceName) -> bool {
        Context::is_ending(self, &name.namespace).await.unwrap_or(false)
    }
}
