//! Messages that go: transfers of the size that the peer takes, as far as its window reaches, and what it says of them.

use std::ops::Range;

use bytes::Bytes;
use fe2o3_amqp_types::messaging::DeliveryState;

use super::super::codec::Writer;
use super::super::connection::Event;
use super::super::delivery::{Disposition, NotSent, Outgoing};
use super::super::disposition::Disposition as DispositionFrame;
use super::super::limits::Limits;
use super::super::link::{End, Head, LinkId, Role, Sending, Stage};
use super::super::performative::Performative;
use super::super::serial;
use super::super::states::without_details;
use super::super::transfer::Transfer;
use super::{Session, Shared};

/// The most that a transfer has before its payload, in bytes: frame header 8, descriptor and list 6, handle, delivery-id and
/// message-format 5 each, delivery-tag 34, and 7 of one byte.
const TRANSFER_MAX_BYTES: usize = 8 + 6 + 3 * 5 + 34 + 7;

/// The snd-settle-mode with which nothing is left unsettled (AMQP 2.8.2).
const SETTLED: u8 = 1;

impl Session {
    /// Sends a message, or as much of it as the window lets through, and gives its delivery-id.
    pub fn send(&mut self, link: LinkId, message: &Outgoing<'_>, shared: &mut Shared<'_>) -> Result<u32, NotSent> {
        let (window, unsettled, id) = (self.remote_incoming_window, self.unsettled.len(), self.next_delivery_id);
        let Some(found) = self.attached(link) else { return Err(NotSent::NoLink) };
        let (handle, End::Sender(sender)) = (found.handle, &mut found.end) else { return Err(NotSent::NoLink) };
        let mut rest = Pieces::new(message.payload);
        if sender.credit == 0 {
            return Err(NotSent::NoCredit);
        }
        if sender.sending.is_some() || window == 0 {
            return Err(NotSent::NoWindow);
        }
        if sender.message_bytes_max > 0 && u64::try_from(rest.left).is_ok_and(|bytes| bytes > sender.message_bytes_max) {
            return Err(NotSent::TooLarge);
        }
        let settled = match sender.snd_settle_mode {
            0 => false,
            SETTLED => true,
            _ => message.settled,
        };
        // By the link's mode alone, as in `sendable`: a message that leaves settled on a link of both kinds waits as well.
        if sender.snd_settle_mode != SETTLED && unsettled >= shared.limits.unsettled_deliveries {
            return Err(NotSent::Unsettled);
        }
        if !shared.output.has_room() {
            return Err(NotSent::OutputFull);
        }
        sender.advance();
        self.next_delivery_id = id.wrapping_add(1);
        if !settled {
            self.unsettled.push_back((id, link));
        }
        let head = Head { id, tag: message.tag, message_format: message.message_format, settled };
        if !self.send_pieces(handle, head, &mut rest, shared) {
            self.keep_rest(link, head, &rest);
        }
        Ok(id)
    }

    /// The window may have opened: sends what has begun, link after link.
    pub fn send_rest(&mut self, shared: &mut Shared<'_>) {
        if self.remote_incoming_window == 0 || !self.holds_back {
            return;
        }
        self.holds_back = false;
        let waits = |link: &super::Link| matches!(&link.end, End::Sender(sender) if sender.sending.is_some());
        let waiting: Vec<LinkId> = self.links.iter().filter(|(_, link)| waits(link)).map(|(_, link)| link.id).collect();
        for link in waiting {
            let Some(found) = self.attached(link) else { continue };
            let (handle, End::Sender(sender)) = (found.handle, &mut found.end) else { continue };
            let Some(sending) = sender.sending.take() else { continue };
            let Sending { head, rest } = *sending;
            let pieces = [&rest[..]];
            let mut rest = Pieces::new(&pieces);
            if !self.send_pieces(handle, head, &mut rest, shared) {
                // Those behind it wait as well.
                self.keep_rest(link, head, &rest);
                return;
            }
            if head.settled {
                shared.events.push_back(Event::Sent { link, delivery: head.id });
            }
            let Some(End::Sender(sender)) = self.attached(link).map(|link| &mut link.end) else { continue };
            if sender.drained {
                self.drained(link, shared);
            } else if sender.is_ready() {
                shared.events.push_back(Event::Credit { link, drain: sender.draining });
            }
        }
    }

    /// The caller has nothing (more) to send on a link that is drained: the rest of the credit is consumed, and the peer told so
    /// (AMQP 2.6.7).
    pub fn drained(&mut self, link: LinkId, shared: &mut Shared<'_>) {
        let Some(End::Sender(sender)) = self.attached(link).map(|link| &mut link.end) else { return };
        if !sender.draining {
            return;
        }
        if sender.sending.is_some() {
            sender.drained = true;
            return;
        }
        sender.consume_credit();
        self.write_flow(Some(link.handle), shared.output);
        if let Some(End::Sender(sender)) = self.attached(link).map(|link| &mut link.end) {
            sender.draining = false;
        }
    }

    /// How many messages may be sent on a link now, as far as the peer goes: none while it leaves too many unsettled.
    pub fn sendable(&self, link: LinkId, limits: &Limits) -> u32 {
        let room = u32::try_from(limits.unsettled_deliveries.saturating_sub(self.unsettled.len())).unwrap_or(u32::MAX);
        match self.links.get(link.handle) {
            Some(found) if found.id == link && found.stage == Stage::Attached => match &found.end {
                End::Sender(sender) if !sender.is_ready() || self.remote_incoming_window == 0 => 0,
                End::Sender(sender) if sender.snd_settle_mode == SETTLED => sender.credit,
                End::Sender(sender) => sender.credit.min(room),
                End::Receiver(_) | End::Gone => 0,
            },
            Some(_) | None => 0,
        }
    }

