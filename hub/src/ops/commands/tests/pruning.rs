//! What ended long ago is forgotten.

use bytes::Bytes;

use super::*;
use crate::core::command::{KEPT_FOR, Step};
use crate::core::time::UnixMillis;
use crate::store::commands::CommandWrite;
use crate::store::contract::commands::command;

/// More than are forgotten at once.
const MANY: u64 = 1_100;

/// More time than the hub lets pass between two looks.
const A_LOOK: Duration = Duration::from_secs(6 * 60);

impl World {
    /// Writes commands with these numbers that ended then.
    async fn ended(&self, numbers: std::ops::Range<u64>, time: UnixMillis) {
        let of = |number| {
            let (id, outcome) = (CommandId(number), Outcome::Completed);
            let kind = StepKind::Ended { outcome, receiver: None };
            let enqueue = CommandWrite::Enqueue(command(number, "D"), Bytes::new());
            [enqueue, CommandWrite::End { command: id, outcome, time }, CommandWrite::Step(id, Step { time, kind })]
        };
        self.commands.commit(&numbers.flat_map(of).collect::<Vec<_>>()).await.unwrap();
    }

    async fn kept(&self) -> Vec<u64> {
        let all = CommandQuery { limit: usize::MAX, ..CommandQuery::default() };
        list_commands(&self.hub, all).await.unwrap().iter().map(|view| view.command.id.0).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn what_ended_long_ago_is_forgotten_however_much_it_is_and_the_rest_is_kept() {
    let world = World::with_device("D").await;
    world.ended(0..MANY, NOW).await;
    world.ended(MANY..MANY + 1, NOW.plus(Duration::from_millis(1))).await;
    world.commands.commit(&[CommandWrite::Enqueue(command(MANY + 1, "D"), Bytes::new())]).await.unwrap();
    world.later(KEPT_FOR);
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(world.kept().await.len() as u64, MANY + 2, "not before its time");
    world.later(Duration::from_millis(1));
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(world.kept().await, [MANY + 1, MANY], "the youngest, and the one that waits");
    assert_eq!(get_command(&world.hub, CommandId(0)).await.unwrap(), None);
    world.later(Duration::from_millis(1));
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(world.kept().await, [MANY + 1], "and so on");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_asked_again_to_forget() {
    let world = World::with_device("D").await;
    world.ended(0..1, NOW).await;
    world.later(KEPT_FOR + Duration::from_secs(1));
    world.commands.set_failing(true);
    tokio::time::sleep(A_LOOK).await;
    world.commands.set_failing(false);
    assert_eq!(world.kept().await, [0]);
    tokio::time::sleep(A_LOOK).await;
    assert!(world.kept().await.is_empty());
}
