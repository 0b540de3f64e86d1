//! The engine and a small client of its own over a line, with a clock of its own. The line is TCP's: it delays each direction as it likes,
//! cuts what is said anywhere, and may break at any moment; but it loses nothing between, and changes no order.
//!
//! The laws: no credit or window is overdrawn, messages arrive once and in order each way, every answer reaches the delivery it is for,
//! and a line that breaks is found out by silence.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::BytesMut;
use proptest::prelude::*;

use super::super::flow::Flow;
use super::super::frame::{Frame, Protocol};
use super::super::link::{LinkId, Role};
use super::super::performative::Performative;
use super::super::{Connection, DeliveryTag, Ending, Event, Outgoing};
use super::peer::{TERMS, TRUST_WITHIN, accepted, attach, begin, credit, delivery, disposition, open, said, start};

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// So many bytes of what the client said arrive.
    ToHub(usize),
    /// So many bytes of what the hub said arrive.
    ToClient(usize),
    /// The client sends a message, if it may.
    Send,
    /// The client grants credit.
    Grant(u32),
    /// The client drains.
    Drain,
    /// The hub answers the oldest message.
    Answer,
    /// The hub has one more message for the client.
    Offer,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (1..400_usize).prop_map(Move::ToHub),
        4 => (1..400_usize).prop_map(Move::ToClient),
        2 => Just(Move::Send),
        1 => (0..6_u32).prop_map(Move::Grant),
        1 => Just(Move::Drain),
        2 => Just(Move::Answer),
        2 => Just(Move::Offer),
    ];
    prop::collection::vec(one, 1..150)
}

/// The client's side of both links.
#[derive(Default)]
struct Client {
    /// Of the link to the hub.
    sent: u32,
    credit: u32,
    answered: BTreeSet<u32>,
    /// Of the link from the hub.
    received: Vec<u8>,
    transfers: u32,
    count: u32,
    granted_end: u32,
    drains: u32,
    drained: u32,
}

struct World {
    engine: Connection,
    now: std::time::Instant,
    input: BytesMut,
    to_hub: VecDeque<u8>,
    to_client: VecDeque<u8>,
    partial: Vec<u8>,
    client: Client,
    /// Of the hub's caller.
    unanswered: VecDeque<(LinkId, u32)>,
    taken: Vec<u8>,
    out: LinkId,
    waiting: VecDeque<u8>,
    sent: BTreeSet<u32>,
    settled: BTreeSet<u32>,
    ending: Option<Ending>,
}

const WINDOW: u32 = 5;

impl World {
    /// Both links are attached, the line is good.
    fn new() -> Self {
        let now = start();
        let mut engine = Connection::new(&TERMS, TRUST_WITHIN, now);
        let hello = [
            &Protocol::Amqp.header()[..],
            &said(0, &open(512), &[]),
            &said(0, &Performative::Begin(Box::new(begin())), &[]),
            &said(0, &Performative::Attach(Box::new(attach("in", 0, Role::Sender))), &[]),
            &said(0, &Performative::Attach(Box::new(attach("out", 1, Role::Receiver))), &[]),
        ]
        .concat();
        let (mut input, mut out) = (BytesMut::from(&hello[..]), None);
        while let Some(event) = engine.receive(&mut input) {
            if let Event::Attach(request) = event {
                engine.accept_link(request.link, request.as_asked(WINDOW));
                out = Some(request.link);
            }
        }
        engine.trust();
        engine.take_output(now);
        Self {
            engine,
            now,
            input,
            to_hub: VecDeque::new(),
            to_client: VecDeque::new(),
            partial: Vec::new(),
            client: Client { credit: WINDOW, ..Client::default() },
            unanswered: VecDeque::new(),
            taken: Vec::new(),
            out: out.unwrap(),
            waiting: VecDeque::new(),
            sent: BTreeSet::new(),
            settled: BTreeSet::new(),
            ending: None,
        }
    }

    fn make(&mut self, next: Move) {
        match next {
            Move::ToHub(bytes) => {
                let bytes = bytes.min(self.to_hub.len());
                self.input.extend(self.to_hub.drain(..bytes));
                if bytes > 0 {
                    self.engine.heard(self.now);
                }
                self.hub_runs();
            }
            Move::ToClient(bytes) => {
                let bytes = bytes.min(self.to_client.len());
                self.partial.extend(self.to_client.drain(..bytes));
                self.client_runs();
            }
            Move::Send if self.client.sent < 250 && self.client.credit > 0 => {
                self.client.credit -= 1;
                let id = self.client.sent;
                self.client.sent += 1;
                self.to_hub.extend(said(0, &Performative::Transfer(delivery(0, id)), &[u8::try_from(id).unwrap()]));
            }
            Move::Grant(more) => self.grant(more, false),
            Move::Drain => self.grant(2, true),
            Move::Answer => {
                if let Some((link, id)) = self.unanswered.pop_front() {
                    self.engine.settle(link, id, accepted());
                }
                self.hub_runs();
            }
            Move::Offer if self.sent.len() + self.waiting.len() < 250 => {
                self.waiting.push_back(u8::try_from(self.sent.len() + self.waiting.len()).unwrap());
                self.hub_sends();
                self.hub_runs();
            }
            Move::Send | Move::Offer => {}
        }
    }

