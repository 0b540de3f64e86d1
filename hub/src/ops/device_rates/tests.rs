//! What is counted of whom, through the verbs that count.

use std::sync::mpsc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::*;
use crate::core::device_rate::{MINUTES, STEP};
use crate::core::sas::sign;
use crate::core::session::{DeviceRight, DisconnectReason};
use crate::core::telemetry::Occasion;
use crate::ops::EventBatch;
use crate::ops::open_session::{close_session, open_session};
use crate::ops::send_telemetry::{append, append_durably, append_will, stage, stamps};
use crate::ops::world::{NOW, World, key, origin, payload};

fn device(id: &str) -> DeviceId {
    DeviceId::parse(id).unwrap()
}

fn batch(hub: &Hub, right: &DeviceRight, messages: usize) -> EventBatch {
    let stamps = stamps(hub, right);
    let mut batch = EventBatch::default();
    (0..messages).for_each(|_| stage(payload("21.5"), Occasion::default(), &stamps, &mut batch).unwrap());
    batch
}

async fn connect(world: &World) -> Session {
    let token = sign("hub.example/devices/D", NOW.plus(STEP * 1000), &key(1), None);
    let right = world.login("D", &token).await.unwrap();
    open_session(&world.hub, right, origin()).await.unwrap()
}

fn sends(world: &World, session: &Session, messages: usize) {
    let mut batch = batch(&world.hub, &session.right(), messages);
    append(&world.hub, session, &mut batch).now_or_never().expect("there is room").unwrap();
}

fn later(world: &World, time: Duration) {
    world.clock.0.fetch_add(time.as_millis() as i64, Ordering::Relaxed);
}

fn told(world: &World, id: &str) -> DeviceRate {
    device_rate(&world.hub, &device(id), world.hub.now())
}

#[tokio::test]
async fn all_that_a_device_sends_is_counted_whichever_way_it_comes() {
    let world = World::with_device("D").await;
    let session = connect(&world).await;
    sends(&world, &session, 3);
    sends(&world, &session, 4);
    later(&world, STEP);
    close_session(&world.hub, &session, DisconnectReason::ConnectionLost);
    let right = session.right();
    append_will(&world.hub, &session, &mut batch(&world.hub, &right, 1)).await.unwrap();
    append_durably(&world.hub, &right, &mut batch(&world.hub, &right, 2)).await.unwrap();
    later(&world, STEP);
    sends(&world, &connect(&world).await, 5);
    assert_eq!(told(&world, "D").messages, [7, 3, 5]);
    assert_eq!(told(&world, "E").messages, [0, 0, 0], "it has sent nothing");

    let ended = append(&world.hub, &session, &mut batch(&world.hub, &right, 9)).await;
    assert!(ended.is_err(), "what is not appended");
    assert_eq!(told(&world, "D").messages, [7, 3, 5], "is not counted");
}

#[tokio::test]
async fn who_has_been_counted_once_needs_no_lock() {
    let world = World::with_device("D").await;
    let session = connect(&world).await;
    sends(&world, &session, 1);
    let held = world.hub.device_rates.counted();
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let (world, session) = (&world, &session);
        scope.spawn(move || {
            sends(world, session, 1);
            sender.send(()).unwrap();
        });
        let sent = receiver.recv_timeout(Duration::from_secs(20));
        // Before anything else: whoever waits for it must not keep the test from ending.
        drop(held);
        sent.expect("it waits for nobody");
    });
    assert_eq!(told(&world, "D").messages, [2]);
}

#[tokio::test]
async fn whoever_is_silent_and_gone_is_forgotten_and_whoever_is_connected_is_not() {
    let world = World::with_device("D").await;
    let rates = &world.hub.device_rates;
    for number in 0..2 * FORGOTTEN_AT_ONCE + 1 {
        rates.of(&device(&format!("a-{number}")), NOW).unwrap().add(NOW, 1);
    }
    let session = connect(&world).await;
    sends(&world, &session, 1);
    later(&world, STEP * (MINUTES as u32 - 1));
    rates.of(&device("b"), world.hub.now()).unwrap().add(world.hub.now(), 1);
    rates.forget_silent(world.hub.now());
    assert_eq!(rates.counted().len(), 2 * FORGOTTEN_AT_ONCE + 3, "all have sent within the hour");
    later(&world, STEP);
    rates.forget_silent(world.hub.now());
    assert_eq!(rates.counted().keys().map(DeviceId::as_str).collect::<Vec<_>>(), ["D", "b"]);
    sends(&world, &session, 6);
    assert_eq!(told(&world, "D").messages.last(), Some(&6));
}

#[tokio::test]
async fn a_device_for_which_there_was_no_room_is_not_said_to_be_silent() {
    let world = World::with_device("D").await;
    let rates = DeviceRates { devices_max: 1, ..DeviceRates::new(NOW) };
    let at = |minute: u32| NOW.plus(STEP * minute);
    let other = rates.of(&device("other"), NOW).unwrap();
    assert_eq!(rates.rate(&device("D"), at(1)).messages, [0, 0], "there is room for all so far");
    let session = connect(&world).await;
    assert!(rates.of_session(&session, at(1)).is_none());
    assert_eq!(rates.rate(&device("D"), at(1)), DeviceRate::unknown(at(1)));
    drop(other);
    rates.forget_silent(at(2));
    assert!(rates.of_session(&session, at(2)).is_none(), "not as long as this session lasts");
    rates.of_session(&connect(&world).await, at(3)).expect("there is room again").add(at(3), 4);
    let told = rates.rate(&device("D"), at(4));
    assert_eq!((told.messages.as_slice(), told.start > at(2)), (&[4, 0][..], true), "and nothing is said of the time before");
}
