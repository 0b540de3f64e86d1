//! A command's way from the hub to its receipt, as the API tells it.
//!
//! The timeline is read whenever something may have happened; the change stream says when, and where there is none the clock does. So what is
//! shown is always what the hub has on disk, and a stream that breaks costs time and nothing else.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::pretty;
use crate::cli::client::HubClient;
use crate::cli::events::stream::{Block, Blocks};
use crate::core::command::{Acknowledgement, Outcome};
use crate::core::time::UnixMillis;

/// How often the timeline is read when nobody says that something has happened.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The same while the change stream says it; for what a stream that has just broken did not say.
const LOOK_ANYWAY_EVERY: Duration = Duration::from_secs(5);

/// Says which commands may have changed, and when.
pub(in crate::cli) struct Watch(Option<(Response, Blocks)>);

/// What may have changed.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) enum Changed {
    /// These commands.
    These(Vec<String>),
    /// Any of them.
    Any,
}

impl Watch {
    /// Nobody to ask.
    pub(in crate::cli) fn none() -> Self {
        Self(None)
    }

    /// From now on; `interest` is the query of the change stream. Without a stream it goes by the clock.
    pub(in crate::cli) async fn begin(client: &HubClient, interest: &str) -> Self {
        let request = client.request(Method::GET, &format!("/api/v1/changes?snapshot=false&{interest}"));
        Self(client.send(request).await.ok().map(|stream| (stream, Blocks::default())))
    }

    /// Returns when something may have changed. Cancelling it loses nothing but what [`Changed::Any`] makes good later.
    pub(in crate::cli) async fn changed(&mut self) -> Changed {
        let Some((stream, blocks)) = &mut self.0 else {
            sleep(LOOK_EVERY).await;
            return Changed::Any;
        };
        match timeout(LOOK_ANYWAY_EVERY, stream.chunk()).await {
            Err(_) => Changed::Any,
            Ok(Ok(Some(piece))) => match blocks.push(&piece) {
                Ok(blocks) => named(&blocks),
                Err(_) => self.broken(),
            },
            Ok(Ok(None) | Err(_)) => self.broken(),
        }
    }

    fn broken(&mut self) -> Changed {
        self.0 = None;
        Changed::Any
    }
}

/// The commands that these changes are about.
fn named(blocks: &[Block]) -> Changed {
    let mut ids = Vec::new();
    for block in blocks {
        let data: Value = block.data.as_deref().and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
        match block.event.as_str() {
            "command" => ids.extend(data["command"]["id"].as_str().map(str::to_owned)),
            "receipt" => ids.extend(data["commandId"].as_str().map(str::to_owned)),
            // Something was left out.
            "skipped" | "reset" => return Changed::Any,
            _ => {}
        }
    }
    Changed::These(ids)
}

/// A command as far as it has come.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Journey {
    /// As the API has it, with `steps` once they were read.
    document: Value,
    enqueued: UnixMillis,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stage {
    /// Since the command was enqueued, by the hub's clock.
    pub(super) after: Duration,
    pub(super) name: String,
    /// What else there is to say about it.
    pub(super) remark: String,
}

impl Journey {
    /// Of a command that was just sent.
    pub(in crate::cli) fn new(command: Value) -> Result<Self> {
        let enqueued = command["enqueuedTime"].as_str().and_then(|time| time.parse().ok());
        Ok(Self { enqueued: enqueued.context("the hub's answer does not say when the command was enqueued")?, document: command })
    }

    /// What is known now, with the timeline.
    pub(in crate::cli) fn update(&mut self, document: Value) -> Result<()> {
        *self = Self::new(document)?;
        Ok(())
    }

    pub(in crate::cli) fn id(&self) -> &str {
        self.document["id"].as_str().unwrap_or_default()
    }

    pub(super) fn command(&self) -> &Value {
        &self.document
    }

