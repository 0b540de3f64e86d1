//! `$management`: what a request for properties says, and how it is answered. Whether its sender may read is not decided here.
//!
//! Clients spell the answer's fields in two ways (`status-code` and `statusCode`), so both are said.

use std::borrow::Cow;

use serde_amqp::Value as Encodable;
use serde_amqp::primitives::{Array, OrderedMap, Timestamp};

use super::cbs;
use crate::core::event::{PartitionId, PartitionInfo, SequenceNumber};
use crate::core::host::HubNames;
use crate::core::message::{Body, Message, MessageId, Value};
use crate::core::time::UnixMillis;

/// The `type` of the events as a whole.
const EVENT_HUB: &str = "com.microsoft:eventhub";

/// The `type` of one partition.
const PARTITION: &str = "com.microsoft:partition";

/// Events' name in hubs' own addresses, which stands for the Event Hub-compatible name.
pub const EVENTS: &str = "messages/events";

/// A request for properties.
#[derive(Clone, PartialEq)]
pub struct ReadProperties<'a> {
    /// Of what: the Event Hub-compatible name, as its sender spells it.
    pub name: Cow<'a, str>,
    /// Of this partition; `None` for the events as a whole.
    pub partition: Option<Cow<'a, str>>,
    /// What its sender brings to be let in.
    pub security_token: Option<Cow<'a, str>>,
    /// Which of the sender's receivers the answer is for.
    pub reply_to: Option<Cow<'a, str>>,
}

/// A message to `$management` that asks for nothing the hub knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoReadProperties {
    /// Another operation.
    #[error("the only operation of $management is READ")]
    Operation,
    /// Of another type.
    #[error("what can be read has the type {EVENT_HUB} or {PARTITION}")]
    Type,
    /// Without a name, or of a partition without its id.
    #[error("what is to be read is named in name, and a partition's id in partition, as strings")]
    Name,
}

impl<'a> ReadProperties<'a> {
    /// From a request. The names of application properties count with case, as in Azure; what they say does not, but for ids and tokens.
    pub fn read(request: &Message<'a>) -> Result<Self, NoReadProperties> {
        let text = |wanted: &str| {
            request.application_properties.iter().find_map(|(name, value)| match value {
                Value::String(text) if name == wanted => Some(text.clone()),
                _ => None,
            })
        };
        if !text("operation").is_some_and(|operation| operation.eq_ignore_ascii_case("READ")) {
            return Err(NoReadProperties::Operation);
        }
        let partition = match text("type") {
            Some(kind) if kind.eq_ignore_ascii_case(EVENT_HUB) => None,
            Some(kind) if kind.eq_ignore_ascii_case(PARTITION) => Some(text("partition").ok_or(NoReadProperties::Name)?),
            _ => return Err(NoReadProperties::Type),
        };
        Ok(Self {
            name: text("name").ok_or(NoReadProperties::Name)?,
            partition,
            security_token: text("security_token"),
            reply_to: request.properties.reply_to.clone(),
        })
    }
}

impl std::fmt::Debug for ReadProperties<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, partition, security_token: _, reply_to } = self;
        let mut shown = formatter.debug_struct("ReadProperties");
        shown.field("name", name).field("partition", partition).field("reply_to", reply_to).finish_non_exhaustive()
    }
}

/// Whether this is what the hub's events are called: the first label of one of its names, or their name in hubs' own addresses.
#[must_use]
pub fn is_event_hub(names: &HubNames, name: &str) -> bool {
    names.include_label(name) || name.eq_ignore_ascii_case(EVENTS)
}

/// Why properties are not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// What was asked is nothing that can be answered.
    BadRequest(NoReadProperties),
    /// Whoever asks may not know.
    Unauthorized,
    /// There is no event hub of that name, or no such partition.
    NotFound,
}

/// The properties that `body` encodes.
#[must_use]
pub fn properties<'a>(message_id: Option<MessageId<'a>>, body: Vec<u8>) -> Message<'a> {
    Message { body: Body::Value(body.into()), ..answer(message_id, 200, "OK") }
}

