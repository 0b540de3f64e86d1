//! An event as JSON.
//!
//! | AMQP | JSON |
//! |---|---|
//! | string, boolean, null | string, boolean, null |
//! | every other type | an object whose only field is named for the type: `{"int":5}`, `{"ulong":"18446744073709551615"}`, `{"double":0.5}` |
//!
//! so that no two values of different types look the same. 64-bit integers are text, because JavaScript's numbers end at 2⁵³; so are a
//! float or double that JSON has no number for. Binary, decimals, and values that stay encoded are Base64; timestamps are ISO 8601.
//! `user-id`, which is always binary, is Base64 without an object around it.
//!
//! `bodyBase64` is always there: the data sections one after the other, or for the other two kinds (`bodyType` says so) their encoding.
//! `body` comes with it when the payload is JSON, as that JSON, or text, as a string: a payload is read as JSON unless its content type
//! says that it is something else.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;

use crate::core::event::{Offset, PartitionId};
use crate::core::message::encoding::{self, Damaged};
use crate::core::message::{Body, Message, MessageId, Properties, Value};
use crate::core::time::UnixMillis;
use crate::ops::StoredEvent;

/// The event as one line of JSON.
pub fn render(partition: PartitionId, event: &StoredEvent) -> String {
    let message = encoding::decode(&event.content);
    let json = serde_json::to_string(&EventJson::new(partition, event, &message)).expect("maps with text keys, numbers and text");
    // Raw line breaks only stand between the tokens of a payload that is JSON itself.
    if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ") } else { json }
}

/// The same for somebody who may not read bodies: which event it is, and nothing of what a device has written.
pub fn render_head(partition: PartitionId, event: &StoredEvent) -> String {
    let device = match encoding::find_annotation(&event.content, "iothub-connection-device-id") {
        Ok(Some(Value::String(id))) => Some(id),
        _ => None,
    };
    serde_json::json!({
        "partition": partition.0,
        "offset": Offset::from(event.sequence_number).to_string(),
        "sequenceNumber": event.sequence_number.0,
        "enqueuedTime": event.enqueued_time.to_string(),
        "deviceId": device,
        "sizeBytes": event.content.len(),
    })
    .to_string()
}

/// One event.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub struct EventJson<'a> {
    /// The device's partition.
    partition: u16,
    /// The place in it: a number, as text.
    offset: String,
    /// Grows by one within the partition, but where events are gone.
    sequence_number: u64,
    /// When the hub took it.
    #[schema(format = DateTime)]
    enqueued_time: String,
    /// Who sent it, as the hub knows, not as the message says.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    /// What is set of AMQP's properties: `message-id`, `user-id` (Base64), `to`, `correlation-id`, `content-type`, ….
    #[schema(value_type = Object)]
    system_properties: SystemProperties<'a>,
    /// The hub's stamps, and those that a device may set.
    #[schema(value_type = Object)]
    annotations: Entries<'a>,
    /// The device's own. Strings, booleans and null are themselves, every other type an object with one field that is named for it.
    #[schema(value_type = Object)]
    properties: Entries<'a>,
    /// `value` or `sequence` for AMQP's other two kinds of body, whose encoding is then in `bodyBase64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_type: Option<&'static str>,
    /// The payload, always.
    #[schema(content_encoding = "base64")]
    body_base64: String,
    /// The payload as JSON, or as text where it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    body: Option<BodyJson<'a>>,
    /// Why the stored event can't be read; then `bodyBase64` is all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<String>,
}

impl<'a> EventJson<'a> {
    fn new(partition: PartitionId, event: &'a StoredEvent, message: &'a Result<Message<'a>, Damaged>) -> Self {
        let mut json = Self {
            partition: partition.0,
            offset: Offset::from(event.sequence_number).to_string(),
            sequence_number: event.sequence_number.0,
            enqueued_time: event.enqueued_time.to_string(),
            device_id: None,
            system_properties: SystemProperties(None),
            annotations: Entries(&[]),
            properties: Entries(&[]),
            body_type: None,
            body_base64: String::new(),
            body: None,
            damaged: None,
        };
        match message {
            Ok(message) => json.fill(message),
            Err(damage) => {
                tracing::error!(%partition, number = %event.sequence_number, %damage, "event {} of partition {partition} can't be read: {damage}", event.sequence_number);
                json.body_base64 = BASE64.encode(&event.content);
                json.damaged = Some(damage.to_string());
            }
        }
        json
    }