    /// How it ended, if it has.
    pub(in crate::cli) fn outcome(&self) -> Option<&'static str> {
        self.ended().map(Outcome::name)
    }

    fn ended(&self) -> Option<Outcome> {
        let steps = self.steps();
        steps.iter().find_map(|step| Outcome::ALL.into_iter().find(|outcome| step["step"] == outcome.name()))
    }

    fn steps(&self) -> &[Value] {
        self.document["steps"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// The steps so far, and the receipt, which comes to be with the end and stays in the feedback queue until a back end takes it.
    pub(super) fn stages(&self) -> Vec<Stage> {
        let mut stages: Vec<Stage> = Vec::new();
        for step in self.steps() {
            stages.push(self.stage(step));
            if Outcome::ALL.into_iter().any(|outcome| step["step"] == outcome.name()) {
                let after = stages.last().map(|stage| stage.after).unwrap_or_default();
                stages.extend(self.receipt().map(|receipt| Stage { after, name: "Receipt".to_owned(), remark: receipt.to_owned() }));
            }
        }
        stages
    }

    /// What the receipt says; `None` when the sender wanted none, or there is no end yet. A command without a message-id has none: there
    /// would be nothing by which to say whose it is.
    fn receipt(&self) -> Option<&'static str> {
        self.document["messageId"].as_str()?;
        let ack: Acknowledgement = self.document["ack"].as_str()?.parse().ok()?;
        self.ended().filter(|outcome| ack.wants(*outcome)).map(Outcome::status_code)
    }

    fn stage(&self, step: &Value) -> Stage {
        let time = step["time"].as_str().and_then(|time| time.parse::<UnixMillis>().ok());
        let name = step["step"].as_str().unwrap_or_default().to_owned();
        Stage { after: time.map(|time| time.since(self.enqueued)).unwrap_or_default(), name, remark: pretty::remark(step) }
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.stages().into_iter().map(|stage| pretty::stage(&stage))
    }

    /// One document: the command with its steps, and what its receipt says.
    pub(super) fn json(&self) -> Value {
        let mut document = self.document.clone();
        document["receipt"] = json!(self.receipt());
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(ack: &str, steps: &Value) -> Value {
        json!({ "id": "12", "messageId": "m", "ack": ack, "enqueuedTime": "2026-11-23T03:00:00.000Z", "steps": steps })
    }

    #[test]
    fn a_journey_ends_with_its_receipt() {
        let mut journey = Journey::new(document("full", &Value::Null)).unwrap();
        assert_eq!((journey.id(), journey.outcome(), journey.stages()), ("12", None, vec![]));
        let mut steps = json!([
            { "time": "2026-11-23T03:00:00.000Z", "step": "Enqueued" },
            { "time": "2026-11-23T03:00:01.240Z", "step": "Delivered", "protocol": "mqtt", "connection": "7", "deliveryCount": 1 },
        ]);
        journey.update(document("full", &steps)).unwrap();
        assert_eq!(journey.outcome(), None);
        steps.as_array_mut().unwrap().push(json!({ "time": "2026-11-23T03:00:01.250Z", "step": "Completed", "protocol": "mqtt" }));
        steps.as_array_mut().unwrap().push(json!({ "time": "2026-11-23T03:00:03.000Z", "step": "ReceiptRead" }));
        journey.update(document("full", &steps)).unwrap();
        assert_eq!(journey.outcome(), Some("Completed"));
        let stages: Vec<_> = journey.stages().into_iter().map(|stage| (stage.name, stage.after.as_millis())).collect();
        let expected = [("Enqueued", 0), ("Delivered", 1240), ("Completed", 1250), ("Receipt", 1250), ("ReceiptRead", 3000)];
        assert_eq!(stages, expected.map(|(name, ms)| (name.to_owned(), ms)));
        assert_eq!(journey.json()["receipt"], "Success");
        journey.update(document("negative", &steps)).unwrap();
        assert_eq!((journey.stages().len(), &journey.json()["receipt"]), (4, &Value::Null));
    }

    #[test]
    fn changes_name_commands() {
        let block = |event: &str, data: Value| Block { event: event.to_owned(), id: None, data: Some(data.to_string()) };
        let command = block("command", json!({ "command": { "id": "3" }, "step": {} }));
        let receipt = block("receipt", json!({ "commandId": "4" }));
        assert_eq!(named(&[command, receipt, Block::default()]), Changed::These(vec!["3".to_owned(), "4".to_owned()]));
        assert_eq!(named(&[block("skipped", json!({ "count": 1 }))]), Changed::Any);
    }

    #[test]
    fn an_answer_without_a_time_is_no_journey() {
        assert!(Journey::new(json!({ "id": "1" })).is_err());
    }
}
