//! Azure's Node.js device over AMQP and AMQP over WebSocket, unmodified: what it receives and settles, when it is not let in or is sent
//! away, and what is known of it. (What it sends is in `device_sdks`, with a certificate in `x509`.)

use anyhow::{Context, Result, ensure};
use e2e::catalogue::LARGEST_BYTES;
use e2e::changes::Changes;
use e2e::commands::{BackEnd, step_names};
use e2e::connection_string::now_s;
use e2e::events::Events;
use e2e::hub::Hub;
use e2e::namespace::isolated;
use e2e::program::{Actor, Program};
use e2e::rest::Rest;
use reqwest::Method;
use serde_json::{Value, json};

use crate::refusals::{self, bad_credentials, expect_refusal};

const DEVICE: &str = "crane-1";
const TRANSPORTS: [&str; 2] = ["amqp", "amqp-ws"];

/// Longer than the hub lets a token outlive its own time.
const TOLERANCE_S: u64 = 6;

fn script(hub: &Hub, name: &str, transport: &str) -> Result<Program> {
    let script = Program::node(name, hub)?.env("TRANSPORT", transport);
    Ok(script.env("IOTHUB_DEVICE_CONNECTION_STRING", hub.device(DEVICE)?.text))
}

/// A device that has said so much that the hub knows it is there.
async fn live(hub: &Hub, transport: &str) -> Result<Actor> {
    let mut device = script(hub, "live.js", transport)?.start()?;
    device.until("connected").await?;
    device.tell("here").await?;
    device.until("sent").await?;
    Ok(device)
}

