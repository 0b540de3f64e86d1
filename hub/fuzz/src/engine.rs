//! The AMQP engine between a peer that may say anything, cut anywhere, and a caller that may do anything at any time.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use fe2o3_amqp_types::definitions::{AmqpError, Error, Handle, Role as ForeignRole};
use fe2o3_amqp_types::messaging::{Accepted, DeliveryState, Modified, Received, Rejected, Released, Source, Target};
use fe2o3_amqp_types::performatives::{Attach, Begin, Open};
use mooring_hub::amqp::engine::{AttachRequest, Connection, DeliveryTag, Event, LinkId, NotSent, Outgoing, SaslOutcome, Terms};
use mooring_hub::amqp::filter::start_position;

use crate::judge::Judge;

/// The largest output: what makes the engine stop, and what one more frame and one more message can add to it.
const OUTPUT_MAX_BYTES: usize = 2 * 1024 * 1024;

/// How long a stranger may take.
const TRUST_WITHIN: Duration = Duration::from_secs(15);

/// More deadlines than this without a word from the peer, and the engine would never let go.
const DEADLINES_MAX: usize = 5000;

/// The end of an input is a script of so many bytes, what is before it the peer's words: what was said is said in the same order
/// when something is put in or taken out, and a transcript is an input.
///
/// # Panics
/// When a promise is broken.
pub fn conversation(data: &[u8]) {
    let (script, words) = match data.split_last() {
        Some((length, rest)) => {
            let (words, script) = rest.split_at(rest.len().saturating_sub(usize::from(*length)));
            (script, words)
        }
        None => (data, data),
    };
    let mut world = World::new(words);
    script.iter().for_each(|step| world.make(*step));
    world.finish();
}

/// One frame with any body, in a moment that the first byte chooses: as the first one, in SASL, or with links both ways.
///
/// # Panics
/// When a promise is broken.
pub fn frame(data: &[u8]) {
    let Some((moment, body)) = data.split_first() else { return };
    let words = match moment % 4 {
        0 => [&AMQP[..], &framed(0, body)].concat(),
        1 => [&SASL[..], &framed(1, body)].concat(),
        _ => [greeting(), &framed(0, body)].concat(),
    };
    World::new(&words).finish();
}

/// Protocol headers (AMQP 2.2).
const AMQP: [u8; 8] = *b"AMQP\x00\x01\x00\x00";
const SASL: [u8; 8] = *b"AMQP\x03\x01\x00\x00";

/// A frame on channel 0, cut to a size that can be said.
fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(8 + body.len()).unwrap_or(u32::MAX);
    [&size.to_be_bytes()[..], &[2, kind, 0, 0], body].concat()
}

/// Open, a session, and a link each way.
fn greeting() -> &'static [u8] {
    static GREETING: OnceLock<Vec<u8>> = OnceLock::new();
    GREETING.get_or_init(|| {
        let attach = |name: &str, handle, role| Attach {
            name: name.into(),
            handle: Handle(handle),
            initial_delivery_count: (role == ForeignRole::Sender).then_some(0),
            role,
            snd_settle_mode: Default::default(),
            rcv_settle_mode: Default::default(),
            source: Some(Box::new(Source::builder().address("from").build())),
            target: Some(Box::new(Target::builder().address("to").build().into())),
            unsettled: None,
            incomplete_unsettled: false,
            max_message_size: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        let open = Open {
            container_id: "c".into(),
            hostname: None,
            max_frame_size: 512.into(),
            channel_max: 9.into(),
            idle_time_out: Some(60_000),
            outgoing_locales: None,
            incoming_locales: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        let begin = Begin {
            remote_channel: None,
            next_outgoing_id: 0,
            incoming_window: 100,
            outgoing_window: 100,
            handle_max: Handle(100),
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        let written = [
            serde_amqp::to_vec(&open),
            serde_amqp::to_vec(&begin),
            serde_amqp::to_vec(&attach("in", 0, ForeignRole::Sender)),
            serde_amqp::to_vec(&attach("out", 1, ForeignRole::Receiver)),
        ];
        let frames = written.map(|body| framed(0, &body.expect("these are values that AMQP knows")));
        [&AMQP[..], &frames.concat()].concat()
    })
}

/// How the caller answers what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Yes to everything, at once.
    Willing,
    /// When the script says so.
    Slow,
    /// No to everything.
    Unwilling,
}

/// The engine, its caller, and the peer's words that have not been said.
struct World<'a> {
    engine: Connection,
    now: Instant,
    words: &'a [u8],
    input: BytesMut,
    judge: Judge,
    manner: Manner,
    links: Vec<LinkId>,
    asked: VecDeque<Box<AttachRequest>>,
    sasl_waits: bool,
    unanswered: VecDeque<(LinkId, u32)>,
    sent: VecDeque<(LinkId, u32)>,
    /// Counts up, so that one byte of script can name every link in turn.
    turn: usize,
    is_closed: bool,
}

