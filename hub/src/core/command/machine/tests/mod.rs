//! The rules of commands one by one, against a model, and between two machines.

use std::time::Duration;

use self::rig::{Rig, device, draft, generation, small_limits};
use super::life::NOT_SENT_MAX;
use super::{NoRoom, POLLS_OF_DEVICE_MAX, Statistics};
use crate::core::command::draft::Draft;
use crate::core::command::feedback::LockLost;
use crate::core::command::turn::{Happening, PollId, Recipient};
use crate::core::command::{Acknowledgement, CommandId, LockToken, Outcome, ReceiptLoss, ReturnReason, Settlement, Step, StepKind};
use crate::core::session::ConnectionId;

mod backlog;
mod lossy_line;
mod model;
mod rig;

use Acknowledgement::{Full, Negative, None as NoReceipt, Positive};

/// What a command's timeline says happened, without the times.
fn kinds(rig: &Rig, id: CommandId) -> Vec<StepKind> {
    rig.steps(id).into_iter().map(|step| step.kind).collect()
}

#[test]
fn a_command_waits_until_its_device_comes_and_settles() {
    let mut rig = Rig::new(small_limits());
    let id = rig.send("D", Full);
    rig.pass(100);
    assert!(rig.taken().is_empty(), "nobody is there");
    rig.subscribe("D", 1, 5);
    let handout = rig.taken_one();
    assert_eq!((handout.command.id, handout.command.delivery_count, handout.to), (id, 1, Recipient::Connection(ConnectionId(1))));
    assert_eq!(handout.locked_until, rig.now.plus(Duration::from_secs(60)));
    assert!(rig.settle(&handout, Settlement::Complete));
    assert_eq!(rig.outcome(id), Some(Outcome::Completed));
    assert!(!rig.settle(&handout, Settlement::Complete), "a lock is good once");
    let receipts = rig.receipts();
    assert_eq!((receipts[0].command, receipts[0].outcome, receipts.len()), (id, Outcome::Completed, 1));
    assert_eq!(rig.machine.statistics(), Statistics { receipts_waiting: 1, ..Statistics::default() });
}

#[test]
fn a_window_is_filled_in_order_and_a_settlement_makes_room() {
    let mut rig = Rig::new(small_limits());
    let ids: Vec<CommandId> = (0..4).map(|_| rig.send("D", NoReceipt)).collect();
    rig.subscribe("D", 1, 2);
    let first = rig.taken();
    assert_eq!(first.iter().map(|handout| handout.command.id).collect::<Vec<_>>(), ids[..2]);
    rig.settle(&first[1], Settlement::Complete);
    assert_eq!(rig.taken_one().command.id, ids[2]);
    rig.settle(&first[0], Settlement::Abandon);
    let again = rig.taken_one();
    assert_eq!((again.command.id, again.command.delivery_count), (ids[0], 2), "it is back in its place, before those that wait");
}

#[test]
fn a_lock_that_runs_out_gives_the_command_back_until_it_was_delivered_too_often() {
    let mut rig = Rig::new(small_limits());
    let id = rig.send("D", Negative);
    rig.subscribe("D", 1, 1);
    for count in 1..=3 {
        let handout = rig.taken_one();
        assert_eq!(handout.command.delivery_count, count);
        rig.pass(59);
        assert!(rig.machine.is_locked(&device("D"), handout.token));
        rig.pass(1);
        assert!(!rig.settle(&handout, Settlement::Complete), "too late");
    }
    assert_eq!(rig.outcome(id), Some(Outcome::DeliveryCountExceeded));
    assert_eq!(rig.receipts()[0].outcome, Outcome::DeliveryCountExceeded);
    assert_eq!(kinds(&rig, id)[2], StepKind::Returned(ReturnReason::LockExpired));
}

#[test]
fn an_abandoning_device_gets_it_again_at_once_until_it_had_it_too_often() {
    let mut rig = Rig::new(small_limits());
    let id = rig.send("D", NoReceipt);
    rig.subscribe("D", 1, 1);
    for _ in 0..3 {
        let handout = rig.taken_one();
        assert!(rig.settle(&handout, Settlement::Abandon));
    }
    assert!(rig.taken().is_empty());
    assert_eq!(rig.outcome(id), Some(Outcome::DeliveryCountExceeded));
}

