use super::*;
use crate::core::message::encoding::EncodedAnnotations;
use crate::core::message::{Body, Message, Value};
use crate::core::time::UnixMillis;
use crate::mqtt::codec::{Decoded, Limits, decode};

fn token(number: u8) -> LockToken {
    LockToken([number; 16])
}

fn content(payload: &[u8], property: &str) -> Vec<u8> {
    let mut stored = Vec::new();
    let message = Message {
        application_properties: vec![("p".into(), Value::String(property.into()))],
        body: Body::Data(vec![payload.into()]),
        ..Message::default()
    };
    encoding::encode(&message, &EncodedAnnotations::default(), &mut stored);
    stored
}

fn delivery(command: u64, lock: u8, delivery_count: u32) -> Delivery {
    holding(command, lock, delivery_count, content(&[u8::try_from(command).unwrap()], ""))
}

fn holding(command: u64, lock: u8, delivery_count: u32, content: Vec<u8>) -> Delivery {
    let command = CommandId(command);
    let [locked_until, enqueued_time] = [UnixMillis(0); 2];
    Delivery { command, token: token(lock), locked_until, delivery_count, enqueued_time, content: content.into() }
}

/// Writes all these; answers the first byte of each payload with its packet id and duplicate flag.
fn publish<const COUNT: usize>(deliveries: &mut Deliveries, qos: QoS, these: [Delivery; COUNT]) -> Vec<(u8, Option<(u16, bool)>)> {
    let (mut output, mut these) = (Vec::new(), these.into_iter());
    while these.len() > 0 {
        let mut part = Vec::new();
        deliveries.publish(("D", qos), &mut part, || these.next(), |_, error| panic!("{error}"));
        output.extend(part);
    }
    let (mut rest, mut published) = (&output[..], Vec::new());
    while !rest.is_empty() {
        let Ok(Decoded::Packet { packet: Packet::Publish(publish), length }) = decode(rest, Limits::CONNECTED) else {
            panic!("no PUBLISH")
        };
        assert!(publish.topic.starts_with("devices/D/messages/devicebound/%24.to=") && !publish.retain);
        published.push((
            publish.payload[0],
            match publish.delivery {
                PublishDelivery::AtMostOnce => None,
                PublishDelivery::AtLeastOnce { packet_id, duplicate } => Some((packet_id.0.get(), duplicate)),
                PublishDelivery::ExactlyOnce { .. } => panic!("QoS 2"),
            },
        ));
        rest = &rest[length..];
    }
    published
}

fn acknowledge(deliveries: &mut Deliveries, number: u16) -> Option<(CommandId, LockToken)> {
    deliveries.acknowledged(PacketId::new(number).unwrap())
}

/// What PUBACK settles.
fn lock(command: u64, number: u8) -> Option<(CommandId, LockToken)> {
    Some((CommandId(command), token(number)))
}

#[test]
fn commands_leave_in_order_and_each_puback_settles_its_own() {
    let mut deliveries = Deliveries::default();
    let mut written = publish(&mut deliveries, QoS::AtLeastOnce, [delivery(5, 1, 1), delivery(6, 2, 1)]);
    written.extend(publish(&mut deliveries, QoS::AtLeastOnce, [delivery(7, 3, 1)]));
    assert_eq!(written, [(5, Some((1, false))), (6, Some((2, false))), (7, Some((3, false)))]);
    assert_eq!([2, 2, 9, 1, 3].map(|id| acknowledge(&mut deliveries, id)), [lock(6, 2), None, None, lock(5, 1), lock(7, 3)]);
}

#[test]
fn a_redelivery_keeps_its_packet_id_and_a_late_puback_settles_it() {
    let mut deliveries = Deliveries::default();
    publish(&mut deliveries, QoS::AtLeastOnce, [delivery(5, 1, 1), delivery(6, 2, 1)]);
    assert_eq!(publish(&mut deliveries, QoS::AtLeastOnce, [delivery(5, 3, 2)]), [(5, Some((1, true)))]);
    // The PUBACK of the first delivery, and then that of the second.
    assert_eq!([1, 1].map(|id| acknowledge(&mut deliveries, id)), [lock(5, 3), None]);
}

