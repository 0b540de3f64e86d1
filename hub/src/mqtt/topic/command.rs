//! The topic of a command: `devices/{device}/messages/devicebound/` and the property bag that tells of the message.
//!
//! Owns what the bag holds, in Azure's order and spelling: `$.to` first, always; the other system properties that are set; the
//! application properties, `iothub-ack` among them. Clients split the topic at each `/` and the bag at `&` and `=`, so names and values
//! are percent-encoded whole. Never decides how long a topic may be: that is [`crate::mqtt::codec`]'s.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::SystemProperty;
use crate::core::message::{Message, Properties};

/// All but the unreserved characters (RFC 3986, 2.3): the set that `encodeURIComponent` and its like undo in every language. It leaves
/// neither a separator of the bag nor one of topics, nor MQTT's wildcards (MQTT-3.3.2-2).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The topic on which `device` is sent `message`.
#[must_use]
pub fn command(device: &str, message: &Message<'_>) -> String {
    let mut topic = format!("devices/{device}/messages/devicebound/");
    put("$.to", Some(&format!("/devices/{device}/messages/deviceBound")), &mut topic);
    let Properties { message_id, correlation_id, user_id, content_type, content_encoding, absolute_expiry_time, .. } = &message.properties;
    let message_id = message_id.as_ref().map(|id| id.to_text());
    let correlation_id = correlation_id.as_ref().map(|id| id.to_text());
    let user_id = user_id.as_ref().map(|bytes| String::from_utf8_lossy(bytes));
    let expiry = absolute_expiry_time.map(|time| time.to_string());
    for (name, value) in [
        ("$.mid", message_id.as_deref()),
        ("$.cid", correlation_id.as_deref()),
        ("$.uid", user_id.as_deref()),
        ("$.ct", content_type.as_deref()),
        ("$.ce", content_encoding.as_deref()),
        ("$.exp", expiry.as_deref()),
    ] {
        if value.is_some() {
            put(name, value, &mut topic);
        }
    }
    for (name, value) in &message.application_properties {
        // A back end's property must not pass for what the hub says.
        if name.strip_prefix("$.").and_then(SystemProperty::of_key).is_none() {
            put(name, value.to_text().as_deref(), &mut topic);
        }
    }
    topic
}