impl<'a> World<'a> {
    #[expect(clippy::disallowed_methods, reason = "only differences of this time count")]
    fn new(words: &'a [u8]) -> Self {
        let now = Instant::now();
        Self {
            engine: Connection::new(&Terms::AZURE, TRUST_WITHIN, now),
            now,
            words,
            input: BytesMut::new(),
            judge: Judge::default(),
            manner: Manner::Willing,
            links: Vec::new(),
            asked: VecDeque::new(),
            sasl_waits: false,
            unanswered: VecDeque::new(),
            sent: VecDeque::new(),
            turn: 0,
            is_closed: false,
        }
    }

    /// One byte of script: what happens, and how much of it.
    fn make(&mut self, step: u8) {
        let much = usize::from(step >> 4);
        match step & 0x0f {
            0 => self.say(much + 1),
            1 => self.say((much + 1) * 64),
            2 => self.write(),
            3 => self.wait(much),
            4 => self.settle(much, VecDeque::pop_front),
            5 => self.settle(much, VecDeque::pop_back),
            6 | 7 => self.send(much, step & 1 == 1),
            9 => self.with_link(|engine, link| engine.detach(link, (much % 2 == 0).then(refusal))),
            10 => self.with_link(|engine, link| engine.drained(link)),
            8 | 11 => self.answer(much),
            12 => self.end(much),
            13 => {
                if let Some((link, delivery)) = self.sent.pop_front() {
                    self.engine.settle_sent(link.session, delivery, delivery, state(much));
                }
            }
            14 => self.manner = [Manner::Willing, Manner::Slow, Manner::Unwilling][much % 3],
            _ => self.run(),
        }
        assert!(self.is_closed || self.engine.deadline().is_some() || self.engine.is_over(), "nobody would ever look again");
    }

    /// The rest is said, everything is written, and then nothing happens until the engine lets go.
    fn finish(&mut self) {
        self.say(self.words.len());
        self.answer(0);
        self.write();
        for _ in 0..DEADLINES_MAX {
            let Some(deadline) = self.engine.deadline() else { break };
            // A deadline may have been too early, but not for ever.
            self.now = deadline.max(self.now + Duration::from_millis(1));
            self.engine.time_passed(self.now);
            self.write();
        }
        assert!(self.is_closed && self.engine.is_over(), "silence is no end");
        assert!(self.engine.receive(&mut self.input).is_none() && !self.engine.has_output(), "something comes after the end");
    }

    fn say(&mut self, bytes: usize) {
        let (said, rest) = self.words.split_at(bytes.min(self.words.len()));
        self.words = rest;
        self.input.extend_from_slice(said);
        self.engine.heard(self.now);
        self.run();
    }

    /// Takes events until there are none.
    fn run(&mut self) {
        while let Some(event) = self.engine.receive(&mut self.input) {
            assert!(!self.is_closed, "after the end comes {event:?}");
            self.take(event);
        }
    }

    /// Takes output and events until there is neither.
    fn write(&mut self) {
        loop {
            self.run();
            let output = self.engine.take_output(self.now);
            assert!(output.len() <= OUTPUT_MAX_BYTES, "{} bytes are to be written", output.len());
            if output.is_empty() {
                return;
            }
            self.judge.hear(&output);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::SaslInit(_) if self.manner == Manner::Slow => self.sasl_waits = true,
            Event::SaslInit(_) => self.engine.sasl_outcome(self.outcome()),
            Event::Opened(open) => {
                self.judge.frame_max_bytes = usize::try_from(open.max_frame_size.unwrap_or(u32::MAX).max(512)).unwrap_or(usize::MAX);
                if self.manner == Manner::Willing {
                    self.engine.trust();
                }
            }
            Event::Attach(request) if self.manner == Manner::Slow => self.asked.push_back(request),
            Event::Attach(request) => self.decide(&request, 10),
            Event::Delivery(delivery) => {
                if !delivery.settled {
                    self.unanswered.push_back((delivery.link, delivery.id));
                }
                if self.manner == Manner::Willing {
                    self.settle(0, VecDeque::pop_front);
                }
            }
            Event::Disposition(disposition) => {
                if self.manner == Manner::Willing && !disposition.settled {
                    let (session, first, last) = disposition.range().expect("it is of some");
                    self.engine.settle_sent(session, first, last, disposition.state);
                }
            }
            Event::Credit { link, drain } => {
                if self.manner == Manner::Willing {
                    self.send_on(link, 1, false);
                    if drain {
                        self.engine.drained(link);
                    }
                }
            }
            Event::Sent { .. } | Event::SessionBegun(_) | Event::SessionEnded { .. } => {}
            Event::Detached { link, .. } => self.links.retain(|other| *other != link),
            Event::Closed(_) => self.is_closed = true,
        }
    }

