//! A client of the engine's with a clock in its hand. It writes and reads by the judge.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use fe2o3_amqp_types::messaging::{Accepted, DeliveryState, Source, Target};

use super::super::delivery::DeliveryTag;
use super::super::disposition::Disposition;
use super::super::flow::Flow;
use super::super::frame::{self, Frame, FrameKind, Protocol};
use super::super::link::{LinkId, Role};
use super::super::performative::{AnyTarget, Attach, Begin, Detach, Open, Performative};
use super::super::transfer::Transfer;
use super::super::{Connection, Event, Terms};
use super::judge;

// For whoever plays a client of the whole front.
pub mod words {
    pub use super::super::super::flow::Flow;
    pub use super::super::super::frame::Protocol;
    pub use super::super::super::performative::{AnyTarget, Attach, Performative};
    pub use super::super::super::transfer::Transfer;
}

pub const TERMS: Terms = Terms::AZURE;

/// How long strangers may take.
pub const TRUST_WITHIN: Duration = Duration::from_secs(15);

/// The one steady clock that tests may read; only differences count.
pub fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What a client hears.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Header(Protocol),
    /// A SASL frame's body.
    Sasl(Vec<u8>),
    /// An empty frame.
    Alive,
    Frame(u16, Performative, Vec<u8>),
}

/// A client, and the engine that it talks to.
pub struct Peer {
    pub engine: Connection,
    pub now: Instant,
    pub events: VecDeque<Event>,
    pub heard: VecDeque<Heard>,
    /// Bytes of frames that were heard, whole.
    pub largest_frame: usize,
    /// How many writes the engine made.
    pub writes: usize,
    input: BytesMut,
}

impl Peer {
    /// Nothing has been said.
    pub fn new() -> Self {
        let now = start();
        Self {
            engine: Connection::new(&TERMS, TRUST_WITHIN, now),
            now,
            events: VecDeque::new(),
            heard: VecDeque::new(),
            largest_frame: 0,
            writes: 0,
            input: BytesMut::new(),
        }
    }

    /// Open on both sides without SASL, and trusted.
    pub fn opened(max_frame_size: u32) -> Self {
        let mut peer = Self::new();
        peer.feed(&Protocol::Amqp.header());
        peer.say(0, &open(max_frame_size));
        peer.engine.trust();
        assert_eq!(peer.heard.pop_front(), Some(Heard::Header(Protocol::Amqp)));
        assert!(matches!(peer.hear(), (0, Performative::Open(_))));
        assert!(matches!(peer.event(), Event::Opened(_)));
        peer
    }

    /// With a session on a channel.
    pub fn with_session(max_frame_size: u32, channel: u16) -> Self {
        let mut peer = Self::opened(max_frame_size);
        peer.begin(channel);
        peer
    }

    pub fn begin(&mut self, channel: u16) {
        self.say(channel, &Performative::Begin(Box::new(begin())));
        assert!(matches!(self.hear(), (heard, Performative::Begin(begin)) if heard == channel && begin.remote_channel == Some(channel)));
        assert!(matches!(self.event(), Event::SessionBegun(_)));
    }

    /// Bytes come, and everything that follows from them happens.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.engine.heard(self.now);
        self.run();
    }

    /// Takes events and output until there are none.
    pub fn run(&mut self) {
        loop {
            while let Some(event) = self.engine.receive(&mut self.input) {
                self.events.push_back(event);
            }
            if !self.listen() {
                return;
            }
        }
    }

    /// Time goes by.
    pub fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.engine.time_passed(self.now);
        self.run();
    }

    pub fn say(&mut self, channel: u16, performative: &Performative) {
        self.feed(&said(channel, performative, &[]));
    }

    pub fn transfer(&mut self, channel: u16, transfer: Transfer, payload: &[u8]) {
        self.feed(&said(channel, &Performative::Transfer(transfer), payload));
    }

    /// The next frame.
    pub fn hear(&mut self) -> (u16, Performative) {
        self.run();
        match self.heard.pop_front() {
            Some(Heard::Frame(channel, performative, payload)) if payload.is_empty() => (channel, performative),
            other => panic!("a frame was due, not {other:?}; events: {:?}", self.events),
        }
    }

    /// The next frame, which has to be a transfer.
    pub fn hear_transfer(&mut self) -> (Transfer, Vec<u8>) {
        self.run();
        match self.heard.pop_front() {
            Some(Heard::Frame(_, Performative::Transfer(transfer), payload)) => (transfer, payload),
            other => panic!("a transfer was due, not {other:?}; events: {:?}", self.events),
        }
    }

    pub fn hears_nothing(&mut self) {
        self.run();
        assert_eq!(self.heard, []);
    }

    pub fn event(&mut self) -> Event {
        self.run();
        self.events.pop_front().unwrap_or_else(|| panic!("an event was due; heard: {:?}", self.heard))
    }

    pub fn no_event(&mut self) {
        self.run();
        assert_eq!(self.events, []);
    }

    /// A link from the client to the hub, granted with a window.
    pub fn sender(&mut self, channel: u16, handle: u32, window: u32) -> LinkId {
        self.sender_by(channel, attach("to the hub", handle, Role::Sender), window)
    }

    pub fn sender_by(&mut self, channel: u16, attach: Attach, window: u32) -> LinkId {
        let handle = attach.handle;
        self.say(channel, &Performative::Attach(Box::new(attach)));
        let Event::Attach(request) = self.event() else { panic!("a link is asked for") };
        assert!(self.engine.accept_link(request.link, request.as_asked(window)));
        assert!(matches!(self.hear(), (_, Performative::Attach(attach)) if attach.role == Role::Receiver && attach.handle == handle));
        if window > 0 {
            assert!(
                matches!(self.hear(), (_, Performative::Flow(flow)) if flow.handle == Some(handle) && flow.link_credit == Some(window))
            );
        }
        request.link
    }

    /// A link from the hub to the client, granted.
    pub fn receiver(&mut self, channel: u16, handle: u32) -> LinkId {
        self.receiver_by(channel, attach("from the hub", handle, Role::Receiver))
    }

    pub fn receiver_by(&mut self, channel: u16, attach: Attach) -> LinkId {
        self.say(channel, &Performative::Attach(Box::new(attach)));
        let Event::Attach(request) = self.event() else { panic!("a link is asked for") };
        assert!(self.engine.accept_link(request.link, request.as_asked(0)));
        assert!(matches!(self.hear(), (_, Performative::Attach(attach)) if attach.role == Role::Sender));
        request.link
    }

    /// The client grants credit; `window` is the session's.
    pub fn grant(&mut self, channel: u16, flow: Flow) {
        self.say(channel, &Performative::Flow(flow));
    }

    pub fn accept(&mut self, link: LinkId, delivery: u32) {
        self.engine.settle(link, delivery, accepted());
    }

    /// Takes what the engine has written; says whether there was something.
    fn listen(&mut self) -> bool {
        let mut output = BytesMut::from(&self.engine.take_output(self.now)[..]);
        let is_something = !output.is_empty();
        self.writes += usize::from(is_something);
        while !output.is_empty() {
            let before = output.len();
            self.heard.push_back(hear(&mut output).expect("whole frames are written"));
            self.largest_frame = self.largest_frame.max(before - output.len());
        }
        is_something
    }
}

