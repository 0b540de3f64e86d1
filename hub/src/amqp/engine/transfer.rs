//! `transfer` (AMQP 2.7.5), by hand: it is what the time goes into.

use fe2o3_amqp_types::messaging::DeliveryState;

use super::codec::{Fields, Malformed, Writer};
use super::delivery::DeliveryTag;
use super::performative::code;
use super::states::{read_state, write_state};

/// A piece of a message, or a whole one; the payload follows it in the frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transfer {
    /// The link.
    pub handle: u32,
    /// Set on the first transfer of a delivery.
    pub delivery_id: Option<u32>,
    /// Set on the first transfer of a delivery.
    pub delivery_tag: Option<DeliveryTag>,
    /// 0 is AMQP's own; Azure's batches have another.
    pub message_format: Option<u32>,
    /// Whether the sender has forgotten it already; false when it is not said.
    pub settled: Option<bool>,
    /// Whether the message goes on in another transfer.
    pub more: bool,
    /// 0 first, 1 second.
    pub rcv_settle_mode: Option<u8>,
    /// The state at the sender, for resumed deliveries.
    pub state: Option<DeliveryState>,
    /// A delivery of a resumed link.
    pub resume: bool,
    /// The delivery comes to nothing.
    pub aborted: bool,
    /// Whether the answer may wait for company.
    pub batchable: bool,
}

impl Transfer {
    /// From the fields of its list.
    pub(super) fn read(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let transfer = Self {
            handle: fields.uint()?.ok_or(Malformed::Missing("transfer's handle"))?,
            delivery_id: fields.uint()?,
            delivery_tag: fields.binary()?.map(|tag| DeliveryTag::new(tag).ok_or(Malformed::OutOfRange("delivery-tag"))).transpose()?,
            message_format: fields.uint()?,
            settled: fields.boolean()?,
            more: fields.boolean()?.unwrap_or(false),
            rcv_settle_mode: fields.ubyte()?,
            state: read_state(&mut fields)?,
            resume: fields.boolean()?.unwrap_or(false),
            aborted: fields.boolean()?.unwrap_or(false),
            batchable: fields.boolean()?.unwrap_or(false),
        };
        fields.end()?;
        Ok(transfer)
    }

    /// All eleven fields; the payload is to follow.
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.list(code::TRANSFER, 11, |fields| {
            fields.uint(self.handle);
            fields.optional(self.delivery_id, Writer::uint);
            fields.optional(self.delivery_tag.as_ref(), |fields, tag| fields.binary(tag.as_bytes()));
            fields.optional(self.message_format, Writer::uint);
            fields.optional(self.settled, Writer::boolean);
            fields.boolean(self.more);
            fields.optional(self.rcv_settle_mode, Writer::ubyte);
            fields.optional(self.state.as_ref(), write_state);
            fields.boolean(self.resume);
            fields.boolean(self.aborted);
            fields.boolean(self.batchable);
        });
    }
}
