use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::*;
use crate::core::command::Acknowledgement;
use crate::core::fleet::{FleetDevice, FleetFilter, Sort};
use crate::core::identity::{DeviceIdentity, Hold, Version};
use crate::ops::flush_activity::flush_activity;
use crate::ops::follow_devices::follow_devices;
use crate::ops::open_session::{close_session, open_session};
use crate::ops::record_connections::flush_connections;
use crate::ops::send_command::{NewCommand, send_command};
use crate::ops::world::{BrokenRegistry, NOW, World, device_token, identity, origin, payload};
use crate::ops::{RegistryError, Session};
use crate::store::Expected;

fn follow(world: &World) {
    let hub = Arc::clone(&world.hub);
    tokio::spawn(async move { follow_devices(&hub).await });
}

fn at(world: &World, seconds: i64) {
    world.clock.0.store(NOW.0 + seconds * 1000, Ordering::Relaxed);
}

/// As it is a little later.
async fn list(world: &World, query: FleetQuery) -> FleetPage {
    sleep(Duration::from_secs(2)).await;
    list_fleet(&world.hub, query).await.unwrap()
}

/// Whoever asks for pages without end takes no more cores than there are turns; others are told so, and not kept waiting for ever.
#[tokio::test(start_paused = true)]
async fn so_many_pages_are_made_at_once() {
    let world = World::with_device("D").await;
    let asked = || FleetQuery { limit: 1, ..FleetQuery::default() };
    let turns = Arc::clone(&world.hub.fleet.turns);
    let one = Arc::clone(&turns).acquire_owned().await.unwrap();
    assert!(list_fleet(&world.hub, asked()).await.is_ok());
    let two = Arc::clone(&turns).acquire_owned().await.unwrap();
    assert_eq!(list_fleet(&world.hub, asked()).await, Err(TooManyPages));
    drop((one, two));
    for _ in 0..10 {
        assert!(list_fleet(&world.hub, asked()).await.is_ok());
    }
}

async fn all(world: &World) -> FleetPage {
    list(world, FleetQuery { limit: 1000, ..FleetQuery::default() }).await
}

async fn device(world: &World, id: &str) -> FleetDevice {
    all(world).await.devices.into_iter().find(|device| device.id.as_str() == id).unwrap()
}

async fn connect(world: &World, id: &str) -> Session {
    let right = world.login(id, &device_token(id, 1)).await.unwrap();
    open_session(&world.hub, right, origin()).await.unwrap()
}

