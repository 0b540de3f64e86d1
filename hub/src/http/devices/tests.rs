use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::http::router;
use crate::ops::world::{World, key, policy_token};

async fn ask(world: &World, (method, target): (Method, &str), policy: &str, body: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(target).header("host", "hub.example").header("user-agent", "mooring-hub/0");
    let request = request.header("authorization", policy_token("hub.example", policy));
    let mut request = request.body(Body::from(body.to_owned())).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4711))));
    let response = router::api(Arc::clone(&world.hub)).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap_or_default())
}

#[tokio::test]
async fn a_device_is_shown_without_keys_and_its_keys_are_written_down() {
    let world = World::with_device("D").await;
    let (status, device) = ask(&world, (Method::GET, "/api/v1/devices/D"), "registryRead", "").await;
    assert_eq!((status, &device["deviceId"], &device["authentication"]["type"]), (200, &json!("D"), &json!("sas")));
    assert!([1, 2].iter().all(|byte| !device.to_string().contains(&key(*byte).expose_base64())), "{device}");

    let (status, secrets) = ask(&world, (Method::POST, "/api/v1/devices/D/secrets"), "registryRead", "").await;
    let first = key(1).expose_base64();
    assert_eq!((status, &secrets["primaryKey"]), (200, &json!(first)));
    assert_eq!(secrets["connectionString"], format!("HostName=hub.example;DeviceId=D;SharedAccessKey={first}"));
    assert_eq!(ask(&world, (Method::POST, "/api/v1/devices/none/secrets"), "registryRead", "").await.0, 404);

    let (_, audit) = ask(&world, (Method::GET, "/api/v1/audit"), "registryRead", "").await;
    let entry = &audit["entries"][0];
    assert_eq!((&entry["action"], &entry["deviceId"], &entry["door"]), (&json!("SecretsShown"), &json!("D"), &json!("cli")));
    assert_eq!((&entry["who"], &entry["outcome"]), (&json!({"kind": "policy", "name": "registryRead"}), &json!("Done")));
    assert_eq!(audit["entries"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_audit_comes_page_by_page() {
    let world = World::with_device("D").await;
    for _ in 0..5 {
        ask(&world, (Method::POST, "/api/v1/devices/D/secrets"), "registryRead", "").await;
    }
    let mut target = "/api/v1/audit?limit=2&who=registryRead".to_owned();
    let mut ids: Vec<u64> = Vec::new();
    loop {
        let (_, page) = ask(&world, (Method::GET, &target), "registryRead", "").await;
        ids.extend(page["entries"].as_array().unwrap().iter().map(|entry| entry["entryId"].as_str().unwrap().parse::<u64>().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        target = format!("/api/v1/audit?limit=2&who=registryRead&before={next}");
    }
    assert!(ids.len() == 5 && ids.windows(2).all(|pair| pair[0] > pair[1]), "{ids:?}");
    assert_eq!(ask(&world, (Method::GET, &format!("/api/v1/audit?before={}", i64::MAX)), "registryRead", "").await.0, 200);
    for wrong in ["limit=0", "limit=1001", "before=x", "before=9223372036854775808", "who=%00", "device=a%00"] {
        assert_eq!(ask(&world, (Method::GET, &format!("/api/v1/audit?{wrong}")), "registryRead", "").await.0, 400);
    }
}

#[tokio::test(start_paused = true)]
async fn actions_say_what_became_of_each() {
    let world = World::with_device("D").await;
    let act = async |body: Value| ask(&world, (Method::POST, "/api/v1/devices/actions"), "registryReadWrite", &body.to_string()).await;
    let (status, answer) = act(json!({"action": "disable", "ids": ["D", "none"], "reason": "stolen"})).await;
    assert_eq!((status, &answer["results"][0]["done"], &answer["results"][0]["connectionsClosed"]), (200, &json!(true), &json!(0)));
    assert!(answer["results"][0]["closedInMs"].is_number());
    assert_eq!(
        answer["results"][1],
        json!({"deviceId": "none", "done": false, "errorCode": "DeviceNotFound", "message": "Device none not registered"})
    );
    let (_, device) = ask(&world, (Method::GET, "/api/v1/devices/D"), "registryRead", "").await;
    assert_eq!(
        (&device["status"], &device["statusReason"], &device["hold"]["by"]),
        (&json!("disabled"), &json!("stolen"), &json!("registryReadWrite"))
    );
    for wrong in [
        json!({"action": "rotate", "ids": ["D"]}),
        json!({"action": "delete", "ids": ["D"], "slot": "primary"}),
        json!({"action": "explode", "ids": ["D"]}),
        json!({"action": "enable", "ids": ["a b"]}),
        json!({"action": "enable", "ids": vec!["D"; 1001]}),
        json!({"action": "enable", "ids": ["D"], "reason": "x".repeat(129)}),
    ] {
        assert_eq!(act(wrong.clone()).await.0, 400, "{wrong}");
    }
    let (status, _) = ask(&world, (Method::POST, "/api/v1/devices/actions"), "registryRead", r#"{"action":"enable","ids":["D"]}"#).await;
    assert_eq!(status, 401);
}
