//! `GET /api/v1/connections`, `GET /api/v1/devices/{id}/connections` and `GET /api/v1/presence`: who is connected, how a device's
//! connections went, and who connects again and again. All need RegistryRead.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::authorization::RegistryReader;
use super::error::Failure;
use super::openapi::Refusals;
use super::registry::PathDevice;
use crate::core::device_id::DeviceId;
use crate::core::session::{BootId, ConnectionId, ConnectionRecord};
use crate::ops::read_connections::{
    PAGE_MAX, ReadConnectionsError, SessionKey, Streak, device_connections, list_sessions, presence_overview,
};
use crate::ops::{Hub, Session};

/// How many connections are on a page when nobody says.
const PAGE_DEFAULT: usize = 100;

/// Who is connected now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionsPage {
    /// Connections, in byte order of their devices' ids.
    connections: Vec<ConnectionView>,
    /// What to ask for as `after` to get the next page; `null` when this is the last one.
    next: Option<String>,
}

/// A connection that is there.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionView {
    /// Whose.
    device_id: String,
    /// Which of the hub's present life.
    connection: String,
    /// `mqtt`, `mqtt-ws`, `amqp` or `amqp-ws`.
    protocol: &'static str,
    /// The IP address it came from.
    address: String,
    /// When it began.
    #[schema(format = DateTime)]
    since: String,
    /// When the device last connected or sent.
    #[schema(format = DateTime)]
    last_activity_time: String,
}

/// A device's connections in the last seven days.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceConnectionsPage {
    /// Whose.
    device_id: String,
    /// Whether the device is connected now.
    connected: bool,
    /// How it flaps: it has connected five times or more within five minutes. `null` when it does not.
    flapping: Option<FlappingView>,
    /// The latest first.
    connections: Vec<PastConnectionView>,
    /// What to ask for as `before` to get the next page; `null` when this is the last one.
    next: Option<String>,
}

/// A connection from its beginning to its end.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastConnectionView {
    /// In which life of the hub, a number, as text, that grows.
    boot: String,
    /// Which of that life's.
    connection: String,
    /// `mqtt`, `mqtt-ws`, `amqp` or `amqp-ws`.
    protocol: &'static str,
    /// The IP address it came from.
    address: String,
    /// When it began.
    #[schema(format = DateTime)]
    connected_time: String,
    /// When it ended; `null` while it lasts.
    #[schema(format = DateTime)]
    disconnected_time: Option<String>,
    /// Why it ended; `null` while it lasts.
    reason: Option<&'static str>,
}

/// How many are connected, and who can't hold a connection.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PresenceView {
    /// Devices that are connected.
    connected: usize,
    /// Connections over each protocol.
    by_protocol: BTreeMap<&'static str, usize>,
    /// Connects since the hub began.
    connects_total: u64,
    /// Of these, those that ended an older connection of their device.
    take_overs_total: u64,
    /// Devices that have connected five times or more within five minutes, at most a thousand, in byte order of their ids.
    flapping: Vec<FlappingDeviceView>,
}

/// How a device flaps.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlappingView {
    /// How often it has connected since.
    connects: u64,
    /// When it began to.
    #[schema(format = DateTime)]
    since: String,
}

/// A device that flaps.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlappingDeviceView {
    /// Which.
    device_id: String,
    #[serde(flatten)]
    how: FlappingView,
}

/// The query of [`list_connections`].
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ConnectionsQuery {
    /// Only connections behind this place: the `next` of the page before, or a device's id.
    after: Option<String>,
    /// How many at most, 1 to 1000; 100 when absent.
    limit: Option<usize>,
}

/// The query of [`list_device_connections`].
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeviceConnectionsQuery {
    /// Only connections before this place: the `next` of the page before.
    before: Option<String>,
    /// How many at most, 1 to 1000; 100 when absent.
    limit: Option<usize>,
}

/// Handles `GET /api/v1/connections`: who is connected now.
#[utoipa::path(
    get,
    path = "/api/v1/connections",
    tag = "presence",
    params(ConnectionsQuery),
    responses((status = 200, description = "A page of connections.", body = ConnectionsPage), Refusals),
)]
pub async fn list_connections(
    _: RegistryReader,
    State(hub): State<Arc<Hub>>,
    query: Result<Query<ConnectionsQuery>, QueryRejection>,
) -> Result<Json<ConnectionsPage>, Failure> {
    let Query(query) = query.map_err(|rejection| Failure::argument_invalid(rejection.body_text()))?;
    let limit = limit(query.limit)?;
    let after = query.after.as_deref().map(session_place).transpose()?;
    let sessions = list_sessions(&hub, after.as_ref(), limit);
    let next = sessions.last().filter(|_| sessions.len() == limit).map(|last| format!("{}/{}", last.device_id(), last.connection()));
    Ok(Json(ConnectionsPage { connections: sessions.iter().map(connection).collect(), next }))
}

