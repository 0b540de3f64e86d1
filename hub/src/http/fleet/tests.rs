use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::core::identity::{DeviceIdentity, ManagedBy};
use crate::core::session::DisconnectReason;
use crate::http::client::{Answer, Client};
use crate::ops::follow_devices::follow_devices;
use crate::ops::open_session::{close_session, open_session};
use crate::ops::world::{device_token, identity, origin};
use crate::store::Expected;

/// A hub with the devices `D`, `pump-1` (connected), `pump-2` (from a manifest, with tags) and `valve` (gone).
async fn fleet() -> Client {
    let client = Client::new().await;
    let world = &client.world;
    let managed_by = ManagedBy::Kubernetes { namespace: "plant".into(), name: "second".into(), uid: "u".into() };
    for identity in [
        identity("pump-1"),
        DeviceIdentity { managed_by: Some(managed_by), tags: Some(r#"{"site":"north","floor":3}"#.into()), ..identity("pump-2") },
        identity("valve"),
    ] {
        world.write(Expected::Absent, Some(identity)).await;
    }
    let hub = Arc::clone(&world.hub);
    tokio::spawn(async move { follow_devices(&hub).await });
    sleep(Duration::from_secs(2)).await;
    for id in ["pump-1", "valve"] {
        let right = world.login(id, &device_token(id, 1)).await.unwrap();
        let session = open_session(&world.hub, right, origin()).await.unwrap();
        if id == "valve" {
            sleep(Duration::from_secs(1)).await;
            close_session(&world.hub, &session, DisconnectReason::KeepAliveTimeout);
        }
    }
    sleep(Duration::from_secs(2)).await;
    client
}

async fn ask(client: &Client, query: &str) -> Answer {
    client.policy("registryRead", "GET", &format!("/api/v1/devices?{query}"), &[], "").await
}

async fn ids(client: &Client, query: &str) -> Vec<String> {
    let page = ask(client, query).await.expect(200).json();
    page["devices"].as_array().unwrap().iter().map(|device| device["deviceId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_list_is_filtered_and_sorted_as_the_address_says() {
    let client = fleet().await;
    for (query, expected) in [
        ("", &["valve", "pump-1", "pump-2", "D"][..]),
        ("sort=id", &["D", "pump-1", "pump-2", "valve"]),
        ("sort=id&order=desc", &["valve", "pump-2", "pump-1", "D"]),
        ("prefix=pump-&sort=id", &["pump-1", "pump-2"]),
        ("state=connected,offline&sort=state", &["valve", "pump-1"]),
        ("managed=true&api-version=2021-04-12", &["pump-2"]),
        ("tag=site:north&tag=floor:3", &["pump-2"]),
        ("tag=site:north&tag=floor:4", &[]),
        ("reason=KeepAliveTimeout", &["valve"]),
        ("enabled=false", &[]),
        ("auth=sas&seenBefore=2000-01-01T00:00:00Z&sort=id", &["D", "pump-2"]),
        ("seenAfter=2023-11-14T22:13:22.500Z", &["valve"]),
        ("queueMin=1", &[]),
    ] {
        assert_eq!(ids(&client, query).await, expected, "{query}");
    }
    let page = ask(&client, "prefix=pump-2").await.expect(200).json();
    assert_eq!(page["total"], json!({"exact": 1}));
    assert_eq!(
        page["devices"][0],
        json!({
            "deviceId": "pump-2", "state": "never", "stateSince": null, "reason": null, "authentication": "sas", "enabled": true,
            "held": false, "connected": false, "queue": 0, "lastSeen": null,
            "managedBy": {"kind": "Kubernetes", "namespace": "plant", "name": "second"},
        })
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_comes_page_by_page() {
    let client = fleet().await;
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = ask(&client, &format!("limit=1&sort=queue&order=desc&after={after}")).await.expect(200).json();
        assert_eq!(page["total"]["exact"], 4);
        found.push(page["devices"][0]["deviceId"].as_str().unwrap().to_owned());
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(found, ["valve", "pump-2", "pump-1", "D"]);
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_is_refused_and_strangers_learn_nothing() {
    let client = fleet().await;
    for query in [
        "state=asleep",
        "auth=key",
        "reason=Boredom",
        "held=perhaps",
        "seenBefore=noon",
        "queueMin=-1",
        "sort=colour",
        "order=up",
        "after=x",
        "limit=0",
        "limit=1001",
        "limit=many",
        "prefix=a&prefix=b",
        &"tag=a&".repeat(17),
    ] {
        ask(&client, query).await.refused(400, "ArgumentInvalid", "");
    }
    assert_eq!(ids(&client, &format!("state={}&{}", "never,".repeat(500) + "never", "tag=site&".repeat(16))).await, ["pump-2"]);
    client.service("GET", "/api/v1/devices?state=asleep", &[], "").await.expect(401);
    let text = String::from_utf8(ask(&client, "limit=1000").await.body.to_vec()).unwrap();
    assert!(!text.contains("ey\""), "no keys: {text}");
}

#[tokio::test(start_paused = true)]
async fn a_device_is_shown_with_its_connection_and_without_its_keys() {
    let client = fleet().await;
    let device = client.policy("registryRead", "GET", "/api/v1/devices/pump-1", &[], "").await.expect(200).json();
    assert_eq!((&device["state"], &device["connectionState"]), (&json!("connected"), &json!("Connected")));
    assert_eq!(device["connections"][0]["protocol"], "mqtt");
    assert_eq!((&device["flapping"], device["partition"].as_u64().is_some_and(|partition| partition < 4)), (&Value::Null, true));
    assert_eq!(device["authentication"].get("symmetricKey"), None);
    client.policy("registryRead", "GET", "/api/v1/devices/nobody", &[], "").await.refused(404, "DeviceNotFound", "nobody");
}