/// No properties.
#[must_use]
pub fn refusal(message_id: Option<MessageId<'_>>, refusal: Refusal) -> Message<'_> {
    let (code, condition, description) = match refusal {
        Refusal::BadRequest(why) => (400, "com.microsoft:argument-error", why.to_string()),
        Refusal::Unauthorized => (401, "amqp:unauthorized-access", "Unauthorized".to_owned()),
        Refusal::NotFound => (404, "amqp:not-found", "there is no event hub or partition of that name here".to_owned()),
    };
    let mut message = answer(message_id, code, description);
    let spellings = ["errorCondition", "error-condition"].map(|name| (name.into(), Value::Symbol(condition.into())));
    message.application_properties.extend(spellings);
    message
}

fn answer<'a>(message_id: Option<MessageId<'a>>, code: i32, description: impl Into<Cow<'a, str>>) -> Message<'a> {
    let description = description.into();
    let mut message = cbs::answer(message_id, code, description.clone());
    message.application_properties.push(("statusCode".into(), Value::Int(code)));
    message.application_properties.push(("statusDescription".into(), Value::String(description)));
    message
}

/// What is told of the events as a whole: a map, in AMQP's encoding. The ids are an array, because there are clients that read no list.
#[must_use]
pub fn event_hub(name: &str, created: UnixMillis, partitions: u16) -> Vec<u8> {
    let ids = (0..partitions).map(|partition| Encodable::String(partition.to_string())).collect();
    encoded([
        ("name", Encodable::String(name.to_owned())),
        ("type", Encodable::String(EVENT_HUB.to_owned())),
        ("created_at", timestamp(created)),
        ("partition_count", Encodable::Int(partitions.into())),
        ("partition_ids", Encodable::Array(Array(ids))),
    ])
}

/// What is told of one partition. Before its first event the last one has Azure's number and offset of none, -1.
#[must_use]
pub fn partition(name: &str, partition: PartitionId, info: &PartitionInfo) -> Vec<u8> {
    let last = LastEnqueued::of(info);
    encoded([
        ("name", Encodable::String(name.to_owned())),
        ("type", Encodable::String(PARTITION.to_owned())),
        ("partition", Encodable::String(partition.to_string())),
        ("begin_sequence_number", Encodable::Long(long(info.begin_sequence_number))),
        ("last_enqueued_sequence_number", Encodable::Long(last.sequence_number)),
        ("last_enqueued_offset", Encodable::String(last.offset)),
        ("last_enqueued_time_utc", timestamp(last.time)),
        ("is_partition_empty", Encodable::Bool(info.begin_sequence_number >= info.next_sequence_number)),
    ])
}

/// The last event of a partition, in the types in which clients want to hear of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastEnqueued {
    /// Its number, -1 for none.
    pub sequence_number: i64,
    /// Its offset, "-1" for none.
    pub offset: String,
    /// When it was enqueued; 1970 when that is not known.
    pub time: UnixMillis,
}

impl LastEnqueued {
    /// From what a partition holds.
    #[must_use]
    pub fn of(info: &PartitionInfo) -> Self {
        let sequence_number = long(info.next_sequence_number) - 1;
        Self { sequence_number, offset: sequence_number.to_string(), time: info.last_enqueued_time.unwrap_or(UnixMillis(0)) }
    }
}

/// AMQP's numbers of events have a sign.
#[must_use]
pub fn long(number: SequenceNumber) -> i64 {
    i64::try_from(number.0).unwrap_or(i64::MAX)
}

fn timestamp(time: UnixMillis) -> Encodable {
    Encodable::Timestamp(Timestamp::from_milliseconds(time.0))
}

