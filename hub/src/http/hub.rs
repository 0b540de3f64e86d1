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
use crate::ops::describe_hub::{HubDescription, describe_hub};

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
    let HubDescription { host_names, boot, started_time, certificate_expiry_time, partitions, devices, connected } =
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
    }))
}

#[cfg(test)]
mod tests;
