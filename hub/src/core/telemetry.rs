//! What the hub makes of a message from a device: what it refuses, what it strikes out, what it stamps.

use std::num::NonZeroU16;

use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;

use super::event::PartitionId;
use super::message::encoding::{self, EncodedAnnotations};
use super::message::{Body, Message, MessageId, Value};
use super::session::DeviceRight;
use super::time::UnixMillis;

/// The largest message: body, system values, and property names and values together (Azure's limit).
pub const MESSAGE_MAX_BYTES: usize = 256 * 1024;

/// The most messages in a batch (Azure's limit), however it comes.
pub const BATCH_MAX_MESSAGES: usize = 500;

/// The longest message-id or correlation-id, in characters (Azure's limit).
pub const MESSAGE_ID_MAX_CHARACTERS: usize = 128;

/// The most application properties of a message; each costs the readers, and no SDK sends more than a few dozen.
pub const APPLICATION_PROPERTIES_MAX: usize = 256;

/// The most annotations that a client may set; Azure knows half a dozen.
pub const ANNOTATIONS_MAX: usize = 64;

/// What every event of a device's connection has in common, made once when the connection is accepted.
#[derive(Clone, Debug)]
pub struct Stamps {
    /// Where the device's events go.
    pub partition: PartitionId,
    annotations: EncodedAnnotations,
    /// What `to` says when the message itself does not.
    to: String,
}

impl Stamps {
    /// For a device that came in with `right`, on a hub with `partition_count` partitions.
    #[must_use]
    pub fn new(right: &DeviceRight, partition_count: NonZeroU16) -> Self {
        let text = |value: &'static str| Value::String(value.into());
        let device_id = right.device_id.as_str();
        Self {
            partition: PartitionId::of_device(&right.device_id, partition_count),
            annotations: EncodedAnnotations::new(&[
                ("iothub-connection-device-id", Value::String(device_id.into())),
                ("iothub-connection-auth-method", text(right.credential.auth_method())),
                ("iothub-connection-auth-generation-id", Value::String(right.generation_id.0.as_str().into())),
                ("iothub-message-source", text("Telemetry")),
                ("x-opt-partition-key", Value::String(device_id.into())),
            ]),
            to: format!("/devices/{device_id}/messages/events"),
        }
    }
}

/// How a message came, as far as the hub tells back ends; only MQTT has more than one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occasion {
    /// The device wanted it retained. The hub retains nothing; the back end learns of the wish.
    pub retain: bool,
    /// The device's connection ended without DISCONNECT (MQTT 3.1.2.5), and this is its will.
    pub will: bool,
}

impl Occasion {
    /// What the hub says of it as application properties, in Azure's words.
    fn properties(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        [(self.retain, RETAIN, "true"), (self.will, MESSAGE_TYPE, "Will")].into_iter().filter(|said| said.0).map(|said| (said.1, said.2))
    }
}

const RETAIN: &str = "mqtt-retain";
const MESSAGE_TYPE: &str = "iothub-MessageType";

/// Why a message is not taken. Nothing is wrong with the device's right to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryRefused {
    /// Larger than [`MESSAGE_MAX_BYTES`].
    #[error("the message has {0} bytes with its properties, more than {MESSAGE_MAX_BYTES}")]
    TooLarge(usize),
    /// More properties than [`APPLICATION_PROPERTIES_MAX`].
    #[error("the message has {0} application properties, more than {APPLICATION_PROPERTIES_MAX}")]
    TooManyProperties(usize),
    /// More annotations than [`ANNOTATIONS_MAX`].
    #[error("the message has {0} annotations, more than {ANNOTATIONS_MAX}")]
    TooManyAnnotations(usize),
    /// A content type, content encoding or annotation name that is not ASCII, though AMQP keeps it as a symbol.
    #[error("the {0} is not ASCII text")]
    NotASymbol(&'static str),
    /// A message-id that is too long or holds a character that message-ids may not hold.
    #[error("the message-id is not at most {MESSAGE_ID_MAX_CHARACTERS} ASCII letters, digits and -:.+%_#*?!(),=@;$'")]
    InvalidMessageId,
    /// A correlation-id that is too long.
    #[error("the correlation-id has more than {MESSAGE_ID_MAX_CHARACTERS} characters")]
    CorrelationIdTooLong,
}