#[test]
fn what_never_left_the_hub_does_not_count() {
    let mut rig = Rig::new(small_limits());
    let (sent, unsent) = (rig.send("D", NoReceipt), rig.send("D", NoReceipt));
    for connection in 0..5 {
        rig.subscribe("D", connection, 2);
        let tokens: Vec<LockToken> = rig.taken().iter().map(|handout| handout.token).collect();
        rig.close("D", connection, &tokens[1..]);
        if rig.outcome(sent).is_some() {
            break;
        }
        assert_eq!(rig.command(unsent).delivery_count, 0);
    }
    assert_eq!(rig.outcome(sent), Some(Outcome::DeliveryCountExceeded));
    assert_eq!(kinds(&rig, sent)[2], StepKind::Returned(ReturnReason::ConnectionClosed));
    assert_eq!(kinds(&rig, unsent)[2], StepKind::Returned(ReturnReason::NotSent));
}

#[test]
fn what_never_leaves_the_hub_counts_when_that_goes_on() {
    let mut rig = Rig::new(small_limits());
    let id = rig.send("D", NoReceipt);
    let asks_and_hangs_up = |rig: &mut Rig, times: u64| {
        for _ in 0..times {
            rig.poll("D", 1, 10);
            let handout = rig.taken_one();
            rig.turn(|machine, turn| machine.not_sent(&device("D"), handout.token, turn));
        }
    };
    asks_and_hangs_up(&mut rig, u64::from(NOT_SENT_MAX));
    assert_eq!(rig.command(id).delivery_count, 0);
    rig.poll("D", 1, 10);
    let handout = rig.taken_one();
    rig.settle(&handout, Settlement::Abandon);
    asks_and_hangs_up(&mut rig, u64::from(NOT_SENT_MAX));
    assert_eq!(rig.command(id).delivery_count, 1, "one that was sent begins a new row");
    asks_and_hangs_up(&mut rig, 2);
    assert_eq!(rig.outcome(id), Some(Outcome::DeliveryCountExceeded));
    let returns = kinds(&rig, id).into_iter().filter(|kind| *kind == StepKind::Returned(ReturnReason::NotSent)).count();
    assert_eq!(returns, 2 * usize::from(NOT_SENT_MAX) + 1, "all but the last, which was the end");
}

#[test]
fn a_later_connection_takes_the_place_of_an_earlier_one_which_keeps_its_locks_until_it_closes() {
    let mut rig = Rig::new(small_limits());
    rig.send("D", NoReceipt);
    rig.subscribe("D", 1, 1);
    let older = rig.taken_one();
    rig.subscribe("D", 2, 1);
    rig.send("D", NoReceipt);
    assert_eq!(rig.taken_one().to, Recipient::Connection(ConnectionId(2)));
    rig.subscribe("D", 1, 1);
    rig.close("D", 1, &[]);
    assert!(rig.taken().is_empty(), "the window of the newer one is full");
    assert!(!rig.settle(&older, Settlement::Complete), "its lock went with its connection");
}

#[test]
fn a_command_expires_in_its_queue_and_a_locked_one_when_it_comes_back() {
    let mut rig = Rig::new(small_limits());
    let own = Draft { expiry_time: Some(rig.now.plus(Duration::from_secs(30))), ..draft("D", Full) };
    let (short, long) = (rig.try_send(own.clone()).unwrap().id, rig.send("D", NoReceipt));
    rig.pass(30);
    assert_eq!((rig.outcome(short), rig.outcome(long)), (Some(Outcome::Expired), None));
    assert_eq!(rig.receipts()[0].outcome, Outcome::Expired);
    rig.pass(300);
    assert_eq!(rig.outcome(long), Some(Outcome::Expired), "the hub's default");

    rig.subscribe("E", 1, 5);
    let expiring = Draft { device_id: device("E"), expiry_time: Some(rig.now.plus(Duration::from_secs(30))), ..own };
    let settled = rig.try_send(expiring.clone()).unwrap().id;
    let returned = rig.try_send(expiring).unwrap().id;
    let handouts = rig.taken();
    rig.pass(59);
    assert!(rig.settle(&handouts[0], Settlement::Complete), "its lock holds beyond its expiry");
    assert!(rig.settle(&handouts[1], Settlement::Abandon));
    assert_eq!((rig.outcome(settled), rig.outcome(returned)), (Some(Outcome::Completed), Some(Outcome::Expired)));
    assert!(rig.taken().is_empty(), "never delivered after its end");
}

