//! The whole hub over its real ports, started and stopped as `serve` does it.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate_authority::certificates_for;
use super::clock::SystemClock;
use super::*;
use crate::config::{Override, Source};
use crate::core::change::{Change, ChangeKind};
use crate::core::event::{PartitionId, SequenceNumber};
use crate::core::message::Message;
use crate::core::policy::Permission;
use crate::core::principal::Principal;
use crate::core::sas::sign;
use crate::core::session::{Credential, DeviceRight, KeyFingerprint};
use crate::core::telemetry::Occasion;
use crate::core::time::UnixMillis;
use crate::ops::EventBatch;
use crate::ops::authenticate::authenticate_service;
use crate::ops::consumer_groups::SeatEnded;
use crate::ops::open_session::open_session;
use crate::ops::send_telemetry::{append, stage, stamps};
use crate::ops::watch_changes::{Devices, Interest, News, Start, watch_changes};
use crate::ops::world::origin;
use crate::store::{Expected, RegistryWrite};

struct Rig {
    running: RunningHub,
    root: CertificateDer<'static>,
    data: tempfile::TempDir,
}

impl Rig {
    async fn start(extra: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let made = certificates_for(&data.path().join("tls"), &["hub.example".parse().unwrap()], SystemClock.now()).unwrap();
        let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).to_string();
        let mut settings = vec![
            ("host_name", "hub.example".to_owned()),
            ("data", path(&data.path().join("data"))),
            ("tls.certificate", path(&made.server.certificate)),
            ("tls.key", path(&made.server.key)),
        ];
        let listeners = ["listeners.mqtt", "listeners.amqp", "listeners.https", "listeners.api", "listeners.metrics"];
        settings.extend(listeners.map(|name| (name, any_port.clone())));
        settings.extend(extra.iter().map(|(name, text)| (*name, (*text).to_owned())));
        let overrides: Vec<_> =
            settings.into_iter().map(|(name, text)| Override { name: name.into(), text, origin: name.into() }).collect();
        let config = Source { path: None, overrides }.read().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let stores = Stores::open(&config, &clock).await.unwrap();
        let root = CertificateDer::from_pem_slice(&fs::read(made.authority).unwrap()).unwrap();
        Self { running: start(&config, stores, clock, Ports::Exactly).unwrap(), root, data }
    }

    async fn connect(&self, address: Option<SocketAddr>, name: &'static str) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_to_speak(address, name, &[]).await
    }

    async fn connect_to_speak(
        &self,
        address: Option<SocketAddr>,
        name: &'static str,
        protocols: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let tcp = TcpStream::connect(address.unwrap()).await.unwrap();
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), tcp).await
    }

    /// One request over HTTP/1.1; the head of the answer, and the body.
    async fn get(&self, address: Option<SocketAddr>, target: &str, headers: &str) -> (String, String) {
        let mut stream = self.connect(address, "hub.example").await.unwrap();
        ask(&mut stream, target, &format!("Connection: close\r\n{headers}")).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// A WebSocket to speak MQTT on.
    async fn websocket(&self) -> TlsStream<TcpStream> {
        self.websocket_for("/$iothub/websocket?iothub-no-client-cert=true", "mqtt").await
    }

    async fn websocket_for(&self, target: &str, subprotocol: &str) -> TlsStream<TcpStream> {
        let mut stream = self.connect(self.running.addresses().https, "hub.example").await.unwrap();
        let upgrade =
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        ask(&mut stream, target, &format!("{upgrade}Sec-WebSocket-Protocol: {subprotocol}\r\n")).await;
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        stream
    }

    fn owners_token(&self) -> String {
        let policies = self.running.hub().policies.current();
        let owner = policies.get("iothubowner").unwrap();
        sign("hub.example", self.running.hub().now().plus(Duration::from_secs(60)), &owner.primary, Some("iothubowner"))
    }
}

async fn ask(stream: &mut TlsStream<TcpStream>, target: &str, headers: &str) {
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: hub.example\r\n{headers}\r\n").as_bytes()).await.unwrap();
}