    fn fill(&mut self, message: &'a Message<'a>) {
        self.device_id = message.annotations.iter().rev().find_map(|(name, value)| match value {
            Value::String(id) if name == "iothub-connection-device-id" => Some(&**id),
            _ => None,
        });
        self.system_properties = SystemProperties(Some(&message.properties));
        self.annotations = Entries(&message.annotations);
        self.properties = Entries(&message.application_properties);
        match &message.body {
            Body::Data(sections) => {
                let bytes = joined(sections);
                self.body_base64 = BASE64.encode(&bytes);
                self.body = legible(bytes, message.properties.content_type.as_deref());
            }
            Body::Value(encoded) => {
                self.body_type = Some("value");
                self.body_base64 = BASE64.encode(encoded);
            }
            Body::Sequence(lists) => {
                self.body_type = Some("sequence");
                self.body_base64 = BASE64.encode(joined(lists));
            }
        }
    }
}

fn joined<'a>(sections: &'a [Cow<'a, [u8]>]) -> Cow<'a, [u8]> {
    match sections {
        [one] => Cow::Borrowed(one),
        several => Cow::Owned(several.concat()),
    }
}

/// A payload that people and programs can read.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum BodyJson<'a> {
    Json(Box<RawValue>),
    Text(Cow<'a, str>),
}

fn legible<'a>(bytes: Cow<'a, [u8]>, content_type: Option<&str>) -> Option<BodyJson<'a>> {
    let text = match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).ok()?),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).ok()?),
    };
    if content_type.is_none_or(is_json_type)
        && let Some(json) = as_json(&text)
    {
        return Some(BodyJson::Json(json));
    }
    let is_text = !text.is_empty() && !text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'));
    is_text.then_some(BodyJson::Text(text))
}

/// `application/json` and its like (RFC 6839), whatever parameters follow.
fn is_json_type(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json") || essence == "text/json"
}

/// The text as it stands, when every JSON parser can be expected to read it where it will stand: as a value in an object. A payload that
/// is nested too deeply, or has half a surrogate pair or a number out of range, would make the whole event unreadable to some.
fn as_json(text: &str) -> Option<Box<RawValue>> {
    let raw: Box<RawValue> = serde_json::from_str(text).ok()?;
    serde_json::from_str::<[serde_json::Value; 1]>(&format!("[{text}]")).ok()?;
    Some(raw)
}

/// The properties section, by AMQP's names.
struct SystemProperties<'a>(Option<&'a Properties<'a>>);

impl Serialize for SystemProperties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let Some(properties) = self.0 else { return map.end() };
        let mut entry = |name: &str, value: Option<Value<'_>>| value.map_or(Ok(()), |value| map.serialize_entry(name, &Typed(&value)));
        let text = |text: &Option<Cow<'_, str>>| text.as_deref().map(|text| Value::String(text.to_owned().into()));
        let time = |time: Option<UnixMillis>| time.map(|time| Value::String(time.to_string().into()));
        entry("message-id", properties.message_id.as_ref().map(id_value))?;
        entry("user-id", properties.user_id.as_ref().map(|bytes| Value::String(BASE64.encode(bytes).into())))?;
        entry("to", text(&properties.to))?;
        entry("subject", text(&properties.subject))?;
        entry("reply-to", text(&properties.reply_to))?;
        entry("correlation-id", properties.correlation_id.as_ref().map(id_value))?;
        entry("content-type", text(&properties.content_type))?;
        entry("content-encoding", text(&properties.content_encoding))?;
        entry("absolute-expiry-time", time(properties.absolute_expiry_time))?;
        entry("creation-time", time(properties.creation_time))?;
        entry("group-id", text(&properties.group_id))?;
        if let Some(number) = properties.group_sequence {
            map.serialize_entry("group-sequence", &number)?;
        }
        if let Some(group) = &properties.reply_to_group_id {
            map.serialize_entry("reply-to-group-id", group)?;
        }
        map.end()
    }
}

