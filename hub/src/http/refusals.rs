//! `GET /api/v1/refusals` and `GET /api/v1/devices/{id}/refusals`: who was refused lately, and why. The refused are told nothing; this is
//! where the owner looks. Needs RegistryRead. The last eight of each name, since the hub started.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, Uri};
use serde::Serialize;

use super::authorization::token;
use super::error::Failure;
use crate::core::policy::Permission;
use crate::core::session::Protocol;
use crate::ops::Hub;
use crate::ops::authenticate::{Origin, authenticate_service};
use crate::ops::refusals::Refusal;

/// The most names in one answer.
const NAMES_MAX: usize = 1000;

/// One refusal, as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusalView {
    /// Who it said to be: a device id, or a policy's name, or nothing.
    claimed: String,
    time: String,
    protocol: &'static str,
    /// Address and port it came from.
    peer: String,
    /// One word, for programs.
    reason: &'static str,
    /// A sentence, for people.
    description: String,
}

/// Handles `GET /api/v1/refusals`: the latest of each name, the latest first.
pub async fn list_refusals(
    State(hub): State<Arc<Hub>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Vec<RefusalView>>, Failure> {
    authorize(&hub, peer, &uri, &headers).await?;
    Ok(Json(hub.refusals.latest(NAMES_MAX).into_iter().map(|(name, refusal)| view(name, &refusal)).collect()))
}

/// Handles `GET /api/v1/devices/{id}/refusals`: those of one name, oldest first. Also for a name that no device has.
pub async fn list_device_refusals(
    State(hub): State<Arc<Hub>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Vec<RefusalView>>, Failure> {
    authorize(&hub, peer, &uri, &headers).await?;
    Ok(Json(hub.refusals.of(&name).iter().map(|refusal| view(name.clone(), refusal)).collect()))
}

async fn authorize(hub: &Hub, peer: SocketAddr, uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
    let origin = Origin { protocol: Protocol::Https, peer };
    authenticate_service(hub, token(headers, uri).as_deref(), Permission::RegistryRead, "devices", origin).await?;
    Ok(())
}

fn view(claimed: String, refusal: &Refusal) -> RefusalView {
    RefusalView {
        claimed,
        time: refusal.time.to_string(),
        protocol: refusal.protocol.name(),
        peer: refusal.peer.to_string(),
        reason: refusal.reason.name(),
        description: refusal.reason.to_string(),
    }
}
