//! `mooring-hub command …`: sends commands to devices, and shows what becomes of them.
//!
//! Owns the arguments and the requests. How a command is followed is in [`journey`], how it looks in [`pretty`].

mod journey;
mod pretty;

use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand, ValueEnum};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::client::{HubArguments, HubClient, now};
use super::device::{API_VERSION, OutputFormat, print_line};
use super::duration::parse_duration;
use crate::core::command::COMMAND_MAX_BYTES;
use crate::core::device_id::DeviceId;
pub(super) use journey::{Changed, Journey, Watch};
pub(super) use pretty::journey_in_one_line;

/// Sends commands (cloud-to-device messages), and shows what becomes of them.
#[derive(Debug, Args)]
pub struct CommandCommand {
    #[command(subcommand)]
    action: Action,
    /// How to print it
    #[arg(long, value_enum, default_value_t, global = true)]
    output: OutputFormat,
    #[command(flatten)]
    hub: HubArguments,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Sends a command; it waits in the device's queue until the device takes it
    Send(Box<SendArguments>),
    /// Lists commands, the newest first
    List {
        /// Only of this device
        #[arg(long, value_name = "ID")]
        device: Option<String>,
        /// Pending, DeadLettered, or outcomes with commas between: Completed, Expired, DeliveryCountExceeded, Rejected, Purged, DeviceDeleted
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// Only those that are older than this command
        #[arg(long, value_name = "COMMAND")]
        before: Option<u64>,
        /// How many at most, 1 to 1000
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: u16,
    },
    /// Shows a command and everything that has happened to it
    Show {
        /// Its number
        #[arg(value_name = "COMMAND")]
        id: u64,
    },
    /// Empties a device's queue; its commands end as Purged
    Purge {
        /// The device
        device: String,
    },
    /// Sends a command again that was dead-lettered: expired, rejected, purged, or delivered too often
    SendAgain {
        /// Its number
        #[arg(value_name = "COMMAND")]
        id: u64,
        /// Wait until it has ended, and show every step; fails unless it was completed
        #[arg(long)]
        wait: bool,
    },
}

#[derive(Debug, Args)]
struct SendArguments {
    /// The device
    device: String,
    /// What to tell it; `-` for standard input [default: nothing]
    payload: Option<String>,
    /// Which receipts back ends get [default: none; with --wait full]
    #[arg(long, value_enum, value_name = "WHICH")]
    ack: Option<Ack>,
    /// The message-id, which receipts name [default: a random one, when there is to be a receipt]
    #[arg(long, value_name = "TEXT")]
    message_id: Option<String>,
    /// The correlation-id
    #[arg(long, value_name = "TEXT")]
    correlation_id: Option<String>,
    /// How long it may wait for the device, up to 2d [default: the hub's]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    expires_in: Option<Duration>,
    /// A property of the message; may be given more than once
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = parse_property)]
    properties: Vec<(String, String)>,
    /// The payload's content-type [default: application/json if it is that]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Wait until it has ended, and show every step; fails unless it was completed
    #[arg(long)]
    wait: bool,
}

/// Which outcomes make a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ack {
    /// None.
    None,
    /// Completion.
    Positive,
    /// Dead-lettering.
    Negative,
    /// Both.
    Full,
}

impl CommandCommand {
    /// Does it, and prints what came of it. Fails when a command that was waited for was not completed.
    pub async fn run(self) -> Result<ExitCode> {
        let client = self.hub.connect("service").await?;
        let printer = Printer { output: self.output };
        match self.action {
            Action::Send(arguments) => arguments.send(&client, &printer).await,
            Action::List { device, state, before, limit } => {
                let mut query = vec![("limit", limit.to_string())];
                query.extend(device.map(|device| ("device", device)));
                query.extend(state.map(|state| ("state", state)));
                query.extend(before.map(|before| ("before", before.to_string())));
                let page = ask(&client, client.request(Method::GET, "/api/v1/commands").query(&query)).await?;
                printer.print(&page, pretty::list)
            }
            Action::Show { id } => printer.print(&show(&client, &id.to_string()).await?, pretty::details),
            Action::Purge { device } => {
                let device = DeviceId::parse(&device)?;
                let path = format!("/devices/{}/commands?{API_VERSION}", encoded(&device));
                printer.print(&ask(&client, client.request(Method::DELETE, &path)).await?, pretty::purged)
            }
            Action::SendAgain { id, wait } => {
                let watch = if wait { Watch::begin(&client, "kinds=command,receipt").await } else { Watch::none() };
                let again = client.request(Method::POST, &format!("/api/v1/commands/{id}/send-again"));
                let command = ask(&client, again).await?;
                if wait { printer.follow(&client, command, watch).await } else { printer.print(&command, pretty::sent) }
            }
        }
    }
}

