//! A back end: reads `GET /api/v1/events`, server-sent events, with a service policy's token.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Response;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::hub::Ready;
use crate::patience::within;
use crate::rest;

/// An event as a back end gets it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The partition.
    pub partition: u16,
    /// Opaque, growing.
    pub offset: String,
    /// From 0, contiguous in the partition.
    pub sequence_number: u64,
    /// ISO 8601.
    pub enqueued_time: String,
    /// Whose it is.
    pub device_id: String,
    /// What the device said of it, and what the hub stamped on it.
    #[serde(default)]
    pub system_properties: Map<String, Value>,
    /// What else was stamped on it.
    #[serde(default)]
    pub annotations: Map<String, Value>,
    /// The device's own properties.
    #[serde(default)]
    pub properties: Map<String, Value>,
    /// The payload, always.
    pub body_base64: String,
    /// The payload as JSON or text, when it is that.
    #[serde(default)]
    pub body: Option<Value>,
}

impl Event {
    /// The payload's bytes.
    ///
    /// # Errors
    /// When they are not in base64.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        STANDARD.decode(&self.body_base64).context("bodyBase64 is not base64")
    }

    /// A system property's text; empty when it is absent.
    #[must_use]
    pub fn system(&self, name: &str) -> &str {
        self.system_properties.get(name).or_else(|| self.annotations.get(name)).and_then(Value::as_str).unwrap_or_default()
    }

    /// A property of the device's own; empty when it is absent.
    #[must_use]
    pub fn property(&self, name: &str) -> &str {
        self.properties.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// An open reader.
pub struct Events {
    response: Response,
    unread: Vec<u8>,
    ready: VecDeque<Event>,
}

impl Events {
    /// Opens a reader: `query` is what stands behind the question mark.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn open(hub: &Ready, query: &str) -> Result<Self> {
        let url = format!("{}/api/v1/events?{query}", hub.endpoints.api);
        let request = rest::client(hub)?.get(url).header("Authorization", hub.policy("service")?.token());
        let response = within("the event stream to open", request.send()).await??;
        ensure!(response.status() == 200, "no events: {} {}", response.status(), response.text().await?);
        let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        ensure!(kind.starts_with("text/event-stream"), "events as {kind}");
        Ok(Self { response, unread: Vec::new(), ready: VecDeque::new() })
    }

    /// Reads all that is kept, from the first event of every partition to the last one.
    ///
    /// # Errors
    /// When the hub refuses or the stream breaks.
    pub async fn all(hub: &Ready) -> Result<Vec<Event>> {
        let mut reader = Self::open(hub, "from=earliest&follow=false").await?;
        let mut events = Vec::new();
        while let Some(event) = reader.next().await? {
            events.push(event);
        }
        Ok(events)
    }

    /// The next event; `None` when the hub has ended the stream.
    ///
    /// # Errors
    /// When none comes in time, or the stream breaks.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        // Around it all: the hub's sign of life is no event.
        within("an event", self.next_whenever()).await?
    }

    async fn next_whenever(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let Some(chunk) = self.response.chunk().await? else { return Ok(None) };
            self.unread.extend_from_slice(&chunk);
            while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                self.ready.extend(parse(std::str::from_utf8(&block)?)?);
            }
        }
    }

    /// The next so many events.
    ///
    /// # Errors
    /// When fewer come.
    pub async fn take(&mut self, count: usize) -> Result<Vec<Event>> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(self.next().await?.with_context(|| format!("the stream ended after {} of {count} events", events.len()))?);
        }
        Ok(events)
    }
}

/// One block of a stream of server-sent events; `None` for a comment that keeps it alive.
fn parse(block: &str) -> Result<Option<Event>> {
    let fields =
        || block.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.strip_prefix(' ').unwrap_or(value)));
    let data: Vec<&str> = fields().filter(|(name, _)| *name == "data").map(|(_, value)| value).collect();
    if data.is_empty() {
        return Ok(None);
    }
    match fields().find(|(name, _)| *name == "event") {
        Some((_, "message")) => {}
        other => bail!("an event of another kind, {other:?}: {block}"),
    }
    let event = serde_json::from_str(&data.join("\n")).with_context(|| format!("not an event: {block}"))?;
    Ok(Some(event))
}

/// Checks that the events are all that their partitions ever held: numbers from 0, without a gap, each offset beyond the one before.
///
/// # Errors
/// Naming the first number that is wrong.
pub fn check_numbers(events: &[Event]) -> Result<()> {
    let mut next: BTreeMap<u16, (u64, Option<u64>)> = BTreeMap::new();
    for event in events {
        let (expected, last_offset) = next.entry(event.partition).or_default();
        ensure!(event.sequence_number == *expected, "partition {}: {} follows {expected}-1", event.partition, event.sequence_number);
        let offset = event.offset.parse().context("an offset is a decimal")?;
        ensure!(last_offset.is_none_or(|last| last < offset), "partition {}: the offset does not grow at {offset}", event.partition);
        (*expected, *last_offset) = (*expected + 1, Some(offset));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_passed_over() -> Result<()> {
        assert_eq!(parse(": alive\n\n")?, None);
        Ok(())
    }

    #[test]
    fn a_gap_is_found() -> Result<()> {
        let event = |number: u64| -> Result<Event> {
            let data = format!(
                "event: message\nid: 0:{number}\ndata: {{\"partition\":0,\"offset\":\"{number}\",\"sequenceNumber\":{number},\
                 \"enqueuedTime\":\"\",\"deviceId\":\"d\",\"bodyBase64\":\"\"}}\n\n"
            );
            parse(&data)?.context("an event")
        };
        check_numbers(&[event(0)?, event(1)?])?;
        assert!(check_numbers(&[event(0)?, event(2)?]).is_err());
        Ok(())
    }
}
