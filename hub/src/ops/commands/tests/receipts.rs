//! Back ends that stay, and wait for receipts.

use tokio::task::JoinHandle;

use super::*;
use crate::core::principal::By;
use crate::ops::CommandsError;
use crate::ops::receive_feedback::{ReceiptsInHand, await_feedback, take_feedback};

type Waiter = JoinHandle<Result<ReceiptsInHand, CommandsError>>;

impl World {
    /// A receipt for a command of this name.
    async fn receipt(&self, name: &'static str) {
        self.send(name).await.unwrap();
        purge_commands(&self.hub, &By::the_hub(), device()).await.unwrap();
    }

    /// A back end that waits, behind those who wait already.
    async fn waiter(&self) -> Waiter {
        let hub = Arc::clone(&self.hub);
        let waiter = tokio::spawn(async move { await_feedback(&hub, 64).await });
        tokio::task::yield_now().await;
        self.settled().await;
        waiter
    }
}

fn names(receipts: &ReceiptsInHand) -> Vec<&str> {
    receipts.batch().receipts.iter().map(|receipt| &*receipt.original_message_id).collect()
}

fn nothing_waits(world: &World) -> bool {
    world.hub.commands.statistics() == Statistics::default()
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_given_what_comes_in_turn() {
    let world = World::with_device("D").await;
    let (first, second) = (world.waiter().await, world.waiter().await);
    world.receipt("a").await;
    let in_hand = first.await.unwrap().unwrap();
    assert_eq!(names(&in_hand), ["a"]);
    let first = world.waiter().await;
    world.receipt("b").await;
    assert_eq!(names(&second.await.unwrap().unwrap()), ["b"], "the one who asks again is last");
    // What that one let go is for the one who waits.
    let again = first.await.unwrap().unwrap();
    assert_eq!((names(&again), again.batch().receipts[0].delivery_count), (vec!["b"], 2));
    again.into_lock().settle(Settlement::Complete);
    in_hand.into_lock().settle(Settlement::Complete);
    world.settled().await;
    assert!(nothing_waits(&world));
}

#[tokio::test(start_paused = true)]
async fn whoever_has_gone_gets_nothing() {
    let world = World::with_device("D").await;
    let (gone, stays) = (world.waiter().await, world.waiter().await);
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    world.receipt("a").await;
    let in_hand = stays.await.unwrap().unwrap();
    assert_eq!((names(&in_hand), in_hand.batch().receipts[0].delivery_count), (vec!["a"], 1));
    assert!(take_feedback(&world.hub, 64).await.unwrap().is_none(), "it is in somebody's hand");
    drop(in_hand);
    let taken = take_feedback(&world.hub, 64).await.unwrap().unwrap();
    taken.into_lock().settle(Settlement::Reject);
    world.settled().await;
    assert!(nothing_waits(&world), "a receipt that is not wanted is as good as read");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_runs_out_wakes_who_waits() {
    let world = World::with_device("D").await;
    world.receipt("a").await;
    let late = take_feedback(&world.hub, 64).await.unwrap().unwrap();
    let waiter = world.waiter().await;
    world.later(Duration::from_secs(60));
    let again = waiter.await.unwrap().unwrap();
    late.into_lock().settle(Settlement::Complete);
    world.settled().await;
    assert!(!nothing_waits(&world), "the lock was lost");
    again.into_lock().settle(Settlement::Complete);
    world.settled().await;
    assert!(nothing_waits(&world));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_hears_that_the_store_fails() {
    let world = World::with_device("D").await;
    let waiter = world.waiter().await;
    world.commands.set_failing(true);
    assert!(world.send("a").await.is_err());
    assert!(waiter.await.unwrap().is_err());
    world.commands.set_failing(false);
    world.loaded().await;
    let waiter = world.waiter().await;
    world.hub.commands.stop();
    assert!(waiter.await.unwrap().is_err(), "nor will there ever be any");
}
