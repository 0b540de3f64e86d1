use proptest::prelude::*;

use super::super::acknowledgements::{WAITING_MAX_BYTES, WAITING_MAX_MESSAGES};
use super::super::codec::{Decoded, Limits, decode};
use super::super::packet::{Connect, PacketId, Will};
use super::*;
use crate::ops::Fate;

const EVENTS: &str = "devices/D/messages/events/";
const COMMANDS: &str = "devices/D/messages/devicebound/#";

fn start() -> Instant {
    // The one steady clock that tests may read; only differences count.
    tokio::time::Instant::now().into_std()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn session(now: Instant) -> MqttSession {
    MqttSession::new(DeviceId::parse("D").unwrap(), seconds(90), seconds(3600), Vec::new(), now)
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn publish(number: u16) -> Packet<'static> {
    let delivery = match PacketId::new(number) {
        Some(packet_id) => Delivery::AtLeastOnce { packet_id, duplicate: false },
        None => Delivery::AtMostOnce,
    };
    Packet::Publish(Publish { delivery, retain: false, topic: EVENTS, payload: b"x" })
}

/// Sends a message (QoS 0 when the number is 0) and stages it.
fn send(session: &mut MqttSession, number: u16) {
    let mut output = Vec::new();
    let Step::Telemetry(_, _, receipt) = session.packet(publish(number), &mut output).unwrap() else { panic!("a message is a message") };
    assert!(output.is_empty());
    session.staged(receipt);
}

fn subscribe(session: &mut MqttSession, filters: &[(&str, QoS)]) -> Vec<Option<QoS>> {
    let mut output = Vec::new();
    let packet = Packet::Subscribe(Subscribe { packet_id: id(9), filters: filters.to_vec() });
    assert_eq!(session.packet(packet, &mut output), Ok(Step::KeepSubscriptions));
    match decode(&output, Limits::CONNECTED) {
        Ok(Decoded::Packet { packet: Packet::SubAck(SubAck { packet_id, granted }), .. }) if packet_id == id(9) => granted,
        other => panic!("not SUBACK: {other:?}"),
    }
}

fn pubacks(output: &[u8]) -> Vec<u16> {
    output
        .chunks(4)
        .map(|packet| match decode(packet, Limits::CONNECTED) {
            Ok(Decoded::Packet { packet: Packet::PubAck(packet_id), .. }) => packet_id.0.get(),
            other => panic!("not PUBACK: {other:?}"),
        })
        .collect()
}

proptest! {
    /// Batches of any size are appended, the watermark moves by any step: PUBACKs come in the order of the messages, each exactly once,
    /// none before its message is durable, and none is held back that is due.
    #[test]
    fn pubacks_keep_their_order_under_any_progress(steps in prop::collection::vec((0..5_u64, prop::collection::vec(any::<bool>(), 0..4)), 1..60)) {
        let mut session = session(start());
        let (mut appended, mut durable, mut number) = (0, 0, 0);
        // What is owed: (the ordinal that must be durable, packet id).
        let (mut owed, mut paid, mut output) = (Vec::new(), Vec::new(), Vec::new());
        for (progress, batch) in steps {
            let ticket = Ticket { epoch: 3, ordinal: appended + batch.len() as u64 };
            for &acknowledged in &batch {
                number += 1;
                send(&mut session, if acknowledged { number } else { 0 });
                if acknowledged {
                    owed.push((ticket.ordinal, number));
                }
            }
            if !batch.is_empty() {
                session.appended(ticket);
            }
            appended = ticket.ordinal;
            durable = (durable + progress).min(appended);
            let watermark = Watermark { epoch: 3, ordinal: durable };
            session.durable(watermark, &mut output).unwrap();
            paid.extend(pubacks(&output));
            output.clear();
            let due: Vec<u16> = owed.iter().filter(|(ordinal, _)| *ordinal <= durable).map(|(_, number)| *number).collect();
            prop_assert_eq!(&paid, &due);
            prop_assert_eq!(watermark.fate(ticket) == Fate::Pending, session.waits());
        }
    }
}

#[test]
fn what_fails_is_never_acknowledged() {
    let mut session = session(start());
    let mut output = Vec::new();
    for number in [1, 2] {
        send(&mut session, number);
        session.appended(Ticket { epoch: 0, ordinal: number.into() });
    }
    session.durable(Watermark { epoch: 0, ordinal: 1 }, &mut output).unwrap();
    assert_eq!(session.durable(Watermark { epoch: 1, ordinal: 2 }, &mut output), Err(NotDurable));
    assert_eq!(pubacks(&output), [1]);
}

#[test]
fn reading_stops_while_too_much_waits_for_the_disk() {
    let now = start();
    let mut session = session(now);
    for _ in 0..WAITING_MAX_MESSAGES {
        assert!(session.may_read());
        send(&mut session, 0);
    }
    assert!(!session.may_read());
    // It is not the device's fault that nothing is heard of it.
    assert_eq!(session.time_passed(now + seconds(1000)), Ok(()));
    session.appended(Ticket { epoch: 0, ordinal: 1000 });
    session.durable(Watermark { epoch: 0, ordinal: 1000 }, &mut Vec::new()).unwrap();
    assert!(session.may_read() && !session.waits());
    assert_eq!(session.deadline(), now + seconds(1090));

    session.staged(Receipt { packet_id: None, bytes: WAITING_MAX_BYTES });
    assert!(!session.may_read());
}

#[test]
fn silence_ends_the_session_and_any_byte_breaks_it() {
    let now = start();
    let mut session = session(now);
    assert_eq!(session.deadline(), now + seconds(90));
    assert_eq!(session.time_passed(now + seconds(89)), Ok(()));
    assert_eq!(session.heard(now + seconds(89)), Ok(()));
    assert_eq!(session.deadline(), now + seconds(179));
    assert_eq!(session.time_passed(now + seconds(90)), Ok(()));
    assert_eq!(session.time_passed(now + seconds(179)), Err(DisconnectReason::KeepAliveTimeout));
}

#[test]
fn the_session_ends_with_its_token_however_busy_it_is() {
    let now = start();
    let mut session = MqttSession::new(DeviceId::parse("D").unwrap(), seconds(90), seconds(60), Vec::new(), now);
    assert_eq!(session.deadline(), now + seconds(60));
    assert_eq!(session.heard(now + seconds(59)), Ok(()));
    assert_eq!(session.heard(now + seconds(60)), Err(DisconnectReason::TokenExpired));
    assert_eq!(session.time_passed(now + seconds(60)), Err(DisconnectReason::TokenExpired));
    for _ in 0..WAITING_MAX_MESSAGES {
        send(&mut session, 0);
    }
    assert_eq!(session.time_passed(now + seconds(60)), Err(DisconnectReason::TokenExpired));
    let ageless = MqttSession::new(DeviceId::parse("D").unwrap(), seconds(90), Duration::MAX, Vec::new(), now);
    assert_eq!(ageless.deadline(), now + seconds(90));
}

#[test]
fn subscriptions_are_granted_kept_and_given_up() {
    let mut session = session(start());
    let other = "devices/E/messages/devicebound/#";
    let wanted = [(COMMANDS, QoS::ExactlyOnce), (other, QoS::AtLeastOnce), ("#", QoS::AtMostOnce), ("$iothub/twin/res/#", QoS::AtMostOnce)];
    assert_eq!(subscribe(&mut session, &wanted), [Some(QoS::AtLeastOnce), None, None, None]);
    assert_eq!(session.subscriptions(), [MqttSubscription { filter: COMMANDS.into(), qos: 1 }]);
    // A second subscription replaces the first (MQTT-3.8.4-3).
    assert_eq!(subscribe(&mut session, &[(COMMANDS, QoS::AtMostOnce)]), [Some(QoS::AtMostOnce)]);
    assert_eq!(session.subscriptions(), [MqttSubscription { filter: COMMANDS.into(), qos: 0 }]);

    let mut output = Vec::new();
    let unsubscribe = Packet::Unsubscribe(Unsubscribe { packet_id: id(7), filters: vec![other, COMMANDS] });
    assert_eq!(session.packet(unsubscribe, &mut output), Ok(Step::KeepSubscriptions));
    assert_eq!(output, [0xb0, 2, 0, 7]);
    assert_eq!(session.subscriptions(), []);
}

#[test]
fn a_ping_is_answered_and_a_late_puback_ignored() {
    let mut session = session(start());
    let mut output = Vec::new();
    assert_eq!(session.packet(Packet::PingReq, &mut output), Ok(Step::Done));
    assert_eq!(session.packet(Packet::PubAck(id(5)), &mut output), Ok(Step::Done));
    assert_eq!(output, [0xd0, 0]);
    assert_eq!(session.packet(Packet::Disconnect, &mut output), Ok(Step::Disconnect));
}

#[test]
fn what_breaks_a_rule_is_named() {
    let to = |topic| Packet::Publish(Publish { delivery: Delivery::AtMostOnce, retain: false, topic, payload: b"" });
    let will = Will { topic: EVENTS, payload: b"", qos: QoS::AtMostOnce, retain: false };
    let connect = Connect { clean_session: true, keep_alive_seconds: 0, client_id: "D", will: Some(will), user_name: None, password: None };
    let twice = Delivery::ExactlyOnce { packet_id: id(1), duplicate: false };
    for (packet, expected) in [
        (Packet::Connect(connect), Violation::SecondConnect),
        (Packet::Publish(Publish { delivery: twice, retain: false, topic: EVENTS, payload: b"" }), Violation::ExactlyOnce),
        (Packet::PubRel(id(1)), Violation::ExactlyOnce),
        (Packet::UnsubAck(id(1)), Violation::Unexpected(PacketKind::UnsubAck)),
        (Packet::PingResp, Violation::Unexpected(PacketKind::PingResp)),
        (to("devices/E/messages/events/"), Violation::Topic(TopicError::OtherDevice)),
        (to("anything"), Violation::Topic(TopicError::Unknown)),
    ] {
        let mut output = Vec::new();
        assert_eq!(session(start()).packet(packet, &mut output), Err(expected));
        assert!(output.is_empty());
    }
}

#[test]
fn wills_are_left_by_all_but_the_polite_and_the_shut_out() {
    use DisconnectReason as R;
    for reason in [R::ClientDisconnected, R::DeviceDisabled, R::DeviceDeleted, R::KeyReplaced] {
        assert!(!leaves_will(reason), "{}", reason.name());
    }
    for reason in [R::ConnectionLost, R::KeepAliveTimeout, R::TakenOver, R::TokenExpired, R::ProtocolViolation, R::HubShutdown] {
        assert!(leaves_will(reason), "{}", reason.name());
    }
}