    fn outcome(&self) -> SaslOutcome {
        if self.manner == Manner::Unwilling { SaslOutcome::Auth } else { SaslOutcome::Ok }
    }

    fn decide(&mut self, request: &AttachRequest, window: u32) {
        if self.manner == Manner::Unwilling {
            self.engine.refuse_link(request.link, refusal());
        } else {
            let _ = start_position(request.source.as_ref().and_then(|source| source.filter.as_ref()));
            let mut acceptance = request.as_asked(window);
            // A filter that is granted goes back as it came.
            acceptance.source.filter = request.source.as_ref().and_then(|source| source.filter.clone());
            acceptance.properties = request.properties.clone();
            if self.engine.accept_link(request.link, acceptance) {
                self.links.push(request.link);
            }
        }
    }

    /// The slow caller makes up its mind.
    fn answer(&mut self, much: usize) {
        if std::mem::take(&mut self.sasl_waits) {
            self.engine.sasl_outcome(self.outcome());
        }
        if let Some(request) = self.asked.pop_front() {
            self.decide(&request, [10, 0, 1, 1000][much % 4]);
        }
    }

    fn settle(&mut self, much: usize, which: impl Fn(&mut VecDeque<(LinkId, u32)>) -> Option<(LinkId, u32)>) {
        if let (Some((link, delivery)), Some(state)) = (which(&mut self.unanswered), state(much)) {
            self.engine.settle(link, delivery, state);
        }
    }

    fn with_link(&mut self, verb: impl FnOnce(&mut Connection, LinkId)) {
        self.turn += 1;
        if let Some(link) = self.links.get(self.turn % self.links.len().max(1)) {
            verb(&mut self.engine, *link);
        }
    }

    fn send(&mut self, much: usize, settled: bool) {
        self.turn += 1;
        if let Some(link) = self.links.get(self.turn % self.links.len().max(1)) {
            self.send_on(*link, [0, 1, 300, 1000, 5000, 70_000, 256 * 1024][much % 7], settled);
        }
    }

    fn send_on(&mut self, link: LinkId, bytes: usize, settled: bool) {
        let (may, room) = (self.engine.sendable(link), self.engine.has_room());
        let payload = vec![b'x'; bytes];
        let tag = DeliveryTag::new(&self.turn.to_be_bytes()).expect("eight bytes fit");
        let pieces = payload.split_at(bytes / 3);
        match self.engine.send(link, &Outgoing { tag, message_format: 0, settled, payload: &[pieces.0, pieces.1] }) {
            Ok(delivery) => {
                assert!(may > 0 && room, "more was sent than could be");
                self.sent.push_back((link, delivery));
            }
            Err(NotSent::Unsettled | NotSent::TooLarge) => {}
            Err(_) => assert!(may == 0 || !room, "less was sent than could be"),
        }
    }

    fn wait(&mut self, much: usize) {
        const MILLIS: [u64; 15] =
            [1, 100, 250, 1000, 2000, 5000, 14_999, 15_000, 30_000, 60_000, 120_000, 240_000, 359_999, 360_000, 9_999_999];
        let deadline = self.engine.deadline().unwrap_or(self.now);
        self.now = MILLIS.get(much).map_or(deadline.max(self.now), |millis| self.now + Duration::from_millis(*millis));
        self.engine.time_passed(self.now);
        self.run();
    }

    fn end(&mut self, much: usize) {
        if much.is_multiple_of(4) {
            self.engine.trust();
        } else if much % 4 == 1 {
            self.engine.close((much > 7).then(refusal));
        }
    }
}

fn state(much: usize) -> Option<DeliveryState> {
    Some(match much % 7 {
        0 => DeliveryState::Accepted(Accepted {}),
        1 => DeliveryState::Released(Released {}),
        2 => DeliveryState::Rejected(Rejected { error: Some(refusal()) }),
        3 => DeliveryState::Rejected(Rejected { error: None }),
        4 => DeliveryState::Modified(Modified { delivery_failed: Some(true), undeliverable_here: None, message_annotations: None }),
        5 => DeliveryState::Received(Received { section_number: 1, section_offset: 300 }),
        _ => return None,
    })
}

/// With more words than any frame takes.
fn refusal() -> Error {
    Error::new(AmqpError::NotAllowed, "ä".repeat(300), None)
}
