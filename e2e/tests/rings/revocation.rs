//! Out means out: once the call that shuts a device out has returned, nothing more of it is taken, and its connections are closed.

use anyhow::{Context, Result, ensure};
use e2e::events::Events;
use e2e::hub::Hub;
use e2e::mqtt::{Connect, Connection, Packet, events_topic, publish};
use e2e::namespace::isolated;
use e2e::program::Program;
use e2e::rest::Rest;
use reqwest::Method;
use serde_json::json;

const DEVICE: &str = "door-1";
const BYSTANDER: &str = "door-2";

/// Ways to shut a device out.
#[derive(Clone, Copy, Debug)]
enum Way {
    Disable,
    Delete,
    ReplaceBothKeys,
}

async fn shut_out(hub: &Hub, way: Way) -> Result<()> {
    let owner = Rest::owner(hub)?;
    match way {
        Way::Disable => owner.disable(DEVICE).await.map(drop),
        Way::Delete => {
            let path = format!("/devices/{DEVICE}");
            owner.call(Method::DELETE, &path, &[("If-Match", "*")], Vec::new()).await?.expect(204).map(drop)
        }
        Way::ReplaceBothKeys => {
            let fresh = json!({"primaryKey": "AAECAwQFBgcICQoLDA0ODw==", "secondaryKey": "Dw4NDAsKCQgHBgUEAwIBAA=="});
            owner.change(DEVICE, |identity| identity["authentication"]["symmetricKey"] = fresh).await.map(drop)
        }
    }
}

#[test]
fn disabling_closes_and_nothing_later_gets_through() -> Result<()> {
    isolated(async || nothing_later_gets_through(Way::Disable).await)
}

#[test]
fn deleting_closes_and_nothing_later_gets_through() -> Result<()> {
    isolated(async || nothing_later_gets_through(Way::Delete).await)
}

#[test]
fn key_rotation_closes_and_nothing_later_gets_through() -> Result<()> {
    isolated(async || nothing_later_gets_through(Way::ReplaceBothKeys).await)
}

/// The device sends as the call returns, on the connection that it has and over HTTPS; a bystander is not disturbed.
async fn nothing_later_gets_through(way: Way) -> Result<()> {
    let hub = Hub::start(&[DEVICE, BYSTANDER]).await?;
    let https = Rest::new(&hub, hub.device(DEVICE)?)?;
    let mut connection = Connection::admitted(&hub, DEVICE).await?;
    let mut bystander = Connection::admitted(&hub, BYSTANDER).await?;
    connection.publish(&events_topic(DEVICE), 1, b"before").await?;

    shut_out(&hub, way).await?;
    // The hub may have closed already, and then the bytes are not even taken.
    let _ = connection.send(&publish(&events_topic(DEVICE), Some(2), b"after", 0)).await;
    let packets = connection.packets_until_closed().await?;
    ensure!(!packets.contains(&Packet::PubAck(2)), "{way:?}: acknowledged after it had returned");
    https.send(b"after").await?.expect(401)?;
    let mut again = Connection::open(&hub).await?;
    again.send(&Connect::device(&hub.device(DEVICE)?).encode()).await?;
    ensure!(again.bytes_until_closed().await? == [0x20, 2, 0, 5], "{way:?}: let in again");

    bystander.publish(&events_topic(BYSTANDER), 1, b"undisturbed").await?;
    let kept = Events::all(&hub).await?;
    let payloads = kept.iter().map(e2e::events::Event::bytes).collect::<Result<Vec<_>>>()?;
    ensure!(!payloads.iter().any(|payload| payload == b"after"), "{way:?}: kept after it had returned");
    ensure!(payloads.len() == 2, "{way:?}: {payloads:?}");
    Ok(())
}

/// Replacing the key that a device does not use leaves it alone: that is what the second slot is for.
#[test]
fn rotating_the_other_key_disturbs_nobody() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let owner = Rest::owner(&hub)?;
        let keys = owner.device(DEVICE).await?["authentication"]["symmetricKey"].clone();
        let mut connection = Connection::admitted(&hub, DEVICE).await?;
        let used = hub.device(DEVICE)?.key;
        let other = if keys["primaryKey"] == used { "secondaryKey" } else { "primaryKey" };
        let fresh = "AAECAwQFBgcICQoLDA0ODw==";
        owner.change(DEVICE, |identity| identity["authentication"]["symmetricKey"][other] = json!(fresh)).await?;
        connection.publish(&events_topic(DEVICE), 1, b"still here").await?;

        // The device moves to the fresh key, and the old one is retired.
        let moved = hub.device(DEVICE)?.with_key(fresh);
        let mut connection = Connection::admitted_as(&hub, &Connect::device(&moved)).await?;
        let swapped = if other == "primaryKey" { "secondaryKey" } else { "primaryKey" };
        owner.change(DEVICE, |identity| identity["authentication"]["symmetricKey"][swapped] = json!("Dw4NDAsKCQgHBgUEAwIBAA==")).await?;
        connection.publish(&events_topic(DEVICE), 1, b"and still").await?;
        Rest::new(&hub, hub.device(DEVICE)?)?.send(b"old key").await?.expect(401)?;
        Ok(())
    })
}

#[test]
fn python_device_learns_that_it_is_disabled() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        sdk_learns(&hub, Program::python("live.py", &hub)?).await
    })
}

#[test]
fn node_device_learns_that_it_is_disabled() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        sdk_learns(&hub, Program::node("live.js", &hub)?.env("TRANSPORT", "mqtt")).await
    })
}

/// An SDK's device sends, is disabled, notices, and sends in vain until it is enabled again.
async fn sdk_learns(hub: &Hub, script: Program) -> Result<()> {
    let mut device = script.env("IOTHUB_DEVICE_CONNECTION_STRING", hub.device(DEVICE)?.text).start()?;
    device.until("connected").await?;
    device.tell("before").await?;
    device.until("sent").await?;
    let owner = Rest::owner(hub)?;
    ensure!(owner.device(DEVICE).await?["connectionState"] == "Connected", "the registry does not know that it is here");
    owner.disable(DEVICE).await?;
    device.until("disconnected").await?;
    device.tell("after").await?;
    device.until("failed").await?;
    device.end().await?;
    let kept = Events::all(hub).await?;
    ensure!(kept.len() == 1 && kept[0].bytes()? == b"before", "{kept:?}");
    let identity = owner.device(DEVICE).await?;
    ensure!(identity["connectionState"] == "Disconnected", "{identity}");
    identity["lastActivityTime"].as_str().filter(|time| !time.starts_with("0001")).context("no lastActivityTime")?;
    Ok(())
}
