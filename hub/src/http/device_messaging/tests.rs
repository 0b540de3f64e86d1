use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::MockConnectInfo;
use axum::response::Response;
use axum::routing::post;
use http_body_util::BodyExt as _;
use serde_json::{Value as Json, json};
use tower::ServiceExt as _;

use super::*;
use crate::core::device_id::DeviceId;
use crate::core::event::{PartitionId, SequenceNumber};
use crate::core::identity::{DeviceIdentity, DeviceStatus};
use crate::core::message::{Body as Payload, MessageId, Value, encoding};
use crate::core::time::UnixMillis;
use crate::http::body::DISCARDED_MAX_BYTES;
use crate::ops::AppendError;
use crate::ops::world::{World, device_token, identity};
use crate::store::Expected;

fn app(world: &World) -> Router {
    Router::new()
        .route("/devices/{id}/messages/events", post(post_events))
        .layer(MockConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4711))))
        .with_state(Arc::clone(&world.hub))
}

async fn send(world: &World, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut request = Request::post("/devices/D/messages/events?api-version=1999-anything").header("authorization", device_token("D", 1));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app(world).oneshot(request.body(body.into()).unwrap()).await.unwrap()
}

async fn send_batch(world: &World, batch: &Json) -> Response {
    send(world, &[("content-type", "application/vnd.microsoft.iothub.json; charset=utf-8")], batch.to_string()).await
}

async fn stored(world: &World) -> Vec<bytes::Bytes> {
    let partition = PartitionId::of_device(&DeviceId::parse("D").unwrap(), world.hub.events.partition_count());
    world.hub.events.read(partition, SequenceNumber(0), usize::MAX).await.unwrap().into_iter().map(|event| event.content).collect()
}