    fn grant(&mut self, credit_now: u32, drain: bool) {
        let client = &mut self.client;
        client.granted_end = client.granted_end.max(client.count + credit_now);
        client.drains += u32::from(drain);
        let flow = Flow { delivery_count: Some(client.count), drain, ..credit(1, client.transfers, client.granted_end - client.count) };
        self.to_hub.extend(said(0, &Performative::Flow(flow), &[]));
    }

    fn hub_sends(&mut self) {
        while self.engine.sendable(self.out) > 0 {
            let Some(message) = self.waiting.front().copied() else { break };
            let tag = DeliveryTag::new(&[message]).unwrap();
            // Three frames of 512.
            let payload = [message; 1000];
            let id = self.engine.send(self.out, &Outgoing { tag, message_format: 0, settled: false, payload: &[&payload] }).unwrap();
            self.waiting.pop_front();
            self.sent.insert(id);
        }
    }

    fn hub_runs(&mut self) {
        while let Some(event) = self.engine.receive(&mut self.input) {
            match event {
                Event::Delivery(delivery) => {
                    self.taken.push(delivery.payload[0]);
                    self.unanswered.push_back((delivery.link, delivery.id));
                    assert!(self.unanswered.len() <= WINDOW as usize, "the window bounds what waits");
                }
                Event::Credit { link, drain } => {
                    assert_eq!(link, self.out);
                    self.hub_sends();
                    if drain {
                        self.engine.drained(link);
                    }
                }
                Event::Disposition(disposition) => {
                    for (_, id) in disposition.deliveries {
                        assert!(self.settled.insert(id), "{id} settled twice");
                    }
                }
                Event::Closed(ending) => self.ending = Some(ending),
                other => panic!("nobody made {other:?} happen"),
            }
        }
        self.to_client.extend(self.engine.take_output(self.now));
    }

    fn client_runs(&mut self) {
        while let Some(frame) = Frame::read(&self.partial, 512).unwrap() {
            let bytes: Vec<u8> = self.partial.drain(..frame.size).collect();
            if frame.body == frame.size {
                continue;
            }
            let (performative, length) = Performative::read(&bytes[frame.body..]).unwrap();
            self.client_hears(performative, &bytes[frame.body + length..]);
        }
    }

    fn client_hears(&mut self, performative: Performative, payload: &[u8]) {
        let client = &mut self.client;
        match performative {
            Performative::Transfer(transfer) => {
                client.transfers += 1;
                let id = transfer.delivery_id.unwrap();
                if usize::try_from(id).unwrap() == client.received.len() {
                    client.received.push(payload[0]);
                    client.count += 1;
                    assert!(client.count <= client.granted_end, "more came than was granted");
                }
                if !transfer.more {
                    self.to_hub.extend(said(0, &disposition(Role::Receiver, id, id, true, Some(accepted())), &[]));
                }
            }
            Performative::Disposition(disposition) => {
                for id in disposition.first..=disposition.last.unwrap() {
                    assert!(client.answered.insert(id), "{id} answered twice");
                }
            }
            Performative::Flow(flow) if flow.handle == Some(0) => {
                client.credit = flow.delivery_count.unwrap() + flow.link_credit.unwrap() - client.sent;
            }
            Performative::Flow(flow) => {
                assert!(flow.drain && flow.link_credit == Some(0), "{flow:?}");
                client.drained += 1;
                // Credit that was granted after the drain was asked for is not given back.
                client.count = flow.delivery_count.unwrap();
                client.granted_end = client.granted_end.max(client.count);
            }
            other => panic!("nobody made {other:?} happen"),
        }
    }

    /// Everything arrives, and everything is answered.
    fn settle_down(&mut self) {
        for _ in 0..2000 {
            self.make(Move::ToHub(1000));
            self.make(Move::ToClient(1000));
            self.make(Move::Answer);
            if !self.waiting.is_empty() && self.to_hub.is_empty() && self.to_client.is_empty() {
                self.make(Move::Grant(5));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn over_a_slow_line_everything_arrives_once_and_in_order(moves in moves()) {
        let mut world = World::new();
        for next in moves {
            world.make(next);
        }
        world.settle_down();
        let sent: Vec<u8> = (0..u8::try_from(world.client.sent).unwrap()).collect();
        prop_assert_eq!(&world.taken, &sent);
        prop_assert_eq!(world.client.answered.len(), sent.len());
        let offered: Vec<u8> = (0..u8::try_from(world.sent.len()).unwrap()).collect();
        prop_assert_eq!(&world.client.received, &offered);
        prop_assert_eq!(&world.settled, &world.sent);
        prop_assert!(world.waiting.is_empty());
        prop_assert!(world.client.drained <= world.client.drains);
        prop_assert!(world.client.drains == 0 || world.client.drained > 0, "a drain has an answer");
        prop_assert_eq!(world.ending, None);
    }

    #[test]
    fn a_line_that_breaks_anywhere_is_found_out_by_silence(moves in moves()) {
        let mut world = World::new();
        for next in moves {
            world.make(next);
        }
        // Nothing arrives any more. The hub's caller may go on for as long as it likes.
        world.make(Move::Offer);
        world.make(Move::Answer);
        let mut waited = 0;
        while world.ending.is_none() {
            let deadline = world.engine.deadline().expect("it is not over");
            world.now = deadline.max(world.now + Duration::from_millis(1));
            world.engine.time_passed(world.now);
            world.hub_runs();
            waited += 1;
            prop_assert!(waited < 10);
        }
        prop_assert_eq!(world.ending, Some(Ending::Silent));
        prop_assert!(world.engine.is_over());
    }
}
