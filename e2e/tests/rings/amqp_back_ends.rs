//! Back ends over AMQP, on 5671 and through a WebSocket: azure-iothub for Node.js and azure-iot-hub for Python, both unmodified, send
//! commands, hear why one is not taken, and receive what has become of them.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use e2e::commands::{BackEnd, step_names};
use e2e::connection_string::{now_s, percent_encode};
use e2e::hub::{Hub, Ready};
use e2e::namespace::isolated;
use e2e::program::{Actor, Program};
use e2e::rest::Rest;
use reqwest::Method;
use serde_json::{Value, json};

const DEVICE: &str = "valve-1";

/// An id that Node's SDK encodes and Python's does not.
const ODD: &str = "a%41:b";

/// The hub's default queue depth, and Azure's.
const QUEUE_DEPTH: usize = 50;

const TWO_DAYS_S: u64 = 2 * 24 * 60 * 60;

fn node(hub: &Ready, transport: &str, policy: &str) -> Result<Actor> {
    let script = Program::node("back_end_amqp.js", hub)?.env("TRANSPORT", transport);
    script.env("IOTHUB_CONNECTION_STRING", hub.policy(policy)?.text).start()
}

async fn receiving(hub: &Ready, transport: &str) -> Result<Actor> {
    let mut back_end = node(hub, transport, "service")?;
    back_end.tell("receive").await?;
    back_end.until("receiving").await?;
    Ok(back_end)
}

/// Tells the back end to send a command of which every receipt is wanted.
async fn send(back_end: &mut Actor, message_id: &str, more: Value) -> Result<()> {
    let mut told = json!({ "device": DEVICE, "data": "x", "messageId": message_id, "ack": "full" });
    let more = more.as_object().context("an object")?;
    more.iter().for_each(|(name, value)| told[name] = value.clone());
    back_end.tell(&told.to_string()).await
}

async fn is_sent(back_end: &mut Actor, message_id: &str) -> Result<()> {
    let answer = back_end.next().await?;
    ensure!(answer == json!({ "event": "sent", "messageId": message_id }), "{answer}");
    Ok(())
}

async fn is_refused(back_end: &mut Actor, message_id: &str, error: &str) -> Result<()> {
    let answer = back_end.next().await?;
    ensure!(answer == json!({ "event": "refused", "messageId": message_id, "error": error }), "{answer}");
    Ok(())
}

async fn has_receipt(back_end: &mut Actor, message_id: &str, status: &str) -> Result<()> {
    let receipt = back_end.until("receipt").await?;
    for (name, wanted) in [
        ("originalMessageId", message_id),
        ("statusCode", status),
        ("description", status),
        ("deviceId", DEVICE),
        ("contentType", "application/vnd.microsoft.iothub.feedback.json"),
    ] {
        ensure!(receipt[name] == wanted, "{name} of {receipt}");
    }
    let time = receipt["enqueuedTimeUtc"].as_str().unwrap_or_default();
    ensure!(time.len() == "2026-11-23T03:00:00.0000000Z".len() && time.ends_with('Z'), "{receipt}");
    Ok(())
}

/// The newest command of a device.
async fn newest(hub: &Ready, device: &str) -> Result<Value> {
    let rest = Rest::api(hub, hub.policy("service")?)?;
    let path = format!("/api/v1/devices/{}/commands?limit=1", percent_encode(device));
    let page = rest.call(Method::GET, &path, &[], Vec::new()).await?.expect(200)?.json()?;
    Ok(page["commands"][0].clone())
}

#[test]
fn node_back_end_commands_and_hears_over_amqp() -> Result<()> {
    node_commands_and_hears("amqp")
}

#[test]
fn node_back_end_commands_and_hears_over_websocket() -> Result<()> {
    node_commands_and_hears("amqp-ws")
}

/// A device completes, rejects and abandons, and the back end hears of each.
fn node_commands_and_hears(transport: &'static str) -> Result<()> {
    isolated(async move || {
        let hub = Hub::start(&[DEVICE, ODD]).await?;
        let mut back_end = receiving(&hub, transport).await?;
        let script = Program::node("settle.js", &hub)?.env("TRANSPORT", "http");
        let mut device = script.env("IOTHUB_DEVICE_CONNECTION_STRING", hub.device(DEVICE)?.text).start()?;
        let more = json!({
            "data": "{\"open\":true}",
            "correlationId": "c-1",
            "contentType": "application/json",
            "properties": { "level": "high", "note": "50%+ & more" },
        });
        send(&mut back_end, "m-1", more).await?;
        is_sent(&mut back_end, "m-1").await?;
        let received = device.until("received").await?;
        for (name, wanted) in [("data", "{\"open\":true}"), ("messageId", "m-1"), ("correlationId", "c-1")] {
            ensure!(received[name] == wanted, "{name} of {received}");
        }
        ensure!(received["properties"] == json!({"iothub-app-level": "high", "iothub-app-note": "50%+ & more"}), "{received}");
        device.tell("complete").await?;
        has_receipt(&mut back_end, "m-1", "Success").await?;

        send(&mut back_end, "m-2", json!({ "expiry": (now_s() + 3600) * 1000 })).await?;
        is_sent(&mut back_end, "m-2").await?;
        device.tell("reject").await?;
        has_receipt(&mut back_end, "m-2", "Rejected").await?;

        send(&mut back_end, "m-3", json!({})).await?;
        is_sent(&mut back_end, "m-3").await?;
        device.tell("abandon").await?;
        device.tell("complete").await?;
        has_receipt(&mut back_end, "m-3", "Success").await?;
        let history = BackEnd::new(&hub)?.history(newest(&hub, DEVICE).await?["id"].as_str().context("an id")?).await?;
        ensure!(step_names(&history).starts_with(&["Enqueued", "Delivered", "Returned", "Delivered", "Completed"]), "{history}");
        ensure!(history["sentBy"] == "service", "{history}");

        send(&mut back_end, "m-4", json!({ "device": ODD })).await?;
        is_sent(&mut back_end, "m-4").await?;
        ensure!(newest(&hub, ODD).await?["messageId"] == "m-4", "it went to another device");
        ensure!(back_end.end().await?.success());
        Ok(())
    })
}

