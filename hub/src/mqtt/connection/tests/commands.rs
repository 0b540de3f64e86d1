//! Commands over MQTT, with the real desk: what reaches the device, and what becomes of it.

use super::*;
use crate::core::command::{Acknowledgement, Command, CommandId, Outcome, ReturnReason, Settlement, StepKind};
use crate::core::message::{Body, MessageId, Properties};
use crate::mqtt::deliveries::WINDOW_MAX_DELIVERIES;
use crate::mqtt::packet::Unsubscribe;
use crate::ops::receive_feedback::{receive_feedback, settle_feedback};
use crate::ops::send_command::{NewCommand, send_command};
use crate::store::commands::Commands as _;

const FILTER: &str = "devices/D/messages/devicebound/#";
const TOPIC: &str = "devices/D/messages/devicebound/%24.to=%2Fdevices%2FD%2Fmessages%2FdeviceBound";

/// A command as a device sees it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    payload: Vec<u8>,
    /// Its packet id and whether it is called a duplicate; none with QoS 0.
    acknowledged: Option<(u16, bool)>,
}

fn seen(payload: &[u8], packet_id: u16, duplicate: bool) -> Seen {
    Seen { payload: payload.to_vec(), acknowledged: Some((packet_id, duplicate)) }
}

async fn send(world: &World, payload: &[u8]) -> Command {
    let message = Message { properties: with_id(), body: Body::Data(vec![payload.into()]), ..Message::default() };
    let command = NewCommand { message, ack: Acknowledgement::Full, sent_by: "service".into(), again_of: None };
    send_command(&world.hub, identity("D").device_id, command).await.unwrap()
}

/// Without a message-id there is no receipt.
fn with_id() -> Properties<'static> {
    Properties { message_id: Some(MessageId::String("m".into())), ..Properties::default() }
}

/// Takes the receipts that there are now: which command, and how it ended. Whatever was told to the desk before has been done then.
async fn receipts(world: &World) -> Vec<(CommandId, Outcome)> {
    let Some(batch) = receive_feedback(&world.hub, 64).await.unwrap() else { return Vec::new() };
    settle_feedback(&world.hub, batch.token, Settlement::Complete).await.unwrap();
    batch.receipts.iter().map(|receipt| (receipt.command, receipt.outcome)).collect()
}

async fn stored_command(world: &World, id: CommandId) -> Command {
    world.commands.command(id).await.unwrap().unwrap()
}

async fn returns(world: &World, id: CommandId) -> Vec<ReturnReason> {
    let (_, steps) = world.commands.history(id).await.unwrap().unwrap();
    steps.iter().filter_map(|step| if let StepKind::Returned(reason) = step.kind { Some(reason) } else { None }).collect()
}

impl Device {
    /// Lets device D in with a session that is kept.
    async fn connect_kept(world: &World, answer: [u8; 4]) -> Self {
        let mut device = Self::dial(world);
        let token = long_token();
        device.send(&Packet::Connect(Connect { clean_session: false, ..connect(&token) })).await;
        device.expect(&answer).await;
        device
    }

    async fn subscribe(&mut self, qos: QoS) {
        self.send(&Packet::Subscribe(Subscribe { packet_id: PacketId::new(1).unwrap(), filters: vec![(FILTER, qos)] })).await;
        self.expect(&[0x90, 3, 0, 1, qos as u8]).await;
    }

    async fn subscribed(world: &World) -> Self {
        let mut device = Self::connect_kept(world, ACCEPTED).await;
        device.subscribe(QoS::AtLeastOnce).await;
        device
    }

    /// Reads one packet, which must be a command.
    async fn command(&mut self) -> Seen {
        let mut bytes = Vec::new();
        loop {
            match decode(&bytes, Limits::CONNECTED).unwrap() {
                Decoded::Packet { packet: Packet::Publish(publish), .. } => {
                    assert!(publish.topic.starts_with(TOPIC) && publish.topic.ends_with("&iothub-ack=full"), "{}", publish.topic);
                    let acknowledged = match publish.delivery {
                        Delivery::AtLeastOnce { packet_id, duplicate } => Some((packet_id.0.get(), duplicate)),
                        _ => None,
                    };
                    return Seen { payload: publish.payload.to_vec(), acknowledged };
                }
                Decoded::Packet { packet, .. } => panic!("{packet:?} instead of a command"),
                Decoded::Incomplete { total } => {
                    let more = total.map_or(1, |total| total - bytes.len());
                    let read = bytes.len();
                    bytes.resize(read + more, 0);
                    self.stream.read_exact(&mut bytes[read..]).await.unwrap();
                }
            }
        }
    }

