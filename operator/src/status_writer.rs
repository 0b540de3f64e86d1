//! All writes of Devices' statuses: one queue for the whole fleet, at a bounded pace, the newest per Device.
//!
//! How a Device stands goes before whether it is connected. What the cache shows already is not written, and neither is what was written
//! and has not come back yet.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Client, Resource as _};
use mooring_crds::Device;
use mooring_crds::device::DeviceStatus;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::device::DeviceName;
use crate::device::status::with_presence;
use crate::hub::identity::Presence;
use crate::labels::STATUS_MANAGER;
use crate::observe::Metrics;
use crate::seldom::Seldom;

/// Writes of how Devices stand, a second: 10,000 Devices in under two minutes, and an API server that does not notice.
const STANDING_PER_SECOND: u32 = 100;

/// Writes of presence alone, a second. The hub's API and metrics hold the truth; this is for `kubectl get`.
const PRESENCE_PER_SECOND: u32 = 10;

/// How long a device has to have come or gone before it is written: one that reconnects at once costs nothing.
const PRESENCE_SETTLES: Duration = Duration::from_secs(3);

/// How long a write that did not go well waits.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// How long what waits may take once the operator ends.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// How often it is told that statuses are refused: they are by the thousand, when they are.
const REFUSALS_TOLD_EVERY: Duration = Duration::from_secs(60);
static REFUSALS: Seldom = Seldom::new(REFUSALS_TOLD_EVERY);

/// Where a status comes from when it is not written here: what the watch has shown, and what is known of presence.
pub trait Shown: Send + Sync + 'static {
    /// The Device as the cache has it: its uid, its version, its status.
    fn shown(&self, name: &DeviceName) -> Option<ShownStatus>;
    /// Whether its device is connected.
    fn presence(&self, name: &DeviceName) -> Option<Presence>;
    /// Whether the Device's namespace is being deleted, so that nobody reads its status any more.
    fn is_ending(&self, name: &DeviceName) -> impl Future<Output = bool> + Send;
}

/// A status, as the cache has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShownStatus {
    /// The Device's uid.
    pub uid: String,
    /// The version of the object.
    pub resource_version: Option<String>,
    /// The status.
    pub status: DeviceStatus,
}

/// The queue. Clones are the same.
#[derive(Clone)]
pub struct StatusWriter {
    client: Client,
    clock: Clock,
    metrics: Metrics,
    queue: Arc<Mutex<Queue>>,
    bell: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Queue {
    /// How Devices are to stand, and the uid that it is for.
    standing: HashMap<DeviceName, (String, DeviceStatus)>,
    standing_order: VecDeque<DeviceName>,
    presence: HashSet<DeviceName>,
    presence_order: VecDeque<(Instant, DeviceName)>,
    /// What is being written.
    writing: Option<(DeviceName, String, DeviceStatus)>,
    /// What was written and has not come back through the watch.
    written: HashMap<DeviceName, ShownStatus>,
}

/// What is to be written next.
#[derive(Debug, PartialEq)]
enum Next {
    Standing(DeviceName, String, Box<DeviceStatus>),
    Presence(DeviceName),
    /// Nothing until then.
    Wait(Option<Instant>),
}

impl StatusWriter {
    /// Writes nothing until it is run.
    #[must_use]
    pub fn new(client: Client, clock: Clock, metrics: Metrics) -> Self {
        Self { client, clock, metrics, queue: Arc::default(), bell: Arc::default() }
    }

    /// A Device is to stand so; what waited for it is forgotten.
    pub fn put(&self, name: &DeviceName, uid: &str, status: DeviceStatus) {
        let mut queue = self.lock();
        if queue.standing.insert(name.clone(), (uid.to_owned(), status)).is_none() {
            queue.standing_order.push_back(name.clone());
        }
        self.bell.notify_one();
    }

    /// A device has come or gone.
    pub fn presence(&self, name: &DeviceName, now: Instant) {
        let mut queue = self.lock();
        if queue.presence.insert(name.clone()) {
            queue.presence_order.push_back((now + PRESENCE_SETTLES, name.clone()));
            self.bell.notify_one();
        }
    }

