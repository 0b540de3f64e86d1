//! `mooring-hub feedback`: a person's hand in the feedback queue, as a back end has it over HTTPS.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use reqwest::header::ETAG;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::time::sleep;

use super::client::{HubArguments, HubClient, Refused};
use super::command::Watch;
use super::device::{API_VERSION, sanitized};
use super::events::print;

/// Before a hub that is away is asked again.
const RETRY_EVERY: Duration = Duration::from_secs(2);

/// Takes receipts from the feedback queue and prints them.
///
/// Each receipt goes to one back end: what is shown here, no other gets. `mooring-hub watch --kinds receipt` looks on and takes nothing.
#[derive(Debug, Args)]
pub struct FeedbackCommand {
    /// Wait for more
    #[arg(long)]
    follow: bool,
    /// One JSON document a line, as Azure has them
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    hub: HubArguments,
}

/// What came of asking for receipts.
enum Taken {
    Some,
    None,
    /// Nobody reads our output any more: they were given back.
    OutputClosed,
}

impl FeedbackCommand {
    /// Prints receipts until there are no more, or until it is stopped.
    pub async fn run(self) -> Result<()> {
        let client = self.hub.connect("service").await?;
        let mut watch = if self.follow { Watch::begin(&client, "kinds=receipt").await } else { Watch::none() };
        let mut any = false;
        loop {
            match self.take(&client).await {
                Ok(Taken::Some) => any = true,
                Ok(Taken::None) if self.follow => drop(watch.changed().await),
                Ok(Taken::None) => break,
                Ok(Taken::OutputClosed) => return Ok(()),
                Err(error) if self.follow && any && may_pass(&error) => {
                    say(&format!("{error:#}; trying again"));
                    sleep(RETRY_EVERY).await;
                    watch = Watch::begin(&client, "kinds=receipt").await;
                }
                Err(error) => return Err(error),
            }
        }
        if !any && std::io::stdout().is_terminal() {
            say(
                "No receipts wait. A command makes one when it was sent with an ack: `mooring-hub command send DEVICE PAYLOAD --ack full`.",
            );
        }
        Ok(())
    }

    /// Takes what waits. Only what was printed leaves the queue.
    async fn take(&self, client: &HubClient) -> Result<Taken> {
        let path = "/messages/serviceBound/feedback";
        let answer = client.send(client.request(Method::GET, &format!("{path}?{API_VERSION}"))).await?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(Taken::None);
        }
        let etag = answer.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).context("the hub gave receipts without a lock token")?;
        let token = etag.trim_matches('"').to_owned();
        let receipts: Vec<Value> = answer.json().await.context("the hub's receipts can't be read")?;
        let line = |receipt: &Value| if self.json { receipt.to_string() } else { line(receipt) };
        let lines: String = receipts.iter().map(|receipt| line(receipt) + "\n").collect();
        if !print(&lines)? {
            client.send(client.request(Method::POST, &format!("{path}/{token}/abandon?{API_VERSION}"))).await?;
            return Ok(Taken::OutputClosed);
        }
        client.send(client.request(Method::DELETE, &format!("{path}/{token}?{API_VERSION}"))).await?;
        Ok(Taken::Some)
    }
}

fn line(receipt: &Value) -> String {
    let text = |name: &str| sanitized(receipt[name].as_str().unwrap_or_default());
    // Azure's times have seven digits; a person is served by three.
    let time = text("enqueuedTimeUtc").replace("0000Z", "Z");
    format!("{time}  {:<21}  {}  {}", text("statusCode"), text("deviceId"), text("originalMessageId")).trim_end().to_owned()
}

/// Whether to try again: the hub is away for a moment, or has too much to do.
fn may_pass(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<Refused>();
    refused.is_none_or(|refused| refused.status.is_server_error() || refused.status == StatusCode::TOO_MANY_REQUESTS)
}

/// For the person, beside the receipts.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_receipt_is_a_line() {
        let receipt = json!({
            "originalMessageId": "m\x1b", "deviceId": "pump", "statusCode": "Success", "enqueuedTimeUtc": "2026-11-23T03:00:00.1230000Z"
        });
        assert_eq!(line(&receipt), "2026-11-23T03:00:00.123Z  Success                pump  m\u{fffd}");
        assert_eq!(line(&json!({})), "");
    }
}
