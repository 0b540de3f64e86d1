//! More falls due than one turn does.

use std::time::Duration;

use super::super::TIMED_COMMANDS_MAX;
use super::rig::{Rig, START, device, draft, generation};
use crate::core::command::draft::Draft;
use crate::core::command::machine::CommandMachine;
use crate::core::command::turn::Turn;
use crate::core::command::write::Pending;
use crate::core::command::{
    Acknowledgement, Command, CommandId, CommandLimits, LockToken, Outcome, Receipt, ReceiptId, ReturnReason, Settlement, StepKind,
};

const FOUR_TURNS: usize = 3 * TIMED_COMMANDS_MAX + 1;

fn limits() -> CommandLimits {
    CommandLimits { queue_depth_max: 2 * FOUR_TURNS, ..CommandLimits::default() }
}

fn steps_told(rig: &Rig) -> usize {
    rig.happenings.len()
}

/// Turns without a request until nothing is overdue; says how much each had to tell.
fn catch_up(rig: &mut Rig) -> Vec<usize> {
    let mut told = Vec::new();
    while rig.machine.deadline().is_some_and(|deadline| deadline <= rig.now) {
        rig.pass(0);
        told.push(steps_told(rig));
        assert!(told.len() < 100, "it comes to an end");
    }
    told
}

#[test]
fn what_expires_together_ends_in_turns_and_is_never_handed_out() {
    let mut rig = Rig::new(limits());
    let expiry_time = Some(START.plus(Duration::from_secs(10)));
    for _ in 0..FOUR_TURNS {
        rig.try_send(Draft { expiry_time, ..draft("D", Acknowledgement::None) }).unwrap();
    }
    let good = rig.send("D", Acknowledgement::None);
    rig.pass(10);
    assert_eq!(steps_told(&rig), TIMED_COMMANDS_MAX);
    rig.subscribe("D", 1, 8);
    assert_eq!(rig.taken_one().command.id, good, "what is overdue is passed over");
    assert_eq!(catch_up(&mut rig), [TIMED_COMMANDS_MAX, 1]);
    assert!(rig.taken().is_empty());
    assert_eq!(rig.machine.statistics().pending, 1);
}

#[test]
fn those_that_wait_to_be_ended_leave_room_for_others() {
    let mut rig = Rig::new(CommandLimits { queue_depth_max: 1, ..limits() });
    let expiry_time = Some(START.plus(Duration::from_secs(10)));
    for number in 0..=TIMED_COMMANDS_MAX {
        rig.try_send(Draft { expiry_time, ..draft(&format!("D{number}"), Acknowledgement::None) }).unwrap();
    }
    rig.now = START.plus(Duration::from_secs(10));
    rig.send(&format!("D{TIMED_COMMANDS_MAX}"), Acknowledgement::None);
}

#[test]
fn what_has_expired_keeps_nothing_out_of_a_full_hub() {
    const EXPIRED: usize = 10;
    let mut rig = Rig::new(CommandLimits { pending_max: TIMED_COMMANDS_MAX + EXPIRED, ..limits() });
    let locked: Vec<CommandId> = (0..TIMED_COMMANDS_MAX).map(|_| rig.send("D", Acknowledgement::None)).collect();
    rig.subscribe("D", 1, u16::MAX);
    let expiry_time = Some(START.plus(Duration::from_secs(65)));
    let mut expiring = |_| rig.try_send(Draft { expiry_time, ..draft("E", Acknowledgement::None) }).unwrap().id;
    let expired: Vec<CommandId> = (0..EXPIRED).map(&mut expiring).collect();
    assert!(rig.try_send(draft("F", Acknowledgement::None)).is_err());
    rig.turn(|machine, _| machine.unsubscribe(&device("D"), super::ConnectionId(1)));
    // Locks that ran out before are all that this turn comes to.
    rig.now = START.plus(Duration::from_secs(65));
    rig.send("F", Acknowledgement::None);
    assert_eq!((rig.outcome(expired[0]), rig.outcome(expired[1])), (Some(Outcome::Expired), None), "as many as make room");
    assert!(locked.iter().all(|id| rig.outcome(*id).is_none()));
    catch_up(&mut rig);
    assert_eq!(rig.machine.statistics().pending, TIMED_COMMANDS_MAX + 1);
}