/// Appends `name=value`, or the bare name when there is no value.
fn put(name: &str, value: Option<&str>, topic: &mut String) {
    if !topic.ends_with('/') {
        topic.push('&');
    }
    topic.extend(utf8_percent_encode(name, RESERVED));
    if let Some(value) = value {
        topic.push('=');
        topic.extend(utf8_percent_encode(value, RESERVED));
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::super::{Named, read_bag};
    use super::*;
    use crate::core::message::{MessageId, Value};
    use crate::core::time::UnixMillis;

    const PREFIX: &str = "devices/D/messages/devicebound/";

    fn properties(named: &[(&'static str, Value<'static>)]) -> Named<'static> {
        named.iter().map(|(name, value)| (Cow::from(*name), value.clone())).collect()
    }

    fn text(value: &str) -> Value<'_> {
        Value::String(value.into())
    }

    /// What the project's own reader of bags makes of `topic`, `to` apart.
    fn read(topic: &str) -> Message<'_> {
        let mut message = Message::default();
        read_bag(topic.strip_prefix(PREFIX).unwrap(), &mut message).unwrap();
        assert_eq!(message.properties.to.take().as_deref(), Some("/devices/D/messages/deviceBound"));
        message
    }

    #[test]
    fn a_command_without_properties_has_its_address() {
        assert_eq!(command("D", &Message::default()), "devices/D/messages/devicebound/%24.to=%2Fdevices%2FD%2Fmessages%2FdeviceBound");
    }

    #[test]
    fn system_properties_come_before_the_senders() {
        let mut message = Message {
            application_properties: properties(&[("iothub-ack", text("full")), ("a b", text("x&y=z/é")), ("null", Value::Null)]),
            ..Message::default()
        };
        message.properties = Properties {
            message_id: Some(MessageId::String("m 1".into())),
            correlation_id: Some(MessageId::Uuid([0x12; 16])),
            user_id: Some(b"u"[..].into()),
            content_type: Some("application/json".into()),
            content_encoding: Some("utf-8".into()),
            absolute_expiry_time: Some(UnixMillis(1_700_000_000_000)),
            ..Properties::default()
        };
        assert_eq!(
            command("D", &message).strip_prefix(PREFIX),
            Some(
                "%24.to=%2Fdevices%2FD%2Fmessages%2FdeviceBound&%24.mid=m%201&%24.cid=12121212-1212-1212-1212-121212121212&%24.uid=u\
                 &%24.ct=application%2Fjson&%24.ce=utf-8&%24.exp=2023-11-14T22%3A13%3A20.000Z\
                 &iothub-ack=full&a%20b=x%26y%3Dz%2F%C3%A9&null"
            )
        );
    }

    #[test]
    fn nothing_in_a_value_is_taken_for_a_separator_or_a_wildcard() {
        let message = Message { application_properties: properties(&[("k", text("/&=%#+ \u{1f600}"))]), ..Message::default() };
        assert_eq!(
            command("D", &message).rsplit_once('&'),
            Some(("devices/D/messages/devicebound/%24.to=%2Fdevices%2FD%2Fmessages%2FdeviceBound", "k=%2F%26%3D%25%23%2B%20%F0%9F%98%80"))
        );
    }

    #[test]
    fn a_sender_cannot_speak_for_the_hub() {
        let claims = properties(&[("$.to", text("/devices/E")), ("$.mid", text("forged")), ("$.new", text("kept"))]);
        let topic = command("D", &Message { application_properties: claims, ..Message::default() });
        let message = read(&topic);
        assert_eq!(message.properties.message_id, None);
        assert_eq!(message.application_properties, properties(&[("$.new", text("kept"))]));
    }

    /// Values of any type, each beside what a reader without types makes of it.
    fn value() -> impl Strategy<Value = (Value<'static>, Value<'static>)> {
        prop_oneof![
            Just((Value::Null, Value::Null)),
            "\\PC{0,20}".prop_map(|text: String| (Value::String(text.clone().into()), Value::String(text.into()))),
            any::<bool>().prop_map(|value| (Value::Boolean(value), Value::String(value.to_string().into()))),
            any::<i64>().prop_map(|number| (Value::Long(number), Value::String(number.to_string().into()))),
            any::<f64>().prop_map(|number| (Value::Double(number), Value::String(number.to_string().into()))),
        ]
    }

    proptest! {
        #[test]
        fn the_bag_reads_back_as_sent(
            ids in prop::array::uniform2(prop::option::of("\\PC{1,20}")),
            user in prop::option::of("\\PC{1,9}"),
            symbols in prop::array::uniform2(prop::option::of("[ -~]{1,20}")),
            expiry in prop::option::of(0..253_402_207_200_000_i64),
            named in prop::collection::btree_map("[^$]\\PC{0,12}", value(), 0..12),
        ) {
            let [message_id, correlation_id] = ids.map(|id| id.map(|id| MessageId::String(id.into())));
            let [content_type, content_encoding] = symbols.map(|symbol| symbol.map(Cow::from));
            let properties = Properties {
                message_id,
                correlation_id,
                user_id: user.map(|user| user.into_bytes().into()),
                content_type,
                content_encoding,
                absolute_expiry_time: expiry.map(UnixMillis),
                ..Properties::default()
            };
            let sent = Message {
                properties: properties.clone(),
                application_properties: named.iter().map(|(name, (sent, _))| (Cow::from(name), sent.clone())).collect(),
                ..Message::default()
            };
            let topic = command("D", &sent);
            prop_assert_eq!(topic.matches('/').count(), 4);
            prop_assert!(!topic.contains(['#', '+', '$', '\0']) && topic.is_ascii());
            let received = read(&topic);
            prop_assert_eq!(received.properties, properties);
            let expected: Named<'_> = named.iter().map(|(name, (_, read))| (Cow::from(name), read.clone())).collect();
            prop_assert_eq!(received.application_properties, expected);
        }
    }
}
