//! What targets begin with: what unmodified SDKs said, and examples by hand where nobody was listened to.

use std::collections::BTreeSet;

use mooring_hub::core::message::{Body, Message, MessageId, Properties, Value};
use mooring_hub::{amqp, mqtt};
use mqtt::packet::{Connect, Delivery, Packet, PacketId, Publish, QoS, SubAck, Subscribe, Unsubscribe, Will};

/// What each client wrote, a line for each read.
const TRANSCRIPTS: [&str; 6] = [
    include_str!("../../src/amqp/engine/tests/transcripts/node_device.hex"),
    include_str!("../../src/amqp/engine/tests/transcripts/node_event_hubs_reader.hex"),
    include_str!("../../src/amqp/engine/tests/transcripts/node_service.hex"),
    include_str!("../../src/amqp/engine/tests/transcripts/python_event_hubs_properties.hex"),
    include_str!("../../src/amqp/engine/tests/transcripts/python_event_hubs_reader.hex"),
    include_str!("../../src/amqp/engine/tests/transcripts/python_service.hex"),
];

/// Scripts that go with them: nothing but the words; a slow caller who sends; one that lets time pass.
const SCRIPTS: [&[u8]; 3] = [
    &[],
    &[0x1e, 0xf1, 0x0b, 0xf1, 0x0b, 0x0b, 0x02, 0x0e, 0x36, 0x47, 0x56, 0x66, 0x04, 0x15, 0x0a, 0x0d, 0x28, 0x09],
    &[0x71, 0x03, 0x71, 0x43, 0x71, 0x93, 0x02, 0x0c, 0x71, 0xb3, 0x1c, 0xf3],
];

fn words(transcript: &str) -> Vec<u8> {
    let digits: Vec<u32> = transcript.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).filter_map(|pair| u8::try_from(pair.iter().fold(0, |byte, digit| byte * 16 + digit)).ok()).collect()
}

/// Transcripts with scripts.
#[must_use]
pub fn conversations() -> Vec<Vec<u8>> {
    let with = |words: &[u8], script: &[u8]| [words, script, &[u8::try_from(script.len()).unwrap_or(0)]].concat();
    TRANSCRIPTS.iter().flat_map(|transcript| SCRIPTS.map(|script| with(&words(transcript), script))).collect()
}

/// The bodies of all frames in transcripts.
fn bodies() -> BTreeSet<(u8, Vec<u8>)> {
    let mut bodies = BTreeSet::new();
    for transcript in TRANSCRIPTS {
        let words = words(transcript);
        let mut rest = &words[..];
        while let Some([s0, s1, s2, s3, _, kind, ..]) = rest.first_chunk::<8>() {
            let size = match [*s0, *s1, *s2, *s3] {
                [b'A', b'M', b'Q', b'P'] => 8,
                size => usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX),
            };
            let Some((frame, others)) = rest.split_at_checked(size) else { break };
            if size > 8 {
                bodies.insert((*kind, frame[8..].to_vec()));
            }
            rest = others;
        }
    }
    bodies
}

/// Each frame in the moment when it is due.
#[must_use]
pub fn frames() -> Vec<Vec<u8>> {
    const OPEN: u8 = 0x10;
    let moment = |kind: u8, body: &[u8]| match (kind, body) {
        (1, _) => 1,
        (_, [_, _, OPEN, ..]) => 0,
        _ => 2,
    };
    bodies().iter().map(|(kind, body)| [&[moment(*kind, body)], &body[..]].concat()).collect()
}