#[test]
fn polls_that_wait_in_vain_end_in_turns() {
    let mut rig = Rig::new(limits());
    for number in 0..FOUR_TURNS as u64 {
        rig.poll(&format!("D{number}"), number, 10);
    }
    rig.pass(10);
    assert_eq!(rig.in_vain.len(), TIMED_COMMANDS_MAX);
    assert_eq!(rig.machine.deadline(), Some(rig.now), "there is more");
    rig.in_vain.clear();
    rig.poll("E", u64::MAX, 0);
    assert_eq!(rig.in_vain.len(), TIMED_COMMANDS_MAX + 1);
    assert_eq!(rig.in_vain.last(), Some(&super::PollId(u64::MAX)), "who does not want to wait is not made to");
    assert_eq!(catch_up(&mut rig).len(), 2);
    assert_eq!(rig.in_vain.len(), FOUR_TURNS - TIMED_COMMANDS_MAX + 1);
    assert_eq!(rig.machine.deadline(), None);
}

#[test]
fn locks_that_run_out_together_go_back_in_turns_and_are_lost_at_once() {
    let mut rig = Rig::new(limits());
    for _ in 0..FOUR_TURNS {
        rig.send("D", Acknowledgement::None);
    }
    rig.subscribe("D", 1, u16::MAX);
    let handouts = rig.taken();
    rig.turn(|machine, _| machine.unsubscribe(&device("D"), super::ConnectionId(1)));
    rig.pass(60);
    assert_eq!(rig.machine.statistics().invisible, FOUR_TURNS - TIMED_COMMANDS_MAX);
    assert_eq!(rig.machine.overdue_locks(rig.now).len(), TIMED_COMMANDS_MAX);
    assert!(!rig.settle(handouts.last().unwrap(), Settlement::Complete), "its time is up, whether its turn has come or not");
    assert_eq!(catch_up(&mut rig), [TIMED_COMMANDS_MAX, 1]);
    assert_eq!(rig.machine.statistics().invisible, 0);
}

#[test]
fn receipts_that_expire_together_go_in_turns() {
    let mut rig = Rig::new(CommandLimits { feedback_ttl: Duration::from_secs(100), ..limits() });
    for _ in 0..FOUR_TURNS {
        rig.send("D", Acknowledgement::Full);
    }
    rig.turn(|machine, turn| machine.purge(&device("D"), turn));
    rig.now = rig.now.plus(Duration::from_secs(100));
    assert_eq!(rig.turn(|machine, turn| machine.receive_receipts(64, turn)), None, "none is good any more");
    assert_eq!(steps_told(&rig), TIMED_COMMANDS_MAX);
    assert_eq!(catch_up(&mut rig), [TIMED_COMMANDS_MAX, TIMED_COMMANDS_MAX, 1]);
}

#[test]
fn receipts_of_many_batches_go_back_in_turns() {
    let mut rig = Rig::new(limits());
    for _ in 0..FOUR_TURNS {
        rig.send("D", Acknowledgement::Full);
    }
    rig.turn(|machine, turn| machine.purge(&device("D"), turn));
    let mut last = None;
    while let Some(batch) = rig.turn(|machine, turn| machine.receive_receipts(64, turn)) {
        last = Some(batch.token);
    }
    rig.pass(60);
    assert_eq!(rig.machine.deadline(), Some(rig.now), "there is more");
    let late = rig.turn(|machine, turn| machine.settle_receipts(last.unwrap(), Settlement::Complete, turn));
    assert!(late.is_err(), "its time is up, whether its turn has come or not");
    catch_up(&mut rig);
    let again = rig.turn(|machine, turn| machine.receive_receipts(usize::MAX, turn)).unwrap();
    assert_eq!(again.receipts.len(), FOUR_TURNS);
}

fn command(id: u64, device_name: &str, delivery_count: u32) -> Command {
    Command {
        id: CommandId(id),
        device_id: device(device_name),
        generation_id: generation(1),
        message_id: None,
        ack: Acknowledgement::None,
        sent_by: "service".to_owned(),
        again_of: None,
        size_bytes: 1,
        enqueued_time: START,
        expiry_time: START.plus(Duration::from_secs(100)),
        delivery_count,
        ended: None,
    }
}

fn receipt(id: u64, delivery_count: u32) -> Receipt {
    Receipt {
        id: ReceiptId(id),
        command: CommandId(id),
        original_message_id: "m".to_owned(),
        device_id: device("D"),
        generation_id: generation(1),
        outcome: Outcome::Completed,
        time: START,
        expiry_time: START.plus(Duration::from_secs(100)),
        delivery_count,
    }
}

