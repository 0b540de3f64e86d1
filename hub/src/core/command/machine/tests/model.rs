//! The machine against a model that is too simple to be wrong: lists, looked through from the beginning each time.

use std::time::Duration;

use proptest::prelude::*;

use super::super::life::NOT_SENT_MAX;
use super::super::{POLLS_OF_DEVICE_MAX, Statistics};
use super::rig::{Rig, device, draft, generation, small_limits};
use crate::core::command::draft::Draft;
use crate::core::command::machine::{Consumer, Poll};
use crate::core::command::turn::{PollId, Recipient};
use crate::core::command::{Acknowledgement, CommandId, CommandLimits, LockToken, Outcome, ReceiptId, Receiver, Settlement, StepKind};
use crate::core::session::{ConnectionId, Protocol};
use crate::core::time::UnixMillis;

const NAMES: [&str; 3] = ["A", "B", "C"];

#[derive(Clone, Debug)]
enum Op {
    Send { of: usize, ttl_s: Option<u64>, ack: Acknowledgement, named: bool },
    Subscribe { of: usize, window: u16 },
    Unsubscribe { of: usize },
    Close { of: usize, unsent: usize },
    Poll { of: usize, wait_s: u64 },
    Settle { which: prop::sample::Index, settlement: Settlement },
    NotSent { which: prop::sample::Index },
    Purge { of: usize },
    Delete { of: usize, is_made_anew: bool },
    Receive { max: usize },
    SettleReceipts { which: prop::sample::Index, settlement: Settlement },
    Pass { seconds: u64 },
    Restart,
    LoadAgain,
}

#[derive(Debug)]
struct ModelCommand {
    id: CommandId,
    of: usize,
    life: u32,
    ack: Acknowledgement,
    named: bool,
    expiry: UnixMillis,
    count: u32,
    not_sent: u8,
    lock: Option<ModelLock>,
    outcome: Option<Outcome>,
}

#[derive(Debug)]
struct ModelLock {
    token: Option<LockToken>,
    until: UnixMillis,
    connection: Option<u64>,
}

#[derive(Debug)]
struct ModelReceipt {
    command: CommandId,
    of: usize,
    life: u32,
    outcome: Outcome,
    expiry: UnixMillis,
    count: u32,
    batch: Option<(LockToken, UnixMillis)>,
}

#[derive(Debug, Default)]
struct Model {
    now: UnixMillis,
    commands: Vec<ModelCommand>,
    receipts: Vec<ModelReceipt>,
    consumers: [Option<(u64, u16)>; 3],
    polls: Vec<(usize, PollId, UnixMillis)>,
    lives: [u32; 3],
    handed: Vec<(CommandId, Recipient, u32)>,
    in_vain: Vec<PollId>,
}

impl Model {
    fn end(&mut self, place: usize, outcome: Outcome, limits: &CommandLimits) {
        let command = &mut self.commands[place];
        (command.outcome, command.lock) = (Some(outcome), None);
        if command.named && command.ack.wants(outcome) {
            if self.receipts.len() == limits.feedback_max {
                self.receipts.remove(0);
            }
            let expiry = self.now.plus(limits.feedback_ttl);
            let (command, of, life) = (command.id, command.of, command.life);
            self.receipts.push(ModelReceipt { command, of, life, outcome, expiry, count: 0, batch: None });
        }
    }

    fn not_sent(&mut self, place: usize, limits: &CommandLimits) {
        let command = &mut self.commands[place];
        let not_sent = command.not_sent;
        command.count -= u32::from(not_sent < NOT_SENT_MAX);
        self.give_back(place, limits);
        self.commands[place].not_sent = not_sent.saturating_add(1);
    }

    fn give_back(&mut self, place: usize, limits: &CommandLimits) {
        let command = &mut self.commands[place];
        command.not_sent = 0;
        if command.count >= limits.delivery_count_max {
            self.end(place, Outcome::DeliveryCountExceeded, limits);
        } else if command.expiry <= self.now {
            self.end(place, Outcome::Expired, limits);
        } else {
            command.lock = None;
        }
    }

