//! Messages that come: transfers, their window, and the caller's answers.

use fe2o3_amqp_types::definitions::{AmqpError, SessionError};
use fe2o3_amqp_types::messaging::DeliveryState;

use super::super::connection::Event;
use super::super::delivery::Delivery;
use super::super::error::{Fault, cut};
use super::super::limits::INCOMING_WINDOW_TRANSFERS;
use super::super::link::{End, LinkId, Payload, Stage};
use super::super::serial;
use super::super::transfer::Transfer;
use super::{Session, Shared};

impl Session {
    /// A transfer has come.
    pub fn transfer(&mut self, transfer: &Transfer, payload: Payload, shared: &mut Shared<'_>) -> Result<(), Fault> {
        self.incoming_window = self
            .incoming_window
            .checked_sub(1)
            .ok_or_else(|| Fault::session(SessionError::WindowViolation, "a transfer came although the session's window was closed"))?;
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        let handle = transfer.handle;
        let link = self.links.get_mut(handle).ok_or_else(|| Fault::unattached(handle))?;
        let id = link.id;
        if link.stage != Stage::Detaching {
            let End::Receiver(receiver) = &mut link.end else {
                return Err(Fault::link(handle, AmqpError::NotAllowed, "a transfer came from a receiver"));
            };
            if !receiver.is_assembling() && transfer.delivery_id.is_some() {
                // They need not follow each other: some clients count frames.
                if let (Some(last), Some(id)) = (self.last_incoming_delivery, transfer.delivery_id)
                    && serial::distance(last, id) <= 0
                {
                    return Err(Fault::session(AmqpError::InvalidField, "delivery-ids must rise"));
                }
                self.last_incoming_delivery = transfer.delivery_id;
            }
            let before = receiver.pieces_bytes();
            let whole = receiver.transfer(transfer, payload, shared.limits.message_bytes);
            shared.load.pieces_bytes = (shared.load.pieces_bytes + receiver.pieces_bytes()).saturating_sub(before);
            if shared.load.pieces_bytes > shared.limits.pieces_bytes {
                return Err(Fault::connection(AmqpError::ResourceLimitExceeded, "too many messages have come in part"));
            }
            if let Some(message) = whole? {
                shared.events.push_back(Event::Delivery(Delivery {
                    link: id,
                    id: message.id,
                    tag: message.tag,
                    message_format: message.message_format,
                    settled: message.settled,
                    payload: message.payload,
                }));
            }
            self.top_up(id, shared);
        }
        if self.incoming_window < INCOMING_WINDOW_TRANSFERS / 2 {
            self.write_flow(None, shared.output);
        }
        Ok(())
    }

    /// The peer, as a sender, has settled what the hub has answered.
    pub fn settled_by_sender(&mut self, first: u32, last: u32, shared: &mut Shared<'_>) {
        let mut due = Vec::new();
        for (_, link) in self.links.iter_mut() {
            if let End::Receiver(receiver) = &mut link.end
                && receiver.second
            {
                receiver.settled_by_peer(first, last);
                due.push(link.id);
            }
        }
        for link in due {
            self.top_up(link, shared);
        }
    }

    /// The caller answers a delivery.
    pub fn settle(&mut self, link: LinkId, delivery: u32, state: DeliveryState, shared: &mut Shared<'_>) {
        let Some(found) = self.attached(link) else { return };
        let End::Receiver(receiver) = &mut found.end else { return };
        let settled = receiver.answered(delivery);
        match state {
            DeliveryState::Accepted(_) if settled => shared.output.accept(self.channel, delivery),
            DeliveryState::Rejected(mut rejected) => {
                rejected.error = rejected.error.map(cut);
                self.write_outcome(delivery, settled, DeliveryState::Rejected(rejected), shared.output);
            }
            state => self.write_outcome(delivery, settled, state, shared.output),
        }
        self.top_up(link, shared);
    }

    fn top_up(&mut self, link: LinkId, shared: &mut Shared<'_>) {
        let Some(found) = self.attached(link) else { return };
        if let End::Receiver(receiver) = &mut found.end
            && receiver.top_up()
        {
            self.write_flow(Some(link.handle), shared.output);
        }
    }
}
