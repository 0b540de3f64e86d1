//! `GET /api/v1/changes`: what happens in the hub, live: identities, connections, refusals, commands, receipts. docs/changes.md.
//!
//! As server-sent events, or over a WebSocket for whoever asks for one: the same messages. What somebody is shown depends on what the
//! token's policy may see.

pub(super) mod feed;
mod json;
mod server_sent;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts as _, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde::Deserialize;
use tokio::time::sleep;
use utoipa::IntoParams;

use super::authorization::{Caller, authorize, authorize_any};
use super::connection::HttpConnection;
use super::error::{ErrorDocument, Failure};
use super::openapi::Refusals;
use crate::core::access::Need;
use crate::core::change::{ChangeKind, ChangePosition, UnknownChangeKind};
use crate::core::device_id::DeviceId;
use crate::ops::Hub;
use crate::ops::policies::LastingRight;
use crate::ops::seats::NoSeat;
use crate::ops::watch_changes::{Devices, Interest, Start, watch_changes};
use feed::Feed;
#[cfg(test)]
pub(super) use json::texts_made;

/// For a client to hear that its right has ended, before its connection is closed.
const FAREWELL_TIME: Duration = Duration::from_secs(5);

/// When to come again if there are too many who stay.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The query.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ChangesQuery {
    /// Which kinds, with commas between them: `registry`, `presence`, `refusal` and `audit` (need RegistryRead), `command` and
    /// `receipt` (need ServiceConnect); a person needs Read. When absent or empty, all that the token allows, without `audit`.
    kinds: Option<String>,
    /// Only of this device.
    device: Option<String>,
    /// Only of devices whose ids begin so.
    #[serde(rename = "device-prefix")]
    #[param(rename = "device-prefix")]
    device_prefix: Option<String>,
    /// A position that this stream gave out: goes on behind it, without telling first how things stand.
    from: Option<String>,
    /// Whether to tell first how things stand: `true` or `false`; when absent, `true` without a position to go on from.
    snapshot: Option<String>,
}

/// Handles `GET /api/v1/changes`: what happens in the hub, live. As server-sent events; over a WebSocket when the request asks for one, each
/// message then being one JSON object with `position` and `kind` beside the data.
#[utoipa::path(
    get,
    path = "/api/v1/changes",
    tag = "changes",
    params(
        ChangesQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "An event's id: the stream goes on behind it, whatever `from` says."),
    ),
    responses(
        (
            status = 200,
            description = "Blocks `event: <kind>`, without end: `registry`, `presence`, `refusal`, `command`, `receipt`, `audit`; `snapshot-begin` and \
                `snapshot-end` around how things stand; `skipped` with a `count`, `reset` with a `reason`, and a last one, `problem`, with a \
                `message`.",
            content_type = "text/event-stream",
            body = Object,
        ),
        (status = 101, description = "The same over a WebSocket."),
        (status = 429, description = "ThrottlingException: too many watchers; the header Retry-After says when to come again.", body = ErrorDocument),
        Refusals,
    ),
)]
pub async fn get_changes(State(hub): State<Arc<Hub>>, request: Request) -> Result<Response, Failure> {
    let (mut parts, _) = request.into_parts();
    let Ok(connection) = HttpConnection::from_request_parts(&mut parts, &()).await;
    let query: Result<Query<ChangesQuery>, QueryRejection> = Query::try_from_uri(&parts.uri);
    let kinds = match &query {
        Ok(Query(query)) => query.kinds.as_deref().filter(|kinds| !kinds.trim().is_empty()).map(kinds).transpose(),
        Err(_) => Ok(None),
    };
    let wanted = kinds.as_ref().ok().and_then(|kinds| kinds.as_deref());
    let (caller, allowed) = authenticate(&hub, wanted, &mut parts).await?;
    let kinds = kinds.map(|_| allowed);
    let Query(query) = query.map_err(|rejection| Failure::argument_invalid(rejection.body_text()))?;
    let kinds = kinds.map_err(|unknown| Failure::argument_invalid(unknown.to_string()))?;
    let (devices, start) = (devices(&query)?, start(&query, &parts.headers)?);
    let upgrade = parts.headers.contains_key(header::UPGRADE);
    let upgrade = upgrade.then(|| super::websocket::handshake(&mut parts)).transpose()?;

    let needs: Vec<Need> = kinds.iter().map(|kind| kind.need()).collect();
    let seat = hub.changes.watchers.take(&caller.principal())?;
    let watcher = watch_changes(&hub, Arc::new(seat), Interest { kinds, devices }, start);
    let right = caller.lasting(&hub, &needs);
    let feed = Feed::new(watcher, right.clone());
    Ok(match upgrade {
        None => server_sent::respond(feed, connection.close_after(after_farewell(right))),
        Some(handshake) => {
            let switching = handshake.go_on_with(&connection, move |upgraded| websocket::tell(upgraded, feed));
            // By the request that asked for the WebSocket; nothing else is asked on it.
            connection.authenticated();
            switching
        }
    })
}

