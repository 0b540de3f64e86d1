//! `mooring-hub device …`: a person's hand in the registry, over the same REST API that Azure's SDKs use.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand, ValueEnum};
use rand::RngCore as _;
use reqwest::Method;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::zeroize::Zeroizing;
use serde_json::{Value, json};

use super::client::{HubArguments, HubClient};
use crate::core::certificate::{CertificateFingerprint, Thumbprint};
use crate::core::device_id::DeviceId;

/// The length of a key that this command makes, as Azure's are.
const KEY_BYTES: usize = 32;

/// The most devices that the hub lists at once.
const LISTED_MAX: usize = 1000;

/// Makes, shows, changes and deletes the identities of devices.
#[derive(Debug, Args)]
pub struct DeviceCommand {
    #[command(subcommand)]
    action: Action,
    /// How to print it
    #[arg(long, value_enum, default_value_t, global = true)]
    output: OutputFormat,
    #[command(flatten)]
    hub: HubArguments,
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON document.
    Json,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes a device, with new keys unless it has certificates, and prints its connection string
    Create {
        /// Its name: letters, digits and - . + % _ # * ? ! ( ) , : ; = @ $ '
        id: String,
        /// Don't let it in yet
        #[arg(long)]
        disabled: bool,
        #[command(flatten)]
        proof: ProofArguments,
    },
    /// Lists the devices, by name
    List,
    /// Shows a device, without its keys
    Show {
        /// Its name
        id: String,
    },
    /// Lets a device in again
    Enable {
        /// Its name
        id: String,
    },
    /// Shuts a device out: at once, and whatever a manifest says, until it is enabled the same way
    Disable {
        /// Its name
        id: String,
        /// Why, for others to read
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Gives a device a new primary key; the old one becomes its secondary, so that it works until the next time
    Rotate {
        /// Its name
        id: String,
    },
    /// Deletes a device
    Delete {
        /// Its name
        id: String,
    },
    /// Prints a device's connection string
    ConnectionString {
        /// Its name
        id: String,
        /// With the secondary key
        #[arg(long)]
        secondary: bool,
    },
}

/// How a new device proves itself, when not by keys.
#[derive(Debug, Args)]
struct ProofArguments {
    /// It has a self-signed certificate with this thumbprint, SHA-256 or SHA-1; a second one is its secondary
    #[arg(long = "thumbprint", value_name = "HEX", conflicts_with_all = ["certificates", "ca_signed"])]
    thumbprints: Vec<Thumbprint>,
    /// It has the self-signed certificate in this file (PEM); a second one is its secondary
    #[arg(long = "certificate", value_name = "FILE", conflicts_with = "ca_signed")]
    certificates: Vec<PathBuf>,
    /// It has a certificate with its name as the common name, which one of the hub's device authorities has issued
    #[arg(long)]
    ca_signed: bool,
}

impl ProofArguments {
    /// As the registry is told; null is by new keys.
    fn authentication(self) -> Result<Value> {
        let Self { mut thumbprints, certificates, ca_signed } = self;
        for path in &certificates {
            let certificate =
                CertificateDer::from_pem_file(path).with_context(|| format!("{} has no certificate in PEM form", path.display()))?;
            thumbprints.push(CertificateFingerprint::of(&certificate).thumbprint());
        }
        ensure!(thumbprints.len() <= 2, "a device has two thumbprints at most: a primary and a secondary");
        let slot = |at: usize| thumbprints.get(at).map(Thumbprint::to_string);
        Ok(match (ca_signed, slot(0)) {
            (true, _) => json!({ "type": "certificateAuthority" }),
            (false, Some(primary)) => {
                json!({ "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": primary, "secondaryThumbprint": slot(1) } })
            }
            (false, None) => Value::Null,
        })
    }
}

