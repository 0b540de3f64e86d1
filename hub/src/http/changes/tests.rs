use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::MockConnectInfo;
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tower::ServiceExt as _;

use super::*;
use crate::core::policy::Policies;
use crate::core::session::DisconnectReason;
use crate::ops::Session;
use crate::ops::open_session::{close_session, open_session};
use crate::ops::policies::replace_policies;
use crate::ops::world::{World, device_token, origin, policy_token};

fn app(world: &World) -> Router {
    Router::new()
        .route("/api/v1/changes", get(get_changes))
        .layer(MockConnectInfo(crate::ops::world::origin().peer))
        .with_state(Arc::clone(&world.hub))
}

async fn ask(world: &World, policy: &str, query: &str, last_event_id: Option<&str>) -> Response {
    let mut request = Request::get(format!("/api/v1/changes?{query}")).header("authorization", policy_token("hub.example", policy));
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    app(world).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn connect(world: &World) -> Session {
    let right = world.login("D", &device_token("D", 1)).await.unwrap();
    open_session(&world.hub, right, origin()).await.unwrap()
}

/// All blocks up to the end of the stream: (kind, id, data).
async fn blocks(response: Response) -> Vec<(String, Option<String>, Value)> {
    let text = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let field = |block: &str, name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let block =
        |block: &str| Some((field(block, "event: ")?, field(block, "id: "), serde_json::from_str(&field(block, "data: ")?).unwrap()));
    text.split("\n\n").filter_map(block).collect()
}

#[tokio::test(start_paused = true)]
async fn how_things_stand_then_what_happens_then_the_tokens_end() {
    let world = World::with_device("D").await;
    let session = connect(&world).await;
    let response = ask(&world, "registryRead", "", None).await;
    assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (200, &"text/event-stream".parse().unwrap()));
    close_session(&world.hub, &session, DisconnectReason::ConnectionLost);
    let blocks = blocks(response).await;
    let kinds: Vec<_> = blocks.iter().map(|(kind, ..)| kind.as_str()).collect();
    // The session ended before it was told how things stand, so the change comes in between, and nobody goes on from there.
    assert_eq!(kinds, ["snapshot-begin", "presence", "registry", "snapshot-end", "problem"]);
    assert_eq!(blocks[1].2["reason"], "ConnectionLost");
    assert_eq!(blocks[2].2["device"]["deviceId"], "D");
    let ids: Vec<_> = blocks.iter().map(|(_, id, _)| id.as_deref()).collect();
    assert_eq!(ids, [None, None, None, Some("1-4"), None]);
    assert_eq!(blocks[4].2, json!({"message": "the token has expired"}));
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_the_key_that_signed_its_token() {
    let world = World::with_device("D").await;
    let response = ask(&world, "registryRead", "snapshot=false", None).await;
    replace_policies(&world.hub, Policies::default());
    connect(&world).await;
    let blocks = blocks(response).await;
    assert_eq!(blocks.iter().map(|(kind, ..)| kind.as_str()).collect::<Vec<_>>(), ["problem"], "not what happened since");
    assert_eq!(blocks[0].2, json!({"message": "the key that the token was signed with has been replaced"}));
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_where_another_was_cut() {
    let world = World::with_device("D").await;
    let mut body = ask(&world, "registryRead", "kinds=presence&snapshot=false", None).await.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "retry: 2000\n:\nid: 1-2\n\n");
    let session = connect(&world).await;
    let told = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(told.starts_with(b"event: presence\nid: 1-3\ndata: {"), "{told:?}");
    drop(body);
    close_session(&world.hub, &session, DisconnectReason::ClientDisconnected);
    world.hub.changes.end();
    for (query, id) in [("kinds=presence", Some("1-3")), ("kinds=presence&from=1-3", None)] {
        let blocks = blocks(ask(&world, "registryRead", query, id).await).await;
        assert_eq!(blocks.iter().map(|(kind, ..)| kind.as_str()).collect::<Vec<_>>(), ["presence", "problem"], "{query}");
        assert_eq!((&blocks[0].1, &blocks[0].2["state"]), (&Some("1-4".to_owned()), &json!("disconnected")));
    }
    let again = blocks(ask(&world, "registryRead", "kinds=presence", Some("0-3")).await).await;
    assert_eq!((again[0].0.as_str(), &again[0].2), ("reset", &json!({"reason": "HubRestarted"})));
}

#[tokio::test(start_paused = true)]
async fn everybody_is_shown_what_the_policy_may_see() {
    let world = World::with_device("D").await;
    world.hub.changes.end();
    for (policy, query, status) in [
        ("registryRead", "", 200),
        ("service", "", 200),
        ("service", "kinds=", 200),
        ("device", "", 401),
        ("service", "kinds=command,receipt", 200),
        ("service", "kinds=command,presence", 401),
        ("registryRead", "kinds=receipt", 401),
        ("device", "kinds=everything", 401),
        ("registryRead", "kinds=everything", 400),
        ("registryRead", "device=a%20b", 400),
        ("registryRead", "device=a&device-prefix=b", 400),
        ("registryRead", "from=nowhere", 400),
        ("registryRead", "snapshot=perhaps", 400),
    ] {
        assert_eq!(ask(&world, policy, query, None).await.status().as_u16(), status, "{policy}: {query}");
    }
    let kinds: Vec<_> = blocks(ask(&world, "service", "", None).await).await.into_iter().map(|(kind, ..)| kind).collect();
    assert_eq!(kinds, ["snapshot-begin", "snapshot-end", "problem"], "identities are not for it");
}

#[tokio::test(start_paused = true)]
async fn too_many_watchers_are_sent_away_for_a_while() {
    let world = World::with_device("D").await;
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(ask(&world, "registryRead", "", None).await);
    }
    let refused = ask(&world, "registryRead", "", None).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"30".parse().unwrap()));
    assert_eq!(ask(&world, "service", "", None).await.status(), 200);
    open.pop();
    assert_eq!(ask(&world, "registryRead", "", None).await.status(), 200);
}

