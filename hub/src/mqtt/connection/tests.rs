use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::core::certificate::CertificateFingerprint;
use crate::core::certificate::tests::made::{chain, params, self_signed};
use crate::core::event::{PartitionId, SequenceNumber};
use crate::core::identity::{Authentication, DeviceIdentity, DeviceStatus, Version};
use crate::core::message::{Message, Value, encoding};
use crate::core::sas::sign;
use crate::mqtt::codec::encode;
use crate::mqtt::packet::{Connect, Delivery, Packet, PacketId, Publish, QoS, Subscribe, Will};
use crate::net::WebSocketBytes;
use crate::ops::AppendError;
use crate::ops::end_expired::end_expired;
use crate::ops::read_connections::device_connections;
use crate::ops::world::{NOW, World, device_token, identity, key, origin};
use crate::store::{EventLog as _, Expected};

mod commands;
mod simulated;

const ACCEPTED: [u8; 4] = [0x20, 2, 0, 0];
const ACCEPTED_WITH_SESSION: [u8; 4] = [0x20, 2, 1, 0];
const NOT_AUTHORIZED: [u8; 4] = [0x20, 2, 0, 5];
const PINGREQ: [u8; 2] = [0xc0, 0];
const PINGRESP: [u8; 2] = [0xd0, 0];
const DISCONNECT: [u8; 2] = [0xe0, 0];
const EVENTS: &str = "devices/D/messages/events/";
const USER_NAME: &str = "hub.example/D/?api-version=2021-04-12";
const CONNECT_WITHIN: Duration = Duration::from_secs(7);
/// Keep-alive × 1.5.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// A connection to the hub, as the device has it.
struct Device {
    stream: DuplexStream,
    served: JoinHandle<()>,
}

impl Device {
    fn dial(world: &World) -> Self {
        let (stream, server) = duplex(64 * 1024);
        let served = tokio::spawn(serve_connection(Arc::clone(&world.hub), server, stranger(), CONNECT_WITHIN, || ()));
        Self { stream, served }
    }

    /// Lets device D in with a good token; a long one, so that tests may wait.
    async fn connect(world: &World) -> Self {
        let mut device = Self::dial(world);
        device.send(&Packet::Connect(connect(&long_token()))).await;
        device.expect(&ACCEPTED).await;
        device
    }

    async fn connect_with_will(world: &World) -> Self {
        let mut device = Self::dial(world);
        let will = Will { topic: "devices/D/messages/events/k=v", payload: b"last words", qos: QoS::AtLeastOnce, retain: false };
        device.send(&Packet::Connect(Connect { will: Some(will), ..connect(&long_token()) })).await;
        device.expect(&ACCEPTED).await;
        device
    }

    async fn send(&mut self, packet: &Packet<'_>) {
        self.send_bytes(&bytes_of(packet)).await;
    }

    async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads exactly these bytes.
    async fn expect(&mut self, bytes: &[u8]) {
        let mut read = vec![0; bytes.len()];
        self.stream.read_exact(&mut read).await.unwrap();
        assert_eq!(read, bytes);
    }

    /// Reads what the hub still says, until it closes, and waits for all that it does afterwards.
    async fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.unwrap();
        self.served.await.unwrap();
        rest
    }
}

fn stranger() -> Stranger {
    Stranger { origin: origin(), certificate: None }
}

fn connect(token: &str) -> Connect<'_> {
    Connect {
        clean_session: true,
        keep_alive_seconds: 60,
        client_id: "D",
        will: None,
        user_name: Some(USER_NAME),
        password: Some(token.as_bytes()),
    }
}

fn long_token() -> String {
    sign("hub.example/devices/D", NOW.plus(Duration::from_secs(86_400)), &key(1), None)
}

fn bytes_of(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, &mut bytes).unwrap();
    bytes
}

/// A message; QoS 0 when the number is 0.
fn publish(number: u16, payload: &[u8]) -> Vec<u8> {
    let delivery = match PacketId::new(number) {
        Some(packet_id) => Delivery::AtLeastOnce { packet_id, duplicate: false },
        None => Delivery::AtMostOnce,
    };
    bytes_of(&Packet::Publish(Publish { delivery, retain: false, topic: EVENTS, payload }))
}

fn puback(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [0x40, 2, high, low]
}