    /// The status that the next one is to follow: what waits, is being written or was written last, or what the cache shows. One that
    /// followed an older one would say the same with other times, and be written for that. `shown` reads the cache: under the lock, so that
    /// what comes back meanwhile is in the cache or still here.
    #[must_use]
    pub fn current(&self, name: &DeviceName, shown: impl FnOnce() -> ShownStatus) -> ShownStatus {
        let queue = self.lock();
        let shown = shown();
        match queue.newest(name, &shown.uid).cloned() {
            Some(status) => ShownStatus { status, ..shown },
            None => queue.there(name, shown),
        }
    }

    /// The watch has shown the Device in this version.
    pub fn came_back(&self, name: &DeviceName, uid: &str, version: Option<&str>) {
        let mut queue = self.lock();
        let is_past =
            queue.written.get(name).is_some_and(|written| written.uid != uid || !is_older(version, written.resource_version.as_deref()));
        if is_past {
            queue.written.remove(name);
        }
    }

    /// The Device is gone.
    pub fn forget(&self, name: &DeviceName) {
        let mut queue = self.lock();
        queue.standing.remove(name);
        queue.written.remove(name);
        queue.presence.remove(name);
    }

    /// Writes until it is told to stop, and then, for a few seconds, what still waits of how Devices stand.
    pub async fn run(self, shown: Arc<impl Shown>, stop: CancellationToken) {
        let (standing, presence) = (Pace::new(STANDING_PER_SECOND), Pace::new(PRESENCE_PER_SECOND));
        let mut paces = (standing, presence);
        let mut last = None;
        loop {
            if stop.is_cancelled() {
                let end = *last.get_or_insert_with(|| Instant::now() + LAST_WRITES);
                if Instant::now() >= end || self.lock().standing.is_empty() {
                    return;
                }
            }
            let next = self.next(&mut paces);
            match next {
                Next::Standing(name, uid, status) => {
                    self.write(&*shown, name, &uid, *status).await;
                    // Only now: in between nobody may take what the cache shows for the newest.
                    self.lock().writing = None;
                }
                Next::Presence(name) => {
                    let current = shown.shown(&name).map(|shown| self.current(&name, || shown));
                    if let Some(ShownStatus { uid, status, .. }) = current {
                        self.write(&*shown, name, &uid, status).await;
                        self.lock().writing = None;
                    }
                }
                Next::Wait(until) => {
                    let timer = async {
                        match until {
                            Some(until) => sleep_until(until).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = timer => {}
                        () = self.bell.notified() => {}
                        () = stop.cancelled(), if last.is_none() => {}
                    }
                }
            }
        }
    }

    fn next(&self, paces: &mut (Pace, Pace)) -> Next {
        let mut queue = self.lock();
        let next = queue.next(Instant::now(), paces);
        self.metrics.set_status_waiting(queue.standing.len() + queue.presence.len());
        next
    }

    /// Writes the status with what is known of presence now, if that is not what is there.
    async fn write(&self, shown: &impl Shown, name: DeviceName, uid: &str, status: DeviceStatus) {
        let Some(cached) = shown.shown(&name).filter(|cached| cached.uid == uid) else { return };
        let status = with_presence(status, shown.presence(&name), (self.clock)());
        {
            let mut queue = self.lock();
            if queue.there(&name, cached).status == status {
                return;
            }
            queue.writing = Some((name.clone(), uid.to_owned(), status.clone()));
        }
        match self.apply(&name, uid, &status).await {
            Ok(resource_version) => {
                let written = ShownStatus { uid: uid.to_owned(), resource_version, status };
                self.lock().written.insert(name, written);
            }
            // Gone, or another of its name: there is nobody to tell.
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => debug!(device = %name, "no status for {name}: {error}"),
            Err(kube::Error::Api(error)) if matches!(error.code, 400 | 403 | 422) => {
                if !(error.code == 403 && shown.is_ending(&name).await)
                    && let Some(silent) = REFUSALS.speaks(Instant::now())
                {
                    warn!(device = %name, silent, "the status of the Device {name} can't be written: {error}");
                } else {
                    debug!(device = %name, "the status of the Device {name} can't be written: {error}");
                }
            }
            Err(error) => {
                debug!(device = %name, "the status of the Device {name} is written again: {error}");
                self.put_again(name, uid, status);
                sleep(AGAIN_AFTER).await;
            }
        }
    }

    /// What has been put meanwhile is newer.
    fn put_again(&self, name: DeviceName, uid: &str, status: DeviceStatus) {
        let mut queue = self.lock();
        if !queue.standing.contains_key(&name) {
            queue.standing.insert(name.clone(), (uid.to_owned(), status));
            queue.standing_order.push_back(name);
        }
    }

    async fn apply(&self, name: &DeviceName, uid: &str, status: &DeviceStatus) -> Result<Option<String>, kube::Error> {
        // Not as a Device: one that can't be read as one has a status, too.
        let resource = ApiResource::erase::<Device>(&());
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), &name.namespace, &resource);
        let body = json!({
            "apiVersion": Device::api_version(&()), "kind": Device::kind(&()),
            // With its uid: one of the same name that was made meanwhile is refused.
            "metadata": { "name": name.name, "namespace": name.namespace, "uid": uid },
            "status": status,
        });
        let written = api.patch_status(&name.name, &PatchParams::apply(STATUS_MANAGER).force(), &Patch::Apply(body)).await?;
        Ok(written.metadata.resource_version)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// The status of a Device of this uid that is on its way to the API server.
    fn newest(&self, name: &DeviceName, uid: &str) -> Option<&DeviceStatus> {
        let waiting = self.standing.get(name).filter(|(of, _)| of == uid).map(|(_, status)| status);
        let writing = self.writing.as_ref().filter(|(of, its_uid, _)| of == name && its_uid == uid).map(|(.., status)| status);
        waiting.or(writing)
    }

