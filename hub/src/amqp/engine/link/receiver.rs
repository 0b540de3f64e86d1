//! A link on which the hub receives: the credit that it grants, and the message that has come in part.

use bytes::{Buf as _, Bytes, BytesMut};
use fe2o3_amqp_types::definitions::{AmqpError, LinkError};

use super::super::delivery::DeliveryTag;
use super::super::error::{Fault, not_implemented};
use super::super::performative::Attach;
use super::super::serial;
use super::super::transfer::Transfer;

/// The hub's end of a link from a sender.
#[derive(Debug)]
pub struct Receiver {
    /// Deliveries so far (AMQP 2.6.7).
    pub delivery_count: u32,
    /// Deliveries that the peer may still send.
    pub credit: u32,
    /// How many the caller wants on their way or unanswered at most.
    pub window: u32,
    /// Deliveries that the caller has not answered, or that the peer has not settled after the hub's answer.
    unanswered: u32,
    /// What the peer does.
    pub snd_settle_mode: u8,
    /// Whether the hub settles only after the sender has (AMQP 2.6.12).
    pub second: bool,
    /// With [`Self::second`]: deliveries that were answered and wait for the sender to settle. No more than `window`.
    awaiting: Vec<u32>,
    assembling: Option<Box<Assembling>>,
}

/// A message of which some transfers have come.
#[derive(Debug)]
struct Assembling {
    head: Assembled,
    pieces: BytesMut,
}

/// A message that has come whole.
#[derive(Debug)]
pub struct Assembled {
    pub id: u32,
    pub tag: DeliveryTag,
    pub message_format: u32,
    pub settled: bool,
    pub payload: Bytes,
}

/// A transfer's payload where it lies.
#[derive(Debug)]
pub struct Payload {
    /// The whole frame.
    pub frame: BytesMut,
    /// Where in it the payload begins.
    pub at: usize,
}

impl Payload {
    pub fn bytes(&self) -> &[u8] {
        &self.frame[self.at..]
    }

    fn into_bytes(self) -> Bytes {
        let mut bytes = self.frame.freeze();
        bytes.advance(self.at);
        bytes
    }
}

impl Receiver {
    pub fn new(attach: &Attach) -> Self {
        Self {
            delivery_count: attach.initial_delivery_count.unwrap_or(0),
            credit: 0,
            window: 0,
            unanswered: 0,
            snd_settle_mode: attach.snd_settle_mode.unwrap_or(2),
            second: false,
            awaiting: Vec::new(),
            assembling: None,
        }
    }

    pub fn pieces_bytes(&self) -> usize {
        self.assembling.as_ref().map_or(0, |assembling| assembling.pieces.len())
    }

    pub fn is_assembling(&self) -> bool {
        self.assembling.is_some()
    }

    /// A transfer has come; gives the message when it is whole. `bytes_max` bounds the message.
    pub fn transfer(&mut self, transfer: &Transfer, payload: Payload, bytes_max: usize) -> Result<Option<Assembled>, Fault> {
        let handle = transfer.handle;
        if transfer.resume {
            return Err(Fault::Link(handle, not_implemented("resumption of deliveries")));
        }
        let Some(mut assembling) = self.assembling.take() else {
            let head = self.begin(transfer)?;
            if payload.bytes().len() > bytes_max {
                return Err(too_large(handle));
            }
            if transfer.aborted {
                return Ok(None);
            }
            if !transfer.more {
                return Ok(Some(self.complete(Assembled { payload: payload.into_bytes(), ..head })));
            }
            self.assembling = Some(Box::new(Assembling { head, pieces: payload.bytes().into() }));
            return Ok(None);
        };
        if transfer.delivery_id.is_some_and(|id| id != assembling.head.id) {
            return Err(Fault::link(handle, AmqpError::NotAllowed, "a delivery begins before the one before it has ended"));
        }
        if transfer.aborted {
            return Ok(None);
        }
        if assembling.pieces.len() + payload.bytes().len() > bytes_max {
            return Err(too_large(handle));
        }
        assembling.pieces.extend_from_slice(payload.bytes());
        assembling.head.settled |= transfer.settled.unwrap_or(false);
        if transfer.more {
            self.assembling = Some(assembling);
            return Ok(None);
        }
        let Assembling { head, pieces } = *assembling;
        Ok(Some(self.complete(Assembled { payload: pieces.freeze(), ..head })))
    }

    /// The first transfer of a delivery takes one of the credit.
    fn begin(&mut self, transfer: &Transfer) -> Result<Assembled, Fault> {
        let (Some(id), Some(tag)) = (transfer.delivery_id, transfer.delivery_tag) else {
            return Err(Fault::link(transfer.handle, AmqpError::InvalidField, "a delivery begins without its id or its tag"));
        };
        self.credit = self
            .credit
            .checked_sub(1)
            .ok_or_else(|| Fault::link(transfer.handle, LinkError::TransferLimitExceeded, "a delivery came without credit"))?;
        self.delivery_count = self.delivery_count.wrapping_add(1);
        let settled = transfer.settled.unwrap_or(false) || self.snd_settle_mode == 1;
        Ok(Assembled { id, tag, message_format: transfer.message_format.unwrap_or(0), settled, payload: Bytes::new() })
    }

    fn complete(&mut self, message: Assembled) -> Assembled {
        self.unanswered += u32::from(!message.settled);
        message
    }

    /// The caller has answered `delivery`; says whether the hub settles it with that.
    pub fn answered(&mut self, delivery: u32) -> bool {
        if self.second {
            if self.awaiting.len() < self.unanswered as usize {
                self.awaiting.push(delivery);
            }
            return false;
        }
        self.unanswered = self.unanswered.saturating_sub(1);
        true
    }

    /// The peer has settled a range of what it sent.
    pub fn settled_by_peer(&mut self, first: u32, last: u32) {
        let before = self.awaiting.len();
        self.awaiting.retain(|delivery| !serial::is_within(*delivery, first, last));
        let settled = u32::try_from(before - self.awaiting.len()).unwrap_or(u32::MAX);
        self.unanswered = self.unanswered.saturating_sub(settled);
    }

    /// Fills the credit up to the window once half of it is used; says whether a flow has to tell so.
    pub fn top_up(&mut self) -> bool {
        let wanted = self.window.saturating_sub(self.unanswered);
        let due = wanted > self.credit && wanted - self.credit >= self.window.div_ceil(2);
        if due {
            self.credit = wanted;
        }
        due
    }

    /// The link is granted, with this window.
    pub fn open(&mut self, window: u32) {
        (self.window, self.credit) = (window, window);
    }
}

fn too_large(handle: u32) -> Fault {
    Fault::link(handle, LinkError::MessageSizeExceeded, "the message is larger than this link takes")
}