    /// Everything it sent before has been acted upon, and nothing but the answer to this has come.
    async fn hears_only_pings(&mut self) {
        self.send_bytes(&PINGREQ).await;
        self.expect(&PINGRESP).await;
    }

    async fn acknowledge(&mut self, number: u16) {
        self.send_bytes(&puback(number)).await;
        self.hears_only_pings().await;
    }

    /// The connection breaks, and the hub has done all that this makes it do.
    async fn breaks(self) {
        let Self { stream, served } = self;
        drop(stream);
        served.await.unwrap();
    }
}

#[tokio::test]
async fn a_command_waits_for_a_device_that_is_away_and_its_puback_makes_the_receipt() {
    let world = World::with_device("D").await;
    let device = Device::subscribed(&world).await;
    device.breaks().await;
    let command = send(&world, b"on").await;
    assert_eq!(world.hub.commands.pending_of(&command.device_id), 1);
    // No SUBSCRIBE: the session was kept.
    let mut device = Device::connect_kept(&world, ACCEPTED_WITH_SESSION).await;
    assert_eq!(device.command().await, seen(b"on", 1, false));
    assert_eq!(receipts(&world).await, []);
    device.acknowledge(1).await;
    assert_eq!(receipts(&world).await, [(command.id, Outcome::Completed)]);
    // Once more, and one that stands for nothing: harmless.
    device.acknowledge(1).await;
    device.acknowledge(77).await;
    assert_eq!(receipts(&world).await, []);
    assert_eq!(world.hub.commands.pending_of(&command.device_id), 0);
}

