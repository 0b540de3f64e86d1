//! Delivery states, outcomes and errors (AMQP 2.8.14, 3.4), read by `serde_amqp`, written by hand with every field.

use fe2o3_amqp_types::definitions::Error;
use fe2o3_amqp_types::messaging::{Accepted, DeliveryState, Modified, Outcome, Rejected};

use super::codec::{Fields, Malformed, Writer};

/// Descriptor codes.
mod code {
    pub(super) const ERROR: u8 = 0x1d;
    pub(super) const RECEIVED: u8 = 0x23;
    pub(super) const ACCEPTED: u8 = 0x24;
    pub(super) const REJECTED: u8 = 0x25;
    pub(super) const RELEASED: u8 = 0x26;
    pub(super) const MODIFIED: u8 = 0x27;
}

/// The next field as a delivery state.
pub fn read_state(fields: &mut Fields<'_>) -> Result<Option<DeliveryState>, Malformed> {
    match fields.encoded()? {
        None => Ok(None),
        // What nearly all of them are, in the three ways of writing it.
        Some(&[0x00, 0x53, code::ACCEPTED, 0x45 | 0xc0 | 0xd0, ref rest @ ..]) if rest.iter().all(|byte| *byte < 5) => {
            Ok(Some(DeliveryState::Accepted(Accepted {})))
        }
        Some(bytes) => serde_amqp::from_slice(bytes).map(Some).map_err(|_| Malformed::Type("the delivery state")),
    }
}

/// The next field as an error.
pub fn read_error(fields: &mut Fields<'_>) -> Result<Option<Error>, Malformed> {
    fields.typed("the error")
}

pub fn write_error(writer: &mut Writer<'_>, error: &Error) {
    writer.list(code::ERROR, 3, |fields| {
        fields.typed(&error.condition);
        fields.optional(error.description.as_deref(), Writer::string);
        fields.optional(error.info.as_deref(), |fields, info| fields.typed(info));
    });
}

pub fn write_state(writer: &mut Writer<'_>, state: &DeliveryState) {
    match state {
        DeliveryState::Accepted(_) => writer.list(code::ACCEPTED, 0, |_| {}),
        DeliveryState::Released(_) => writer.list(code::RELEASED, 0, |_| {}),
        DeliveryState::Rejected(rejected) => write_rejected(writer, rejected),
        DeliveryState::Modified(modified) => write_modified(writer, modified),
        DeliveryState::Received(received) => writer.list(code::RECEIVED, 2, |fields| {
            fields.uint(received.section_number);
            fields.ulong(received.section_offset);
        }),
    }
}

/// The same with nothing in it that could be large.
pub fn without_details(state: DeliveryState) -> DeliveryState {
    match state {
        DeliveryState::Rejected(_) => DeliveryState::Rejected(Rejected { error: None }),
        DeliveryState::Modified(modified) => DeliveryState::Modified(Modified { message_annotations: None, ..modified }),
        DeliveryState::Accepted(_) | DeliveryState::Released(_) | DeliveryState::Received(_) => state,
    }
}

pub fn write_outcome(writer: &mut Writer<'_>, outcome: &Outcome) {
    match outcome {
        Outcome::Accepted(_) => writer.list(code::ACCEPTED, 0, |_| {}),
        Outcome::Released(_) => writer.list(code::RELEASED, 0, |_| {}),
        Outcome::Rejected(rejected) => write_rejected(writer, rejected),
        Outcome::Modified(modified) => write_modified(writer, modified),
    }
}

fn write_rejected(writer: &mut Writer<'_>, rejected: &Rejected) {
    writer.list(code::REJECTED, 1, |fields| fields.optional(rejected.error.as_ref(), write_error));
}

fn write_modified(writer: &mut Writer<'_>, modified: &Modified) {
    writer.list(code::MODIFIED, 3, |fields| {
        fields.optional(modified.delivery_failed, Writer::boolean);
        fields.optional(modified.undeliverable_here, Writer::boolean);
        fields.optional(modified.message_annotations.as_ref(), |fields, annotations| fields.typed(annotations));
    });
}