impl DeviceCommand {
    /// Does it, and prints what came of it.
    pub async fn run(self) -> Result<()> {
        let policy = match self.action {
            Action::List | Action::Show { .. } | Action::ConnectionString { .. } => "registryRead",
            _ => "registryReadWrite",
        };
        let registry = Registry(self.hub.connect(policy).await?);
        let printer = Printer { output: self.output, host_name: registry.0.host_name().to_owned() };
        match self.action {
            Action::Create { id, disabled, proof } => {
                let status = if disabled { "disabled" } else { "enabled" };
                let id = DeviceId::parse(&id)?;
                let authentication = proof.authentication()?;
                let document = json!({ "deviceId": id.as_str(), "status": status, "authentication": authentication });
                let device = registry.put(&id, &document, None).await?;
                printer.with_connection_string(&device, &format!("Made the device {id}."))
            }
            Action::List => printer.list(&registry.list().await?),
            Action::Show { id } => printer.details(registry.get(&DeviceId::parse(&id)?).await?),
            Action::Enable { id } => {
                let id = DeviceId::parse(&id)?;
                let change = json!({ "deviceId": id.as_str(), "status": "enabled", "statusReason": null });
                let device = registry.put(&id, &change, Some("*")).await?;
                printer.changed(device, &format!("The device {id} may connect."))
            }
            Action::Disable { id, reason } => {
                let id = DeviceId::parse(&id)?;
                let change = json!({ "deviceId": id.as_str(), "status": "disabled", "statusReason": reason });
                let device = registry.put(&id, &change, Some("*")).await?;
                printer.changed(device, &format!("The device {id} is shut out; its connections are closed."))
            }
            Action::Rotate { id } => {
                let id = DeviceId::parse(&id)?;
                let device = registry.rotate(&id).await?;
                let said =
                    format!("The device {id} has a new primary key. The one before works until the next rotation, as the secondary.");
                printer.with_connection_string(&device, &said)
            }
            Action::Delete { id } => {
                let id = DeviceId::parse(&id)?;
                registry.delete(&id).await?;
                printer.changed(json!({ "deviceId": id.as_str(), "deleted": true }), &format!("Deleted the device {id}."))
            }
            Action::ConnectionString { id, secondary } => {
                let device = registry.get(&DeviceId::parse(&id)?).await?;
                let string = printer.connection_string(&device, secondary)?;
                match printer.output {
                    OutputFormat::Text => print_line(&string),
                    OutputFormat::Json => print_line(&json!({ "connectionString": *string }).to_string()),
                }
            }
        }
    }
}

/// The hub's identities.
struct Registry(HubClient);

impl Registry {
    async fn get(&self, id: &DeviceId) -> Result<Value> {
        Ok(self.0.send(self.0.request(Method::GET, &registry_path(id))).await?.json().await?)
    }

    async fn list(&self) -> Result<Vec<Value>> {
        Ok(self.0.send(self.0.request(Method::GET, &format!("/devices?top={LISTED_MAX}&{API_VERSION}"))).await?.json().await?)
    }

    /// Makes it without `etag`, changes it with one; `*` fits every version.
    async fn put(&self, id: &DeviceId, device: &Value, etag: Option<&str>) -> Result<Value> {
        let mut request = self.0.request(Method::PUT, &registry_path(id)).json(device);
        if let Some(etag) = etag {
            request = request.header("if-match", format!("\"{etag}\""));
        }
        Ok(self.0.send(request).await?.json().await?)
    }

    /// Two who rotate at the same time must not shut the device out between them, so the version counts.
    async fn rotate(&self, id: &DeviceId) -> Result<Value> {
        let device = self.get(id).await?;
        let (primary, _) = keys_of(&device)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        rand::rng().fill_bytes(&mut *key);
        let keys = json!({ "primaryKey": BASE64.encode(*key), "secondaryKey": *primary });
        let change = json!({ "deviceId": id.as_str(), "authentication": { "type": "sas", "symmetricKey": keys } });
        let etag = device["etag"].as_str().context("the hub's answer has no etag")?;
        self.put(id, &change, Some(etag)).await
    }

