//! Answers on their way to a peer's receivers: of `$cbs`, and of `$management`. Each waits for credit, and only so many wait.

use super::{Conversation, Place};
use crate::amqp::engine::{DeliveryTag, LinkId, NotSent, Outgoing, SessionId};
use crate::amqp::message;
use crate::core::message::Message;

/// The most answers that wait for their receiver's credit; a client that asks on without taking answers hears nothing of the rest.
pub const ANSWERS_MAX: usize = 16;

/// An answer, and for whom it is.
pub struct Answer {
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
    pub(super) fn answer(&mut self, session: SessionId, receiver: AnswerReceiver, answer: &Message<'_>) {
        let mut bytes = Vec::new();
        message::write(answer, &mut bytes);
        if self.answers.len() < ANSWERS_MAX {
            self.answers.push_back(Answer { session, receiver, bytes });
        }
        self.send_answers();
    }

    /// Sends the answers whose receivers have credit.
    pub(super) fn send_answers(&mut self) {
        for answer in std::mem::take(&mut self.answers) {
            if !self.send_answer(&answer) {
                self.answers.push_back(answer);
            }
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
            Err(NotSent::NoLink | NotSent::NoCredit | NotSent::NoWindow | NotSent::OutputFull) => false,
            Err(NotSent::Unsettled | NotSent::TooLarge) => true,
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
