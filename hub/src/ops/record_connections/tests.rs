use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::FutureExt as _;

use super::*;
use crate::core::change::ChangeKind;
use crate::core::device_id::DeviceId;
use crate::core::session::BootId;
use crate::ops::changes::{Lanes, Span};
use crate::ops::flush_activity::flush_activity;
use crate::ops::open_session::{close_session, open_session};
use crate::ops::read_connections::device_connections;
use crate::ops::read_devices::{get_device, list_devices};
use crate::ops::world::{NOW, World, device_token, identity, origin};
use crate::store::connection_log::ConnectionLog;
use crate::store::memory::connection_log::MemoryConnectionLog;
use crate::store::memory::registry::MemoryRegistry;
use crate::store::{DeviceActivity, Expected, Registry};

/// A log that can be down, and counts what it is told.
#[derive(Default)]
struct Frail {
    log: MemoryConnectionLog,
    down: AtomicBool,
    hangs: AtomicBool,
    asked_for_heartbeats: AtomicUsize,
    batches: AtomicUsize,
    written: AtomicUsize,
}

impl Frail {
    fn up(&self) -> Result<(), ConnectionLogError> {
        if self.down.load(Ordering::Relaxed) { Err(ConnectionLogError::Unavailable("it is down".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl ConnectionLog for Frail {
    async fn begin_boot(&self, now: UnixMillis) -> Result<BootId, ConnectionLogError> {
        self.log.begin_boot(now).await
    }

    async fn record(&self, boot: BootId, heartbeat: UnixMillis, records: &[ConnectionRecord]) -> Result<(), ConnectionLogError> {
        self.up()?;
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.written.fetch_add(records.len(), Ordering::Relaxed);
        self.log.record(boot, heartbeat, records).await
    }

    async fn connections(
        &self,
        current: BootId,
        device: &DeviceId,
        before: Option<(BootId, ConnectionId)>,
        limit: usize,
    ) -> Result<Vec<ConnectionRecord>, ConnectionLogError> {
        self.up()?;
        self.log.connections(current, device, before, limit).await
    }

    async fn last_heartbeats(&self) -> Result<Vec<(BootId, UnixMillis)>, ConnectionLogError> {
        self.asked_for_heartbeats.fetch_add(1, Ordering::Relaxed);
        self.up()?;
        self.log.last_heartbeats().await
    }

    async fn prune(&self, current: BootId, before: UnixMillis, limit: usize) -> Result<usize, ConnectionLogError> {
        self.log.prune(current, before, limit).await
    }

    async fn forget_boots(&self, current: BootId, before: UnixMillis, limit: usize) -> Result<usize, ConnectionLogError> {
        self.log.forget_boots(current, before, limit).await
    }
}

/// A hub whose connections' log can be down.
async fn frail() -> (World, Arc<Frail>) {
    let log = Arc::new(Frail::default());
    let boot = log.begin_boot(NOW).await.unwrap();
    let world = World::living(boot, Arc::new(MemoryRegistry::default()), Arc::clone(&log) as _);
    world.write(Expected::Absent, Some(identity("D"))).await;
    (world, log)
}

async fn connect(world: &World) -> Session {
    let right = world.login("D", &device_token("D", 1)).await.unwrap();
    open_session(&world.hub, right, origin()).await.unwrap()
}

fn later(world: &World, seconds: i64) -> UnixMillis {
    UnixMillis(world.clock.0.fetch_add(seconds * 1000, Ordering::Relaxed) + seconds * 1000)
}

async fn reasons(world: &World) -> Vec<Option<&'static str>> {
    let id = DeviceId::parse("D").unwrap();
    let connections = device_connections(&world.hub, &id, None, 1000).await.unwrap().connections;
    connections.iter().map(|record| record.disconnected.map(|(_, reason)| reason.name())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_came_and_went_between_two_writes_is_one_record() {
    let (world, log) = frail().await;
    let session = connect(&world).await;
    close_session(&world.hub, &session, DisconnectReason::ConnectionLost);
    assert_eq!(log.written.load(Ordering::Relaxed), 0, "nothing is written by those who connect");
    flush_connections(&world.hub).await.unwrap();
    assert_eq!((log.batches.load(Ordering::Relaxed), log.written.load(Ordering::Relaxed)), (1, 1));
    assert_eq!(reasons(&world).await, [Some("ConnectionLost")]);
}

#[tokio::test(start_paused = true)]
async fn what_watchers_were_told_can_be_read_at_once() {
    let (world, _) = frail().await;
    let older = connect(&world).await;
    let newer = connect(&world).await;
    assert_eq!(older.ended(), Some(DisconnectReason::TakenOver));
    close_session(&world.hub, &older, DisconnectReason::ConnectionLost);
    assert_eq!(reasons(&world).await, [None, Some("TakenOver")]);
    close_session(&world.hub, &newer, DisconnectReason::KeepAliveTimeout);
    assert_eq!(reasons(&world).await, [Some("KeepAliveTimeout"), Some("TakenOver")]);

    let mut from_the_first = world.hub.changes.stand(1, Lanes::of(&[ChangeKind::Presence])).unwrap();
    let Span::Changes(changes) = world.hub.changes.read(&mut from_the_first) else { panic!("nothing is gone") };
    let told: Vec<_> = changes.iter().filter_map(|told| transition(&told.change)).collect();
    assert_eq!(
        told,
        [(None, true), (None, true), (Some(DisconnectReason::TakenOver), true), (Some(DisconnectReason::KeepAliveTimeout), false)]
    );
}

fn transition(change: &Change) -> Option<(Option<DisconnectReason>, bool)> {
    match change {
        Change::Presence(transition) => Some((transition.disconnected, transition.connected)),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_loses_nothing_that_fits() {
    let (world, log) = frail().await;
    log.down.store(true, Ordering::Relaxed);
    let session = connect(&world).await;
    assert!(flush_connections(&world.hub).await.is_err());
    close_session(&world.hub, &session, DisconnectReason::ClientDisconnected);
    assert!(flush_connections(&world.hub).await.is_err());
    connect(&world).await;
    log.down.store(false, Ordering::Relaxed);
    flush_connections(&world.hub).await.unwrap();
    assert_eq!(reasons(&world).await, [None, Some("ClientDisconnected")]);
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_for_the_log_loses_nothing() {
    let (world, log) = frail().await;
    let session = connect(&world).await;
    log.hangs.store(true, Ordering::Relaxed);
    assert!(flush_connections(&world.hub).now_or_never().is_none(), "it waits for the log");
    assert!(!world.hub.unwritten_connections.is_empty(), "who asks now must wait, too");
    close_session(&world.hub, &session, DisconnectReason::ClientDisconnected);
    assert!(flush_connections(&world.hub).now_or_never().is_none());
    log.hangs.store(false, Ordering::Relaxed);
    flush_connections(&world.hub).await.unwrap();
    assert_eq!(reasons(&world).await, [Some("ClientDisconnected")]);
    assert_eq!(log.written.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_devices_asks_for_the_hubs_earlier_lives_once() {
    let log = Arc::new(Frail::default());
    let earlier = log.begin_boot(NOW).await.unwrap();
    let boot = log.begin_boot(NOW).await.unwrap();
    let world = World::living(boot, Arc::new(MemoryRegistry::default()), Arc::clone(&log) as _);
    let mut activity = Vec::new();
    for id in ["a", "b", "c"] {
        let identity = identity(id);
        world.write(Expected::Absent, Some(identity.clone())).await;
        activity.push(DeviceActivity {
            id: identity.device_id,
            generation_id: identity.generation_id,
            connected_boot: Some(earlier),
            last_activity_time: Some(NOW),
            connection_state_updated_time: Some(NOW),
        });
    }
    world.hub.registry.record_activity(activity).await.unwrap();
    log.down.store(true, Ordering::Relaxed);
    let devices = list_devices(&world.hub, None, 1000).await.unwrap();
    assert_eq!((devices.len(), log.asked_for_heartbeats.load(Ordering::Relaxed)), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_counted_and_connecting_goes_on() {
    let (world, log) = frail().await;
    let record = |number: usize| ConnectionRecord {
        boot: world.hub.boot,
        connection: ConnectionId(1_000_000 + number as u64),
        device_id: DeviceId::parse("E").unwrap(),
        protocol: crate::core::session::Protocol::Mqtt,
        address: origin().peer.ip(),
        connected_time: NOW,
        disconnected: None,
    };
    let unwritten = &world.hub.unwritten_connections;
    assert!((0..UNWRITTEN_MAX).all(|number| unwritten.keep(record(number)) == Kept::Yes));
    assert_eq!(unwritten.keep(record(0)), Kept::Yes, "it has its place already");
    assert_eq!([unwritten.keep(record(UNWRITTEN_MAX)), unwritten.keep(record(UNWRITTEN_MAX + 1))], [Kept::FirstLost, Kept::Lost]);
    let session = connect(&world).await;
    assert_eq!(session.ended(), None);
    flush_connections(&world.hub).await.unwrap();
    assert_eq!(log.written.load(Ordering::Relaxed), UNWRITTEN_MAX);
    assert_eq!(unwritten.state().lost, 0, "it was said how many");
}

/// A hub is killed, and another begins over what it left: whoever was connected went with it, at its last sign of life.
#[tokio::test(start_paused = true)]
async fn after_a_kill_everybody_has_gone_when_the_hub_did() {
    let log = Arc::new(MemoryConnectionLog::default());
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::default());
    let boot = log.begin_boot(NOW).await.unwrap();
    let world = World::living(boot, Arc::clone(&registry), Arc::clone(&log) as _);
    for id in ["D", "gone"] {
        world.write(Expected::Absent, Some(identity(id))).await;
    }
    let right = world.login("gone", &device_token("gone", 1)).await.unwrap();
    let gone = open_session(&world.hub, right, origin()).await.unwrap();
    let connected_at = later(&world, 1);
    connect(&world).await;
    let gone_at = later(&world, 1);
    close_session(&world.hub, &gone, DisconnectReason::ClientDisconnected);
    flush_activity(&world.hub, NOW).await;
    let last_sign = later(&world, 3);
    flush_connections(&world.hub).await.unwrap();

    let boot = log.begin_boot(UnixMillis(NOW.0 + 60_000)).await.unwrap();
    let world = World::living(boot, registry, log);
    let view = async |id: &str| get_device(&world.hub, &DeviceId::parse(id).unwrap()).await.unwrap().unwrap();
    let device = view("D").await;
    assert_eq!((device.connected, device.connection_state_updated_time), (false, Some(last_sign)));
    assert_eq!(device.last_activity_time, Some(connected_at));
    let device = view("gone").await;
    assert_eq!((device.connected, device.connection_state_updated_time), (false, Some(gone_at)), "it went before");
    assert_eq!(reasons(&world).await, [Some("HubRestarted")]);
    connect(&world).await;
    assert!(view("D").await.connected);
    assert_eq!(reasons(&world).await, [None, Some("HubRestarted")]);
}

#[tokio::test(start_paused = true)]
async fn what_is_old_is_forgotten() {
    let (world, _) = frail().await;
    for _ in 0..PRUNE_CHUNK + 10 {
        let session = connect(&world).await;
        close_session(&world.hub, &session, DisconnectReason::ClientDisconnected);
    }
    later(&world, 8 * 24 * 60 * 60);
    let session = world.hub.presence.sessions(None, 1);
    assert!(session.is_empty());
    flush_connections(&world.hub).await.unwrap();
    prune_connections(&world.hub).await.unwrap();
    assert!(reasons(&world).await.is_empty());
}
