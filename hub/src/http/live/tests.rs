//! The live link, on a hub in memory, over the router and a real WebSocket at both ends of a pipe.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::ConnectInfo;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};
use tower::ServiceExt as _;

use super::*;
use crate::core::access::{Right, Rights};
use crate::core::principal::SignInMethod;
use crate::core::session::DisconnectReason;
use crate::http::changes::texts_made;
use crate::http::router;
use crate::ops::Session as DeviceSession;
use crate::ops::follow_devices::follow_devices;
use crate::ops::live::{keep_fleet_told, keep_groups_told};
use crate::ops::open_session::{close_session, open_session};
use crate::ops::rates::keep_rates;
use crate::ops::sign_in::sessions::{Proof, SignedIn};
use crate::ops::world::{NOW, World, device_token, origin, policy_token};

/// How somebody proves who it is.
enum By {
    Policy(&'static str),
    Cookie(String, &'static str),
}

/// A hub with the device `D`, whose clock goes with tokio's, and which looks at itself as one that listens does.
async fn world() -> World {
    let world = World::with_device("D").await;
    let (clock, hub) = (Arc::clone(&world.clock), &world.hub);
    tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(10)).await;
            clock.0.fetch_add(10, Ordering::Relaxed);
        }
    });
    tokio::spawn(keep_rates(Arc::clone(hub)));
    tokio::spawn(keep_fleet_told(Arc::clone(hub)));
    tokio::spawn(keep_groups_told(Arc::clone(hub)));
    let followed = Arc::clone(hub);
    tokio::spawn(async move { follow_devices(&followed).await });
    world
}

/// Somebody who is signed in with these rights.
fn person(world: &World, rights: &[Right]) -> (crate::ops::sign_in::sessions::Session, By) {
    let rights: Rights = rights.iter().copied().collect();
    let person = SignedIn { name: "ada".into(), method: SignInMethod::Password, rights, ends: None, proof: Proof::Once };
    let (session, secret) = world.hub.sign_in.sessions.open(person, None, NOW);
    (session, By::Cookie(format!("__Host-mooring={secret}"), "https://hub.example"))
}

/// A browser's end of its link.
struct Link(WebSocketStream<DuplexStream>);

impl Link {
    async fn open(world: &World, by: &By) -> Self {
        Self::try_open(world, by, 64 * 1024).await.unwrap()
    }

    async fn try_open(world: &World, by: &By, room: usize) -> Result<Self, tungstenite::Error> {
        let (client, server) = tokio::io::duplex(room);
        let handle = HttpConnection::default();
        let (router, told) = (router::api(Arc::clone(&world.hub)), handle.clone());
        tokio::spawn(async move {
            let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(told.clone());
                request.extensions_mut().insert(ConnectInfo(origin().peer));
                router.clone().oneshot(request)
            });
            let _ = http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(server), service).with_upgrades().await;
            if let Some(sequel) = handle.sequel() {
                sequel.await;
            }
        });
        let mut request = "ws://hub.example/api/v1/live".into_client_request().unwrap();
        match by {
            By::Policy(policy) => request.headers_mut().insert("authorization", policy_token("hub.example", policy).parse().unwrap()),
            By::Cookie(cookie, origin) => {
                request.headers_mut().insert("origin", origin.parse().unwrap());
                request.headers_mut().insert("cookie", cookie.parse().unwrap())
            }
        };
        let (socket, _) = tokio_tungstenite::client_async(request, client).await?;
        let mut link = Self(socket);
        assert_eq!(link.next().await, json!({"id": 0, "kind": "heartbeat"}));
        Ok(link)
    }

    async fn say(&mut self, text: &Value) {
        self.0.send(Message::text(text.to_string())).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        serde_json::from_str(self.0.next().await.unwrap().unwrap().to_text().unwrap()).unwrap()
    }

    /// The next message of this subscription and kind; others are passed over.
    async fn hear(&mut self, id: u32, kind: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["id"] == id && message["kind"] == kind {
                return message;
            }
        }
    }

    async fn is_closed(&mut self) -> bool {
        matches!(self.0.next().await, Some(Ok(Message::Close(_))) | None)
    }
}