/// What comes until `end` has come.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        bytes.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn every_port_answers_in_its_own_way() {
    let rig = Rig::start(&[]).await;
    let addresses = rig.running.addresses();
    assert!(rig.get(addresses.metrics, "/healthz", "").await.0.starts_with("HTTP/1.1 200"));
    assert!(rig.get(addresses.metrics, "/readyz", "").await.0.starts_with("HTTP/1.1 200"));
    assert!(rig.get(addresses.api, "/healthz", "").await.0.starts_with("HTTP/1.1 200"));
    assert!(rig.get(addresses.https, "/healthz", "").await.0.starts_with("HTTP/1.1 404"));
    assert!(rig.connect(addresses.mqtt, "hub.example").await.is_ok());
    assert!(rig.connect(addresses.mqtt, "localhost").await.is_err(), "nobody said that this is its name");

    let (_, metrics) = rig.get(addresses.metrics, "/metrics", "").await;
    for line in [
        "mooring_journal_disk_full 0",
        "mooring_listener_connections_refused_total{reason=\"too_many_bytes\"} 0",
        "mooring_connections{protocol=\"mqtt-ws\"} 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
    }
    rig.running.stop().await;
}

/// The names in the page's tables, and those that the hub shows; a metric that is there only at times is said to be so.
#[tokio::test]
async fn every_metric_is_in_the_page_and_every_one_in_the_page_is_there() {
    let rig = Rig::start(&[]).await;
    let (_, metrics) = rig.get(rig.running.addresses().metrics, "/metrics", "").await;
    let shown: BTreeSet<String> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect();
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md")).unwrap();
    let row = |line: &str| Some(line.strip_prefix("| `mooring_")?.split(['`', '{']).next()?.to_owned());
    let name = |line: &str| row(line).map(|name| format!("mooring_{name}"));
    let written: BTreeSet<String> = page.lines().filter_map(name).collect();
    let at_times: BTreeSet<String> = page.lines().filter(|line| line.contains("Only there ")).filter_map(name).collect();
    let unwritten: Vec<_> = shown.difference(&written).collect();
    let missing: Vec<_> = written.difference(&shown).filter(|name| !at_times.contains(*name)).collect();
    assert!(unwritten.is_empty() && missing.is_empty(), "docs/metrics.md lacks {unwritten:?} and names {missing:?}, which the hub has not");
    rig.running.stop().await;
}

#[tokio::test]
async fn the_metrics_port_is_not_behind_the_load_balancer() {
    let rig = Rig::start(&[("proxy_protocol.sources", "127.0.0.0/8")]).await;
    let addresses = rig.running.addresses();
    assert!(rig.get(addresses.metrics, "/readyz", "").await.0.starts_with("HTTP/1.1 200"));
    assert!(rig.connect(addresses.api, "hub.example").await.is_err());
    rig.running.stop().await;
}

#[tokio::test]
async fn a_crowd_at_the_metrics_port_keeps_to_itself() {
    // One connection of the fleet's, and the crowd is no part of the fleet.
    let rig = Rig::start(&[("limits.connections", "1")]).await;
    let addresses = rig.running.addresses();
    let mut crowd = Vec::new();
    let refused = loop {
        match rig.connect(addresses.metrics, "localhost").await {
            Ok(stream) => crowd.push(stream),
            Err(error) => break error,
        }
        assert!(crowd.len() <= 64, "the metrics port takes everybody");
    };
    assert!(crowd.len() > 10, "{} and then {refused}", crowd.len());
    assert!(rig.connect(addresses.mqtt, "hub.example").await.is_ok());
    rig.running.stop().await;
}

#[tokio::test]
async fn devices_are_offered_the_http_that_keeps_capitals() {
    let rig = Rig::start(&[]).await;
    let addresses = rig.running.addresses();
    for (address, agreed) in [(addresses.https, "http/1.1"), (addresses.api, "h2"), (addresses.metrics, "http/1.1")] {
        let stream = rig.connect_to_speak(address, "hub.example", &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(agreed.as_bytes()));
    }
    // Somebody who speaks HTTP/2 without having asked (RFC 9113 §3.4).
    let mut presumptuous = rig.connect(addresses.https, "hub.example").await.unwrap();
    presumptuous.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut answer = Vec::new();
    let _ = presumptuous.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    rig.running.stop().await;
}