/// Strikes out what only the hub may say, checks the rest, and appends the stored form with what the hub does say to `out`.
pub fn store<'a>(message: &mut Message<'a>, occasion: Occasion, stamps: &'a Stamps, out: &mut Vec<u8>) -> Result<(), TelemetryRefused> {
    message.annotations.retain(|(name, _)| !is_server_owned(name));
    message.application_properties.retain(|(name, _)| !is_server_owned(name));
    check(message)?;
    // Not counted against the device's limits: it is the hub that says this.
    message.application_properties.extend(occasion.properties().map(|(name, value)| (name.into(), Value::String(value.into()))));
    message.properties.to.get_or_insert(stamps.to.as_str().into());
    encoding::encode(message, &stamps.annotations, out);
    Ok(())
}

/// Whether only the hub may set an annotation or application property of that name, in any case of letters.
#[must_use]
pub fn is_server_owned(name: &str) -> bool {
    const PREFIXES: [&str; 4] = ["iothub-connection-", "x-opt-", "iothub-enqueuedtime", "iothub-message-source"];
    let whole = [RETAIN, MESSAGE_TYPE].iter().any(|owned| name.eq_ignore_ascii_case(owned));
    whole
        || PREFIXES
            .iter()
            .any(|prefix| name.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes())))
}

/// A text that is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time is ISO 8601, as in 2026-11-23T06:00:00Z")]
pub struct InvalidExpiry;

/// Reads an absolute expiry as devices write it: ISO 8601, and UTC when it does not say, as Python's SDK means it. A time before 1970
/// means that there is none; one that is too late to be told, as C#'s `DateTime.MaxValue` is, becomes the last that can be.
pub fn parse_expiry(text: &str) -> Result<Option<UnixMillis>, InvalidExpiry> {
    let pieces = Pieces::parse(text).map_err(|_| InvalidExpiry)?;
    let time = pieces.date().to_datetime(pieces.time().ok_or(InvalidExpiry)?);
    let offset = pieces.to_numeric_offset().unwrap_or(Offset::UTC);
    let millis = match offset.to_timestamp(time) {
        Ok(timestamp) => timestamp.as_millisecond().min(LAST_TIME.0),
        Err(_) if time.year() > 0 => LAST_TIME.0,
        Err(_) => i64::MIN,
    };
    Ok((millis >= 0).then_some(UnixMillis(millis)))
}

/// 9999-12-30T22:00:00Z, the last time that can be told in ISO 8601 with every offset.
const LAST_TIME: UnixMillis = UnixMillis(253_402_207_200_000);

fn check(message: &Message<'_>) -> Result<(), TelemetryRefused> {
    check_fields(message)?;
    let size = size(message);
    if size > MESSAGE_MAX_BYTES { Err(TelemetryRefused::TooLarge(size)) } else { Ok(()) }
}

/// The rules that a message has in either direction: its ids, its symbols, and how many properties it has.
pub fn check_fields(message: &Message<'_>) -> Result<(), TelemetryRefused> {
    let properties = &message.properties;
    if !properties.message_id.as_ref().is_none_or(|id| is_message_id(id) && is_short(id)) {
        return Err(TelemetryRefused::InvalidMessageId);
    }
    // Azure names no characters for it, and C#'s activity ids, `|abc.1.`, are outside a message-id's.
    if !properties.correlation_id.as_ref().is_none_or(is_short) {
        return Err(TelemetryRefused::CorrelationIdTooLong);
    }
    if message.application_properties.len() > APPLICATION_PROPERTIES_MAX {
        return Err(TelemetryRefused::TooManyProperties(message.application_properties.len()));
    }
    if message.annotations.len() > ANNOTATIONS_MAX {
        return Err(TelemetryRefused::TooManyAnnotations(message.annotations.len()));
    }
    check_symbol("content-type", properties.content_type.as_deref())?;
    check_symbol("content-encoding", properties.content_encoding.as_deref())?;
    message.annotations.iter().try_for_each(|(name, _)| check_symbol("name of an annotation", Some(name)))
}