/// The payloads and application properties of everything that is durable.
async fn stored(world: &World) -> Vec<(Vec<u8>, Vec<(String, String)>)> {
    let mut stored = Vec::new();
    for partition in 0..4 {
        for event in world.log.read(PartitionId(partition), SequenceNumber(0), usize::MAX).await.unwrap() {
            let Message { application_properties, body, .. } = encoding::decode(&event.content).unwrap();
            let crate::core::message::Body::Data(sections) = body else { panic!("MQTT sends data") };
            let properties = application_properties.into_iter().map(|(name, value)| match value {
                Value::String(value) => (name.into_owned(), value.into_owned()),
                other => (name.into_owned(), format!("{other:?}")),
            });
            stored.push((sections.concat(), properties.collect()));
        }
    }
    stored
}

async fn payloads(world: &World) -> Vec<Vec<u8>> {
    stored(world).await.into_iter().map(|(payload, _)| payload).collect()
}

/// What a will leaves behind.
fn last_words() -> (Vec<u8>, Vec<(String, String)>) {
    (b"last words".to_vec(), vec![("k".into(), "v".into()), ("iothub-MessageType".into(), "Will".into())])
}

fn changed(change: impl FnOnce(&mut DeviceIdentity)) -> DeviceIdentity {
    let mut identity = identity("D");
    identity.version = Version(2);
    change(&mut identity);
    identity
}

#[tokio::test]
async fn messages_are_acknowledged_in_order_once_they_are_durable() {
    let world = World::with_device("D").await;
    let mut device = Device::connect(&world).await;
    world.log.hold();
    device.send_bytes(&[publish(7, b"a"), publish(0, b"b"), publish(3, b"c"), PINGREQ.to_vec()].concat()).await;
    // Only the ping is answered, though all messages have been appended.
    device.expect(&PINGRESP).await;
    device.send_bytes(&[publish(9, b"d"), PINGREQ.to_vec()].concat()).await;
    device.expect(&PINGRESP).await;
    assert!(payloads(&world).await.is_empty());
    world.log.release();
    device.expect(&[puback(7), puback(3), puback(9)].concat()).await;
    assert_eq!(payloads(&world).await, [b"a", b"b", b"c", b"d"]);
}