#[test]
fn node_back_end_hears_why_over_amqp() -> Result<()> {
    node_hears_why("amqp")
}

#[test]
fn node_back_end_hears_why_over_websocket() -> Result<()> {
    node_hears_why("amqp-ws")
}

/// What is not taken, in the SDK's own errors; and the receipts of a queue that is emptied.
fn node_hears_why(transport: &'static str) -> Result<()> {
    isolated(async move || {
        let hub = Hub::start(&[DEVICE]).await?;
        let mut back_end = receiving(&hub, transport).await?;
        let far = (now_s() + TWO_DAYS_S + 60) * 1000;
        for (more, error) in [
            (json!({ "device": "nobody" }), "DeviceNotFoundError"),
            (json!({ "bytes": 65 * 1024 }), "MessageTooLargeError"),
            (json!({ "expiry": far }), "ArgumentError"),
            (json!({ "properties": { "no name": "x" } }), "ArgumentError"),
        ] {
            send(&mut back_end, "m", more).await?;
            is_refused(&mut back_end, "m", error).await?;
        }
        // All at once: each is answered, in its order.
        for number in 0..=QUEUE_DEPTH {
            send(&mut back_end, &number.to_string(), json!({})).await?;
        }
        for number in 0..QUEUE_DEPTH {
            is_sent(&mut back_end, &number.to_string()).await?;
        }
        is_refused(&mut back_end, &QUEUE_DEPTH.to_string(), "DeviceMaximumQueueDepthExceededError").await?;
        let service = Rest::new(&hub, hub.policy("service")?)?;
        service.call(Method::DELETE, &format!("/devices/{DEVICE}/commands"), &[], Vec::new()).await?.expect(200)?;
        for number in 0..QUEUE_DEPTH {
            has_receipt(&mut back_end, &number.to_string(), "Purged").await?;
        }
        ensure!(back_end.end().await?.success());

        for policy in ["device", "registryRead"] {
            let mut sender = node(&hub, transport, policy)?;
            send(&mut sender, "m", json!({})).await?;
            is_refused(&mut sender, "m", "UnauthorizedError").await?;
            // The SDK takes a link for attached before it hears that it is not, and asks for the next.
            let mut receiver = node(&hub, transport, policy)?;
            receiver.tell("receive").await?;
            ensure!(receiver.until("no files").await?["error"] == "UnauthorizedError");
        }
        Ok(())
    })
}

#[test]
fn python_back_end_commands_over_amqp() -> Result<()> {
    python_commands(|hub| Program::python("send_commands.py", hub))
}

#[test]
fn python_back_end_commands_over_websocket() -> Result<()> {
    python_commands(|hub| Ok(Program::python("send_commands.py", hub)?.env("WEBSOCKETS", "1")))
}

/// To a device that has the same maker's SDK, over MQTT.
fn python_commands(script: fn(&Hub) -> Result<Program>) -> Result<()> {
    isolated(async move || {
        let hub = Hub::start(&[DEVICE, ODD]).await?;
        let mut device = Program::python("commands.py", &hub)?.env("IOTHUB_DEVICE_CONNECTION_STRING", hub.device(DEVICE)?.text).start()?;
        let mut back_end = script(&hub)?.env("IOTHUB_CONNECTION_STRING", hub.policy("service")?.text).start()?;
        device.until("subscribed").await?;
        let properties = json!({
            "messageId": "m-1",
            "correlationId": "c-1",
            "contentType": "application/json",
            "contentEncoding": "utf-8",
            "expiryTimeUtc": (now_s() + 3600) * 1000,
            "iothub-ack": "full",
            "level": "high",
        });
        back_end.tell(&json!({ "device": DEVICE, "data": "{\"open\":true}", "properties": properties }).to_string()).await?;
        back_end.until("sent").await?;
        let command = device.until("command").await?;
        for (name, wanted) in [("messageId", "m-1"), ("correlationId", "c-1"), ("contentType", "application/json"), ("ack", "full")] {
            ensure!(command[name] == wanted, "{name} of {command}");
        }
        ensure!(BASE64_STANDARD.decode(command["bodyBase64"].as_str().context("no body")?)? == br#"{"open":true}"#, "{command}");
        ensure!(command["properties"]["level"] == "high", "{command}");
        let receipt = &BackEnd::new(&hub)?.receipts(1).await?[0];
        ensure!(receipt["originalMessageId"] == "m-1" && receipt["statusCode"] == "Success", "{receipt}");

        back_end.tell(&json!({ "device": "nobody", "data": "x", "properties": {} }).to_string()).await?;
        // It tells no reasons.
        ensure!(back_end.until("refused").await?["error"] == "C2D message send failure");
        back_end.tell(&json!({ "device": ODD, "data": "x", "properties": { "messageId": "odd" } }).to_string()).await?;
        back_end.until("sent").await?;
        ensure!(newest(&hub, ODD).await?["messageId"] == "odd", "it went to another device");
        ensure!(back_end.end().await?.success());
        Ok(())
    })
}
