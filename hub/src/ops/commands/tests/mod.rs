//! The desk and the verbs of commands, on stores in memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::core::command::draft::MessageRefused;
use crate::core::command::machine::{NoRoom, Statistics};
use crate::core::command::{
    Acknowledgement, COMMAND_MAX_BYTES, Command, CommandId, Delivery, LockToken, Outcome, ReturnReason, Settlement, StepKind,
};
use crate::core::device_id::DeviceId;
use crate::core::identity::{DeviceIdentity, GenerationId, Hold, Version};
use crate::core::message::{Body, Message, MessageId};
use crate::core::session::{DeviceRight, DisconnectReason};
use crate::ops::open_session::{close_session, open_session};
use crate::ops::purge_commands::{PurgeError, purge_commands};
use crate::ops::read_commands::{CommandQuery, get_command, list_commands, read_command_content};
use crate::ops::receive_commands::{ReceiveError, next_command, not_sent, subscribe};
use crate::ops::receive_feedback::{receive_feedback, settle_feedback};
use crate::ops::send_again::{SendAgainRefused, send_again};
use crate::ops::send_command::{NewCommand, SendRefused, send_command};
use crate::ops::settle_command::{SettleError, settle_command, settle_of_session};
use crate::ops::world::{NOW, World, by_service, device_token, identity, origin};
use crate::ops::{Hub, Session};
use crate::store::Expected;
use crate::store::commands::Commands as _;

mod disabling;
mod lives;
mod panics;
mod pruning;
mod receipts;
mod trouble;

const NO_WAIT: Duration = Duration::ZERO;

impl World {
    async fn send(&self, text: &'static str) -> Result<Command, SendRefused> {
        Self::send_to(&self.hub, text).await
    }

    async fn send_to(hub: &Arc<Hub>, text: &'static str) -> Result<Command, SendRefused> {
        let mut message = Message { body: Body::Data(vec![text.as_bytes().into()]), ..Message::default() };
        message.properties.message_id = Some(MessageId::String(text.into()));
        let command = NewCommand { message, ack: Acknowledgement::Full, sent_by: "service".to_owned(), again_of: None };
        send_command(hub, device(), command).await
    }

    async fn right(&self) -> DeviceRight {
        self.login("D", &device_token("D", 1)).await.unwrap()
    }

    async fn session(&self) -> Session {
        open_session(&self.hub, self.right().await, origin()).await.unwrap()
    }

    /// Waits until the desk has dealt with all that it was told.
    async fn settled(&self) {
        receive_feedback(&self.hub, 0).await.unwrap();
    }

