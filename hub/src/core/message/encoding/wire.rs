//! Messages as AMQP peers send them (AMQP 3.2): the same sections as in the stored form, and those that are only for the way.

use super::read::{Damaged, Input};
use super::{Parts, read_entries, read_head, section, write};
use crate::core::message::{Body, Message, Value};

/// Takes a message apart, borrowing from it. `header`, `delivery-annotations` and `footer` are for the way that has ended here, and are let
/// fall. Compound values are not looked into: whoever lets the bytes in has seen that they are well-formed.
pub fn decode_wire(bytes: &[u8]) -> Result<Message<'_>, Damaged> {
    let mut input = Input(bytes);
    let mut section = input.section()?;
    for on_the_way in [section::HEADER, section::DELIVERY_ANNOTATIONS] {
        if section == Some(on_the_way) {
            input.encoded_value()?;
            section = input.section()?;
        }
    }
    let mut annotations = Vec::new();
    if section == Some(section::MESSAGE_ANNOTATIONS) {
        annotations = read_entries(&mut input, Input::symbol)?;
        section = input.section()?;
    }
    let (properties, application_properties) = read_head(&mut input, &mut section)?;
    let body = read_body(&mut input, section)?;
    Ok(Message { annotations, properties, application_properties, body })
}

/// Appends a message as a peer reads it.
///
/// What is encoded in it already is well-formed, and symbols are ASCII.
pub fn encode_wire(message: &Message<'_>, out: &mut Vec<u8>) {
    write::message_annotations(&message.annotations, out);
    write::properties(&message.properties, out);
    write::application_properties(&message.application_properties, out);
    write::body(&message.body, out);
}

/// Appends what a peer reads of a stored message before the annotations that are stored with it: what is only for this delivery, and what is
/// stamped at reading. [`Parts::annotation_entries`] and [`Parts::sections`] follow as they are, and that is the message.
pub fn encode_head(delivery: &[(&str, Value<'_>)], stamps: &[(&str, Value<'_>)], parts: &Parts<'_>, out: &mut Vec<u8>) {
    write::delivery_annotations(delivery, out);
    write::begun_message_annotations(stamps, parts.annotation_count.into(), parts.annotation_entries.len(), out);
}

/// The body, behind which a footer may stand. A message without a body is one with nothing in it.
fn read_body<'a>(input: &mut Input<'a>, mut section: Option<u8>) -> Result<Body<'a>, Damaged> {
    let first = section;
    let (mut data, mut lists, mut value) = (Vec::new(), Vec::new(), None);
    while section == first {
        match section {
            Some(section::DATA) => data.push(input.binary()?),
            Some(section::SEQUENCE) => lists.push(input.encoded_list()?),
            Some(section::VALUE) if value.is_none() => value = Some(input.encoded_value()?),
            _ => break,
        }
        section = input.section()?;
    }
    if section == Some(section::FOOTER) {
        input.encoded_value()?;
        section = input.section()?;
    }
    if let Some(other) = section {
        return Err(Damaged::Section(other));
    }
    Ok(match (value, lists.is_empty(), data.is_empty()) {
        (Some(value), ..) => Body::Value(value.into()),
        (None, false, _) => Body::Sequence(lists),
        (None, true, false) => Body::Data(data),
        (None, true, true) => Body::default(),
    })
}