/// A message with one of everything, a batch of them, and what the SDKs sent.
#[must_use]
pub fn deliveries() -> Vec<Vec<u8>> {
    let written = |message: &Message<'_>| {
        let mut bytes = Vec::new();
        amqp::message::write(message, &mut bytes);
        bytes
    };
    let message = Message {
        annotations: vec![
            ("iothub-interface-id".into(), Value::Symbol("a".into())),
            ("x".into(), Value::Encoded(b"\xc1\x01\x00"[..].into())),
        ],
        properties: Properties {
            message_id: Some(MessageId::Uuid([7; 16])),
            correlation_id: Some(MessageId::Ulong(9)),
            content_type: Some("application/json".into()),
            ..Properties::default()
        },
        application_properties: vec![
            ("a".into(), Value::Double(1.5)),
            ("b".into(), Value::Timestamp(mooring_hub::core::time::UnixMillis(1))),
        ],
        body: Body::Data(vec![b"{}"[..].into()]),
    };
    let value = Message { body: Body::Value(b"\xa1\x03abc"[..].into()), ..Message::default() };
    let sequence = Message { body: Body::Sequence(vec![b"\x45"[..].into()]), ..Message::default() };
    let batch = Message { body: Body::Data(vec![written(&message).into(), written(&value).into()]), ..Message::default() };
    let mut deliveries = vec![
        [&[0], &written(&message)[..]].concat(),
        [&[0], &written(&value)[..]].concat(),
        [&[0], &written(&sequence)[..]].concat(),
        [&[1], &written(&batch)[..]].concat(),
    ];
    const TRANSFER: u8 = 0x14;
    for (_, body) in bodies() {
        // A short list, and the payload behind it.
        if let [_, _, TRANSFER, 0xc0, size, rest @ ..] = &body[..]
            && let Some(payload) = rest.get(usize::from(*size)..)
        {
            deliveries.push([&[0], payload].concat());
        }
    }
    deliveries
}

/// Each kind of packet, and some one after the other.
#[must_use]
pub fn packets() -> Vec<Vec<u8>> {
    let id = PacketId::new(7).expect("7 is an id");
    let connect = Connect {
        clean_session: true,
        keep_alive_seconds: 60,
        client_id: "D",
        will: Some(Will { topic: "devices/D/messages/events/", payload: b"gone", qos: QoS::AtLeastOnce, retain: false }),
        user_name: Some("hub.test/D/?api-version=2021-04-12"),
        password: Some(b"SharedAccessSignature sr=x&sig=y&se=1"),
    };
    let publish = Publish {
        delivery: Delivery::AtLeastOnce { packet_id: id, duplicate: false },
        retain: false,
        topic: "devices/D/messages/events/a=b&%24.ct=text%2Fplain&$.mid=7",
        payload: b"{}",
    };
    let packets = [
        Packet::Connect(connect),
        Packet::Publish(publish),
        Packet::Subscribe(Subscribe { packet_id: id, filters: vec![("devices/D/messages/devicebound/#", QoS::AtLeastOnce)] }),
        Packet::SubAck(SubAck { packet_id: id, granted: vec![Some(QoS::AtLeastOnce), None] }),
        Packet::Unsubscribe(Unsubscribe { packet_id: id, filters: vec!["devices/D/messages/devicebound/#"] }),
        Packet::PubAck(id),
        Packet::PubRel(id),
        Packet::PingReq,
        Packet::Disconnect,
    ];
    let written = packets.map(|packet| {
        let mut bytes = Vec::new();
        mqtt::codec::encode(&packet, &mut bytes).expect("these are small");
        bytes
    });
    let all = [&[30], &written.concat()[..]].concat();
    written.iter().map(|packet| [&[1], &packet[..]].concat()).chain([all]).collect()
}

/// One text of each kind.
#[must_use]
pub fn texts() -> Vec<Vec<u8>> {
    const TEXTS: [&str; 11] = [
        "$cbs",
        "amqps://hub.test/devices/a%3Ab/messages/events/",
        "EH/ConsumerGroups/$Default/Partitions/0",
        "messages/events/$management",
        "SharedAccessSignature sr=hub.test%2Fdevices%2FD&sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D&se=1700000000&skn=device",
        "\0D@sas.hub\0SharedAccessSignature sr=h&sig=x&se=1",
        "\0policy@sas.root.hub\0a2V5",
        "devices/D/messages/events/a=b&%24.exp=2026-11-23T06%3A00%3A00Z&$.mid=7/",
        "2026-11-23T06:00:00.123+02:00",
        "amqp.annotation.x-opt-enqueued-time >= '1795395978094'",
        "d-:.+%_#*?!(),=@;$'",
    ];
    TEXTS.iter().map(|text| text.as_bytes().to_vec()).collect()
}
