//! Commands over MQTT and MQTT over WebSocket: unmodified device SDKs and mosquitto's client get them as they were sent, and what they
//! acknowledge is in the receipts.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use e2e::commands::{BackEnd, step_names};
use e2e::hub::Hub;
use e2e::mqtt::{Connection, DISCONNECT, PING, Packet, commands_filter, puback};
use e2e::namespace::{HUB, isolated};
use e2e::program::{Actor, Program};
use e2e::rest::Rest;
use serde_json::{Value, json};

const DEVICE: &str = "thermostat-1";

/// What a client must give back as it was sent.
const SPACED: &str = "two words";
const ODD: &str = "a/b?c&d=e+f%20#g;\u{e9}\u{1f600}";

#[test]
fn python_device_takes_commands_over_mqtt() -> Result<()> {
    sdk_takes_commands(|hub| Program::python("commands.py", hub), PYTHON)
}

#[test]
fn python_device_takes_commands_over_websocket() -> Result<()> {
    sdk_takes_commands(|hub| Ok(Program::python("commands.py", hub)?.env("WEBSOCKETS", "1")), PYTHON)
}

#[test]
fn node_device_takes_commands_over_mqtt() -> Result<()> {
    sdk_takes_commands(|hub| Ok(Program::node("commands.js", hub)?.env("TRANSPORT", "mqtt")), NODE)
}

#[test]
fn node_device_takes_commands_over_websocket() -> Result<()> {
    sdk_takes_commands(|hub| Ok(Program::node("commands.js", hub)?.env("TRANSPORT", "mqtt-ws")), NODE)
}

/// Where an SDK puts what the sender wants to be told: Python reads it, Node.js leaves it among the properties.
type Acknowledgement = fn(&Value) -> &Value;
const PYTHON: Acknowledgement = |command| &command["ack"];
const NODE: Acknowledgement = |command| &command["properties"]["iothub-ack"];

/// One command waits for the device before it has ever been there; one comes while it is connected; one after the SDK has come back by
/// itself. Each has its receipt.
fn sdk_takes_commands(script: fn(&Hub) -> Result<Program>, ack: Acknowledgement) -> Result<()> {
    isolated(async move || {
        let hub = Hub::start(&[DEVICE]).await?;
        let back_end = BackEnd::new(&hub)?;
        let headers = [
            ("iothub-ack", "full"),
            ("iothub-messageid", "m-1"),
            ("iothub-correlationid", "c 1"),
            ("iothub-userid", "operator"),
            ("iothub-contenttype", "application/json"),
            ("iothub-contentencoding", "utf-8"),
            ("iothub-app-spaced", SPACED),
            ("iothub-app-odd", ODD),
        ];
        let first = back_end.send(DEVICE, &headers, br#"{"on":true}"#).await?;
        let connection_string = hub.device(DEVICE)?.text;
        let mut device = script(&hub)?.env("IOTHUB_DEVICE_CONNECTION_STRING", &connection_string).start()?;

        let command = device.until("command").await?;
        for (name, expected) in [
            ("messageId", "m-1"),
            ("correlationId", "c 1"),
            ("userId", "operator"),
            ("contentType", "application/json"),
            ("contentEncoding", "utf-8"),
        ] {
            ensure!(command[name] == expected, "{name} is {}", command[name]);
        }
        ensure!(body(&command)? == br#"{"on":true}"#, "{command}");
        ensure!(command["properties"]["spaced"] == SPACED && command["properties"]["odd"] == ODD, "{command}");
        ensure!(ack(&command) == "full", "{command}");
        let receipt = &back_end.receipts(1).await?[0];
        ensure!(receipt["originalMessageId"] == "m-1" && receipt["statusCode"] == "Success" && receipt["deviceId"] == DEVICE, "{receipt}");
        let history = back_end.history(&first).await?;
        ensure!(step_names(&history) == ["Enqueued", "Delivered", "Completed", "ReceiptRead"], "{history}");

        // Online; every byte there is, and none at all.
        let bytes: Vec<u8> = (0..=255).collect();
        for payload in [&bytes[..], b""] {
            round_trip(&back_end, &mut device, payload).await?;
        }
        device.still_runs()?;
        device.end().await?;
        Ok(())
    })
}

/// Python's SDK comes back by itself, and relies on the subscription that the hub keeps.
#[test]
fn python_device_comes_back_to_its_commands() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let back_end = BackEnd::new(&hub)?;
        let mut device = Program::python("commands.py", &hub)?.env("IOTHUB_DEVICE_CONNECTION_STRING", hub.device(DEVICE)?.text).start()?;
        device.until("subscribed").await?;
        round_trip(&back_end, &mut device, b"before").await?;
        // Another connection of the device's takes over, and goes: the SDK connects again, whenever it likes.
        drop(Connection::admitted(&hub, DEVICE).await?);
        device.until("disconnected").await?;
        let waiting = back_end.send(DEVICE, &[("iothub-ack", "positive"), ("iothub-messageid", "after")], b"after").await?;
        let command = device.until("command").await?;
        ensure!(body(&command)? == b"after", "{command}");
        ensure!(back_end.receipts(1).await?[0]["originalMessageId"] == "after");
        let history = back_end.history(&waiting).await?;
        ensure!(history["state"] == "Completed", "{history}");
        device.end().await?;
        Ok(())
    })
}