    async fn delete(&self, id: &DeviceId) -> Result<()> {
        self.0.send(self.0.request(Method::DELETE, &registry_path(id)).header("if-match", "\"*\"")).await.map(drop)
    }
}

/// The version of Azure's API that these commands speak.
pub const API_VERSION: &str = "api-version=2021-04-12";

/// The path of a device in the registry.
#[must_use]
pub fn registry_path(id: &DeviceId) -> String {
    format!("/devices/{}?{API_VERSION}", percent_encoding::utf8_percent_encode(id.as_str(), percent_encoding::NON_ALPHANUMERIC))
}

/// Whether a device, as the registry shows it, proves itself by a certificate.
fn has_certificate(device: &Value) -> bool {
    matches!(device["authentication"]["type"].as_str(), Some("selfSigned" | "certificateAuthority"))
}

/// The primary and the secondary key, of a device as the registry shows it.
pub fn keys_of(device: &Value) -> Result<(Zeroizing<String>, Zeroizing<String>)> {
    let key = |name: &str| {
        let key = device["authentication"]["symmetricKey"][name].as_str();
        let key = key.context(if has_certificate(device) {
            "the device authenticates by certificate and has no keys"
        } else {
            "the hub's answer has no keys"
        })?;
        anyhow::Ok(Zeroizing::new(key.to_owned()))
    };
    Ok((key("primaryKey")?, key("secondaryKey")?))
}

/// Prints one line to standard output. That nobody reads it any more is no error.
pub fn print_line(text: &str) -> Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output can't be written"),
    }
}

struct Printer {
    output: OutputFormat,
    host_name: String,
}

impl Printer {
    fn connection_string(&self, device: &Value, secondary: bool) -> Result<Zeroizing<String>> {
        let id = device["deviceId"].as_str().context("the hub's answer has no deviceId")?;
        if has_certificate(device) {
            return Ok(Zeroizing::new(format!("HostName={};DeviceId={id};x509=true", self.host_name)));
        }
        let (primary_key, secondary_key) = keys_of(device)?;
        let key = if secondary { secondary_key } else { primary_key };
        Ok(Zeroizing::new(format!("HostName={};DeviceId={id};SharedAccessKey={}", self.host_name, *key)))
    }

    fn with_connection_string(&self, device: &Value, said: &str) -> Result<()> {
        let string = self.connection_string(device, false)?;
        match self.output {
            OutputFormat::Text => print_line(&format!("{said} Its connection string:\n\n  {}\n", *string)),
            OutputFormat::Json => {
                let mut device = device.clone();
                device["connectionString"] = json!(*string);
                print_line(&device.to_string())
            }
        }
    }

    fn changed(&self, device: Value, said: &str) -> Result<()> {
        match self.output {
            OutputFormat::Text => print_line(said),
            OutputFormat::Json => print_line(&without_keys(device).to_string()),
        }
    }

    fn list(&self, devices: &[Value]) -> Result<()> {
        if self.output == OutputFormat::Json {
            return print_line(&Value::Array(devices.iter().cloned().map(without_keys).collect()).to_string());
        }
        if devices.is_empty() {
            return print_line("There are no devices. `mooring-hub device create my-device` makes one.");
        }
        let mut rows = vec![["DEVICE", "STATUS", "CONNECTION", "LAST ACTIVITY"].map(str::to_owned)];
        rows.extend(devices.iter().map(|device| {
            let text = |name: &str| device[name].as_str().unwrap_or_default().to_owned();
            [text("deviceId"), text("status"), text("connectionState"), shown_time(device, "lastActivityTime")]
        }));
        print_line(table(&rows).trim_end())?;
        if devices.len() == LISTED_MAX {
            print_line(&format!("\nThese are the first {LISTED_MAX}; there may be more."))?;
        }
        Ok(())
    }

