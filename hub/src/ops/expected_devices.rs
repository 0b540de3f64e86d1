//! Keeps count of the devices that are expected and offline, and of the time series that devices ask for.
//!
//! A follower of the change stream like any other: nobody who connects, disconnects or changes an identity waits for it. At the start, and
//! when it has been too slow, it reads all identities, a page at a time.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::core::change::Change;
use crate::core::expectation::{DeviceSeries, Expectations, WatchedDevice};
use crate::core::identity::DeviceStatus;
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::ops::changes::{Cursor, Lanes, Span};
use crate::ops::read_devices::{DeviceView, list_devices};
use crate::store::RegistryError;

/// The most devices that have time series of their own: each series costs whoever scrapes.
pub const SERIES_MAX: usize = 1000;

/// How late it is noticed that a device has become offline.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How many devices become offline before somebody else has a turn.
const OFFLINE_AT_ONCE: usize = 10_000;

/// How many identities are read at once. Whoever writes identities waits for it.
const PAGE: usize = 500;

/// Between two pages, for those who want the registry for something better.
const PAGE_PAUSE: Duration = Duration::from_millis(5);

/// What is followed: nothing is expected of a device because of its commands.
const FOLLOWED: Lanes = Lanes { fleet: true, commands: false };

/// When to read again after the registry did not answer.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What is expected of the hub's devices.
#[derive(Debug)]
pub struct ExpectedDevices {
    machine: Mutex<Expectations>,
    /// What holds for devices that have no such time of their own.
    offline_after: Option<Duration>,
}

impl ExpectedDevices {
    /// Of a hub whose life began then; `offline_after` is for devices without one of their own.
    #[must_use]
    pub fn new(began: UnixMillis, offline_after: Option<Duration>) -> Self {
        Self { machine: Mutex::new(Expectations::new(began)), offline_after }
    }

    fn machine(&self) -> MutexGuard<'_, Expectations> {
        self.machine.lock().expect("nothing panics while it holds this lock")
    }

    fn watched(&self, view: &DeviceView) -> WatchedDevice {
        let identity = &view.identity;
        let own = identity.monitoring.offline_after.map(|after| after.get());
        WatchedDevice {
            id: identity.device_id.clone(),
            offline_after: own.or(self.offline_after),
            own_series: identity.monitoring.per_device_metrics,
            enabled: identity.status() == DeviceStatus::Enabled,
            enabled_since: identity.status_updated_time,
            connected: view.connected,
            last_transition: view.connection_state_updated_time,
        }
    }
}

/// The time series of devices that ask for some, [`SERIES_MAX`] of them at most, and how many more ask.
#[must_use]
pub fn device_series(hub: &Hub) -> (Vec<DeviceSeries>, usize) {
    hub.expected_devices.machine().series(SERIES_MAX)
}