#[test]
fn mosquitto_sub_takes_commands() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let back_end = BackEnd::new(&hub)?;
        let device = hub.device(DEVICE)?;
        let sub = |qos: &str, count: &str| {
            Program::named("mosquitto_sub")
                .args(["-h", HUB, "-p", "8883", "-V", "mqttv311", "-i", device.device(), "-u", &device.user_name(), "-P", &device.token()])
                .arg("--cafile")
                .arg(hub.ca_file())
                .args(["-q", qos, "-C", count, "-F", "%q %t %p", "-t", &commands_filter(DEVICE)])
        };
        for (number, qos) in ["1", "0"].into_iter().enumerate() {
            let message_id = format!("m-{number}");
            let headers = [("iothub-ack", "positive"), ("iothub-messageid", &*message_id), ("iothub-app-odd", ODD)];
            back_end.send(DEVICE, &headers, b"open").await?;
            let printed = String::from_utf8(sub(qos, "1").output().await?)?;
            let topic = format!(
                "devices/{DEVICE}/messages/devicebound/%24.to=%2Fdevices%2F{DEVICE}%2Fmessages%2FdeviceBound&%24.mid={message_id}\
                 &odd=a%2Fb%3Fc%26d%3De%2Bf%2520%23g%3B%C3%A9%F0%9F%98%80&iothub-ack=positive"
            );
            ensure!(printed.trim_end() == format!("{qos} {topic} open"), "{printed}");
            ensure!(back_end.receipts(1).await?[0]["originalMessageId"] == *message_id);
        }
        Ok(())
    })
}

/// The kept subscription, the duplicate flag, and a window that refills.
#[test]
fn what_is_not_acknowledged_comes_again() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let back_end = BackEnd::new(&hub)?;
        let mut connection = Connection::admitted(&hub, DEVICE).await?;
        connection.subscribe_to_commands(DEVICE).await?;
        connection.send(&DISCONNECT).await?;
        connection.packets_until_closed().await?;

        let id = back_end.send(DEVICE, &[("iothub-ack", "full"), ("iothub-messageid", "again")], b"again").await?;
        for again in [false, true, true] {
            // No SUBSCRIBE: the session was kept.
            let mut connection = Connection::admitted(&hub, DEVICE).await?;
            let packet = connection.next().await?.context("closed instead of a command")?;
            let Packet::Publish { id: Some(packet_id), duplicate, payload, .. } = &packet else { anyhow::bail!("{packet:?}") };
            ensure!(*duplicate == again && payload == b"again", "{packet:?}");
            if again && back_end.history(&id).await?["deliveryCount"] == 3 {
                connection.send(&[&puback(*packet_id)[..], &PING].concat()).await?;
                ensure!(connection.next().await? == Some(Packet::PingResp));
            }
        }
        let receipt = &back_end.receipts(1).await?[0];
        ensure!(receipt["statusCode"] == "Success", "{receipt}");
        Ok(())
    })
}

#[test]
fn a_device_that_is_shut_out_settles_nothing() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let back_end = BackEnd::new(&hub)?;
        let mut connection = Connection::admitted(&hub, DEVICE).await?;
        connection.subscribe_to_commands(DEVICE).await?;
        let id = back_end.send(DEVICE, &[("iothub-ack", "full")], b"x").await?;
        let packet = connection.next().await?;
        let Some(Packet::Publish { id: Some(packet_id), .. }) = packet else { anyhow::bail!("{packet:?} instead of a command") };
        Rest::owner(&hub)?.disable(DEVICE).await?;
        // The hub may have closed already.
        let _ = connection.send(&puback(packet_id)).await;
        ensure!(connection.packets_until_closed().await?.is_empty(), "something came after the device was disabled");
        let history = back_end.history(&id).await?;
        ensure!(history["state"] == "Enqueued" && history["deliveryCount"] == 1, "{history}");
        Ok(())
    })
}

async fn round_trip(back_end: &BackEnd, device: &mut Actor, payload: &[u8]) -> Result<()> {
    let sent = back_end.send(DEVICE, &[("iothub-ack", "full"), ("iothub-messageid", "m")], payload).await?;
    let command = device.until("command").await?;
    ensure!(body(&command)? == payload, "{command}");
    let receipt = &back_end.receipts(1).await?[0];
    ensure!(receipt["statusCode"] == "Success", "{receipt}");
    let history = back_end.history(&sent).await?;
    ensure!(history["state"] == "Completed" && history["deliveryCount"] == json!(1), "{history}");
    Ok(())
}

fn body(command: &Value) -> Result<Vec<u8>> {
    Ok(BASE64_STANDARD.decode(command["bodyBase64"].as_str().context("no body")?)?)
}
