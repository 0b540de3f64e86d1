//! The form in which a message is kept: AMQP 1.0's own encoding (part 1.6), made once when the message comes in, so that an AMQP reader
//! is sent a copy of it.
//!
//! ```text
//! u32 LE  length of the annotation entries, in bytes
//! u16 LE  number of annotations
//!         annotation entries: key (symbol) and value, one after the other, without a map around them, so that a reader can
//!         put the ones that are stamped at reading (x-opt-sequence-number, …) next to them and close the map
//!         section 0x73 properties, a list             left out when no field is set
//!         section 0x74 application-properties, a map  left out when there are none
//!         section 0x75 data, one or more; or one 0x77 amqp-value; or one or more 0x76 amqp-sequence
//! ```
//!
//! Owns the two directions and the one look-up that filters need. Never judges a message: what may be in it was decided before.
//! Lengths are AMQP's `u32`; the hub takes no message above 256 KiB, so none comes near.

mod read;
mod wire;
mod write;

use std::borrow::Cow;

use super::{Body, Message, Properties, Value};
pub use read::Damaged;
use read::{Fields, Input};
pub use wire::{decode_wire, encode_head, encode_wire};

/// Bytes before the annotation entries: their length and their number.
const HEADER_BYTES: usize = 6;

/// Descriptor codes of the sections (AMQP 3.2.1 to 3.2.9).
mod section {
    pub(super) const HEADER: u8 = 0x70;
    pub(super) const DELIVERY_ANNOTATIONS: u8 = 0x71;
    pub(super) const MESSAGE_ANNOTATIONS: u8 = 0x72;
    pub(super) const PROPERTIES: u8 = 0x73;
    pub(super) const APPLICATION_PROPERTIES: u8 = 0x74;
    pub(super) const DATA: u8 = 0x75;
    pub(super) const SEQUENCE: u8 = 0x76;
    pub(super) const VALUE: u8 = 0x77;
    pub(super) const FOOTER: u8 = 0x78;
}

/// Annotations that many messages share, encoded once: what the hub stamps on everything that one session sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedAnnotations {
    count: u16,
    entries: Vec<u8>,
}

impl EncodedAnnotations {
    /// Encodes them, in order. The hub stamps about half a dozen; never more than 65,535.
    #[must_use]
    pub fn new(annotations: &[(&str, Value<'_>)]) -> Self {
        let mut entries = Vec::new();
        for (name, value) in annotations {
            write::symbol(name, &mut entries);
            write::value(value, &mut entries);
        }
        Self { count: u16::try_from(annotations.len()).expect("the hub stamps a handful of annotations"), entries }
    }
}

/// Appends the stored form to `out`, `stamps` after the message's own annotations. Allocates nothing but what `out` needs to grow.
///
/// The message and the stamps have at most 65,535 annotations together (a client may set a handful, the hub adds another), what is
/// already encoded in it ([`Value::Encoded`], [`Body::Value`], [`Body::Sequence`]) is well-formed, and symbols are ASCII.
pub fn encode(message: &Message<'_>, stamps: &EncodedAnnotations, out: &mut Vec<u8>) {
    let header = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    for (name, value) in &message.annotations {
        write::symbol(name, out);
        write::value(value, out);
    }
    out.extend_from_slice(&stamps.entries);
    let length = write::length(out.len() - header - HEADER_BYTES);
    let count = u16::try_from(message.annotations.len() + usize::from(stamps.count)).expect("clients may set a handful of annotations");
    out[header..header + 4].copy_from_slice(&length.to_le_bytes());
    out[header + 4..header + HEADER_BYTES].copy_from_slice(&count.to_le_bytes());

    write::properties(&message.properties, out);
    write::application_properties(&message.application_properties, out);
    write::body(&message.body, out);
}

/// Takes the stored form apart, borrowing from it. Annotations come in the order in which they were encoded, the stamps last.
pub fn decode(content: &[u8]) -> Result<Message<'_>, Damaged> {
    let Parts { annotation_count, annotation_entries, sections } = split(content)?;
    let mut input = Input(annotation_entries);
    let annotations = (0..annotation_count).map(|_| input.pair(Input::symbol)).collect::<Result<_, _>>()?;
    input.end()?;

    let mut input = Input(sections);
    let mut section = input.section()?;
    let (properties, application_properties) = read_head(&mut input, &mut section)?;
    let body = read_body(&mut input, section)?;
    Ok(Message { annotations, properties, application_properties, body })
}

/// The stored form's outermost parts, for those who copy rather than understand it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// How many annotations the entries are.
    pub annotation_count: u16,
    /// Keys and values of the annotations, without a map's header.
    pub annotation_entries: &'a [u8],
    /// The bare message: properties, application-properties and body, each a complete AMQP section.
    pub sections: &'a [u8],
}

