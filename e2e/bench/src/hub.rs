//! What only Mooring's hub needs before it can be measured: a settings file with nothing but the unavoidable, and its devices.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};
use serde_json::json;
use tokio::task::{JoinSet, LocalSet};

use crate::connection;
use crate::http::{self, Client};
use crate::sas::{self, Device};
use crate::server::Addresses;
use crate::tls::{self, Certificate, HOST};

const API_VERSION: &str = "2021-04-12";
/// Azure's limit on identities in one bulk request.
const IDENTITIES_PER_REQUEST: usize = 100;
pub const OWNER_POLICY: &str = "iothubowner";
/// The Event Hubs-compatible name of the hub's events: by default the first part of its host name.
pub const EVENTS_NAME: &str = HOST;
/// The header of a JSON body.
pub const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];

/// Writes the settings file: names, files, addresses and the owner's key. Everything else stays at its default,
/// which is what is measured, unless a scenario needs `more`. The hub's data will lie in the same folder.
pub fn write_settings(path: &Path, addresses: &Addresses, certificate: &Certificate, owner_key: &str, more: &str) -> Result<()> {
    let folder = path.parent().context("a file lies in a folder")?;
    let Addresses { mqtt, amqp, https, api, metrics } = addresses;
    let (chain, key) = (certificate.chain_file.display(), certificate.key_file.display());
    let (data, owner_key_file) = (folder.join("data"), folder.join("owner.key"));
    let (data, owner) = (data.display(), owner_key_file.display());
    tls::write_secret(&owner_key_file, owner_key)?;
    let settings = format!(
        r#"host_name = "{HOST}"
data = "{data}"
{more}

[listeners]
mqtt = "{mqtt}"
amqp = "{amqp}"
https = "{https}"
api = "{api}"
metrics = "{metrics}"

[tls]
certificate = "{chain}"
key = "{key}"

[policies.{OWNER_POLICY}]
primary_key_file = "{owner}"
secondary_key_file = "{owner}"
"#
    );
    fs::write(path, settings).with_context(|| format!("writing {}", path.display()))
}

/// A token that may do everything.
pub fn owner_token(owner_key: &str) -> String {
    sas::sign(HOST, owner_key, Some(OWNER_POLICY))
}

/// The path of a device in the registry.
pub fn device_path(id: &str) -> String {
    format!("/devices/{id}?api-version={API_VERSION}")
}

/// Creates the devices with these numbers with Azure's bulk request, as any back end would, on so many connections at once.
pub fn register(api: SocketAddr, certificate: &Certificate, token: &str, numbers: Range<usize>, connections: usize) -> Result<()> {
    let client = certificate.client(Some("http/1.1"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let next = Rc::new(Cell::new(numbers.start));
    LocalSet::new().block_on(&runtime, async {
        let mut workers = JoinSet::new();
        for number in 0..connections {
            let (next, token, client) = (Rc::clone(&next), token.to_owned(), client.clone());
            let last = numbers.end;
            workers.spawn_local(async move {
                let mut session = Client::new(connection::open(api, &client, number).await?);
                while next.get() < last {
                    let first = next.replace((next.get() + IDENTITIES_PER_REQUEST).min(last));
                    let identities: Vec<_> = (first..next.get()).map(|number| identity(&Device::new(HOST, number))).collect();
                    let body = serde_json::to_vec(&identities)?;
                    let target = format!("/devices?api-version={API_VERSION}");
                    session.exchange(&http::request("POST", &target, &token, JSON, &body)).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(worker) = workers.join_next().await {
            worker.context("a task was lost")??;
        }
        Ok(())
    })
}

fn identity(device: &Device) -> serde_json::Value {
    json!({
        "id": device.id,
        "importMode": "create",
        "status": "enabled",
        "authentication": {"type": "sas", "symmetricKey": {"primaryKey": device.key, "secondaryKey": device.key}},
    })
}
