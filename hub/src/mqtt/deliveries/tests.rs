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

/// Writes all that waits; answers the first byte of each payload with its packet id and duplicate flag.
fn publish(deliveries: &mut Deliveries, qos: QoS) -> Vec<(u8, Option<(u16, bool)>)> {
    let mut output = Vec::new();
    while deliveries.wait() {
        let mut part = Vec::new();
        deliveries.publish("D", qos, &mut part, |_, error| panic!("{error}"));
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

fn acknowledge(deliveries: &mut Deliveries, number: u16) -> Option<LockToken> {
    deliveries.acknowledged(PacketId::new(number).unwrap())
}

#[test]
fn commands_leave_in_order_and_each_puback_settles_its_own() {
    let mut deliveries = Deliveries::default();
    deliveries.push(vec![delivery(5, 1, 1), delivery(6, 2, 1)]);
    deliveries.push(vec![delivery(7, 3, 1)]);
    let written = publish(&mut deliveries, QoS::AtLeastOnce);
    assert_eq!(written, [(5, Some((1, false))), (6, Some((2, false))), (7, Some((3, false)))]);
    assert_eq!([2, 2, 9, 1, 3].map(|id| acknowledge(&mut deliveries, id)), [Some(token(2)), None, None, Some(token(1)), Some(token(3))]);
}

#[test]
fn a_redelivery_keeps_its_packet_id_and_a_late_puback_settles_it() {
    let mut deliveries = Deliveries::default();
    deliveries.push(vec![delivery(5, 1, 1), delivery(6, 2, 1)]);
    publish(&mut deliveries, QoS::AtLeastOnce);
    deliveries.push(vec![delivery(5, 3, 2)]);
    assert_eq!(publish(&mut deliveries, QoS::AtLeastOnce), [(5, Some((1, true)))]);
    // The PUBACK of the first delivery, and then that of the second.
    assert_eq!([1, 1].map(|id| acknowledge(&mut deliveries, id)), [Some(token(3)), None]);
}

#[test]
fn a_puback_that_overtakes_the_redelivery_saves_it() {
    let mut deliveries = Deliveries::default();
    deliveries.push(vec![delivery(5, 1, 1)]);
    publish(&mut deliveries, QoS::AtLeastOnce);
    deliveries.push(vec![delivery(5, 2, 2), delivery(6, 3, 1)]);
    assert_eq!(acknowledge(&mut deliveries, 1), Some(token(2)));
    assert_eq!(publish(&mut deliveries, QoS::AtLeastOnce), [(6, Some((2, false)))]);
}

#[test]
fn a_command_waits_once() {
    let mut deliveries = Deliveries::default();
    deliveries.push(vec![delivery(5, 1, 1), delivery(6, 2, 1)]);
    deliveries.push(vec![delivery(5, 3, 2)]);
    assert_eq!(publish(&mut deliveries, QoS::AtLeastOnce), [(5, Some((1, true))), (6, Some((2, false)))]);
    assert_eq!(acknowledge(&mut deliveries, 1), Some(token(3)));
}

#[test]
fn qos_0_is_settled_by_the_write() {
    let mut deliveries = Deliveries::default();
    deliveries.push(vec![delivery(5, 1, 2), delivery(6, 2, 1)]);
    assert_eq!(deliveries.written(), []);
    // Never a duplicate (MQTT-3.3.1-2).
    assert_eq!(publish(&mut deliveries, QoS::AtMostOnce), [(5, None), (6, None)]);
    assert_eq!(deliveries.written(), [token(1), token(2)]);
    assert_eq!(deliveries.written(), []);
    assert_eq!(acknowledge(&mut deliveries, 1), None);
}

#[test]
fn what_was_not_written_is_given_back() {
    let mut deliveries = Deliveries::default();
    deliveries.push(vec![delivery(5, 1, 1), delivery(6, 2, 1)]);
    assert_eq!(deliveries.take_waiting().collect::<Vec<_>>(), [token(1), token(2)]);
    assert!(!deliveries.wait() && publish(&mut deliveries, QoS::AtLeastOnce).is_empty());
}

#[test]
fn large_commands_leave_one_by_one() {
    let mut deliveries = Deliveries::default();
    let large = content(&[5; COMMAND_MAX_BYTES - 100], "");
    deliveries.push((1..=3).map(|number| holding(number, 1, 1, large.clone())).collect());
    let mut output = vec![0; OUTPUT_MAX_BYTES / 2];
    for left in [2, 1, 0] {
        deliveries.publish("D", QoS::AtLeastOnce, &mut output, |_, error| panic!("{error}"));
        assert_eq!(deliveries.waiting.len(), left);
        output.clear();
        if left == 0 {
            break;
        }
        output.resize(OUTPUT_MAX_BYTES / 2, 0);
    }
    deliveries.push(vec![delivery(9, 1, 1)]);
    let mut full = vec![0; OUTPUT_MAX_BYTES];
    deliveries.publish("D", QoS::AtLeastOnce, &mut full, |_, error| panic!("{error}"));
    assert!(deliveries.wait() && full.len() == OUTPUT_MAX_BYTES, "pubacks that wait to leave are not delayed further");
}

#[test]
fn what_mqtt_cannot_say_is_named_and_holds_up_nothing() {
    let mut deliveries = Deliveries::default();
    // Each takes six characters in the topic.
    let long = content(b"x", &"é".repeat(11_000));
    deliveries.push(vec![holding(1, 1, 1, long), holding(2, 2, 1, vec![1, 2, 3]), delivery(3, 3, 1)]);
    let (mut output, mut named) = (Vec::new(), Vec::new());
    deliveries.publish("D", QoS::AtLeastOnce, &mut output, |delivery, error| named.push((delivery.token, error)));
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
    deliveries.push(vec![delivery(0, 0, 1)]);
    publish(&mut deliveries, QoS::AtLeastOnce);
    for _ in 0..u16::MAX - 2 {
        deliveries.new_id();
    }
    for number in 1..=3 {
        deliveries.push(vec![delivery(number, 0, 1)]);
    }
    let ids: Vec<_> = publish(&mut deliveries, QoS::AtLeastOnce).into_iter().map(|(_, id)| id.unwrap().0).collect();
    assert_eq!(ids, [65_535, 2, 3]);

    for number in 4..200 {
        deliveries.push(vec![delivery(number, 0, 1)]);
    }
    publish(&mut deliveries, QoS::AtLeastOnce);
    assert_eq!(deliveries.published.len(), REMEMBERED_MAX);
    assert_eq!(acknowledge(&mut deliveries, 1), None);
}

#[test]
fn an_idle_connection_keeps_no_room_for_commands() {
    let mut deliveries = Deliveries::default();
    deliveries.push(vec![delivery(1, 1, 1)]);
    publish(&mut deliveries, QoS::AtLeastOnce);
    acknowledge(&mut deliveries, 1);
    deliveries.push(vec![delivery(2, 1, 1)]);
    publish(&mut deliveries, QoS::AtMostOnce);
    deliveries.written();
    assert_eq!((deliveries.waiting.capacity(), deliveries.published.capacity(), deliveries.unacknowledged.capacity()), (0, 0, 0));
    assert!(size_of::<Deliveries>() <= 96);
}
