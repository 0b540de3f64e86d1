//! The identities of a fleet: made in the registry before the simulation, found there if an earlier one made them, and removed if wanted.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use rand::RngCore as _;
use reqwest::{Method, StatusCode};
use secrecy::zeroize::Zeroizing;
use serde_json::{Value, json};

use crate::cli::client::{HubClient, read_secret};
use crate::cli::connection_string::ConnectionString;
use crate::cli::device::{API_VERSION, keys_of, registry_path};
use crate::core::device_id::DeviceId;
use crate::core::identity::SymmetricKey;

/// The most identities in one bulk request.
const BULK_MAX: usize = 100;

/// Requests to the registry that are under way at once.
const REQUESTS_AT_ONCE: usize = 8;

/// The length of a device's key, as Azure's are.
const KEY_BYTES: usize = 32;

/// What an identity says that a simulation has made, and that a simulation may therefore remove.
const TAG: &str = "simulated";

/// A device that may be simulated.
pub(super) struct Member {
    pub(super) id: DeviceId,
    pub(super) key: SymmetricKey,
    /// Whether a simulation made it.
    ours: bool,
}

/// The names of `count` devices: the prefix and a number of at least four digits, from 1.
pub(super) fn names(prefix: &str, count: usize) -> Result<Vec<DeviceId>> {
    (1..=count).map(|number| DeviceId::parse(&format!("{prefix}{number:04}")).map_err(Into::into)).collect()
}

/// Makes those of the devices that there are not, and finds the keys of those that there are.
pub(super) async fn ensure_devices(client: &HubClient, names: Vec<DeviceId>) -> Result<Vec<Member>> {
    let groups: Vec<Vec<DeviceId>> = names.chunks(BULK_MAX).map(<[_]>::to_vec).collect();
    let groups = stream::iter(groups).map(|group| ensure_group(client, group)).buffered(REQUESTS_AT_ONCE);
    let groups: Vec<Vec<Member>> = groups.try_collect().await?;
    Ok(groups.into_iter().flatten().collect())
}

async fn ensure_group(client: &HubClient, names: Vec<DeviceId>) -> Result<Vec<Member>> {
    let mut members = names.into_iter().map(Member::new).collect::<Result<Vec<_>>>()?;
    let rows = members.iter().map(Member::row).collect();
    let there: HashSet<String> = change(client, rows, "DeviceAlreadyExists").await?.into_iter().collect();
    for member in members.iter_mut().filter(|member| there.contains(member.id.as_str())) {
        let identity: Value = client.send(client.request(Method::GET, &registry_path(&member.id))).await?.json().await?;
        ensure!(identity["status"] != "disabled", "the device {} is disabled: enable it, or name another --prefix", member.id);
        let (primary, _) = keys_of(&identity).with_context(|| format!("the device {}", member.id))?;
        member.key = SymmetricKey::from_base64(&primary).context("the registry's key is none")?;
        member.ours = identity["tags"][TAG] == true;
    }
    Ok(members)
}

/// Removes those that a simulation has made, and answers how many.
pub(super) async fn remove(client: &HubClient, members: &[Member]) -> Result<usize> {
    let ours: Vec<&DeviceId> = members.iter().filter(|member| member.ours).map(|member| &member.id).collect();
    for group in ours.chunks(BULK_MAX) {
        let rows = group.iter().map(|id| json!({ "id": id.as_str(), "importMode": "delete" })).collect();
        change(client, rows, "DeviceNotFound").await?;
    }
    Ok(ours.len())
}

/// The devices of a file with a connection string a line, and the hub they belong to.
pub(super) fn from_file(file: &Path) -> Result<(String, Vec<Member>)> {
    let text = Zeroizing::new(read_secret(file)?);
    let (mut members, mut host_name) = (Vec::new(), None);
    for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
        let place = || format!("line {number} of {}", file.display());
        let string = ConnectionString::parse(line).with_context(place)?;
        let id = string.device_id.with_context(|| format!("{} is no device's connection string: it has no DeviceId", place()))?;
        let host = host_name.get_or_insert_with(|| string.host_name.clone());
        ensure!(*host == string.host_name, "{} is of another hub than those before it", place());
        members.push(Member { id: DeviceId::parse(&id).with_context(place)?, key: string.key, ours: false });
    }
    Ok((host_name.with_context(|| format!("{} holds no connection string", file.display()))?, members))
}

impl Member {
    fn new(id: DeviceId) -> Result<Self> {
        let mut key = Zeroizing::new(vec![0; KEY_BYTES]);
        rand::rng().fill_bytes(&mut key);
        Ok(Self { id, key: SymmetricKey::from_bytes(key.to_vec())?, ours: true })
    }

    fn row(&self) -> Value {
        let key = Zeroizing::new(self.key.expose_base64());
        json!({
            "id": self.id.as_str(),
            "importMode": "create",
            "status": "enabled",
            "tags": { TAG: true },
            "authentication": { "type": "sas", "symmetricKey": { "primaryKey": *key, "secondaryKey": *key } },
        })
    }
}

/// Sends a bulk request, and answers whose row failed with the code that is expected; any other failure is an error.
async fn change(client: &HubClient, rows: Vec<Value>, expected: &str) -> Result<Vec<String>> {
    let request = client.request(Method::POST, &format!("/devices?{API_VERSION}")).json(&rows);
    let answer = client.send_unless(StatusCode::BAD_REQUEST, request).await?;
    let answer: Value = answer.json().await.context("the hub's answer to a bulk request can't be read")?;
    let mut failed = Vec::new();
    for error in answer["errors"].as_array().into_iter().flatten() {
        let text = |field: &str| error[field].as_str().unwrap_or_default();
        if text("errorCode") != expected {
            bail!("the device {}: {} ({})", text("deviceId"), text("errorStatus"), text("errorCode"));
        }
        failed.push(text("deviceId").to_owned());
    }
    ensure!(!failed.is_empty() || answer["isSuccessful"] == true, "the hub refused a bulk request: {}", answer["Message"]);
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbered() {
        let names = names("sim-", 12).unwrap();
        assert_eq!((names[0].as_str(), names[11].as_str()), ("sim-0001", "sim-0012"));
        assert!(super::names("not/one-", 1).is_err());
    }

    #[test]
    fn a_file_is_of_one_hub_and_of_devices() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            let file = folder.path().join("strings");
            std::fs::write(&file, text).unwrap();
            from_file(&file).map(|(host, members)| (host, members.len())).map_err(|error| format!("{error:#}"))
        };
        let string = |host: &str, id: &str| format!("HostName={host};DeviceId={id};SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==\n");
        assert_eq!(read(&format!("{}\n{}", string("h", "a"), string("h", "b"))), Ok(("h".to_owned(), 2)));
        assert!(read(&format!("{}{}", string("h", "a"), string("other", "b"))).unwrap_err().contains("line 2"));
        assert!(read("HostName=h;SharedAccessKeyName=p;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==").unwrap_err().contains("DeviceId"));
        assert!(read("\n").unwrap_err().contains("no connection string"));
    }
}