#[tokio::test(start_paused = true)]
async fn all_refusals_are_alike_in_bytes_and_in_time() {
    let world = World::with_device("D").await;
    world.write(Expected::Absent, Some(DeviceIdentity { wanted_status: DeviceStatus::Disabled, ..identity("off") })).await;
    let token = device_token("D", 1);
    let good = connect(&token);
    let (bad_key, expired) = (device_token("D", 9), sign("hub.example/devices/D", NOW.plus(Duration::ZERO), &key(1), None));
    let (unknown, off) = (device_token("nobody", 1), device_token("off", 1));
    world.clock.0.fetch_add(3_600_000, Ordering::Relaxed);
    let will = |topic, qos| Some(Will { topic, payload: b"", qos, retain: false });
    let long = long_token();
    let refused: [(&str, Connect<'_>); 11] = [
        ("bad key", Connect { password: Some(bad_key.as_bytes()), ..good.clone() }),
        ("expired", Connect { password: Some(expired.as_bytes()), ..good.clone() }),
        ("no token", Connect { password: None, ..good.clone() }),
        ("no text", Connect { password: Some(b"\xff"), ..good.clone() }),
        ("no user name", Connect { user_name: None, password: None, ..good.clone() }),
        ("another id", Connect { client_id: "E", ..good.clone() }),
        ("another host", Connect { user_name: Some("other.example/D/"), ..good.clone() }),
        (
            "unknown",
            Connect { client_id: "nobody", user_name: Some("hub.example/nobody"), password: Some(unknown.as_bytes()), ..good.clone() },
        ),
        ("disabled", Connect { client_id: "off", user_name: Some("hub.example/off"), password: Some(off.as_bytes()), ..good.clone() }),
        ("will of QoS 2", Connect { will: will(EVENTS, QoS::ExactlyOnce), password: Some(long.as_bytes()), ..good.clone() }),
        ("bad will", Connect { will: will("elsewhere", QoS::AtMostOnce), password: Some(long.as_bytes()), ..good.clone() }),
    ];
    for (what, connect) in refused {
        let mut device = Device::dial(&world);
        let asked = tokio::time::Instant::now();
        device.send(&Packet::Connect(connect)).await;
        // A message behind it must not be taken.
        device.send_bytes(&publish(1, b"no")).await;
        device.expect(&NOT_AUTHORIZED).await;
        // The timer's grain is a millisecond.
        assert!((100..=102).contains(&asked.elapsed().as_millis()), "{what}: {:?}", asked.elapsed());
        assert!(device.rest().await.is_empty(), "{what}");
    }
    assert!(world.last_reason("D").contains("topic"), "{}", world.last_reason("D"));
    assert!(payloads(&world).await.is_empty());
    assert_eq!(world.hub.presence.connected(), 0);
}

#[tokio::test(start_paused = true)]
async fn strangers_who_speak_no_mqtt_are_sent_away() {
    let world = World::new();
    for (what, bytes, answer) in [
        ("level 3", &b"\x10\x0d\0\x04MQTT\x03\x02\0\0\0\x01D"[..], &[0x20, 2, 0, 1][..]),
        ("level 5", b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01D", &[0x20, 2, 0, 1]),
        ("MQIsdp", b"\x10\x0f\0\x06MQIsdp\x03\x02\0\0\0\x01D", &[]),
        ("no client id", b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0", &[0x20, 2, 0, 2]),
        ("PINGREQ first", &PINGREQ, &[]),
        ("a large PUBLISH", b"\x30\xff\xff\x7f", &[]),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n", &[]),
        ("half a CONNECT", b"\x10\x20\0", &[]),
    ] {
        let mut device = Device::dial(&world);
        let dialled = tokio::time::Instant::now();
        device.send_bytes(bytes).await;
        assert_eq!(device.rest().await, answer, "{what}");
        let waited = if what == "half a CONNECT" { CONNECT_WITHIN.as_secs() } else { 0 };
        assert_eq!(dialled.elapsed().as_secs(), waited, "{what}");
    }
}

#[tokio::test]
async fn the_door_is_told_who_has_proved_himself() {
    let world = World::with_device("D").await;
    for (token, expected) in [(device_token("D", 9), false), (device_token("D", 1), true)] {
        let told = Arc::new(AtomicBool::new(false));
        let (mut stream, server) = duplex(1024);
        let tell = Arc::clone(&told);
        tokio::spawn(serve_connection(Arc::clone(&world.hub), server, stranger(), CONNECT_WITHIN, move || {
            tell.store(true, Ordering::Relaxed)
        }));
        stream.write_all(&bytes_of(&Packet::Connect(connect(&token)))).await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
        assert_eq!(told.load(Ordering::Relaxed), expected);
    }
}

#[tokio::test]
async fn what_arrives_after_a_disable_is_not_stored_and_neither_is_the_will() {
    for shut_out in [
        Some(changed(|identity| identity.wanted_status = DeviceStatus::Disabled)),
        Some(changed(|identity| identity.generation_id.0 = "2".into())),
        Some(changed(|identity| {
            identity.authentication = crate::core::identity::Authentication::SymmetricKey { primary: key(7), secondary: key(8) };
        })),
        None,
    ] {
        let world = World::with_device("D").await;
        let mut device = Device::connect_with_will(&world).await;
        device.send_bytes(&publish(1, b"before")).await;
        device.expect(&puback(1)).await;
        // No await between the return of the disabling call and the bytes: the connection has not noticed yet.
        world.write(Expected::Version(Version(1)), shut_out).await;
        let _ = device.stream.write_all(&publish(2, b"after")).await;
        assert!(device.rest().await.is_empty());
        assert_eq!(payloads(&world).await, [b"before"]);
        assert_eq!(world.hub.presence.connected(), 0);
    }
}

/// As SDKs connect with a certificate: a user name, and no password.
#[tokio::test]
async fn a_certificate_lets_in_and_what_arrives_after_its_change_is_not_stored() {
    let world = World::new();
    let [own, other] = [(); 2].map(|()| self_signed(&params(&["D"])));
    let by = |der: &[u8], version| {
        let primary = Some(CertificateFingerprint::of(der).thumbprint());
        DeviceIdentity {
            authentication: Authentication::SelfSigned { primary, secondary: None },
            version: Version(version),
            ..identity("D")
        }
    };
    world.write(Expected::Absent, Some(by(&own, 1))).await;
    let dial = |der: &[u8]| {
        let (stream, server) = duplex(64 * 1024);
        let stranger = Stranger { origin: origin(), certificate: Some(chain(&[der])) };
        Device { stream, served: tokio::spawn(serve_connection(Arc::clone(&world.hub), server, stranger, CONNECT_WITHIN, || ())) }
    };
    let without_password = Packet::Connect(Connect { password: None, ..connect("") });
    let mut device = dial(&own);
    device.send(&without_password).await;
    device.expect(&ACCEPTED).await;
    device.send_bytes(&publish(1, b"before")).await;
    device.expect(&puback(1)).await;

    world.write(Expected::Version(Version(1)), Some(by(&other, 2))).await;
    let _ = device.stream.write_all(&publish(2, b"after")).await;
    assert!(device.rest().await.is_empty());
    assert_eq!(payloads(&world).await, [b"before"]);
    let mut again = dial(&own);
    again.send(&without_password).await;
    assert_eq!(again.rest().await, NOT_AUTHORIZED);
}

/// The hub started with a clock that was behind, and has been set right since.
#[tokio::test]
async fn what_arrives_after_its_certificate_has_run_out_by_the_wall_clock_is_not_stored() {
    for sends in [true, false] {
        let world = World::new();
        let own = self_signed(&params(&["D"]));
        let primary = Some(CertificateFingerprint::of(&own).thumbprint());
        let by_certificate = DeviceIdentity { authentication: Authentication::SelfSigned { primary, secondary: None }, ..identity("D") };
        world.write(Expected::Absent, Some(by_certificate)).await;
        let (stream, server) = duplex(64 * 1024);
        let stranger = Stranger { origin: origin(), certificate: Some(chain(&[&own])) };
        let served = tokio::spawn(serve_connection(Arc::clone(&world.hub), server, stranger, CONNECT_WITHIN, || ()));
        let mut device = Device { stream, served };
        device.send(&Packet::Connect(Connect { password: None, ..connect("") })).await;
        device.expect(&ACCEPTED).await;

        let good_until = world.hub.presence.sessions(None, 1)[0].right().good_until;
        world.clock.0.store(good_until.plus(Duration::from_secs(4)).0, Ordering::Relaxed);
        end_expired(&world.hub).await;
        device.send_bytes(&publish(1, b"before")).await;
        device.expect(&puback(1)).await;
        world.clock.0.store(good_until.plus(Duration::from_secs(6)).0, Ordering::Relaxed);
        if sends {
            device.send_bytes(&publish(2, b"after")).await;
        } else {
            end_expired(&world.hub).await;
        }
        assert!(device.rest().await.is_empty());
        assert_eq!(payloads(&world).await, [b"before"]);
        let ended = device_connections(&world.hub, &identity("D").device_id, None, 1).await.unwrap();
        assert_eq!(ended.connections[0].disconnected.map(|(_, reason)| reason), Some(DisconnectReason::TokenExpired));
    }
}

#[tokio::test]
async fn a_device_disabled_after_its_connection_was_lost_leaves_no_will() {
    let world = World::with_device("D").await;
    let device = Device::connect_with_will(&world).await;
    let Device { stream, served } = device;
    drop(stream);
    world.write(Expected::Version(Version(1)), Some(changed(|identity| identity.wanted_status = DeviceStatus::Disabled))).await;
    served.await.unwrap();
    assert!(payloads(&world).await.is_empty());
}

#[tokio::test]
async fn the_newer_connection_wins_and_the_older_leaves_its_will() {
    let world = World::with_device("D").await;
    let older = Device::connect_with_will(&world).await;
    let mut newer = Device::connect(&world).await;
    assert!(older.rest().await.is_empty());
    assert_eq!(stored(&world).await, [last_words()]);
    assert_eq!(world.hub.presence.connected(), 1);
    newer.send_bytes(&PINGREQ).await;
    newer.expect(&PINGRESP).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_device_is_gone_after_one_and_a_half_keep_alives() {
    let world = World::with_device("D").await;
    let mut device = Device::connect_with_will(&world).await;
    tokio::time::sleep(SILENCE_MAX - Duration::from_secs(1)).await;
    device.send_bytes(&PINGREQ).await;
    device.expect(&PINGRESP).await;
    let heard = tokio::time::Instant::now();
    assert!(device.rest().await.is_empty());
    assert_eq!(heard.elapsed().as_secs(), SILENCE_MAX.as_secs());
    assert_eq!(stored(&world).await, [last_words()]);
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_token() {
    let world = World::with_device("D").await;
    let mut device = Device::dial(&world);
    let token = device_token("D", 1);
    device.send(&Packet::Connect(Connect { keep_alive_seconds: 0, ..connect(&token) })).await;
    device.expect(&ACCEPTED).await;
    let good_until = crate::core::sas::SasToken::parse(&token).unwrap().good_until();
    let connected = tokio::time::Instant::now();
    assert!(device.rest().await.is_empty());
    assert_eq!(connected.elapsed().as_secs(), good_until.since(NOW).as_secs());
}

#[tokio::test]
async fn a_polite_device_leaves_no_will_and_all_it_sent_is_stored() {
    let world = World::with_device("D").await;
    let mut device = Device::connect_with_will(&world).await;
    device.send_bytes(&[publish(0, b"bye"), DISCONNECT.to_vec()].concat()).await;
    assert!(device.rest().await.is_empty());
    assert_eq!(payloads(&world).await, [b"bye"]);
    assert_eq!(world.hub.presence.connected(), 0);
}

#[tokio::test]
async fn what_came_before_a_violation_is_stored_and_so_is_the_will() {
    let elsewhere = Publish { delivery: Delivery::AtMostOnce, retain: false, topic: "devices/E/messages/events/", payload: b"x" };
    for violation in [bytes_of(&Packet::Publish(elsewhere)), vec![0xf0], bytes_of(&Packet::Connect(connect(&long_token())))] {
        let world = World::with_device("D").await;
        let mut device = Device::connect_with_will(&world).await;
        device.send_bytes(&[publish(0, b"good"), violation, publish(0, b"late")].concat()).await;
        assert!(device.rest().await.is_empty());
        assert_eq!(payloads(&world).await, [&b"good"[..], b"last words"]);
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_acknowledged() {
    let retry_after = Duration::from_secs(5);
    for error in [AppendError::DiskFull { retry_after }, AppendError::Unavailable { retry_after }] {
        let world = World::with_device("D").await;
        let mut device = Device::connect(&world).await;
        world.log.refuse(Some(error));
        device.send_bytes(&publish(1, b"lost")).await;
        assert!(device.rest().await.is_empty());
        world.log.refuse(None);
        let mut device = Device::connect(&world).await;
        device.send_bytes(&publish(1, b"again")).await;
        device.expect(&puback(1)).await;
        assert_eq!(payloads(&world).await, [b"again"]);
    }
}

#[tokio::test]
async fn what_did_not_reach_the_disk_is_not_acknowledged() {
    let world = World::with_device("D").await;
    let mut device = Device::connect(&world).await;
    world.log.hold();
    device.send_bytes(&[publish(1, b"lost"), PINGREQ.to_vec()].concat()).await;
    device.expect(&PINGRESP).await;
    world.log.fail();
    assert!(device.rest().await.is_empty());
    assert!(payloads(&world).await.is_empty());
}

#[tokio::test]
async fn subscriptions_outlive_a_connection_unless_the_session_is_clean() {
    let world = World::with_device("D").await;
    let token = long_token();
    let kept = Connect { clean_session: false, ..connect(&token) };
    let filters = vec![("devices/D/messages/devicebound/#", QoS::AtLeastOnce), ("elsewhere", QoS::AtMostOnce)];
    let subscribe = Packet::Subscribe(Subscribe { packet_id: PacketId::new(1).unwrap(), filters });
    let clean = connect(&token);
    for (connect, answer, kept_after) in [
        (&kept, ACCEPTED, 1),
        (&kept, ACCEPTED_WITH_SESSION, 1),
        (&clean, ACCEPTED, 0),
        (&kept, ACCEPTED, 1),
        (&kept, ACCEPTED_WITH_SESSION, 1),
    ] {
        let mut device = Device::dial(&world);
        device.send(&Packet::Connect(connect.clone())).await;
        device.expect(&answer).await;
        if answer == ACCEPTED {
            device.send(&subscribe).await;
            device.expect(&[0x90, 4, 0, 1, 1, 0x80]).await;
        }
        device.send_bytes(&DISCONNECT).await;
        assert!(device.rest().await.is_empty());
        let kept = world.hub.presence.kept_subscriptions(&identity("D").device_id);
        assert_eq!(kept.map_or(0, |kept| kept.len()), kept_after);
    }
}

#[tokio::test]
async fn a_device_is_read_no_further_while_too_much_waits_for_the_disk() {
    let world = World::with_device("D").await;
    let mut device = Device::connect(&world).await;
    world.log.hold();
    let message = publish(1, &[0; 1024]);
    // Far more than may wait, and than fits between the two ends: the last bytes can't be written before the disk has moved.
    let flood = message.repeat(8 * 1024);
    let (mut reading, mut writing) = tokio::io::split(device.stream);
    let writer = tokio::spawn(async move {
        writing.write_all(&flood).await.unwrap();
        writing
    });
    let mut acknowledged = Vec::new();
    loop {
        tokio::task::yield_now().await;
        world.log.release();
        let mut buffer = [0; 4096];
        let read = reading.read(&mut buffer).await.unwrap();
        acknowledged.extend_from_slice(&buffer[..read]);
        if acknowledged.len() == 8 * 1024 * 4 {
            break;
        }
        world.log.hold();
    }
    assert_eq!(acknowledged, puback(1).repeat(8 * 1024));
    device.stream = reading.unsplit(writer.await.unwrap());
    device.send_bytes(&DISCONNECT).await;
    assert!(device.rest().await.is_empty());
}

#[tokio::test]
async fn the_largest_message_passes_and_a_larger_one_ends_the_connection() {
    let world = World::with_device("D").await;
    let mut device = Device::connect(&world).await;
    let largest = vec![0xa5; crate::core::telemetry::MESSAGE_MAX_BYTES];
    device.send_bytes(&publish(1, &largest)).await;
    device.expect(&puback(1)).await;
    device.send_bytes(&publish(2, &[&largest[..], b"x"].concat())).await;
    assert!(device.rest().await.is_empty());
    assert_eq!(payloads(&world).await, [largest]);
}

#[tokio::test]
async fn it_is_the_same_over_a_websocket() {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::{Message, protocol::Role};

    let world = World::with_device("D").await;
    let (client, server) = duplex(64 * 1024);
    let hub = Arc::clone(&world.hub);
    let served =
        tokio::spawn(async move { serve_connection(hub, WebSocketBytes::over(server).await, stranger(), CONNECT_WITHIN, || ()).await });
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    // One packet in three messages, then three packets in one.
    for part in bytes_of(&Packet::Connect(connect(&long_token()))).chunks(60) {
        client.send(Message::binary(part.to_vec())).await.unwrap();
    }
    assert_eq!(client.next().await.unwrap().unwrap(), Message::binary(&ACCEPTED[..]));
    client.send(Message::binary([publish(1, b"a"), publish(2, b"b"), DISCONNECT.to_vec()].concat())).await.unwrap();
    assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
    served.await.unwrap();
    assert_eq!(payloads(&world).await, [b"a", b"b"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_task_is_cut_leaves_no_session() {
    let world = World::with_device("D").await;
    let Device { stream: _open, served } = Device::connect(&world).await;
    let session = world.hub.presence.sessions(None, 1).remove(0);
    served.abort();
    assert!(served.await.unwrap_err().is_cancelled());
    assert_eq!(session.ended(), Some(DisconnectReason::ConnectionLost));
    assert!(world.hub.presence.is_empty());
    let past = device_connections(&world.hub, session.device_id(), None, 10).await.unwrap();
    assert_eq!(past.connections[0].disconnected.map(|(_, reason)| reason), Some(DisconnectReason::ConnectionLost));
}

#[tokio::test]
async fn an_idle_connection_is_small() {
    let world = World::new();
    let (_client, server) = duplex(16);
    let stream = size_of_val(&server);
    let future = serve_connection(Arc::clone(&world.hub), server, stranger(), CONNECT_WITHIN, || ());
    let own = size_of_val(&future) - stream;
    assert!(own <= 1280, "the future of a connection has {own} bytes beside its stream");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However the bytes are cut, the same is stored and answered.
    #[test]
    fn cuts_make_no_difference(cuts in prop::collection::vec(1..400_usize, 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = World::with_device("D").await;
            let mut device = Device::dial(&world);
            let messages: Vec<Vec<u8>> = (1..=9).map(|number| publish(number, &vec![number as u8; usize::from(number) * 40])).collect();
            let stream = [bytes_of(&Packet::Connect(connect(&long_token()))), messages.concat()].concat();
            let (mut rest, mut cuts) = (&stream[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (part, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                device.send_bytes(part).await;
                tokio::task::yield_now().await;
                rest = after;
            }
            device.expect(&ACCEPTED).await;
            device.expect(&(1..=9).flat_map(puback).collect::<Vec<u8>>()).await;
            let stored = payloads(&world).await;
            assert_eq!(stored, (1..=9).map(|number| vec![number; usize::from(number) * 40]).collect::<Vec<Vec<u8>>>());
        });
    }
}
