//! What every [`Commands`] must do. `commands_contract!(place)` makes a test of each promise: `place` is an async function to a fresh place
//! for commands, whose `open` opens them, once more after each time as a killed hub that starts again would.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::core::command::{
    Acknowledgement, Command, CommandId, Outcome, Receipt, ReceiptId, ReceiptLoss, Receiver, ReturnReason, Step, StepKind,
};
use crate::core::device_id::DeviceId;
use crate::core::identity::GenerationId;
use crate::core::session::{ConnectionId, Protocol};
use crate::core::time::UnixMillis;
use crate::store::commands::{CommandFilter, CommandQuery, CommandWrite, Commands, Pending};
use crate::store::memory::commands::MemoryCommands;

/// One `#[tokio::test]` per promise. This module is imported as `contract` where the macro is used, so that `tests/` can include the file.
macro_rules! commands_contract {
    ($place:path) => {
        commands_contract!($place:
            keeps_every_field,
            keeps_every_kind_of_step,
            what_has_not_ended_is_there_after_a_restart,
            numbers_are_never_given_twice,
            a_command_ends_once,
            contents_stay_while_somebody_may_want_them,
            a_command_has_one_receipt,
            receipts_are_counted_and_removed,
            what_is_unknown_is_skipped,
            a_group_happens_in_its_order,
            a_large_group_is_whole,
            a_command_and_its_timeline_never_contradict_each_other,
            lists_newest_first,
            forgets_what_ended_long_ago,
            behaves_as_the_model,
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
pub(crate) use commands_contract;

type Store = Arc<dyn Commands>;

pub(crate) async fn keeps_every_field(open: impl AsyncFn() -> Store) {
    let full = Command {
        generation_id: GenerationId("–".to_owned()),
        message_id: Some("message \"1\"\n'ключ'".to_owned()),
        ack: Acknowledgement::Full,
        sent_by: "a policy".to_owned(),
        again_of: Some(CommandId(3)),
        size_bytes: u32::MAX,
        enqueued_time: UnixMillis(-1),
        expiry_time: UnixMillis(i64::MAX),
        delivery_count: u32::MAX,
        ..command(u64::from(u32::MAX) * 1000, "a-.+%_#*?!(),:;=@$'Z")
    };
    let mut commands = vec![command(0, "a"), full];
    commands.extend(
        [Acknowledgement::Positive, Acknowledgement::Negative].into_iter().zip(1..).map(|(ack, id)| Command { ack, ..command(id, "b") }),
    );
    let content = Bytes::from_iter((0..70_000_u32).map(|place| (place % 251) as u8));
    let enqueue: Vec<_> = commands.iter().map(|command| CommandWrite::Enqueue(command.clone(), content.clone())).collect();
    open().await.commit(&enqueue).await.expect("answers");

    let store = open().await;
    for expected in &commands {
        assert_eq!(store.command(expected.id).await.expect("answers").as_ref(), Some(expected));
    }
    let contents = store.contents(&[commands[1].id, CommandId(77)]).await.expect("answers");
    assert_eq!(contents, [(commands[1].id, content)]);

    let receipts: Vec<Receipt> =
        Outcome::ALL.into_iter().zip(0..).map(|(outcome, id)| Receipt { outcome, ..receipt(id, 100 + id) }).collect();
    store.commit(&receipts.iter().cloned().map(CommandWrite::AddReceipt).collect::<Vec<_>>()).await.expect("answers");
    assert_eq!(load(&open().await).await.receipts, receipts);
}

pub(crate) async fn keeps_every_kind_of_step(open: impl AsyncFn() -> Store) {
    let receivers = Protocol::ALL.map(|protocol| Receiver { protocol, connection: None });
    let connected = Receiver { protocol: Protocol::MqttWs, connection: Some(ConnectionId(u64::from(u32::MAX) + 1)) };
    let mut kinds = vec![StepKind::Enqueued, StepKind::ReceiptRead, StepKind::SentAgain(CommandId(9))];
    for receiver in receivers.into_iter().chain([connected]) {
        kinds.push(StepKind::Delivered { receiver, delivery_count: u32::MAX });
        kinds.push(StepKind::Ended { outcome: Outcome::Completed, receiver: Some(receiver) });
    }
    kinds.extend(Outcome::ALL.map(|outcome| StepKind::Ended { outcome, receiver: None }));
    kinds.extend(ReturnReason::ALL.map(StepKind::Returned));
    kinds.extend(ReceiptLoss::ALL.map(StepKind::ReceiptLost));
    let steps: Vec<Step> = kinds.into_iter().map(|kind| Step { time: UnixMillis(-5), kind }).collect();

    let store = open().await;
    store.commit(&[enqueue(1, "a"), enqueue(2, "b")]).await.expect("answers");
    // Two groups, and another command's steps between them.
    for half in steps.chunks(steps.len() / 2) {
        let half = half.iter().flat_map(|step| [CommandWrite::Step(CommandId(1), step.clone()), self::step(2)]);
        store.commit(&half.collect::<Vec<_>>()).await.expect("answers");
    }
    let store = open().await;
    assert_eq!(steps_of(&store, 1).await, steps);
    assert_eq!(steps_of(&store, 2).await.len(), steps.len());
}

pub(crate) async fn what_has_not_ended_is_there_after_a_restart(open: impl AsyncFn() -> Store) {
    let store = open().await;
    assert_eq!(load(&store).await, Pending::default(), "nothing yet");
    store.commit(&[]).await.expect("answers");
    store.commit(&[enqueue(3, "a"), enqueue(4, "b"), enqueue(5, "a"), step(3)]).await.expect("answers");
    store.commit(&[CommandWrite::DeliveryCount(CommandId(5), 2), end(4, Outcome::Completed)]).await.expect("answers");
    store.commit(&[CommandWrite::AddReceipt(receipt(7, 4)), CommandWrite::AddReceipt(receipt(6, 9))]).await.expect("answers");
    let expected = Pending {
        commands: vec![command(3, "a"), Command { delivery_count: 2, ..command(5, "a") }],
        receipts: vec![receipt(6, 9), receipt(7, 4)],
        next_command: 6,
        next_receipt: 8,
    };
    assert_eq!(load(&store).await, expected);
    assert_eq!(load(&open().await).await, expected);
}

pub(crate) async fn numbers_are_never_given_twice(open: impl AsyncFn() -> Store) {
    let store = open().await;
    let group: Vec<_> =
        (10..15).flat_map(|id| [enqueue(id, "a"), end(id, Outcome::Completed), CommandWrite::AddReceipt(receipt(id, id))]).collect();
    store.commit(&group).await.expect("answers");
    store.commit(&[CommandWrite::RemoveReceipts((10..15).map(ReceiptId).collect())]).await.expect("answers");
    assert_eq!(store.prune(UnixMillis(i64::MAX), 1000).await.expect("answers"), 5);
    let expected = Pending { next_command: 15, next_receipt: 15, ..Pending::default() };
    assert_eq!(load(&store).await, expected);
    assert_eq!(load(&open().await).await, expected, "though everything is forgotten");
}

pub(crate) async fn a_command_ends_once(open: impl AsyncFn() -> Store) {
    let store = open().await;
    store.commit(&[enqueue(1, "a"), enqueue(2, "a")]).await.expect("answers");
    let late = CommandWrite::End { command: CommandId(1), outcome: Outcome::Completed, time: UnixMillis(99) };
    store.commit(&[end(1, Outcome::Expired), late.clone()]).await.expect("answers");
    store.commit(&[late, CommandWrite::DeliveryCount(CommandId(1), 3)]).await.expect("answers");
    let expected = Command { delivery_count: 3, ended: Some((Outcome::Expired, ENDED)), ..command(1, "a") };
    assert_eq!(store.command(CommandId(1)).await.expect("answers"), Some(expected));
    assert_eq!(store.contents(&[CommandId(1)]).await.expect("answers").len(), 1, "the late end takes nothing away");
}

pub(crate) async fn contents_stay_while_somebody_may_want_them(open: impl AsyncFn() -> Store) {
    let store = open().await;
    let ids: Vec<CommandId> = (0..6).map(CommandId).collect();
    store.commit(&ids.iter().map(|id| enqueue(id.0, "a")).collect::<Vec<_>>()).await.expect("answers");
    assert_eq!(store.contents(&ids).await.expect("answers").len(), 6);
    let ends: Vec<_> = ids.iter().zip(Outcome::ALL).map(|(id, outcome)| end(id.0, outcome)).collect();
    store.commit(&ends).await.expect("answers");
    let mut kept: Vec<_> = open().await.contents(&ids).await.expect("answers").into_iter().map(|(id, _)| id).collect();
    kept.sort();
    let expected: Vec<_> = ids.iter().zip(Outcome::ALL).filter(|(_, outcome)| outcome.keeps_content()).map(|(id, _)| *id).collect();
    assert_eq!(kept, expected);
}

pub(crate) async fn a_command_has_one_receipt(open: impl AsyncFn() -> Store) {
    let store = open().await;
    store.commit(&[enqueue(1, "a"), enqueue(2, "a")]).await.expect("answers");
    let add = |id, command| CommandWrite::AddReceipt(receipt(id, command));
    store.commit(&[add(0, 1), add(1, 1), add(2, 2)]).await.expect("answers");
    store.commit(&[add(3, 1), CommandWrite::RemoveReceipts(vec![ReceiptId(2)])]).await.expect("answers");
    open().await.commit(&[add(4, 2)]).await.expect("answers");
    let pending = load(&store).await;
    assert_eq!(pending.receipts, [receipt(0, 1)], "not another one, even after the first has left the queue");
    assert_eq!(pending.next_receipt, 5);
}

pub(crate) async fn receipts_are_counted_and_removed(open: impl AsyncFn() -> Store) {
    let store = open().await;
    store.commit(&(0..5).map(|id| CommandWrite::AddReceipt(receipt(id, id))).collect::<Vec<_>>()).await.expect("answers");
    let ids = |ids: std::ops::Range<u64>| ids.map(ReceiptId).collect::<Vec<_>>();
    let group = [
        CommandWrite::ReceiptDeliveryCount(ids(0..4), 1),
        CommandWrite::ReceiptDeliveryCount(ids(2..3), 7),
        CommandWrite::RemoveReceipts(ids(3..9)),
        CommandWrite::ReceiptDeliveryCount(ids(4..9), 1),
    ];
    store.commit(&group).await.expect("answers");
    let expected = [1, 1, 7].into_iter().zip(0..).map(|(delivery_count, id)| Receipt { delivery_count, ..receipt(id, id) });
    assert_eq!(load(&open().await).await.receipts, expected.collect::<Vec<_>>());
}

pub(crate) async fn what_is_unknown_is_skipped(open: impl AsyncFn() -> Store) {
    let store = open().await;
    let group =
        [CommandWrite::DeliveryCount(CommandId(1), 1), end(1, Outcome::Expired), step(1), CommandWrite::RemoveReceipts(vec![ReceiptId(1)])];
    store.commit(&group).await.expect("answers");
    store.commit(&[enqueue(1, "a")]).await.expect("answers");
    assert_eq!(store.command(CommandId(1)).await.expect("answers"), Some(command(1, "a")));
    assert_eq!(steps_of(&store, 1).await, []);
    assert_eq!(store.command(CommandId(2)).await.expect("answers"), None);
    assert_eq!(store.history(CommandId(2)).await.expect("answers"), None);
}

pub(crate) async fn a_group_happens_in_its_order(open: impl AsyncFn() -> Store) {
    let store = open().await;
    // What comes before its command or receipt is there comes too early.
    let group = [
        CommandWrite::DeliveryCount(CommandId(1), 5),
        end(1, Outcome::Expired),
        step(1),
        enqueue(1, "a"),
        CommandWrite::DeliveryCount(CommandId(1), 1),
        CommandWrite::DeliveryCount(CommandId(1), 2),
        CommandWrite::RemoveReceipts(vec![ReceiptId(1)]),
        CommandWrite::ReceiptDeliveryCount(vec![ReceiptId(2)], 4),
        CommandWrite::AddReceipt(receipt(1, 1)),
        CommandWrite::AddReceipt(receipt(2, 7)),
    ];
    store.commit(&group).await.expect("answers");
    let pending = load(&store).await;
    assert_eq!(pending.commands, [Command { delivery_count: 2, ..command(1, "a") }]);
    assert_eq!(pending.receipts, [receipt(1, 1), receipt(2, 7)]);
    assert_eq!(steps_of(&store, 1).await, []);
}

pub(crate) async fn a_large_group_is_whole(open: impl AsyncFn() -> Store) {
    const COMMANDS: u64 = 1100;
    let store = open().await;
    let ids = || 0..COMMANDS;
    let mut group: Vec<_> =
        ids().flat_map(|id| [enqueue(id, "a"), step(id), CommandWrite::DeliveryCount(CommandId(id), 1), step(id)]).collect();
    group.extend(ids().flat_map(|id| [end(id, Outcome::Completed), step(id), CommandWrite::AddReceipt(receipt(id, id))]));
    group.push(CommandWrite::ReceiptDeliveryCount(ids().map(ReceiptId).collect(), 1));
    store.commit(&group).await.expect("answers");
    let pending = load(&store).await;
    assert_eq!((pending.commands.len() as u64, pending.receipts.len() as u64, pending.next_command), (0, COMMANDS, COMMANDS));
    assert!(pending.receipts.iter().all(|receipt| receipt.delivery_count == 1));
    assert_eq!(store.contents(&ids().map(CommandId).collect::<Vec<_>>()).await.expect("answers"), []);
    for id in [0, COMMANDS / 2, COMMANDS - 1] {
        assert_eq!(steps_of(&store, id).await.len(), 3, "{id}");
    }
    store.commit(&[CommandWrite::RemoveReceipts(ids().map(ReceiptId).collect())]).await.expect("answers");
    assert_eq!(store.prune(UnixMillis(i64::MAX), COMMANDS as usize).await.expect("answers") as u64, COMMANDS);
    assert_eq!(load(&store).await.receipts, []);
}

/// While commands come, are delivered and end, whoever reads one sees it as one of these groups left it.
pub(crate) async fn a_command_and_its_timeline_never_contradict_each_other(open: impl AsyncFn() -> Store) {
    const COMMANDS: u64 = 40;
    const DELIVERIES: u32 = 4;
    let (store, reader) = (open().await, open().await);
    let writer = tokio::spawn(async move {
        for id in 0..COMMANDS {
            store.commit(&[enqueue(id, "a"), step(id)]).await.expect("answers");
            for count in 1..=DELIVERIES {
                let kind = StepKind::Delivered { receiver: Receiver { protocol: Protocol::Mqtt, connection: None }, delivery_count: count };
                let delivered = CommandWrite::Step(CommandId(id), Step { time: UnixMillis(5), kind });
                store.commit(&[CommandWrite::DeliveryCount(CommandId(id), count), delivered]).await.expect("answers");
            }
            let kind = StepKind::Ended { outcome: Outcome::Rejected, receiver: None };
            let ended = CommandWrite::Step(CommandId(id), Step { time: ENDED, kind });
            store.commit(&[end(id, Outcome::Rejected), ended]).await.expect("answers");
        }
    });
    let mut newest = 0;
    while newest < COMMANDS {
        let Some((command, steps)) = reader.history(CommandId(newest)).await.expect("answers") else { continue };
        let deliveries = steps.iter().filter(|step| matches!(step.kind, StepKind::Delivered { .. })).count();
        assert_eq!(command.delivery_count as usize, deliveries, "{steps:?}");
        let has_ended = steps.last().is_some_and(|step| matches!(step.kind, StepKind::Ended { .. }));
        assert_eq!(command.ended.is_some(), has_ended, "{steps:?}");
        newest += u64::from(has_ended);
    }
    writer.await.expect("writes to the end");
}

pub(crate) async fn lists_newest_first(open: impl AsyncFn() -> Store) {
    let store = open().await;
    let of = |id| if id % 2 == 0 { "even" } else { "odd" };
    store.commit(&(0..12).map(|id| enqueue(id, of(id))).collect::<Vec<_>>()).await.expect("answers");
    let outcomes = [Outcome::Completed, Outcome::Completed, Outcome::Expired, Outcome::Rejected, Outcome::Expired, Outcome::Completed];
    let ends: Vec<_> = outcomes.into_iter().zip(0..).map(|(outcome, id)| end(id, outcome)).collect();
    store.commit(&ends).await.expect("answers");
    let store = open().await;

    let all = CommandQuery { limit: 1000, ..CommandQuery::default() };
    let of_even = CommandQuery { device: Some(id("even")), ..all.clone() };
    let ended =
        |outcomes: &[Outcome], query: &CommandQuery| CommandQuery { state: CommandFilter::Ended(outcomes.to_vec()), ..query.clone() };
    let pending = |query: &CommandQuery| CommandQuery { state: CommandFilter::Pending, ..query.clone() };
    let before = |before, query: &CommandQuery| CommandQuery { before: Some(CommandId(before)), limit: 2, ..query.clone() };
    let dead = [Outcome::Rejected, Outcome::Expired];
    let cases: [(CommandQuery, &[u64]); 16] = [
        (all.clone(), &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        (before(4, &all), &[3, 2]),
        (before(1, &all), &[0]),
        (before(0, &all), &[]),
        (of_even.clone(), &[10, 8, 6, 4, 2, 0]),
        (before(6, &of_even), &[4, 2]),
        (CommandQuery { device: Some(id("nobody")), ..all.clone() }, &[]),
        (pending(&all), &[11, 10, 9, 8, 7, 6]),
        (before(8, &pending(&all)), &[7, 6]),
        (pending(&of_even), &[10, 8, 6]),
        (ended(&[Outcome::Completed], &all), &[5, 1, 0]),
        (ended(&dead, &all), &[4, 3, 2]),
        (before(4, &ended(&dead, &all)), &[3, 2]),
        (before(9, &ended(&Outcome::ALL, &all)), &[5, 4]),
        (ended(&dead, &of_even), &[4, 2]),
        (ended(&[], &all), &[]),
    ];
    for (query, expected) in cases {
        let listed: Vec<u64> = store.list(&query).await.expect("answers").iter().map(|command| command.id.0).collect();
        assert_eq!(listed, expected, "{query:?}");
    }
}

pub(crate) async fn forgets_what_ended_long_ago(open: impl AsyncFn() -> Store) {
    let store = open().await;
    let group: Vec<_> = (0..10).flat_map(|id| [enqueue(id, "a"), step(id)]).collect();
    store.commit(&group).await.expect("answers");
    let end = |id| CommandWrite::End { command: CommandId(id), outcome: Outcome::Expired, time: UnixMillis(100 + id.cast_signed()) };
    store.commit(&(0..8).map(end).collect::<Vec<_>>()).await.expect("answers");
    assert_eq!(store.prune(UnixMillis(106), 4).await.expect("answers"), 4, "no more than that at once");
    assert_eq!(store.prune(UnixMillis(106), 4).await.expect("answers"), 2);
    assert_eq!(store.prune(UnixMillis(106), 4).await.expect("answers"), 0);
    let store = open().await;
    let listed = store.list(&CommandQuery { limit: 100, ..CommandQuery::default() }).await.expect("answers");
    assert_eq!(listed.iter().map(|command| command.id.0).collect::<Vec<_>>(), [9, 8, 7, 6], "the younger, and those that wait");
    assert_eq!(store.history(CommandId(5)).await.expect("answers"), None);
    assert_eq!(store.contents(&[CommandId(5)]).await.expect("answers"), []);
    assert_eq!(steps_of(&store, 6).await.len(), 1);
}

/// Random groups, each compared with the model; opened again now and then.
pub(crate) async fn behaves_as_the_model(open: impl AsyncFn() -> Store) {
    let model = MemoryCommands::default();
    let mut store = open().await;
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let pending = model.load().await.expect("answers");
        let group = random_group(&mut random, pending.next_command, pending.next_receipt);
        if random.random_bool(0.2) {
            store = open().await;
        }
        if random.random_bool(0.1) {
            let (time, limit) = (UnixMillis(random.random_range(0..100)), random.random_range(0..5));
            let forgotten = model.prune(time, limit).await.expect("answers");
            // Which ones go first is the store's business, so all must go in the end.
            assert_eq!(store.prune(time, limit).await.expect("answers"), forgotten, "seed {seed}");
            let rest = model.prune(time, 1000).await.expect("answers");
            assert_eq!(store.prune(time, 1000).await.expect("answers"), rest, "seed {seed}");
        }
        model.commit(&group).await.expect("answers");
        store.commit(&group).await.expect("answers");
        assert_same(&store, &model, seed).await;
    }
}

async fn assert_same(store: &Store, model: &MemoryCommands, seed: u64) {
    let expected = model.load().await.expect("answers");
    assert_eq!(load(store).await, expected, "seed {seed}");
    let all = CommandQuery { limit: 1000, ..CommandQuery::default() };
    let commands = model.list(&all).await.expect("answers");
    assert_eq!(store.list(&all).await.expect("answers"), commands, "seed {seed}");
    let ids: Vec<CommandId> = commands.iter().map(|command| command.id).collect();
    let mut contents = store.contents(&ids).await.expect("answers");
    contents.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    assert_eq!(contents, model.contents(&ids).await.expect("answers"), "seed {seed}");
    for id in ids {
        assert_eq!(store.history(id).await.expect("answers"), model.history(id).await.expect("answers"), "seed {seed}, command {id}");
    }
}

/// About commands and receipts near those that come next, so that some are there, some were, and some will be.
fn random_group(random: &mut StdRng, mut next_command: u64, mut next_receipt: u64) -> Vec<CommandWrite> {
    let count = random.random_range(0..40);
    let near = |random: &mut StdRng, next: u64| (next + random.random_range(0..3)).saturating_sub(random.random_range(0..9));
    let mut write = |random: &mut StdRng| {
        let command = CommandId(near(random, next_command));
        let receipts: Vec<ReceiptId> = (0..random.random_range(0..3)).map(|_| ReceiptId(near(random, next_receipt))).collect();
        match random.random_range(0..10) {
            0..3 => {
                next_command += 1;
                enqueue(next_command - 1, ["a", "b"][random.random_range(0..2)])
            }
            3 => CommandWrite::DeliveryCount(command, random.random_range(0..5)),
            4 => {
                let outcome = Outcome::ALL[random.random_range(0..6)];
                CommandWrite::End { command, outcome, time: UnixMillis(random.random_range(0..100)) }
            }
            5 | 6 => CommandWrite::Step(command, Step { time: UnixMillis(random.random_range(0..100)), kind: StepKind::Enqueued }),
            7 => {
                next_receipt += 1;
                CommandWrite::AddReceipt(receipt(next_receipt - 1, command.0))
            }
            8 => CommandWrite::ReceiptDeliveryCount(receipts, random.random_range(0..5)),
            _ => CommandWrite::RemoveReceipts(receipts),
        }
    };
    std::iter::repeat_with(move || write(random)).take(count).collect()
}

const ENDED: UnixMillis = UnixMillis(1_000);

/// A command that waits.
pub(crate) fn command(number: u64, device: &str) -> Command {
    let enqueued_time = UnixMillis(1_700_000_000_000 + number.cast_signed());
    Command {
        id: CommandId(number),
        device_id: id(device),
        generation_id: GenerationId(format!("generation of {device}")),
        message_id: None,
        ack: Acknowledgement::None,
        sent_by: "service".to_owned(),
        again_of: None,
        size_bytes: 300,
        enqueued_time,
        expiry_time: enqueued_time.plus(Duration::from_secs(3600)),
        delivery_count: 0,
        ended: None,
    }
}

/// A receipt of a command.
pub(crate) fn receipt(number: u64, command: u64) -> Receipt {
    Receipt {
        id: ReceiptId(number),
        command: CommandId(command),
        original_message_id: format!("message of {command}"),
        device_id: id("a"),
        generation_id: GenerationId("1".to_owned()),
        outcome: Outcome::Completed,
        time: ENDED,
        expiry_time: UnixMillis(i64::MAX),
        delivery_count: 0,
    }
}

fn enqueue(number: u64, device: &str) -> CommandWrite {
    CommandWrite::Enqueue(command(number, device), Bytes::from(format!("content of {number}")))
}

fn end(command: u64, outcome: Outcome) -> CommandWrite {
    CommandWrite::End { command: CommandId(command), outcome, time: ENDED }
}

fn step(command: u64) -> CommandWrite {
    CommandWrite::Step(CommandId(command), Step { time: UnixMillis(5), kind: StepKind::Enqueued })
}

async fn steps_of(store: &Store, command: u64) -> Vec<Step> {
    store.history(CommandId(command)).await.expect("answers").expect("is kept").1
}

async fn load(store: &Store) -> Pending {
    store.load().await.expect("the store answers")
}

fn id(name: &str) -> DeviceId {
    DeviceId::parse(name).expect("a device id")
}
