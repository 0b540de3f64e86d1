//! A connection (AMQP 2.4): what is fed with bytes and the time, and gives events and bytes.
//!
//! Owns the order of things from the protocol header to `close`: handshake (`handshake`), frames and whose they are (`frames`), what the
//! caller may do (`verbs`), and what happens when nothing does (`clock`). Takes one frame at a time, and none while events or a decision
//! wait or the output is full: whoever does not listen is not shouted at.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use fe2o3_amqp_types::definitions::Error;

use super::delivery::{Delivery, Disposition};
use super::error::{Ending, Fault, cut};
use super::limits::{CLOSE_WITHIN, Limits};
use super::link::{AttachRequest, LinkId};
use super::output::Output;
use super::performative::{Open, Performative};
use super::sasl::SaslInit;
use super::session::{Load, Session, SessionId, Shared};
use super::table::Table;

mod clock;
mod frames;
mod handshake;
mod verbs;

/// What the hub says and asks of everybody.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The hub's container-id.
    pub container_id: &'static str,
    /// The SASL mechanisms that it offers.
    pub mechanisms: &'static [&'static str],
    /// The idle-time-out that it announces. Half as much again is given, as MQTT gives it.
    pub idle_time_out: Duration,
}

impl Terms {
    /// Azure's mechanisms and idle-time-out.
    pub const AZURE: Self = Self {
        container_id: "mooring-hub",
        mechanisms: &["ANONYMOUS", "MSSBCBS", "PLAIN", "EXTERNAL"],
        idle_time_out: Duration::from_secs(240),
    };
}

/// Something that the caller has to know or to decide.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Somebody wants to prove who they are: answer with [`Connection::sasl_outcome`]. Nothing is read until then.
    SaslInit(SaslInit),
    /// `open` has come and is answered.
    Opened(Box<Open>),
    /// A session has begun and is answered.
    SessionBegun(SessionId),
    /// A link is asked for: answer with [`Connection::accept_link`] or [`Connection::refuse_link`].
    Attach(Box<AttachRequest>),
    /// A message has come: answer with [`Connection::settle`] unless it is settled.
    Delivery(Delivery),
    /// The peer says what has become of deliveries. If they are not settled, answer with [`Connection::settle_sent`].
    Disposition(Disposition),
    /// Messages may be sent on a link. With `drain`, send what waits, then say [`Connection::drained`].
    Credit {
        /// The link.
        link: LinkId,
        /// Whether the peer wants its credit used or given back at once.
        drain: bool,
    },
    /// A settled message that had to wait for the peer's window is in the output, whole.
    Sent {
        /// The link.
        link: LinkId,
        /// What [`Connection::send`] gave.
        delivery: u32,
    },
    /// A link is gone, with all its unsettled deliveries, and not by the caller.
    Detached {
        /// The link.
        link: LinkId,
        /// Why, when it is said.
        error: Option<Error>,
    },
    /// A session is gone, and not by the caller. Its links were told to be gone before.
    SessionEnded {
        /// The session.
        session: SessionId,
        /// Why, when it is said.
        error: Option<Error>,
    },
    /// It is over: write the output, and close the socket. Links and sessions are not told to be gone.
    Closed(Ending),
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for a protocol header; SASL's may come only first.
    Header { sasl_done: bool },
    /// Waits for `sasl-init`.
    SaslInit,
    /// Waits for the caller's word.
    SaslDecision,
    /// Waits for `open`.
    Open,
    /// Open on both sides.
    Running,
    /// The hub has closed; waits for the peer's `close`, or not for long.
    Closing { until: Instant },
    /// Nothing is read or sent any more.
    Over,
}

/// How many steps of a stranger's are waited for, each as long. A client for Python that listens to many connections in turn takes one step
/// of one of them every few seconds.
const STRANGER_STEPS: u8 = 5;

/// Somebody who has proved nothing.
#[derive(Debug)]
struct Stranger {
    until: Instant,
    step_within: Duration,
    steps_left: u8,
}

/// One connection, from its first byte to its last.
#[derive(Debug)]
pub struct Connection {
    terms: &'static Terms,
    limits: Limits,
    phase: Phase,
    sessions: Table<u16, Session>,
    load: Load,
    /// The highest channel that the peer takes, and so the highest that the hub may answer on. The peer may use any up to the hub's own.
    channel_max: u16,
    /// Where the hub's own numbers begin.
    first_id: u32,
    events: VecDeque<Event>,
    output: Output,
    now: Instant,
    heard_at: Instant,
    sent_at: Instant,
    /// What a stranger still has to do, and until when. Boxed, because hardly any connection is a stranger's for long.
    stranger: Option<Box<Stranger>>,
    /// In how much silence of the hub's the peer wants an empty frame.
    heartbeat: Option<Duration>,
}

