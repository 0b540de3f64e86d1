//! `mooring-hub watch`: what happens in a hub, as it happens, for a person or a script.

mod pretty;

use std::str::FromStr;

use anyhow::{Context as _, Result};
use clap::Args;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Map, Value};
use tokio::time::sleep;

use super::client::{HubArguments, HubClient, now};
use super::events::pretty::Style;
use super::events::stream::{Block, Blocks};
use super::events::{RETRY_FIRST, RETRY_LONGEST, may_pass, print, say, status_of};
use crate::core::change::ChangeKind;

/// Shows what happens in the hub, as it happens: devices that connect and go, changed identities, refusals, commands, receipts, and who
/// did what.
#[derive(Debug, Args)]
pub struct WatchCommand {
    /// Only these kinds: registry, presence, refusal, command, receipt, audit [default: all that the policy may see, but audit]
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', value_parser = ChangeKind::from_str)]
    kinds: Vec<ChangeKind>,
    /// Only of this device
    #[arg(long, value_name = "ID", conflicts_with = "device_prefix")]
    device: Option<String>,
    /// Only of devices whose ids begin so
    #[arg(long, value_name = "TEXT")]
    device_prefix: Option<String>,
    /// Go on behind this position, which an earlier watch showed with --json; good for an hour
    #[arg(long, value_name = "POSITION")]
    from: Option<String>,
    /// Show first how things stand
    #[arg(long)]
    snapshot: bool,
    /// One JSON document a line, with its position and kind
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    hub: HubArguments,
}

/// Why the reading of one response ended.
enum Ended {
    /// What was shown stays shown.
    Broken(String),
    /// Nobody reads our output any more.
    OutputClosed,
}

/// Whether a watch begins, or goes on after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    First,
    Again,
}

impl WatchCommand {
    /// Prints changes until it is stopped.
    pub async fn run(self) -> Result<()> {
        let client = self.hub.connect("iothubowner").await?;
        let mut position = self.from.clone();
        let mut response = self.open(&client, position.as_deref(), Begin::First).await?;
        let mut wait = RETRY_FIRST;
        loop {
            let before = position.clone();
            let broken = match self.show(response, &mut position).await? {
                Ended::OutputClosed => return Ok(()),
                Ended::Broken(reason) => reason,
            };
            if position != before {
                wait = RETRY_FIRST;
            }
            say(&format!("{broken}; trying again"));
            response = loop {
                sleep(wait).await;
                wait = (wait * 2).min(RETRY_LONGEST);
                match self.open(&client, position.as_deref(), Begin::Again).await {
                    Ok(response) => break response,
                    Err(error) if may_pass(&error) => {}
                    Err(error) => return Err(error),
                }
            };
            match &position {
                Some(position) => say(&format!("connected again, going on behind {position}")),
                None => say("connected again"),
            }
        }
    }

    /// What to ask for. Who goes on with a watch that has shown how things stand needs that again when it can't go on: the hub tells it
    /// of itself then, unless it is told not to.
    fn query(&self, position: Option<&str>, begin: Begin) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        if !self.snapshot || begin == Begin::First || position.is_none() {
            query.push(("snapshot", self.snapshot.to_string()));
        }
        if !self.kinds.is_empty() {
            query.push(("kinds", self.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",")));
        }
        query.extend(self.device.clone().map(|device| ("device", device)));
        query.extend(self.device_prefix.clone().map(|prefix| ("device-prefix", prefix)));
        query.extend(position.map(|position| ("from", position.to_owned())));
        query
    }

    async fn open(&self, client: &HubClient, position: Option<&str>, begin: Begin) -> Result<Response> {
        let query = self.query(position, begin);
        let opened = client.send(client.request(Method::GET, "/api/v1/changes").query(&query)).await;
        opened.map_err(|error| match status_of(&error) {
            Some(StatusCode::UNAUTHORIZED) if !self.kinds.is_empty() => {
                error.context("registry, presence and refusal need RegistryRead, command and receipt need ServiceConnect")
            }
            _ => error,
        })
    }

    /// Prints what comes; keeps in `position` where to go on.
    async fn show(&self, mut response: Response, position: &mut Option<String>) -> Result<Ended> {
        let mut blocks = Blocks::default();
        let style = Style::of_output();
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(Ended::Broken("the hub ended the stream".to_owned())),
                Err(_) => return Ok(Ended::Broken("the connection to the hub was lost".to_owned())),
            };
            let (mut text, mut problem) = (String::new(), None);
            for Block { event, id, data } in blocks.push(&chunk)? {
                if let Some(data) = data {
                    let data: Map<String, Value> = serde_json::from_str(&data).context("the hub sent a change that can't be read")?;
                    match event.as_str() {
                        "problem" => problem = Some(data["message"].as_str().unwrap_or_default().to_owned()),
                        _ if self.json => text.push_str(&whole(&event, id.as_deref(), data)),
                        _ => text.push_str(&pretty::change(&event, &Value::Object(data), &now().to_string(), style)),
                    }
                }
                if id.is_some() {
                    *position = id;
                }
            }
            if !print(&text)? {
                return Ok(Ended::OutputClosed);
            }
            if let Some(problem) = problem {
                return Ok(Ended::Broken(format!("the hub ended the stream: {problem}")));
            }
        }
    }
}

/// The change as the hub's WebSocket has it, on a line.
fn whole(kind: &str, position: Option<&str>, data: Map<String, Value>) -> String {
    let mut whole = Map::new();
    whole.extend(position.map(|position| ("position".to_owned(), position.into())));
    whole.insert("kind".to_owned(), kind.into());
    whole.extend(data);
    format!("{}\n", Value::Object(whole))
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches as _};

    use super::*;

    fn snapshot(arguments: &[&str], position: Option<&str>, begin: Begin) -> Option<String> {
        let command = WatchCommand::augment_args(Command::new("watch"));
        let matches = command.try_get_matches_from([&["watch"], arguments].concat()).unwrap();
        let query = WatchCommand::from_arg_matches(&matches).unwrap().query(position, begin);
        query.into_iter().find(|(name, _)| *name == "snapshot").map(|(_, value)| value)
    }

    #[test]
    fn who_wants_to_know_how_things_stand_learns_it_again_after_a_reset() {
        for (arguments, position, begin, expected) in [
            (&["--snapshot"][..], None, Begin::First, Some("true")),
            (&["--snapshot"], Some("1-2"), Begin::First, Some("true")),
            (&["--snapshot"], None, Begin::Again, Some("true")),
            (&["--snapshot"], Some("1-2"), Begin::Again, None),
            (&[], None, Begin::First, Some("false")),
            (&[], Some("1-2"), Begin::Again, Some("false")),
        ] {
            assert_eq!(snapshot(arguments, position, begin).as_deref(), expected, "{arguments:?} {position:?} {begin:?}");
        }
    }
}
