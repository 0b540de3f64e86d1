//! A back end that sends commands over HTTPS, and reads their receipts and timelines.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::Value;

use crate::hub::Ready;
use crate::patience::within;
use crate::rest::{Answer, Rest};

/// The feedback queue, on Azure's path.
const FEEDBACK: &str = "/messages/serviceBound/feedback";

/// A back end with the policy `service`.
#[derive(Clone, Debug)]
pub struct BackEnd {
    azure: Rest,
    own: Rest,
}

impl BackEnd {
    /// Of this hub.
    ///
    /// # Errors
    /// When the hub has no such policy.
    pub fn new(hub: &Ready) -> Result<Self> {
        let service = hub.policy("service")?;
        Ok(Self { azure: Rest::new(hub, service.clone())?, own: Rest::api(hub, service)? })
    }

    /// Sends a command, whatever the hub says to it.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn offer(&self, device: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        self.own.call(Method::POST, &format!("/api/v1/devices/{device}/commands"), headers, body.to_vec()).await
    }

    /// Sends a command, and answers its id.
    ///
    /// # Errors
    /// When the hub does not take it.
    pub async fn send(&self, device: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<String> {
        id(&self.offer(device, headers, body).await?.expect(201)?)
    }

    /// A command with its timeline.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn history(&self, id: &str) -> Result<Value> {
        self.own.call(Method::GET, &format!("/api/v1/commands/{id}"), &[], Vec::new()).await?.expect(200)?.json()
    }

    /// The receipts that wait now, which stay locked until their token is given to [`Self::complete`].
    ///
    /// # Errors
    /// When no answer comes, or another than Azure's.
    pub async fn receive(&self) -> Result<Option<(String, Vec<Value>)>> {
        let answer = self.azure.call(Method::GET, FEEDBACK, &[], Vec::new()).await?;
        if answer.status == 204 {
            return Ok(None);
        }
        let answer = answer.expect(200)?;
        let token = answer.header("etag").trim_matches('"').to_owned();
        let records: Vec<Value> = serde_json::from_slice(&answer.body).context("a batch of receipts is an array")?;
        ensure!(!token.is_empty() && !records.is_empty(), "a batch without a token or without receipts");
        Ok(Some((token, records)))
    }

    /// Takes received receipts out of the queue.
    ///
    /// # Errors
    /// When no answer comes, or the lock was lost.
    pub async fn complete(&self, token: &str) -> Result<()> {
        self.azure.call(Method::DELETE, &format!("{FEEDBACK}/{token}"), &[], Vec::new()).await?.expect(204)?;
        Ok(())
    }

    /// Waits for so many receipts, and takes them.
    ///
    /// # Errors
    /// When they do not come.
    pub async fn receipts(&self, count: usize) -> Result<Vec<Value>> {
        let mut receipts = Vec::new();
        within("receipts", async {
            while receipts.len() < count {
                if let Some((token, records)) = self.receive().await? {
                    self.complete(&token).await?;
                    receipts.extend(records);
                }
            }
            anyhow::Ok(())
        })
        .await??;
        ensure!(receipts.len() == count, "{receipts:?}: more than {count}");
        Ok(receipts)
    }
}

/// The id of the command that was taken.
///
/// # Errors
/// When the answer has none.
pub fn id(answer: &Answer) -> Result<String> {
    Ok(answer.json()?["id"].as_str().context("a command without an id")?.to_owned())
}

/// The steps of a timeline, by name.
#[must_use]
pub fn step_names(history: &Value) -> Vec<&str> {
    history["steps"].as_array().map(|steps| steps.iter().filter_map(|step| step["step"].as_str()).collect()).unwrap_or_default()
}