impl Connection {
    /// A connection that has just been made. A stranger may take `step_within` for each step on the way to [`Connection::trust`]: SASL, `open`,
    /// the first `begin`, and the two links to `$cbs`.
    #[must_use]
    pub fn new(terms: &'static Terms, step_within: Duration, now: Instant) -> Self {
        Self {
            terms,
            limits: Limits::STRANGER,
            phase: Phase::Header { sasl_done: false },
            sessions: Table::new(),
            load: Load::default(),
            channel_max: u16::MAX,
            first_id: 0,
            events: VecDeque::new(),
            output: Output::new(),
            now,
            heard_at: now,
            sent_at: now,
            stranger: Some(Box::new(Stranger { until: now + step_within, step_within, steps_left: STRANGER_STEPS })),
            heartbeat: None,
        }
    }

    /// The next event, from what waits or from the frames that `input` begins with, which are taken out of it. `None` when there is
    /// nothing to be told: more bytes have to come, the output has to be written, or the caller owes an answer.
    ///
    /// Payloads share `input`'s memory when they came in one frame; whoever keeps one copies it.
    pub fn receive(&mut self, input: &mut BytesMut) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                self.note_step(&event);
                return Some(event);
            }
            if !self.output.has_room() {
                return None;
            }
            match self.step(input) {
                Ok(true) => {}
                Ok(false) => {
                    // An idle connection keeps no room for events.
                    self.events = VecDeque::new();
                    return None;
                }
                Err(Fault::Connection(error)) => self.fail(error),
                Err(Fault::Session(_) | Fault::Link(..)) => unreachable!("a fault of a session or a link ends there"),
            }
        }
    }

    /// Whether nothing is left to do but to write the output and to close the socket.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// A stranger who comes nearer to a proof has time for the next step; so often, and no more.
    fn note_step(&mut self, event: &Event) {
        let Some(stranger) = &mut self.stranger else { return };
        let is_step = matches!(event, Event::SaslInit(_) | Event::Opened(_) | Event::SessionBegun(_) | Event::Attach(_));
        if is_step && stranger.steps_left > 0 {
            stranger.steps_left -= 1;
            stranger.until = self.heard_at + stranger.step_within;
        }
    }

    /// Takes what the input begins with; says whether there was something.
    fn step(&mut self, input: &mut BytesMut) -> Result<bool, Fault> {
        match self.phase {
            Phase::Header { sasl_done } => Ok(self.take_header(sasl_done, input)),
            Phase::SaslInit => self.take_sasl_init(input),
            Phase::SaslDecision => Ok(false),
            Phase::Open => self.take_open(input),
            Phase::Running | Phase::Closing { .. } => self.take_frame(input),
            Phase::Over => {
                input.clear();
                Ok(false)
            }
        }
    }

    /// A rule was broken that only `close` is an answer to. What comes after it is not understood any more.
    fn fail(&mut self, error: Error) {
        if matches!(self.phase, Phase::Running | Phase::Open) {
            if self.phase == Phase::Open {
                // `close` has to follow an `open` (AMQP 2.4.3).
                self.write_open();
            }
            self.output.performative(0, &Performative::Close(Some(cut(error.clone()))));
        }
        self.finish(Ending::Failed(error));
    }

    /// The end, told once.
    fn finish(&mut self, ending: Ending) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            self.sessions = Table::new();
            self.load = Load { births: self.load.births, ..Load::default() };
            self.events.push_back(Event::Closed(ending));
        }
    }

    fn close_with(&mut self, error: Option<Error>) {
        self.output.performative(0, &Performative::Close(error.map(cut)));
        self.phase = Phase::Closing { until: self.now + CLOSE_WITHIN };
    }

    /// A session with what it shares with the others.
    fn session(&mut self, channel: u16) -> Option<(&mut Session, Shared<'_>)> {
        let Self { sessions, output, events, limits, load, .. } = self;
        sessions.get_mut(channel).map(|session| (session, Shared { output, events, limits, load }))
    }
}

#[cfg(test)]
mod inspection;
