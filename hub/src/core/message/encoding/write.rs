//! Writes AMQP values (AMQP 1.6) in their most compact forms. Appends only; a compound value's length is patched in place.

use std::borrow::Cow;

use super::section;
use crate::core::message::{Body, MessageId, Properties, Value};

/// A length as AMQP counts it.
pub(super) fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("no message is above 256 KiB, so no part of one is above 4 GiB")
}

/// The properties section, without its trailing nulls; nothing when no field is set.
pub(super) fn properties(properties: &Properties<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    section_header(section::PROPERTIES, out);
    let mut used = 0;
    compound(0xc0, 0xd0, out, |out| {
        let mut fields = FieldWriter { out, written: 0, used: 0 };
        fields.put(properties.message_id.as_ref(), message_id);
        fields.put(properties.user_id.as_deref(), binary);
        fields.put(properties.to.as_deref(), string);
        fields.put(properties.subject.as_deref(), string);
        fields.put(properties.reply_to.as_deref(), string);
        fields.put(properties.correlation_id.as_ref(), message_id);
        fields.put(properties.content_type.as_deref(), symbol);
        fields.put(properties.content_encoding.as_deref(), symbol);
        fields.put(properties.absolute_expiry_time, |time, out| fixed(0x83, time.0.to_be_bytes(), out));
        fields.put(properties.creation_time, |time, out| fixed(0x83, time.0.to_be_bytes(), out));
        fields.put(properties.group_id.as_deref(), string);
        fields.put(properties.group_sequence, uint);
        fields.put(properties.reply_to_group_id.as_deref(), string);
        used = fields.finish();
        used
    });
    if used == 0 {
        out.truncate(start);
    }
}

/// The message-annotations section; nothing when there are none.
pub(super) fn message_annotations(entries: &[(Cow<'_, str>, Value<'_>)], out: &mut Vec<u8>) {
    map_section(section::MESSAGE_ANNOTATIONS, entries, symbol, out);
}

/// The application-properties section; nothing when there are none.
pub(super) fn application_properties(entries: &[(Cow<'_, str>, Value<'_>)], out: &mut Vec<u8>) {
    map_section(section::APPLICATION_PROPERTIES, entries, string, out);
}

