//! One story over all that speaks: devices over every transport, a reader of all partitions, and a back end whose commands are settled in
//! every way. All of them are Azure's own SDKs, unmodified.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use e2e::hub::Hub;
use e2e::namespace::isolated;
use e2e::patience::within;
use e2e::program::Program;
use serde_json::{Value, json};

const TRANSPORTS: [&str; 5] = ["mqtt", "mqtt-ws", "amqp", "amqp-ws", "http"];
const DEVICES_EACH: usize = 4;
const MESSAGES_EACH: u64 = 10;

/// A device and how it speaks.
struct Device {
    id: String,
    transport: &'static str,
    /// How it is asked to settle its command: MQTT can only complete.
    settles: &'static str,
}

fn fleet() -> Vec<Device> {
    let devices = TRANSPORTS.into_iter().flat_map(|transport| (0..DEVICES_EACH).map(move |number| (transport, number)));
    devices
        .map(|(transport, number)| {
            let ways =
                if transport.starts_with("mqtt") { ["complete"; DEVICES_EACH] } else { ["complete", "reject", "abandon", "complete"] };
            Device { id: format!("{transport}-{number}"), transport, settles: ways[number] }
        })
        .collect()
}

#[test]
fn twenty_devices_over_all_transports_one_reader_and_a_back_end() -> Result<()> {
    isolated(async || {
        let fleet = fleet();
        let ids: Vec<&str> = fleet.iter().map(|device| &*device.id).collect();
        let hub = Hub::start(&ids).await?;
        let store = tempfile::tempdir()?;
        let reader = Program::node("event_processor.js", &hub)?.env("EVENTHUB_CONNECTION_STRING", &hub.event_hub_connection_string);
        let mut reader = reader.env("STORE", store.path()).start()?;
        let mut told = Vec::new();
        for Device { id, transport, .. } in &fleet {
            told.push(json!({ "id": id, "transport": transport, "connectionString": hub.device(id)?.text }));
        }
        let mut devices = Program::node("fleet.js", &hub)?.env("DEVICES", Value::Array(told).to_string()).start()?;
        devices.until("connected").await?;
        for number in 0..MESSAGES_EACH {
            devices.tell(&number.to_string()).await?;
        }

        let mut read: BTreeMap<String, u64> = ids.iter().map(|id| ((*id).to_owned(), 0)).collect();
        let all = async {
            while read.values().any(|count| *count < MESSAGES_EACH) {
                let event = reader.until("read").await?;
                let id = event["device"].as_str().context("no device")?;
                let device = fleet.iter().find(|device| device.id == id).context("a device of ours")?;
                let next = read.get_mut(id).context("a device of ours")?;
                is_message(&event, device, *next)?;
                *next += 1;
            }
            anyhow::Ok(())
        };
        within("everything to be read", all).await??;

        let back_end = Program::node("back_end_amqp.js", &hub)?.env("TRANSPORT", "amqp");
        let mut back_end = back_end.env("IOTHUB_CONNECTION_STRING", hub.policy("service")?.text).start()?;
        back_end.tell("receive").await?;
        back_end.until("receiving").await?;
        for Device { id, settles, .. } in &fleet {
            let command = json!({ "device": id, "messageId": format!("c-{id}"), "ack": "full", "data": settles });
            back_end.tell(&command.to_string()).await?;
        }
        let mut receipts = BTreeMap::new();
        while receipts.len() < fleet.len() {
            let receipt = back_end.until("receipt").await?;
            let (id, outcome) = (receipt["deviceId"].as_str().context("no device")?, receipt["statusCode"].clone());
            ensure!(receipt["originalMessageId"] == format!("c-{id}"), "{receipt}");
            ensure!(receipts.insert(id.to_owned(), outcome).is_none(), "a second receipt: {receipt}");
        }
        for Device { id, settles, .. } in &fleet {
            let wanted = if *settles == "reject" { "Rejected" } else { "Success" };
            ensure!(receipts.get(id).is_some_and(|outcome| outcome == wanted), "{id} was asked to {settles}: {receipts:?}");
        }
        Ok(())
    })
}

/// Whether an event is the message of this number, with types where they can be said, and the hub's stamps.
fn is_message(event: &Value, device: &Device, number: u64) -> Result<()> {
    let (ratio, even) = (number as f64 + 0.5, number.is_multiple_of(2));
    let properties = if device.transport.starts_with("amqp") {
        json!({ "number": number, "ratio": ratio, "even": even })
    } else {
        json!({ "number": number.to_string(), "ratio": ratio.to_string(), "even": even.to_string() })
    };
    for (name, wanted) in [
        ("messageId", json!(format!("{}-{number}", device.id))),
        ("contentType", json!("application/json")),
        ("properties", properties),
        ("source", json!("Telemetry")),
    ] {
        ensure!(event[name] == wanted, "{name} of message {number}, which is not {wanted}: {event}");
    }
    let method: Value = serde_json::from_str(event["authMethod"].as_str().context("no auth method")?)?;
    ensure!(method["scope"] == "device" && method["type"] == "sas", "{event}");
    Ok(())
}