    /// Whether a part of a message waits for the window.
    pub fn is_sending(&self, link: LinkId) -> bool {
        let found = self.links.get(link.handle).filter(|found| found.id == link);
        matches!(found.map(|found| &found.end), Some(End::Sender(sender)) if sender.sending.is_some())
    }

    /// How many messages the peer has granted on a link.
    pub fn credit(&self, link: LinkId) -> u32 {
        match self.links.get(link.handle).filter(|found| found.id == link).map(|found| &found.end) {
            Some(End::Sender(sender)) => sender.credit,
            Some(End::Receiver(_) | End::Gone) | None => 0,
        }
    }

    /// The peer, as a receiver, speaks of deliveries.
    pub fn settled_by_receiver(&mut self, disposition: DispositionFrame, shared: &mut Shared<'_>) {
        let DispositionFrame { first, last, settled, state, .. } = disposition;
        let last = last.unwrap_or(first);
        let range = self.unsettled_within(first, last);
        if range.is_empty() {
            return;
        }
        let says_something = settled || state.as_ref().is_some_and(|state| !state.is_received());
        if !says_something {
            return;
        }
        let deliveries = self.unsettled.range(range.clone()).map(|&(id, link)| (link, id)).collect();
        shared.events.push_back(Event::Disposition(Disposition { deliveries, state, settled }));
        if settled {
            self.forget_unsettled(shared, |unsettled| drop(unsettled.drain(range)));
        }
    }

    /// The caller forgets a range of deliveries, and tells the peer once for all of them. Whatever else the peer put into the state, it
    /// knows: a state comes back without it.
    pub fn settle_sent(&mut self, first: u32, last: u32, state: Option<DeliveryState>, shared: &mut Shared<'_>) {
        let range = self.unsettled_within(first, last);
        if range.is_empty() {
            return;
        }
        self.forget_unsettled(shared, |unsettled| drop(unsettled.drain(range)));
        let state = state.map(without_details);
        let said = DispositionFrame { role: Role::Sender, first, last: Some(last), settled: true, state, batchable: false };
        shared.output.performative(self.channel, &Performative::Disposition(said));
    }

    /// Where the deliveries of a range lie: they are in the order of their ids, so it is one stretch of them.
    fn unsettled_within(&self, first: u32, last: u32) -> Range<usize> {
        let Some(&(oldest, _)) = self.unsettled.front() else { return 0..0 };
        let behind = |id| serial::distance(oldest, id);
        let start = self.unsettled.partition_point(|(id, _)| behind(*id) < behind(first));
        let end = self.unsettled.partition_point(|(id, _)| behind(*id) <= behind(last));
        start..end.max(start)
    }

    /// Writes transfers while the window is open and something is left; says whether nothing is.
    fn send_pieces(&mut self, handle: u32, head: Head, rest: &mut Pieces<'_>, shared: &mut Shared<'_>) -> bool {
        let payload_max = shared.output.frame_max_bytes() - TRANSFER_MAX_BYTES;
        loop {
            if self.remote_incoming_window == 0 {
                return false;
            }
            let size = rest.left.min(payload_max);
            let more = size < rest.left;
            let transfer = Transfer {
                handle,
                delivery_id: Some(head.id),
                delivery_tag: Some(head.tag),
                message_format: Some(head.message_format),
                settled: Some(head.settled),
                more,
                ..Transfer::default()
            };
            shared.output.frame(self.channel, |body| {
                transfer.write(&mut Writer(body));
                rest.copy(size, body);
            });
            self.next_outgoing_id = self.next_outgoing_id.wrapping_add(1);
            self.remote_incoming_window -= 1;
            if !more {
                return true;
            }
        }
    }

    fn keep_rest(&mut self, link: LinkId, head: Head, rest: &Pieces<'_>) {
        if let Some(End::Sender(sender)) = self.attached(link).map(|link| &mut link.end) {
            sender.sending = Some(Box::new(Sending { head, rest: rest.to_bytes() }));
            self.holds_back = true;
        }
    }
}

/// What is left of a message that lies in pieces.
#[derive(Debug)]
struct Pieces<'a> {
    pieces: &'a [&'a [u8]],
    /// What of the first piece was taken.
    offset: usize,
    left: usize,
}

impl<'a> Pieces<'a> {
    fn new(pieces: &'a [&'a [u8]]) -> Self {
        Self { pieces, offset: 0, left: pieces.iter().map(|piece| piece.len()).sum() }
    }

    /// Appends the next `size` bytes, which must be left.
    fn copy(&mut self, mut size: usize, output: &mut Vec<u8>) {
        self.left -= size;
        while let (1.., [first, others @ ..]) = (size, self.pieces) {
            let taken = size.min(first.len() - self.offset);
            output.extend_from_slice(&first[self.offset..self.offset + taken]);
            size -= taken;
            self.offset += taken;
            if self.offset == first.len() {
                (self.pieces, self.offset) = (others, 0);
            }
        }
    }

    fn to_bytes(&self) -> Bytes {
        let mut rest = Vec::with_capacity(self.left);
        Self { pieces: self.pieces, ..*self }.copy(self.left, &mut rest);
        rest.into()
    }
}