async fn connect(world: &World) -> DeviceSession {
    let right = world.login("D", &device_token("D", 1)).await.unwrap();
    open_session(&world.hub, right, origin()).await.unwrap()
}

async fn send(world: &World, session: &DeviceSession, payload: &'static str) {
    use crate::ops::send_telemetry::{append, stage, stamps};
    let stamps = stamps(&world.hub, &session.right());
    let mut batch = crate::ops::EventBatch::default();
    stage(crate::ops::world::payload(payload), crate::core::telemetry::Occasion::default(), &stamps, &mut batch).unwrap();
    append(&world.hub, session, &mut batch).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn everything_comes_over_one_socket_and_each_message_says_of_what_it_is() {
    let world = world().await;
    let (_, by) = person(&world, &[Right::Read, Right::Bodies]);
    let mut link = Link::open(&world, &by).await;
    for (id, what) in [(1, "changes"), (2, "rates"), (3, "fleet"), (4, "groups"), (5, "events")] {
        link.say(&json!({"id": id, "subscribe": what, "snapshot": false})).await;
    }
    assert_eq!(link.hear(5, "events").await["behind"], 0);
    let session = connect(&world).await;
    send(&world, &session, r#"{"t":21}"#).await;
    let told = link.hear(1, "presence").await;
    assert_eq!((&told["deviceId"], &told["state"]), (&json!("D"), &json!("connected")));
    assert!(told["position"].is_string());
    let event = link.hear(5, "events").await;
    assert_eq!(
        (&event["events"][0]["deviceId"], &event["events"][0]["body"]["t"], &event["matched"]),
        (&json!("D"), &json!(21), &json!(1))
    );
    let mut rates = link.hear(2, "rates").await;
    while rates["last"]["connected"] == 0 {
        rates = link.hear(2, "rates").await;
    }
    assert_eq!((&rates["last"]["connected"], rates["last"]["events"]["messages"].as_u64().is_some()), (&json!(1), true), "{rates}");
    let mut fleet = link.hear(3, "fleet").await;
    while fleet["states"]["connected"] != 1 {
        fleet = link.hear(3, "fleet").await;
    }
    assert_eq!((&fleet["total"], &fleet["whole"], &fleet["states"]["offline"]), (&json!(1), &json!(true), &json!(0)), "{fleet}");
    let groups = link.hear(4, "groups").await;
    assert_eq!(groups["consumerGroups"][0]["name"], "$Default");
    assert!(groups["time"].is_string());

    link.say(&json!({"id": 1, "unsubscribe": true})).await;
    link.hear(1, "unsubscribed").await;
    close_session(&world.hub, &session, DisconnectReason::ConnectionLost);
    for _ in 0..20 {
        assert_ne!(link.next().await["id"], 1, "nothing more comes with it");
    }
}

/// What is told to all is made once, however many look, and not at all while nobody does.
#[tokio::test(start_paused = true)]
async fn work_does_not_grow_with_the_number_of_browsers() {
    const CHANGES: u64 = 30;
    let mut made = Vec::new();
    for browsers in [0, 1, 20] {
        let world = world().await;
        let mut links = Vec::new();
        for _ in 0..browsers {
            let mut link = Link::open(&world, &By::Policy("iothubowner")).await;
            for (id, what) in [(1, "changes"), (2, "rates"), (3, "fleet"), (4, "groups")] {
                link.say(&json!({"id": id, "subscribe": what, "snapshot": false})).await;
            }
            link.hear(1, "heartbeat").await;
            link.hear(2, "rates").await;
            links.push(link);
        }
        let looks = |world: &World| {
            let hub = &world.hub;
            [hub.rates.live.texts_made(), hub.looks.fleet.texts_made(), hub.looks.groups.texts_made()]
        };
        let (changes_before, before) = (texts_made(), looks(&world));
        for _ in 0..CHANGES / 2 {
            let session = connect(&world).await;
            // Of what a device sends nobody makes a text: it is counted, whoever looks.
            send(&world, &session, "21.5").await;
            close_session(&world.hub, &session, DisconnectReason::ConnectionLost);
        }
        sleep(Duration::from_secs(10)).await;
        for link in &mut links {
            for _ in 0..CHANGES {
                link.hear(1, "presence").await;
            }
        }
        let after = looks(&world);
        let looked: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        made.push((texts_made() - changes_before, looked));
    }
    assert_eq!(made[0], (0, vec![0, 0, 0]), "nobody looks");
    assert_eq!((made[1].0, made[2].0), (CHANGES, CHANGES));
    for (one, twenty) in made[1].1.iter().zip(&made[2].1) {
        assert!(*one >= 9 && twenty.abs_diff(*one) <= 2, "{made:?}");
    }
    assert!(made[2].1[0].abs_diff(40) <= 2, "four times a second: {made:?}");
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_takes_nothing_for_a_while_hears_how_much_it_missed() {
    let world = world().await;
    let mut link = Link::try_open(&world, &By::Policy("iothubowner"), 2 * 1024).await.unwrap();
    link.say(&json!({"id": 2, "subscribe": "rates"})).await;
    assert_eq!(link.hear(2, "rates").await.get("skipped"), None);
    sleep(Duration::from_secs(20)).await;
    let mut skipped = Value::Null;
    while skipped.is_null() {
        skipped = link.hear(2, "rates").await["skipped"].clone();
    }
    assert!(skipped.as_u64().unwrap() > 50, "{skipped} of 80");
    assert_eq!(link.hear(2, "rates").await.get("skipped"), None, "and then it is told everything again");
}

/// Whoever does not take what she is told must not keep her link by that, nor be told the rest later.
#[tokio::test(start_paused = true)]
async fn a_session_that_ends_ends_what_is_not_on_its_way_yet() {
    let world = world().await;
    for takes in [true, false] {
        let (session, by) = person(&world, &[Right::Read]);
        let mut link = Link::try_open(&world, &by, 1024).await.unwrap();
        link.say(&json!({"id": 1, "subscribe": "changes", "kinds": "presence", "snapshot": false})).await;
        link.hear(1, "heartbeat").await;
        for _ in 0..100 {
            let device = connect(&world).await;
            close_session(&world.hub, &device, DisconnectReason::ConnectionLost);
        }
        sleep(Duration::from_secs(1)).await;
        world.hub.sign_in.sessions.end(&session, crate::ops::sign_in::sessions::SessionEnd::SignedOut);
        if !takes {
            sleep(Duration::from_secs(3)).await;
        }
        let mut heard: Vec<String> = Vec::new();
        while let Some(Ok(Message::Text(text))) = link.0.next().await {
            heard.push(text.to_string());
        }
        assert!(heard.len() < 100, "{} of 200", heard.len());
        assert_eq!(heard.last().unwrap().contains("you have signed out"), takes, "{:?}", heard.last());
    }
}

#[tokio::test(start_paused = true)]
async fn changes_go_on_behind_a_position_with_nothing_lost_and_nothing_twice() {
    let world = world().await;
    let (_, by) = person(&world, &[Right::Read]);
    let mut link = Link::open(&world, &by).await;
    link.say(&json!({"id": 1, "subscribe": "changes", "kinds": "presence", "snapshot": false})).await;
    link.hear(1, "heartbeat").await;
    let first = connect(&world).await;
    let position = link.hear(1, "presence").await["position"].clone();
    drop(link);
    close_session(&world.hub, &first, DisconnectReason::TooSlow);
    connect(&world).await;

    let mut link = Link::open(&world, &by).await;
    link.say(&json!({"id": 9, "subscribe": "changes", "kinds": "presence", "from": position})).await;
    link.hear(9, "heartbeat").await;
    let (gone, back) = (link.next().await, link.next().await);
    assert_eq!((&gone["id"], &gone["reason"]), (&json!(9), &json!("TooSlow")));
    assert_eq!((&back["id"], &back["state"]), (&json!(9), &json!("connected")));
    link.say(&json!({"id": 10, "subscribe": "changes", "kinds": "presence", "from": "0-7"})).await;
    assert_eq!(link.hear(10, "reset").await["reason"], "HubRestarted");
    link.hear(10, "snapshot-begin").await;
    assert_eq!(link.hear(10, "presence").await["state"], "connected");
    link.hear(10, "snapshot-end").await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_may_not_see_is_not_told() {
    let world = world().await;
    let (_, viewer) = person(&world, &[Right::Read]);
    let mut link = Link::open(&world, &viewer).await;
    link.say(&json!({"id": 5, "subscribe": "events"})).await;
    link.hear(5, "events").await;
    let session = connect(&world).await;
    send(&world, &session, r#"{"secret":"hunter2"}"#).await;
    let told = link.hear(5, "events").await;
    assert_eq!((&told["events"][0]["deviceId"], told["events"][0]["sizeBytes"].is_u64()), (&json!("D"), true));
    assert!(!told.to_string().contains("hunter2") && told["events"][0].get("bodyBase64").is_none(), "{told}");
    link.say(&json!({"id": 6, "subscribe": "events", "text": "hunter", "device": "D"})).await;
    assert_eq!(link.hear(6, "problem").await["code"], "MissingRight");

    let mut reader = Link::open(&world, &By::Policy("registryRead")).await;
    for (id, wanted) in [(1, json!("groups")), (2, json!("events"))] {
        reader.say(&json!({"id": id, "subscribe": wanted})).await;
        assert_eq!(reader.hear(id, "problem").await["code"], "MissingRight");
    }
    let entries = crate::ops::audit::read_audit(&world.hub, &crate::ops::AuditQuery { limit: 9, ..Default::default() }).await.unwrap();
    assert!(entries.iter().any(|entry| entry.refused.is_some() && entry.device.as_deref() == Some("D")), "{entries:?}");
    reader.say(&json!({"id": 3, "subscribe": "changes", "kinds": "command"})).await;
    assert_eq!(reader.hear(3, "problem").await["code"], "MissingRight");
    reader.say(&json!({"id": 3, "subscribe": "changes"})).await;
    let kinds = [link_kind(&mut reader).await, link_kind(&mut reader).await, link_kind(&mut reader).await];
    assert_eq!(kinds, ["heartbeat", "snapshot-begin", "registry"]);
    assert!(Link::try_open(&world, &By::Policy("device"), 1024).await.is_err());
    let By::Cookie(cookie, _) = &viewer else { unreachable!("a person has a cookie") };
    let elsewhere = By::Cookie(cookie.clone(), "https://evil.example");
    assert!(matches!(Link::try_open(&world, &elsewhere, 1024).await, Err(tungstenite::Error::Http(answer)) if answer.status() == 403));
}

async fn link_kind(link: &mut Link) -> String {
    link.next().await["kind"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_link_ends_with_the_session_and_with_the_hub() {
    let world = world().await;
    let (session, by) = person(&world, &[Right::Read]);
    let mut link = Link::open(&world, &by).await;
    link.say(&json!({"id": 1, "subscribe": "changes", "snapshot": false})).await;
    link.hear(1, "heartbeat").await;
    world.hub.sign_in.sessions.end(&session, crate::ops::sign_in::sessions::SessionEnd::SignedOut);
    link.hear(0, "problem").await;
    assert!(link.is_closed().await);

    let mut link = Link::open(&world, &By::Policy("iothubowner")).await;
    link.say(&json!({"id": 1, "subscribe": "changes", "snapshot": false, "kinds": "presence"})).await;
    link.hear(1, "heartbeat").await;
    connect(&world).await;
    world.hub.changes.end();
    link.hear(1, "presence").await;
    assert_eq!(link.hear(0, "problem").await["message"], "the hub is stopping", "the last that happened first");
    assert!(link.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_understood_ends_the_link_and_what_can_not_be_its_subscription() {
    let world = world().await;
    for text in ["", "{}", r#"{"id":0,"subscribe":"rates"}"#, "\u{1F600}"] {
        let mut link = Link::open(&world, &By::Policy("iothubowner")).await;
        link.0.send(Message::text(text)).await.unwrap();
        assert_eq!(link.hear(0, "problem").await["code"], "ArgumentInvalid");
        assert!(link.is_closed().await);
    }
    let mut link = Link::open(&world, &By::Policy("iothubowner")).await;
    for wrong in [json!({"id": 1, "subscribe": "weather"}), json!({"id": 1, "subscribe": "events", "from": "noon"})] {
        link.say(&wrong).await;
        assert_eq!(link.hear(1, "problem").await["code"], "ArgumentInvalid");
    }
    link.say(&json!({"id": 1, "subscribe": "events", "after": "0:99"})).await;
    link.hear(1, "problem").await;
    link.say(&json!({"id": 1, "subscribe": "rates"})).await;
    link.hear(1, "rates").await;
    link.say(&json!({"id": 1, "subscribe": "fleet"})).await;
    assert!(link.hear(1, "problem").await["message"].as_str().unwrap().contains("already"));
    for id in 1..=16 {
        link.say(&json!({"id": id, "subscribe": "groups"})).await;
    }
    link.say(&json!({"id": 17, "subscribe": "rates"})).await;
    assert!(link.hear(17, "problem").await["message"].as_str().unwrap().contains("16"));
    link.say(&json!({"id": 2, "unsubscribe": true})).await;
    link.hear(2, "unsubscribed").await;
    link.say(&json!({"id": 17, "subscribe": "rates"})).await;
    link.hear(17, "rates").await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_link_shows_that_it_lives_and_a_ping_is_answered() {
    let world = world().await;
    let mut link = Link::open(&world, &By::Policy("iothubowner")).await;
    assert_eq!(timeout(Duration::from_secs(16), link.next()).await.unwrap(), json!({"id": 0, "kind": "heartbeat"}));
    link.0.send(Message::Ping(bytes::Bytes::from_static(b"there?"))).await.unwrap();
    assert!(matches!(link.0.next().await, Some(Ok(Message::Pong(_)))));
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_looked_at_are_in_the_audit() {
    let world = world().await;
    let (_, by) = person(&world, &[Right::Bodies]);
    let mut link = Link::open(&world, &by).await;
    link.say(&json!({"id": 5, "subscribe": "events", "device": "D"})).await;
    link.hear(5, "events").await;
    let entries = crate::ops::audit::read_audit(&world.hub, &crate::ops::AuditQuery { limit: 9, ..Default::default() }).await.unwrap();
    let read: Vec<_> = entries.iter().filter(|entry| entry.action.name() == "BodiesRead").collect();
    assert_eq!((read.len(), read[0].by.principal.name(), read[0].device.as_deref()), (1, "ada", Some("D")));
}

/// A page that shows a device has two subscriptions to changes, and is one browser all the same.
#[tokio::test(start_paused = true)]
async fn all_that_a_browser_watches_takes_one_place_until_it_watches_nothing() {
    let world = world().await;
    let (_, by) = person(&world, &[Right::Read]);
    let ada = crate::core::principal::Principal::Person("ada".into(), SignInMethod::Password);
    let take = || world.hub.changes.watchers.take(&ada);
    let watch = |id: u32| json!({"id": id, "subscribe": "changes", "kinds": "presence", "snapshot": false});
    let mut link = Link::open(&world, &by).await;
    for id in 1..=3 {
        link.say(&watch(id)).await;
        link.hear(id, "heartbeat").await;
    }
    let mut others: Vec<Seat> = std::iter::from_fn(|| take().ok()).collect();
    assert_eq!(others.len(), 63);

    let mut second = Link::open(&world, &by).await;
    second.say(&watch(1)).await;
    let refused = second.hear(1, "problem").await;
    assert_eq!(refused["code"], "ThrottlingException");
    assert_eq!(refused["message"], "you have 64 watchers of changes already; close one");
    for id in [1, 3, 2] {
        assert!(take().is_err(), "subscription {id} is there");
        link.say(&json!({"id": id, "unsubscribe": true})).await;
        link.hear(id, "unsubscribed").await;
    }
    others.push(take().unwrap());
    others.clear();
    second.say(&watch(1)).await;
    second.hear(1, "heartbeat").await;
    link.say(&watch(1)).await;
    link.hear(1, "heartbeat").await;
    assert_eq!(std::iter::from_fn(|| take().ok()).collect::<Vec<Seat>>().len(), 62, "a place for each of the two");
}

/// Whoever publishes wakes those who wait, so a browser waits ten times a second at most.
#[tokio::test(start_paused = true)]
async fn what_happens_is_collected_for_a_moment_and_told_together() {
    let world = World::with_device("D").await;
    let (session, _) = person(&world, &[Right::Read]);
    let interest = Interest { kinds: vec![ChangeKind::Presence], devices: crate::ops::watch_changes::Devices::All };
    let start = crate::ops::watch_changes::Start { from: None, snapshot: Some(false) };
    let seat = world.hub.changes.watchers.take(&session.principal()).unwrap();
    let watcher = watch_changes(&world.hub, Arc::new(seat), interest, start);
    let right = LastingRight::of_session(&world.hub, &session, [Right::Read].into_iter().collect());
    let mut told = told::changes(1, Arc::clone(&world.hub), watcher, right);
    told.next().await.unwrap();
    let hub = Arc::clone(&world.hub);
    tokio::spawn(async move {
        for _ in 0..100 {
            hub.changes.publish(
                NOW,
                crate::core::change::Change::Presence(crate::core::change::Transition {
                    device_id: DeviceId::parse("D").unwrap(),
                    connection: crate::core::session::ConnectionId(1),
                    protocol: crate::core::session::Protocol::Mqtt,
                    address: origin().peer.ip(),
                    time: NOW,
                    disconnected: None,
                    connected: true,
                }),
            );
            sleep(Duration::from_millis(10)).await;
        }
    });
    let mut batches = Vec::new();
    while batches.iter().sum::<usize>() < 100 {
        batches.push(told.next().await.unwrap().len());
    }
    assert!(batches.len() <= 12, "{batches:?}");
    assert_eq!(batches.iter().sum::<usize>(), 100, "and nothing is missed");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_can_not_be_ends_the_subscription_that_it_is_of() {
    let world = world().await;
    let mut link = Link::open(&world, &By::Policy("iothubowner")).await;
    link.say(&json!({"id": 1, "subscribe": "rates"})).await;
    link.hear(1, "rates").await;
    link.say(&json!({"id": 1, "subscribe": "weather"})).await;
    link.hear(1, "problem").await;
    link.say(&json!({"id": 1, "subscribe": "fleet"})).await;
    assert_eq!(link.next().await["kind"], "fleet", "and its id is free");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_too_large_ends_the_link_and_says_so() {
    let world = world().await;
    let mut link = Link::open(&world, &By::Policy("iothubowner")).await;
    link.say(&json!({"id": 1, "subscribe": "events", "text": "x".repeat(5000)})).await;
    let problem = link.hear(0, "problem").await;
    assert_eq!((&problem["code"], &problem["message"]), (&json!("ArgumentInvalid"), &json!("a request has at most 4096 bytes")));
}
