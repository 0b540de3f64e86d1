//! `GET /api/v1/refusals` and `GET /api/v1/devices/{id}/refusals`: who was refused lately, and why. The refused are told nothing; this is
//! where the owner looks. Needs RegistryRead. The last eight of each name, since the hub started.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::authorization::RegistryReader;
use super::error::Failure;
use super::openapi::Refusals;
use crate::ops::Hub;
use crate::ops::refusals::Refusal;

/// The most names in one answer.
const NAMES_MAX: usize = 1000;

/// One refusal, as JSON.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusalView {
    /// Who it said to be: a device id, or a policy's name, or nothing.
    claimed: String,
    /// When.
    #[schema(format = DateTime)]
    time: String,
    /// `mqtt`, `mqtt-ws`, `amqp`, `amqp-ws` or `https`.
    protocol: &'static str,
    /// Address and port it came from.
    peer: String,
    /// One word, for programs.
    reason: &'static str,
    /// A sentence, for people.
    description: String,
}

/// Handles `GET /api/v1/refusals`: the latest of each name, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/refusals",
    tag = "refusals",
    responses((status = 200, description = "The latest refusal of each name, at most 1000, the latest first.", body = Vec<RefusalView>), Refusals),
)]
pub async fn list_refusals(_: RegistryReader, State(hub): State<Arc<Hub>>) -> Json<Vec<RefusalView>> {
    Json(hub.refusals.latest(NAMES_MAX).into_iter().map(|(name, refusal)| view(name, &refusal)).collect())
}

/// Handles `GET /api/v1/devices/{id}/refusals`: those of one name, oldest first. Also for a name that no device has.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{id}/refusals",
    tag = "refusals",
    params(("id" = String, Path, description = "Whom the refused said to be: a device's id, or any other name.")),
    responses((status = 200, description = "At most the last eight, the oldest first.", body = Vec<RefusalView>), Refusals),
)]
pub async fn list_device_refusals(
    _: RegistryReader,
    State(hub): State<Arc<Hub>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Vec<RefusalView>>, Failure> {
    let Path(name) = name.map_err(|_| Failure::argument_invalid("a path is percent-encoded UTF-8"))?;
    Ok(Json(hub.refusals.of(&name).iter().map(|refusal| view(name.clone(), refusal)).collect()))
}

/// One refusal of somebody who said to be that.
pub(super) fn view(claimed: String, refusal: &Refusal) -> RefusalView {
    RefusalView {
        claimed,
        time: refusal.time.to_string(),
        protocol: refusal.protocol.name(),
        peer: refusal.peer.to_string(),
        reason: refusal.reason.name(),
        description: refusal.reason.to_string(),
    }
}