/// Handles `GET /api/v1/devices/{id}/connections`: how a device's connections went, in the last seven days. Also of a deleted device.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{id}/connections",
    tag = "presence",
    params(("id" = String, Path, description = "The device's id."), DeviceConnectionsQuery),
    responses((status = 200, description = "A page of connections, the latest first.", body = DeviceConnectionsPage), Refusals),
)]
pub async fn list_device_connections(
    _: RegistryReader,
    State(hub): State<Arc<Hub>>,
    PathDevice(id): PathDevice,
    query: Result<Query<DeviceConnectionsQuery>, QueryRejection>,
) -> Result<Json<DeviceConnectionsPage>, Failure> {
    let Query(query) = query.map_err(|rejection| Failure::argument_invalid(rejection.body_text()))?;
    let limit = limit(query.limit)?;
    let before = query.before.as_deref().map(record_place).transpose()?;
    let found = device_connections(&hub, &id, before, limit).await?;
    let last = found.connections.last().filter(|_| found.connections.len() == limit);
    Ok(Json(DeviceConnectionsPage {
        device_id: id.to_string(),
        connected: found.connected,
        flapping: found.flapping.map(flapping),
        next: last.map(|record| format!("{}-{}", record.boot, record.connection)),
        connections: found.connections.iter().map(past_connection).collect(),
    }))
}

/// Handles `GET /api/v1/presence`: how many are connected, and who can't hold a connection.
#[utoipa::path(
    get,
    path = "/api/v1/presence",
    tag = "presence",
    responses((status = 200, description = "How many are connected, and how it went since the hub began.", body = PresenceView), Refusals),
)]
pub async fn get_presence(_: RegistryReader, State(hub): State<Arc<Hub>>) -> Json<PresenceView> {
    let overview = presence_overview(&hub);
    let of_device = |(id, streak): (DeviceId, Streak)| FlappingDeviceView { device_id: id.to_string(), how: flapping(streak) };
    Json(PresenceView {
        connected: overview.counts.connected,
        by_protocol: overview.counts.by_protocol.iter().map(|(protocol, count)| (protocol.name(), *count)).collect(),
        connects_total: overview.counts.connects,
        take_overs_total: overview.counts.take_overs,
        flapping: overview.flapping.into_iter().map(of_device).collect(),
    })
}

impl From<ReadConnectionsError> for Failure {
    fn from(error: ReadConnectionsError) -> Self {
        tracing::warn!(%error, "connections can't be read: {error}");
        Self::unavailable("the connections' log does not answer now", std::time::Duration::from_secs(1))
    }
}

fn limit(wanted: Option<usize>) -> Result<usize, Failure> {
    match wanted.unwrap_or(PAGE_DEFAULT) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        _ => Err(Failure::argument_invalid("limit is a number from 1 to 1000")),
    }
}

/// `<device>/<connection>`, or a device alone, which is behind all of its connections. No device id has a slash in it.
fn session_place(text: &str) -> Result<SessionKey, Failure> {
    let wrong = || Failure::argument_invalid("after is the next of the page before, or a device's id");
    let (device, connection) = match text.split_once('/') {
        Some((device, number)) => (device, number.parse().map_err(|_| wrong())?),
        None => (text, u64::MAX),
    };
    Ok((DeviceId::parse(device).map_err(|_| wrong())?, ConnectionId(connection)))
}

/// `<boot>-<connection>`.
fn record_place(text: &str) -> Result<(BootId, ConnectionId), Failure> {
    let numbers = text.split_once('-').and_then(|(boot, connection)| Some((boot.parse().ok()?, connection.parse().ok()?)));
    let (boot, connection) = numbers.ok_or_else(|| Failure::argument_invalid("before is the next of the page before"))?;
    Ok((BootId(boot), ConnectionId(connection)))
}

fn connection(session: &Session) -> ConnectionView {
    ConnectionView {
        device_id: session.device_id().to_string(),
        connection: session.connection().to_string(),
        protocol: session.protocol().name(),
        address: session.peer().ip().to_string(),
        since: session.since().to_string(),
        last_activity_time: session.last_activity().to_string(),
    }
}

/// A connection of the past or of now.
pub(super) fn past_connection(record: &ConnectionRecord) -> PastConnectionView {
    PastConnectionView {
        boot: record.boot.to_string(),
        connection: record.connection.to_string(),
        protocol: record.protocol.name(),
        address: record.address.to_string(),
        connected_time: record.connected_time.to_string(),
        disconnected_time: record.disconnected.map(|(time, _)| time.to_string()),
        reason: record.disconnected.map(|(_, reason)| reason.name()),
    }
}

/// How a device flaps.
pub(super) fn flapping(streak: Streak) -> FlappingView {
    FlappingView { connects: streak.connects, since: streak.since.to_string() }
}

#[cfg(test)]
mod tests;
