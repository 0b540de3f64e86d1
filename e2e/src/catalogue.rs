//! The messages that every SDK is made to send, and what a back end must get of each.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::json;

use crate::events::Event;

/// The largest message, properties and all.
pub const LARGEST_BYTES: usize = 256 * 1024;

/// A message to send: what a script reads, and what must come out.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// What it is an example of.
    pub name: &'static str,
    /// message-id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<&'static str>,
    /// correlation-id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<&'static str>,
    /// content-type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<&'static str>,
    /// content-encoding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<&'static str>,
    /// The device's own.
    pub properties: BTreeMap<&'static str, &'static str>,
    /// The payload, in base64.
    pub body_base64: String,
}

impl Sample {
    fn of(name: &'static str, body: &[u8]) -> Self {
        Self { name, body_base64: STANDARD.encode(body), ..Self::default() }
    }

    /// The payload.
    ///
    /// # Errors
    /// Never, in truth.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        Ok(STANDARD.decode(&self.body_base64)?)
    }
}

/// A payload that is easy to tell from another of its size.
#[must_use]
pub fn payload(bytes: usize) -> Vec<u8> {
    (0u8..=250).cycle().take(bytes).collect()
}

fn common() -> Vec<Sample> {
    let reading = json!({"temperature": 21.5, "unit": "°C"}).to_string();
    let every_byte: Vec<u8> = (0..=255).collect();
    let described = Sample {
        message_id: Some("message-1"),
        correlation_id: Some("answer.to:1"),
        content_type: Some("application/json"),
        content_encoding: Some("utf-8"),
        properties: BTreeMap::from([("level", "high"), ("zone", "7")]),
        ..Sample::of("a reading with everything said of it", reading.as_bytes())
    };
    vec![described, Sample::of("every byte value", &every_byte), Sample::of("no byte at all", b"")]
}

/// For MQTT, whose property bags take any text; `largest` is the largest payload that the client itself lets through.
#[must_use]
pub fn over_mqtt(largest: usize) -> Vec<Sample> {
    let awkward = Sample {
        properties: BTreeMap::from([
            ("plain", "value"),
            ("a b", "x&y=z/é"),
            ("plus+plus", "1+1=2"),
            ("percent%41", "100%25"),
            ("ключ", "значение ☃"),
            ("question?", "#hash;semicolon"),
            ("empty", ""),
        ]),
        ..Sample::of("properties with awkward characters", b"{}")
    };
    let largest = Sample::of("the largest message", &payload(largest));
    common().into_iter().chain([awkward, largest]).collect()
}

/// For AMQP: as for MQTT, and with ids that Node.js's client turns into UUIDs on their way.
#[must_use]
pub fn over_amqp(largest: usize) -> Vec<Sample> {
    let identified = Sample {
        message_id: Some("a81bc81b-dead-4e5d-abff-90865d1e13b1"),
        correlation_id: Some("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        ..Sample::of("ids that are UUIDs", b"{}")
    };
    over_mqtt(largest).into_iter().chain([identified]).collect()
}

/// For HTTPS, whose headers take less: lower-case names, and the characters that Azure allows there.
#[must_use]
pub fn over_http() -> Vec<Sample> {
    let marks =
        Sample { properties: BTreeMap::from([("marks", "!#$%&'*+-.^_`|~")]), ..Sample::of("properties with awkward characters", b"{}") };
    let largest = Sample::of("the largest message", &payload(LARGEST_BYTES - 1024));
    common().into_iter().chain([marks, largest]).collect()
}

/// What a batch carries of a message: properties and payload.
#[must_use]
pub fn batched() -> Vec<Sample> {
    let bare =
        |sample: Sample| Sample { name: sample.name, properties: sample.properties, body_base64: sample.body_base64, ..Sample::default() };
    over_http().into_iter().filter(|sample| sample.body_base64.len() < LARGEST_BYTES / 2).map(bare).collect()
}

/// Checks that an event is this message, of this device, with the hub's stamps.
///
/// # Errors
/// Naming what differs.
pub fn check(sample: &Sample, event: &Event, device: &str, generation: &str) -> Result<()> {
    let name = sample.name;
    let same = |what: &str, sent: &str, came: &str| {
        ensure!(sent == came, "{name}: {what} was {sent:?} and came as {came:?}");
        Ok(())
    };
    same("message-id", sample.message_id.unwrap_or_default(), id(event, "message-id"))?;
    same("correlation-id", sample.correlation_id.unwrap_or_default(), id(event, "correlation-id"))?;
    same("content-type", sample.content_type.unwrap_or_default(), event.system("content-type"))?;
    same("content-encoding", sample.content_encoding.unwrap_or_default(), event.system("content-encoding"))?;
    let properties: BTreeMap<&str, &str> =
        event.properties.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect();
    ensure!(properties == sample.properties, "{name}: properties were {:?} and came as {properties:?}", sample.properties);
    ensure!(event.bytes()? == sample.bytes()?, "{name}: the payload of {} bytes came otherwise", sample.bytes()?.len());
    check_stamps(event, device, generation).with_context(|| name.to_owned())
}

/// An id, which may have become a UUID on its way.
fn id<'a>(event: &'a Event, name: &str) -> &'a str {
    event.system_properties.get(name).and_then(|id| id.get("uuid").unwrap_or(id).as_str()).unwrap_or_default()
}

/// Checks what the hub stamps on every event, and no client can claim.
///
/// # Errors
/// Naming what differs.
pub fn check_stamps(event: &Event, device: &str, generation: &str) -> Result<()> {
    ensure!(event.device_id == device, "an event of {} instead of {device}", event.device_id);
    let stamp = event.system("iothub-connection-device-id");
    ensure!(stamp == device, "stamped with device {stamp}");
    let stamp = event.system("iothub-connection-auth-generation-id");
    ensure!(stamp == generation, "stamped with generation {stamp} instead of {generation}");
    let method = event.system("iothub-connection-auth-method");
    ensure!(method.contains("\"scope\":\"device\"") && method.contains("\"type\":\"sas\""), "stamped with auth method {method}");
    ensure!(event.enqueued_time.ends_with('Z') && event.enqueued_time.contains('T'), "enqueued at {}", event.enqueued_time);
    Ok(())
}
