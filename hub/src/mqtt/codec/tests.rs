use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rumqttc::mqttbytes as oracle;

use super::*;

const ALL: Limits = Limits { publish_bytes: usize::MAX, control_bytes: usize::MAX };

/// Texts and payloads are leaked, a few KiB in all, so that whole packets can be generated.
fn text(pattern: &'static str) -> impl Strategy<Value = &'static str> {
    pattern.prop_map(|text| &*text.leak())
}

fn topic() -> impl Strategy<Value = &'static str> {
    text("[a-zA-Z0-9/$%=&+ü€-]{1,40}")
}

fn payload() -> impl Strategy<Value = &'static [u8]> {
    vec(any::<u8>(), 0..300).prop_map(|bytes| &*bytes.leak())
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|number| PacketId::new(number).unwrap())
}

fn qos() -> impl Strategy<Value = QoS> {
    (0..3_u8).prop_map(|number| QoS::from_number(number).unwrap())
}

fn connect() -> impl Strategy<Value = Connect<'static>> {
    let will = (topic(), payload(), qos(), any::<bool>()).prop_map(|(topic, payload, qos, retain)| Will { topic, payload, qos, retain });
    let login = option::of((text("\\PC{0,30}"), option::of(payload())));
    (any::<bool>(), any::<u16>(), text("\\PC{0,20}"), option::of(will), login).prop_map(
        |(clean_session, keep_alive_seconds, client_id, will, login)| Connect {
            clean_session,
            keep_alive_seconds,
            client_id,
            will,
            user_name: login.map(|(user_name, _)| user_name),
            password: login.and_then(|(_, password)| password),
        },
    )
}

fn publish() -> impl Strategy<Value = Publish<'static>> {
    let delivery = (0..3, packet_id(), any::<bool>()).prop_map(|(quality, packet_id, duplicate)| match quality {
        0 => Delivery::AtMostOnce,
        1 => Delivery::AtLeastOnce { packet_id, duplicate },
        _ => Delivery::ExactlyOnce { packet_id, duplicate },
    });
    (delivery, any::<bool>(), topic(), payload()).prop_map(|(delivery, retain, topic, payload)| Publish {
        delivery,
        retain,
        topic,
        payload,
    })
}

fn packet() -> impl Strategy<Value = Packet<'static>> {
    let code = (0..=5_u8).prop_map(|number| ConnectReturnCode::from_number(number).unwrap());
    prop_oneof![
        2 => connect().prop_map(Packet::Connect),
        1 => (any::<bool>(), code).prop_map(|(session_present, code)| Packet::ConnAck(ConnAck { session_present, code })),
        4 => publish().prop_map(Packet::Publish),
        1 => packet_id().prop_map(Packet::PubAck),
        1 => packet_id().prop_map(Packet::PubRec),
        1 => packet_id().prop_map(Packet::PubRel),
        1 => packet_id().prop_map(Packet::PubComp),
        1 => (packet_id(), vec((topic(), qos()), 1..=FILTERS_MAX)).prop_map(|(packet_id, filters)| Packet::Subscribe(Subscribe { packet_id, filters })),
        1 => (packet_id(), vec(option::of(qos()), 1..=FILTERS_MAX)).prop_map(|(packet_id, granted)| Packet::SubAck(SubAck { packet_id, granted })),
        1 => (packet_id(), vec(topic(), 1..=FILTERS_MAX)).prop_map(|(packet_id, filters)| Packet::Unsubscribe(Unsubscribe { packet_id, filters })),
        1 => packet_id().prop_map(Packet::UnsubAck),
        1 => Just(Packet::PingReq),
        1 => Just(Packet::PingResp),
        1 => Just(Packet::Disconnect),
    ]
}

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, &mut bytes).unwrap();
    bytes
}

