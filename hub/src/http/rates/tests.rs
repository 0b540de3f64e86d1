use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::http::client::Client;
use crate::ops::rates::keep_rates;

async fn ask(client: &Client, query: &str) -> Value {
    client.policy("registryRead", "GET", &format!("/api/v1/rates{query}"), &[], "").await.expect(200).json()
}

#[tokio::test(start_paused = true)]
async fn columns_are_as_long_as_there_are_steps() {
    let client = Client::new().await;
    let nothing = ask(&client, "").await;
    assert_eq!((&nothing["steps"], &nothing["connects"]), (&json!(0), &json!([])));
    tokio::spawn(keep_rates(Arc::clone(&client.world.hub)));
    sleep(Duration::from_secs(3)).await;
    for _ in 0..2 {
        client.send(&[("iothub-ack", "full"), ("iothub-messageid", "m")], "{}").await;
    }
    client.policy("nobody", "GET", "/api/v1/hub", &[], "").await.expect(401);
    sleep(Duration::from_secs(3)).await;
    let rates = ask(&client, "").await;
    let steps = rates["steps"].as_u64().unwrap() as usize;
    assert!((6..=8).contains(&steps) && rates["stepSeconds"] == 1, "{rates}");
    let sum = |column: &Value| {
        let numbers = column.as_array().unwrap();
        assert_eq!(numbers.len(), steps);
        numbers.iter().map(|number| number.as_u64().unwrap_or_default()).sum::<u64>()
    };
    assert_eq!(sum(&rates["commands"]["enqueued"]), 2);
    assert!(sum(&rates["commands"]["bytes"]) > 2);
    assert_eq!((sum(&rates["refusals"]["UnknownPolicy"]), rates["refusals"].as_object().unwrap().len()), (1, 1));
    assert_eq!((&rates["disconnects"], &rates["commands"]["ended"]), (&json!({}), &json!({})), "what did not happen is left out");
    assert_eq!(rates["backlog"]["enqueued"].as_array().unwrap().last(), Some(&json!(2)));
    let ages = rates["backlog"]["oldestSeconds"].as_array().unwrap();
    assert_eq!((ages[0].clone(), ages.last().unwrap().as_u64().is_some_and(|age| (2..=4).contains(&age))), (Value::Null, true), "{ages:?}");
    assert_eq!(rates["latency"]["upToMs"].as_array().unwrap().len() + 1, rates["latency"]["enqueuedToDelivered"].as_array().unwrap().len());

    let day = ask(&client, "?since=2023-11-13T22:13:20Z").await;
    assert_eq!((&day["stepSeconds"], sum_of(&day["commands"]["enqueued"])), (&json!(20), 2));
}

fn sum_of(column: &Value) -> u64 {
    column.as_array().unwrap().iter().filter_map(Value::as_u64).sum()
}

#[tokio::test(start_paused = true)]
async fn who_may_not_see_the_fleet_is_refused_and_a_time_is_a_time() {
    let client = Client::new().await;
    client.policy("device", "GET", "/api/v1/rates", &[], "").await.expect(401);
    client.policy("registryRead", "GET", "/api/v1/rates?since=yesterday", &[], "").await.refused(400, "ArgumentInvalid", "ISO 8601");
}

#[tokio::test(start_paused = true)]
async fn what_one_device_has_sent_is_told_minute_by_minute_since_the_hub_began() {
    let client = Client::new().await;
    let ask = async |policy: &str, id: &str| client.policy(policy, "GET", &format!("/api/v1/devices/{id}/rates"), &[], "").await;
    for _ in 0..3 {
        client.device("POST", "/devices/D/messages/events?api-version=2021-04-12", &[]).await.expect(204);
    }
    sleep(Duration::from_secs(60)).await;
    client.device("POST", "/devices/D/messages/events?api-version=2021-04-12", &[]).await.expect(204);
    let rates = ask("registryRead", "D").await.expect(200).json();
    assert_eq!((&rates["deviceId"], &rates["stepSeconds"], &rates["steps"]), (&json!("D"), &json!(60), &json!(2)), "{rates}");
    assert_eq!((&rates["messages"], &rates["start"]), (&json!([3, 1]), &json!("2023-11-14T22:13:00.000Z")));
    assert_eq!(ask("registryRead", "E").await.expect(200).json()["messages"], json!([0, 0]));
    ask("device", "D").await.expect(401);
    ask("registryRead", "a%20b").await.refused(400, "ArgumentInvalid", "");
}