fn id_value<'a>(id: &'a MessageId<'a>) -> Value<'a> {
    match id {
        MessageId::Ulong(number) => Value::Ulong(*number),
        MessageId::Uuid(bytes) => Value::Uuid(*bytes),
        MessageId::Binary(bytes) => Value::Binary(Cow::Borrowed(bytes)),
        MessageId::String(text) => Value::String(Cow::Borrowed(text)),
    }
}

/// Names and values; of two with the same name both come, the later one last, which is what JSON readers keep.
struct Entries<'a>(&'a [(Cow<'a, str>, Value<'a>)]);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, Typed(value))))
    }
}

struct Typed<'a>(&'a Value<'a>);

impl Serialize for Typed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let base64 = |bytes: &[u8]| BASE64.encode(bytes);
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Boolean(value) => serializer.serialize_bool(*value),
            Value::String(text) => serializer.serialize_str(text),
            Value::Ubyte(number) => tagged(serializer, "ubyte", number),
            Value::Ushort(number) => tagged(serializer, "ushort", number),
            Value::Uint(number) => tagged(serializer, "uint", number),
            Value::Ulong(number) => tagged(serializer, "ulong", &number.to_string()),
            Value::Byte(number) => tagged(serializer, "byte", number),
            Value::Short(number) => tagged(serializer, "short", number),
            Value::Int(number) => tagged(serializer, "int", number),
            Value::Long(number) => tagged(serializer, "long", &number.to_string()),
            Value::Float(number) if number.is_finite() => tagged(serializer, "float", number),
            Value::Float(number) => tagged(serializer, "float", &number.to_string()),
            Value::Double(number) if number.is_finite() => tagged(serializer, "double", number),
            Value::Double(number) => tagged(serializer, "double", &number.to_string()),
            Value::Decimal32(bytes) => tagged(serializer, "decimal32", &base64(bytes)),
            Value::Decimal64(bytes) => tagged(serializer, "decimal64", &base64(bytes)),
            Value::Decimal128(bytes) => tagged(serializer, "decimal128", &base64(bytes)),
            Value::Char(character) => tagged(serializer, "char", character),
            Value::Timestamp(time) => tagged(serializer, "timestamp", &time.to_string()),
            Value::Uuid(bytes) => tagged(serializer, "uuid", &uuid_text(*bytes)),
            Value::Binary(bytes) => tagged(serializer, "binary", &base64(bytes)),
            Value::Symbol(text) => tagged(serializer, "symbol", text),
            Value::Encoded(bytes) => tagged(serializer, "encoded", &base64(bytes)),
        }
    }
}

fn tagged<S: Serializer>(serializer: S, kind: &str, value: &(impl Serialize + ?Sized)) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(kind, value)?;
    map.end()
}

