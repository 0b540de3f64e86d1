use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;

use super::storage_view;
use crate::core::identity::{DeviceIdentity, DeviceStatus};
use crate::core::time::UnixMillis;
use crate::http::client::Client;
use crate::ops::describe_hub::Storage;
use crate::ops::open_session::open_session;
use crate::ops::world::{device_token, identity, origin};
use crate::store::Expected;

#[tokio::test(start_paused = true)]
async fn the_hub_says_what_it_is_and_how_many_devices_it_has() {
    let client = Client::new().await;
    let world = &client.world;
    world.write(Expected::Absent, Some(DeviceIdentity { wanted_status: DeviceStatus::Disabled, ..identity("off") })).await;
    world.write(Expected::Absent, Some(identity("away"))).await;
    let right = world.login("D", &device_token("D", 1)).await.unwrap();
    let _session = open_session(&world.hub, right, origin()).await.unwrap();
    world.clock.0.fetch_add(60_000, Ordering::Relaxed);
    let answer = client.policy("registryRead", "GET", "/api/v1/hub", &[], "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.json(),
        json!({
            "hostName": "hub.example",
            "hostNames": ["hub.example"],
            "version": env!("CARGO_PKG_VERSION"),
            "boot": "1",
            "startedTime": "2023-11-14T22:13:20.000Z",
            "certificateExpiryTime": "2027-01-15T08:00:00.000Z",
            "partitions": 4,
            "devices": { "total": 3, "enabled": 2, "connected": 1 },
            "authority": null,
            "storage": null,
        })
    );
    let refused = client.service("GET", "/api/v1/hub", &[], "").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "it needs RegistryRead");
}

#[test]
fn what_is_kept_is_told_in_bytes_and_seconds() {
    let told = |storage| serde_json::to_value(storage_view(storage)).unwrap();
    let empty = Storage {
        events_bytes: 0,
        retention_bytes: 4096,
        retention: Duration::from_secs(86_400),
        oldest_event_time: None,
        full: false,
        disk: None,
    };
    let mut expected = json!({
        "eventsBytes": 0,
        "retentionBytes": 4096,
        "retentionSeconds": 86_400,
        "oldestEventTime": null,
        "sizeBytes": null,
        "freeBytes": null,
        "full": false,
    });
    assert_eq!(told(empty), expected);
    let filled = Storage {
        events_bytes: 1024,
        oldest_event_time: Some(UnixMillis(1_700_000_000_000)),
        full: true,
        disk: Some((9000, 500)),
        ..empty
    };
    for (field, value) in [("eventsBytes", json!(1024)), ("sizeBytes", json!(9000)), ("freeBytes", json!(500)), ("full", json!(true))] {
        expected[field] = value;
    }
    expected["oldestEventTime"] = json!("2023-11-14T22:13:20.000Z");
    assert_eq!(told(filled), expected);
}