    /// What the API server has: what was written last, or what the cache shows.
    fn there(&self, name: &DeviceName, shown: ShownStatus) -> ShownStatus {
        self.written.get(name).filter(|written| written.uid == shown.uid).cloned().unwrap_or(shown)
    }

    fn next(&mut self, now: Instant, (standing, presence): &mut (Pace, Pace)) -> Next {
        let mut wait = None;
        while let Some(name) = self.standing_order.front() {
            if !self.standing.contains_key(name) {
                self.standing_order.pop_front();
                continue;
            }
            if let Err(until) = standing.take(now) {
                wait = Some(until);
                break;
            }
            let next = self.standing_order.pop_front().and_then(|name| self.standing.remove_entry(&name));
            if let Some((name, (uid, status))) = next {
                // From the one place to the other under one lock: it is never in neither.
                self.writing = Some((name.clone(), uid.clone(), status.clone()));
                return Next::Standing(name, uid, Box::new(status));
            }
        }
        while let Some((due, name)) = self.presence_order.front() {
            if !self.presence.contains(name) {
                self.presence_order.pop_front();
                continue;
            }
            let not_before = if *due > now { Err(*due) } else { presence.take(now) };
            if let Err(until) = not_before {
                wait = Some(wait.map_or(until, |wait: Instant| wait.min(until)));
                break;
            }
            if let Some((_, name)) = self.presence_order.pop_front() {
                self.presence.remove(&name);
                return Next::Presence(name);
            }
        }
        Next::Wait(wait)
    }
}

/// So many a second, evenly; after a rest a second's worth at once.
#[derive(Debug)]
struct Pace {
    every: Duration,
    burst: Duration,
    /// When the next one would be due if nobody had rested.
    next: Option<Instant>,
}

impl Pace {
    fn new(per_second: u32) -> Self {
        Self { every: Duration::from_secs(1) / per_second, burst: Duration::from_secs(1), next: None }
    }

