use axum::body::Body as Payload;
use serde_json::Value;

use super::json::StepDocument;
use super::*;
use crate::core::command::{ReceiptLoss, Receiver, ReturnReason, Step, StepKind};
use crate::core::session::{ConnectionId, Protocol};
use crate::core::time::UnixMillis;
use crate::http::client::{Answer, Client};

const COMMANDS: &str = "/api/v1/devices/D/commands";

async fn settle(client: &Client, method: &str, delivery: &Answer, end: &str) {
    let target = format!("/devices/D/messages/deviceBound/{}{end}", delivery.lock_token());
    client.device(method, &target, &[]).await.expect(204);
}

fn steps(history: &Value) -> Vec<&str> {
    history["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect()
}

fn ids(page: &Value) -> Vec<&str> {
    page["commands"].as_array().unwrap().iter().map(|command| command["id"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_command_is_taken_and_can_be_read() {
    let client = Client::new().await;
    let headers = [("iothub-messageid", "m-1"), ("iothub-ack", "Full"), ("iothub-expiry", "2023-11-15T00:00:00Z")];
    let answer = client.service("POST", COMMANDS, &headers, "reboot").await.expect(201);
    let command = answer.json();
    let id = command["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/api/v1/commands/{id}"));
    assert_eq!(
        command,
        json!({
            "id": id, "deviceId": "D", "generationId": "1", "messageId": "m-1", "ack": "full", "sentBy": "service", "againOf": null,
            "state": "Enqueued", "sizeBytes": command["sizeBytes"], "enqueuedTime": command["enqueuedTime"],
            "expiryTime": "2023-11-15T00:00:00.000Z", "deliveryCount": 0, "lockedUntil": null, "endedTime": null, "canBeSentAgain": false
        })
    );
    let mut history = client.get(&format!("/api/v1/commands/{id}")).await;
    assert_eq!(history["steps"], json!([{"time": command["enqueuedTime"], "step": "Enqueued"}]));
    history.as_object_mut().unwrap().remove("steps");
    assert_eq!(history, command);
    let device = client.policy("iothubowner", "GET", "/devices/D", &[], Payload::empty()).await.expect(200).json();
    assert_eq!(device["cloudToDeviceMessageCount"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_timeline_says_who_got_it_and_what_became_of_it() {
    let client = Client::new().await;
    let id = client.send(&[("iothub-messageid", "m-1"), ("iothub-ack", "full")], "x").await;
    settle(&client, "POST", &client.receive().await.expect(200), "/abandon").await;
    let delivery = client.receive().await.expect(200);
    let locked = client.get(&format!("/api/v1/commands/{id}")).await;
    assert_eq!((&locked["state"], &locked["deliveryCount"]), (&"Invisible".into(), &2.into()));
    assert!(locked["lockedUntil"].is_string());
    settle(&client, "DELETE", &delivery, "").await;

    let history = client.get(&format!("/api/v1/commands/{id}")).await;
    assert_eq!(steps(&history), ["Enqueued", "Delivered", "Returned", "Delivered", "Completed"]);
    let of_step = |place: usize, field: &str| history["steps"][place][field].clone();
    assert_eq!((of_step(1, "protocol"), of_step(1, "deliveryCount")), ("https".into(), 1.into()));
    assert_eq!((of_step(2, "reason"), of_step(3, "deliveryCount")), ("Abandoned".into(), 2.into()));
    assert_eq!((&history["state"], &history["canBeSentAgain"]), (&"Completed".into(), &false.into()));
    assert_eq!(history["endedTime"], of_step(4, "time"));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_explained() {
    let client = Client::new().await;
    let far = "2023-11-17T00:00:00Z";
    for (target, headers, size, status, code, words) in [
        ("/api/v1/devices/nobody/commands", &[][..], 1, 404, "DeviceNotFound", "there is no device nobody"),
        ("/api/v1/devices/a%20b/commands", &[], 1, 400, "ArgumentInvalid", "not ' '"),
        (COMMANDS, &[], COMMAND_MAX_BYTES + 1, 413, "MessageTooLarge", "65536 bytes"),
        (COMMANDS, &[("iothub-app-k", "v")], COMMAND_MAX_BYTES - 1, 413, "MessageTooLarge", "65537 bytes"),
        (COMMANDS, &[("iothub-ack", "always")], 1, 400, "ArgumentInvalid", "iothub-ack is none"),
        (COMMANDS, &[("iothub-expiry", "2023-11-14T00:00:00Z")], 1, 400, "ArgumentInvalid", "expired at 2023-11-14"),
        (COMMANDS, &[("iothub-expiry", "tomorrow")], 1, 400, "ArgumentInvalid", "iothub-expiry is \"tomorrow\""),
        (COMMANDS, &[("iothub-expiry", far)], 1, 403, "InvalidMessageExpiryTime", "more than 2 days"),
        (COMMANDS, &[("iothub-messageid", "a b")], 1, 400, "ArgumentInvalid", "message-id"),
    ] {
        let answer = client.service("POST", target, headers, vec![b'x'; size]).await;
        answer.refused(status, code, words);
    }
    for _ in 0..50 {
        client.send(&[], "x").await;
    }
    let answer = client.service("POST", COMMANDS, &[], "x").await;
    answer.refused(403, "DeviceMaximumQueueDepthExceeded", "50 commands wait");
}

#[tokio::test(start_paused = true)]
async fn pages_follow_each_other() {
    let client = Client::new().await;
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(client.send(&[], "x").await);
    }
    sent.reverse();
    let first = client.get("/api/v1/commands?limit=2").await;
    let next = first["next"].as_str().unwrap().to_owned();
    let second = client.get(&format!("{COMMANDS}?limit=2&before={next}")).await;
    let third = client.get(&format!("/api/v1/commands?device=D&limit=2&before={}", second["next"].as_str().unwrap())).await;
    assert_eq!([ids(&first), ids(&second), ids(&third)].concat(), sent);
    assert_eq!(third["next"], Value::Null);
    assert!(ids(&client.get("/api/v1/commands?device=another").await).is_empty());

    settle(&client, "DELETE", &client.receive().await, "").await;
    settle(&client, "DELETE", &client.receive().await, "?reject").await;
    for (state, count) in [("pending", 3), ("Completed", 1), ("rejected,COMPLETED", 2), ("DeadLettered", 1), ("expired", 0)] {
        assert_eq!(ids(&client.get(&format!("/api/v1/commands?state={state}")).await).len(), count, "{state}");
    }
    for (query, words) in [
        ("limit=0", "limit is"),
        ("limit=1001", "limit is"),
        ("before=x", "before is"),
        ("state=pending,expired", "state is"),
        ("device=a%20b", "not ' '"),
        ("limit=1&limit=2", "duplicate field"),
    ] {
        client.service("GET", &format!("/api/v1/commands?{query}"), &[], Payload::empty()).await.refused(400, "ArgumentInvalid", words);
    }
}

#[tokio::test(start_paused = true)]
async fn content_can_be_saved_and_not_shown() {
    let client = Client::new().await;
    let headers = [("iothub-contenttype", "text/html"), ("iothub-contentencoding", "gzip"), ("iothub-app-Colour", "grün")];
    let id = client.send(&headers, "<script>").await;
    let answer = client.service("GET", &format!("/api/v1/commands/{id}/content"), &[], Payload::empty()).await.expect(200);
    assert_eq!(answer.body, "<script>");
    for (name, value) in [
        ("content-type", "text/html"),
        ("content-disposition", "attachment"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("iothub-contentencoding", "gzip"),
        ("iothub-app-colour", "grün"),
    ] {
        assert_eq!(answer.header(name), value);
    }
    assert!(!answer.headers.contains_key("content-encoding"), "no browser is to unpack what somebody says is packed");
    settle(&client, "DELETE", &client.receive().await, "").await;
    let answer = client.service("GET", &format!("/api/v1/commands/{id}/content"), &[], Payload::empty()).await;
    answer.refused(404, "CommandNotFound", "is not kept");
    for id in ["4711", "x", "-1", "%ff"] {
        for end in ["", "/content"] {
            let answer = client.service("GET", &format!("/api/v1/commands/{id}{end}"), &[], Payload::empty()).await;
            assert_eq!((answer.status.as_u16(), answer.header("iothub-errorcode")), (404, "CommandNotFound"), "{id}{end}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_lettered_command_is_sent_again_with_its_content() {
    let client = Client::new().await;
    let id = client.send(&[("iothub-messageid", "m"), ("iothub-ack", "negative"), ("iothub-app-k", "v")], "x").await;
    let again = format!("/api/v1/commands/{id}/send-again");
    client.service("POST", &again, &[], Payload::empty()).await.refused(409, "InvalidOperation", "has not ended");
    settle(&client, "DELETE", &client.receive().await, "?reject=true").await;
    assert_eq!(client.get(&format!("/api/v1/commands/{id}")).await["canBeSentAgain"], true);

    let answer = client.policy("iothubowner", "POST", &again, &[], Payload::empty()).await.expect(201);
    let new = answer.json();
    assert_eq!((&new["againOf"], &new["sentBy"], &new["ack"]), (&id.as_str().into(), &"iothubowner".into(), &"negative".into()));
    assert_eq!(answer.header("location"), format!("/api/v1/commands/{}", new["id"].as_str().unwrap()));
    let delivery = client.receive().await.expect(200);
    assert_eq!((&delivery.body[..], delivery.header("iothub-app-k")), (&b"x"[..], "v"));
    settle(&client, "DELETE", &delivery, "").await;

    let completed = format!("/api/v1/commands/{}/send-again", new["id"].as_str().unwrap());
    client.service("POST", &completed, &[], Payload::empty()).await.refused(409, "InvalidOperation", "ended as Completed");
    client.service("POST", "/api/v1/commands/4711/send-again", &[], Payload::empty()).await.refused(404, "CommandNotFound", "4711");
}

#[tokio::test(start_paused = true)]
async fn a_purge_says_how_many_there_were() {
    let client = Client::new().await;
    for _ in 0..3 {
        client.send(&[], "x").await;
    }
    client.receive().await.expect(200);
    let answer = client.service("DELETE", "/devices/D/commands?api-version=2021-04-12", &[], Payload::empty()).await.expect(200);
    assert_eq!(answer.json(), json!({"totalMessagesPurged": 3, "deviceId": "D", "moduleId": null}));
    assert_eq!(ids(&client.get("/api/v1/commands?state=Purged").await).len(), 3);
    let answer = client.service("DELETE", "/devices/nobody/commands", &[], Payload::empty()).await;
    answer.refused(404, "DeviceNotFound", "nobody");
}

#[tokio::test(start_paused = true)]
async fn only_a_back_end_may() {
    let client = Client::new().await;
    let id = client.send(&[], "x").await;
    for (method, target) in [
        ("POST", COMMANDS.to_owned()),
        ("GET", COMMANDS.to_owned()),
        ("GET", "/api/v1/commands".to_owned()),
        ("GET", format!("/api/v1/commands/{id}")),
        ("GET", format!("/api/v1/commands/{id}/content")),
        ("POST", format!("/api/v1/commands/{id}/send-again")),
        ("DELETE", "/devices/D/commands".to_owned()),
    ] {
        for policy in ["device", "registryReadWrite", "nobody"] {
            client.policy(policy, method, &target, &[], "x").await.expect(401);
        }
    }
}

#[test]
fn every_step_is_told() {
    let time = UnixMillis(0);
    let told = |kind| serde_json::to_value(StepDocument::of(&Step { time, kind })).unwrap();
    let mqtt = Receiver { protocol: Protocol::Mqtt, connection: Some(ConnectionId(7)) };
    let epoch = "1970-01-01T00:00:00.000Z";
    for (kind, json) in [
        (StepKind::Enqueued, json!({"time": epoch, "step": "Enqueued"})),
        (
            StepKind::Delivered { receiver: mqtt, delivery_count: 3 },
            json!({"time": epoch, "step": "Delivered", "protocol": "mqtt", "connection": "7", "deliveryCount": 3}),
        ),
        (StepKind::Returned(ReturnReason::LockExpired), json!({"time": epoch, "step": "Returned", "reason": "LockExpired"})),
        (
            StepKind::Ended { outcome: Outcome::Completed, receiver: Some(mqtt) },
            json!({"time": epoch, "step": "Completed", "protocol": "mqtt", "connection": "7"}),
        ),
        (StepKind::Ended { outcome: Outcome::Expired, receiver: None }, json!({"time": epoch, "step": "Expired"})),
        (StepKind::ReceiptRead, json!({"time": epoch, "step": "ReceiptRead"})),
        (StepKind::ReceiptLost(ReceiptLoss::QueueFull), json!({"time": epoch, "step": "ReceiptLost", "reason": "QueueFull"})),
        (StepKind::SentAgain(CommandId(9)), json!({"time": epoch, "step": "SentAgain", "as": "9"})),
    ] {
        assert_eq!(told(kind), json);
    }
}
