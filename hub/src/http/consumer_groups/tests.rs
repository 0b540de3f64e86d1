use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::core::consumer_group::ConsumerGroup;
use crate::core::device_id::DeviceId;
use crate::core::event::{PartitionId, SequenceNumber};
use crate::http::client::Client;
use crate::ops::consumer_groups::ReaderClient;
use crate::ops::refusals::PeerText;
use crate::ops::world::NOW;

/// What the group says of the partition that the device's events are in.
async fn partition(client: &Client, group: &str) -> Value {
    let document = client.get("/api/v1/consumer-groups").await;
    let groups = document["consumerGroups"].as_array().unwrap();
    let group = groups.iter().find(|known| known["name"] == group).unwrap();
    group["partitions"][usize::from(device_partition(client).0)].clone()
}

fn device_partition(client: &Client) -> PartitionId {
    PartitionId::of_device(&DeviceId::parse("D").unwrap(), client.world.hub.events.partition_count())
}

#[tokio::test(start_paused = true)]
async fn groups_say_who_reads_and_how_far_behind_they_are() {
    let client = Client::new().await;
    let world = &client.world;
    world.hub.consumer_groups.replace(vec![ConsumerGroup::parse("Alerts").unwrap()]);
    for _ in 0..3 {
        client.device("POST", "/devices/D/messages/events", &[]).await.expect(204);
        world.clock.0.fetch_add(10_000, Ordering::Relaxed);
    }
    assert_eq!(
        partition(&client, "Alerts").await,
        json!({
            "partition": device_partition(&client).0,
            "lastDeliveredSequenceNumber": null,
            "lastDeliveredEnqueuedTime": null,
            "lastDeliveredTime": null,
            "lastEnqueuedSequenceNumber": 2,
            "lastEnqueuedTime": "2023-11-14T22:13:40.000Z",
            "lagEvents": null,
            "lagSeconds": null,
            "readers": [],
        }),
        "nobody has read"
    );

    let seat = world.hub.consumer_groups.sit("alerts", device_partition(&client), Some(0), Arc::default()).unwrap();
    let name = PeerText::from("billing-1");
    seat.is_for(ReaderClient { name, address: [192, 0, 2, 9].into(), policy: "service".to_owned() });
    seat.begins(SequenceNumber(0));
    seat.delivered(SequenceNumber(0), NOW);
    assert_eq!(
        partition(&client, "Alerts").await,
        json!({
            "partition": device_partition(&client).0,
            "lastDeliveredSequenceNumber": 0,
            "lastDeliveredEnqueuedTime": "2023-11-14T22:13:20.000Z",
            "lastDeliveredTime": "2023-11-14T22:13:50.000Z",
            "lastEnqueuedSequenceNumber": 2,
            "lastEnqueuedTime": "2023-11-14T22:13:40.000Z",
            "lagEvents": 2,
            "lagSeconds": 20,
            "readers": [{
                "epoch": 0,
                "since": "2023-11-14T22:13:50.000Z",
                "name": "billing-1",
                "address": "192.0.2.9",
                "policy": "service",
                "lastDeliveredSequenceNumber": 0,
            }],
        })
    );

    drop(seat);
    client.device("POST", "/devices/D/messages/events", &[]).await.expect(204);
    world.clock.0.fetch_add(10_000, Ordering::Relaxed);
    let left = partition(&client, "Alerts").await;
    assert_eq!((&left["lagEvents"], &left["lagSeconds"], &left["readers"]), (&json!(3), &json!(30), &json!([])), "it counts on");
    assert_eq!(partition(&client, "$Default").await["lagEvents"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn an_empty_partition_has_no_last_event_and_no_lag() {
    let client = Client::new().await;
    let seat = client.world.hub.consumer_groups.sit("$Default", device_partition(&client), None, Arc::default()).unwrap();
    seat.begins(SequenceNumber(0));
    let place = partition(&client, "$Default").await;
    let fields = ["lastDeliveredSequenceNumber", "lastEnqueuedSequenceNumber", "lagEvents", "lagSeconds"].map(|field| &place[field]);
    assert_eq!(fields, [&json!(-1), &json!(-1), &json!(0), &json!(0)]);
    assert_eq!(place["readers"][0]["name"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn it_needs_the_right_to_read_events() {
    let client = Client::new().await;
    let refused = client.policy("registryRead", "GET", "/api/v1/consumer-groups", &[], "").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}