    fn places(&self, which: impl Fn(&ModelCommand) -> bool) -> Vec<usize> {
        (0..self.commands.len()).filter(|place| self.commands[*place].outcome.is_none() && which(&self.commands[*place])).collect()
    }

    fn offer(&mut self, limits: &CommandLimits) {
        for of in 0..NAMES.len() {
            while let Some(&first) = self.places(|command| command.of == of && command.lock.is_none()).first() {
                let held =
                    |connection| self.places(|c| c.lock.as_ref().is_some_and(|lock| lock.connection == Some(connection)) && c.of == of);
                let room = self.consumers[of].filter(|(connection, window)| held(*connection).len() < usize::from(*window));
                let to = match room {
                    Some((connection, _)) => Recipient::Connection(ConnectionId(connection)),
                    None => match self.polls.iter().position(|poll| poll.0 == of) {
                        Some(poll) => Recipient::Poll(self.polls.remove(poll).1),
                        None => break,
                    },
                };
                let command = &mut self.commands[first];
                command.count += 1;
                let connection = room.map(|(connection, _)| connection);
                command.lock = Some(ModelLock { token: None, until: self.now.plus(limits.lock_time), connection });
                self.handed.push((command.id, to, command.count));
            }
        }
        let (over, waiting) = self.polls.iter().partition(|poll| poll.2 <= self.now);
        self.polls = waiting;
        let over: Vec<(usize, PollId, UnixMillis)> = over;
        self.in_vain.extend(over.iter().map(|poll| poll.1));
    }

    fn pass(&mut self, limits: &CommandLimits) {
        let deadline = |command: &ModelCommand| command.lock.as_ref().map_or(command.expiry, |lock| lock.until);
        let mut due = self.places(|command| deadline(command) <= self.now);
        due.sort_by_key(|place| (deadline(&self.commands[*place]), self.commands[*place].id));
        for place in due {
            if self.commands[place].lock.is_some() {
                self.give_back(place, limits);
            } else {
                self.end(place, Outcome::Expired, limits);
            }
        }
        self.receipts_back(limits, |batch, now| batch.1 <= now);
    }

    fn receipts_back(&mut self, limits: &CommandLimits, which: impl Fn((LockToken, UnixMillis), UnixMillis) -> bool) {
        let now = self.now;
        self.receipts.retain_mut(|receipt| {
            let back = receipt.batch.take_if(|batch| which(*batch, now)).is_some();
            !(back && receipt.count >= limits.feedback_delivery_count_max) && (receipt.batch.is_some() || receipt.expiry > now)
        });
    }

    fn begin_anew(&mut self, limits: &CommandLimits) {
        for command in &mut self.commands {
            (command.lock, command.not_sent) = (None, 0);
        }
        self.receipts.retain_mut(|receipt| {
            receipt.batch = None;
            receipt.count < limits.feedback_delivery_count_max
        });
        for place in self.places(|command| command.count >= limits.delivery_count_max) {
            self.end(place, Outcome::DeliveryCountExceeded, limits);
        }
        self.pass(limits);
    }
}

/// Both, and what the tests remember of them.
struct Pair {
    rig: Rig,
    model: Model,
    limits: CommandLimits,
    serial: u64,
    /// Every token that was ever handed out, with its device.
    tokens: Vec<(usize, LockToken)>,
    batches: Vec<LockToken>,
}

impl Pair {
    fn new() -> Self {
        let limits = small_limits();
        let rig = Rig::new(limits.clone());
        let model = Model { now: rig.now, ..Model::default() };
        Self { rig, model, limits, serial: 0, tokens: Vec::new(), batches: Vec::new() }
    }

