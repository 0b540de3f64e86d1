//! The oracle is `serde_amqp`, which shares nothing with this codec.

use std::borrow::Cow;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde::Deserialize as _;
use serde_amqp::Value as Foreign;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;
use serde_amqp::primitives::{Array, OrderedMap, Symbol};

use super::*;
use crate::core::message::MessageId;
use crate::core::time::UnixMillis;

fn encoded(message: &Message<'_>, stamps: &EncodedAnnotations) -> Vec<u8> {
    let mut out = Vec::new();
    encode(message, stamps, &mut out);
    out
}

fn text() -> impl Strategy<Value = Cow<'static, str>> {
    prop_oneof![9 => "\\PC{0,12}", 1 => "[a-zä]{250,270}"].prop_map(Cow::Owned)
}

fn symbol() -> impl Strategy<Value = Cow<'static, str>> {
    prop_oneof![9 => "[!-~]{0,12}", 1 => "[!-~]{250,270}"].prop_map(Cow::Owned)
}

fn bytes() -> impl Strategy<Value = Cow<'static, [u8]>> {
    prop_oneof![9 => vec(any::<u8>(), 0..12), 1 => vec(any::<u8>(), 250..270)].prop_map(Cow::Owned)
}

fn time() -> impl Strategy<Value = UnixMillis> {
    any::<i64>().prop_map(UnixMillis)
}

fn message_id() -> impl Strategy<Value = MessageId<'static>> {
    prop_oneof![
        prop_oneof![0..300_u64, any::<u64>()].prop_map(MessageId::Ulong),
        any::<[u8; 16]>().prop_map(MessageId::Uuid),
        bytes().prop_map(MessageId::Binary),
        text().prop_map(MessageId::String),
    ]
}

fn simple_value() -> impl Strategy<Value = Value<'static>> {
    let integers = prop_oneof![
        any::<u8>().prop_map(Value::Ubyte),
        any::<u16>().prop_map(Value::Ushort),
        prop_oneof![0..300_u32, any::<u32>()].prop_map(Value::Uint),
        prop_oneof![0..300_u64, any::<u64>()].prop_map(Value::Ulong),
        any::<i8>().prop_map(Value::Byte),
        any::<i16>().prop_map(Value::Short),
        prop_oneof![-150..150_i32, any::<i32>()].prop_map(Value::Int),
        prop_oneof![-150..150_i64, any::<i64>()].prop_map(Value::Long),
    ];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        integers,
        any::<f32>().prop_map(Value::Float),
        any::<f64>().prop_map(Value::Double),
        any::<[u8; 4]>().prop_map(Value::Decimal32),
        any::<[u8; 8]>().prop_map(Value::Decimal64),
        any::<[u8; 16]>().prop_map(Value::Decimal128),
        any::<char>().prop_map(Value::Char),
        time().prop_map(Value::Timestamp),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        bytes().prop_map(Value::Binary),
        text().prop_map(Value::String),
        symbol().prop_map(Value::Symbol),
    ]
}

/// A list, map, array or described value, encoded by the oracle.
fn compound() -> impl Strategy<Value = Cow<'static, [u8]>> {
    let simple = || simple_value().prop_map(|value| foreign(&value));
    let map = btree_map(0..1000_i32, simple(), 0..4).prop_map(|map| map.into_iter().map(|(k, v)| (Foreign::Int(k), v)).collect());
    prop_oneof![
        list(),
        map.prop_map(Foreign::Map),
        vec("[a-z]{0,9}", 1..5).prop_map(|texts| Foreign::Array(Array(texts.into_iter().map(Foreign::String).collect()))),
        (any::<u64>(), simple()).prop_map(|(code, value)| described(code, value)),
    ]
    .prop_map(|value| serde_amqp::to_vec(&value).unwrap().into())
}

fn list() -> impl Strategy<Value = Foreign> {
    vec(simple_value().prop_map(|value| foreign(&value)), 0..6).prop_map(Foreign::List)
}

fn properties() -> impl Strategy<Value = Properties<'static>> {
    let addresses = (option::of(text()), option::of(text()), option::of(text()));
    let content = (option::of(symbol()), option::of(symbol()));
    let groups = (option::of(text()), option::of(any::<u32>()), option::of(text()));
    let ids = (option::of(message_id()), option::of(bytes()), option::of(message_id()));
    let times = (option::of(time()), option::of(time()));
    (ids, addresses, content, times, groups).prop_map(|(ids, addresses, content, times, groups)| Properties {
        message_id: ids.0,
        user_id: ids.1,
        to: addresses.0,
        subject: addresses.1,
        reply_to: addresses.2,
        correlation_id: ids.2,
        content_type: content.0,
        content_encoding: content.1,
        absolute_expiry_time: times.0,
        creation_time: times.1,
        group_id: groups.0,
        group_sequence: groups.1,
        reply_to_group_id: groups.2,
    })
}

