//! What every [`GroupPositions`] must do. `group_positions_contract!(place)` makes a test of each promise: `place` is an async function to a
//! fresh place for positions, whose `open` opens them, once more after each time as a killed hub that starts again would.

use std::sync::Arc;

use crate::core::consumer_group::ConsumerGroup;
use crate::core::event::{PartitionId, SequenceNumber};
use crate::core::reader_position::ReaderPosition;
use crate::core::time::UnixMillis;
use crate::store::group_positions::{GroupPosition, GroupPositions};

/// One `#[tokio::test]` per promise. This module is imported as `contract` where the macro is used, so that `tests/` can include the file.
macro_rules! group_positions_contract {
    ($place:path) => {
        group_positions_contract!($place:
            keeps_every_field,
            the_last_word_on_a_place_counts,
            a_group_is_one_however_it_is_spelt,
            forgets_what_is_gone_and_nothing_else,
            keeps_as_many_as_there_can_be,
        );
    };
    ($place:path : $($promise:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let place = $place().await;
                contract::$promise(async || place.open().await).await;
            }
        )*
    };
}
pub(crate) use group_positions_contract;

type Positions = Arc<dyn GroupPositions>;

pub(crate) async fn keeps_every_field(open: impl AsyncFn() -> Positions) {
    let positions = [
        at("$Default", 0, 0),
        GroupPosition {
            position: ReaderPosition {
                next: SequenceNumber(u64::MAX),
                enqueued_time: Some(UnixMillis(i64::MIN)),
                time: UnixMillis(i64::MAX),
            },
            ..at("a.b-c_d", u16::MAX, 0)
        },
        GroupPosition {
            position: ReaderPosition { next: SequenceNumber(7), enqueued_time: Some(UnixMillis(-1)), time: UnixMillis(0) },
            ..at(&"9".repeat(50), 31, 0)
        },
    ];
    open().await.keep(&[], &positions).await.expect("answers");
    let mut kept = load(&open().await).await;
    kept.sort_by_key(|position| position.partition);
    assert_eq!(kept, [positions[0].clone(), positions[2].clone(), positions[1].clone()]);
}

pub(crate) async fn the_last_word_on_a_place_counts(open: impl AsyncFn() -> Positions) {
    let positions = open().await;
    positions.keep(&[], &[at("a", 0, 1), at("a", 1, 1), at("a", 0, 2)]).await.expect("answers");
    assert_eq!(load(&positions).await, [at("a", 0, 2), at("a", 1, 1)]);
    positions.keep(&[], &[at("a", 1, 9), at("a", 0, 0)]).await.expect("answers");
    assert_eq!(load(&open().await).await, [at("a", 0, 0), at("a", 1, 9)], "also when it is further back");
    positions.keep(&[], &[]).await.expect("answers");
    assert_eq!(load(&open().await).await.len(), 2);
}

pub(crate) async fn a_group_is_one_however_it_is_spelt(open: impl AsyncFn() -> Positions) {
    let positions = open().await;
    positions.keep(&[], &[at("Billing", 0, 1), at("alerts", 0, 1)]).await.expect("answers");
    positions.keep(&[], &[at("bILLING", 0, 2), at("BILLING", 1, 3)]).await.expect("answers");
    assert_eq!(load(&open().await).await, [at("alerts", 0, 1), at("billing", 0, 2), at("billing", 1, 3)]);
    positions.keep(&[(group("ALERTS"), PartitionId(0))], &[]).await.expect("answers");
    assert_eq!(load(&open().await).await.len(), 2);
}

pub(crate) async fn forgets_what_is_gone_and_nothing_else(open: impl AsyncFn() -> Positions) {
    let positions = open().await;
    positions.keep(&[], &[at("a", 0, 1), at("a", 1, 1), at("b", 0, 1), at("b", 1, 1)]).await.expect("answers");
    let gone = [(group("a"), PartitionId(0)), (group("b"), PartitionId(1)), (group("c"), PartitionId(0))];
    positions.keep(&gone, &[at("c", 1, 1), at("b", 1, 5)]).await.expect("answers");
    let kept = [at("a", 1, 1), at("b", 0, 1), at("b", 1, 5), at("c", 1, 1)];
    assert_eq!(load(&open().await).await, kept, "what is gone and has moved is there anew");
}

/// Twenty groups on 32 partitions.
pub(crate) async fn keeps_as_many_as_there_can_be(open: impl AsyncFn() -> Positions) {
    let positions = open().await;
    let place = |number: u16, next| at(&format!("g{:02}", number / 32), number % 32, next);
    let all: Vec<_> = (0..640).map(|number| place(number, u64::from(number))).collect();
    positions.keep(&[], &all).await.expect("answers");
    assert_eq!(load(&open().await).await, all);
    let gone: Vec<_> = all.iter().map(|position| (position.group.clone(), position.partition)).collect();
    positions.keep(&gone, &[]).await.expect("answers");
    assert_eq!(load(&open().await).await, []);
}

async fn load(positions: &Positions) -> Vec<GroupPosition> {
    positions.load().await.expect("the store answers")
}

fn at(name: &str, partition: u16, next: u64) -> GroupPosition {
    let position = ReaderPosition::at_beginning(SequenceNumber(next), UnixMillis(10));
    GroupPosition { group: group(name), partition: PartitionId(partition), position }
}

fn group(name: &str) -> ConsumerGroup {
    ConsumerGroup::parse(name).expect("a group's name")
}