#[test]
fn a_machine_that_loads_ends_what_is_spent_in_turns() {
    let mut rig = Rig::new(limits());
    rig.subscribe("D", 1, 8);
    let spent = limits().delivery_count_max;
    let commands = (0..FOUR_TURNS as u64).map(|id| command(id, "D", spent)).chain([command(FOUR_TURNS as u64, "D", 0)]);
    let receipts = (0..FOUR_TURNS as u64).map(|id| receipt(id, limits().feedback_delivery_count_max));
    let pending = Pending { commands: commands.collect(), receipts: receipts.collect(), next_command: 0, next_receipt: 0 };
    rig.load_these(pending);
    assert_eq!(steps_told(&rig), 2 * TIMED_COMMANDS_MAX + 1, "as many commands as receipts, and one delivery");
    assert_eq!(rig.taken_one().command.id, CommandId(FOUR_TURNS as u64), "what is spent is passed over");
    assert_eq!(rig.turn(|machine, turn| machine.receive_receipts(64, turn)), None);
    assert_eq!(catch_up(&mut rig), [2 * TIMED_COMMANDS_MAX, 2]);
    assert_eq!(rig.machine.statistics().pending, 1);
}

#[test]
fn a_machine_that_loads_offers_to_its_connections_in_turns() {
    const DEVICES: u64 = 200;
    let mut rig = Rig::new(limits());
    for number in 0..DEVICES {
        rig.subscribe(&format!("D{number}"), number, 8);
    }
    let commands = (0..DEVICES).map(|id| command(id, &format!("D{id}"), 0)).collect();
    rig.load_these(Pending { commands, ..Pending::default() });
    assert_eq!(rig.taken().len(), 64);
    assert_eq!(catch_up(&mut rig), [64, 64, 8]);
    assert_eq!(rig.taken().len(), 200 - 64);
}

#[test]
fn what_is_loaded_is_sorted_and_gives_its_ids_to_nobody_else() {
    let mut rig = Rig::new(limits());
    let commands = [7, 3, 9, 3].map(|id| command(id, "D", 0)).to_vec();
    rig.load_these(Pending { commands, receipts: [5, 2].map(|id| receipt(id, 0)).to_vec(), next_command: 4, next_receipt: 0 });
    rig.subscribe("D", 1, 8);
    let handed: Vec<u64> = rig.taken().iter().map(|handout| handout.command.id.0).collect();
    assert_eq!(handed, [3, 7, 9]);
    let next = rig.send("D", Acknowledgement::Full);
    assert_eq!(next, CommandId(10));
    let handout = rig.taken_one();
    rig.settle(&handout, Settlement::Complete);
    assert_eq!(rig.machine.receipts_after(None, 9).last().map(|receipt| receipt.id), Some(ReceiptId(6)));
    rig.pass(100);
    rig.pass(100);
    assert_eq!((rig.machine.statistics().pending, catch_up(&mut rig).len()), (0, 0));
}

#[test]
fn a_timer_without_a_command_goes_off_once() {
    let mut rig = Rig::new(limits());
    let id = rig.send("D", Acknowledgement::None);
    rig.machine.queues.clear();
    rig.pass(10_000);
    rig.machine.devices.remove(&id);
    assert_eq!(rig.machine.deadline(), None);
}

#[test]
fn a_hub_that_ends_gives_back_so_many_as_it_is_told() {
    let mut machine = CommandMachine::new(limits());
    let mut tokens = 0_u128;
    let mut fresh_token = || {
        tokens += 1;
        LockToken(tokens.to_be_bytes())
    };
    let mut turn = Turn::new(START, &mut fresh_token);
    machine.load(Pending { commands: vec![command(1, "D", 0), command(2, "D", 0)], ..Pending::default() }, &mut turn);
    let consumer = super::super::Consumer { connection: super::ConnectionId(1), protocol: crate::core::session::Protocol::Mqtt, window: 8 };
    machine.subscribe(&device("D"), &generation(1), consumer, &mut turn);
    let locked = machine.locked();
    assert_eq!(locked, [CommandId(1), CommandId(2)]);
    let mut turn = Turn::new(START, &mut fresh_token);
    machine.shut_down(&locked[..1], &mut turn);
    let returned = StepKind::Returned(ReturnReason::HubRestarted);
    assert!(
        matches!(&turn.decisions.happenings[..], [super::Happening::Step(command, step)] if command.id.0 == 1 && step.kind == returned)
    );
    assert_eq!(machine.locked(), [CommandId(2)]);
}
