//! `flow` (AMQP 2.7.4), by hand.

use fe2o3_amqp_types::definitions::Fields as Properties;

use super::codec::{Fields, Malformed, Writer};
use super::performative::code;

/// The windows of a session and, with a handle, the credit of a link.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    /// Null until the peer's `begin` has come.
    pub next_incoming_id: Option<u32>,
    /// Transfers that its sender can take.
    pub incoming_window: u32,
    /// The id of its sender's next transfer.
    pub next_outgoing_id: u32,
    /// Transfers that its sender may send.
    pub outgoing_window: u32,
    /// The link, if one is meant.
    pub handle: Option<u32>,
    /// Deliveries on the link so far.
    pub delivery_count: Option<u32>,
    /// Deliveries that may follow.
    pub link_credit: Option<u32>,
    /// Deliveries that wait at the sender.
    pub available: Option<u32>,
    /// Whether the credit is to be used up at once.
    pub drain: bool,
    /// Whether a flow is asked for in return.
    pub echo: bool,
    /// The link's state, of which AMQP defines nothing.
    pub properties: Option<Properties>,
}

impl Flow {
    /// From the fields of its list.
    pub(super) fn read(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let flow = Self {
            next_incoming_id: fields.uint()?,
            incoming_window: fields.uint()?.ok_or(Malformed::Missing("flow's incoming-window"))?,
            next_outgoing_id: fields.uint()?.ok_or(Malformed::Missing("flow's next-outgoing-id"))?,
            outgoing_window: fields.uint()?.ok_or(Malformed::Missing("flow's outgoing-window"))?,
            handle: fields.uint()?,
            delivery_count: fields.uint()?,
            link_credit: fields.uint()?,
            available: fields.uint()?,
            drain: fields.boolean()?.unwrap_or(false),
            echo: fields.boolean()?.unwrap_or(false),
            properties: fields.typed("flow's properties")?,
        };
        fields.end()?;
        Ok(flow)
    }

    /// All eleven fields.
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.list(code::FLOW, 11, |fields| {
            fields.optional(self.next_incoming_id, Writer::uint);
            fields.uint(self.incoming_window);
            fields.uint(self.next_outgoing_id);
            fields.uint(self.outgoing_window);
            fields.optional(self.handle, Writer::uint);
            fields.optional(self.delivery_count, Writer::uint);
            fields.optional(self.link_credit, Writer::uint);
            fields.optional(self.available, Writer::uint);
            fields.boolean(self.drain);
            fields.boolean(self.echo);
            fields.optional(self.properties.as_ref(), |fields, properties| fields.typed(properties));
        });
    }
}
