use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::MockConnectInfo;
use axum::http::Request;
use axum::response::Response;
use axum::routing::get;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::core::policy::Policies;
use crate::core::telemetry::Occasion;
use crate::ops::EventBatch;
use crate::ops::policies::replace_policies;
use crate::ops::send_telemetry::{append_durably, stage, stamps};
use crate::ops::world::{World, device_token, payload, policy_token};

fn app(world: &World) -> Router {
    Router::new()
        .route("/api/v1/events", get(get_events))
        .layer(MockConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4711))))
        .with_state(Arc::clone(&world.hub))
}

async fn ask(world: &World, query: &str, last_event_id: Option<&str>) -> Response {
    let mut request = Request::get(format!("/api/v1/events?{query}")).header("authorization", policy_token("hub.example", "service"));
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    app(world).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn send(world: &World, texts: &[&'static str]) {
    let right = world.login("D", &device_token("D", 1)).await.unwrap();
    let mut batch = EventBatch::default();
    for text in texts {
        stage(payload(text), Occasion::default(), &stamps(&world.hub, &right), &mut batch).unwrap();
    }
    append_durably(&world.hub, &right, &mut batch).await.unwrap();
}

/// The events of a stream: (id, data).
fn events(stream: &str) -> Vec<(String, Value)> {
    let field = |block: &str, name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    stream
        .split("\n\n")
        .filter(|block| block.contains("event: message"))
        .map(|block| (field(block, "id: ").unwrap(), serde_json::from_str(&field(block, "data: ").unwrap()).unwrap()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn everything_that_is_kept_is_streamed_and_the_stream_ends() {
    let world = World::with_device("D").await;
    send(&world, &["{\"t\":1}", "two"]).await;
    let response = ask(&world, "from=earliest&follow=false", None).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let stream = text(response).await;
    assert!(stream.starts_with("retry: 2000\n:\nid: 0:-1,1:-1,2:-1,3:-1\n\n"), "{stream}");
    let events = events(&stream);
    assert_eq!(events.len(), 2);
    let (id, first) = &events[0];
    assert_eq!(first["body"], json!({"t": 1}));
    assert_eq!(first["deviceId"], "D");
    assert_eq!(first["annotations"]["iothub-message-source"], "Telemetry");
    assert_eq!(events[1].1["body"], "two");

    // From the first one's id on, there is the second, whatever `from` says.
    let resumed = text(ask(&world, "from=latest&follow=false", Some(id)).await).await;
    assert_eq!(self::events(&resumed), events[1..]);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_says_that_it_is_alive_until_the_token_expires() {
    let world = World::with_device("D").await;
    let stream = text(ask(&world, "", None).await).await;
    assert_eq!(stream.matches(":\n\n").count(), 4, "{stream}");
    assert!(stream.ends_with("event: problem\ndata: {\"message\":\"the token has expired\"}\n\n"), "{stream}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_the_key_that_signed_its_token() {
    let world = World::with_device("D").await;
    let mut body = ask(&world, "", None).await.into_body();
    body.frame().await.unwrap().unwrap();
    replace_policies(&world.hub, Policies::default());
    send(&world, &["x"]).await;
    let rest = body.collect().await.unwrap().to_bytes();
    assert_eq!(rest, "event: problem\ndata: {\"message\":\"the key that the token was signed with has been replaced\"}\n\n");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_finds_nothing_moves_its_id_on() {
    let world = World::with_device("D").await;
    let mut body = ask(&world, "device=another&partition=0&from=earliest", None).await.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.ends_with(b"id: 0:-1\n\n"));
    let partition = crate::core::event::PartitionId::of_device(&DeviceId::parse("D").unwrap(), world.hub.events.partition_count());
    let mut body = ask(&world, &format!("device=another&partition={partition}"), None).await.into_body();
    body.frame().await.unwrap().unwrap();
    send(&world, &["x"]).await;
    let next = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(next, format!(":\nid: {partition}:0\n\n"));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_said() {
    let world = World::with_device("D").await;
    for (query, last_event_id, status, word) in [
        ("partition=4", None, 404, "ErrorCode:PartitionNotFound;there is no partition 4"),
        ("partition=-1", None, 400, "a partition is a number"),
        ("from=yesterday", None, 400, "a start is earliest"),
        ("from=offset:-1", None, 400, "a start is earliest"),
        ("from=time:2026-11-23", None, 400, "a start is earliest"),
        ("from=sequence:1", None, 400, "begins its next event with 0"),
        ("follow=perhaps", None, 400, "true or false"),
        ("device=a%20b", None, 400, "not ' '"),
        ("", Some("0:7"), 400, "begins its next event with 0"),
        ("", Some("nonsense"), 400, "<partition>:<offset>"),
    ] {
        let response = ask(&world, query, last_event_id).await;
        assert_eq!(response.status(), status, "{query}");
        let message: Value = serde_json::from_str(&text(response).await).unwrap();
        assert!(message["Message"].as_str().unwrap().contains(word), "{query}: {message}");
    }
    assert_eq!(ask(&world, "from=sequence:0&follow=false", None).await.status(), 200);
    assert_eq!(ask(&world, "from=time:2026-11-23T03:00:00%2B01:00&follow=false", None).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn only_who_may_connect_as_a_service_reads() {
    let world = World::with_device("D").await;
    for token in [policy_token("hub.example", "device"), device_token("D", 1), policy_token("hub.example/devices", "service")] {
        let request = Request::get("/api/v1/events").header("authorization", token).body(Body::empty()).unwrap();
        assert_eq!(app(&world).oneshot(request).await.unwrap().status(), 401);
    }
    let token = percent_encoding::utf8_percent_encode(&policy_token("hub.example/messages", "service"), percent_encoding::NON_ALPHANUMERIC)
        .to_string();
    let request = Request::get(format!("/api/v1/events?follow=false&Authorization={token}")).body(Body::empty()).unwrap();
    assert_eq!(app(&world).oneshot(request).await.unwrap().status(), 200);
}