/// When a client that takes nothing has had its time to hear that it may watch no longer.
async fn after_farewell(mut right: LastingRight) {
    right.lost().await;
    sleep(FAREWELL_TIME).await;
}

/// Somebody who may see all of these, or what she asked for: whatever she may see, but for the audit, which has to be asked for.
async fn authenticate(hub: &Arc<Hub>, kinds: Option<&[ChangeKind]>, parts: &mut Parts) -> Result<(Caller, Vec<ChangeKind>), Failure> {
    let all = [Need::SeeFleet, Need::SeeCommands];
    match kinds {
        None => {
            let (caller, allowed) = authorize_any(parts, hub, &all).await?;
            let shown = |kind: &ChangeKind| *kind != ChangeKind::Audit && allowed.contains(&kind.need());
            Ok((caller, ChangeKind::ALL.into_iter().filter(shown).collect()))
        }
        Some(kinds) => {
            let mut caller = None;
            for need in all.into_iter().filter(|need| kinds.iter().any(|kind| kind.need() == *need)) {
                caller = Some(authorize(parts, hub, need).await?);
            }
            // Every kind needs one of them, and there is no list without a kind.
            Ok((caller.ok_or_else(Failure::unauthorized)?, kinds.to_vec()))
        }
    }
}

fn kinds(text: &str) -> Result<Vec<ChangeKind>, UnknownChangeKind> {
    text.split(',').map(|word| word.trim().parse()).collect()
}

fn devices(query: &ChangesQuery) -> Result<Devices, Failure> {
    let id = |name: &str, text: &str| {
        DeviceId::parse(text).map_err(|invalid| Failure::argument_invalid(format!("{name} is {text:?}, but {invalid}")))
    };
    match (&query.device, &query.device_prefix) {
        (None, None) => Ok(Devices::All),
        (Some(text), None) => Ok(Devices::One(id("device", text)?)),
        (None, Some(text)) => Ok(Devices::Prefix(id("device-prefix", text)?)),
        (Some(_), Some(_)) => Err(Failure::argument_invalid("either device or device-prefix")),
    }
}

fn start(query: &ChangesQuery, headers: &HeaderMap) -> Result<Start, Failure> {
    let wrong = |name: &str, text: &str, wanted: &str| Failure::argument_invalid(format!("{name} is {text:?}, but {wanted}"));
    let position = |name: &str, text: &str| text.parse::<ChangePosition>().map_err(|invalid| wrong(name, text, &invalid.to_string()));
    let last_event_id = headers.get("last-event-id").map(|value| value.to_str().unwrap_or_default()).filter(|id| !id.is_empty());
    let from = match (last_event_id, query.from.as_deref()) {
        (Some(id), _) => Some(position("Last-Event-ID", id)?),
        (None, Some(text)) => Some(position("from", text)?),
        (None, None) => None,
    };
    let snapshot = match query.snapshot.as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(other) => return Err(wrong("snapshot", other, "it is true or false")),
    };
    Ok(Start { from, snapshot })
}

impl From<NoSeat> for Failure {
    fn from(full: NoSeat) -> Self {
        Self::throttled(full.to_string(), RETRY_AFTER)
    }
}

#[cfg(test)]
mod tests;
