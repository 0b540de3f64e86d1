//! What a topic means: which message a PUBLISH carries, and which subscription a filter is. What the hub itself says on one is
//! in `command`.
//!
//! Owns Azure's topic names and the property bag in them. Never decides whether a message is taken: what only the hub may say, and
//! how large a message may be, is [`crate::core::telemetry`]'s.

use std::borrow::Cow;

use crate::core::message::{Body, Message, MessageId, Properties, Value};
use crate::core::telemetry::{APPLICATION_PROPERTIES_MAX, parse_expiry};

mod command;

pub use command::command;

/// The most entries in a bag: all the application properties that a message may have, and room for the system properties beside them.
/// It bounds the search for duplicates.
const ENTRIES_MAX: usize = APPLICATION_PROPERTIES_MAX + 32;

/// What a device may subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscription {
    /// Cloud-to-device messages, called commands.
    Commands,
}

/// The topic is not one that this device may publish to, or can't be read: close the connection, MQTT 3.1.1 has no other answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// `devices/` of somebody else.
    #[error("the topic belongs to another device")]
    OtherDevice,
    /// No topic of the hub's.
    #[error("the hub has no such topic")]
    Unknown,
    /// A `%` without two hexadecimal digits after it.
    #[error("the property bag has a % without two hexadecimal digits")]
    PercentEncoding,
    /// A name or value is not UTF-8 once its percent-encoding is undone.
    #[error("the property bag is not UTF-8")]
    NotUtf8,
    /// A content type or encoding that is not ASCII, as AMQP's symbols are (AMQP 1.6.21).
    #[error("the property {0} is not ASCII")]
    NotAscii(&'static str),
    /// An expiry that is no ISO 8601 time.
    #[error("the property $.exp is not a time")]
    Expiry,
    /// More than a message may have.
    #[error("the property bag has more than {ENTRIES_MAX} entries")]
    TooManyEntries,
}

/// The subscription that `device` means by `filter`; `None` when the hub has none such for it.
#[must_use]
pub fn subscription(device: &str, filter: &str) -> Option<Subscription> {
    let rest = filter.strip_prefix("devices/")?.strip_prefix(device)?;
    (rest == "/messages/devicebound/#").then_some(Subscription::Commands)
}

/// The message that `device` sends by publishing `payload` to `topic`: `devices/{device}/messages/events[/][bag][/]`.
pub fn telemetry<'a>(device: &str, topic: &'a str, payload: &'a [u8]) -> Result<Message<'a>, TopicError> {
    let mut message = Message { body: Body::Data(vec![payload.into()]), ..Message::default() };
    read_bag(bag(device, topic)?, &mut message)?;
    Ok(message)
}

/// What follows `devices/{device}/messages/events/`, without the stray slash that Node's modules put at the end.
fn bag<'a>(device: &str, topic: &'a str) -> Result<&'a str, TopicError> {
    let rest = topic.strip_prefix("devices/").ok_or(TopicError::Unknown)?;
    // Device ids hold no slash, so the next one ends the id.
    let (id, rest) = rest.split_once('/').ok_or(TopicError::Unknown)?;
    if id != device {
        return Err(TopicError::OtherDevice);
    }
    match rest.strip_prefix("messages/events").ok_or(TopicError::Unknown)? {
        "" => Ok(""),
        rest => {
            let bag = rest.strip_prefix('/').ok_or(TopicError::Unknown)?;
            Ok(bag.strip_suffix('/').unwrap_or(bag))
        }
    }
}

/// `name=value`, joined by `&`. An empty entry is none; a name without `=` has the value null; of several with one name the last counts.
fn read_bag<'a>(bag: &'a str, message: &mut Message<'a>) -> Result<(), TopicError> {
    let entries = bag.split('&').filter(|entry| !entry.is_empty());
    for (count, entry) in entries.enumerate() {
        if count == ENTRIES_MAX {
            return Err(TopicError::TooManyEntries);
        }
        let (name, value) = match entry.split_once('=') {
            Some((name, value)) => (decode(name)?, Some(decode(value)?)),
            None => (decode(entry)?, None),
        };
        match name.strip_prefix("$.").and_then(SystemProperty::of_key) {
            Some(property) => set_system_property(message, property, value)?,
            None => put(&mut message.application_properties, name, value.map_or(Value::Null, Value::String)),
        }
    }
    Ok(())
}

