//! Keeps count of the devices that are expected and offline, and of the time series that devices ask for.
//!
//! Told by [`follow_devices`](crate::ops::follow_devices::follow_devices): nobody who connects, disconnects or changes an identity waits for it.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::core::change::Change;
use crate::core::expectation::{DeviceSeries, Expectations, WatchedDevice};
use crate::core::identity::DeviceStatus;
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::ops::read_devices::DeviceView;

/// The most devices that have time series of their own: each series costs whoever scrapes.
pub const SERIES_MAX: usize = 1000;

/// How many devices become offline before somebody else has a turn.
const OFFLINE_AT_ONCE: usize = 10_000;

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

    /// All devices are read anew; the hub's life before this one ended then.
    pub(super) fn begin_round(&self, ended: Option<UnixMillis>) {
        self.machine().begin_round(ended);
    }

    /// These are there.
    pub(super) fn stored(&self, views: &[DeviceView], now: UnixMillis) {
        let mut machine = self.machine();
        views.iter().for_each(|view| machine.stored(&self.watched(view), now));
    }

    /// All have been read.
    pub(super) fn end_round(&self) {
        self.machine().end_round();
    }

    /// Something has happened; with an identity that was written, its device as it is now.
    pub(super) fn happened(&self, change: &Change, view: Option<&DeviceView>, now: UnixMillis) {
        match (change, view) {
            (Change::IdentityWritten(_), Some(view)) => self.machine().changed(&self.watched(view), now),
            (Change::IdentityDeleted(id), _) => self.machine().forget(id),
            (Change::Presence(transition), _) => {
                let told = (transition.disconnected.is_some(), transition.connected);
                self.machine().transition(&transition.device_id, told, transition.time, now);
            }
            (_, _) => {}
        }
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

/// Notices who has become offline; says whether that were all.
pub(super) fn let_time_pass(hub: &Hub) -> bool {
    let mut machine = hub.expected_devices.machine();
    let all = machine.advance(hub.now(), OFFLINE_AT_ONCE);
    hub.metrics.devices_expected(machine.counts());
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use tokio::time::sleep;

    use super::*;
    use crate::core::device_id::DeviceId;
    use crate::core::expectation::Expected;
    use crate::core::identity::{DeviceIdentity, Hold, Monitoring, Version};
    use crate::core::session::DisconnectReason;
    use crate::ops::flush_activity::flush_activity;
    use crate::ops::follow_devices::{LOOK_EVERY, follow_devices};
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
