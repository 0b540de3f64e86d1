//! Answers on their way to a peer's receivers: of `$cbs`, and of `$management`. Each waits for its receiver and that one's credit, as long
//! as the session of its request lasts, and only so many wait.

use std::collections::VecDeque;

use super::{Conversation, Place};
use crate::amqp::engine::{DeliveryTag, LinkId, NotSent, Outgoing, SessionId};

/// The most answers that wait; a client that asks on without taking answers hears nothing of the first ones.
const ANSWERS_MAX: usize = 16;

/// Those of a connection.
#[derive(Default)]
pub struct Answers {
    waiting: VecDeque<Answer>,
    /// Whether some of them found the output full, so that they may go once that has been written.
    found_no_room: bool,
}

/// An answer, and for whom it is.
struct Answer {
    /// In which session it was asked.
    session: SessionId,
    receiver: AnswerReceiver,
    bytes: Vec<u8>,
}

/// Which receiver of the session is meant.
pub enum AnswerReceiver {
    /// From `$cbs`.
    Cbs,
    /// From `$management`: the one with this target, else the one that there is.
    Management {
        /// The request's reply-to.
        reply_to: Option<Box<str>>,
    },
}

impl Conversation<'_> {
    /// Answers on the receiver that the peer has for answers in the session of its request.
    pub(super) fn answer(&mut self, session: SessionId, receiver: AnswerReceiver, bytes: Vec<u8>) {
        self.answers.waiting.push_back(Answer { session, receiver, bytes });
        self.send_answers();
        if self.answers.waiting.len() > ANSWERS_MAX {
            self.answers.waiting.pop_front();
        }
    }

    /// Sends the answers whose receivers have credit.
    pub(super) fn send_answers(&mut self) {
        self.answers.found_no_room = false;
        for answer in std::mem::take(&mut self.answers.waiting) {
            if !self.send_answer(&answer) {
                self.answers.waiting.push_back(answer);
            }
        }
    }

    /// The output has been written: sends the answers that found it full.
    pub(super) fn send_held_answers(&mut self) {
        if self.answers.found_no_room {
            self.send_answers();
        }
    }

    /// A session has ended: nobody hears the answers to what was asked in it.
    pub(super) fn forget_answers_in(&mut self, session: SessionId) {
        self.answers.waiting.retain(|answer| answer.session != session);
    }

    /// A link is about to go: nobody hears the answers that it was to bring.
    pub(super) fn forget_answers_on(&mut self, link: LinkId) {
        if matches!(self.links.get(&link), Some(Place::Answers | Place::Properties { .. })) {
            let mut waiting = std::mem::take(&mut self.answers.waiting);
            waiting.retain(|answer| self.receiver_of(answer) != Some(link));
            self.answers.waiting = waiting;
        }
    }

    /// Says whether nothing is left to do with it.
    fn send_answer(&mut self, answer: &Answer) -> bool {
        let Some(link) = self.receiver_of(answer) else { return false };
        let tag = DeliveryTag::new(&self.next_tag.to_be_bytes()).expect("eight bytes fit");
        let sent = self.engine.send(link, &Outgoing { tag, message_format: 0, settled: true, payload: &[&answer.bytes] });
        match sent {
            Ok(_) => {
                self.next_tag += 1;
                true
            }
            Err(NotSent::OutputFull) => {
                self.answers.found_no_room = true;
                false
            }
            // Credit is offered again when it is otherwise.
            Err(NotSent::NoLink | NotSent::NoCredit | NotSent::NoWindow | NotSent::Unsettled) => false,
            Err(NotSent::TooLarge) => true,
        }
    }

    fn receiver_of(&self, answer: &Answer) -> Option<LinkId> {
        let in_session = || self.links.iter().filter(|(link, _)| link.session == answer.session);
        let found = match &answer.receiver {
            AnswerReceiver::Cbs => in_session().find(|(_, place)| **place == Place::Answers),
            AnswerReceiver::Management { reply_to } => {
                let named = |place: &Place| matches!(place, Place::Properties { target } if target.is_some() && target == reply_to);
                let any = || in_session().find(|(_, place)| matches!(place, Place::Properties { .. }));
                in_session().find(|(_, place)| named(place)).or_else(any)
            }
        };
        found.map(|(link, _)| *link)
    }
}
