//! `GET /api/v1/hub`: what the hub is. For whoever runs hubs, and wants to know how this one does. Needs RegistryRead.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::authorization::RegistryReader;
use super::error::Failure;
use super::openapi::Refusals;
use crate::ops::Hub;
use crate::ops::describe_hub::{HubDescription, Storage, describe_hub};

/// What a hub is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HubView {
    /// Its name in connection strings.
    host_name: String,
    /// All the names that it answers to, `hostName` first.
    host_names: Vec<String>,
    /// Its version.
    version: &'static str,
    /// Which life of its data this is, a number, as text, that grows.
    boot: String,
    /// When that began.
    #[schema(format = DateTime)]
    started_time: String,
    /// When the certificate ends that it shows to clients now; `null` when the certificate does not say so in a form that can be read.
    #[schema(format = DateTime)]
    certificate_expiry_time: Option<String>,
    /// How many partitions its events have.
    partitions: u16,
    /// How many devices it has.
    devices: DevicesView,
    /// The certificate of the authority that clients have to trust, as PEM: the last of the chain that they are shown, if it has issued itself;
    /// otherwise `null`, because everybody trusts it or the hub does not know it.
    authority: Option<String>,
    /// Where events are kept; `null` when they are not on a disk.
    storage: Option<StorageView>,
}

/// What events take, and how much room there is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageView {
    /// What they take on disk.
    events_bytes: u64,
    /// What they may take before the oldest go.
    retention_bytes: u64,
    /// After how long they go.
    retention_seconds: u64,
    /// When the oldest was enqueued that is kept.
    #[schema(format = DateTime)]
    oldest_event_time: Option<String>,
    /// How large the disk is; `null` when it does not say.
    size_bytes: Option<u64>,
    /// What is free there for the hub.
    free_bytes: Option<u64>,
    /// Whether events are refused because there is no room.
    full: bool,
}

/// How many devices a hub has.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DevicesView {
    /// Identities.
    total: u64,
    /// Those that may connect.
    enabled: u64,
    /// Those that are connected.
    connected: usize,
}

/// Handles `GET /api/v1/hub`.
#[utoipa::path(
    get,
    path = "/api/v1/hub",
    tag = "hub",
    responses((status = 200, description = "The hub as it is now.", body = HubView), Refusals),
)]
pub async fn get_hub(_: RegistryReader, State(hub): State<Arc<Hub>>) -> Result<Json<HubView>, Failure> {
    let HubDescription { host_names, boot, started_time, certificate_expiry_time, partitions, devices, connected, authority, storage } =
        describe_hub(&hub).await?;
    Ok(Json(HubView {
        host_name: hub.names.primary().to_owned(),
        host_names,
        version: env!("CARGO_PKG_VERSION"),
        boot: boot.to_string(),
        started_time: started_time.to_string(),
        certificate_expiry_time: certificate_expiry_time.map(|time| time.to_string()),
        partitions,
        devices: DevicesView { total: devices.total, enabled: devices.enabled, connected },
        authority,
        storage: storage.map(storage_view),
    }))
}

fn storage_view(storage: Storage) -> StorageView {
    let Storage { events_bytes, retention_bytes, retention, oldest_event_time, full, disk } = storage;
    StorageView {
        events_bytes,
        retention_bytes,
        retention_seconds: retention.as_secs(),
        oldest_event_time: oldest_event_time.map(|time| time.to_string()),
        size_bytes: disk.map(|(size, _)| size),
        free_bytes: disk.map(|(_, free)| free),
        full,
    }
}

#[cfg(test)]
mod tests;