#[test]
fn what_becomes_due_together_is_not_delivered_after_its_expiry() {
    let mut rig = Rig::new(small_limits());
    rig.subscribe("D", 1, 1);
    rig.send("D", NoReceipt);
    rig.taken();
    let expiring = Draft { expiry_time: Some(rig.now.plus(Duration::from_secs(61))), ..draft("D", NoReceipt) };
    let late = rig.try_send(expiring).unwrap().id;
    rig.pass(90);
    assert_eq!(rig.outcome(late), Some(Outcome::Expired));
    assert_ne!(rig.taken_one().command.id, late);
}

#[test]
fn queues_are_bounded_locked_ones_included() {
    let mut rig = Rig::new(small_limits());
    rig.subscribe("D", 1, 2);
    for _ in 0..4 {
        rig.send("D", NoReceipt);
    }
    assert_eq!(rig.try_send(draft("D", NoReceipt)), Err(NoRoom::QueueFull { device: device("D"), depth: 4 }));
    for name in ["E", "E", "E", "E", "F"] {
        rig.send(name, NoReceipt);
    }
    assert_eq!(rig.try_send(draft("F", NoReceipt)), Err(NoRoom::HubFull { pending: 9 }));
    let handout = rig.taken().remove(0);
    rig.settle(&handout, Settlement::Complete);
    rig.send("F", NoReceipt);
}

#[test]
fn a_purge_takes_locked_ones_too() {
    let mut rig = Rig::new(small_limits());
    let ids = [rig.send("D", Full), rig.send("D", NoReceipt)];
    let other = rig.send("E", NoReceipt);
    rig.subscribe("D", 1, 1);
    let handout = rig.taken_one();
    assert_eq!(rig.turn(|machine, turn| machine.purge(&device("D"), turn)), 2);
    assert!(ids.iter().all(|id| rig.outcome(*id) == Some(Outcome::Purged)));
    assert!(!rig.settle(&handout, Settlement::Complete));
    assert_eq!((rig.receipts().len(), rig.outcome(other)), (1, None));
}

#[test]
fn receipts_are_made_for_those_who_want_them_and_can_tell_them_apart() {
    for (ack, settlement, wanted) in [
        (NoReceipt, Settlement::Complete, false),
        (Positive, Settlement::Complete, true),
        (Positive, Settlement::Reject, false),
        (Negative, Settlement::Complete, false),
        (Negative, Settlement::Reject, true),
        (Full, Settlement::Complete, true),
        (Full, Settlement::Reject, true),
    ] {
        for message_id in [Some("m".to_owned()), None] {
            let mut rig = Rig::new(small_limits());
            rig.subscribe("D", 1, 1);
            rig.try_send(Draft { message_id: message_id.clone(), ..draft("D", ack) }).unwrap();
            let handout = rig.taken_one();
            rig.settle(&handout, settlement);
            assert_eq!(rig.receipts().len(), usize::from(wanted && message_id.is_some()), "{ack:?} {settlement:?} {message_id:?}");
        }
    }
}

#[test]
fn what_waited_for_a_former_life_ends_when_it_is_met() {
    let mut rig = Rig::new(small_limits());
    let former = rig.send("D", Full);
    let present = rig.try_send(Draft { generation_id: generation(2), ..draft("D", Full) }).unwrap().id;
    assert_eq!((rig.outcome(former), rig.outcome(present)), (Some(Outcome::DeviceDeleted), None));
    assert!(rig.receipts().is_empty(), "nobody is told of a deleted device");
    rig.subscribe("D", 1, 1);
    assert_eq!(rig.outcome(present), Some(Outcome::DeviceDeleted), "the connection is of another life");
    assert!(rig.taken().is_empty());
}