/// A hub's HTTP/1.1 on one end of a pipe, as `serve` carries it.
async fn carried(world: &World, stream: tokio::io::DuplexStream) {
    let handle = HttpConnection::default();
    let (router, told) = (app(world), handle.clone());
    tokio::spawn(async move {
        let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(told.clone());
            router.clone().oneshot(request)
        });
        http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await.unwrap();
        if let Some(sequel) = handle.sequel() {
            sequel.await;
        }
    });
}

/// Asks over a pipe that takes so many bytes while nobody reads.
async fn listen(world: &World, policy: &str, query: &str, room: usize) -> tokio_tungstenite::WebSocketStream<tokio::io::DuplexStream> {
    let (client, server) = tokio::io::duplex(room);
    carried(world, server).await;
    let mut request = format!("ws://hub.example/api/v1/changes?{query}").into_client_request().unwrap();
    request.headers_mut().insert("authorization", policy_token("hub.example", policy).parse().unwrap());
    tokio_tungstenite::client_async(request, client).await.unwrap().0
}

/// Whoever does not take what she is told must not keep her connection by that, nor be told the rest later.
#[tokio::test(start_paused = true)]
async fn a_right_that_is_lost_ends_what_is_not_on_its_way_yet() {
    let world = World::with_device("D").await;
    for takes in [true, false] {
        let before = world.hub.policies.current();
        let mut socket = listen(&world, "registryRead", "kinds=presence&snapshot=false", 1024).await;
        for _ in 0..100 {
            let session = connect(&world).await;
            close_session(&world.hub, &session, DisconnectReason::ConnectionLost);
        }
        sleep(std::time::Duration::from_secs(1)).await;
        replace_policies(&world.hub, Policies::default());
        if !takes {
            sleep(std::time::Duration::from_secs(3)).await;
        }
        let mut heard: Vec<String> = Vec::new();
        while let Some(Ok(Message::Text(text))) = socket.next().await {
            heard.push(text.to_string());
        }
        assert!(heard.len() < 100, "{} of 200", heard.len());
        assert_eq!(heard.last().unwrap().contains("has been replaced"), takes, "{:?}", heard.last());
        replace_policies(&world.hub, before.iter().cloned().collect());
    }
}

#[tokio::test]
async fn a_websocket_carries_the_same_as_json() {
    let world = World::with_device("D").await;
    let mut socket = listen(&world, "registryRead", "kinds=registry,presence", 64 * 1024).await;
    let mut heard: Vec<Value> = Vec::new();
    while heard.len() < 4 {
        heard.push(serde_json::from_str(socket.next().await.unwrap().unwrap().to_text().unwrap()).unwrap());
    }
    assert_eq!(heard[0], json!({"kind": "heartbeat"}));
    assert_eq!(heard[1], json!({"kind": "snapshot-begin"}));
    assert_eq!((&heard[2]["kind"], &heard[2]["deviceId"], heard[2].get("position")), (&json!("registry"), &json!("D"), None));
    assert_eq!(heard[3], json!({"position": "1-2", "kind": "snapshot-end"}));

    connect(&world).await;
    socket.send(Message::Ping(bytes::Bytes::from_static(b"there?"))).await.unwrap();
    let (mut told, mut ponged) = (None, false);
    while told.is_none() || !ponged {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => told = Some(serde_json::from_str::<Value>(&text).unwrap()),
            Message::Pong(bytes) => ponged = bytes == "there?",
            other => panic!("{other:?}"),
        }
    }
    let told = told.unwrap();
    assert_eq!((&told["position"], &told["kind"], &told["state"]), (&json!("1-3"), &json!("presence"), &json!("connected")));

    world.hub.changes.end();
    let last: Value = serde_json::from_str(socket.next().await.unwrap().unwrap().to_text().unwrap()).unwrap();
    assert_eq!(last, json!({"kind": "problem", "message": "the hub is stopping"}));
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
}