fn is_message_id(id: &MessageId<'_>) -> bool {
    match id {
        MessageId::String(text) => text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-:.+%_#*?!(),=@;$'".contains(&b)),
        MessageId::Binary(_) | MessageId::Ulong(_) | MessageId::Uuid(_) => true,
    }
}

fn is_short(id: &MessageId<'_>) -> bool {
    match id {
        MessageId::String(text) => text.chars().count() <= MESSAGE_ID_MAX_CHARACTERS,
        MessageId::Binary(bytes) => bytes.len() <= MESSAGE_ID_MAX_CHARACTERS,
        MessageId::Ulong(_) | MessageId::Uuid(_) => true,
    }
}

fn check_symbol(field: &'static str, text: Option<&str>) -> Result<(), TelemetryRefused> {
    if text.is_none_or(str::is_ascii) { Ok(()) } else { Err(TelemetryRefused::NotASymbol(field)) }
}

/// A message's size as the limits count it: body, system values, and names and values of properties.
#[must_use]
pub fn size(message: &Message<'_>) -> usize {
    let body = match &message.body {
        Body::Data(sections) | Body::Sequence(sections) => sections.iter().map(|section| section.len()).sum(),
        Body::Value(value) => value.len(),
    };
    let named = |list: &[(std::borrow::Cow<'_, str>, Value<'_>)]| -> usize {
        list.iter().map(|(name, value)| name.len() + value_size(value)).sum()
    };
    let id = |id: &Option<MessageId<'_>>| match id {
        Some(MessageId::String(text)) => text.len(),
        Some(MessageId::Binary(bytes)) => bytes.len(),
        Some(MessageId::Uuid(_)) => 16,
        Some(MessageId::Ulong(_)) => 8,
        None => 0,
    };
    let p = &message.properties;
    let texts = [&p.to, &p.subject, &p.reply_to, &p.content_type, &p.content_encoding, &p.group_id, &p.reply_to_group_id];
    body + named(&message.annotations)
        + named(&message.application_properties)
        + id(&p.message_id)
        + id(&p.correlation_id)
        + p.user_id.as_ref().map_or(0, |user| user.len())
        + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
}