/// A command of which every receipt is wanted; answers the hub's id of it.
async fn send(back_end: &BackEnd, message_id: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<String> {
    back_end.send(DEVICE, &[&[("iothub-messageid", message_id), ("iothub-ack", "full")], headers].concat(), body).await
}

async fn connections(hub: &Hub) -> Result<Vec<Value>> {
    let path = format!("/api/v1/devices/{DEVICE}/connections");
    let page = Rest::api(hub, hub.policy("registryRead")?)?.call(Method::GET, &path, &[], Vec::new()).await?.expect(200)?.json()?;
    page["connections"].as_array().cloned().context("no connections")
}

#[test]
fn node_device_settles_commands_over_amqp() -> Result<()> {
    isolated(async || settles_commands("amqp").await)
}

#[test]
fn node_device_settles_commands_over_websocket() -> Result<()> {
    isolated(async || settles_commands("amqp-ws").await)
}

/// One command waits before the device has ever been there; one is rejected; one is given back and taken the second time; one waits while
/// the hub starts again, and the device comes back by itself.
async fn settles_commands(transport: &str) -> Result<()> {
    let mut hub = Hub::start(&[DEVICE]).await?;
    let back_end = BackEnd::new(&hub)?;
    let headers = [
        ("iothub-correlationid", "c-1"),
        ("iothub-contenttype", "application/json"),
        ("iothub-contentencoding", "utf-8"),
        ("iothub-app-level", "high"),
        ("iothub-app-note", "50%+ & more; \u{e9}\u{1f600}"),
    ];
    let completed = send(&back_end, "m-1", &headers, b"{\"up\":true}").await?;
    let mut device = script(&hub, "settle.js", transport)?.start()?;
    let received = device.until("received").await?;
    for (name, expected) in [
        ("data", json!("{\"up\":true}")),
        ("messageId", json!("m-1")),
        ("correlationId", json!("c-1")),
        ("contentType", json!("application/json")),
        ("contentEncoding", json!("utf-8")),
        ("ack", json!("full")),
        ("to", json!(format!("/devices/{DEVICE}/messages/deviceBound"))),
        ("properties", json!({"level": "high", "note": "50%+ & more; \u{e9}\u{1f600}"})),
    ] {
        ensure!(received[name] == expected, "{name}: {received}");
    }
    settle(&mut device, "complete").await?;

    let rejected = send(&back_end, "m-2", &[], b"x").await?;
    device.until("received").await?;
    settle(&mut device, "reject").await?;

    let abandoned = send(&back_end, "m-3", &[], b"x").await?;
    device.until("received").await?;
    device.tell("abandon").await?;
    // That it comes again may be heard before the abandoning is reported.
    device.until("received").await?;
    settle(&mut device, "complete").await?;

    // The SDK reports what it has sent; the hub has heard of it once there is a receipt.
    let mut receipts = back_end.receipts(3).await?;
    hub.stop().await?;
    hub.restart().await?;
    let after = send(&back_end, "m-4", &[], b"x").await?;
    let received = device.until("received").await.context("the device did not come back")?;
    ensure!(received["messageId"] == "m-4", "{received}");
    settle(&mut device, "complete").await?;

    receipts.extend(back_end.receipts(1).await?);
    let told: Vec<_> = receipts.iter().map(|receipt| (&receipt["originalMessageId"], &receipt["statusCode"])).collect();
    let wanted = [("m-1", "Success"), ("m-2", "Rejected"), ("m-3", "Success"), ("m-4", "Success")];
    ensure!(told == wanted.map(|(id, code)| (json!(id), json!(code))).each_ref().map(|(id, code)| (id, code)), "{receipts:?}");
    for (id, steps) in [
        (completed, &["Enqueued", "Delivered", "Completed", "ReceiptRead"][..]),
        (rejected, &["Enqueued", "Delivered", "Rejected", "ReceiptRead"]),
        (abandoned, &["Enqueued", "Delivered", "Returned", "Delivered", "Completed", "ReceiptRead"]),
        (after, &["Enqueued", "Delivered", "Completed", "ReceiptRead"]),
    ] {
        let history = back_end.history(&id).await?;
        ensure!(step_names(&history) == steps, "{history}");
    }
    Ok(())
}

async fn settle(device: &mut Actor, how: &str) -> Result<()> {
    device.tell(how).await?;
    let settled = device.until("settled").await?;
    ensure!(settled["how"] == how, "{settled}");
    Ok(())
}

#[test]
fn node_device_is_refused_over_amqp() -> Result<()> {
    isolated(async || is_refused("amqp").await)
}

#[test]
fn node_device_is_refused_over_websocket() -> Result<()> {
    isolated(async || is_refused("amqp-ws").await)
}

async fn is_refused(transport: &str) -> Result<()> {
    let hub = refusals::hub().await?;
    for (what, credential) in bad_credentials(&hub)? {
        let script = Program::node("refused.js", &hub)?.env("TRANSPORT", transport);
        expect_refusal(what, &script.env("IOTHUB_DEVICE_CONNECTION_STRING", &credential.text).story().await?, "UnauthorizedError")?;
    }
    let device = hub.device(refusals::DEVICE)?;
    let expired = device.token_until(now_s() - refusals::LONG_AGO_S);
    let script = Program::node("refused.js", &hub)?.env("TRANSPORT", transport).env("SAS_TOKEN", expired);
    expect_refusal("expired token", &script.story().await?, "UnauthorizedError")?;
    let script = Program::node("refused.js", &hub)?.env("TRANSPORT", transport).env("IOTHUB_DEVICE_CONNECTION_STRING", &device.text);
    let oversized = script.env("PAYLOAD_BYTES", (LARGEST_BYTES + 1).to_string());
    expect_refusal("oversized", &oversized.story().await?, "MessageTooLargeError")?;
    refusals::nothing_came(&hub).await
}

/// Whatever shuts a device out closes its connection at once, and its SDK says so, with or without commands.
#[test]
fn node_device_learns_that_it_is_shut_out() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let owner = Rest::owner(&hub)?;
        for transport in TRANSPORTS {
            let mut sender = live(&hub, transport).await?;
            ensure!(owner.device(DEVICE).await?["connectionState"] == "Connected", "the registry does not know that it is here");
            owner.disable(DEVICE).await?;
            sender.until("disconnected").await?;
            sender.tell("after").await?;
            let failed = sender.until("failed").await?;
            ensure!(failed["error"] == "UnauthorizedError", "{failed}");
            sender.end().await?;
            ensure!(owner.device(DEVICE).await?["connectionState"] == "Disconnected", "the registry believes that it is here");

            owner.change(DEVICE, |identity| identity["status"] = json!("enabled")).await?;
            let mut watcher = Changes::open(&hub, "kinds=presence").await?.until_live().await?;
            let mut receiver = script(&hub, "settle.js", transport)?.start()?;
            receiver.until("open").await?;
            watcher.next_of("presence").await?;
            owner.disable(DEVICE).await?;
            receiver.until("disconnected").await?;
            owner.change(DEVICE, |identity| identity["status"] = json!("enabled")).await?;
        }
        let kept = Events::all(&hub).await?;
        ensure!(kept.len() == TRANSPORTS.len(), "something was kept afterwards: {kept:?}");
        let path = format!("/devices/{DEVICE}");
        let mut device = live(&hub, "amqp").await?;
        owner.call(Method::DELETE, &path, &[("If-Match", "*")], Vec::new()).await?.expect(204)?;
        device.until("disconnected").await?;
        Ok(())
    })
}