/// Takes out what the hub's bytes begin with, if it is whole. The judge reads it too.
pub fn hear(bytes: &mut BytesMut) -> Option<Heard> {
    if let Ok(Some(protocol)) = Protocol::read(bytes) {
        let _ = bytes.split_to(frame::HEADER_BYTES);
        return Some(Heard::Header(protocol));
    }
    if bytes.starts_with(b"AMQP") {
        return None;
    }
    let frame = Frame::read(bytes, usize::MAX).unwrap()?;
    let taken = bytes.split_to(frame.size);
    let body = &taken[frame.body..];
    Some(match frame.kind {
        FrameKind::Sasl => Heard::Sasl(body.to_vec()),
        FrameKind::Amqp if body.is_empty() => Heard::Alive,
        FrameKind::Amqp => {
            let (performative, length) = Performative::read(body).unwrap();
            assert_eq!(judge::decode(&body[..length]), judge::foreign(&performative));
            Heard::Frame(frame.channel, performative, body[length..].to_vec())
        }
    })
}

/// A frame as a client writes it.
pub fn said(channel: u16, performative: &Performative, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, FrameKind::Amqp, channel, |body| {
        body.extend(judge::encode(performative));
        body.extend_from_slice(payload);
    });
    bytes
}

pub fn open(max_frame_size: u32) -> Performative {
    let open =
        Open { container_id: "client".into(), hostname: Some("hub.test".into()), max_frame_size: Some(max_frame_size), ..Open::default() };
    Performative::Open(Box::new(open))
}

pub fn begin() -> Begin {
    Begin { next_outgoing_id: 0, incoming_window: 2048, outgoing_window: 2048, ..Begin::default() }
}

pub fn attach(name: &str, handle: u32, role: Role) -> Attach {
    Attach {
        name: name.into(),
        handle,
        role,
        snd_settle_mode: None,
        rcv_settle_mode: None,
        source: Some(Box::new(Source { address: Some("somewhere".into()), ..Source::default() })),
        target: Some(AnyTarget::Target(Box::new(Target { address: Some("elsewhere".into()), ..Target::default() }))),
        resumes: false,
        incomplete_unsettled: false,
        initial_delivery_count: (role == Role::Sender).then_some(0),
        max_message_size: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    }
}

/// The first or only transfer of a delivery.
pub fn delivery(handle: u32, id: u32) -> Transfer {
    Transfer {
        handle,
        delivery_id: Some(id),
        delivery_tag: DeliveryTag::new(&id.to_be_bytes()),
        message_format: Some(0),
        settled: Some(false),
        ..Transfer::default()
    }
}

/// Credit for a link, from a peer that has received `received` transfers and deliveries.
pub fn credit(handle: u32, received: u32, credit: u32) -> Flow {
    Flow {
        next_incoming_id: Some(received),
        incoming_window: 2048,
        next_outgoing_id: 0,
        outgoing_window: 2048,
        handle: Some(handle),
        delivery_count: Some(received),
        link_credit: Some(credit),
        ..Flow::default()
    }
}

pub fn detach(handle: u32) -> Performative {
    Performative::Detach(Detach { handle, closed: true, error: None })
}

pub fn disposition(role: Role, first: u32, last: u32, settled: bool, state: Option<DeliveryState>) -> Performative {
    Performative::Disposition(Disposition { role, first, last: Some(last), settled, state, batchable: false })
}

pub fn accepted() -> DeliveryState {
    DeliveryState::Accepted(Accepted {})
}
