//! Refusals that may not be told yet: each is as long on its way as any other, whatever its reason, and meanwhile the connection serves its
//! others.
//!
//! Owns the waiting, and the bound on it: with so many, the connection reads no more before the first of them has been told.

use std::collections::VecDeque;

use fe2o3_amqp_types::definitions::Error;
use fe2o3_amqp_types::messaging::{Accepted, DeliveryState};
use tokio::time::Instant;

use super::Conversation;
use super::answers::AnswerReceiver;
use crate::amqp::engine::{Acceptance, Delivery, LinkId};
use crate::amqp::message;
use crate::core::message::Message;

/// The most refusals of one connection that wait: whoever guesses is no faster than this many in their time.
const HELD_BACK_MAX: usize = 8;

/// A link that is not granted, and when it may be told.
pub struct LinkRefused {
    pub error: Error,
    pub not_before: Instant,
}

impl From<Error> for LinkRefused {
    /// What says nothing of who is there may be told at once.
    fn from(error: Error) -> Self {
        Self { error, not_before: Instant::now() }
    }
}

/// What is to be told.
pub enum HeldBack {
    /// A link is refused.
    Link { link: LinkId, error: Error },
    /// A link is granted, and ended at once.
    GrantedLink { link: LinkId, grant: Box<Acceptance>, error: Error },
    /// A request is answered.
    Answer { request: Request, receiver: AnswerReceiver, answer: Vec<u8> },
}

/// Which request is answered.
pub struct Request {
    link: LinkId,
    delivery: u32,
    settled: bool,
}

/// Those of a connection, in the order in which they may be told.
#[derive(Default)]
pub struct Refusals(VecDeque<(Instant, HeldBack)>);

impl Refusals {
    /// Whether there is room for more.
    pub fn has_room(&self) -> bool {
        self.0.len() < HELD_BACK_MAX
    }

    /// When the next one may be told.
    pub fn next(&self) -> Option<std::time::Instant> {
        self.0.front().map(|(at, _)| at.into_std())
    }
}

impl Conversation<'_> {
    /// Tells a refusal, but not before its time.
    pub(super) fn hold_back(&mut self, not_before: Instant, held: HeldBack) {
        if not_before <= Instant::now() {
            return self.tell(held);
        }
        let place = self.refusals.0.partition_point(|(at, _)| *at <= not_before);
        self.refusals.0.insert(place, (not_before, held));
    }

    /// Tells those whose time has come.
    pub(super) fn tell_refusals(&mut self) {
        while let Some((_, held)) = self.refusals.0.pop_front_if(|(at, _)| *at <= Instant::now()) {
            self.tell(held);
        }
        if self.refusals.0.is_empty() {
            self.refusals = Refusals::default();
        }
    }

    /// Answers a request, which is accepted with that, whatever the answer.
    pub(super) fn answer_request(
        &mut self,
        delivery: &Delivery,
        not_before: Option<Instant>,
        receiver: AnswerReceiver,
        answer: &Message<'_>,
    ) {
        let &Delivery { link, id: delivery, settled, .. } = delivery;
        let request = Request { link, delivery, settled };
        let mut bytes = Vec::new();
        message::write(answer, &mut bytes);
        match not_before {
            Some(not_before) => self.hold_back(not_before, HeldBack::Answer { request, receiver, answer: bytes }),
            None => self.answer_now(&request, receiver, bytes),
        }
    }

    fn tell(&mut self, held: HeldBack) {
        match held {
            HeldBack::Link { link, error } => self.engine.refuse_link(link, error),
            HeldBack::GrantedLink { link, grant, error } => {
                self.engine.accept_link(link, *grant);
                self.engine.detach(link, Some(error));
            }
            HeldBack::Answer { request, receiver, answer } => self.answer_now(&request, receiver, answer),
        }
    }

    fn answer_now(&mut self, request: &Request, receiver: AnswerReceiver, answer: Vec<u8>) {
        let &Request { link, delivery, settled } = request;
        if !settled {
            self.engine.settle(link, delivery, DeliveryState::Accepted(Accepted {}));
        }
        self.answer(link.session, receiver, answer);
    }
}
