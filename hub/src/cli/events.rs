//! `mooring-hub events`: a person's tail of what devices send, and `events groups`: who has read how much of it.

mod groups;
pub(super) mod pretty;
pub(super) mod stream;

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::time::sleep;

use super::client::{HubArguments, HubClient, Refused};
use pretty::Style;
use stream::{Block, Blocks};

/// The first and the longest wait before the stream is opened again after it broke.
pub(super) const RETRY_FIRST: Duration = Duration::from_millis(500);
pub(super) const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// Shows the events that devices send, as they come; or who has read how much of them.
#[derive(Debug, Args)]
pub struct EventsCommand {
    #[command(subcommand)]
    action: Option<Action>,
    /// Only of this device
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Only of this partition
    #[arg(long, value_name = "NUMBER")]
    partition: Option<u16>,
    /// Where to begin: earliest, latest, offset:N, sequence:N or time:ISO, the one named included
    /// [default: latest, with --no-follow earliest]
    #[arg(long, value_name = "START")]
    from: Option<String>,
    /// End with the last event that is there now
    #[arg(long)]
    no_follow: bool,
    /// One JSON document a line, as the API gives them
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    hub: HubArguments,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the consumer groups: who reads in them, and how far behind each is
    Groups {
        /// As JSON, as the API gives it
        #[arg(long)]
        json: bool,
    },
}

/// Why the reading of one response ended.
enum Ended {
    /// With everything there was.
    Complete,
    /// Before its time; what was shown stays shown.
    Broken(String),
    /// Nobody reads our output any more.
    OutputClosed,
}

impl EventsCommand {
    /// Prints events until there are no more, or until it is stopped.
    pub async fn run(mut self) -> Result<()> {
        let client = self.hub.connect("service").await?;
        if let Some(Action::Groups { json }) = self.action {
            return groups::run(&client, json || self.json).await;
        }
        let mut last_id: Option<String> = None;
        let mut response = self.open(&client, None).await?;
        let mut wait = RETRY_FIRST;
        loop {
            let before = last_id.clone();
            let broken = match self.show(response, &mut last_id).await? {
                Ended::OutputClosed => return Ok(()),
                Ended::Complete if self.no_follow => return Ok(()),
                Ended::Complete => "the hub ended the stream".to_owned(),
                Ended::Broken(reason) => reason,
            };
            if last_id != before {
                wait = RETRY_FIRST;
            }
            say(&format!("{broken}; trying again"));
            response = loop {
                sleep(wait).await;
                wait = (wait * 2).min(RETRY_LONGEST);
                match self.open(&client, last_id.as_deref()).await {
                    Ok(response) => break response,
                    Err(error) if last_id.is_some() && status_of(&error) == Some(StatusCode::BAD_REQUEST) => {
                        say("the hub's events are not those of before, as if its data had been removed; going on with the first it has");
                        (last_id, self.from) = (None, Some("earliest".to_owned()));
                    }
                    Err(error) if may_pass(&error) => {}
                    Err(error) => return Err(error),
                }
            };
        }
    }

    async fn open(&self, client: &HubClient, last_id: Option<&str>) -> Result<Response> {
        let from = self.from.as_deref().unwrap_or(if self.no_follow { "earliest" } else { "latest" });
        let mut query = vec![("from", from.to_owned()), ("follow", (!self.no_follow).to_string())];
        query.extend(self.device.clone().map(|device| ("device", device)));
        query.extend(self.partition.map(|partition| ("partition", partition.to_string())));
        let mut request = client.request(Method::GET, "/api/v1/events").query(&query);
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        client.send(request).await
    }

    /// Prints what comes; keeps in `last_id` where to go on.
    async fn show(&self, mut response: Response, last_id: &mut Option<String>) -> Result<Ended> {
        let mut blocks = Blocks::default();
        let style = Style::of_output();
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(Ended::Complete),
                Err(_) => return Ok(Ended::Broken("the connection to the hub was lost".to_owned())),
            };
            let mut text = String::new();
            let mut problem = None;
            for block in blocks.push(&chunk)? {
                let Block { event, id, data } = block;
                match (event.as_str(), data) {
                    ("message", Some(data)) if self.json => text.push_str(&(data + "\n")),
                    ("message", Some(data)) => text.push_str(&pretty::event(&parse(&data)?, style)),
                    ("problem", data) => problem = Some(data.unwrap_or_default()),
                    _ => {}
                }
                if id.is_some() {
                    *last_id = id;
                }
            }
            if !print(&text)? {
                return Ok(Ended::OutputClosed);
            }
            if let Some(problem) = problem {
                let message = parse(&problem)?["message"].as_str().unwrap_or_default().to_owned();
                return Ok(Ended::Broken(format!("the hub ended the stream: {message}")));
            }
        }
    }
}

fn parse(data: &str) -> Result<Value> {
    serde_json::from_str(data).context("the hub sent an event that can't be read")
}

/// Whether to try again: the hub is away for a moment, or has too much to do.
pub(super) fn may_pass(error: &anyhow::Error) -> bool {
    status_of(error).is_none_or(|status| status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS)
}

/// What the hub answered, if it did.
pub(super) fn status_of(error: &anyhow::Error) -> Option<StatusCode> {
    error.downcast_ref::<Refused>().map(|refused| refused.status)
}

/// False when nobody reads it any more.
pub(super) fn print(text: &str) -> Result<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => bail!("standard output can't be written: {error}"),
    }
}

/// For the person, beside the events.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
