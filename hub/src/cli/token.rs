//! `mooring-hub token`: a shared access signature, for clients that take a token instead of a key.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use super::client::{HubArguments, now, read_secret};
use super::connection_string::ConnectionString;
use super::device::{OutputFormat, keys_of, print_line, registry_path};
use super::duration::parse_duration;
use crate::core::device_id::DeviceId;
use crate::core::identity::SymmetricKey;
use crate::core::sas::sign;

/// Signs a token for a device or a policy.
///
/// The key comes from the hub's own hub.json or registry, or with --key-file from a file.
#[derive(Debug, Args)]
pub struct TokenCommand {
    /// For this device, signed with its primary key
    #[arg(long, value_name = "ID", conflicts_with = "policy", required_unless_present = "policy")]
    device: Option<String>,
    /// For this policy, and so for the whole hub
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// File with the key (Base64) or the connection string to sign with, `-` for standard input
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The hub's name, where the key file holds a key alone
    #[arg(long, value_name = "NAME", requires = "key_file")]
    host_name: Option<String>,
    /// How long it is good: a number with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    lifetime: Duration,
    /// What it is for, below the hub [default: the device, or the whole hub]
    #[arg(long, value_name = "PATH")]
    resource: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
    #[command(flatten)]
    hub: HubArguments,
}

impl TokenCommand {
    /// Prints the token.
    pub async fn run(self) -> Result<()> {
        let device = self.device.as_deref().map(DeviceId::parse).transpose()?;
        let signer = match (&self.key_file, &device, &self.policy) {
            (Some(file), ..) => self.signer_from(&read_secret(file)?)?,
            (None, Some(device), _) => self.device_signer(device).await?,
            (None, None, Some(policy)) => self.hub.policy(policy)?,
            (None, None, None) => bail!("a token is for a --device or a --policy"),
        };
        let path = match (&self.resource, &device) {
            (Some(path), _) => format!("/{}", path.trim_matches('/')),
            (None, Some(device)) => format!("/devices/{device}"),
            (None, None) => String::new(),
        };
        let resource = format!("{}{path}", signer.host_name);
        let expiry = now().plus(self.lifetime);
        let token = sign(&resource, expiry, &signer.key, self.policy.as_deref());
        match self.output {
            OutputFormat::Text => print_line(&token),
            OutputFormat::Json => {
                print_line(&serde_json::json!({ "token": token, "resource": resource, "expiry": expiry.to_string() }).to_string())
            }
        }
    }

    /// A connection string, or a key alone.
    fn signer_from(&self, text: &str) -> Result<ConnectionString> {
        if text.contains("SharedAccessKey=") {
            let signer = ConnectionString::parse(text)?;
            let fits = signer.device_id == self.device && signer.policy == self.policy;
            ensure!(fits, "the key file holds the connection string of another device or policy");
            return Ok(signer);
        }
        let host_name = self.host_name.clone().context("a key alone does not say for which hub: name it with --host-name")?;
        let key = SymmetricKey::from_base64(text).context("in the key file")?;
        Ok(ConnectionString { host_name, policy: self.policy.clone(), device_id: self.device.clone(), key })
    }

    /// The device's primary key, from the registry.
    async fn device_signer(&self, device: &DeviceId) -> Result<ConnectionString> {
        let client = self.hub.connect("registryRead").await?;
        let identity = client.send(client.request(reqwest::Method::GET, &registry_path(device))).await?.json().await?;
        let (primary, _) = keys_of(&identity)?;
        let key = SymmetricKey::from_base64(&primary).context("the registry's key is none")?;
        Ok(ConnectionString { host_name: client.host_name().to_owned(), policy: None, device_id: Some(device.to_string()), key })
    }
}