impl SendArguments {
    async fn send(self, client: &HubClient, printer: &Printer) -> Result<ExitCode> {
        let device = DeviceId::parse(&self.device)?;
        let payload = self.payload()?;
        ensure!(payload.len() <= COMMAND_MAX_BYTES, "the payload has {} bytes; a command has at most {COMMAND_MAX_BYTES}", payload.len());
        // Before it is sent, so that no step is missed.
        let watch = if self.wait {
            Watch::begin(client, &format!("kinds=command,receipt&device={}", encoded(&device))).await
        } else {
            Watch::none()
        };
        let command = ask(client, self.request(client, &device, payload)).await?;
        if self.wait { printer.follow(client, command, watch).await } else { printer.print(&command, pretty::sent) }
    }

    fn payload(&self) -> Result<Vec<u8>> {
        match self.payload.as_deref() {
            None => Ok(Vec::new()),
            Some("-") => {
                let mut payload = Vec::new();
                // One byte more than there may be shows that it is too much, without reading all of it.
                let mut input = std::io::stdin().lock().take(COMMAND_MAX_BYTES as u64 + 1);
                input.read_to_end(&mut payload).context("standard input can't be read")?;
                Ok(payload)
            }
            Some(text) => Ok(text.as_bytes().to_vec()),
        }
    }

    fn request(&self, client: &HubClient, device: &DeviceId, payload: Vec<u8>) -> RequestBuilder {
        let ack = self.ack.unwrap_or(if self.wait { Ack::Full } else { Ack::None });
        // Without a message-id there would be no receipt.
        let made_up = (ack != Ack::None && self.message_id.is_none()).then(|| format!("{:032x}", rand::random::<u128>()));
        let ack = match ack {
            Ack::None => "none",
            Ack::Positive => "positive",
            Ack::Negative => "negative",
            Ack::Full => "full",
        };
        let mut request = send_request(client, device, ack);
        let is_json = || !payload.is_empty() && serde_json::from_slice::<Value>(&payload).is_ok();
        let content_type = self.content_type.as_deref().or_else(|| is_json().then_some("application/json"));
        let expiry = self.expires_in.map(|time| now().plus(time).to_string());
        let fields = [
            ("iothub-messageid", self.message_id.as_deref().or(made_up.as_deref())),
            ("iothub-correlationid", self.correlation_id.as_deref()),
            ("iothub-expiry", expiry.as_deref()),
            ("iothub-contenttype", content_type),
        ];
        for (name, value) in fields {
            request = value.into_iter().fold(request, |request, value| request.header(name, value));
        }
        for (name, value) in &self.properties {
            request = request.header(format!("iothub-app-{name}"), value);
        }
        request.body(payload)
    }
}

/// A command for `device`, still without a payload.
pub(super) fn send_request(client: &HubClient, device: &DeviceId, ack: &str) -> RequestBuilder {
    client.request(Method::POST, &format!("/api/v1/devices/{}/commands", encoded(device))).header("iothub-ack", ack)
}

/// Sends a request, and reads the answer, which is JSON.
pub(super) async fn ask(client: &HubClient, request: RequestBuilder) -> Result<Value> {
    client.send(request).await?.json().await.context("the hub's answer can't be read")
}

/// A command with its timeline.
pub(super) async fn show(client: &HubClient, id: &str) -> Result<Value> {
    ask(client, client.request(Method::GET, &format!("/api/v1/commands/{id}"))).await
}

fn encoded(device: &DeviceId) -> String {
    utf8_percent_encode(device.as_str(), NON_ALPHANUMERIC).to_string()
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a property is NAME=VALUE")?;
    // A header's name: what Azure's SDKs can say as well.
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        return Err("a property's name has letters, digits and !#$%&'*+-.^_`|~".to_owned());
    }
    if !value.chars().all(|c| (' '..='~').contains(&c)) {
        return Err("a property's value is ASCII text".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

struct Printer {
    output: OutputFormat,
}

impl Printer {
    fn print(&self, document: &Value, text: fn(&Value) -> String) -> Result<ExitCode> {
        match self.output {
            OutputFormat::Text => print_line(text(document).trim_end())?,
            OutputFormat::Json => print_line(&document.to_string())?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Shows every step of a command that was just sent, until its receipt.
    async fn follow(&self, client: &HubClient, command: Value, mut watch: Watch) -> Result<ExitCode> {
        let mut journey = Journey::new(command)?;
        if self.output == OutputFormat::Text {
            print_line(&format!("{}\n", pretty::sent(journey.command())))?;
        }
        let mut shown = 0;
        loop {
            if self.output == OutputFormat::Text {
                for line in journey.lines().skip(shown) {
                    print_line(&line)?;
                    shown += 1;
                }
            }
            if journey.outcome().is_some() {
                break;
            }
            match watch.changed().await {
                Changed::These(ids) if !ids.iter().any(|id| id == journey.id()) => continue,
                Changed::These(_) | Changed::Any => {}
            }
            journey.update(show(client, journey.id()).await?)?;
        }
        if self.output == OutputFormat::Json {
            print_line(&journey.json().to_string())?;
        }
        Ok(if journey.outcome() == Some("Completed") { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_what_headers_can_say() {
        assert_eq!(parse_property("level=a=b"), Ok(("level".to_owned(), "a=b".to_owned())));
        for wrong in ["level", "=x", "a b=c", "a=é", "a=\n"] {
            assert!(parse_property(wrong).is_err(), "{wrong:?}");
        }
    }
}
