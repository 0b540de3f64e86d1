use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::core::session::DisconnectReason;
use crate::http::router;
use crate::ops::Session;
use crate::ops::open_session::{close_session, open_session};
use crate::ops::world::{World, device_token, identity, origin, policy_token};
use crate::store::Expected;
use std::sync::Arc;

async fn ask(world: &World, target: &str) -> (u16, Value) {
    let request = Request::get(target).header("host", "hub.example").header("authorization", policy_token("hub.example", "registryRead"));
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(origin().peer));
    let response = router::api(Arc::clone(&world.hub)).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn connect(world: &World, id: &str) -> Session {
    let right = world.login(id, &device_token(id, 1)).await.unwrap();
    open_session(&world.hub, right, origin()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_is_connected_comes_page_by_page() {
    let world = World::with_device("b").await;
    for id in ["a", "c"] {
        world.write(Expected::Absent, Some(identity(id))).await;
    }
    for id in ["c", "a", "b"] {
        connect(&world, id).await;
    }
    let (status, page) = ask(&world, "/api/v1/connections?limit=2").await;
    assert_eq!(status, 200, "{page}");
    let ids = |page: &Value| page["connections"].as_array().unwrap().iter().map(|one| one["deviceId"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&page), ["a", "b"]);
    assert_eq!(
        page["connections"][1],
        json!({
            "deviceId": "b", "connection": "2", "protocol": "mqtt", "address": "192.0.2.1",
            "since": "2023-11-14T22:13:20.000Z", "lastActivityTime": "2023-11-14T22:13:20.000Z"
        })
    );
    let next = page["next"].as_str().unwrap();
    let (_, page) = ask(&world, &format!("/api/v1/connections?limit=2&after={next}")).await;
    assert_eq!((ids(&page), &page["next"]), (vec![json!("c")], &Value::Null));
    let (_, page) = ask(&world, "/api/v1/connections?after=b").await;
    assert_eq!(ids(&page), ["c"]);

    // Its connection has not noticed yet.
    world.hub.presence.sessions(None, 1)[0].end(DisconnectReason::DeviceDisabled);
    let (_, page) = ask(&world, "/api/v1/connections?limit=2").await;
    assert_eq!(ids(&page), ["b", "c"]);
    let (_, presence) = ask(&world, "/api/v1/presence").await;
    assert_eq!((&presence["connected"], &presence["byProtocol"]["mqtt"]), (&json!(2), &json!(2)));
}

#[tokio::test(start_paused = true)]
async fn how_a_devices_connections_went_can_be_read() {
    let world = World::with_device("D").await;
    for _ in 0..5 {
        let session = connect(&world, "D").await;
        close_session(&world.hub, &session, DisconnectReason::ConnectionLost);
    }
    let older = connect(&world, "D").await;
    let newer = connect(&world, "D").await;
    close_session(&world.hub, &older, DisconnectReason::ConnectionLost);
    let (status, page) = ask(&world, "/api/v1/devices/D/connections?limit=3").await;
    assert_eq!(status, 200, "{page}");
    assert_eq!((&page["deviceId"], &page["connected"], &page["flapping"]["connects"]), (&json!("D"), &json!(true), &json!(7)));
    let reasons = |page: &Value| page["connections"].as_array().unwrap().iter().map(|one| one["reason"].clone()).collect::<Vec<_>>();
    assert_eq!(reasons(&page), [Value::Null, json!("TakenOver"), json!("ConnectionLost")]);
    let next = page["next"].as_str().unwrap();
    let (_, page) = ask(&world, &format!("/api/v1/devices/D/connections?before={next}")).await;
    assert_eq!((page["connections"].as_array().unwrap().len(), &page["next"]), (4, &Value::Null));

    let (_, presence) = ask(&world, "/api/v1/presence").await;
    assert_eq!(
        presence,
        json!({
            "connected": 1, "byProtocol": {"mqtt": 1}, "connectsTotal": 7, "takeOversTotal": 1,
            "flapping": [{"deviceId": "D", "connects": 7, "since": "2023-11-14T22:13:20.000Z"}]
        })
    );
    close_session(&world.hub, &newer, DisconnectReason::ClientDisconnected);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_said() {
    let world = World::with_device("D").await;
    for target in [
        "/api/v1/connections?limit=0",
        "/api/v1/connections?limit=1001",
        "/api/v1/connections?after=a%20b",
        "/api/v1/connections?after=a/b",
        "/api/v1/devices/D/connections?before=7",
        "/api/v1/devices/D/connections?limit=many",
    ] {
        let (status, body) = ask(&world, target).await;
        assert_eq!(status, 400, "{target}: {body}");
    }
}