    /// Waits until the desk has loaded what the store has.
    async fn loaded(&self) {
        while receive_feedback(&self.hub, 0).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn receive(&self) -> Option<Delivery> {
        next_command(&self.hub, &self.right().await, origin(), None, NO_WAIT).await.unwrap()
    }

    async fn steps(&self, id: CommandId) -> Vec<StepKind> {
        get_command(&self.hub, id).await.unwrap().unwrap().steps.into_iter().map(|step| step.kind).collect()
    }

    async fn outcome(&self, id: CommandId) -> Option<Outcome> {
        get_command(&self.hub, id).await.unwrap().unwrap().view.command.ended.map(|(outcome, _)| outcome)
    }

    fn later(&self, time: Duration) {
        self.clock.0.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

fn device() -> DeviceId {
    DeviceId::parse("D").unwrap()
}

async fn delivered(session: &Session) -> Delivery {
    session.wait_woken().await;
    let mut deliveries = session.take_deliveries();
    assert_eq!(deliveries.len(), 1);
    deliveries.remove(0)
}

#[tokio::test(start_paused = true)]
async fn from_the_back_end_to_the_device_and_back() {
    let world = World::with_device("D").await;
    let session = world.session().await;
    subscribe(&world.hub, &session, 10);
    let command = world.send("m1").await.unwrap();
    assert_eq!(world.hub.commands.pending_of(&device()), 1);
    let delivery = delivered(&session).await;
    assert_eq!((delivery.command, delivery.delivery_count, delivery.enqueued_time), (command.id, 1, NOW));
    assert_eq!(read_command_content(&world.hub, &by_service(), command.id).await.unwrap(), Some(delivery.content.clone()));
    settle_of_session(&world.hub, &session, delivery.token, Settlement::Complete);
    world.settled().await;
    assert_eq!(world.outcome(command.id).await, Some(Outcome::Completed));

    let batch = receive_feedback(&world.hub, 64).await.unwrap().unwrap();
    assert_eq!((&*batch.receipts[0].original_message_id, batch.receipts[0].outcome), ("m1", Outcome::Completed));
    settle_feedback(&world.hub, batch.token, Settlement::Complete).await.unwrap();
    assert!(matches!(settle_feedback(&world.hub, batch.token, Settlement::Complete).await, Err(SettleError::LockLost(_))));
    assert_eq!(world.hub.commands.statistics(), Statistics::default());
    assert_eq!(world.steps(command.id).await.last(), Some(&StepKind::ReceiptRead));
}

#[tokio::test(start_paused = true)]
async fn a_sender_hears_why_a_command_is_not_taken() {
    let world = World::with_device("D").await;
    let send = async |to: &str, size| {
        let message = Message { body: Body::Data(vec![vec![0; size].into()]), ..Message::default() };
        let command = NewCommand { message, ack: Acknowledgement::None, sent_by: "service".to_owned(), again_of: None };
        send_command(&world.hub, DeviceId::parse(to).unwrap(), command).await
    };
    assert!(matches!(send("nobody", 1).await, Err(SendRefused::UnknownDevice(_))));
    let too_large = send("D", COMMAND_MAX_BYTES + 1).await.unwrap_err();
    assert!(matches!(too_large, SendRefused::Message(MessageRefused::TooLarge(_))), "{too_large}");
    for _ in 0..50 {
        send("D", 1).await.unwrap();
    }
    let full = send("D", 1).await.unwrap_err();
    assert!(matches!(full, SendRefused::NoRoom(NoRoom::QueueFull { depth: 50, .. })), "{full}");
    assert_eq!(purge_commands(&world.hub, &by_service(), device()).await.unwrap(), 50);
    assert!(matches!(
        purge_commands(&world.hub, &by_service(), DeviceId::parse("nobody").unwrap()).await,
        Err(PurgeError::UnknownDevice(_))
    ));
    send("D", 1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn https_receives_one_at_a_time_and_settles_with_its_token() {
    let world = World::with_device("D").await;
    let right = world.right().await;
    assert_eq!(world.receive().await, None);
    let (first, second) = (world.send("m1").await.unwrap(), world.send("m2").await.unwrap());
    let delivery = world.receive().await.unwrap();
    assert_eq!(delivery.command, first.id);
    let view = &list_commands(&world.hub, CommandQuery { limit: 10, ..CommandQuery::default() }).await.unwrap()[1];
    assert_eq!((view.state, view.locked_until), ("Invisible", Some(delivery.locked_until)));
    settle_command(&world.hub, &right, delivery.token, Settlement::Abandon).await.unwrap();
    let again = world.receive().await.unwrap();
    assert_eq!((again.command, again.delivery_count), (first.id, 2));
    let lost = settle_command(&world.hub, &right, delivery.token, Settlement::Complete).await;
    assert!(matches!(lost, Err(SettleError::LockLost(_))));
    settle_command(&world.hub, &right, again.token, Settlement::Reject).await.unwrap();
    assert_eq!(world.outcome(first.id).await, Some(Outcome::Rejected));

    let lock_time = Some(Duration::from_secs(1));
    let short = next_command(&world.hub, &right, origin(), lock_time, NO_WAIT).await.unwrap().unwrap();
    assert_eq!((short.command, short.locked_until), (second.id, NOW.plus(Duration::from_secs(5))), "as short as locks get");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_durable_yet_is_not_seen() {
    let world = World::with_device("D").await;
    let (session, command) = (world.session().await, world.send("m1").await.unwrap());
    let seen = async || {
        let history = get_command(&world.hub, command.id).await.unwrap().unwrap();
        let listed = list_commands(&world.hub, CommandQuery { limit: 1, ..CommandQuery::default() }).await.unwrap();
        assert_eq!(listed, std::slice::from_ref(&history.view));
        (history.view.state, history.view.locked_until.is_some(), history.steps.len())
    };
    let held = world.commands.hold_commits().await;
    subscribe(&world.hub, &session, 1);
    while world.hub.commands.statistics().invisible == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(seen().await, ("Enqueued", false, 1));
    drop(held);
    let delivery = delivered(&session).await;
    assert_eq!(seen().await, ("Invisible", true, 2));
    let held = world.commands.hold_commits().await;
    settle_of_session(&world.hub, &session, delivery.token, Settlement::Abandon);
    // It is given back and delivered again, in one group.
    while world.hub.commands.machine().is_locked(&device(), delivery.token) {
        tokio::task::yield_now().await;
    }
    assert_eq!((world.hub.commands.statistics().invisible, seen().await), (1, ("Enqueued", false, 2)));
    drop(held);
    let delivery = delivered(&session).await;
    settle_of_session(&world.hub, &session, delivery.token, Settlement::Reject);
    world.settled().await;
    assert_eq!(seen().await, ("Rejected", false, 5));
}

#[tokio::test(start_paused = true)]
async fn a_poll_waits_and_what_was_meant_for_one_who_left_does_not_count() {
    let world = World::with_device("D").await;
    let right = world.right().await;
    let poll = |world: &World| {
        let (hub, right) = (Arc::clone(&world.hub), right.clone());
        tokio::spawn(async move { next_command(&hub, &right, origin(), None, Duration::from_secs(60)).await })
    };
    let left = poll(&world);
    tokio::task::yield_now().await;
    world.settled().await;
    left.abort();
    let _ = left.await;
    let stays = poll(&world);
    tokio::task::yield_now().await;
    let command = world.send("m1").await.unwrap();
    let delivery = stays.await.unwrap().unwrap().unwrap();
    assert_eq!((delivery.command, delivery.delivery_count), (command.id, 1));
    assert!(world.steps(command.id).await.contains(&StepKind::Returned(ReturnReason::NotSent)));
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_runs_out_before_its_connection_has_sent_anything_does_not_count() {
    let world = World::with_device("D").await;
    let session = world.session().await;
    subscribe(&world.hub, &session, 1);
    let command = world.send("m1").await.unwrap();
    session.wait_woken().await;
    world.later(Duration::from_secs(60));
    world.settled().await;
    let delivery = delivered(&session).await;
    assert_eq!((delivery.command, delivery.delivery_count), (command.id, 1), "once, and with a lock that holds");
    assert_eq!(delivery.locked_until, NOW.plus(Duration::from_secs(120)));
    assert!(world.steps(command.id).await.contains(&StepKind::Returned(ReturnReason::NotSent)));
    world.later(Duration::from_secs(60));
    world.settled().await;
    assert!(world.steps(command.id).await.contains(&StepKind::Returned(ReturnReason::LockExpired)), "this one was taken out");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_goes_gives_back_what_it_has() {
    let world = World::with_device("D").await;
    let session = world.session().await;
    subscribe(&world.hub, &session, 2);
    let (taken, named, waiting) = (world.send("m1").await.unwrap(), world.send("m2").await.unwrap(), world.send("m3").await.unwrap());
    session.wait_woken().await;
    let deliveries = session.take_deliveries();
    assert_eq!(deliveries.len(), 2);
    not_sent(&world.hub, &session, deliveries[1].token);
    world.settled().await;
    close_session(&world.hub, &session, DisconnectReason::ConnectionLost);
    world.settled().await;
    let counts = async |id| get_command(&world.hub, id).await.unwrap().unwrap().view.command.delivery_count;
    assert_eq!((counts(taken.id).await, counts(named.id).await, counts(waiting.id).await), (1, 0, 0));
    assert_eq!(world.steps(taken.id).await.last(), Some(&StepKind::Returned(ReturnReason::ConnectionClosed)));
    let session = world.session().await;
    subscribe(&world.hub, &session, 1);
    assert_eq!(delivered(&session).await.command, taken.id);
}

#[tokio::test(start_paused = true)]
async fn after_a_disable_nothing_more_is_received_or_settled() {
    let world = World::with_device("D").await;
    let (session, right) = (world.session().await, world.right().await);
    subscribe(&world.hub, &session, 2);
    let command = world.send("m1").await.unwrap();
    let delivery = delivered(&session).await;
    let held = DeviceIdentity { version: Version(2), hold: Some(Hold { by: "service".into(), since: NOW }), ..identity("D") };
    world.write(Expected::Version(Version(1)), Some(held)).await;
    settle_of_session(&world.hub, &session, delivery.token, Settlement::Complete);
    world.send("m2").await.unwrap();
    world.settled().await;
    assert!(session.take_deliveries().is_empty());
    assert_eq!(world.outcome(command.id).await, None);
    let received = next_command(&world.hub, &right, origin(), None, NO_WAIT).await;
    assert!(matches!(received, Err(ReceiveError::NoLongerGood)));
    let settled = settle_command(&world.hub, &right, delivery.token, Settlement::Complete).await;
    assert!(matches!(settled, Err(SettleError::NoLongerGood)));
}

#[tokio::test(start_paused = true)]
async fn time_passes_at_the_desk_without_anybody_asking() {
    let world = World::with_device("D").await;
    let session = world.session().await;
    subscribe(&world.hub, &session, 1);
    let command = world.send("m1").await.unwrap();
    assert_eq!(delivered(&session).await.delivery_count, 1);
    world.later(Duration::from_secs(60));
    assert_eq!(delivered(&session).await.delivery_count, 2);
    world.later(Duration::from_secs(24 * 60 * 60));
    let mut changes = Vec::new();
    while changes.last() != Some(&StepKind::Ended { outcome: Outcome::Expired, receiver: None }) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        changes = world.steps(command.id).await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_store_fails_nothing_is_promised_and_then_all_goes_on() {
    let world = World::with_device("D").await;
    let (session, right) = (world.session().await, world.right().await);
    subscribe(&world.hub, &session, 1);
    let command = world.send("m1").await.unwrap();
    let delivery = delivered(&session).await;
    world.commands.set_failing(true);
    assert!(matches!(world.send("m2").await, Err(SendRefused::Store(_))));
    let settled = settle_command(&world.hub, &right, delivery.token, Settlement::Complete).await;
    assert!(matches!(settled, Err(SettleError::Store(_))));
    assert!(receive_feedback(&world.hub, 1).await.is_err());
    world.commands.set_failing(false);
    let again = delivered(&session).await;
    assert_eq!((again.command, again.delivery_count), (command.id, 2), "the connection is still known");
    let lost = settle_command(&world.hub, &right, delivery.token, Settlement::Complete).await;
    assert!(matches!(lost, Err(SettleError::LockLost(_))));
    settle_command(&world.hub, &right, again.token, Settlement::Complete).await.unwrap();
    assert_eq!(world.hub.commands.statistics(), Statistics { receipts_waiting: 1, ..Statistics::default() });
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_went_while_the_store_failed_is_gone() {
    let world = World::with_device("D").await;
    let session = world.session().await;
    subscribe(&world.hub, &session, 1);
    let command = world.send("m1").await.unwrap();
    delivered(&session).await;
    world.commands.set_failing(true);
    assert!(world.send("m2").await.is_err());
    close_session(&world.hub, &session, DisconnectReason::ConnectionLost);
    assert!(world.send("m3").await.is_err());
    world.commands.set_failing(false);
    world.loaded().await;
    assert_eq!(world.receive().await.map(|delivery| (delivery.command, delivery.delivery_count)), Some((command.id, 2)));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_device_takes_its_commands_and_receipts_along() {
    let world = World::with_device("D").await;
    let (receipted, pending) = (world.send("m1").await.unwrap(), world.send("m2").await.unwrap());
    let delivery = world.receive().await.unwrap();
    settle_command(&world.hub, &world.right().await, delivery.token, Settlement::Complete).await.unwrap();
    assert_eq!(world.outcome(receipted.id).await, Some(Outcome::Completed));
    world.write(Expected::Version(Version(1)), None).await;
    world.settled().await;
    assert_eq!(world.outcome(pending.id).await, Some(Outcome::DeviceDeleted));
    assert_eq!(world.hub.commands.statistics(), Statistics::default());
    assert_eq!(read_command_content(&world.hub, &by_service(), pending.id).await.unwrap(), None);

    world.write(Expected::Absent, Some(DeviceIdentity { generation_id: GenerationId("2".into()), ..identity("D") })).await;
    assert_eq!(world.receive().await, None, "another life of the same name is another device");
    let command = world.send("m3").await.unwrap();
    // The word of an older deletion, come late.
    world.hub.commands.device_deleted(&device());
    world.settled().await;
    assert_eq!(world.outcome(command.id).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_dead_lettered_command_can_be_sent_again() {
    let world = World::with_device("D").await;
    let (right, command) = (world.right().await, world.send("m1").await.unwrap());
    let again = async |id| send_again(&world.hub, &by_service(), id).await;
    assert!(matches!(again(command.id).await, Err(SendAgainRefused::NotEnded(_))));
    let delivery = world.receive().await.unwrap();
    settle_command(&world.hub, &right, delivery.token, Settlement::Reject).await.unwrap();
    assert!(get_command(&world.hub, command.id).await.unwrap().unwrap().view.can_be_sent_again);
    let repetition = again(command.id).await.unwrap();
    assert_eq!((repetition.again_of, &*repetition.sent_by), (Some(command.id), "service"));
    assert_eq!(world.steps(command.id).await.last(), Some(&StepKind::SentAgain(repetition.id)));
    let delivery = world.receive().await.unwrap();
    assert_eq!(Some(&delivery.content), read_command_content(&world.hub, &by_service(), command.id).await.unwrap().as_ref());
    settle_command(&world.hub, &right, delivery.token, Settlement::Complete).await.unwrap();
    assert!(matches!(again(repetition.id).await, Err(SendAgainRefused::NotDeadLettered { outcome: Outcome::Completed, .. })));
    assert!(matches!(again(CommandId(99)).await, Err(SendAgainRefused::UnknownCommand(_))));
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_stops_says_so_and_the_next_one_goes_on() {
    let world = World::with_device("D").await;
    let command = world.send("m1").await.unwrap();
    let delivery = world.receive().await.unwrap();
    world.hub.commands.stop();
    // The group that the word comes in is still dealt with.
    while receive_feedback(&world.hub, 0).await.is_ok() {}
    let late = settle_command(&world.hub, &world.right().await, delivery.token, Settlement::Complete).await;
    assert!(matches!(late, Err(SettleError::Store(_))));
    assert_eq!(world.steps(command.id).await.last(), Some(&StepKind::Returned(ReturnReason::HubRestarted)));
    assert_eq!(world.commands.load().await.unwrap().commands[0].delivery_count, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_and_purged_in_one_breath_is_not_delivered() {
    let world = World::with_device("D").await;
    let session = world.session().await;
    subscribe(&world.hub, &session, 5);
    world.settled().await;
    let by = by_service();
    let (sent, purged) = tokio::join!(world.send("m1"), purge_commands(&world.hub, &by, device()));
    let (command, purged) = (sent.unwrap(), purged.unwrap());
    world.settled().await;
    let delivered = session.take_deliveries().len();
    assert_eq!((purged, delivered), (1, 0));
    assert_eq!(world.outcome(command.id).await, Some(Outcome::Purged));
}

#[tokio::test(start_paused = true)]
async fn a_token_of_nobody_settles_nothing() {
    let world = World::with_device("D").await;
    world.send("m1").await.unwrap();
    let settled = settle_command(&world.hub, &world.right().await, LockToken([7; 16]), Settlement::Complete).await;
    assert!(matches!(settled, Err(SettleError::LockLost(_))));
}
