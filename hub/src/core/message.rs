//! A message as the hub keeps it, whatever protocol it came by: AMQP's model of a message, because that is the richest of the three.
//!
//! Borrowed from the bytes it was read from, so that taking a message apart and putting it together copies it once.
//! [`encoding`] is its form on disk.

use std::borrow::Cow;

use super::time::UnixMillis;

pub mod encoding;
pub mod text;

/// A message without the annotations that are stamped on it when it is read (sequence number, offset, enqueued time).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message<'a> {
    /// Message annotations: those that a client may set, and the hub's own stamps. Keys are symbols.
    pub annotations: Vec<(Cow<'a, str>, Value<'a>)>,
    /// The bare message's properties section (AMQP 3.2.4).
    pub properties: Properties<'a>,
    /// Application properties, in the order they came (AMQP 3.2.5).
    pub application_properties: Vec<(Cow<'a, str>, Value<'a>)>,
    /// The payload.
    pub body: Body<'a>,
}

/// AMQP 3.2.4, all thirteen fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties<'a> {
    /// message-id.
    pub message_id: Option<MessageId<'a>>,
    /// user-id.
    pub user_id: Option<Cow<'a, [u8]>>,
    /// to.
    pub to: Option<Cow<'a, str>>,
    /// subject.
    pub subject: Option<Cow<'a, str>>,
    /// reply-to.
    pub reply_to: Option<Cow<'a, str>>,
    /// correlation-id.
    pub correlation_id: Option<MessageId<'a>>,
    /// content-type, a symbol.
    pub content_type: Option<Cow<'a, str>>,
    /// content-encoding, a symbol.
    pub content_encoding: Option<Cow<'a, str>>,
    /// absolute-expiry-time.
    pub absolute_expiry_time: Option<UnixMillis>,
    /// creation-time.
    pub creation_time: Option<UnixMillis>,
    /// group-id.
    pub group_id: Option<Cow<'a, str>>,
    /// group-sequence.
    pub group_sequence: Option<u32>,
    /// reply-to-group-id.
    pub reply_to_group_id: Option<Cow<'a, str>>,
}

/// A message-id or correlation-id with its AMQP type (AMQP 3.2.11 to 3.2.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageId<'a> {
    /// message-id-ulong.
    Ulong(u64),
    /// message-id-uuid.
    Uuid([u8; 16]),
    /// message-id-binary.
    Binary(Cow<'a, [u8]>),
    /// message-id-string; the only one that MQTT and HTTPS know.
    String(Cow<'a, str>),
}

/// An AMQP value: the simple types of AMQP 1.6, which are all that application properties may hold, and anything else as it came.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// null.
    Null,
    /// boolean.
    Boolean(bool),
    /// ubyte.
    Ubyte(u8),
    /// ushort.
    Ushort(u16),
    /// uint.
    Uint(u32),
    /// ulong.
    Ulong(u64),
    /// byte.
    Byte(i8),
    /// short.
    Short(i16),
    /// int.
    Int(i32),
    /// long.
    Long(i64),
    /// float.
    Float(f32),
    /// double.
    Double(f64),
    /// decimal32, as its bytes.
    Decimal32([u8; 4]),
    /// decimal64, as its bytes.
    Decimal64([u8; 8]),
    /// decimal128, as its bytes.
    Decimal128([u8; 16]),
    /// char.
    Char(char),
    /// timestamp.
    Timestamp(UnixMillis),
    /// uuid.
    Uuid([u8; 16]),
    /// binary.
    Binary(Cow<'a, [u8]>),
    /// string.
    String(Cow<'a, str>),
    /// symbol.
    Symbol(Cow<'a, str>),
    /// Any described or compound value, as its encoding: only annotations may hold one (AMQP 3.2.10).
    Encoded(Cow<'a, [u8]>),
}

/// The payload, opaque.
#[derive(Clone, Debug, PartialEq)]
pub enum Body<'a> {
    /// One or more data sections (AMQP 3.2.6); MQTT and HTTPS send one.
    Data(Vec<Cow<'a, [u8]>>),
    /// One amqp-value section, as the encoded value (AMQP 3.2.8).
    Value(Cow<'a, [u8]>),
    /// One or more amqp-sequence sections, each as the encoded list (AMQP 3.2.7).
    Sequence(Vec<Cow<'a, [u8]>>),
}

impl Default for Body<'_> {
    fn default() -> Self {
        Self::Data(vec![Cow::Borrowed(&[])])
    }
}
