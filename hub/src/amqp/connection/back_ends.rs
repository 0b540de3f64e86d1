//! What back ends' links wait for: the desk's answers to the commands that they send, and receipts.
//!
//! Owns the waiting, which the connection does beside its socket; what is sent and received is in `sent_commands` and `feedback`.

use std::task::{Context, Poll};

use super::Conversation;
use super::feedback::FeedbackReceivers;
use super::sent_commands::SentCommands;
use crate::amqp::engine::LinkId;
use crate::ops::Hub;

/// The back ends of a connection.
pub struct BackEnds<'a> {
    pub commands: SentCommands<'a>,
    pub feedback: FeedbackReceivers<'a>,
}

impl<'a> BackEnds<'a> {
    pub fn new(hub: &'a Hub) -> Self {
        Self { commands: SentCommands::new(hub), feedback: FeedbackReceivers::new(hub) }
    }

    /// Whether there is something to wait for.
    pub fn are_waiting(&self) -> bool {
        self.commands.is_waiting() || self.feedback.is_waiting()
    }

    /// Goes on with everything; ready when the connection has something to do about it.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Both, for each has to be able to wake the connection.
        match (self.commands.poll(context), self.feedback.poll(context)) {
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            (Poll::Ready(()), _) | (_, Poll::Ready(())) => Poll::Ready(()),
        }
    }

    /// The peer has ended a link: what it has sent is still sent, what it has received and not settled goes back.
    pub fn detached(&mut self, link: LinkId) {
        self.commands.detached(link);
        self.feedback.link_gone(link);
    }

    /// The connection is gone.
    pub async fn finish(&mut self) {
        self.feedback.finish();
        self.commands.finish().await;
    }

    /// The hub ends a link: nothing that has not taken effect does any more.
    pub fn shut_out(&mut self, link: LinkId) {
        self.commands.shut_out(link);
        self.feedback.link_gone(link);
    }
}

impl Conversation<'_> {
    /// Says what has become of commands, and sends receipts.
    pub(super) fn serve_back_ends(&mut self) {
        self.answer_commands();
        self.send_feedback();
    }
}