/// Splits the stored form without looking into its parts.
pub fn split(content: &[u8]) -> Result<Parts<'_>, Damaged> {
    let (header, rest) = content.split_first_chunk::<HEADER_BYTES>().ok_or(Damaged::Truncated)?;
    let [l0, l1, l2, l3, c0, c1] = *header;
    let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).map_err(|_| Damaged::Truncated)?;
    let (annotation_entries, sections) = rest.split_at_checked(length).ok_or(Damaged::Truncated)?;
    Ok(Parts { annotation_count: u16::from_le_bytes([c0, c1]), annotation_entries, sections })
}

/// The last annotation of this name: the hub's stamp when the hub stamps it. Looks at nothing behind the annotations.
pub fn find_annotation<'a>(content: &'a [u8], name: &str) -> Result<Option<Value<'a>>, Damaged> {
    let parts = split(content)?;
    let mut input = Input(parts.annotation_entries);
    let mut found = None;
    for _ in 0..parts.annotation_count {
        let (key, value) = input.pair(Input::symbol)?;
        if key == name {
            found = Some(value);
        }
    }
    Ok(found)
}

/// The sections before the body. `section` is the code of the next one, before and after.
fn read_head<'a>(input: &mut Input<'a>, section: &mut Option<u8>) -> Result<(Properties<'a>, Entries<'a>), Damaged> {
    let (mut properties, mut application_properties) = (Properties::default(), Vec::new());
    if *section == Some(section::PROPERTIES) {
        properties = read_properties(input)?;
        *section = input.section()?;
    }
    if *section == Some(section::APPLICATION_PROPERTIES) {
        application_properties = read_entries(input, Input::string)?;
        *section = input.section()?;
    }
    Ok((properties, application_properties))
}

/// Names and values, in their order.
type Entries<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

/// A map with one kind of keys.
fn read_entries<'a>(input: &mut Input<'a>, key: fn(&mut Input<'a>) -> Result<Cow<'a, str>, Damaged>) -> Result<Entries<'a>, Damaged> {
    let (mut entries, count) = input.map()?;
    let read = (0..count).map(|_| entries.pair(key)).collect::<Result<_, _>>()?;
    entries.end()?;
    Ok(read)
}

fn read_properties<'a>(input: &mut Input<'a>) -> Result<Properties<'a>, Damaged> {
    let mut fields = Fields::of(input.list()?);
    let properties = Properties {
        message_id: fields.next(Input::message_id)?,
        user_id: fields.next(Input::binary)?,
        to: fields.next(Input::string)?,
        subject: fields.next(Input::string)?,
        reply_to: fields.next(Input::string)?,
        correlation_id: fields.next(Input::message_id)?,
        content_type: fields.next(Input::symbol)?,
        content_encoding: fields.next(Input::symbol)?,
        absolute_expiry_time: fields.next(Input::timestamp)?,
        creation_time: fields.next(Input::timestamp)?,
        group_id: fields.next(Input::string)?,
        group_sequence: fields.next(Input::uint)?,
        reply_to_group_id: fields.next(Input::string)?,
    };
    fields.end()?;
    Ok(properties)
}

/// The body sections, of which `first` is the code of the first; its content is next in `input`.
fn read_body<'a>(input: &mut Input<'a>, first: Option<u8>) -> Result<Body<'a>, Damaged> {
    match first {
        None => Ok(Body::Data(Vec::new())),
        Some(section::DATA) => input.sections_of(section::DATA, Input::binary).map(Body::Data),
        Some(section::SEQUENCE) => input.sections_of(section::SEQUENCE, Input::encoded_list).map(Body::Sequence),
        Some(section::VALUE) => {
            let value = input.encoded_value()?;
            input.end()?;
            Ok(Body::Value(value.into()))
        }
        Some(other) => Err(Damaged::Section(other)),
    }
}

#[cfg(test)]
mod tests;
