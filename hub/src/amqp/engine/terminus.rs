//! Sources and targets (AMQP 3.5), read by `serde_amqp`, written by hand with every field.

use fe2o3_amqp_types::messaging::{Source, Target};

use super::codec::{Fields, Input, Malformed, Writer};
use super::states::write_outcome;

/// Descriptor codes.
mod code {
    pub(super) const SOURCE: u8 = 0x28;
    pub(super) const TARGET: u8 = 0x29;
    pub(super) const COORDINATOR: u64 = 0x30;
}

/// What a sender attaches to.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyTarget {
    /// A node.
    Target(Box<Target>),
    /// A transaction coordinator (AMQP 4.5.1), which the hub does not have.
    Coordinator,
}

/// The next field as a source.
pub fn read_source(fields: &mut Fields<'_>) -> Result<Option<Box<Source>>, Malformed> {
    fields.typed("the source")
}

/// The next field as a target.
pub fn read_target(fields: &mut Fields<'_>) -> Result<Option<AnyTarget>, Malformed> {
    let Some(bytes) = fields.encoded()? else { return Ok(None) };
    if Input(bytes).descriptor() == Ok(code::COORDINATOR) {
        return Ok(Some(AnyTarget::Coordinator));
    }
    let target = serde_amqp::from_slice(bytes).map_err(|_| Malformed::Type("the target"))?;
    Ok(Some(AnyTarget::Target(Box::new(target))))
}

pub fn write_source(writer: &mut Writer<'_>, source: &Source) {
    writer.list(code::SOURCE, 11, |fields| {
        fields.optional(source.address.as_deref(), Writer::string);
        fields.typed(&source.durable);
        fields.typed(&source.expiry_policy);
        fields.uint(source.timeout);
        fields.boolean(source.dynamic);
        fields.optional(source.dynamic_node_properties.as_ref(), |fields, properties| fields.typed(properties));
        fields.optional(source.distribution_mode.as_ref(), |fields, mode| fields.typed(mode));
        fields.optional(source.filter.as_ref(), |fields, filter| fields.typed(filter));
        fields.optional(source.default_outcome.as_ref(), write_outcome);
        fields.optional(source.outcomes.as_ref(), |fields, outcomes| fields.typed(outcomes));
        fields.optional(source.capabilities.as_ref(), |fields, capabilities| fields.typed(capabilities));
    });
}

pub fn write_target(writer: &mut Writer<'_>, target: &Target) {
    writer.list(code::TARGET, 7, |fields| {
        fields.optional(target.address.as_deref(), Writer::string);
        fields.typed(&target.durable);
        fields.typed(&target.expiry_policy);
        fields.uint(target.timeout);
        fields.boolean(target.dynamic);
        fields.optional(target.dynamic_node_properties.as_ref(), |fields, properties| fields.typed(properties));
        fields.optional(target.capabilities.as_ref(), |fields, capabilities| fields.typed(capabilities));
    });
}