/// A name that begins with `$.`, and where AMQP has what it says (Azure's `IotHubWirePropertyNames`).
#[derive(Clone, Copy, Debug)]
enum SystemProperty {
    MessageId,
    CorrelationId,
    UserId,
    To,
    ContentType,
    ContentEncoding,
    Expiry,
    Application(&'static str),
    Annotation(&'static str),
    /// What the hub stamps itself; Java's SDK sends it all the same.
    Ignored,
}

impl SystemProperty {
    /// `None` for a key that the hub does not know: that is an application property of an odd name, kept like any other.
    fn of_key(key: &str) -> Option<Self> {
        Some(match key {
            "mid" => Self::MessageId,
            "cid" => Self::CorrelationId,
            "uid" => Self::UserId,
            "to" => Self::To,
            "ct" => Self::ContentType,
            "ce" => Self::ContentEncoding,
            "exp" => Self::Expiry,
            "ctime" => Self::Application("iothub-creation-time-utc"),
            "on" => Self::Application("iothub-outputname"),
            "schema" => Self::Application("iothub-message-schema"),
            "ifid" => Self::Annotation("iothub-interface-id"),
            "sub" => Self::Annotation("dt-subject"),
            "diagid" => Self::Annotation("Diagnostic-Id"),
            "diagctx" => Self::Annotation("Correlation-Context"),
            "cdid" | "cmid" => Self::Ignored,
            _ => return None,
        })
    }
}

/// A system property without a value, or with an empty one, is not set: so AMQP's readers see it.
fn set_system_property<'a>(message: &mut Message<'a>, property: SystemProperty, value: Option<Cow<'a, str>>) -> Result<(), TopicError> {
    let value = value.filter(|value| !value.is_empty());
    let Properties { message_id, correlation_id, user_id, to, content_type, content_encoding, absolute_expiry_time, .. } =
        &mut message.properties;
    match property {
        SystemProperty::MessageId => *message_id = value.map(MessageId::String),
        SystemProperty::CorrelationId => *correlation_id = value.map(MessageId::String),
        SystemProperty::UserId => *user_id = value.map(into_bytes),
        SystemProperty::To => *to = value,
        SystemProperty::ContentType => *content_type = ascii("$.ct", value)?,
        SystemProperty::ContentEncoding => *content_encoding = ascii("$.ce", value)?,
        SystemProperty::Expiry => {
            *absolute_expiry_time = value.map(|text| parse_expiry(&text)).transpose().map_err(|_| TopicError::Expiry)?.flatten();
        }
        SystemProperty::Application(name) => set(&mut message.application_properties, name, value),
        SystemProperty::Annotation(name) => set(&mut message.annotations, name, value),
        SystemProperty::Ignored => {}
    }
    Ok(())
}

type Named<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

/// Sets a property; of several with one name the last counts.
fn put<'a>(list: &mut Named<'a>, name: Cow<'a, str>, value: Value<'a>) {
    match list.iter_mut().find(|(other, _)| *other == name) {
        Some((_, old)) => *old = value,
        None => list.push((name, value)),
    }
}

fn set<'a>(list: &mut Named<'a>, name: &'static str, value: Option<Cow<'a, str>>) {
    match value {
        Some(value) => put(list, name.into(), Value::String(value)),
        None => list.retain(|(other, _)| other != name),
    }
}

fn ascii<'a>(name: &'static str, value: Option<Cow<'a, str>>) -> Result<Option<Cow<'a, str>>, TopicError> {
    if value.as_ref().is_some_and(|value| !value.is_ascii()) { Err(TopicError::NotAscii(name)) } else { Ok(value) }
}

fn into_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// Undoes percent-encoding, strictly: what is not one is a fault, not a literal `%`. A `+` is a plus.
fn decode(text: &str) -> Result<Cow<'_, str>, TopicError> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = if *first == b'%' {
            let [high, low, after @ ..] = after else { return Err(TopicError::PercentEncoding) };
            decoded.push(digit(*high)? << 4 | digit(*low)?);
            after
        } else {
            decoded.push(*first);
            after
        };
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| TopicError::NotUtf8)
}