    /// Takes one now, or says when there is one.
    fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let earliest = now.checked_sub(self.burst).unwrap_or(now);
        let next = self.next.map_or(earliest, |next| next.max(earliest));
        if next > now {
            return Err(next);
        }
        self.next = Some(next + self.every);
        Ok(())
    }
}

/// Versions of one kind can be compared as numbers; those that are none are compared for being the same.
fn is_older(version: Option<&str>, than: Option<&str>) -> bool {
    match (version, than) {
        (Some(version), Some(than)) => match (version.parse::<u64>(), than.parse::<u64>()) {
            (Ok(version), Ok(than)) => version < than,
            _ => version != than,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> DeviceName {
        DeviceName { namespace: "plant".to_owned(), name: name.to_owned() }
    }

    fn taken(pace: &mut Pace, now: Instant) -> u32 {
        (0..1000).take_while(|_| pace.take(now).is_ok()).count().try_into().unwrap()
    }

    #[test]
    fn a_pace_is_kept_over_any_second() {
        let (mut pace, start) = (Pace::new(10), Instant::now() + Duration::from_secs(100));
        assert_eq!(taken(&mut pace, start), 11, "a second's worth, and one that is due");
        assert_eq!(taken(&mut pace, start + Duration::from_millis(50)), 0);
        assert_eq!(taken(&mut pace, start + Duration::from_millis(1000)), 10);
        assert_eq!(taken(&mut pace, start + Duration::from_secs(60)), 11, "rest is not saved up");
    }

    #[test]
    fn how_a_device_stands_goes_first_and_the_newest_counts() {
        let mut queue = Queue::default();
        let now = Instant::now() + Duration::from_secs(100);
        queue.presence.insert(name("a"));
        queue.presence_order.push_back((now, name("a")));
        for id in ["old", "new"] {
            let status = DeviceStatus { device_id: Some(id.to_owned()), ..DeviceStatus::default() };
            if queue.standing.insert(name("b"), ("1".to_owned(), status)).is_none() {
                queue.standing_order.push_back(name("b"));
            }
        }
        let mut paces = (Pace::new(100), Pace::new(10));
        assert!(matches!(queue.next(now, &mut paces), Next::Standing(_, _, status) if status.device_id.as_deref() == Some("new")));
        assert_eq!(queue.newest(&name("b"), "1").and_then(|status| status.device_id.as_deref()), Some("new"), "it is being written");
        assert_eq!(queue.next(now, &mut paces), Next::Presence(name("a")));
        assert_eq!(queue.next(now, &mut paces), Next::Wait(None));
        queue.presence.insert(name("a"));
        queue.presence_order.push_back((now + PRESENCE_SETTLES, name("a")));
        assert_eq!(queue.next(now, &mut paces), Next::Wait(Some(now + PRESENCE_SETTLES)), "it has to settle");
    }

    #[test]
    fn the_next_status_follows_what_is_on_its_way() {
        let status = |id: &str| DeviceStatus { device_id: Some(id.to_owned()), ..DeviceStatus::default() };
        let shown = || ShownStatus { uid: "1".to_owned(), resource_version: None, status: status("shown") };
        let mut queue = Queue::default();
        assert_eq!((queue.newest(&name("a"), "1"), queue.there(&name("a"), shown())), (None, shown()));
        let written = ShownStatus { status: status("written"), ..shown() };
        queue.written.insert(name("a"), written.clone());
        assert_eq!(queue.there(&name("a"), shown()), written);
        queue.writing = Some((name("a"), "1".to_owned(), status("being written")));
        assert_eq!(queue.newest(&name("a"), "1"), Some(&status("being written")));
        queue.standing.insert(name("a"), ("1".to_owned(), status("waiting")));
        assert_eq!(queue.newest(&name("a"), "1"), Some(&status("waiting")));
        assert_eq!((queue.newest(&name("a"), "2"), queue.newest(&name("b"), "1")), (None, None), "of another life, or another Device");
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_older(Some("9"), Some("10")) && !is_older(Some("10"), Some("10")) && is_older(Some("a"), Some("b")));
        assert!(!is_older(Some("a"), Some("a")) && !is_older(None, Some("1")));
    }
}