/// Follows what happens to devices until the hub ends, and keeps the gauges right.
pub async fn follow_devices(hub: &Hub) {
    let mut failing = false;
    loop {
        match read_all(hub).await {
            Ok(next) => {
                failing = false;
                if !follow(hub, next).await {
                    return;
                }
                tracing::warn!("more has happened than could be counted: all identities are read again for what is expected of them");
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "which devices are expected can't be read, and is tried again: {error}");
                }
                failing = true;
                sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// Reads all identities; answers with the place of the first change that is not counted yet.
async fn read_all(hub: &Hub) -> Result<Cursor, RegistryError> {
    let ended = hub.earlier_boots.last_end(hub).await;
    hub.expected_devices.machine().begin_round(ended);
    let mut next = hub.changes.end_of(FOLLOWED);
    let mut after = None;
    loop {
        let page = {
            // So that a device which is made now is heard of as new, and not found here as one of old.
            let _in_order = hub.registry_order.lock().await;
            // When too much has happened it stays where it was, and is found out behind the last page.
            next = count_changes(hub, next).await.unwrap_or(next);
            list_devices(hub, after.as_ref(), PAGE).await?
        };
        let now = hub.now();
        {
            let mut machine = hub.expected_devices.machine();
            page.iter().for_each(|view| machine.stored(&hub.expected_devices.watched(view), now));
        }
        if page.len() < PAGE {
            break;
        }
        after = page.into_iter().next_back().map(|view| view.identity.device_id);
        sleep(PAGE_PAUSE).await;
    }
    hub.expected_devices.machine().end_round();
    Ok(next)
}

/// Counts what happens from `next` on. Says whether to read all again; otherwise the hub has ended.
async fn follow(hub: &Hub, mut next: Cursor) -> bool {
    loop {
        let Some(counted) = count_changes(hub, next).await else { return true };
        next = counted;
        while !let_time_pass(hub) {
            tokio::task::yield_now().await;
        }
        if let Ok(false) = timeout(LOOK_EVERY, hub.changes.wait_for(next.next)).await {
            return false;
        }
    }
}

/// Notices who has become offline; says whether that were all.
fn let_time_pass(hub: &Hub) -> bool {
    let mut machine = hub.expected_devices.machine();
    let all = machine.advance(hub.now(), OFFLINE_AT_ONCE);
    hub.metrics.devices_expected(machine.counts());
    all
}

/// Counts what has happened from `next` on, and answers where to go on; `None` when some of it is not kept any more.
async fn count_changes(hub: &Hub, mut next: Cursor) -> Option<Cursor> {
    loop {
        let Span::Changes(changes) = hub.changes.read(&mut next) else { return None };
        if changes.is_empty() {
            return Some(next);
        }
        for published in &changes {
            count_change(hub, &published.change).await;
        }
    }
}

async fn count_change(hub: &Hub, change: &Change) {
    let (expected, now) = (&hub.expected_devices, hub.now());
    match change {
        Change::IdentityWritten(identity) => {
            let device = expected.watched(&DeviceView::of(hub, identity.as_ref().clone()).await);
            expected.machine().changed(&device, now);
        }
        Change::IdentityDeleted(id) => expected.machine().forget(id),
        Change::Presence(transition) => {
            let told = (transition.disconnected.is_some(), transition.connected);
            expected.machine().transition(&transition.device_id, told, transition.time, now);
        }
        Change::Refused { .. } | Change::Command(..) | Change::Receipt(_) | Change::ReceiptStep(..) | Change::Audited(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::core::device_id::DeviceId;
    use crate::core::expectation::Expected;
    use crate::core::identity::{DeviceIdentity, Hold, Monitoring, Version};
    use crate::core::session::DisconnectReason;
    use crate::ops::flush_activity::flush_activity;
    use crate::ops::open_session::{close_session, open_session};
    use crate::ops::record_connections::flush_connections;
    use crate::ops::world::{NOW, World, device_token, identity, origin};
    use crate::store::Expected as ExpectedVersion;

    fn after_a_minute(id: &str) -> DeviceIdentity {
        let monitoring = Monitoring { offline_after: Some("1m".parse().unwrap()), per_device_metrics: true };
        DeviceIdentity { monitoring, ..identity(id) }
    }

    fn seconds(world: &World, seconds: i64) {
        world.clock.0.store(NOW.0 + seconds * 1000, Ordering::Relaxed);
    }

    /// What is counted a little later.
    async fn counts(world: &World) -> Expected {
        sleep(2 * LOOK_EVERY).await;
        world.hub.expected_devices.machine().counts()
    }

    fn follow(world: &World) {
        let hub = Arc::clone(&world.hub);
        tokio::spawn(async move { follow_devices(&hub).await });
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_expected_and_stays_away_is_counted() {
        let world = World::with_device("old").await;
        follow(&world);
        assert_eq!(counts(&world).await, Expected::default(), "nobody asked for it");
        world.write(ExpectedVersion::Absent, Some(after_a_minute("D"))).await;
        assert_eq!(counts(&world).await, Expected { devices: 1, offline: 0 });
        seconds(&world, 59);
        assert_eq!(counts(&world).await.offline, 0);
        let right = world.login("D", &device_token("D", 1)).await.unwrap();
        let session = open_session(&world.hub, right, origin()).await.unwrap();
        seconds(&world, 100);
        assert_eq!(counts(&world).await.offline, 0);
        let (series, left_out) = device_series(&world.hub);
        assert_eq!(
            (series.len(), series[0].connected, series[0].last_transition.map(|time| time.0 - NOW.0), left_out),
            (1, true, Some(59_000), 0)
        );
        close_session(&world.hub, &session, DisconnectReason::ConnectionLost);
        seconds(&world, 159);
        assert_eq!(counts(&world).await.offline, 0);
        seconds(&world, 160);
        assert_eq!(counts(&world).await.offline, 1);

        let held = DeviceIdentity { hold: Some(Hold { by: "service".into(), since: NOW }), version: Version(2), ..after_a_minute("D") };
        world.write(ExpectedVersion::Version(Version(1)), Some(held)).await;
        assert_eq!(counts(&world).await, Expected::default(), "nobody expects one that is shut out");
        world.hub.identity_changed(&DeviceId::parse("D").unwrap(), None);
        counts(&world).await;
        assert!(device_series(&world.hub).0.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_keeps_who_was_gone_and_gives_the_others_their_time() {
        let world = World::new();
        for id in ["gone", "there"] {
            world.write(ExpectedVersion::Absent, Some(after_a_minute(id))).await;
            let right = world.login(id, &device_token(id, 1)).await.unwrap();
            let session = open_session(&world.hub, right, origin()).await.unwrap();
            if id == "gone" {
                close_session(&world.hub, &session, DisconnectReason::ConnectionLost);
            }
        }
        // The last heartbeat of a hub that is killed.
        seconds(&world, 100);
        flush_activity(&world.hub, UnixMillis(0)).await;
        flush_connections(&world.hub).await.unwrap();

        let next = world.restarted();
        // Within the minute of who was there until the end.
        seconds(&next, 159);
        follow(&next);
        assert_eq!(counts(&next).await, Expected { devices: 2, offline: 1 });
    }
}
