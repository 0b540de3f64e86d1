//! Two machines, the hub's and a device's, and a line between them that loses, repeats, delays and breaks.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::rig::{Rig, device, draft, generation, small_limits};
use crate::core::command::draft::Draft;
use crate::core::command::machine::Consumer;
use crate::core::command::turn::Handout;
use crate::core::command::{Acknowledgement, CommandId, Outcome, Receiver, Settlement, StepKind};
use crate::core::session::{ConnectionId, Protocol};

/// The device: what came to it, in the order in which it came.
#[derive(Default)]
struct Device {
    seen: BTreeMap<CommandId, Vec<u32>>,
}

/// What is on the line.
struct Line {
    connection: u64,
    down: Vec<Handout>,
    up: Vec<(Handout, Settlement)>,
}

/// One history of some hundred steps; returns what the device saw.
fn live(seed: u64) -> (Rig, Device) {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut rig, mut device_side) = (Rig::new(small_limits()), Device::default());
    let mut line = Line { connection: 0, down: Vec::new(), up: Vec::new() };
    for _ in 0..300 {
        match random.random_range(0..12) {
            0..=2 => {
                let ttl = random.random_bool(0.5).then(|| Duration::from_secs(random.random_range(1..150)));
                let expiry_time = ttl.map(|ttl| rig.now.plus(ttl));
                let sent = rig.try_send(Draft { expiry_time, ..draft("D", Acknowledgement::Full) });
                assert!(sent.is_ok() || rig.machine.pending_of(&device("D")) == 4, "bounded, and only when full");
            }
            3 => {
                // The connection breaks: what is on the line is lost, and the hub notices now.
                let unsent: Vec<_> = line.down.drain(..).filter(|_| random.random_bool(0.3)).map(|handout| handout.token).collect();
                line.up.clear();
                rig.close("D", line.connection, &unsent);
            }
            4 => {
                line.connection += 1;
                let consumer = Consumer { connection: ConnectionId(line.connection), protocol: Protocol::Mqtt, window: 3 };
                rig.turn(|machine, turn| machine.subscribe(&device("D"), &generation(1), consumer, turn));
            }
            5 => {
                rig.pass(random.random_range(0..50));
            }
            6 if random.random_bool(0.2) => {
                rig.restart();
                (line.down, line.up) = (Vec::new(), Vec::new());
            }
            7..=9 => receive(&mut line, &mut device_side, &mut random),
            _ => settle(&mut line, &mut rig, &mut random),
        }
        line.down.append(&mut rig.handouts);
    }
    // Long enough for everything to end, and then for every receipt to expire.
    rig.close("D", line.connection, &[]);
    rig.pass(3600);
    rig.pass(3600);
    (rig, device_side)
}

/// The device receives something that is on the line, in any order, and may or may not answer, once or twice.
fn receive(line: &mut Line, device: &mut Device, random: &mut StdRng) {
    if line.down.is_empty() {
        return;
    }
    let handout = line.down.swap_remove(random.random_range(0..line.down.len()));
    device.seen.entry(handout.command.id).or_default().push(handout.command.delivery_count);
    let settlement = *[Settlement::Complete, Settlement::Complete, Settlement::Reject, Settlement::Abandon].choose(random).unwrap();
    for _ in 0..random.random_range(0..3) {
        line.up.push((handout.clone(), settlement));
    }
}

fn settle(line: &mut Line, rig: &mut Rig, random: &mut StdRng) {
    if line.up.is_empty() {
        return;
    }
    let (handout, settlement) = line.up.swap_remove(random.random_range(0..line.up.len()));
    let by = Receiver { protocol: Protocol::Mqtt, connection: Some(ConnectionId(line.connection)) };
    let ended = rig.outcome(handout.command.id).is_some();
    let settled = rig.turn(|machine, turn| machine.settle(&device("D"), handout.token, settlement, by, turn));
    assert!(settled.is_err() || !ended, "what has ended stays as it is");
}

#[test]
fn whatever_the_line_does_each_command_ends_once_and_is_told_once() {
    for seed in 0..300 {
        let (rig, device_side) = std::panic::catch_unwind(|| live(seed)).unwrap_or_else(|_| panic!("failed with seed {seed}"));
        assert_eq!(rig.machine.statistics().pending, 0, "seed {seed}");
        for number in 0..rig.pending().next_command {
            let id = CommandId(number);
            let kinds: Vec<StepKind> = rig.steps(id).into_iter().map(|step| step.kind).collect();
            let ends = kinds.iter().filter(|kind| matches!(kind, StepKind::Ended { .. })).count();
            let receipts = kinds.iter().filter(|kind| matches!(kind, StepKind::ReceiptLost(_))).count();
            assert_eq!((ends, receipts), (1, 1), "one end and one receipt, lost by now: seed {seed}, command {id}");
            let end = kinds.iter().position(|kind| matches!(kind, StepKind::Ended { .. })).unwrap();
            assert!(!kinds[end..].iter().any(|kind| matches!(kind, StepKind::Delivered { .. })), "seed {seed}, command {id}");
            let counts = kinds.iter().filter_map(|kind| match kind {
                StepKind::Delivered { delivery_count, .. } => Some(*delivery_count),
                _ => None,
            });
            let counts: Vec<u32> = counts.collect();
            assert!(counts.iter().all(|count| (1..=3).contains(count)), "seed {seed}, command {id}: {counts:?}");
            let seen = device_side.seen.get(&id).map_or(&[][..], Vec::as_slice);
            match rig.outcome(id) {
                Some(Outcome::Completed | Outcome::Rejected) => assert!(!seen.is_empty(), "seed {seed}, command {id}: settled unseen"),
                Some(Outcome::DeliveryCountExceeded) => assert_eq!(counts.last(), Some(&3), "seed {seed}, command {id}"),
                Some(Outcome::Expired) => {}
                other => panic!("seed {seed}, command {id} ended as {other:?}"),
            }
        }
    }
}
