//! The list of all devices, in memory: filtered, in any order, page by page, without asking the registry.
//!
//! Kept by [`follow_devices`](crate::ops::follow_devices::follow_devices) and by [`flush_activity`](crate::ops::flush_activity::flush_activity),
//! so it is as late as they are: some milliseconds for what happens, and up to a minute for the last activity of who stays connected.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{RwLock, Semaphore};
use tokio::time::timeout;

use crate::core::change::Change;
use crate::core::device_id::DeviceId;
use crate::core::fleet::{DeviceState, Fleet, FleetCounts, FleetPage, FleetQuery, Registered, Seen};
use crate::core::session::DisconnectReason;
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::ops::changes::Published;
use crate::ops::read_connections::Streak;
use crate::ops::read_devices::DeviceView;
use crate::store::DeviceActivity;

/// The most rows on one page.
pub const PAGE_MAX: usize = 1000;

/// How many pages are made at once: each looks at all devices, and takes a core for that.
const PAGES_AT_ONCE: usize = 2;

/// How long somebody waits for her turn.
const TURN_WAIT_MAX: Duration = Duration::from_secs(5);

/// The most devices that are named as flapping where the fleet is counted.
const NAMED_FLAPPING_MAX: usize = 100;

/// All devices, as a list shows them. Whoever writes to it waits without keeping a thread, for as long as a page takes.
#[derive(Debug)]
pub struct FleetIndex {
    fleet: RwLock<Fleet>,
    turns: Arc<Semaphore>,
}

/// Too many want a page of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many ask for the list of devices at once; try again")]
pub struct TooManyPages;

/// How many devices there are, and how they are.
#[derive(Clone, Debug)]
pub struct FleetSummary {
    /// When.
    pub time: UnixMillis,
    /// Whether all are counted: not while they are being read.
    pub whole: bool,
    /// Counts the changes of the list.
    pub revision: u64,
    /// All, and some of them.
    pub counts: FleetCounts,
    /// Devices in each state; each device is in one.
    pub states: Vec<(DeviceState, usize)>,
    /// Who connects again and again, 100 of them at most.
    pub flapping: Vec<(DeviceId, Streak)>,
}

/// A page of the list. Looks at all devices whose ids begin as is wanted, beside those who serve devices.
pub async fn list_fleet(hub: &Arc<Hub>, mut query: FleetQuery) -> Result<FleetPage, TooManyPages> {
    query.limit = query.limit.clamp(1, PAGE_MAX);
    let turn = timeout(TURN_WAIT_MAX, Arc::clone(&hub.fleet.turns).acquire_owned()).await;
    let turn = turn.ok().and_then(Result::ok).ok_or(TooManyPages)?;
    let streaks: HashMap<DeviceId, Streak> = hub.presence.flapping.all(hub.now()).into_iter().collect();
    let flapping: HashSet<DeviceId> = streaks.keys().cloned().collect();
    let hub = Arc::clone(hub);
    let page = tokio::task::spawn_blocking(move || {
        // Kept until it is done, also when whoever asked has gone.
        let _turn = turn;
        hub.fleet.fleet.blocking_read().page(&query, &flapping)
    });
    // Not when the hub is ending.
    let mut page = page.await.unwrap_or_default();
    for device in page.devices.iter_mut().filter(|device| device.state == DeviceState::Flapping) {
        // It has connected or gone a moment ago, and that is not since when it flaps.
        device.state_since = streaks.get(&device.id).map(|streak| streak.since);
    }
    Ok(page)
}

/// How many devices there are, and how they are.
pub async fn summarize_fleet(hub: &Hub) -> FleetSummary {
    let time = hub.now();
    let mut flapping = hub.presence.flapping.all(time);
    let fleet = hub.fleet.fleet.read().await;
    let counts = fleet.counts();
    // As if nobody flapped, and then those who do.
    let are = fleet.states(flapping.iter().map(|(id, _)| id), &HashSet::new());
    let (whole, revision) = (fleet.is_whole(), fleet.revision());
    drop(fleet);
    let of = |state| are.iter().filter(|is| **is == state).count();
    let states = DeviceState::ALL.map(|state| {
        let count = match state {
            DeviceState::Offline => counts.offline - of(state),
            DeviceState::Flapping => are.len() - of(DeviceState::Disabled),
            DeviceState::Disabled => counts.total - counts.enabled,
            DeviceState::Never => counts.never - of(state),
            DeviceState::Connected => counts.connected - of(state),
        };
        (state, count)
    });
    flapping.truncate(NAMED_FLAPPING_MAX);
    FleetSummary { time, whole, revision, counts, states: states.to_vec(), flapping }
}

impl Default for FleetIndex {
    fn default() -> Self {
        Self { fleet: RwLock::default(), turns: Arc::new(Semaphore::new(PAGES_AT_ONCE)) }
    }
}

impl FleetIndex {
    /// All devices are read anew.
    pub(super) async fn begin_round(&self) {
        self.fleet.write().await.begin_round();
    }

    /// These are there.
    pub(super) async fn stored(&self, hub: &Hub, views: &[DeviceView]) {
        let mut fleet = self.fleet.write().await;
        views.iter().for_each(|view| put(hub, &mut fleet, view));
    }

    /// All have been read.
    pub(super) async fn end_round(&self) {
        self.fleet.write().await.end_round();
    }

    /// These things have happened; beside an identity that was written is its device as it is now. Something has happened to commands of the
    /// devices of `queues`. All at once: whoever makes a page meanwhile is waited for once.
    pub(super) async fn happened(&self, hub: &Hub, changes: &[(Arc<Published>, Option<DeviceView>)], queues: &BTreeSet<DeviceId>) {
        if changes.is_empty() && queues.is_empty() {
            return;
        }
        let mut fleet = self.fleet.write().await;
        for (published, view) in changes {
            match (&published.change, view) {
                (Change::IdentityWritten(_), Some(view)) => put(hub, &mut fleet, view),
                (Change::IdentityDeleted(id), _) => fleet.forget(id),
                (Change::Presence(transition), _) => {
                    let (time, ended, connected) = (transition.time, transition.disconnected, transition.connected);
                    fleet.transition(&transition.device_id, time, ended, connected);
                }
                (_, _) => {}
            }
        }
        queues.iter().for_each(|id| fleet.queue(id, hub.commands.pending_of(id)));
    }

    /// These were active, as the registry has been told.
    pub(super) async fn active(&self, activity: &[DeviceActivity]) {
        let mut fleet = self.fleet.write().await;
        for device in activity {
            if let Some(time) = device.last_activity_time {
                fleet.active(&device.id, time);
            }
        }
    }
}

fn put(hub: &Hub, fleet: &mut Fleet, view: &DeviceView) {
    let identity = &view.identity;
    // Connected in an earlier life of the hub, and nobody has seen it go since.
    let went_with_hub = !view.connected && identity.connected_boot.is_some_and(|boot| boot != hub.boot);
    let seen = Seen {
        connected: view.connected,
        since: view.connection_state_updated_time,
        reason: went_with_hub.then_some(DisconnectReason::HubRestarted),
        last: view.last_activity_time,
    };
    fleet.put(&identity.device_id, Registered::of(identity), seen, view.commands_pending);
}

#[cfg(test)]
mod tests;