async fn send(world: &World, id: &str) {
    let command = NewCommand { message: payload("open"), ack: Acknowledgement::None, sent_by: "service".to_owned(), again_of: None };
    send_command(&world.hub, DeviceId::parse(id).unwrap(), command).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_a_device_is_in_the_list() {
    let world = World::with_device("old").await;
    follow(&world);
    assert_eq!(device(&world, "old").await.state, DeviceState::Never, "it was there before");
    world.write(Expected::Absent, Some(identity("D"))).await;
    let session = connect(&world, "D").await;
    send(&world, "D").await;
    send(&world, "D").await;
    let there = device(&world, "D").await;
    assert_eq!((there.state, there.state_since, there.seen.last, there.queue), (DeviceState::Connected, Some(NOW), Some(NOW), 2));
    at(&world, 30);
    close_session(&world.hub, &session, DisconnectReason::ConnectionLost);
    let gone = device(&world, "D").await;
    assert_eq!((gone.state, gone.state_since), (DeviceState::Offline, Some(NOW.plus(Duration::from_secs(30)))));
    assert_eq!(gone.seen.reason, Some(DisconnectReason::ConnectionLost));

    let held = DeviceIdentity { hold: Some(Hold { by: "service".into(), since: NOW }), version: Version(2), ..identity("D") };
    world.write(Expected::Version(Version(1)), Some(held)).await;
    let shut_out = device(&world, "D").await;
    assert_eq!((shut_out.state, shut_out.held, shut_out.queue), (DeviceState::Disabled, true, 2));
    assert_eq!(shut_out.seen.reason, Some(DisconnectReason::ConnectionLost));
    world.hub.identity_changed(&DeviceId::parse("D").unwrap(), None);
    let page = all(&world).await;
    assert_eq!((page.devices.len(), page.total, page.whole), (1, 1, true));
}

#[tokio::test(start_paused = true)]
async fn who_stays_connected_is_seen_again_when_that_is_written() {
    let world = World::with_device("D").await;
    follow(&world);
    let session = connect(&world, "D").await;
    assert_eq!(device(&world, "D").await.seen.last, Some(NOW));
    at(&world, 90);
    session.touch(world.hub.now());
    flush_activity(&world.hub, NOW).await;
    assert_eq!(device(&world, "D").await.seen.last, Some(NOW.plus(Duration::from_secs(90))));
}

#[tokio::test(start_paused = true)]
async fn who_was_there_when_the_hub_died_went_with_it() {
    let world = World::with_device("D").await;
    connect(&world, "D").await;
    at(&world, 100);
    flush_activity(&world.hub, UnixMillis(0)).await;
    flush_connections(&world.hub).await.unwrap();
    let next = world.restarted();
    at(&next, 500);
    follow(&next);
    let found = device(&next, "D").await;
    assert_eq!((found.state, found.seen.reason), (DeviceState::Offline, Some(DisconnectReason::HubRestarted)));
    assert_eq!(found.state_since, Some(NOW.plus(Duration::from_secs(100))));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_not_whole_says_so_and_a_loss_makes_it_anew() {
    let world = World::on(Arc::new(BrokenRegistry(RegistryError::Unavailable("down".to_owned()))));
    follow(&world);
    assert!(!all(&world).await.whole);

    let world = World::with_device("a").await;
    follow(&world);
    world.write(Expected::Absent, Some(identity("b"))).await;
    let session = connect(&world, "b").await;
    close_session(&world.hub, &session, DisconnectReason::TooSlow);
    let before = all(&world).await;
    world.hub.changes.lose_fleet();
    let after = all(&world).await;
    assert_eq!((before.devices, after.whole), (after.devices, true), "also why b went");
    assert!(after.revision > before.revision);
}

#[tokio::test(start_paused = true)]
async fn the_fleet_is_counted_by_state_and_everybody_once() {
    let world = World::with_device("calm").await;
    for id in ["flaps", "gone", "off", "never"] {
        world.write(Expected::Absent, Some(identity(id))).await;
    }
    follow(&world);
    connect(&world, "calm").await;
    for _ in 0..5 {
        connect(&world, "flaps").await;
        world.clock.0.fetch_add(1000, Ordering::Relaxed);
    }
    let gone = connect(&world, "gone").await;
    close_session(&world.hub, &gone, DisconnectReason::ConnectionLost);
    let off = DeviceIdentity { wanted_status: crate::core::identity::DeviceStatus::Disabled, version: Version(2), ..identity("off") };
    world.write(Expected::Version(Version(1)), Some(off)).await;
    let page = list(&world, FleetQuery { sort: Sort::State, limit: 9, ..FleetQuery::default() }).await;
    let ids: Vec<_> = page.devices.iter().map(|device| (device.id.as_str(), device.state)).collect();
    let expected = [
        ("gone", DeviceState::Offline),
        ("flaps", DeviceState::Flapping),
        ("off", DeviceState::Disabled),
        ("never", DeviceState::Never),
        ("calm", DeviceState::Connected),
    ];
    assert_eq!(ids, expected);
    let flapping = FleetFilter { flapping: Some(true), ..FleetFilter::default() };
    let flapping = list(&world, FleetQuery { filter: flapping, limit: 9, ..FleetQuery::default() }).await;
    assert_eq!((flapping.total, flapping.devices[0].state_since), (1, Some(NOW)), "since its first connect, not the last");

    let summary = summarize_fleet(&world.hub).await;
    assert!(summary.states.iter().all(|(_, count)| *count == 1), "{summary:?}");
    assert_eq!((summary.counts.total, summary.counts.enabled, summary.counts.connected, summary.whole), (5, 4, 2, true));
    assert_eq!(summary.flapping.iter().map(|(id, streak)| (id.as_str(), streak.connects)).collect::<Vec<_>>(), [("flaps", 5)]);
}

/// A page lets one write in, so that whoever scrolls all the time holds up a batch once and not each change of it.
#[tokio::test(start_paused = true)]
async fn what_happens_is_taken_in_while_pages_are_always_being_made() {
    let world = World::with_device("D").await;
    let hub = &world.hub;
    let followed = Arc::clone(hub);
    tokio::spawn(async move { follow_devices(&followed).await });
    sleep(Duration::from_secs(1)).await;
    for offset in [0, 5] {
        let hub = Arc::clone(hub);
        tokio::spawn(async move {
            sleep(Duration::from_millis(offset)).await;
            loop {
                let _page = hub.fleet.fleet.read().await;
                sleep(Duration::from_millis(10)).await;
            }
        });
    }
    for number in 0..300 {
        world.write(Expected::Absent, Some(identity(&format!("d-{number}")))).await;
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(hub.fleet.fleet.read().await.counts().total, 301);
}