    fn step(&mut self, op: &Op) {
        self.serial += 1;
        match *op {
            Op::Send { of, ttl_s, ack, named } => self.send(of, ttl_s, ack, named),
            Op::Subscribe { of, window } => {
                let consumer = Consumer { connection: ConnectionId(self.serial), protocol: Protocol::Mqtt, window };
                let life = generation(self.model.lives[of]);
                self.rig.turn(|machine, turn| machine.subscribe(&device(NAMES[of]), &life, consumer, turn));
                self.model.consumers[of] = Some((self.serial, window));
            }
            Op::Unsubscribe { of } => {
                if let Some((connection, _)) = self.model.consumers[of].take() {
                    self.rig.turn(|machine, _| machine.unsubscribe(&device(NAMES[of]), ConnectionId(connection)));
                }
            }
            Op::Close { of, unsent } => self.close(of, unsent),
            Op::Poll { of, wait_s } => self.poll(of, wait_s),
            Op::Settle { ref which, settlement } => self.settle(which, Some(settlement)),
            Op::NotSent { ref which } => self.settle(which, None),
            Op::Purge { of } => {
                let places = self.model.places(|command| command.of == of);
                assert_eq!(self.rig.turn(|machine, turn| machine.purge(&device(NAMES[of]), turn)), places.len());
                places.into_iter().for_each(|place| self.model.end(place, Outcome::Purged, &self.limits));
            }
            Op::Delete { of, is_made_anew } => {
                self.model.lives[of] += 1;
                let present = is_made_anew.then(|| generation(self.model.lives[of]));
                self.rig.turn(|machine, turn| machine.forget(&device(NAMES[of]), present.as_ref(), turn));
                for place in self.model.places(|command| command.of == of) {
                    self.model.end(place, Outcome::DeviceDeleted, &self.limits);
                }
                self.model.receipts.retain(|receipt| receipt.of != of || (is_made_anew && receipt.life == self.model.lives[of]));
            }
            Op::Receive { max } => self.receive(max),
            Op::SettleReceipts { ref which, settlement } => self.settle_receipts(which, settlement),
            Op::Pass { seconds } => {
                self.rig.pass(seconds);
                self.model.now = self.rig.now;
                self.model.pass(&self.limits);
            }
            Op::Restart => {
                self.rig.restart();
                (self.model.consumers, self.model.polls) = (Default::default(), Vec::new());
                self.model.begin_anew(&self.limits);
            }
            Op::LoadAgain => {
                self.rig.load();
                self.model.in_vain.extend(self.model.polls.drain(..).map(|poll| poll.1));
                self.model.begin_anew(&self.limits);
            }
        }
        self.model.offer(&self.limits);
        self.compare();
    }

    fn send(&mut self, of: usize, ttl_s: Option<u64>, ack: Acknowledgement, named: bool) {
        let expiry_time = ttl_s.map(|seconds| self.rig.now.plus(Duration::from_secs(seconds)));
        let message_id = named.then(|| "m".to_owned());
        let life = self.model.lives[of];
        let sent = self.rig.try_send(Draft { expiry_time, message_id, generation_id: generation(life), ..draft(NAMES[of], ack) });
        let all = self.model.places(|_| true).len();
        let full = self.model.places(|command| command.of == of).len() == self.limits.queue_depth_max || all == self.limits.pending_max;
        assert_eq!(sent.is_err(), full);
        if let Ok(command) = sent {
            let expiry = expiry_time.unwrap_or_else(|| self.rig.now.plus(self.limits.default_ttl));
            let command = ModelCommand { id: command.id, of, life, ack, named, expiry, count: 0, not_sent: 0, lock: None, outcome: None };
            self.model.commands.push(command);
        }
    }

    fn close(&mut self, of: usize, unsent: usize) {
        let Some((connection, _)) = self.model.consumers[of].take() else { return };
        let held = |command: &ModelCommand| command.lock.as_ref().is_some_and(|lock| lock.connection == Some(connection));
        let places = self.model.places(held);
        let kept = places.len().saturating_sub(unsent);
        let tokens = places[kept..].iter().map(|place| self.model.commands[*place].lock.as_ref().unwrap().token.unwrap());
        let tokens: Vec<LockToken> = tokens.collect();
        self.rig.close(NAMES[of], connection, &tokens);
        for (number, place) in places.into_iter().enumerate() {
            if number >= kept {
                self.model.not_sent(place, &self.limits);
            } else {
                self.model.give_back(place, &self.limits);
            }
        }
    }

