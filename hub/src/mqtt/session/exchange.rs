//! Two machines: a device that loses its connection at any point, and the session; between them a queue of commands as simple as can be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::core::command::CommandId;
use crate::core::message::encoding::{EncodedAnnotations, encode as stored};
use crate::core::message::{Body, Message};
use crate::core::time::UnixMillis;
use crate::mqtt::codec::{Decoded, Limits, decode};
use crate::mqtt::deliveries::WINDOW_MAX_DELIVERIES;
use crate::mqtt::packet::PacketId;

/// Fewer than the session remembers packet ids for, so that every PUBACK must be understood.
const COMMANDS: usize = 20;

#[derive(Clone, Debug)]
enum Turn {
    /// The queue hands out what the window lets it.
    Deliver,
    /// The connection writes once.
    Write,
    /// The device reads one packet.
    Read,
    /// The device acknowledges what it has read, in any order, and perhaps twice.
    Acknowledge(prop::sample::Index, bool),
    /// A packet id that stands for nothing.
    AcknowledgeNothing(u16),
    /// A lock runs out.
    Unlock(prop::sample::Index),
    /// The connection is lost with all that was not read.
    Lose,
}

/// A command as the queue has it.
#[derive(Debug, Default)]
struct Queued {
    delivery_count: u32,
    lock: Option<LockToken>,
    completed: bool,
}

struct World {
    queue: Vec<Queued>,
    tokens: u64,
    session: MqttSession,
    /// What was delivered and not written.
    waiting: VecDeque<command::Delivery>,
    /// What was written and not read.
    wire: Vec<u8>,
    /// Under what packet id each command was written last, on this connection.
    written: BTreeMap<usize, PacketId>,
    /// What the device has read on this connection and not acknowledged: packet id and command.
    unacknowledged: Vec<(PacketId, usize)>,
    /// Everything it ever acknowledged.
    acknowledged: BTreeSet<usize>,
    /// Everything it ever read, in order of the first time.
    seen: Vec<usize>,
}

fn session() -> MqttSession {
    let kept = vec![MqttSubscription { filter: "devices/D/messages/devicebound/#".into(), qos: 1 }];
    // The one steady clock that tests may read.
    let now = tokio::time::Instant::now().into_std();
    MqttSession::new(DeviceId::parse("D").unwrap(), Duration::from_secs(90), Duration::from_secs(3600), kept, now)
}

fn content(number: usize) -> Vec<u8> {
    let mut content = Vec::new();
    let payload = number.to_be_bytes();
    let body = Body::Data(vec![payload[..].into()]);
    stored(&Message { body, ..Message::default() }, &EncodedAnnotations::default(), &mut content);
    content
}

impl World {
    fn new() -> Self {
        let queue = (0..COMMANDS).map(|_| Queued::default()).collect();
        Self {
            queue,
            tokens: 0,
            session: session(),
            waiting: VecDeque::new(),
            wire: Vec::new(),
            written: BTreeMap::new(),
            unacknowledged: Vec::new(),
            acknowledged: BTreeSet::new(),
            seen: Vec::new(),
        }
    }

    fn turn(&mut self, turn: &Turn) {
        match *turn {
            Turn::Deliver => self.deliver(),
            Turn::Write => self.write(),
            Turn::Read => self.read(),
            Turn::Acknowledge(which, again) if !self.unacknowledged.is_empty() => {
                self.acknowledge(which.index(self.unacknowledged.len()), again);
            }
            Turn::Acknowledge(..) => {}
            Turn::AcknowledgeNothing(number) => self.puback(PacketId::new(number).unwrap()),
            Turn::Unlock(which) => which.get_mut(&mut self.queue).lock = None,
            Turn::Lose => self.lose(),
        }
    }

    fn deliver(&mut self) {
        while self.queue.iter().filter(|command| command.lock.is_some()).count() < WINDOW_MAX_DELIVERIES {
            let Some(number) = self.queue.iter().position(|command| command.lock.is_none() && !command.completed) else { break };
            self.tokens += 1;
            let token = LockToken(std::array::from_fn(|place| self.tokens.to_be_bytes()[place % 8]));
            let command = &mut self.queue[number];
            (command.lock, command.delivery_count) = (Some(token), command.delivery_count + 1);
            let delivery = command::Delivery {
                command: CommandId(number as u64),
                token,
                locked_until: UnixMillis(0),
                delivery_count: command.delivery_count,
                enqueued_time: UnixMillis(0),
                content: content(number).into(),
            };
            match self.waiting.iter_mut().find(|older| older.command == delivery.command) {
                Some(older) => *older = delivery,
                None => self.waiting.push_back(delivery),
            }
        }
    }

