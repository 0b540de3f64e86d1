use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use serde_json::json;

use crate::core::identity::{DeviceIdentity, DeviceStatus};
use crate::http::client::Client;
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