#[tokio::test]
async fn a_good_token_ends_a_strangers_limits_and_a_bad_one_does_not() {
    let rig = Rig::start(&[("limits.bytes_before_authentication", "16KiB")]).await;
    let addresses = rig.running.addresses();
    let padding = format!("X-Padding: {}\r\n", "x".repeat(5_000));
    let good = format!("Authorization: {}\r\n{padding}", rig.owners_token());
    let mut known = rig.connect(addresses.api, "hub.example").await.unwrap();
    for _ in 0..6 {
        ask(&mut known, "/statistics/devices?api-version=2021-04-12", &good).await;
        let head = read_until(&mut known, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        read_until(&mut known, "}").await;
    }

    let mut stranger = rig.connect(addresses.api, "hub.example").await.unwrap();
    let mut answers = 0;
    for _ in 0..6 {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: hub.example\r\n{padding}\r\n");
        if stranger.write_all(request.as_bytes()).await.is_err() || stranger.read_u8().await.is_err() {
            break;
        }
        read_until(&mut stranger, "ok\n").await;
        answers += 1;
    }
    assert!((1..4).contains(&answers), "16 KiB are three requests and not six: {answers}");
    rig.running.stop().await;
}

#[tokio::test]
async fn amqp_is_spoken_at_its_port_and_over_a_websocket() {
    const HEADER: &[u8] = b"AMQP\x00\x01\x00\x00";
    let rig = Rig::start(&[]).await;
    let mut stream = rig.connect(rig.running.addresses().amqp, "hub.example").await.unwrap();
    stream.write_all(HEADER).await.unwrap();
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, HEADER);
    for target in ["/$iothub/websocket", "/$servicebus/websocket", "/$servicebus/websocket/"] {
        let mut stream = rig.websocket_for(target, "AMQPWSB10").await;
        // A binary message with a mask of zeros (RFC 6455 §5.2).
        stream.write_all(&[&[0x82, 0x88, 0, 0, 0, 0], HEADER].concat()).await.unwrap();
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[..], [&[0x82, 8], HEADER].concat()[..], "{target}");
    }
}

#[tokio::test]
async fn a_websocket_leads_to_mqtt() {
    let rig = Rig::start(&[]).await;
    let mut stream = rig.websocket().await;
    // A masked binary message (RFC 6455 §5.2, mask 0) with a CONNECT that has neither user nor password.
    let connect = b"\x10\x0f\0\x04MQTT\x04\x02\0\x3c\0\x03dev";
    stream.write_all(&[&[0x82, 0x80 | 17, 0, 0, 0, 0][..], connect].concat()).await.unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, *b"\x82\x04\x20\x02\0\x05", "CONNACK, not authorized, in a binary message");
    rig.running.stop().await;
}

#[tokio::test]
async fn the_time_for_authentication_goes_on_through_an_upgrade() {
    let rig = Rig::start(&[("limits.authentication_time", "1s")]).await;
    let mut silent = rig.websocket().await;
    let ended = tokio::time::timeout(Duration::from_secs(5), silent.read(&mut [0; 1])).await.expect("a second has passed");
    assert_eq!(ended.unwrap_or(0), 0);
    rig.running.stop().await;
}

#[tokio::test]
async fn who_is_refused_begins_again() {
    let rig = Rig::start(&[]).await;
    let mut known = rig.connect(rig.running.addresses().api, "hub.example").await.unwrap();
    ask(&mut known, "/statistics/devices?api-version=2021-04-12", &format!("Authorization: {}\r\n", rig.owners_token())).await;
    assert!(read_until(&mut known, "}").await.starts_with("HTTP/1.1 200"));
    ask(&mut known, "/statistics/devices?api-version=2021-04-12", "").await;
    let mut answer = Vec::new();
    let _ = known.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("connection: close") && answer.ends_with('}'), "{answer}");
    rig.running.stop().await;
}