    fn poll(&mut self, of: usize, wait_s: u64) {
        let until = self.rig.now.plus(Duration::from_secs(wait_s));
        let poll = Poll { id: PollId(self.serial), protocol: Protocol::Https, lock_time: None, until };
        let life = generation(self.model.lives[of]);
        self.rig.turn(|machine, turn| machine.poll(&device(NAMES[of]), &life, poll, turn));
        if self.model.polls.iter().filter(|poll| poll.0 == of).count() < POLLS_OF_DEVICE_MAX {
            self.model.polls.push((of, poll.id, until));
        } else {
            self.model.in_vain.push(poll.id);
        }
    }

    /// `None` is "not sent".
    fn settle(&mut self, which: &prop::sample::Index, settlement: Option<Settlement>) {
        if self.tokens.is_empty() {
            return;
        }
        let (of, token) = self.tokens[which.index(self.tokens.len())];
        let place = self.model.places(|c| c.lock.as_ref().is_some_and(|lock| lock.token == Some(token))).first().copied();
        let by = Receiver { protocol: Protocol::Mqtt, connection: None };
        match settlement {
            Some(settlement) => {
                let settled = self.rig.turn(|machine, turn| machine.settle(&device(NAMES[of]), token, settlement, by, turn));
                assert_eq!(settled.is_ok(), place.is_some());
            }
            None => self.rig.turn(|machine, turn| machine.not_sent(&device(NAMES[of]), token, turn)),
        }
        let Some(place) = place else { return };
        match settlement {
            Some(Settlement::Complete) => self.model.end(place, Outcome::Completed, &self.limits),
            Some(Settlement::Reject) => self.model.end(place, Outcome::Rejected, &self.limits),
            Some(Settlement::Abandon) => self.model.give_back(place, &self.limits),
            None => self.model.not_sent(place, &self.limits),
        }
    }

    fn receive(&mut self, max: usize) {
        let batch = self.rig.turn(|machine, turn| machine.receive_receipts(max, turn));
        let free = self.model.receipts.iter_mut().filter(|receipt| receipt.batch.is_none()).take(max);
        let received: Vec<CommandId> = batch.iter().flat_map(|batch| &batch.receipts).map(|receipt| receipt.command).collect();
        let mut expected = Vec::new();
        for receipt in free {
            receipt.count += 1;
            let batch = batch.as_ref().expect("there is something to be received");
            receipt.batch = Some((batch.token, batch.locked_until));
            expected.push(receipt.command);
        }
        assert_eq!(received, expected);
        self.batches.extend(batch.map(|batch| batch.token));
    }

    fn settle_receipts(&mut self, which: &prop::sample::Index, settlement: Settlement) {
        if self.batches.is_empty() {
            return;
        }
        let token = self.batches[which.index(self.batches.len())];
        let settled = self.rig.turn(|machine, turn| machine.settle_receipts(token, settlement, turn));
        let is_in = |receipt: &ModelReceipt| receipt.batch.is_some_and(|batch| batch.0 == token);
        // A batch from which all receipts have been pushed out is still a batch.
        assert!(settled.is_ok() || !self.model.receipts.iter().any(is_in));
        match settlement {
            Settlement::Abandon => self.model.receipts_back(&self.limits, |batch, _| batch.0 == token),
            Settlement::Complete | Settlement::Reject => self.model.receipts.retain(|receipt| !is_in(receipt)),
        }
    }

    fn compare(&mut self) {
        let mut handouts = std::mem::take(&mut self.rig.handouts);
        handouts.sort_by_key(|handout| handout.command.id);
        self.model.handed.sort_by_key(|(id, ..)| *id);
        let handed: Vec<_> = handouts.iter().map(|handout| (handout.command.id, handout.to, handout.command.delivery_count)).collect();
        assert_eq!(handed, std::mem::take(&mut self.model.handed));
        for handout in handouts {
            let command = self.model.commands.iter_mut().find(|command| command.id == handout.command.id).unwrap();
            command.lock.as_mut().unwrap().token = Some(handout.token);
            self.tokens.push((command.of, handout.token));
        }
        let (mut found, mut expected) = (std::mem::take(&mut self.rig.in_vain), std::mem::take(&mut self.model.in_vain));
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "polls in vain");