prop_compose! {
    fn message()(
        annotations in btree_map(symbol(), prop_oneof![3 => simple_value(), 1 => compound().prop_map(Value::Encoded)], 0..5),
        properties in prop_oneof![1 => Just(Properties::default()), 4 => properties()],
        application_properties in prop_oneof![9 => btree_map(text(), simple_value(), 0..6), 1 => btree_map(text(), simple_value(), 120..140)],
        body in prop_oneof![
            vec(bytes(), 0..4).prop_map(Body::Data),
            prop_oneof![compound(), simple_value().prop_map(|value| serde_amqp::to_vec(&foreign(&value)).unwrap().into())].prop_map(Body::Value),
            vec(list().prop_map(|list| serde_amqp::to_vec(&list).unwrap().into()), 1..4).prop_map(Body::Sequence),
        ],
    ) -> Message<'static> {
        Message {
            annotations: annotations.into_iter().collect(),
            properties,
            application_properties: application_properties.into_iter().collect(),
            body,
        }
    }
}

/// The value as the oracle has it.
fn foreign(value: &Value<'_>) -> Foreign {
    match value {
        Value::Null => Foreign::Null,
        Value::Boolean(value) => Foreign::Bool(*value),
        Value::Ubyte(value) => Foreign::Ubyte(*value),
        Value::Ushort(value) => Foreign::Ushort(*value),
        Value::Uint(value) => Foreign::Uint(*value),
        Value::Ulong(value) => Foreign::Ulong(*value),
        Value::Byte(value) => Foreign::Byte(*value),
        Value::Short(value) => Foreign::Short(*value),
        Value::Int(value) => Foreign::Int(*value),
        Value::Long(value) => Foreign::Long(*value),
        Value::Float(value) => Foreign::from(*value),
        Value::Double(value) => Foreign::from(*value),
        Value::Decimal32(bytes) => Foreign::Decimal32((*bytes).into()),
        Value::Decimal64(bytes) => Foreign::Decimal64((*bytes).into()),
        Value::Decimal128(bytes) => Foreign::Decimal128((*bytes).into()),
        Value::Char(value) => Foreign::Char(*value),
        Value::Timestamp(time) => Foreign::Timestamp(time.0.into()),
        Value::Uuid(bytes) => Foreign::Uuid((*bytes).into()),
        Value::Binary(bytes) => foreign_binary(bytes),
        Value::String(text) => Foreign::String(text.to_string()),
        Value::Symbol(text) => Foreign::Symbol(Symbol::new(&**text)),
        Value::Encoded(encoded) => serde_amqp::from_slice(encoded).unwrap(),
    }
}