#[tokio::test]
async fn stopping_waits_for_nobody_who_does_not_go() {
    let rig = Rig::start(&[]).await;
    let addresses = rig.running.addresses();
    let mut events = rig.connect(addresses.api, "hub.example").await.unwrap();
    ask(&mut events, "/api/v1/events", &format!("Authorization: {}\r\n", rig.owners_token())).await;
    assert!(read_until(&mut events, "\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    let mut silent = rig.connect(addresses.mqtt, "hub.example").await.unwrap();
    let mut silent_websocket = rig.websocket().await;
    let _unencrypted = TcpStream::connect(addresses.mqtt.unwrap()).await.unwrap();

    // An endless stream is cut after its two seconds; the shutdown time, after which everything is, is ten.
    tokio::time::timeout(Duration::from_secs(8), rig.running.stop()).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert_eq!(silent_websocket.read(&mut [0; 1]).await.unwrap_or(0), 0);
    let _ = events.read_to_end(&mut Vec::new()).await;
    assert!(TcpStream::connect(addresses.mqtt.unwrap()).await.is_err());
    drop(rig.data);
}

/// The right of a device that is known from now on.
async fn registered(hub: &Hub) -> DeviceRight {
    let identity = crate::ops::world::identity("D");
    let right = DeviceRight {
        device_id: identity.device_id.clone(),
        generation_id: identity.generation_id.clone(),
        credential: Credential::DeviceKey(KeyFingerprint::of(&crate::ops::world::key(1))),
        good_until: UnixMillis(i64::MAX),
    };
    let write = RegistryWrite { id: identity.device_id.clone(), expected: Expected::Absent, new: Some(identity), audit: None };
    hub.registry.write(vec![write]).await.unwrap()[0].unwrap();
    right
}

#[tokio::test]
async fn who_is_cut_at_the_end_has_gone_because_the_hub_did() {
    let rig = Rig::start(&[]).await;
    let hub = Arc::clone(rig.running.hub());
    let right = registered(&hub).await;
    let owner = authenticate_service(&hub, Some(&rig.owners_token()), Permission::RegistryRead, "", origin()).await.unwrap();
    let interest = Interest { kinds: vec![ChangeKind::Presence], devices: Devices::All };
    let seat = Arc::new(hub.changes.watchers.take(&Principal::Policy(owner.policy)).unwrap());
    let mut watcher = watch_changes(&hub, seat, interest, Start { from: None, snapshot: Some(false) });
    // Its connection neither goes nor notices anything.
    let session = open_session(&hub, right, origin()).await.unwrap();

    rig.running.stop().await;
    let mut told = Vec::new();
    while let Some(news) = watcher.next().await.unwrap() {
        let News::Changes(changes) = news else { panic!("{news:?}") };
        told.extend(changes.iter().map(|published| match &published.change {
            Change::Presence(transition) => transition.disconnected,
            other => panic!("{other:?}"),
        }));
    }
    assert_eq!(told, [None, Some(DisconnectReason::HubShutdown)]);
    assert!(hub.unwritten_connections.is_empty(), "it is written");
    assert_eq!(session.ended(), Some(DisconnectReason::HubShutdown));
}

#[tokio::test]
async fn a_data_folder_is_one_hubs_alone_and_opens_again_afterwards() {
    let rig = Rig::start(&[]).await;
    let text = |name: &str| rig.data.path().join(name).to_str().unwrap().to_owned();
    let settings = [
        ("host_name", "h".to_owned()),
        ("data", text("data")),
        ("tls.certificate", text("tls/server.pem")),
        ("tls.key", text("tls/server.key")),
    ];
    let overrides = settings.map(|(name, text)| Override { name: name.into(), text, origin: name.into() }).to_vec();
    let config = Source { path: None, overrides }.read().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let error = Stores::open(&config, &clock).await.err().unwrap().to_string();
    assert!(error.contains("another hub uses the data folder"), "{error}");
    rig.running.stop().await;
    Stores::open(&config, &clock).await.unwrap().close().await;
}

/// A change of the file counts without a restart, and where a group stands outlives one.
#[tokio::test]
async fn consumer_groups_are_followed_and_remembered() {
    let text = |events: &str, data: &std::path::Path| {
        let tls = data.join("tls");
        format!(
            "host_name = \"hub.example\"\ndata = {:?}\ntls = {{certificate = {:?}, key = {:?}}}\n[events]\n{events}\n[listeners]\n\
             mqtt = \"127.0.0.1:0\"\namqp = \"off\"\nhttps = \"off\"\napi = \"off\"\nmetrics = \"127.0.0.1:0\"\n",
            data.join("data"),
            tls.join("server.pem"),
            tls.join("server.key"),
        )
    };
    let folder = tempfile::tempdir().unwrap();
    certificates_for(&folder.path().join("tls"), &["hub.example".parse().unwrap()], SystemClock.now()).unwrap();
    let file = folder.path().join("hub.toml");
    let source = Source { path: Some(file.clone()), overrides: Vec::new() };
    let begin = async || {
        let config = source.read().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let stores = Stores::open(&config, &clock).await.unwrap();
        let mut running = start(&config, stores, clock, Ports::Exactly).unwrap();
        running.follow_configuration(&config, &source);
        running
    };
    let first = PartitionId(0);

    fs::write(&file, text("consumer_groups = [\"alerts\"]", folder.path())).unwrap();
    let running = begin().await;
    let groups = &running.hub().consumer_groups;
    let bell = Arc::new(tokio::sync::Notify::new());
    let seat = groups.sit("alerts", first, None, Arc::clone(&bell)).unwrap();
    seat.begins(SequenceNumber(0));
    let stays = groups.sit("$Default", first, None, Arc::default()).unwrap();
    stays.begins(SequenceNumber(0));
    fs::write(&file, text("consumer_groups = [\"billing\"]", folder.path())).unwrap();
    running.look_now.look();
    bell.notified().await;
    assert_eq!((seat.ended(), stays.ended()), (Some(SeatEnded::GroupGone), None));
    assert!(groups.sit("billing", first, None, Arc::default()).is_ok());
    drop((seat, stays));
    running.stop().await;

    let running = begin().await;
    let remembered = async || loop {
        let default = running.hub().consumer_groups.status(&*running.hub().events).remove(0);
        match default.partitions[0].position {
            Some(position) => return position.next,
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!(remembered().await, SequenceNumber(0));
    running.stop().await;
}

#[tokio::test]
async fn the_hub_says_what_its_events_take_and_how_much_room_there_is() {
    let rig = Rig::start(&[("events.retention_time", "2h"), ("events.retention_size", "1GiB")]).await;
    let token = format!("Authorization: {}\r\n", rig.owners_token());
    let told = async || {
        let (head, body) = rig.get(rig.running.addresses().api, "/api/v1/hub", &token).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        serde_json::from_str::<serde_json::Value>(&body).unwrap()["storage"].clone()
    };
    let empty = told().await;
    assert_eq!((&empty["retentionSeconds"], &empty["retentionBytes"]), (&7200.into(), &(1_u64 << 30).into()));
    assert_eq!((&empty["oldestEventTime"], &empty["full"]), (&serde_json::Value::Null, &false.into()));
    let bytes = |told: &serde_json::Value, field: &str| told[field].as_u64().unwrap();
    assert!(0 < bytes(&empty, "freeBytes") && bytes(&empty, "freeBytes") <= bytes(&empty, "sizeBytes"));

    let hub = rig.running.hub();
    let session = open_session(hub, registered(hub).await, origin()).await.unwrap();
    let mut batch = EventBatch::default();
    stage(Message::default(), Occasion::default(), &stamps(hub, &session.right()), &mut batch).unwrap();
    append(hub, &session, &mut batch).await.unwrap();
    let filled = told().await;
    assert!(filled["oldestEventTime"].is_string() && bytes(&filled, "eventsBytes") >= bytes(&empty, "eventsBytes"), "{filled}");
    rig.running.stop().await;
}

#[tokio::test]
async fn a_check_says_what_the_hub_would_do_and_does_nothing() {
    let rig = Rig::start(&[]).await;
    let text = |name: &str| rig.data.path().join(name).to_str().unwrap().to_owned();
    let settings = [
        ("host_name", "other.example".to_owned()),
        ("data", text("absent")),
        ("tls.certificate", text("tls/server.pem")),
        ("tls.key", text("tls/server.key")),
        ("listeners.https", "off".to_owned()),
    ];
    let overrides = settings.map(|(name, text)| Override { name: name.into(), text, origin: name.into() }).to_vec();
    let words = check(&Source { path: None, overrides }.read().unwrap()).unwrap();
    for wanted in [
        "be called other.example",
        "NOT for other.example",
        "listen on 0.0.0.0:8883 for MQTT",
        "not listen for HTTPS",
        "4 partitions",
        "the consumer groups $Default",
    ] {
        assert!(words.contains(wanted), "{wanted} is not in {words}");
    }
    assert!(!rig.data.path().join("absent").exists());
    rig.running.stop().await;
}

#[tokio::test]
async fn the_hub_says_when_the_certificate_ends_that_it_shows_now() {
    let rig = Rig::start(&[]).await;
    let token = format!("Authorization: {}\r\n", rig.owners_token());
    let (head, body) = rig.get(rig.running.addresses().api, "/api/v1/hub", &token).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    let first = rig.running.hub().certificate_expiry.get().unwrap();
    assert_eq!(told["certificateExpiryTime"], first.to_string());

    let mut parameters = rcgen::CertificateParams::new(["hub.example".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2099, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let folder = rig.data.path().join("tls");
    fs::write(folder.join("server.pem"), parameters.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
    rig.running.look_now.look();
    let replaced = async {
        while rig.running.hub().certificate_expiry.get() == Some(first) {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(Duration::from_secs(10), replaced).await.expect("the files are looked at");
    assert_eq!(rig.running.hub().certificate_expiry.get().unwrap().to_string(), "2099-01-01T00:00:00.000Z");
}