    fn write(&mut self) {
        let mut output = Vec::new();
        let next = || self.waiting.pop_front();
        self.session.publish_commands(&mut output, next, |_, error| panic!("{error}"));
        let mut rest = &output[..];
        while let Some((packet_id, number, _, length)) = publish(rest) {
            self.written.insert(number, packet_id);
            rest = &rest[length..];
        }
        self.wire.extend(output);
    }

    fn read(&mut self) {
        let Some((packet_id, number, duplicate, length)) = publish(&self.wire) else { return };
        assert!(duplicate || !self.seen.contains(&number), "command {number} came again without being called a duplicate");
        match self.unacknowledged.iter().find(|(known, _)| *known == packet_id) {
            Some((_, known)) => assert_eq!(*known, number, "two commands have packet id {packet_id:?}"),
            None => self.unacknowledged.push((packet_id, number)),
        }
        if !self.seen.contains(&number) {
            self.seen.push(number);
        }
        self.wire.drain(..length);
    }

    fn acknowledge(&mut self, place: usize, again: bool) {
        let (packet_id, number) = self.unacknowledged.remove(place);
        self.acknowledged.insert(number);
        // An id that was acknowledged before has settled what it could, and stands for nothing until it is written again.
        let stands = self.written.get(&number) == Some(&packet_id) && self.written.remove(&number).is_some();
        let must_count = stands && self.queue[number].lock.is_some();
        self.puback(packet_id);
        assert!(!must_count || self.queue[number].completed, "the device has command {number}, and was not believed");
        if again {
            self.puback(packet_id);
        }
    }

    fn puback(&mut self, packet_id: PacketId) {
        let mut output = Vec::new();
        match self.session.packet(Packet::PubAck(packet_id), &mut output).unwrap() {
            Step::Done => {}
            Step::Complete(command, token) => {
                let again = self.waiting.iter().position(|waiting| waiting.command == command).and_then(|place| self.waiting.remove(place));
                let token = again.map_or(token, |again| again.token);
                if let Some((number, command)) = self.queue.iter_mut().enumerate().find(|(_, command)| command.lock == Some(token)) {
                    assert!(self.acknowledged.contains(&number), "command {number} was completed, and the device never took it");
                    (command.lock, command.completed) = (None, true);
                }
            }
            other => panic!("{other:?} for PUBACK"),
        }
        assert!(output.is_empty());
    }

    fn lose(&mut self) {
        for delivery in self.waiting.drain(..) {
            let command = self.queue.iter_mut().find(|command| command.lock == Some(delivery.token));
            if let Some(command) = command {
                command.delivery_count -= 1;
            }
        }
        self.queue.iter_mut().for_each(|command| command.lock = None);
        (self.session, self.wire) = (session(), Vec::new());
        self.written.clear();
        self.unacknowledged.clear();
    }
}

/// The PUBLISH that `bytes` begin with: its packet id, its command, whether it is called a duplicate, its length.
fn publish(bytes: &[u8]) -> Option<(PacketId, usize, bool, usize)> {
    let Ok(Decoded::Packet { packet: Packet::Publish(publish), length }) = decode(bytes, Limits::CONNECTED) else { return None };
    let Delivery::AtLeastOnce { packet_id, duplicate } = publish.delivery else { panic!("QoS 1 was subscribed to") };
    Some((packet_id, usize::from_be_bytes(publish.payload.try_into().unwrap()), duplicate, length))
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        3 => Just(Turn::Deliver),
        3 => Just(Turn::Write),
        8 => Just(Turn::Read),
        6 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(which, again)| Turn::Acknowledge(which, again)),
        1 => (30_000..40_000_u16).prop_map(Turn::AcknowledgeNothing),
        2 => any::<prop::sample::Index>().prop_map(Turn::Unlock),
        1 => Just(Turn::Lose),
    ]
}

proptest! {
    /// Whatever is lost, whenever: every command reaches the device, in order, and none is done with that it has not taken.
    #[test]
    fn every_command_arrives_and_none_is_completed_unseen(turns in prop::collection::vec(turn(), 0..200)) {
        let mut world = World::new();
        for turn in turns {
            world.turn(&turn);
        }
        // From here on nothing is lost.
        world.turn(&Turn::Lose);
        for _ in 0..COMMANDS {
            world.turn(&Turn::Deliver);
            world.turn(&Turn::Write);
            for _ in 0..WINDOW_MAX_DELIVERIES {
                world.turn(&Turn::Read);
            }
            while !world.unacknowledged.is_empty() {
                world.acknowledge(0, false);
            }
        }
        prop_assert!(world.queue.iter().all(|command| command.completed));
        prop_assert_eq!(world.acknowledged.len(), COMMANDS);
        prop_assert_eq!(world.seen, (0..COMMANDS).collect::<Vec<_>>());
    }
}
