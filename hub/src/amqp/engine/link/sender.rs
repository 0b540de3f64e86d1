//! A link on which the hub sends: the credit that the peer grants, and the message that is half on its way.

use bytes::Bytes;

use super::super::delivery::DeliveryTag;
use super::super::flow::Flow;
use super::super::performative::Attach;
use super::super::serial;

/// The hub's end of a link to a receiver.
#[derive(Debug)]
pub struct Sender {
    /// Deliveries so far, and credit that was given back (AMQP 2.6.7).
    pub delivery_count: u32,
    /// Deliveries that may follow.
    pub credit: u32,
    /// The peer wants its credit used or given back.
    pub draining: bool,
    /// The caller has nothing more to send, but the rest of a message is still waiting for the session's window.
    pub drained: bool,
    /// 0 unsettled, 1 settled, 2 as the caller says for each.
    pub snd_settle_mode: u8,
    /// What the peer does: 1 waits for the hub to settle.
    pub rcv_settle_mode: u8,
    /// The largest message that the peer takes, in bytes; 0 for any.
    pub message_bytes_max: u64,
    /// What the window did not let through yet.
    pub sending: Option<Box<Sending>>,
}

/// A message of which some transfers have been sent.
#[derive(Debug)]
pub struct Sending {
    pub head: Head,
    pub rest: Bytes,
}

/// What every transfer of a message says.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub id: u32,
    pub tag: DeliveryTag,
    pub message_format: u32,
    pub settled: bool,
}

impl Sender {
    pub fn new(attach: &Attach) -> Self {
        Self {
            delivery_count: 0,
            credit: 0,
            draining: false,
            drained: false,
            snd_settle_mode: attach.snd_settle_mode.unwrap_or(2),
            rcv_settle_mode: attach.rcv_settle_mode.unwrap_or(0),
            message_bytes_max: attach.max_message_size.unwrap_or(0),
            sending: None,
        }
    }

    /// The peer has spoken of its credit (AMQP 2.6.7). Before it knows the hub's count, that count is 0.
    pub fn granted(&mut self, flow: &Flow) {
        if let Some(credit) = flow.link_credit {
            self.credit = serial::left_of(credit, flow.delivery_count.unwrap_or(0), self.delivery_count);
        }
        self.draining = flow.drain;
        // A drain that was taken back is not answered.
        self.drained &= flow.drain;
    }

    /// A delivery takes one of the credit.
    pub fn advance(&mut self) {
        self.delivery_count = self.delivery_count.wrapping_add(1);
        self.credit = self.credit.saturating_sub(1);
    }

    /// Gives the rest of the credit back, as if it had been used.
    pub fn consume_credit(&mut self) {
        self.delivery_count = self.delivery_count.wrapping_add(self.credit);
        self.credit = 0;
        self.drained = false;
    }

    /// Whether a message may begin, as far as the link goes.
    pub fn is_ready(&self) -> bool {
        self.credit > 0 && self.sending.is_none()
    }
}