/// The delivery-annotations section; nothing when there are none.
pub(super) fn delivery_annotations(entries: &[(&str, Value<'_>)], out: &mut Vec<u8>) {
    map_section(section::DELIVERY_ANNOTATIONS, entries, symbol, out);
}

/// The head of a message-annotations section and the first of its entries; `more` that are encoded already are to follow.
pub(super) fn begun_message_annotations(entries: &[(&str, Value<'_>)], more: usize, more_bytes: usize, out: &mut Vec<u8>) {
    section_header(section::MESSAGE_ANNOTATIONS, out);
    out.push(0xd1);
    let sizes = out.len();
    out.extend_from_slice(&[0; 8]);
    for (name, entry) in entries {
        symbol(name, out);
        value(entry, out);
    }
    let (size, count) = (length(out.len() - sizes - 4 + more_bytes), length(2 * (entries.len() + more)));
    out[sizes..sizes + 4].copy_from_slice(&size.to_be_bytes());
    out[sizes + 4..sizes + 8].copy_from_slice(&count.to_be_bytes());
}

fn map_section<K: AsRef<str>>(code: u8, entries: &[(K, Value<'_>)], key: fn(&str, &mut Vec<u8>), out: &mut Vec<u8>) {
    if entries.is_empty() {
        return;
    }
    section_header(code, out);
    compound(0xc1, 0xd1, out, |out| {
        for (name, entry) in entries {
            key(name.as_ref(), out);
            value(entry, out);
        }
        2 * entries.len()
    });
}

/// The body's sections.
pub(super) fn body(body: &Body<'_>, out: &mut Vec<u8>) {
    match body {
        Body::Data(sections) => {
            for bytes in sections {
                section_header(section::DATA, out);
                binary(bytes, out);
            }
        }
        Body::Value(encoded) => {
            section_header(section::VALUE, out);
            out.extend_from_slice(encoded);
        }
        Body::Sequence(lists) => {
            for encoded in lists {
                section_header(section::SEQUENCE, out);
                out.extend_from_slice(encoded);
            }
        }
    }
}

/// Any value.
pub(super) fn value(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0x40),
        Value::Boolean(true) => out.push(0x41),
        Value::Boolean(false) => out.push(0x42),
        Value::Ubyte(number) => fixed(0x50, [*number], out),
        Value::Ushort(number) => fixed(0x60, number.to_be_bytes(), out),
        Value::Uint(number) => uint(*number, out),
        Value::Ulong(number) => ulong(*number, out),
        Value::Byte(number) => fixed(0x51, number.to_be_bytes(), out),
        Value::Short(number) => fixed(0x61, number.to_be_bytes(), out),
        Value::Int(number) => match i8::try_from(*number) {
            Ok(small) => fixed(0x54, small.to_be_bytes(), out),
            Err(_) => fixed(0x71, number.to_be_bytes(), out),
        },
        Value::Long(number) => match i8::try_from(*number) {
            Ok(small) => fixed(0x55, small.to_be_bytes(), out),
            Err(_) => fixed(0x81, number.to_be_bytes(), out),
        },
        Value::Float(number) => fixed(0x72, number.to_be_bytes(), out),
        Value::Double(number) => fixed(0x82, number.to_be_bytes(), out),
        Value::Decimal32(bytes) => fixed(0x74, *bytes, out),
        Value::Decimal64(bytes) => fixed(0x84, *bytes, out),
        Value::Decimal128(bytes) => fixed(0x94, *bytes, out),
        Value::Char(character) => fixed(0x73, u32::from(*character).to_be_bytes(), out),
        Value::Timestamp(time) => fixed(0x83, time.0.to_be_bytes(), out),
        Value::Uuid(bytes) => fixed(0x98, *bytes, out),
        Value::Binary(bytes) => binary(bytes, out),
        Value::String(text) => string(text, out),
        Value::Symbol(text) => symbol(text, out),
        Value::Encoded(encoded) => out.extend_from_slice(encoded),
    }
}

/// A symbol (AMQP 1.6.21).
pub(super) fn symbol(text: &str, out: &mut Vec<u8>) {
    variable(0xa3, 0xb3, text.as_bytes(), out);
}

fn string(text: &str, out: &mut Vec<u8>) {
    variable(0xa1, 0xb1, text.as_bytes(), out);
}

fn binary(bytes: &[u8], out: &mut Vec<u8>) {
    variable(0xa0, 0xb0, bytes, out);
}

fn uint(number: u32, out: &mut Vec<u8>) {
    match u8::try_from(number) {
        Ok(0) => out.push(0x43),
        Ok(small) => fixed(0x52, [small], out),
        Err(_) => fixed(0x70, number.to_be_bytes(), out),
    }
}

fn ulong(number: u64, out: &mut Vec<u8>) {
    match u8::try_from(number) {
        Ok(0) => out.push(0x44),
        Ok(small) => fixed(0x53, [small], out),
        Err(_) => fixed(0x80, number.to_be_bytes(), out),
    }
}

fn message_id(id: &MessageId<'_>, out: &mut Vec<u8>) {
    match id {
        MessageId::Ulong(number) => ulong(*number, out),
        MessageId::Uuid(bytes) => fixed(0x98, *bytes, out),
        MessageId::Binary(bytes) => binary(bytes, out),
        MessageId::String(text) => string(text, out),
    }
}

fn section_header(code: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x00, 0x53, code]);
}

fn fixed<const N: usize>(constructor: u8, bytes: [u8; N], out: &mut Vec<u8>) {
    out.push(constructor);
    out.extend_from_slice(&bytes);
}

fn variable(constructor8: u8, constructor32: u8, bytes: &[u8], out: &mut Vec<u8>) {
    match u8::try_from(bytes.len()) {
        Ok(short) => out.extend_from_slice(&[constructor8, short]),
        Err(_) => fixed(constructor32, length(bytes.len()).to_be_bytes(), out),
    }
    out.extend_from_slice(bytes);
}

/// A list or map whose `elements` answers how many there are. Written in the short form, and moved when it does not fit in that:
/// nearly all do, and so nobody has to measure beforehand.
fn compound(constructor8: u8, constructor32: u8, out: &mut Vec<u8>, elements: impl FnOnce(&mut Vec<u8>) -> usize) {
    const SHORT_HEADER: usize = 3;
    const LONG_HEADER: usize = 9;
    let start = out.len();
    out.extend_from_slice(&[constructor8, 0, 0]);
    let count = elements(out);
    let end = out.len();
    let bytes = end - start - SHORT_HEADER;
    // AMQP 1.6.23: the size counts the count, which is as wide as itself.
    if let (Ok(size), Ok(count)) = (u8::try_from(bytes + 1), u8::try_from(count)) {
        out[start + 1] = size;
        out[start + 2] = count;
        return;
    }
    out.resize(end + LONG_HEADER - SHORT_HEADER, 0);
    out.copy_within(start + SHORT_HEADER..end, start + LONG_HEADER);
    out[start] = constructor32;
    out[start + 1..start + 5].copy_from_slice(&length(bytes + 4).to_be_bytes());
    out[start + 5..start + LONG_HEADER].copy_from_slice(&length(count).to_be_bytes());
}

/// Writes a composite's fields and forgets the nulls at its end.
struct FieldWriter<'a> {
    out: &'a mut Vec<u8>,
    written: usize,
    used: usize,
}

impl FieldWriter<'_> {
    fn put<T>(&mut self, field: Option<T>, write: impl FnOnce(T, &mut Vec<u8>)) {
        self.written += 1;
        match field {
            Some(field) => {
                write(field, self.out);
                self.used = self.written;
            }
            None => self.out.push(0x40),
        }
    }

    /// How many fields are left.
    fn finish(self) -> usize {
        // A null is one byte.
        self.out.truncate(self.out.len() - (self.written - self.used));
        self.used
    }
}