fn value_size(value: &Value<'_>) -> usize {
    match value {
        Value::Null => 0,
        Value::Boolean(_) | Value::Ubyte(_) | Value::Byte(_) => 1,
        Value::Ushort(_) | Value::Short(_) => 2,
        Value::Uint(_) | Value::Int(_) | Value::Float(_) | Value::Decimal32(_) | Value::Char(_) => 4,
        Value::Ulong(_) | Value::Long(_) | Value::Double(_) | Value::Decimal64(_) | Value::Timestamp(_) => 8,
        Value::Decimal128(_) | Value::Uuid(_) => 16,
        Value::Binary(bytes) | Value::Encoded(bytes) => bytes.len(),
        Value::String(text) | Value::Symbol(text) => text.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::device_id::DeviceId;
    use crate::core::identity::{GenerationId, SymmetricKey};
    use crate::core::session::{Credential, KeyFingerprint};

    fn message_of(bytes: &[u8]) -> Message<'_> {
        Message { body: Body::Data(vec![bytes.into()]), ..Message::default() }
    }

    #[test]
    fn the_limit_counts_body_and_properties() {
        let body = vec![0; MESSAGE_MAX_BYTES - 3];
        let mut message = message_of(&body);
        message.application_properties.push(("k".into(), Value::String("vv".into())));
        assert_eq!(check(&message), Ok(()));
        message.application_properties.push(("x".into(), Value::Null));
        assert_eq!(check(&message), Err(TelemetryRefused::TooLarge(MESSAGE_MAX_BYTES + 1)));
    }

    #[test]
    fn what_the_hub_stamps_a_client_cannot_claim() {
        for name in [
            "iothub-connection-device-id",
            "IoTHub-Connection-Auth-Method",
            "x-opt-offset",
            "iothub-enqueuedtime",
            "iothub-message-source",
            "iothub-MessageType",
            "IOTHUB-messagetype",
            "mqtt-retain",
            "MQTT-Retain",
        ] {
            assert!(is_server_owned(name), "{name}");
        }
        for name in [
            "iothub-interface-id",
            "iothub-app-x",
            "x-op",
            "device",
            "iothub-creation-time-utc",
            "é",
            "mqtt-retained",
            "iothub-message-schema",
        ] {
            assert!(!is_server_owned(name), "{name}");
        }
    }

    #[test]
    fn only_the_hub_says_that_a_message_is_a_will_or_was_to_be_retained() {
        let key = SymmetricKey::from_bytes(vec![1; 32]).unwrap();
        let right = DeviceRight {
            device_id: DeviceId::parse("D").unwrap(),
            generation_id: GenerationId("1".into()),
            credential: Credential::Policy { name: "device".into(), key: KeyFingerprint::of(&key) },
            good_until: UnixMillis(0),
        };
        let stamps = Stamps::new(&right, NonZeroU16::new(4).unwrap());
        let said = |retain, will| {
            let mut message = message_of(b"");
            for (name, value) in [("IoTHub-MessageType", "Will"), ("mqtt-Retain", "true"), ("k", "v")] {
                message.application_properties.push((name.into(), Value::String(value.into())));
            }
            let mut stored = Vec::new();
            store(&mut message, Occasion { retain, will }, &stamps, &mut stored).unwrap();
            let properties = encoding::decode(&stored).unwrap().application_properties;
            properties.into_iter().map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>()
        };
        assert_eq!(said(false, false), [r#"k=String("v")"#]);
        assert_eq!(said(true, true), [r#"k=String("v")"#, r#"mqtt-retain=String("true")"#, r#"iothub-MessageType=String("Will")"#]);
    }

    #[test]
    fn ids_have_azures_characters() {
        let with_id = |id: &str| {
            let mut message = message_of(b"");
            message.properties.message_id = Some(MessageId::String(id.to_owned().into()));
            check(&message)
        };
        assert_eq!(with_id("a-Z:.+%_#*?!(),=@;$'9"), Ok(()));
        assert_eq!(with_id(&"x".repeat(128)), Ok(()));
        for bad in ["a b", "é", "|abc.1.", &"x".repeat(129)] {
            assert_eq!(with_id(bad), Err(TelemetryRefused::InvalidMessageId), "{bad}");
        }
    }

    #[test]
    fn a_correlation_id_is_only_short() {
        let with_id = |id: &str| {
            let mut message = message_of(b"");
            message.properties.correlation_id = Some(MessageId::String(id.to_owned().into()));
            check(&message)
        };
        for good in ["|abc.1.", "a b", &"é".repeat(128)] {
            assert_eq!(with_id(good), Ok(()), "{good}");
        }
        assert_eq!(with_id(&"x".repeat(129)), Err(TelemetryRefused::CorrelationIdTooLong));
    }

    #[test]
    fn an_expiry_is_a_time_with_or_without_an_offset() {
        let three: UnixMillis = "2026-11-23T03:00:00Z".parse().unwrap();
        for text in ["2026-11-23T03:00:00Z", "2026-11-23T04:00:00+01:00", "2026-11-23T03:00:00", "2026-11-23 03:00:00.000000"] {
            assert_eq!(parse_expiry(text), Ok(Some(three)), "{text}");
        }
        // Before 1970 is no expiry: C#'s DateTime.MinValue, Excel's day 0.
        for text in ["0001-01-01T00:00:00", "1754-08-30T22:43:41.128Z", "1969-12-31T23:59:59Z", "-009999-01-01T00:00:00+20:00"] {
            assert_eq!(parse_expiry(text), Ok(None), "{text}");
        }
        // C#'s DateTime.MaxValue lies beyond what can be told as a time, and still is one.
        let last = parse_expiry("9999-12-31T23:59:59.9999999Z").unwrap().unwrap();
        assert_eq!(last.to_string(), "9999-12-30T22:00:00.000Z");
        assert_eq!(parse_expiry("9999-12-30T22:00:00.999Z"), Ok(Some(last)));
        assert_eq!(parse_expiry("9999-12-31T23:59:59.9999999"), Ok(Some(last)));
        for text in ["", "tomorrow", "2026-11-23", "2026-13-01T00:00:00Z", "12:00:00", "10000-01-01T00:00:00Z"] {
            assert_eq!(parse_expiry(text), Err(InvalidExpiry), "{text}");
        }
    }
}
