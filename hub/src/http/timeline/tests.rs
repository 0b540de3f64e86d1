use serde_json::{Value, json};

use crate::core::session::DisconnectReason;
use crate::http::client::Client;
use crate::ops::open_session::{close_session, open_session};
use crate::ops::world::{device_token, origin};

async fn story() -> Client {
    let client = Client::new().await;
    let world = &client.world;
    let right = world.login("D", &device_token("D", 1)).await.unwrap();
    let session = open_session(&world.hub, right, origin()).await.unwrap();
    close_session(&world.hub, &session, DisconnectReason::KeepAliveTimeout);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    client.send(&[("iothub-messageid", "m-1")], "{}").await;
    client
}

async fn ask(client: &Client, policy: &str, query: &str) -> crate::http::client::Answer {
    client.policy(policy, "GET", &format!("/api/v1/devices/D/timeline{query}"), &[], "").await
}

fn named(timeline: &Value, name: &str) -> Vec<Value> {
    timeline["entries"].as_array().unwrap().iter().filter_map(|entry| entry.get(name)).cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn a_story_has_what_the_other_lists_have() {
    let client = story().await;
    let timeline = ask(&client, "iothubowner", "").await.expect(200).json();
    assert_eq!((&timeline["deviceId"], &timeline["next"]), (&json!("D"), &Value::Null));
    assert_eq!(named(&timeline, "connection")[0]["reason"], "KeepAliveTimeout");
    let command = &named(&timeline, "command")[0];
    assert_eq!((&command["messageId"], &command["steps"][0]["step"]), (&json!("m-1"), &json!("Enqueued")));
    let page = ask(&client, "iothubowner", "?limit=1&kinds=command,connection").await.expect(200).json();
    let next = page["next"].as_str().unwrap();
    let rest = ask(&client, "iothubowner", &format!("?kinds=command,connection&before={next}")).await.expect(200).json();
    assert_eq!((named(&page, "command").len(), named(&rest, "connection").len(), named(&rest, "command").len()), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_story_is_told_as_far_as_somebody_may_hear_it() {
    let client = story().await;
    let of_reader = ask(&client, "registryRead", "").await.expect(200).json();
    assert_eq!((named(&of_reader, "command").len(), named(&of_reader, "connection").len()), (0, 1));
    let of_service = ask(&client, "service", "").await.expect(200).json();
    assert_eq!((named(&of_service, "command").len(), named(&of_service, "connection").len()), (1, 0));
    ask(&client, "registryRead", "?kinds=command").await.expect(403);
    ask(&client, "device", "").await.expect(401);
    for query in ["?kinds=weather", "?limit=0", "?limit=201", "?before=x"] {
        ask(&client, "iothubowner", query).await.refused(400, "ArgumentInvalid", "");
    }
}