    fn details(&self, device: Value) -> Result<()> {
        let device = without_keys(device);
        if self.output == OutputFormat::Json {
            return print_line(&device.to_string());
        }
        let text = |name: &str| device[name].as_str().unwrap_or_default().to_owned();
        let since = |what: &str, field: &str| match shown_time(&device, field).as_str() {
            "never" => text(what),
            time => format!("{}, since {time}", text(what)),
        };
        let mut rows = vec![
            ["Device".to_owned(), text("deviceId")],
            ["Status".to_owned(), since("status", "statusUpdatedTime")],
            ["Connection".to_owned(), since("connectionState", "connectionStateUpdatedTime")],
            ["Last activity".to_owned(), shown_time(&device, "lastActivityTime")],
            ["Generation".to_owned(), text("generationId")],
            ["ETag".to_owned(), text("etag")],
            ["Authentication".to_owned(), device["authentication"]["type"].as_str().unwrap_or_default().to_owned()],
        ];
        for (name, slot) in [("Thumbprint", "primaryThumbprint"), ("2nd thumbprint", "secondaryThumbprint")] {
            if let Some(shown) = shown(&device["authentication"]["x509Thumbprint"][slot]) {
                rows.push([name.to_owned(), shown]);
            }
        }
        for (name, field) in [("Reason", "statusReason"), ("Tags", "tags"), ("Managed by", "managedBy"), ("Held", "hold")] {
            if let Some(shown) = shown(&device[field]) {
                rows.push([name.to_owned(), shown]);
            }
        }
        print_line(table(&rows).trim_end())
    }
}

fn without_keys(mut device: Value) -> Value {
    if let Some(authentication) = device.get_mut("authentication").and_then(Value::as_object_mut) {
        authentication.remove("symmetricKey");
    }
    device
}

/// A value in one line: `by: service, since: …` for an object.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| Some(format!("{name}: {}", shown(value)?));
            Some(fields.iter().filter_map(field).collect::<Vec<_>>().join(", "))
        }
        other => Some(other.to_string()),
    }
}

/// Azure says "never" as a time in the year 1.
fn shown_time(device: &Value, field: &str) -> String {
    match device[field].as_str() {
        None | Some("") => "never".to_owned(),
        Some(time) if time.starts_with("0001-") => "never".to_owned(),
        Some(time) => time.to_owned(),
    }
}

/// Columns as wide as their widest cell, with two spaces between them.
#[must_use]
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{:width$}", sanitized(cell)));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Text that others have written, without what a terminal would obey.
#[must_use]
pub fn sanitized(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows =
            [["DEVICE", "STATUS"].map(str::to_owned), ["a-long-one", "enabled"].map(str::to_owned), ["é\x1b", ""].map(str::to_owned)];
        assert_eq!(table(&rows), "DEVICE      STATUS\na-long-one  enabled\né\u{fffd}\n");
    }

    #[test]
    fn a_device_is_shown_without_its_keys_and_its_connection_string_with_one() {
        let device =
            json!({ "deviceId": "d", "authentication": { "type": "sas", "symmetricKey": { "primaryKey": "p", "secondaryKey": "s" } } });
        let printer = Printer { output: OutputFormat::Text, host_name: "h".to_owned() };
        assert_eq!(*printer.connection_string(&device, true).unwrap(), "HostName=h;DeviceId=d;SharedAccessKey=s");
        let by_certificate = json!({ "deviceId": "d", "authentication": { "type": "selfSigned", "symmetricKey": { "primaryKey": null } } });
        assert_eq!(*printer.connection_string(&by_certificate, false).unwrap(), "HostName=h;DeviceId=d;x509=true");
        assert_eq!(without_keys(device), json!({ "deviceId": "d", "authentication": { "type": "sas" } }));
        assert!(printer.connection_string(&json!({}), false).is_err());
    }

    #[test]
    fn ids_are_encoded_in_paths() {
        let path = registry_path(&DeviceId::parse("a%2F#?b").unwrap());
        assert_eq!(path, "/devices/a%252F%23%3Fb?api-version=2021-04-12");
    }
}