/// RFC 9562's form.
fn uuid_text(bytes: [u8; 16]) -> String {
    let number = u128::from_be_bytes(bytes);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        number >> 96,
        (number >> 80) & 0xffff,
        (number >> 64) & 0xffff,
        (number >> 48) & 0xffff,
        number & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::event::SequenceNumber;
    use crate::core::message::encoding::{EncodedAnnotations, encode};

    fn rendered(message: &Message<'_>) -> serde_json::Value {
        let mut content = Vec::new();
        encode(message, &EncodedAnnotations::default(), &mut content);
        let event = StoredEvent { sequence_number: SequenceNumber(7), enqueued_time: UnixMillis(1_500), content: content.into() };
        let line = render(PartitionId(3), &event);
        assert!(!line.contains('\n'));
        serde_json::from_str(&line).unwrap()
    }

    fn rendered_body(bytes: &[u8], content_type: Option<&'static str>) -> (String, Option<serde_json::Value>) {
        let mut message = Message { body: Body::Data(vec![bytes.into()]), ..Message::default() };
        message.properties.content_type = content_type.map(Into::into);
        let json = rendered(&message);
        (json["bodyBase64"].as_str().unwrap().to_owned(), json.get("body").cloned())
    }

    #[test]
    fn an_event_has_its_place_its_stamps_and_its_content() {
        let message = Message {
            annotations: vec![
                ("iothub-connection-device-id".into(), Value::String("d1".into())),
                ("x".into(), Value::Timestamp(UnixMillis(0))),
            ],
            properties: Properties {
                message_id: Some(MessageId::Ulong(5)),
                user_id: Some(b"me".into()),
                correlation_id: Some(MessageId::String("c".into())),
                absolute_expiry_time: Some(UnixMillis(1)),
                group_sequence: Some(9),
                ..Properties::default()
            },
            application_properties: vec![
                ("text".into(), Value::String("5".into())),
                ("int".into(), Value::Int(5)),
                ("long".into(), Value::Long(5)),
                ("nan".into(), Value::Double(f64::NAN)),
                ("yes".into(), Value::Boolean(true)),
                ("nothing".into(), Value::Null),
                ("uuid".into(), Value::Uuid([0x12; 16])),
            ],
            body: Body::Data(vec![b"{\"a\":".into(), b"1}".into()]),
        };
        assert_eq!(
            rendered(&message),
            json!({
                "partition": 3, "offset": "7", "sequenceNumber": 7, "enqueuedTime": "1970-01-01T00:00:01.500Z", "deviceId": "d1",
                "systemProperties": {
                    "message-id": {"ulong": "5"}, "user-id": "bWU=", "correlation-id": "c",
                    "absolute-expiry-time": "1970-01-01T00:00:00.001Z", "group-sequence": 9
                },
                "annotations": {"iothub-connection-device-id": "d1", "x": {"timestamp": "1970-01-01T00:00:00.000Z"}},
                "properties": {
                    "text": "5", "int": {"int": 5}, "long": {"long": "5"}, "nan": {"double": "NaN"}, "yes": true, "nothing": null,
                    "uuid": {"uuid": "12121212-1212-1212-1212-121212121212"}
                },
                "bodyBase64": "eyJhIjoxfQ==", "body": {"a": 1}
            })
        );
    }

    #[test]
    fn a_payload_is_json_or_text_or_neither() {
        assert_eq!(rendered_body(b"{\n \"t\": 1.10\r\n}", None).1, Some(json!({"t": 1.10})));
        assert_eq!(rendered_body(b"42", Some("application/json; charset=utf-8")).1, Some(json!(42)));
        assert_eq!(rendered_body(b"42", Some("text/plain")).1, Some(json!("42")));
        assert_eq!(rendered_body(b"hello\tworld", None).1, Some(json!("hello\tworld")));
        assert_eq!(rendered_body(b"1],[2", None).1, Some(json!("1],[2")));
        assert_eq!(rendered_body(b"nul \0", None).1, None);
        assert_eq!(rendered_body(b"\xff\xfe", None), ("//4=".to_owned(), None));
        assert_eq!(rendered_body(b"", None), (String::new(), None));
    }

    #[test]
    fn a_payload_cannot_make_its_event_unreadable() {
        for poison in ["\"\\ud800\"".to_owned(), "1e999".to_owned(), format!("{}1{}", "[".repeat(127), "]".repeat(127)), "[".repeat(9_999)]
        {
            assert_eq!(rendered_body(poison.as_bytes(), None).1, Some(json!(poison)));
        }
    }

    #[test]
    fn other_bodies_say_what_they_are() {
        let json = rendered(&Message { body: Body::Value(b"\xa1\x01x".into()), ..Message::default() });
        assert_eq!((&json["bodyType"], &json["bodyBase64"]), (&json!("value"), &json!(BASE64.encode(b"\xa1\x01x"))));
        let json = rendered(&Message { body: Body::Sequence(vec![b"\x45".into(), b"\x45".into()]), ..Message::default() });
        assert_eq!((&json["bodyType"], &json["bodyBase64"]), (&json!("sequence"), &json!("RUU=")));
    }

    #[test]
    fn a_damaged_event_is_shown_as_it_is() {
        let event = StoredEvent { sequence_number: SequenceNumber(0), enqueued_time: UnixMillis(0), content: b"?".as_slice().into() };
        let json: serde_json::Value = serde_json::from_str(&render(PartitionId(0), &event)).unwrap();
        assert_eq!((&json["bodyBase64"], &json["damaged"]), (&json!("Pw=="), &json!("the stored message ends too early")));
    }
}
