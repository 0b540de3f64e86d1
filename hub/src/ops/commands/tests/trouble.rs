//! The store fails, a content can't be read, a caller goes away.

use futures_util::FutureExt as _;

use super::*;
use crate::core::command::CommandLimits;
use crate::ops::commands::request::Request;
use crate::ops::commands::{Commands, UNANSWERED_MAX};

/// Longer than anything waits here.
const FOREVER: Duration = Duration::from_secs(60 * 60);

impl World {
    /// Has the desk load again, so that it knows contents no longer.
    async fn reloaded(&self) {
        self.commands.set_failing(true);
        assert!(matches!(self.send("in-vain").await, Err(SendRefused::Store(_))));
        self.commands.set_failing(false);
        self.loaded().await;
    }

    async fn delivery_count(&self, id: CommandId) -> u32 {
        get_command(&self.hub, id).await.unwrap().unwrap().view.command.delivery_count
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_whose_delivery_could_not_be_written_is_answered() {
    let world = World::with_device("D").await;
    let (hub, right) = (Arc::clone(&world.hub), world.right().await);
    let poll = tokio::spawn(async move { next_command(&hub, &right, origin(), None, Duration::from_secs(60)).await });
    tokio::task::yield_now().await;
    world.settled().await;
    world.commands.set_failing(true);
    assert!(world.send("m1").await.is_err());
    world.commands.set_failing(false);
    let answer = tokio::time::timeout(FOREVER, poll).await.expect("an answer").unwrap();
    assert!(matches!(answer, Err(ReceiveError::Store(_))));
}

#[tokio::test(start_paused = true)]
async fn a_desk_that_is_to_end_ends_though_the_store_fails() {
    let world = World::with_device("D").await;
    world.send("m1").await.unwrap();
    world.receive().await.unwrap();
    world.commands.set_failing(true);
    world.hub.commands.stop();
    tokio::time::timeout(FOREVER, world.hub.commands.sender().closed()).await.expect("the desk ends");
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_content_ends_its_own_command_and_no_other() {
    let world = World::with_device("D").await;
    let (bad, good) = (world.send("m1").await.unwrap(), world.send("m2").await.unwrap());
    world.commands.set_unreadable(bad.id);
    world.reloaded().await;
    let session = world.session().await;
    subscribe(&world.hub, &session, 2);
    session.wait_woken().await;
    let delivered: Vec<_> = session.take_deliveries().iter().map(|delivery| (delivery.command, delivery.delivery_count)).collect();
    assert_eq!(delivered, [(good.id, 1)]);
    while world.outcome(bad.id).await.is_none() {
        world.settled().await;
    }
    assert_eq!(world.outcome(bad.id).await, Some(Outcome::DeliveryCountExceeded));
    assert_eq!((world.outcome(good.id).await, world.delivery_count(good.id).await), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_counts_while_no_content_can_be_read() {
    let world = World::with_device("D").await;
    let command = world.send("m1").await.unwrap();
    world.reloaded().await;
    world.commands.set_reads_failing(true);
    let session = world.session().await;
    subscribe(&world.hub, &session, 1);
    tokio::time::sleep(FOREVER).await;
    world.commands.set_reads_failing(false);
    let delivery = delivered(&session).await;
    assert_eq!((delivery.command, delivery.delivery_count), (command.id, 1));
}

#[test]
fn those_who_gave_up_waiting_take_their_room_until_the_desk_has_seen_it() {
    let commands = Commands::new(CommandLimits::default());
    for _ in 0..=UNANSWERED_MAX {
        assert!(commands.ask(|answer| Request::ReceiveReceipts(1, answer)).now_or_never().is_none());
    }
    assert_eq!(commands.inbox.lock().unwrap().as_ref().unwrap().len(), UNANSWERED_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_has_gone_locks_nothing() {
    let world = World::with_device("D").await;
    world.send("m1").await.unwrap();
    let delivery = world.receive().await.unwrap();
    settle_command(&world.hub, &world.right().await, delivery.token, Settlement::Complete).await.unwrap();
    assert!(receive_feedback(&world.hub, 64).now_or_never().is_none());
    let batch = receive_feedback(&world.hub, 64).await.unwrap();
    assert_eq!(batch.expect("nobody has locked it").receipts.len(), 1);
}