fn encoded<const N: usize>(entries: [(&str, Encodable); N]) -> Vec<u8> {
    let map: OrderedMap<Encodable, Encodable> =
        entries.into_iter().map(|(name, value)| (Encodable::String(name.to_owned()), value)).collect();
    serde_amqp::to_vec(&Encodable::Map(map)).expect("texts, numbers and their arrays have an encoding")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::message;
    use crate::core::message::Properties;

    fn request(properties: &[(&'static str, &'static str)]) -> Message<'static> {
        Message {
            properties: Properties { reply_to: Some("reply".into()), ..Properties::default() },
            application_properties: properties.iter().map(|(name, text)| ((*name).into(), Value::String((*text).into()))).collect(),
            ..Message::default()
        }
    }

    fn entries(body: &[u8]) -> Vec<(String, Encodable)> {
        let Encodable::Map(map) = serde_amqp::from_slice(body).unwrap() else { panic!("no map") };
        let entry = |(key, value): (Encodable, Encodable)| match key {
            Encodable::String(key) => (key, value),
            other => panic!("{other:?} is no string"),
        };
        map.into_iter().map(entry).collect()
    }

    #[test]
    fn properties_are_asked_for_the_hub_and_for_a_partition() {
        let hub = request(&[("operation", "READ"), ("name", "EH"), ("type", EVENT_HUB), ("security_token", "secret")]);
        let read = ReadProperties::read(&hub).unwrap();
        assert_eq!((&*read.name, read.partition.as_deref(), read.reply_to.as_deref()), ("EH", None, Some("reply")));
        assert_eq!(read.security_token.as_deref(), Some("secret"));
        assert!(!format!("{read:?}").contains("secret"));
        let partition = request(&[("operation", "read"), ("name", "EH"), ("type", PARTITION), ("partition", "3")]);
        assert_eq!(ReadProperties::read(&partition).unwrap().partition.as_deref(), Some("3"));
    }

    #[test]
    fn everything_else_is_told_what_it_lacks() {
        for (properties, error) in [
            (&[][..], NoReadProperties::Operation),
            (&[("operation", "DELETE"), ("name", "EH"), ("type", EVENT_HUB)], NoReadProperties::Operation),
            (&[("operation", "READ"), ("name", "EH")], NoReadProperties::Type),
            (&[("operation", "READ"), ("name", "EH"), ("type", "com.microsoft:entity")], NoReadProperties::Type),
            (&[("operation", "READ"), ("type", EVENT_HUB)], NoReadProperties::Name),
            (&[("operation", "READ"), ("name", "EH"), ("type", PARTITION)], NoReadProperties::Name),
        ] {
            assert_eq!(ReadProperties::read(&request(properties)), Err(error), "{properties:?}");
        }
    }

    #[test]
    fn the_events_are_called_by_the_hubs_name() {
        let names = HubNames::new("plant.example", &["old.azure-devices.net".into()]);
        for name in ["plant", "PLANT", "old", "messages/events", "Messages/Events"] {
            assert!(is_event_hub(&names, name), "{name}");
        }
        assert!(!is_event_hub(&names, "plant.example") && !is_event_hub(&names, "other"));
    }

    #[test]
    fn the_hubs_properties_have_their_types() {
        let body = event_hub("EH", UnixMillis(7), 2);
        let ids = Array(vec![Encodable::String("0".into()), Encodable::String("1".into())]);
        let expected = [
            ("name", Encodable::String("EH".into())),
            ("type", Encodable::String(EVENT_HUB.into())),
            ("created_at", Encodable::Timestamp(Timestamp::from_milliseconds(7))),
            ("partition_count", Encodable::Int(2)),
            ("partition_ids", Encodable::Array(ids)),
        ];
        assert_eq!(entries(&body), expected.map(|(key, value)| (key.to_owned(), value)));
        let bytes: &[u8] = b"\xa1\x0dpartition_ids";
        let at = body.windows(bytes.len()).position(|window| window == bytes).unwrap() + bytes.len();
        assert!(matches!(body[at], 0xe0 | 0xf0), "an array");
    }

    #[test]
    fn an_empty_partition_has_a_last_event_of_minus_one() {
        let empty =
            PartitionInfo { begin_sequence_number: SequenceNumber(0), next_sequence_number: SequenceNumber(0), last_enqueued_time: None };
        let told = |info| entries(&partition("EH", PartitionId(3), &info))[3..].to_vec();
        let expected = |begin, last: i64, time, is_empty| {
            [
                ("begin_sequence_number", Encodable::Long(begin)),
                ("last_enqueued_sequence_number", Encodable::Long(last)),
                ("last_enqueued_offset", Encodable::String(last.to_string())),
                ("last_enqueued_time_utc", Encodable::Timestamp(Timestamp::from_milliseconds(time))),
                ("is_partition_empty", Encodable::Bool(is_empty)),
            ]
            .map(|(key, value)| (key.to_owned(), value))
        };
        assert_eq!(told(empty), expected(0, -1, 0, true));
        let some = PartitionInfo {
            begin_sequence_number: SequenceNumber(4),
            next_sequence_number: SequenceNumber(9),
            last_enqueued_time: Some(UnixMillis(5)),
        };
        assert_eq!(told(some), expected(4, 8, 5, false));
        let gone = PartitionInfo { begin_sequence_number: SequenceNumber(9), ..some };
        assert_eq!(told(gone), expected(9, 8, 5, true));
    }

    #[test]
    fn an_answer_says_its_code_in_both_spellings() {
        let mut bytes = Vec::new();
        message::write(&refusal(Some(MessageId::Ulong(1)), Refusal::NotFound), &mut bytes);
        let read = message::read(&bytes).unwrap();
        let of = |name: &str| read.application_properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        assert_eq!(read.properties.correlation_id, Some(MessageId::Ulong(1)));
        assert_eq!((of("status-code"), of("statusCode")), (Some(Value::Int(404)), Some(Value::Int(404))));
        assert_eq!(of("errorCondition"), Some(Value::Symbol("amqp:not-found".into())));
        assert!(of("status-description").is_some() && of("status-description") == of("statusDescription"));
    }
}
