//! A device is disabled while the desk has to do with it: once that has returned, nothing succeeds any more, and nothing is told of it.

use super::*;
use crate::core::change::{Change, ChangeKind};
use crate::core::identity::DeviceStatus;
use crate::core::identity::change::{self, Author, Precondition, Settings};
use crate::ops::change_devices::{ChangeError, change_device};
use crate::ops::changes::{Lanes, Span};
use crate::ops::commands::UNDER_WAY_MAX;
use crate::ops::world::by_service;
use crate::store::RegistryError;

/// Long enough for all that needs no time to have happened.
const A_MOMENT: Duration = Duration::from_millis(1);

/// Disables the device, and says which number the next change had when that returned.
fn disable(world: &World) -> tokio::task::JoinHandle<Result<u64, ChangeError>> {
    let hub = Arc::clone(&world.hub);
    tokio::spawn(async move {
        let settings = Settings { status: Some(DeviceStatus::Disabled), ..Settings::default() };
        let author = Author::Policy { name: "iothubowner".to_owned(), release: false };
        let request = change::Request { change: change::Change::Update(settings, Precondition::Any), author };
        change_device(&hub, &by_service(), device(), request).await?;
        Ok(hub.changes.end_of(Lanes::of(&ChangeKind::ALL)).next)
    })
}

/// What was told of commands from this number on.
fn told_from(world: &World, number: u64) -> Vec<StepKind> {
    let mut cursor = world.hub.changes.stand(number, Lanes::of(&[ChangeKind::Command])).unwrap();
    let Span::Changes(changes) = world.hub.changes.read(&mut cursor) else { panic!("nothing is gone") };
    let step = |change: &Change| if let Change::Command(_, step) = change { Some(step.kind.clone()) } else { None };
    changes.iter().filter_map(|published| step(&published.change)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_was_under_way_comes_to_its_end_before_a_disable_returns() {
    let world = World::with_device("D").await;
    let (right, command) = (world.right().await, world.send("m1").await.unwrap());
    let delivery = world.receive().await.unwrap();
    let held = world.commands.hold_commits().await;
    let hub = Arc::clone(&world.hub);
    let settled = tokio::spawn(async move { settle_command(&hub, &right, delivery.token, Settlement::Complete).await });
    tokio::time::sleep(A_MOMENT).await;
    let disabled = disable(&world);
    tokio::time::sleep(A_MOMENT).await;
    assert!(!disabled.is_finished(), "the settlement may yet become durable, and be told");
    drop(held);
    let returned = disabled.await.unwrap().unwrap();
    assert!(settled.await.unwrap().is_ok(), "it came before");
    assert_eq!(world.outcome(command.id).await, Some(Outcome::Completed));
    assert_eq!(told_from(&world, returned), []);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_was_under_way_is_told_before_a_disable_returns_and_does_not_leave() {
    let world = World::with_device("D").await;
    let session = world.session().await;
    let command = world.send("m1").await.unwrap();
    let held = world.commands.hold_commits().await;
    subscribe(&world.hub, &session, 1);
    tokio::time::sleep(A_MOMENT).await;
    let disabled = disable(&world);
    tokio::time::sleep(A_MOMENT).await;
    assert!(!disabled.is_finished(), "the delivery may yet become durable, and be told");
    drop(held);
    let returned = disabled.await.unwrap().unwrap();
    world.settled().await;
    assert!(session.take_deliveries().is_empty());
    assert!(told_from(&world, returned).iter().all(|step| *step == StepKind::Returned(ReturnReason::NotSent)));
    assert_eq!(get_command(&world.hub, command.id).await.unwrap().unwrap().view.command.delivery_count, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_handed_out_to_those_whom_a_disable_has_shut_out() {
    let world = World::with_device("D").await;
    let (session, right, hub) = (world.session().await, world.right().await, Arc::clone(&world.hub));
    let polled = tokio::spawn(async move { next_command(&hub, &right, origin(), None, Duration::from_secs(60)).await });
    tokio::time::sleep(A_MOMENT).await;
    subscribe(&world.hub, &session, 1);
    world.settled().await;
    let returned = disable(&world).await.unwrap().unwrap();
    for text in ["m1", "m2"] {
        world.send(text).await.unwrap();
    }
    world.settled().await;
    assert!(matches!(polled.await.unwrap(), Err(ReceiveError::NoLongerGood)));
    assert_eq!(told_from(&world, returned), [StepKind::Enqueued, StepKind::Enqueued]);
}

#[tokio::test(start_paused = true)]
async fn a_disable_does_not_wait_for_ever_and_then_does_not_say_that_it_is_done() {
    let world = World::with_device("D").await;
    let held = world.commands.hold_commits().await;
    let hub = Arc::clone(&world.hub);
    let sent = tokio::spawn(async move { World::send_to(&hub, "m1").await });
    tokio::time::sleep(A_MOMENT).await;
    let disabled = tokio::time::timeout(2 * UNDER_WAY_MAX, disable(&world)).await.expect("an answer").unwrap();
    assert!(matches!(disabled, Err(ChangeError::Registry(RegistryError::Unavailable(_)))));
    let refused = world.login("D", &device_token("D", 1)).await;
    assert!(refused.is_err(), "it is disabled all the same");
    drop(held);
    sent.await.unwrap().unwrap();
    assert!(disable(&world).await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_disable_waits_for_nobody_while_the_store_fails_or_the_desk_has_ended() {
    let world = World::with_device("D").await;
    world.commands.set_failing(true);
    assert!(world.send("m1").await.is_err());
    assert!(disable(&world).await.unwrap().is_ok());
    world.hub.commands.stop();
    world.hub.commands.sender().closed().await;
    assert!(disable(&world).await.unwrap().is_ok());
}
