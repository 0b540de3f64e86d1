//! `GET /api/v1/devices/{id}/timeline`: a device's story, in one list.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts as _, Query, Request, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::audit::EntryDocument;
use super::authorization::{authorize_any, refuse_right};
use super::commands::json::HistoryDocument;
use super::connections::{PastConnectionView, past_connection};
use super::error::Failure;
use super::openapi::Refusals;
use super::refusals::{RefusalView, view};
use super::registry::PathDevice;
use crate::core::access::Need;
use crate::ops::Hub;
use crate::ops::read_timeline::{PAGE_MAX, ReadTimelineError, TimelineEntry, TimelineKind, read_timeline};

/// How many entries a page has that does not say.
const PAGE_DEFAULT: usize = 100;

/// The query.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TimelineQuery {
    /// The `next` of the page before.
    before: Option<String>,
    /// How many, 1 to 200; 100 when absent.
    limit: Option<String>,
    /// `connection`, `refusal`, `registry` (need RegistryRead), `command` (needs ServiceConnect), with commas; when absent, all that may be seen.
    kinds: Option<String>,
}

/// Some of a device's story.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineView {
    /// Whose.
    device_id: String,
    /// What has happened, the latest first, by the time at which it began.
    entries: Vec<EntryView>,
    /// What to send as `before` for more; `null` where the story begins.
    next: Option<String>,
}

/// One thing that has happened, in the field that is named for what it is; the other three are missing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum EntryView {
    /// A connection.
    Connection(PastConnectionView),
    /// Somebody who was refused.
    Refusal(RefusalView),
    /// A command, with its steps.
    Command(HistoryDocument),
    /// What was done to the identity, as the audit has it.
    Registry(EntryDocument),
}

/// Handles `GET /api/v1/devices/{id}/timeline`: connections, refusals, commands and what was done to the identity, merged. Also of a deleted device.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{id}/timeline",
    operation_id = "get_timeline",
    tag = "devices",
    params(("id" = String, Path, description = "The device's id."), TimelineQuery),
    responses((status = 200, description = "A page of the story, the latest first.", body = TimelineView), Refusals),
)]
pub async fn get(State(hub): State<Arc<Hub>>, request: Request) -> Result<Json<TimelineView>, Failure> {
    let (mut parts, _) = request.into_parts();
    let (caller, allowed) = authorize_any(&parts, &hub, &[Need::SeeFleet, Need::SeeCommands]).await?;
    let PathDevice(id) = PathDevice::from_request_parts(&mut parts, &()).await?;
    let query: Result<Query<TimelineQuery>, QueryRejection> = Query::try_from_uri(&parts.uri);
    let Query(query) = query.map_err(|rejection| Failure::argument_invalid(rejection.body_text()))?;
    let kinds = match query.kinds.as_deref().filter(|kinds| !kinds.trim().is_empty()) {
        Some(text) => kinds(text)?,
        None => TimelineKind::ALL.into_iter().filter(|kind| allowed.contains(&need(*kind))).collect(),
    };
    if let Some(missing) = kinds.iter().map(|kind| need(*kind)).find(|need| !allowed.contains(need)) {
        return Err(refuse_right(&hub, &caller, missing, id.as_str()).await);
    }
    let wrong = |name: &str, text: &str, wanted: &str| Failure::argument_invalid(format!("{name} is {text:?}, but {wanted}"));
    let before = match query.before.as_deref() {
        Some(text) => text.parse().map_err(|_| wrong("before", text, "it is the next of the page before"))?,
        None => Default::default(),
    };
    let limit = match query.limit.as_deref().map(|text| (text, text.parse())) {
        Some((_, Ok(limit @ 1..=PAGE_MAX))) => limit,
        Some((text, _)) => return Err(wrong("limit", text, "it is a number from 1 to 200")),
        None => PAGE_DEFAULT,
    };
    let timeline = read_timeline(&hub, &id, &kinds, before, limit).await?;
    Ok(Json(TimelineView {
        entries: timeline.entries.iter().map(|one| entry(id.as_str(), one)).collect(),
        next: timeline.next.map(|place| place.to_string()),
        device_id: id.to_string(),
    }))
}

/// What somebody needs who is told of it.
fn need(kind: TimelineKind) -> Need {
    match kind {
        TimelineKind::Connection | TimelineKind::Refusal | TimelineKind::Registry => Need::SeeFleet,
        TimelineKind::Command => Need::SeeCommands,
    }
}

fn kinds(text: &str) -> Result<Vec<TimelineKind>, Failure> {
    let named = |name: &str| TimelineKind::ALL.into_iter().find(|kind| kind.name() == name.trim());
    let unknown =
        |name: &str| Failure::argument_invalid(format!("{name:?} is no kind; there are connection, refusal, command and registry"));
    let mut kinds = Vec::new();
    for name in text.split(',') {
        let kind = named(name).ok_or_else(|| unknown(name))?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

fn entry(device: &str, entry: &TimelineEntry) -> EntryView {
    match entry {
        TimelineEntry::Connection(record) => EntryView::Connection(past_connection(record)),
        TimelineEntry::Refusal(refusal) => EntryView::Refusal(view(device.to_owned(), refusal)),
        TimelineEntry::Command(history) => EntryView::Command(HistoryDocument::of(history)),
        TimelineEntry::Registry(entry) => EntryView::Registry(EntryDocument::of(entry)),
    }
}

impl From<ReadTimelineError> for Failure {
    fn from(error: ReadTimelineError) -> Self {
        match error {
            ReadTimelineError::Connections(error) => error.into(),
            ReadTimelineError::Commands(error) => error.into(),
            ReadTimelineError::Audit(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests;