async fn message_of(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice::<Json>(&bytes).unwrap()["Message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn headers_become_the_message() {
    let world = World::with_device("D").await;
    let response = send(
        &world,
        &[
            ("iothub-messageid", "m-1"),
            ("iothub-correlationid", "c-1"),
            ("iothub-userid", "me"),
            ("iothub-to", "/devices/D/messages/events"),
            ("iothub-expiry", "2026-11-23T06:00:00.000Z"),
            ("iothub-ack", "full"),
            ("iothub-contenttype", "application/json"),
            ("iothub-contentencoding", "utf-8"),
            ("iothub-interface-id", "urn:x"),
            ("iothub-app-level", "warning"),
            ("IoTHub-App-empty", ""),
            ("iothub-connection-device-id", "another"),
            ("iothub-app-iothub-connection-device-id", "another"),
            ("content-type", "text/plain"),
        ],
        vec![0, 255, 7],
    )
    .await;
    assert_eq!(response.status(), 204);
    let stored = stored(&world).await;
    let message = encoding::decode(&stored[0]).unwrap();
    let properties = &message.properties;
    assert_eq!(properties.message_id, Some(MessageId::String("m-1".into())));
    assert_eq!(properties.correlation_id, Some(MessageId::String("c-1".into())));
    assert_eq!(properties.user_id.as_deref(), Some(&b"me"[..]));
    assert_eq!(properties.to.as_deref(), Some("/devices/D/messages/events"));
    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    assert_eq!(properties.content_encoding.as_deref(), Some("utf-8"));
    assert_eq!(properties.absolute_expiry_time, Some("2026-11-23T06:00:00Z".parse::<UnixMillis>().unwrap()));
    let text = |text: &'static str| Value::String(text.into());
    assert_eq!(
        message.application_properties,
        [("iothub-ack".into(), text("full")), ("level".into(), text("warning")), ("empty".into(), text(""))]
    );
    assert_eq!(message.annotations[0], ("iothub-interface-id".into(), text("urn:x")));
    assert_eq!(encoding::find_annotation(&stored[0], "iothub-connection-device-id"), Ok(Some(text("D"))));
    assert_eq!(message.body, Payload::Data(vec![(&[0, 255, 7][..]).into()]));
}

#[tokio::test]
async fn a_batch_is_taken_as_a_whole() {
    let world = World::with_device("D").await;
    let batch = json!([
        {"body": "AP8H", "base64Encoded": true, "properties": {"iothub-app-CamelCase": "v", "iothub-messageid": "m"}},
        {"body": "aGk="},
        {"body": "21 °C\n", "base64Encoded": false},
    ]);
    assert_eq!(send_batch(&world, &batch).await.status(), 204);
    let events = stored(&world).await;
    let messages: Vec<_> = events.iter().map(|content| encoding::decode(content).unwrap()).collect();
    let bodies: Vec<_> = messages.iter().map(|message| message.body.clone()).collect();
    let data = |bytes: &'static [u8]| Payload::Data(vec![bytes.into()]);
    assert_eq!(bodies, [data(&[0, 255, 7]), data(b"hi"), data("21 °C\n".as_bytes())]);
    assert_eq!(messages[0].application_properties, [("CamelCase".into(), Value::String("v".into()))]);
    assert_eq!(messages[0].properties.message_id, Some(MessageId::String("m".into())));

    for (batch, status, words) in [
        (json!([{"body": "aGk="}, {"body": "no base64!"}]), 400, "ArgumentInvalid;message 1 of the batch: body is not Base64"),
        (json!([{"body": ""}, {"body": "", "properties": {"x": "y"}}]), 400, "message 1 of the batch: the property \"x\""),
        (json!([]), 400, "no messages"),
        (json!({"body": ""}), 400, "the body is not ["),
        (json!([{"body": 1}]), 400, "the body is not ["),
        (json!(vec![json!({"body": ""}); 501]), 413, "MessageTooLarge;the batch has 501 messages"),
        (
            json!([{"body": "x".repeat(200_000), "base64Encoded": false}, {"body": "x".repeat(62_145), "base64Encoded": false}]),
            413,
            "262145 bytes",
        ),
    ] {
        let response = send_batch(&world, &batch).await;
        assert_eq!(response.status(), status, "{words}");
        let message = message_of(response).await;
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(stored(&world).await.len(), 3, "nothing of a refused batch is kept");
    assert_eq!(send_batch(&world, &json!(vec![json!({"body": ""}); 500])).await.status(), 204);
}

#[tokio::test]
async fn the_limit_is_256_kib() {
    let world = World::with_device("D").await;
    assert_eq!(send(&world, &[], vec![b'x'; MESSAGE_MAX_BYTES]).await.status(), 204);
    assert_eq!(send(&world, &[], Body::empty()).await.status(), 204);
    for (headers, size) in [
        (&[][..], MESSAGE_MAX_BYTES + 1),
        (&[("iothub-app-k", "v")][..], MESSAGE_MAX_BYTES),
        (&[("content-length", "99999999")][..], 1),
        (&[][..], DISCARDED_MAX_BYTES + 1),
    ] {
        let response = send(&world, headers, vec![b'x'; size]).await;
        assert_eq!(response.status(), 413);
        assert_eq!(response.headers()["iothub-errorcode"], "MessageTooLarge");
    }
    assert_eq!(stored(&world).await.len(), 2);
}

#[tokio::test]
async fn what_is_invalid_is_named() {
    let world = World::with_device("D").await;
    for (name, value, words) in [
        ("iothub-app-a", "b c", "iothub-app-a: over HTTPS a property's value is made of"),
        ("iothub-app-", "x", "a property's name has at least one character"),
        ("iothub-expiry", "tomorrow", "iothub-expiry is \"tomorrow\", but a time is ISO 8601"),
        ("iothub-messageid", "a b", "message-id"),
        ("iothub-to", "caf\u{e9}", "the header iothub-to is not visible ASCII"),
    ] {
        let response = send(&world, &[(name, value)], "x").await;
        assert_eq!(response.status(), 400, "{name}");
        let message = message_of(response).await;
        assert!(message.starts_with("ErrorCode:ArgumentInvalid;") && message.contains(words), "{message}");
    }
    let response = send(&world, &[("iothub-expiry", "1754-08-30T22:43:41.128Z"), ("iothub-messageid", "")], "x").await;
    assert_eq!(response.status(), 204);
    let stored = stored(&world).await;
    let properties = encoding::decode(&stored[0]).unwrap().properties;
    assert_eq!((properties.absolute_expiry_time, properties.message_id), (None, None), "both mean that there is none");
    assert_eq!(properties.to.as_deref(), Some("/devices/D/messages/events"), "the hub says where it was sent when the device does not");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_refused_gets_the_same_bytes() {
    let world = World::with_device("D").await;
    world.write(Expected::Absent, Some(DeviceIdentity { wanted_status: DeviceStatus::Disabled, ..identity("off") })).await;
    let mut answers = Vec::new();
    for (id, token) in [
        ("D", Some(device_token("D", 9))),
        ("D", None),
        ("off", Some(device_token("off", 1))),
        ("nobody", Some(device_token("nobody", 1))),
        ("%FF", Some(device_token("D", 1))),
        ("a%20b", Some(device_token("D", 1))),
    ] {
        let mut request = Request::post(format!("/devices/{id}/messages/events"));
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let (head, body) = app(&world).oneshot(request.body(Body::from("x")).unwrap()).await.unwrap().into_parts();
        answers.push((head.status, head.headers, body.collect().await.unwrap().to_bytes()));
    }
    assert_eq!(answers[0].0, 401);
    assert_eq!(answers[0].2, "{\"ExceptionMessage\":\"\",\"Message\":\"ErrorCode:IotHubUnauthorizedAccess;Unauthorized\"}");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_says_when_to_come_again() {
    let world = World::with_device("D").await;
    for (error, seconds) in [
        (AppendError::DiskFull { retry_after: Duration::from_millis(10_500) }, "11"),
        (AppendError::Unavailable { retry_after: Duration::ZERO }, "1"),
    ] {
        world.log.refuse(Some(error));
        let response = send(&world, &[], "x").await;
        assert_eq!((response.status(), response.headers()["retry-after"].to_str().unwrap()), (StatusCode::SERVICE_UNAVAILABLE, seconds));
    }
    world.log.refuse(None);
    assert_eq!(send(&world, &[], "x").await.status(), 204);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let world = World::with_device("D").await;
    let response = send(&world, &[], Body::from_stream(futures_util::stream::pending::<Result<&str, std::io::Error>>())).await;
    assert_eq!(response.status(), 408);
}

#[tokio::test]
async fn the_answer_waits_for_the_disk() {
    let world = World::with_device("D").await;
    world.log.hold();
    let answer = send(&world, &[], "x");
    tokio::pin!(answer);
    tokio::select! {
        biased;
        _ = &mut answer => panic!("nothing is durable"),
        () = async { for _ in 0..10 { tokio::task::yield_now().await } } => {}
    }
    world.log.release();
    assert_eq!(answer.await.status(), 204);
}
