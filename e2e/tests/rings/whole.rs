//! One story over all that speaks: devices over every transport, a reader of all partitions, and a back end whose commands are settled in
//! every way. All of them are Azure's own SDKs, unmodified.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use e2e::events::Events;
use e2e::hub::Hub;
use e2e::namespace::isolated;
use e2e::patience::within;
use e2e::program::{Actor, Program};
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

impl Device {
    /// What it does with its command, again and again until that has ended.
    fn settlements(&self) -> Vec<String> {
        let ways: &[&str] = if self.settles == "abandon" { &["abandon", "complete"] } else { &[self.settles] };
        ways.iter().map(|way| (*way).to_owned()).collect()
    }
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
        let mut enqueued = BTreeMap::new();
        let all = async {
            while read.values().any(|count| *count < MESSAGES_EACH) {
                let event = reader.until("read").await?;
                let id = event["device"].as_str().context("no device")?;
                let device = fleet.iter().find(|device| device.id == id).context("a device of ours")?;
                let next = read.get_mut(id).context("a device of ours")?;
                is_message(&event, device, *next)?;
                *next += 1;
                let number = event["sequenceNumber"].as_u64().context("no number")?;
                ensure!(enqueued.insert((partition(&event)?, number), event["enqueued"].clone()).is_none(), "twice: {event}");
            }
            anyhow::Ok(())
        };
        within("everything to be read", all).await??;
        are_enqueued_as_kept(&hub, &enqueued).await?;

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
        settle(&mut devices, &fleet).await
    })
}

/// Each device has settled its command as it was asked to and in no other way, all messages were sent, and nothing failed.
async fn settle(devices: &mut Actor, fleet: &[Device]) -> Result<()> {
    let wanted: BTreeMap<String, Vec<String>> = fleet.iter().map(|device| (device.id.clone(), device.settlements())).collect();
    let mut settled: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut sent = Vec::new();
    while settled != wanted || sent.len() < usize::try_from(MESSAGES_EACH)? {
        let said = devices.next().await.with_context(|| format!("after {settled:?}"))?;
        let text = |name: &str| said[name].as_str().map(str::to_owned).with_context(|| format!("no {name}: {said}"));
        match said["event"].as_str() {
            Some("settled") => {
                ensure!(text("messageId")? == format!("c-{}", text("device")?), "{said}");
                settled.entry(text("device")?).or_default().push(text("how")?);
            }
            Some("sent") => sent.push(said["number"].as_u64().context("no number")?),
            _ => bail!("{said}"),
        }
        let known = |(id, ways): (&String, &Vec<String>)| wanted.get(id).is_some_and(|wanted| wanted.starts_with(ways));
        ensure!(settled.iter().all(known), "{settled:?} and not {wanted:?}");
    }
    let status = devices.end().await?;
    ensure!(status.success(), "{status}: {}", devices.standard_error());
    match devices.line().await? {
        None => Ok(()),
        Some(line) => bail!("{line}"),
    }
}

fn partition(event: &Value) -> Result<u16> {
    Ok(u16::try_from(event["partition"].as_u64().context("no partition")?)?)
}

/// What a reader over AMQP was told of when its events were enqueued is what the hub's own API shows; and the times of a partition never run
/// backwards.
async fn are_enqueued_as_kept(hub: &Hub, enqueued: &BTreeMap<(u16, u64), Value>) -> Result<()> {
    let mut latest = BTreeMap::new();
    let kept = Events::all(hub).await?;
    ensure!(kept.len() == enqueued.len(), "{} events are kept, and {} were read", kept.len(), enqueued.len());
    for event in kept {
        let time = event.enqueued_time.parse::<jiff::Timestamp>()?.as_millisecond();
        let told = enqueued.get(&(event.partition, event.sequence_number));
        ensure!(told.is_some_and(|told| *told == time), "enqueued at {told:?}, and kept is {event:?}");
        let before = latest.insert(event.partition, time);
        ensure!(before.is_none_or(|before| before <= time), "{event:?} is older than the one before it");
    }
    Ok(())
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