#[test]
fn a_deleted_device_takes_its_commands_and_receipts_along() {
    let mut rig = Rig::new(small_limits());
    rig.subscribe("D", 1, 1);
    let settled = rig.send("D", Full);
    let handout = rig.taken_one();
    rig.settle(&handout, Settlement::Complete);
    let pending = rig.send("D", Full);
    let (name, present) = (device("D"), generation(1));
    rig.turn(|machine, turn| machine.forget(&name, Some(&present), turn));
    assert_eq!((rig.outcome(pending), rig.receipts().len()), (None, 1), "it lives");
    rig.turn(|machine, turn| machine.forget(&name, None, turn));
    assert_eq!((rig.outcome(pending), rig.receipts().len()), (Some(Outcome::DeviceDeleted), 0));
    assert_eq!(kinds(&rig, settled).last(), Some(&StepKind::ReceiptLost(ReceiptLoss::DeviceDeleted)));
    assert!(!rig.machine.knows(&name));
}

#[test]
fn polls_take_one_each_in_their_order_or_end_in_vain() {
    let mut rig = Rig::new(small_limits());
    rig.poll("D", 1, 10);
    rig.poll("D", 2, 5);
    rig.pass(5);
    assert_eq!(rig.in_vain, [PollId(2)]);
    let id = rig.send("D", NoReceipt);
    let handout = rig.taken_one();
    assert_eq!((handout.to, handout.command.id), (Recipient::Poll(PollId(1)), id));
    rig.send("D", NoReceipt);
    assert!(rig.taken().is_empty());
    rig.poll("D", 3, 0);
    assert_eq!(rig.taken_one().to, Recipient::Poll(PollId(3)), "one that waits for nothing still gets what is there");
    rig.in_vain.clear();
    rig.poll("D", 4, 0);
    assert_eq!(rig.in_vain, [PollId(4)]);
    for poll in 0..=POLLS_OF_DEVICE_MAX as u64 {
        rig.poll("D", 10 + poll, 10);
    }
    assert_eq!(rig.in_vain, [PollId(4), PollId(10 + POLLS_OF_DEVICE_MAX as u64)], "so many wait and no more");
}

#[test]
fn a_restart_loses_locks_and_nothing_else() {
    let mut rig = Rig::new(small_limits());
    let ids = [rig.send("D", Full), rig.send("D", Full)];
    rig.subscribe("D", 1, 1);
    let handout = rig.taken_one();
    rig.restart();
    assert!(!rig.settle(&handout, Settlement::Complete));
    assert_eq!(rig.machine.statistics(), Statistics { pending: 2, oldest: Some(rig::START), ..Statistics::default() });
    rig.subscribe("D", 2, 2);
    let again = rig.taken();
    assert_eq!(
        again.iter().map(|handout| (handout.command.id, handout.command.delivery_count)).collect::<Vec<_>>(),
        [(ids[0], 2), (ids[1], 1)]
    );
    rig.restart();
    rig.subscribe("D", 3, 2);
    rig.taken();
    rig.restart();
    assert_eq!(rig.outcome(ids[0]), Some(Outcome::DeliveryCountExceeded), "its third delivery was its last");
    let third = rig.send("D", Full);
    assert!(third > ids[1], "an id is never used again");
}

#[test]
fn a_machine_that_loads_again_keeps_its_connections() {
    let mut rig = Rig::new(small_limits());
    rig.subscribe("D", 1, 1);
    rig.poll("E", 7, 100);
    let id = rig.send("D", NoReceipt);
    let first = rig.taken_one();
    rig.load();
    let second = rig.taken_one();
    assert_eq!((second.command.id, second.command.delivery_count), (id, 2));
    assert_ne!(first.token, second.token);
    assert_eq!(rig.in_vain, [PollId(7)]);
}