#[test]
fn qos_0_is_settled_by_the_write() {
    let mut deliveries = Deliveries::default();
    assert_eq!(deliveries.written(), []);
    // Never a duplicate (MQTT-3.3.1-2).
    assert_eq!(publish(&mut deliveries, QoS::AtMostOnce, [delivery(5, 1, 2), delivery(6, 2, 1)]), [(5, None), (6, None)]);
    assert_eq!(deliveries.written(), [token(1), token(2)]);
    assert_eq!(deliveries.written(), []);
    assert_eq!(acknowledge(&mut deliveries, 1), None);
}

#[test]
fn large_commands_leave_one_by_one() {
    let mut deliveries = Deliveries::default();
    let large = content(&[5; COMMAND_MAX_BYTES - 100], "");
    let mut waiting: Vec<Delivery> = (1..=3).map(|number| holding(number, 1, 1, large.clone())).collect();
    let mut write = |waiting: &mut Vec<Delivery>, before| {
        let mut output = vec![0; before];
        deliveries.publish(("D", QoS::AtLeastOnce), &mut output, || waiting.pop(), |_, error| panic!("{error}"));
        output.len()
    };
    for left in [2, 1, 0] {
        write(&mut waiting, OUTPUT_MAX_BYTES / 2);
        assert_eq!(waiting.len(), left);
    }
    waiting.push(delivery(9, 1, 1));
    let full = write(&mut waiting, OUTPUT_MAX_BYTES);
    assert_eq!((waiting.len(), full), (1, OUTPUT_MAX_BYTES), "pubacks that wait to leave are not delayed further");
}

#[test]
fn what_mqtt_cannot_say_is_named_and_holds_up_nothing() {
    let mut deliveries = Deliveries::default();
    // Each takes six characters in the topic.
    let long = content(b"x", &"é".repeat(11_000));
    let mut these = [holding(1, 1, 1, long), holding(2, 2, 1, vec![1, 2, 3]), delivery(3, 3, 1)].into_iter();
    let (mut output, mut named) = (Vec::new(), Vec::new());
    let unspeakable = |delivery: &Delivery, error| named.push((delivery.token, error));
    deliveries.publish(("D", QoS::AtLeastOnce), &mut output, || these.next(), unspeakable);
    assert!(matches!(
        named[..],
        [(LockToken([1, ..]), Unspeakable::Encode(EncodeError::FieldTooLong(66_000..))), (LockToken([2, ..]), Unspeakable::Damaged(_))]
    ));
    let Ok(Decoded::Packet { packet: Packet::Publish(only), length }) = decode(&output, Limits::CONNECTED) else { panic!("no PUBLISH") };
    assert_eq!((only.payload, length), (&[3][..], output.len()));
}

#[test]
fn packet_ids_are_never_zero_never_shared_and_not_remembered_for_ever() {
    let mut deliveries = Deliveries::default();
    publish(&mut deliveries, QoS::AtLeastOnce, [delivery(0, 0, 1)]);
    for _ in 0..u16::MAX - 2 {
        deliveries.new_id();
    }
    let written = publish(&mut deliveries, QoS::AtLeastOnce, [1, 2, 3].map(|number| delivery(number, 0, 1)));
    let ids: Vec<_> = written.into_iter().map(|(_, id)| id.unwrap().0).collect();
    assert_eq!(ids, [65_535, 2, 3]);

    publish(&mut deliveries, QoS::AtLeastOnce, std::array::from_fn::<_, 196, _>(|number| delivery(number as u64 + 4, 0, 1)));
    assert_eq!(deliveries.published.len(), REMEMBERED_MAX);
    assert_eq!(acknowledge(&mut deliveries, 1), None);
}

#[test]
fn an_idle_connection_keeps_no_room_for_commands() {
    let mut deliveries = Deliveries::default();
    publish(&mut deliveries, QoS::AtLeastOnce, [delivery(1, 1, 1)]);
    acknowledge(&mut deliveries, 1);
    publish(&mut deliveries, QoS::AtMostOnce, [delivery(2, 1, 1)]);
    deliveries.written();
    assert_eq!((deliveries.published.capacity(), deliveries.unacknowledged.capacity()), (0, 0));
    assert!(size_of::<Deliveries>() <= 64);
}