fn digit(character: u8) -> Result<u8, TopicError> {
    match character {
        b'0'..=b'9' => Ok(character - b'0'),
        b'a'..=b'f' => Ok(character - b'a' + 10),
        b'A'..=b'F' => Ok(character - b'A' + 10),
        _ => Err(TopicError::PercentEncoding),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;
    use crate::core::time::UnixMillis;

    fn read<'a>(topic: &'a str) -> Result<Message<'a>, TopicError> {
        telemetry("D", topic, b"body")
    }

    fn text(value: &str) -> Value<'_> {
        Value::String(value.into())
    }

    #[test]
    fn the_sdks_topics_are_read() {
        // Python and Node.
        let message =
            read("devices/D/messages/events/%24.mid=7f-1&%24.ct=application%2Fjson&%24.ce=utf-8&a%20b=x%26y%3Dz%2F%C3%A9").unwrap();
        assert_eq!(message.properties.message_id, Some(MessageId::String("7f-1".into())));
        assert_eq!(message.properties.content_type.as_deref(), Some("application/json"));
        assert_eq!(message.properties.content_encoding.as_deref(), Some("utf-8"));
        assert_eq!(message.application_properties, [("a b".into(), text("x&y=z/é"))]);
        assert_eq!(message.body, Body::Data(vec![b"body"[..].into()]));
        // Java.
        let message = read("devices/D/messages/events/$.mid=java-1&$.cid=c-2&$.cdid=D&$.ce=utf-8&$.ct=application%2Fjson&k=v%201").unwrap();
        assert_eq!(message.properties.message_id, Some(MessageId::String("java-1".into())));
        assert_eq!(message.properties.correlation_id, Some(MessageId::String("c-2".into())));
        assert_eq!(message.application_properties, [("k".into(), text("v 1"))]);
        assert_eq!(message.annotations, []);
        // A Node module's output: a slash too many.
        let message = read("devices/D/messages/events/%24.on=out&k=v/").unwrap();
        assert_eq!(message.application_properties, [("iothub-outputname".into(), text("out")), ("k".into(), text("v"))]);
    }

    #[test]
    fn every_system_property_has_its_place() {
        let bag = "$.uid=u%C3%A9&$.to=/x&$.exp=2026-11-23T03:00:00.5Z&$.ctime=2026-11-23T02:00:00Z&$.on=o&$.schema=s&$.ifid=urn:x&$.sub=thermostat\
                   &$.diagid=0af&%24.diagctx=creationtimeutc%3D1&$.cdid=other&$.cmid=m&$.new=n";
        let topic = format!("devices/D/messages/events/{bag}");
        let message = read(&topic).unwrap();
        assert_eq!(message.properties.user_id.as_deref(), Some("ué".as_bytes()));
        assert_eq!(message.properties.to.as_deref(), Some("/x"));
        assert_eq!(message.properties.absolute_expiry_time, Some("2026-11-23T03:00:00.5Z".parse().unwrap()));
        assert_eq!(
            message.application_properties,
            [
                ("iothub-creation-time-utc".into(), text("2026-11-23T02:00:00Z")),
                ("iothub-outputname".into(), text("o")),
                ("iothub-message-schema".into(), text("s")),
                ("$.new".into(), text("n")),
            ]
        );
        assert_eq!(
            message.annotations,
            [
                ("iothub-interface-id".into(), text("urn:x")),
                ("dt-subject".into(), text("thermostat")),
                ("Diagnostic-Id".into(), text("0af")),
                ("Correlation-Context".into(), text("creationtimeutc=1")),
            ]
        );
    }

    #[test]
    fn the_bag_may_be_missing_and_oddly_joined() {
        for topic in
            ["devices/D/messages/events", "devices/D/messages/events/", "devices/D/messages/events//", "devices/D/messages/events/&&"]
        {
            assert_eq!(read(topic).unwrap().application_properties, [], "{topic}");
        }
        let message = read("devices/D/messages/events/&bare&empty=&=nameless&a=1+2&b=c=d&a=3&path=x/y&").unwrap();
        let expected = [
            ("bare", Value::Null),
            ("empty", text("")),
            ("", text("nameless")),
            ("a", text("3")),
            ("b", text("c=d")),
            ("path", text("x/y")),
        ];
        assert_eq!(message.application_properties, expected.map(|(name, value)| (Cow::from(name), value)));
        assert_eq!(read("devices/D/messages/events/a=1+2").unwrap().application_properties, [("a".into(), text("1+2"))]);
    }

    #[test]
    fn the_last_of_several_counts_even_when_it_is_empty() {
        let message = read("devices/D/messages/events/$.mid=1&%24.mid=&$.on=a&$.on&x=1&x").unwrap();
        assert_eq!(message.properties.message_id, None);
        assert_eq!(message.application_properties, [("x".into(), Value::Null)]);
    }

    #[test]
    fn an_expiry_is_a_time() {
        let expiry = |value: &str| Ok(read(&format!("devices/D/messages/events/$.exp={value}"))?.properties.absolute_expiry_time);
        let three: UnixMillis = "2026-11-23T03:00:00Z".parse().unwrap();
        assert_eq!(expiry("2026-11-23T04%3A00%3A00%2B01%3A00"), Ok(Some(three)));
        // C#'s greatest and least.
        assert!(expiry("9999-12-31T23:59:59.9999999Z").unwrap().unwrap() > three);
        assert_eq!(expiry("0001-01-01T00%3A00%3A00"), Ok(None));
        assert_eq!(expiry("tomorrow"), Err(TopicError::Expiry));
    }

    #[test]
    fn other_topics_are_refused() {
        use TopicError as E;
        for (topic, expected) in [
            ("devices/E/messages/events/", E::OtherDevice),
            ("devices/DD/messages/events/", E::OtherDevice),
            ("devices/d/messages/events/", E::OtherDevice),
            ("devices//messages/events/", E::OtherDevice),
            ("devices/D", E::Unknown),
            ("devices/D/messages/eventsx", E::Unknown),
            ("devices/D/messages/devicebound/", E::Unknown),
            ("devices/D/modules/M/messages/events/", E::Unknown),
            ("/devices/D/messages/events/", E::Unknown),
            ("$iothub/twin/GET/?$rid=1", E::Unknown),
            ("devices/D/messages/events/a=%", E::PercentEncoding),
            ("devices/D/messages/events/a=%2", E::PercentEncoding),
            ("devices/D/messages/events/%2g=1", E::PercentEncoding),
            ("devices/D/messages/events/a=%+1", E::PercentEncoding),
            ("devices/D/messages/events/a=%ff", E::NotUtf8),
            ("devices/D/messages/events/$.ct=%C3%A9", E::NotAscii("$.ct")),
        ] {
            assert_eq!(read(topic), Err(expected), "{topic}");
        }
        let many = format!("devices/D/messages/events/{}", "a&".repeat(ENTRIES_MAX + 1));
        assert_eq!(read(&many), Err(E::TooManyEntries));
    }

    #[test]
    fn filters_are_known_or_not() {
        assert_eq!(subscription("D", "devices/D/messages/devicebound/#"), Some(Subscription::Commands));
        for filter in [
            "devices/E/messages/devicebound/#",
            "devices/DD/messages/devicebound/#",
            "devices/+/messages/devicebound/#",
            "#",
            "$iothub/twin/res/#",
        ] {
            assert_eq!(subscription("D", filter), None, "{filter}");
        }
    }

    proptest! {
        #[test]
        fn bags_round_trip(properties in prop::collection::btree_map("[^$]\\PC{0,12}", prop::option::of("\\PC{0,20}"), 0..12)) {
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let bag: Vec<String> = properties
                .iter()
                .map(|(name, value)| match value {
                    Some(value) => format!("{}={}", encode(name), encode(value)),
                    None => encode(name),
                })
                .collect();
            let topic = format!("devices/D/messages/events/{}", bag.join("&"));
            let message = read(&topic).unwrap();
            let read: BTreeMap<String, Option<String>> = message
                .application_properties
                .into_iter()
                .map(|(name, value)| match value {
                    Value::String(value) => (name.into_owned(), Some(value.into_owned())),
                    _ => (name.into_owned(), None),
                })
                .collect();
            prop_assert_eq!(read, properties);
        }

        #[test]
        fn no_topic_panics(topic in "(devices/D/messages/events/)?[$.%&=/+a-fmidexp0-9\u{e9}]{0,60}") {
            let _ = read(&topic);
        }
    }
}
