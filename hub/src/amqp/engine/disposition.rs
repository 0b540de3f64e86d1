//! `disposition` (AMQP 2.7.6), by hand.

use fe2o3_amqp_types::messaging::DeliveryState;

use super::codec::{Fields, Malformed, Writer};
use super::link::Role;
use super::performative::code;
use super::states::{read_state, write_state};

/// What has become of a range of deliveries.
#[derive(Clone, Debug, PartialEq)]
pub struct Disposition {
    /// What its sender is for these deliveries.
    pub role: Role,
    /// The first delivery-id.
    pub first: u32,
    /// The last one; `first` when it is not said.
    pub last: Option<u32>,
    /// Whether its sender has forgotten them.
    pub settled: bool,
    /// The state, for its sender.
    pub state: Option<DeliveryState>,
    /// Whether the answer may wait for company.
    pub batchable: bool,
}

impl Disposition {
    /// From the fields of its list.
    pub(super) fn read(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let disposition = Self {
            role: Role::read(&mut fields)?,
            first: fields.uint()?.ok_or(Malformed::Missing("disposition's first"))?,
            last: fields.uint()?,
            settled: fields.boolean()?.unwrap_or(false),
            state: read_state(&mut fields)?,
            batchable: fields.boolean()?.unwrap_or(false),
        };
        fields.end()?;
        Ok(disposition)
    }

    /// All six fields.
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.list(code::DISPOSITION, 6, |fields| {
            fields.boolean(self.role == Role::Receiver);
            fields.uint(self.first);
            fields.uint(self.last.unwrap_or(self.first));
            fields.boolean(self.settled);
            fields.optional(self.state.as_ref(), write_state);
            fields.boolean(self.batchable);
        });
    }
}