        for command in &self.model.commands {
            let stored = self.rig.command(command.id);
            let locked_until = command.lock.as_ref().map(|lock| lock.until);
            assert_eq!((stored.ended.map(|ended| ended.0), stored.delivery_count), (command.outcome, command.count), "{command:?}");
            assert_eq!(self.rig.machine.locked_until(command.id), locked_until, "{command:?}");
            let ends = self.rig.steps(command.id).iter().filter(|step| matches!(step.kind, StepKind::Ended { .. })).count();
            assert_eq!(ends, usize::from(command.outcome.is_some()), "one end, {command:?}");
        }
        let receipts = self.rig.receipts();
        let found: Vec<_> = receipts.iter().map(|receipt| (receipt.command, receipt.outcome, receipt.delivery_count)).collect();
        let expected: Vec<_> = self.model.receipts.iter().map(|receipt| (receipt.command, receipt.outcome, receipt.count)).collect();
        assert_eq!(found, expected, "receipts");
        assert!(receipts.windows(2).all(|pair| pair[0].id < pair[1].id && pair[1].id != ReceiptId(0)));
        let pending = self.model.places(|_| true);
        let statistics = Statistics {
            pending: pending.len(),
            invisible: pending.iter().filter(|place| self.model.commands[**place].lock.is_some()).count(),
            oldest: pending.first().map(|place| self.rig.command(self.model.commands[*place].id).enqueued_time),
            receipts_waiting: receipts.len(),
        };
        assert_eq!(self.rig.machine.statistics(), statistics);
        assert!(self.rig.machine.deadline().is_none_or(|deadline| deadline > self.rig.now), "nothing is overdue");
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let of = || 0..NAMES.len();
    let ack =
        prop::sample::select(vec![Acknowledgement::None, Acknowledgement::Positive, Acknowledgement::Negative, Acknowledgement::Full]);
    let settlement = || prop::sample::select(vec![Settlement::Complete, Settlement::Reject, Settlement::Abandon]);
    let send = (of(), prop::option::of(1..200_u64), ack, prop::bool::weighted(0.9));
    let op = prop_oneof![
        8 => send.prop_map(|(of, ttl_s, ack, named)| Op::Send { of, ttl_s, ack, named }),
        4 => (of(), 0..4_u16).prop_map(|(of, window)| Op::Subscribe { of, window }),
        1 => of().prop_map(|of| Op::Unsubscribe { of }),
        2 => (of(), 0..3_usize).prop_map(|(of, unsent)| Op::Close { of, unsent }),
        2 => (of(), 0..40_u64).prop_map(|(of, wait_s)| Op::Poll { of, wait_s }),
        8 => (any::<prop::sample::Index>(), settlement()).prop_map(|(which, settlement)| Op::Settle { which, settlement }),
        1 => any::<prop::sample::Index>().prop_map(|which| Op::NotSent { which }),
        1 => of().prop_map(|of| Op::Purge { of }),
        1 => (of(), any::<bool>()).prop_map(|(of, is_made_anew)| Op::Delete { of, is_made_anew }),
        2 => (1..4_usize).prop_map(|max| Op::Receive { max }),
        2 => (any::<prop::sample::Index>(), settlement()).prop_map(|(which, settlement)| Op::SettleReceipts { which, settlement }),
        5 => prop_oneof![0..20_u64, 20..100_u64, 100..700_u64].prop_map(|seconds| Op::Pass { seconds }),
        1 => Just(Op::Restart),
        1 => Just(Op::LoadAgain),
    ];
    prop::collection::vec(op, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_history_matches_the_model(ops in ops()) {
        let mut pair = Pair::new();
        for op in &ops {
            pair.step(op);
        }
    }
}
