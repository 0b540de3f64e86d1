//! Devices are disabled, deleted and made anew while the desk has not heard of it yet.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;

use super::*;
use crate::core::command::draft::draft;
use crate::core::command::machine::Poll;
use crate::ops::commands::request::Request;
use crate::store::RegistryWrite;

fn disabled() -> DeviceIdentity {
    DeviceIdentity { version: Version(2), hold: Some(Hold { by: "service".into(), since: NOW }), ..identity("D") }
}

fn made_anew() -> DeviceIdentity {
    DeviceIdentity { generation_id: GenerationId("2".into()), ..identity("D") }
}

async fn send_without_receipt(world: &World, to: &str) -> CommandId {
    let command = NewCommand { message: Message::default(), ack: Acknowledgement::None, sent_by: "service".to_owned(), again_of: None };
    send_command(&world.hub, DeviceId::parse(to).unwrap(), command).await.unwrap().id
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_waits_while_the_device_is_disabled_does_not_count() {
    let world = World::with_device("D").await;
    let (session, right) = (world.session().await, world.right().await);
    let (first, second) = (world.send("m1").await.unwrap(), world.send("m2").await.unwrap());
    let delivery = world.receive().await.unwrap();
    subscribe(&world.hub, &session, 1);
    let pushed = delivered(&session).await;
    let mut settled = Box::pin(settle_command(&world.hub, &right, delivery.token, Settlement::Complete));
    assert!((&mut settled).now_or_never().is_none(), "it waits for the desk");
    settle_of_session(&world.hub, &session, pushed.token, Settlement::Complete);
    world.write(Expected::Version(Version(1)), Some(disabled())).await;
    assert!(matches!(settled.await, Err(SettleError::NoLongerGood)));
    assert_eq!((world.outcome(first.id).await, world.outcome(second.id).await), (None, None));
}

#[tokio::test(start_paused = true)]
async fn a_settlement_counts_that_came_before_the_connection_went() {
    let world = World::with_device("D").await;
    let session = world.session().await;
    let command = world.send("m1").await.unwrap();
    subscribe(&world.hub, &session, 1);
    let delivery = delivered(&session).await;
    settle_of_session(&world.hub, &session, delivery.token, Settlement::Complete);
    close_session(&world.hub, &session, DisconnectReason::ClientDisconnected);
    world.settled().await;
    assert_eq!(world.outcome(command.id).await, Some(Outcome::Completed));
}

#[tokio::test(start_paused = true)]
async fn who_comes_late_from_a_former_life_ends_nothing_of_the_present_one() {
    let world = World::with_device("D").await;
    let former = world.right().await;
    world.write(Expected::Version(Version(1)), None).await;
    world.write(Expected::Absent, Some(made_anew())).await;
    let command = world.send("m1").await.unwrap();
    let message = Message { body: Body::Data(vec![b"late"[..].into()]), ..Message::default() };
    let late = draft(message, Acknowledgement::None, "service".to_owned(), &identity("D"), NOW).unwrap();
    let sent = world.hub.commands.ask(|answer| Request::Send(late, answer)).await.unwrap();
    assert!(matches!(sent, Err(SendRefused::UnknownDevice(_))));
    let poll = Poll { id: world.hub.commands.next_poll(), protocol: origin().protocol, lock_time: None, until: NOW.plus(NO_WAIT) };
    let polled = world.hub.commands.ask(|answer| Request::Poll(former, poll, answer)).await.unwrap();
    assert!(polled.is_none());
    assert_eq!(world.outcome(command.id).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_outlives_the_failing_of_the_store() {
    let world = World::with_device("D").await;
    let command = send_without_receipt(&world, "D").await;
    world.commands.set_failing(true);
    assert!(purge_commands(&world.hub, &by_service(), device()).await.is_err());
    assert!(!world.hub.commands.machine().knows(&device()), "the desk thinks that it has ended everything");
    world.write(Expected::Version(Version(1)), None).await;
    assert!(receive_feedback(&world.hub, 0).await.is_err());
    world.commands.set_failing(false);
    world.loaded().await;
    assert_eq!(world.outcome(command).await, Some(Outcome::DeviceDeleted));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_can_not_be_written_is_made_good() {
    let world = World::with_device("D").await;
    let command = world.send("m1").await.unwrap();
    world.settled().await;
    world.commands.set_failing(true);
    world.write(Expected::Version(Version(1)), None).await;
    assert!(receive_feedback(&world.hub, 0).await.is_err());
    world.commands.set_failing(false);
    world.loaded().await;
    assert_eq!(world.outcome(command.id).await, Some(Outcome::DeviceDeleted));
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_left_of_deleted_devices_is_found_at_the_start() {
    let world = World::with_device("D").await;
    world.write(Expected::Absent, Some(identity("E"))).await;
    let receipted = world.send("m1").await.unwrap();
    let delivery = world.receive().await.unwrap();
    settle_command(&world.hub, &world.right().await, delivery.token, Settlement::Complete).await.unwrap();
    assert_eq!(world.outcome(receipted.id).await, Some(Outcome::Completed));
    let commands: BTreeMap<&str, CommandId> =
        [("D", send_without_receipt(&world, "D").await), ("E", send_without_receipt(&world, "E").await)].into();
    world.hub.commands.stop();
    world.hub.commands.sender().closed().await;
    // Durable, and then the process is killed before anybody is told.
    let deletion = RegistryWrite { id: device(), expected: Expected::Version(Version(1)), new: None, audit: None };
    let creation = RegistryWrite { id: device(), expected: Expected::Absent, new: Some(made_anew()), audit: None };
    world.hub.registry.write(vec![deletion, creation]).await.unwrap().into_iter().for_each(Result::unwrap);

    let world = world.restarted();
    while world.outcome(commands["D"]).await.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.outcome(commands["D"]).await, Some(Outcome::DeviceDeleted));
    assert_eq!(world.outcome(commands["E"]).await, None);
    assert_eq!(world.hub.commands.statistics(), Statistics { pending: 1, oldest: Some(NOW), ..Statistics::default() });
}