/// A connection lives as long as there is a token that has not run out: with renewals for ever, without them to the token's end.
#[test]
fn node_device_renews_its_token_on_a_living_connection() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let back_end = BackEnd::new(&hub)?;
        for (number, transport) in TRANSPORTS.into_iter().enumerate() {
            let mut device = script(&hub, "renewal.js", transport)?.start()?;
            device.until("connected").await?;
            device.tell("first").await?;
            device.until("sent").await?;
            let first_ends_s = now_s() + 2;
            while now_s() <= first_ends_s + TOLERANCE_S {
                let told = device.next().await?;
                ensure!(told["event"] == "renewed", "{told}");
            }
            device.tell("later").await?;
            device.until("sent").await?;
            send(&back_end, &format!("m-{number}"), &[], b"x").await?;
            device.until("completed").await?;
            device.end().await?;
            ensure!(connections(&hub).await?.len() == number + 1, "it has connected again: {:?}", connections(&hub).await?);
        }

        let expiry_s = now_s() + 2;
        let script = Program::node("live.js", &hub)?.env("TRANSPORT", "amqp").env("SAS_TOKEN", hub.device(DEVICE)?.token_until(expiry_s));
        let mut device = script.start()?;
        device.until("connected").await?;
        device.tell("in time").await?;
        device.until("sent").await?;
        device.until("disconnected").await?;
        ensure!(now_s() >= expiry_s, "the session ended before its token did");
        let connections = connections(&hub).await?;
        ensure!(connections[0]["reason"] == "TokenExpired", "{connections:?}");
        Ok(())
    })
}

/// Every connect and disconnect is told at once, with protocol and reason, and kept.
#[test]
fn presence_of_a_node_device_over_amqp() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let mut watcher = Changes::open(&hub, "kinds=presence").await?.until_live().await?;
        for transport in TRANSPORTS {
            // It closes its connection in good order.
            let messages = tempfile::NamedTempFile::new()?;
            std::fs::write(messages.path(), json!([{"name": "one", "properties": {}, "bodyBase64": ""}]).to_string())?;
            script(&hub, "send.js", transport)?.env("MESSAGES", messages.path()).story().await?;
            expect(&mut watcher, "connected", true).await?;
            expect(&mut watcher, "ClientDisconnected", false).await?;

            let mut older = live(&hub, transport).await?;
            expect(&mut watcher, "connected", true).await?;
            let mut newer = live(&hub, transport).await?;
            expect(&mut watcher, "connected", true).await?;
            expect(&mut watcher, "TakenOver", true).await?;
            older.until("disconnected").await?;
            // It ends without a word.
            newer.end().await?;
            expect(&mut watcher, "ConnectionLost", false).await?;
        }
        let kept = connections(&hub).await?;
        let kept: Vec<_> = kept.iter().rev().map(|one| (one["protocol"].as_str(), one["reason"].as_str())).collect();
        let wanted = |transport| ["ClientDisconnected", "TakenOver", "ConnectionLost"].map(|reason| (Some(transport), Some(reason)));
        ensure!(kept == TRANSPORTS.map(wanted).concat(), "{kept:?}");
        Ok(())
    })
}

async fn expect(watcher: &mut Changes, what: &str, connected: bool) -> Result<()> {
    let change = watcher.next_of("presence").await.with_context(|| format!("waiting for {what}"))?.data;
    let told = change["reason"].as_str().or(change["state"].as_str()).unwrap_or_default();
    ensure!(told == what && change["deviceConnected"] == connected, "{change} instead of {what}");
    Ok(())
}