fn foreign_binary(bytes: &[u8]) -> Foreign {
    serde_amqp::from_slice(&[&[0xb0], &u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()).unwrap()
}

fn foreign_id(id: &MessageId<'_>) -> Foreign {
    match id {
        MessageId::Ulong(number) => Foreign::Ulong(*number),
        MessageId::Uuid(bytes) => Foreign::Uuid((*bytes).into()),
        MessageId::Binary(bytes) => foreign_binary(bytes),
        MessageId::String(text) => Foreign::String(text.to_string()),
    }
}

fn described(code: u64, value: Foreign) -> Foreign {
    Foreign::Described(Box::new(Described { descriptor: Descriptor::Code(code), value }))
}

fn foreign_properties(properties: &Properties<'_>) -> Vec<Foreign> {
    let string = |text: &Option<Cow<'_, str>>| text.as_ref().map(|text| Foreign::String(text.to_string()));
    let symbol = |text: &Option<Cow<'_, str>>| text.as_ref().map(|text| Foreign::Symbol(Symbol::new(&**text)));
    let time = |time: Option<UnixMillis>| time.map(|time| Foreign::Timestamp(time.0.into()));
    let mut fields = vec![
        properties.message_id.as_ref().map(foreign_id),
        properties.user_id.as_deref().map(foreign_binary),
        string(&properties.to),
        string(&properties.subject),
        string(&properties.reply_to),
        properties.correlation_id.as_ref().map(foreign_id),
        symbol(&properties.content_type),
        symbol(&properties.content_encoding),
        time(properties.absolute_expiry_time),
        time(properties.creation_time),
        string(&properties.group_id),
        properties.group_sequence.map(Foreign::Uint),
        string(&properties.reply_to_group_id),
    ];
    while fields.last() == Some(&None) {
        fields.pop();
    }
    fields.into_iter().map(Option::unwrap_or_default).collect()
}

/// The sections as the oracle has them.
fn foreign_sections(message: &Message<'_>) -> Vec<Foreign> {
    let mut sections = Vec::new();
    let properties = foreign_properties(&message.properties);
    if !properties.is_empty() {
        sections.push(described(0x73, Foreign::List(properties)));
    }
    if !message.application_properties.is_empty() {
        let map: OrderedMap<_, _> =
            message.application_properties.iter().map(|(name, value)| (Foreign::String(name.to_string()), foreign(value))).collect();
        sections.push(described(0x74, Foreign::Map(map)));
    }
    match &message.body {
        Body::Data(data) => sections.extend(data.iter().map(|bytes| described(0x75, foreign_binary(bytes)))),
        Body::Sequence(lists) => sections.extend(lists.iter().map(|list| described(0x76, serde_amqp::from_slice(list).unwrap()))),
        Body::Value(value) => sections.push(described(0x77, serde_amqp::from_slice(value).unwrap())),
    }
    sections
}

fn foreign_annotations(message: &Message<'_>) -> Vec<Foreign> {
    message.annotations.iter().flat_map(|(name, value)| [Foreign::Symbol(Symbol::new(&**name)), foreign(value)]).collect()
}

/// Everything that the oracle finds in the bytes, one value after the other.
fn foreign_values(bytes: &[u8]) -> Vec<Foreign> {
    let mut rest = bytes;
    let mut values = Vec::new();
    while !rest.is_empty() {
        let mut input = Input(rest);
        let value = input.encoded_value().unwrap();
        values.push(serde_amqp::from_slice(value).unwrap());
        rest = input.0;
    }
    values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn decoding_gives_back_what_was_encoded(message in message(), before in vec(any::<u8>(), 0..9)) {
        let mut out = before.clone();
        encode(&message, &EncodedAnnotations::default(), &mut out);
        prop_assert_eq!(&out[..before.len()], &before[..]);
        prop_assert_eq!(decode(&out[before.len()..]).unwrap(), message);
    }

    #[test]
    fn the_oracle_reads_what_was_encoded(message in message()) {
        let out = encoded(&message, &EncodedAnnotations::default());
        let parts = split(&out).unwrap();
        prop_assert_eq!(usize::from(parts.annotation_count), message.annotations.len());
        prop_assert_eq!(foreign_values(parts.annotation_entries), foreign_annotations(&message));
        prop_assert_eq!(foreign_values(parts.sections), foreign_sections(&message));
        // And without our own notion of where a value ends.
        let mut deserializer = serde_amqp::de::Deserializer::new(serde_amqp::read::SliceReader::new(parts.sections));
        for section in foreign_sections(&message) {
            prop_assert_eq!(Foreign::deserialize(&mut deserializer).unwrap(), section);
        }
    }

    #[test]
    fn what_the_oracle_wrote_is_decoded(message in message()) {
        let write = |values: Vec<Foreign>| values.iter().flat_map(|value| serde_amqp::to_vec(value).unwrap()).collect::<Vec<_>>();
        let annotations = write(foreign_annotations(&message));
        let mut content = u32::try_from(annotations.len()).unwrap().to_le_bytes().to_vec();
        content.extend(u16::try_from(message.annotations.len()).unwrap().to_le_bytes());
        content.extend(annotations);
        content.extend(write(foreign_sections(&message)));
        prop_assert_eq!(decode(&content).unwrap(), message);
    }

    #[test]
    fn what_peers_write_is_understood(message in message(), on_the_way: (bool, bool, bool), wide: bool) {
        let map = |pairs: &[(&str, bool)]| Foreign::Map(pairs.iter().map(|(key, value)| (Foreign::Symbol(Symbol::new(*key)), Foreign::Bool(*value))).collect());
        let mut sections = Vec::new();
        if on_the_way.0 {
            sections.push(described(0x70, Foreign::List(vec![Foreign::Bool(true), Foreign::Ubyte(4)])));
        }
        if on_the_way.1 {
            sections.push(described(0x71, map(&[("x-opt-anything", true)])));
        }
        if !message.annotations.is_empty() {
            let annotations = message.annotations.iter().map(|(name, value)| (Foreign::Symbol(Symbol::new(&**name)), foreign(value)));
            sections.push(described(0x72, Foreign::Map(annotations.collect())));
        }
        sections.extend(foreign_sections(&message));
        if on_the_way.2 {
            sections.push(described(0x78, map(&[("checksum", false)])));
        }
        let mut bytes = Vec::new();
        for section in sections {
            let section = serde_amqp::to_vec(&section).unwrap();
            if wide {
                // The same descriptor in eight bytes.
                bytes.extend_from_slice(&[0x00, 0x80, 0, 0, 0, 0, 0, 0, 0]);
                bytes.extend_from_slice(&section[2..]);
            } else {
                bytes.extend(section);
            }
        }
        let empty = Body::Data(Vec::new());
        let expected = if message.body == empty { Message { body: Body::default(), ..message } } else { message };
        prop_assert_eq!(decode_wire(&bytes).unwrap(), expected);
    }

    #[test]
    fn peers_understand_what_is_written(message in message()) {
        let mut bytes = Vec::new();
        encode_wire(&message, &mut bytes);
        let mut expected = foreign_sections(&message);
        if !message.annotations.is_empty() {
            let annotations = message.annotations.iter().map(|(name, value)| (Foreign::Symbol(Symbol::new(&**name)), foreign(value)));
            expected.insert(0, described(0x72, Foreign::Map(annotations.collect())));
        }
        prop_assert_eq!(foreign_values(&bytes), expected);
    }

    /// A reader is sent a copy of what is stored, behind a head.
    #[test]
    fn peers_understand_a_copy_behind_its_head(message in message(), number: i64, delivery: bool) {
        let stored = encoded(&message, &EncodedAnnotations::new(&[("iothub-connection-device-id", Value::String("D".into()))]));
        let parts = split(&stored).unwrap();
        let said = [("last_enqueued_sequence_number", Value::Long(number))];
        let stamps = [("x-opt-sequence-number", Value::Long(number)), ("x-opt-offset", Value::String(number.to_string().into()))];
        let mut bytes = Vec::new();
        encode_head(if delivery { &said } else { &[] }, &stamps, &parts, &mut bytes);
        bytes.extend_from_slice(parts.annotation_entries);
        bytes.extend_from_slice(parts.sections);

        let annotations: OrderedMap<_, _> = [
            (Foreign::Symbol("x-opt-sequence-number".into()), Foreign::Long(number)),
            (Foreign::Symbol("x-opt-offset".into()), Foreign::String(number.to_string())),
        ]
        .into_iter()
        .chain(message.annotations.iter().map(|(name, value)| (Foreign::Symbol(Symbol::new(&**name)), foreign(value))))
        .chain([(Foreign::Symbol("iothub-connection-device-id".into()), Foreign::String("D".into()))])
        .collect();
        let mut expected = vec![described(0x72, Foreign::Map(annotations))];
        expected.extend(foreign_sections(&message));
        if delivery {
            let said = [(Foreign::Symbol("last_enqueued_sequence_number".into()), Foreign::Long(number))];
            expected.insert(0, described(0x71, Foreign::Map(said.into_iter().collect())));
        }
        prop_assert_eq!(foreign_values(&bytes), expected);
    }

    #[test]
    fn garbage_from_the_wire_never_panics(garbage in vec(any::<u8>(), 0..200), first in 0x70..0x79_u8) {
        let _ = decode_wire(&garbage);
        let _ = decode_wire(&[&[0x00, 0x53, first], &garbage[..]].concat());
    }

    #[test]
    fn every_cut_and_every_surplus_is_told(message in message(), cut in any::<prop::sample::Index>(), surplus in 0x01_u8..) {
        let mut out = encoded(&message, &EncodedAnnotations::default());
        out.push(surplus);
        prop_assert!(decode(&out).is_err());
        out.pop();
        out.truncate(cut.index(out.len()));
        // A cut between two body sections, or before all of them, leaves a message with fewer.
        if let Ok(shorter) = decode(&out) {
            prop_assert_ne!(shorter, message);
        }
    }

    #[test]
    fn garbage_never_panics(garbage in vec(any::<u8>(), 0..200)) {
        let _ = decode(&garbage);
        let _ = find_annotation(&garbage, "x");
    }

    #[test]
    fn flipped_bytes_never_panic(message in message(), flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut out = encoded(&message, &EncodedAnnotations::default());
        for (index, byte) in flips {
            let index = index.index(out.len());
            out[index] = byte;
        }
        let _ = decode(&out);
        let _ = find_annotation(&out, "x");
    }
}

#[test]
fn stamps_follow_the_annotations_of_the_message() {
    let stamps = EncodedAnnotations::new(&[("iothub-connection-device-id", Value::String("d".into())), ("n", Value::Long(-1))]);
    let claimed = ("iothub-connection-device-id".into(), Value::String("another".into()));
    let message = Message { annotations: vec![claimed.clone()], ..Message::default() };
    let out = encoded(&message, &stamps);
    let decoded = decode(&out).unwrap();
    assert_eq!(
        decoded.annotations,
        [claimed, ("iothub-connection-device-id".into(), Value::String("d".into())), ("n".into(), Value::Long(-1))]
    );
    assert_eq!(find_annotation(&out, "iothub-connection-device-id"), Ok(Some(Value::String("d".into()))));
    assert_eq!(find_annotation(&out, "missing"), Ok(None));
}

#[test]
fn the_form_is_as_documented() {
    let message = Message {
        annotations: vec![("a".into(), Value::Boolean(true))],
        properties: Properties { message_id: Some(MessageId::String("m".into())), ..Properties::default() },
        application_properties: vec![("k".into(), Value::String("v".into()))],
        body: Body::Data(vec![b"hi".into()]),
    };
    let expected: &[&[u8]] = &[
        &[4, 0, 0, 0, 1, 0],
        b"\xa3\x01a\x41",
        b"\x00\x53\x73\xc0\x04\x01\xa1\x01m",
        b"\x00\x53\x74\xc1\x07\x02\xa1\x01k\xa1\x01v",
        b"\x00\x53\x75\xa0\x02hi",
    ];
    assert_eq!(encoded(&message, &EncodedAnnotations::default()), expected.concat());
    assert_eq!(encoded(&Message::default(), &EncodedAnnotations::default()), b"\0\0\0\0\0\0\x00\x53\x75\xa0\x00");
}

#[test]
fn a_list_moves_to_its_long_form_at_256_bytes() {
    for length in 240..270 {
        let text = "x".repeat(length);
        let message = Message {
            properties: Properties { to: Some(text.into()), group_sequence: Some(1), ..Properties::default() },
            ..Message::default()
        };
        assert_eq!(decode(&encoded(&message, &EncodedAnnotations::default())), Ok(message));
    }
}

#[test]
fn forms_that_nobody_writes_compactly_are_read() {
    let cases: &[(&[u8], Value<'_>)] = &[
        (b"\x56\x00", Value::Boolean(false)),
        (b"\x56\x01", Value::Boolean(true)),
        (b"\x70\0\0\0\0", Value::Uint(0)),
        (b"\x80\0\0\0\0\0\0\0\x07", Value::Ulong(7)),
        (b"\x71\xff\xff\xff\xff", Value::Int(-1)),
        (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff", Value::Long(-1)),
        (b"\xb0\0\0\0\x01x", Value::Binary(b"x".into())),
        (b"\xb1\0\0\0\x01x", Value::String("x".into())),
        (b"\xb3\0\0\0\x01x", Value::Symbol("x".into())),
        (b"\x45", Value::Encoded(b"\x45".into())),
        (b"\x00\x53\x01\x00\x53\x02\x40", Value::Encoded(b"\x00\x53\x01\x00\x53\x02\x40".into())),
    ];
    for (bytes, value) in cases {
        let mut input = Input(bytes);
        assert_eq!(input.value().as_ref(), Ok(value));
        assert_eq!(input.end(), Ok(()));
    }
}

#[test]
fn damage_has_a_name() {
    let read = |bytes| Input(bytes).value();
    assert_eq!(read(b""), Err(Damaged::Truncated));
    assert_eq!(read(b"\x56\x02"), Err(Damaged::Content("boolean")));
    assert_eq!(read(b"\x73\0\0\xd8\0"), Err(Damaged::Content("char")));
    assert_eq!(read(b"\xa1\x01\xff"), Err(Damaged::Content("text")));
    assert_eq!(read(b"\x57"), Err(Damaged::Constructor(0x57)));
    assert_eq!(read(b"\xff\x01\x00"), Err(Damaged::Constructor(0xff)));
    assert_eq!(read(&[0x00; 100]), Err(Damaged::TooDeep));
    assert_eq!(decode(b"\0\0\0\0\0\0\x00\x53\x74\xc1\x01\x00\x00\x53\x73\xc0\x01\x00"), Err(Damaged::Section(0x73)));
    assert_eq!(decode(b"\0\0\0\0\0\0\x00\x53\x74\xc1\x02\x01\x40"), Err(Damaged::Type("a map of pairs")));
    assert_eq!(
        decode(b"\0\0\0\0\0\0\x00\x53\x73\xc0\x0f\x0e\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40"),
        Err(Damaged::Surplus)
    );
    assert_eq!(decode(b"\0\0\0\0\x01\0"), Err(Damaged::Truncated));
    assert_eq!(decode(b"\x01\0\0\0\0\0\x40"), Err(Damaged::Surplus));
}