#[tokio::test]
async fn commands_come_in_the_order_of_sending() {
    let world = World::with_device("D").await;
    let mut device = Device::subscribed(&world).await;
    for number in 0..50_u8 {
        send(&world, &[number]).await;
    }
    for number in 0..50_u8 {
        let Seen { payload, acknowledged: Some((packet_id, false)) } = device.command().await else { panic!("a duplicate") };
        assert_eq!(payload, [number]);
        device.send_bytes(&puback(packet_id)).await;
    }
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_as_a_duplicate() {
    let world = World::with_device("D").await;
    let mut device = Device::subscribed(&world).await;
    let command = send(&world, b"on").await;
    assert_eq!(device.command().await, seen(b"on", 1, false));
    device.breaks().await;
    let mut device = Device::connect_kept(&world, ACCEPTED_WITH_SESSION).await;
    assert_eq!(device.command().await, seen(b"on", 1, true));
    assert_eq!(stored_command(&world, command.id).await.delivery_count, 2);
    assert_eq!(returns(&world, command.id).await, [ReturnReason::ConnectionClosed]);
    device.acknowledge(1).await;
    assert_eq!(receipts(&world).await, [(command.id, Outcome::Completed)]);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_runs_out_brings_the_command_again_and_a_late_puback_counts() {
    let world = World::with_device("D").await;
    let mut device = Device::subscribed(&world).await;
    let command = send(&world, b"on").await;
    assert_eq!(device.command().await, seen(b"on", 1, false));
    world.clock.0.fetch_add(60_001, Ordering::Relaxed);
    assert_eq!(device.command().await, seen(b"on", 1, true));
    // The same for either delivery: they have one packet id.
    device.acknowledge(1).await;
    assert_eq!(receipts(&world).await, [(command.id, Outcome::Completed)]);
    assert_eq!(stored_command(&world, command.id).await.delivery_count, 2);
}

#[tokio::test]
async fn qos_0_is_completed_by_the_write() {
    let world = World::with_device("D").await;
    let mut device = Device::connect_kept(&world, ACCEPTED).await;
    device.subscribe(QoS::AtMostOnce).await;
    let command = send(&world, b"on").await;
    assert_eq!(device.command().await, Seen { payload: b"on".to_vec(), acknowledged: None });
    device.hears_only_pings().await;
    assert_eq!(receipts(&world).await, [(command.id, Outcome::Completed)]);
}

#[tokio::test]
async fn without_a_subscription_the_queue_fills() {
    let world = World::with_device("D").await;
    let mut device = Device::connect_kept(&world, ACCEPTED).await;
    let first = send(&world, b"first").await;
    assert_eq!(receipts(&world).await, []);
    device.hears_only_pings().await;
    assert_eq!(stored_command(&world, first.id).await.delivery_count, 0);
    device.subscribe(QoS::AtLeastOnce).await;
    assert_eq!(device.command().await, seen(b"first", 1, false));

    device.send(&Packet::Unsubscribe(Unsubscribe { packet_id: PacketId::new(2).unwrap(), filters: vec![FILTER] })).await;
    device.expect(&[0xb0, 2, 0, 2]).await;
    let second = send(&world, b"second").await;
    assert_eq!(receipts(&world).await, []);
    device.hears_only_pings().await;
    assert_eq!(stored_command(&world, second.id).await.delivery_count, 0);
    // What was delivered can still be settled.
    device.acknowledge(1).await;
    assert_eq!(receipts(&world).await, [(first.id, Outcome::Completed)]);
    // Nor does it begin again with the next connection.
    device.breaks().await;
    let mut device = Device::connect_kept(&world, ACCEPTED_WITH_SESSION).await;
    device.hears_only_pings().await;
    assert_eq!(world.hub.commands.pending_of(&second.device_id), 1);
}

#[tokio::test]
async fn a_clean_session_has_no_subscription() {
    let world = World::with_device("D").await;
    Device::subscribed(&world).await.breaks().await;
    let command = send(&world, b"on").await;
    let mut device = Device::connect(&world).await;
    assert_eq!(receipts(&world).await, []);
    device.hears_only_pings().await;
    device.subscribe(QoS::AtLeastOnce).await;
    assert_eq!(device.command().await, seen(b"on", 1, false));
    device.acknowledge(1).await;
    assert_eq!(receipts(&world).await, [(command.id, Outcome::Completed)]);
}

#[tokio::test]
async fn nothing_settles_and_nothing_comes_once_the_device_is_shut_out() {
    let world = World::with_device("D").await;
    let mut device = Device::subscribed(&world).await;
    let command = send(&world, b"on").await;
    assert_eq!(device.command().await, seen(b"on", 1, false));
    let off = changed(|identity| identity.wanted_status = DeviceStatus::Disabled);
    world.write(Expected::Version(Version(1)), Some(off)).await;
    // No await between the return of the disabling call and the bytes: the connection has not noticed yet.
    let _ = device.stream.write_all(&puback(1)).await;
    assert!(device.rest().await.is_empty());
    assert_eq!(receipts(&world).await, []);
    let kept = stored_command(&world, command.id).await;
    assert_eq!((kept.delivery_count, kept.ended), (1, None));
}

#[tokio::test]
async fn no_more_than_the_window_is_on_its_way() {
    let world = World::with_device("D").await;
    let mut device = Device::subscribed(&world).await;
    let window = u16::try_from(WINDOW_MAX_DELIVERIES).unwrap();
    for number in 1..=window + 1 {
        send(&world, &number.to_be_bytes()).await;
    }
    for number in 1..=window {
        assert_eq!(device.command().await, seen(&number.to_be_bytes(), number, false));
    }
    assert_eq!(receipts(&world).await, []);
    device.hears_only_pings().await;
    device.send_bytes(&puback(3)).await;
    assert_eq!(device.command().await, seen(&(window + 1).to_be_bytes(), window + 1, false));
}

#[tokio::test]
async fn what_the_older_connection_held_goes_to_the_newer() {
    let world = World::with_device("D").await;
    let mut older = Device::subscribed(&world).await;
    let command = send(&world, b"on").await;
    assert_eq!(older.command().await, seen(b"on", 1, false));
    let mut newer = Device::connect_kept(&world, ACCEPTED_WITH_SESSION).await;
    // What the older still says does not count.
    let _ = older.stream.write_all(&puback(1)).await;
    assert!(older.rest().await.is_empty());
    assert_eq!(newer.command().await, seen(b"on", 1, true));
    assert_eq!(receipts(&world).await, []);
    newer.acknowledge(1).await;
    assert_eq!(receipts(&world).await, [(command.id, Outcome::Completed)]);
}

#[tokio::test(start_paused = true)]
async fn what_never_left_for_a_device_that_takes_nothing_does_not_count() {
    let world = World::with_device("D").await;
    let device = Device::subscribed(&world).await;
    // The first two fill one write, which can't end: there is room for 64 KiB between the two ends.
    let large = vec![7; 60 * 1024];
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(send(&world, &large).await.id);
    }
    let Device { stream, served } = device;
    let stuck = tokio::time::Instant::now();
    served.await.unwrap();
    assert_eq!(stuck.elapsed().as_secs(), WRITE_MAX.as_secs());
    drop(stream);
    assert_eq!(receipts(&world).await, []);
    assert_eq!(stored_command(&world, ids[0]).await.delivery_count, 1);
    let last = stored_command(&world, ids[2]).await;
    assert_eq!((last.delivery_count, last.ended), (0, None));
    assert_eq!(returns(&world, ids[2]).await, [ReturnReason::NotSent]);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_runs_out_before_its_command_leaves_does_not_count() {
    let world = World::with_device("D").await;
    let mut device = Device::subscribed(&world).await;
    // As above: the first two fill the line, and the third waits for it.
    let large = vec![7; 60 * 1024];
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(send(&world, &large).await.id);
        tokio::task::yield_now().await;
    }
    // Nothing is read, so nothing moves but the hub's clock.
    world.clock.0.fetch_add(60_001, Ordering::Relaxed);
    assert_eq!(receipts(&world).await, []);
    assert_eq!(returns(&world, ids[2]).await, [ReturnReason::NotSent]);
    let counts = async |id| stored_command(&world, id).await.delivery_count;
    assert_eq!((counts(ids[0]).await, counts(ids[1]).await, counts(ids[2]).await), (2, 2, 1));
    let mut seen = Vec::new();
    while seen.last() != Some(&(3, false)) {
        seen.extend(device.command().await.acknowledged);
    }
    assert_eq!(seen[..2], [(1, false), (2, false)]);
}

#[tokio::test(start_paused = true)]
async fn a_late_puback_settles_the_delivery_that_waits_behind_it() {
    let world = World::with_device("D").await;
    let mut device = Device::subscribed(&world).await;
    let command = send(&world, b"on").await;
    assert_eq!(device.command().await, seen(b"on", 1, false));
    // It comes again, behind what the device does not read.
    let large = vec![7; 60 * 1024];
    for _ in 0..2 {
        send(&world, &large).await;
    }
    tokio::task::yield_now().await;
    world.clock.0.fetch_add(60_001, Ordering::Relaxed);
    assert_eq!(receipts(&world).await, []);
    device.send_bytes(&puback(1)).await;
    // Both, and both again, whose locks ran out as well.
    for _ in 0..4 {
        assert_eq!(device.command().await.payload, large);
    }
    device.hears_only_pings().await;
    assert_eq!(receipts(&world).await, [(command.id, Outcome::Completed)]);
}

#[tokio::test]
async fn telemetry_goes_on_between_commands() {
    let world = World::with_device("D").await;
    let mut device = Device::subscribed(&world).await;
    for number in 1..=4_u8 {
        send(&world, &vec![number; 60 * 1024]).await;
        device.send_bytes(&publish(number.into(), &[number])).await;
    }
    let (mut commands, mut acknowledged) = (0, 0);
    while commands + acknowledged < 8 {
        let mut first = [0];
        device.stream.read_exact(&mut first).await.unwrap();
        let mut rest = vec![first[0]];
        let length = loop {
            if let Decoded::Packet { packet, length } = decode(&rest, Limits::CONNECTED).unwrap() {
                match packet {
                    Packet::Publish(_) => commands += 1,
                    Packet::PubAck(_) => acknowledged += 1,
                    other => panic!("{other:?}"),
                }
                break length;
            }
            let mut byte = [0];
            device.stream.read_exact(&mut byte).await.unwrap();
            rest.push(byte[0]);
        };
        assert_eq!(length, rest.len());
    }
    assert_eq!((commands, acknowledged), (4, 4));
    assert_eq!(payloads(&world).await.len(), 4);
}

#[tokio::test]
async fn a_command_that_mqtt_cannot_say_is_dead_lettered() {
    let world = World::with_device("D").await;
    let mut device = Device::subscribed(&world).await;
    // Each character takes six in a topic.
    let long = "é".repeat(11_000);
    let application_properties = vec![("p".into(), Value::String(long.as_str().into()))];
    let message = Message { properties: with_id(), application_properties, ..Message::default() };
    let command = NewCommand { message, ack: Acknowledgement::Negative, sent_by: "service".into(), again_of: None };
    let refused = send_command(&world.hub, identity("D").device_id, command).await.unwrap();
    send(&world, b"on").await;
    assert_eq!(device.command().await, seen(b"on", 2, false));
    device.hears_only_pings().await;
    assert_eq!(receipts(&world).await, [(refused.id, Outcome::Rejected)]);
}