#[test]
fn receipts_are_received_together_and_settled_together() {
    let mut rig = Rig::new(small_limits());
    rig.subscribe("D", 1, 1);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(rig.send("D", Full));
        let handout = rig.taken_one();
        rig.settle(&handout, Settlement::Complete);
    }
    let batch = rig.turn(|machine, turn| machine.receive_receipts(2, turn)).unwrap();
    assert_eq!(batch.receipts.iter().map(|receipt| receipt.command).collect::<Vec<_>>(), ids[..2]);
    let rest = rig.turn(|machine, turn| machine.receive_receipts(10, turn)).unwrap();
    assert_eq!(rest.receipts[0].command, ids[2]);
    assert_eq!(rig.turn(|machine, turn| machine.receive_receipts(10, turn)), None);
    assert_eq!(rig.turn(|machine, turn| machine.settle_receipts(batch.token, Settlement::Complete, turn)), Ok(()));
    assert_eq!(rig.turn(|machine, turn| machine.settle_receipts(batch.token, Settlement::Complete, turn)), Err(LockLost));
    assert_eq!(kinds(&rig, ids[0]).last(), Some(&StepKind::ReceiptRead));
    rig.pass(30);
    let again = rig.turn(|machine, turn| machine.receive_receipts(10, turn)).unwrap();
    assert_eq!((again.receipts[0].command, again.receipts[0].delivery_count), (ids[2], 2));
    assert_eq!(rig.turn(|machine, turn| machine.settle_receipts(again.token, Settlement::Abandon, turn)), Ok(()));
    assert_eq!(kinds(&rig, ids[2]).last(), Some(&StepKind::ReceiptLost(ReceiptLoss::DeliveryCountExceeded)));
    assert!(rig.receipts().is_empty());
}

#[test]
fn those_who_watch_hear_what_becomes_of_a_receipt() {
    let mut rig = Rig::new(small_limits());
    rig.subscribe("D", 1, 1);
    let told = |rig: &Rig| match &rig.happenings[..] {
        [.., Happening::ReceiptStep(receipt, step)] => Some((receipt.command, step.clone())),
        _ => None,
    };
    let complete_one = |rig: &mut Rig| {
        let id = rig.send("D", Full);
        let handout = rig.taken_one();
        rig.settle(&handout, Settlement::Complete);
        assert_eq!(told(rig), None, "it waits");
        id
    };
    let read = complete_one(&mut rig);
    let batch = rig.turn(|machine, turn| machine.receive_receipts(1, turn)).unwrap();
    rig.turn(|machine, turn| machine.settle_receipts(batch.token, Settlement::Complete, turn)).unwrap();
    assert_eq!(told(&rig), Some((read, Step { time: rig.now, kind: StepKind::ReceiptRead })));
    let lost = complete_one(&mut rig);
    rig.pass(600);
    assert_eq!(told(&rig), Some((lost, Step { time: rig.now, kind: StepKind::ReceiptLost(ReceiptLoss::Expired) })));
}

#[test]
fn receipts_expire_and_the_oldest_make_room() {
    let mut rig = Rig::new(small_limits());
    rig.subscribe("D", 1, 1);
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(rig.send("D", Full));
        let handout = rig.taken_one();
        rig.settle(&handout, Settlement::Complete);
    }
    assert_eq!(rig.receipts().len(), 5);
    assert_eq!(kinds(&rig, ids[0]).last(), Some(&StepKind::ReceiptLost(ReceiptLoss::QueueFull)));
    let batch = rig.turn(|machine, turn| machine.receive_receipts(1, turn)).unwrap();
    rig.pass(20);
    rig.turn(|machine, turn| machine.settle_receipts(batch.token, Settlement::Abandon, turn)).unwrap();
    rig.pass(580);
    assert!(rig.receipts().is_empty());
    assert_eq!(kinds(&rig, ids[5]).last(), Some(&StepKind::ReceiptLost(ReceiptLoss::Expired)));
    assert_eq!(rig.machine.deadline(), None);
}

#[test]
fn a_hub_that_ends_says_so_in_the_timelines() {
    let mut rig = Rig::new(small_limits());
    let id = rig.send("D", NoReceipt);
    rig.poll("D", 1, 10);
    rig.poll("E", 2, 10);
    let locked = rig.machine.locked();
    assert_eq!(locked, [id]);
    rig.turn(|machine, turn| machine.shut_down(&locked, turn));
    assert_eq!(kinds(&rig, id).last(), Some(&StepKind::Returned(ReturnReason::HubRestarted)));
    assert_eq!(rig.in_vain, [PollId(2)]);
}