/// The packet as rumqttc's codec has it; `None` for the few that it can't say.
fn as_oracle(packet: &Packet<'_>) -> Option<oracle::v4::Packet> {
    use oracle::v4;
    let quality = |qos: QoS| oracle::qos(qos as u8).unwrap();
    Some(match packet {
        Packet::Connect(connect) => {
            let login = match (connect.user_name, connect.password.map(std::str::from_utf8)) {
                (None, None) => None,
                (Some(user_name), Some(Ok(password))) if !user_name.is_empty() && !password.is_empty() => {
                    Some(v4::Login::new(user_name, password))
                }
                _ => return None,
            };
            let last_will = connect.will.as_ref().map(|will| v4::LastWill::new(will.topic, will.payload, quality(will.qos), will.retain));
            v4::Packet::Connect(v4::Connect {
                protocol: rumqttc::Protocol::V4,
                keep_alive: connect.keep_alive_seconds,
                client_id: connect.client_id.into(),
                clean_session: connect.clean_session,
                last_will,
                login,
            })
        }
        Packet::ConnAck(answer) => {
            let code = match answer.code {
                ConnectReturnCode::Accepted => v4::ConnectReturnCode::Success,
                ConnectReturnCode::UnacceptableProtocolVersion => v4::ConnectReturnCode::RefusedProtocolVersion,
                ConnectReturnCode::IdentifierRejected => v4::ConnectReturnCode::BadClientId,
                ConnectReturnCode::ServerUnavailable => v4::ConnectReturnCode::ServiceUnavailable,
                ConnectReturnCode::BadUserNameOrPassword => v4::ConnectReturnCode::BadUserNamePassword,
                ConnectReturnCode::NotAuthorized => v4::ConnectReturnCode::NotAuthorized,
            };
            v4::Packet::ConnAck(v4::ConnAck::new(code, answer.session_present))
        }
        Packet::Publish(publish) => {
            let (qos, packet_id, duplicate) = match publish.delivery {
                Delivery::AtMostOnce => (QoS::AtMostOnce, 0, false),
                Delivery::AtLeastOnce { packet_id, duplicate } => (QoS::AtLeastOnce, packet_id.0.get(), duplicate),
                Delivery::ExactlyOnce { packet_id, duplicate } => (QoS::ExactlyOnce, packet_id.0.get(), duplicate),
            };
            let mut theirs = v4::Publish::new(publish.topic, quality(qos), publish.payload);
            theirs.pkid = packet_id;
            theirs.dup = duplicate;
            theirs.retain = publish.retain;
            v4::Packet::Publish(theirs)
        }
        Packet::PubAck(id) => v4::Packet::PubAck(v4::PubAck::new(id.0.get())),
        Packet::PubRec(id) => v4::Packet::PubRec(v4::PubRec::new(id.0.get())),
        Packet::PubRel(id) => v4::Packet::PubRel(v4::PubRel::new(id.0.get())),
        Packet::PubComp(id) => v4::Packet::PubComp(v4::PubComp::new(id.0.get())),
        Packet::Subscribe(subscribe) => {
            let filters = subscribe.filters.iter().map(|(path, qos)| v4::SubscribeFilter::new((*path).into(), quality(*qos))).collect();
            v4::Packet::Subscribe(v4::Subscribe { pkid: subscribe.packet_id.0.get(), filters })
        }
        Packet::SubAck(answer) => {
            let codes = answer.granted.iter().map(|granted| match granted {
                Some(qos) => v4::SubscribeReasonCode::Success(quality(*qos)),
                None => v4::SubscribeReasonCode::Failure,
            });
            v4::Packet::SubAck(v4::SubAck::new(answer.packet_id.0.get(), codes.collect()))
        }
        Packet::Unsubscribe(unsubscribe) => v4::Packet::Unsubscribe(v4::Unsubscribe {
            pkid: unsubscribe.packet_id.0.get(),
            topics: unsubscribe.filters.iter().map(|&filter| filter.into()).collect(),
        }),
        Packet::UnsubAck(id) => v4::Packet::UnsubAck(v4::UnsubAck::new(id.0.get())),
        Packet::PingReq => v4::Packet::PingReq,
        Packet::PingResp => v4::Packet::PingResp,
        Packet::Disconnect => v4::Packet::Disconnect,
    })
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(packet in packet()) {
        let bytes = encoded(&packet);
        prop_assert_eq!(decode(&bytes, ALL), Ok(Decoded::Packet { packet, length: bytes.len() }));
    }

    #[test]
    fn any_split_gives_the_same_packets(packets in vec(packet(), 1..6), cuts in vec(1..200_usize, 1..20)) {
        let stream: Vec<u8> = packets.iter().flat_map(encoded).collect();
        let mut cuts = cuts.into_iter().cycle();
        let (mut buffer, mut fed, mut seen) = (Vec::new(), 0, 0);
        while fed < stream.len() {
            let step = cuts.next().unwrap().min(stream.len() - fed);
            buffer.extend_from_slice(&stream[fed..fed + step]);
            fed += step;
            loop {
                let taken = match decode(&buffer, ALL).unwrap() {
                    Decoded::Packet { packet, length } => {
                        prop_assert_eq!(&packet, &packets[seen]);
                        seen += 1;
                        length
                    }
                    Decoded::Incomplete { total } => {
                        prop_assert!(total.is_none_or(|total| total > buffer.len()));
                        break;
                    }
                };
                buffer.drain(..taken);
            }
        }
        prop_assert_eq!(seen, packets.len());
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn garbage_is_refused_or_read_but_never_panics(bytes in vec(any::<u8>(), 0..400)) {
        if let Ok(Decoded::Packet { packet, length }) = decode(&bytes, Limits::CONNECTED) {
            prop_assert!(length <= bytes.len());
            // What was read can be written and read again, though perhaps with a shorter length field.
            let again = encoded(&packet);
            prop_assert_eq!(decode(&again, ALL), Ok(Decoded::Packet { packet, length: again.len() }));
        }
    }

    #[test]
    fn a_flipped_byte_never_panics(packet in packet(), position in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut bytes = encoded(&packet);
        let position = position.index(bytes.len());
        bytes[position] ^= flip;
        let _ = decode(&bytes, Limits::CONNECTED);
    }

    #[test]
    fn rumqttc_writes_the_same_bytes_and_reads_them_so(packet in packet()) {
        let Some(theirs) = as_oracle(&packet) else { return Ok(()) };
        let ours = encoded(&packet);
        let mut written = bytes::BytesMut::new();
        theirs.write(&mut written, usize::MAX).unwrap();
        prop_assert_eq!(&written[..], &ours[..]);
        prop_assert_eq!(oracle::v4::Packet::read(&mut written, usize::MAX).unwrap(), theirs);
    }

    #[test]
    fn what_rumqttc_refuses_we_refuse(packet in packet(), position in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut bytes = encoded(&packet);
        let position = position.index(bytes.len());
        bytes[position] ^= flip;
        let ours = decode(&bytes, ALL);
        let theirs = oracle::v4::Packet::read(&mut bytes::BytesMut::from(&bytes[..]), usize::MAX);
        match (&ours, &theirs) {
            (Ok(Decoded::Packet { packet, .. }), Err(error)) => {
                // Passwords need not be UTF-8 (MQTT-3.1.3.5).
                prop_assert!(matches!(packet, Packet::Connect(_)), "{packet:?}, but rumqttc says {error}");
            }
            (Ok(Decoded::Packet { packet, .. }), Ok(theirs)) => {
                if let Some(expected) = as_oracle(packet) {
                    prop_assert_eq!(&expected, theirs);
                }
            }
            _ => {}
        }
    }
}

/// One row: what is wrong, the bytes, the answer.
#[test]
fn every_breach_that_must_close_the_connection_is_named() {
    use DecodeError as E;
    use PacketKind as K;
    let connect = |name: &[u8], level: u8, flags: u8, rest: &[u8]| {
        let body = [&u16::try_from(name.len()).unwrap().to_be_bytes()[..], name, &[level, flags, 0, 60], rest].concat();
        [&[0x10, u8::try_from(body.len()).unwrap()], &body[..]].concat()
    };
    let rows: Vec<(&str, Vec<u8>, E)> = vec![
        ("kind 0", vec![0x00, 0], E::ReservedKind(0)),
        ("kind 15", vec![0xf0], E::ReservedKind(15)),
        ("CONNECT with flags", vec![0x11], E::ReservedFlags { kind: K::Connect, flags: 1 }),
        ("PUBREL without its flag", vec![0x60], E::ReservedFlags { kind: K::PubRel, flags: 0 }),
        ("SUBSCRIBE without its flag", vec![0x80], E::ReservedFlags { kind: K::Subscribe, flags: 0 }),
        ("UNSUBSCRIBE with another", vec![0xa3], E::ReservedFlags { kind: K::Unsubscribe, flags: 3 }),
        ("PINGREQ with flags", vec![0xc8], E::ReservedFlags { kind: K::PingReq, flags: 8 }),
        ("five bytes of length", vec![0x30, 0x80, 0x80, 0x80, 0x80], E::RemainingLength),
        ("PINGREQ with a body", vec![0xc0, 1, 0], E::TrailingBytes(K::PingReq)),
        ("PUBACK with a tail", vec![0x40, 3, 0, 1, 0], E::TrailingBytes(K::PubAck)),
        ("PUBACK without an id", vec![0x40, 1, 0], E::Truncated(K::PubAck)),
        ("PUBACK of 0", vec![0x40, 2, 0, 0], E::PacketIdZero(K::PubAck)),
        ("another protocol", connect(b"MQIsdp", 3, 2, b"\0\x01d"), E::ProtocolName),
        ("level 3", connect(b"MQTT", 3, 2, b"\0\x01d"), E::ProtocolLevel(3)),
        ("level 5", connect(b"MQTT", 5, 2, b"\0\0\x01d"), E::ProtocolLevel(5)),
        ("CONNECT's reserved flag", connect(b"MQTT", 4, 0b11, b"\0\x01d"), E::ConnectFlags(0b11)),
        ("a will's QoS without a will", connect(b"MQTT", 4, 0b0000_1000, b"\0\x01d"), E::ConnectFlags(0b1000)),
        ("a will's retain without a will", connect(b"MQTT", 4, 0b0010_0000, b"\0\x01d"), E::ConnectFlags(0b10_0000)),
        ("a will's QoS 3", connect(b"MQTT", 4, 0b0001_1100, b"\0\x01d\0\x01t\0\0"), E::ConnectFlags(0b1_1100)),
        ("a password without a user name", connect(b"MQTT", 4, 0b0100_0000, b"\0\x01d\0\x01p"), E::ConnectFlags(0b100_0000)),
        ("a flag without its field", connect(b"MQTT", 4, 0b1000_0000, b"\0\x01d"), E::Truncated(K::Connect)),
        ("a field without its flag", connect(b"MQTT", 4, 0, b"\0\x01d\0\x01u"), E::TrailingBytes(K::Connect)),
        ("a client id with NUL", connect(b"MQTT", 4, 0, b"\0\x01\0"), E::NulCharacter(K::Connect)),
        ("a client id in Latin-1", connect(b"MQTT", 4, 0, b"\0\x01\xe9"), E::NotUtf8(K::Connect)),
        ("QoS 3", vec![0x36, 5, 0, 1, b't', 0, 1], E::QoS(K::Publish)),
        ("a duplicate of QoS 0", vec![0x38, 3, 0, 1, b't'], E::DuplicateAtMostOnce),
        ("PUBLISH with id 0", vec![0x32, 5, 0, 1, b't', 0, 0], E::PacketIdZero(K::Publish)),
        ("PUBLISH to nowhere", vec![0x30, 2, 0, 0], E::EmptyTopic(K::Publish)),
        ("a surrogate in the topic", vec![0x30, 5, 0, 3, 0xed, 0xa0, 0x80], E::NotUtf8(K::Publish)),
        ("NUL in the topic", vec![0x30, 5, 0, 3, b'a', 0, b'b'], E::NulCharacter(K::Publish)),
        ("a topic beyond the packet", vec![0x30, 3, 0, 9, b't'], E::Truncated(K::Publish)),
        ("SUBSCRIBE to nothing", vec![0x82, 2, 0, 1], E::NoFilter(K::Subscribe)),
        ("SUBSCRIBE with id 0", vec![0x82, 6, 0, 0, 0, 1, b't', 0], E::PacketIdZero(K::Subscribe)),
        ("SUBSCRIBE for QoS 3", vec![0x82, 6, 0, 1, 0, 1, b't', 3], E::QoS(K::Subscribe)),
        ("SUBSCRIBE with QoS's reserved bits", vec![0x82, 6, 0, 1, 0, 1, b't', 0x81], E::QoS(K::Subscribe)),
        ("SUBSCRIBE to an empty filter", vec![0x82, 5, 0, 1, 0, 0, 0], E::EmptyTopic(K::Subscribe)),
        ("UNSUBSCRIBE from nothing", vec![0xa2, 2, 0, 1], E::NoFilter(K::Unsubscribe)),
        ("CONNACK's reserved bits", vec![0x20, 2, 2, 0], E::ReservedValue(K::ConnAck)),
    ];
    for (what, bytes, expected) in rows {
        assert_eq!(decode(&bytes, Limits::CONNECTED), Err(expected), "{what}");
    }
}

#[test]
fn too_many_filters_are_refused() {
    let filters = vec![("t", QoS::AtMostOnce); FILTERS_MAX + 1];
    let bytes = encoded(&Packet::Subscribe(Subscribe { packet_id: PacketId::new(1).unwrap(), filters }));
    assert_eq!(decode(&bytes, Limits::CONNECTED), Err(DecodeError::TooManyFilters(PacketKind::Subscribe)));
}

#[test]
fn a_packet_too_large_is_refused_by_its_header_alone() {
    let mut header = Vec::new();
    encode(&Packet::Publish(Publish { delivery: Delivery::AtMostOnce, retain: false, topic: "t", payload: &[0; 20_000] }), &mut header)
        .unwrap();
    header.truncate(4);
    let refused = |max_bytes| Err(DecodeError::TooLarge { kind: PacketKind::Publish, bytes: 20_003, max_bytes });
    assert_eq!(decode(&header, Limits::BEFORE_CONNECT), refused(0));
    assert_eq!(decode(&header, Limits { publish_bytes: 20_002, control_bytes: 0 }), refused(20_002));
    assert_eq!(decode(&header, Limits { publish_bytes: 20_003, control_bytes: 0 }), Ok(Decoded::Incomplete { total: Some(20_007) }));
}

#[test]
fn fields_that_mqtt_has_no_length_for_are_not_written() {
    let long = "x".repeat(65_536);
    let mut out = vec![7];
    let publish = Publish { delivery: Delivery::AtMostOnce, retain: false, topic: &long, payload: b"" };
    assert_eq!(encode(&Packet::Publish(publish), &mut out), Err(EncodeError::FieldTooLong(65_536)));
    let unsubscribe = Unsubscribe { packet_id: PacketId::new(1).unwrap(), filters: vec!["t", &long] };
    assert_eq!(encode(&Packet::Unsubscribe(unsubscribe), &mut out), Err(EncodeError::FieldTooLong(65_536)));
    assert_eq!(out, [7]);
}

#[test]
fn remaining_lengths_change_their_own_length_where_the_table_says() {
    // MQTT 2.2.3, table 2.4.
    for (payload, header) in [(124, 2), (125, 3), (16_380, 3), (16_381, 4), (2_097_148, 4), (2_097_149, 5)] {
        let payload = vec![0; payload];
        let publish = Packet::Publish(Publish { delivery: Delivery::AtMostOnce, retain: false, topic: "t", payload: &payload });
        let bytes = encoded(&publish);
        assert_eq!(bytes.len(), header + 3 + payload.len());
        assert_eq!(decode(&bytes, ALL), Ok(Decoded::Packet { packet: publish, length: bytes.len() }));
    }
}
