//! What a message says, as plain text and plain bytes: for MQTT and HTTPS, which have no types.
//!
//! Owns the spellings. Never encodes for a wire: escaping is the protocol's.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Body, MessageId, Value};
use crate::core::command::LockToken;

impl MessageId<'_> {
    /// The id as text, the same for devices and in receipts: a number in decimal, a UUID in RFC 9562's form, bytes in hexadecimal.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Ulong(number) => number.to_string().into(),
            Self::Uuid(bytes) => uuid_text(*bytes).into(),
            Self::Binary(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
            Self::String(text) => Cow::Borrowed(text),
        }
    }
}

impl Value<'_> {
    /// The value as text, without its type: numbers in decimal, a time in ISO 8601, a UUID in RFC 9562's form, whatever has no such
    /// text as the base64 of its bytes. `None` for null.
    #[must_use]
    pub fn to_text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Null => return None,
            Self::Boolean(value) => if *value { "true" } else { "false" }.into(),
            Self::Ubyte(number) => number.to_string().into(),
            Self::Ushort(number) => number.to_string().into(),
            Self::Uint(number) => number.to_string().into(),
            Self::Ulong(number) => number.to_string().into(),
            Self::Byte(number) => number.to_string().into(),
            Self::Short(number) => number.to_string().into(),
            Self::Int(number) => number.to_string().into(),
            Self::Long(number) => number.to_string().into(),
            Self::Float(number) => number.to_string().into(),
            Self::Double(number) => number.to_string().into(),
            Self::Decimal32(bytes) => BASE64.encode(bytes).into(),
            Self::Decimal64(bytes) => BASE64.encode(bytes).into(),
            Self::Decimal128(bytes) => BASE64.encode(bytes).into(),
            Self::Char(character) => character.to_string().into(),
            Self::Timestamp(time) => time.to_string().into(),
            Self::Uuid(bytes) => uuid_text(*bytes).into(),
            Self::Binary(bytes) | Self::Encoded(bytes) => BASE64.encode(bytes).into(),
            Self::String(text) | Self::Symbol(text) => Cow::Borrowed(text),
        })
    }
}

impl Body<'_> {
    /// The payload as bytes: data sections one after the other; a value or a sequence as AMQP encodes it, for there is no other form.
    #[must_use]
    pub fn to_bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Data(sections) | Self::Sequence(sections) => match &sections[..] {
                [only] => Cow::Borrowed(only),
                several => several.concat().into(),
            },
            Self::Value(value) => Cow::Borrowed(value),
        }
    }
}

/// RFC 9562's form, in which lock tokens are written too.
fn uuid_text(bytes: [u8; 16]) -> String {
    LockToken(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::time::UnixMillis;

    #[test]
    fn every_type_has_a_text() {
        let texts = [
            (Value::Null, None),
            (Value::Boolean(true), Some("true")),
            (Value::Ubyte(255), Some("255")),
            (Value::Long(i64::MIN), Some("-9223372036854775808")),
            (Value::Ulong(u64::MAX), Some("18446744073709551615")),
            (Value::Float(0.1), Some("0.1")),
            (Value::Double(-1.5e300), Some(&*(-1.5e300_f64).to_string())),
            (Value::Double(f64::NAN), Some("NaN")),
            (Value::Char('é'), Some("é")),
            (Value::Timestamp(UnixMillis(1_700_000_000_000)), Some("2023-11-14T22:13:20.000Z")),
            (Value::Uuid([0x12; 16]), Some("12121212-1212-1212-1212-121212121212")),
            (Value::Binary(b"\0\xff"[..].into()), Some("AP8=")),
            (Value::Decimal32([1, 2, 3, 4]), Some("AQIDBA==")),
            (Value::String("a b".into()), Some("a b")),
            (Value::Symbol("utf-8".into()), Some("utf-8")),
        ];
        for (value, expected) in &texts {
            assert_eq!(value.to_text().as_deref(), *expected, "{value:?}");
        }
    }

    #[test]
    fn every_kind_of_id_has_a_text() {
        assert_eq!(MessageId::Ulong(7).to_text(), "7");
        assert_eq!(MessageId::Uuid([0x12; 16]).to_text(), "12121212-1212-1212-1212-121212121212");
        assert_eq!(MessageId::Binary(b"id"[..].into()).to_text(), "6964");
        assert_eq!(MessageId::String("é".into()).to_text(), "é");
    }

    #[test]
    fn a_payload_of_several_sections_is_one() {
        assert_eq!(*Body::Data(vec![b"a"[..].into(), b"bc"[..].into()]).to_bytes(), *b"abc");
        assert!(matches!(Body::Data(vec![b"a"[..].into()]).to_bytes(), Cow::Borrowed(b"a")));
        assert_eq!(*Body::Value(b"\xa1\x01x"[..].into()).to_bytes(), *b"\xa1\x01x");
    }
}
