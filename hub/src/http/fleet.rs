//! `GET /api/v1/devices`: all devices at a glance, filtered, in any order, page by page. Needs RegistryRead, or the right Read.

pub mod json;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::authorization::RegistryReader;
use super::error::{ErrorDocument, Failure};
use super::openapi::Refusals;
use crate::core::fleet::tags::Tag;
use crate::core::fleet::{Credentials, DeviceState, FleetDevice, FleetPage, FleetQuery, Sort, Source};
use crate::core::session::DisconnectReason;
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::ops::fleet_index::{PAGE_MAX, TooManyPages, list_fleet};

/// How many devices a page has that does not say.
const PAGE_DEFAULT: usize = 100;

/// The most tags that are asked for at once: each is looked for on every device.
const TAGS_MAX: usize = 16;

/// When somebody for whom there was no turn is to come again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Some of the fleet.
#[derive(Debug, Serialize, ToSchema)]
pub struct FleetPageView {
    /// The devices, in the order that was asked for.
    devices: Vec<FleetDeviceView>,
    /// What to send as `after` for the next page; `null` when there is none.
    next: Option<String>,
    /// How many fit, on all pages.
    total: TotalView,
    /// Grows whenever the list changes.
    revision: u64,
}

/// How many devices fit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum TotalView {
    /// So many.
    Exact(usize),
    /// So many or more: the hub is still reading its devices.
    AtLeast(usize),
}

/// A device at a glance.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetDeviceView {
    /// Which.
    device_id: String,
    /// `disabled`, `flapping`, `connected`, `offline` or `never`: the first of these that it is.
    state: &'static str,
    /// When it last connected or disconnected; of a disabled or a flapping one, since when it is; `null`: never.
    #[schema(format = DateTime)]
    state_since: Option<String>,
    /// Why its last connection ended; `null` when it never had one, or that ended in an earlier life of the hub.
    reason: Option<&'static str>,
    /// `sas`, `selfSigned` or `certificateAuthority`.
    authentication: &'static str,
    /// Whether it may connect.
    enabled: bool,
    /// Whether somebody shut it out.
    held: bool,
    /// Whether it has a connection.
    connected: bool,
    /// How many commands wait for it.
    queue: u32,
    /// When it last connected or sent; of one that is connected up to a minute old.
    #[schema(format = DateTime)]
    last_seen: Option<String>,
    /// The manifest that it comes from; `null` when there is none.
    managed_by: Option<SourceView>,
}

/// A manifest.
#[derive(Debug, Serialize, ToSchema)]
pub struct SourceView {
    /// `Kubernetes` or `ManifestFolder`.
    kind: &'static str,
    /// The namespace, on Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// The name, on Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// Handles `GET /api/v1/devices`: the fleet's list, without keys.
#[utoipa::path(
    get,
    path = "/api/v1/devices",
    operation_id = "list_fleet",
    tag = "devices",
    params(
        ("prefix" = Option<String>, Query, description = "What ids begin with."),
        ("state" = Option<String>, Query, description = "`offline`, `flapping`, `disabled`, `never`, `connected`; several with commas."),
        ("auth" = Option<String>, Query, description = "`sas`, `selfSigned`, `certificateAuthority`; several with commas."),
        ("reason" = Option<String>, Query, description = "Why the last connection ended, as in `GET /api/v1/devices/{id}/connections`; several with commas."),
        ("enabled" = Option<bool>, Query, description = "Whether they may connect."),
        ("held" = Option<bool>, Query, description = "Whether somebody shut them out."),
        ("managed" = Option<bool>, Query, description = "Whether they come from a manifest."),
        ("flapping" = Option<bool>, Query, description = "Whether they connect again and again, and are enabled."),
        ("seenBefore" = Option<String>, Query, description = "Last seen before this time, or never."),
        ("seenAfter" = Option<String>, Query, description = "Last seen at this time or later."),
        ("queueMin" = Option<u32>, Query, description = "So many commands wait, or more."),
        ("tag" = Option<String>, Query, description = "`name:value`, or a `name` that is there; what lies in an object is named with dots. The parameter once more for another tag, which has to fit too."),
        ("sort" = Option<String>, Query, description = "`id`, `state`, `since`, `lastSeen`, `queue`, `reason`; when absent, the newest change first."),
        ("order" = Option<String>, Query, description = "`asc`, when absent, or `desc`."),
        ("after" = Option<String>, Query, description = "The `next` of the page before, with the same order."),
        ("skip" = Option<usize>, Query, description = "Leave out so many first, as whoever goes to the middle of the list does; behind `after`, if that is there."),
        ("limit" = Option<usize>, Query, description = "How many, 1 to 1000; 100 when absent."),
    ),
    responses(
        (status = 200, description = "A page of the list.", body = FleetPageView),
        (status = 429, description = "ThrottlingException: too many ask for it; the header Retry-After says when to come again.", body = ErrorDocument),
        Refusals,
    ),
)]
pub async fn list(
    _: RegistryReader,
    State(hub): State<Arc<Hub>>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Json<FleetPageView>, Failure> {
    let Query(pairs) = query.map_err(|rejection| Failure::argument_invalid(rejection.body_text()))?;
    let query = parse(&pairs)?;
    Ok(Json(page(list_fleet(&hub, query).await?)))
}

impl From<TooManyPages> for Failure {
    fn from(busy: TooManyPages) -> Self {
        Self::throttled(busy.to_string(), RETRY_AFTER)
    }
}

fn parse(pairs: &[(String, String)]) -> Result<FleetQuery, Failure> {
    let mut query = FleetQuery { limit: PAGE_DEFAULT, ..FleetQuery::default() };
    let (mut sort, mut descending) = (None, None);
    let mut said = Vec::new();
    for (name, text) in pairs.iter().filter(|(_, text)| !text.is_empty()) {
        if name != "tag" && said.contains(&name) {
            return Err(Failure::argument_invalid(format!("{name} is there twice")));
        }
        said.push(name);
        let wrong = |wanted: &str| Failure::argument_invalid(format!("{name} is {text:?}, but {wanted}"));
        let flag = || text.parse::<bool>().map(Some).map_err(|_| wrong("it is true or false"));
        let time = || text.parse::<UnixMillis>().map(Some).map_err(|_| wrong("a time is ISO 8601"));
        let filter = &mut query.filter;
        match name.as_str() {
            "prefix" => filter.prefix.clone_from(text),
            "state" => filter.states = words(text, DeviceState::named).ok_or_else(|| wrong("there is no such state"))?,
            "auth" => filter.credentials = words(text, credentials).ok_or_else(|| wrong("there is no such authentication"))?,
            "reason" => filter.reasons = words(text, reason).ok_or_else(|| wrong("there is no such reason"))?,
            "enabled" => filter.enabled = flag()?,
            "held" => filter.held = flag()?,
            "managed" => filter.managed = flag()?,
            "flapping" => filter.flapping = flag()?,
            "seenBefore" => filter.seen_before = time()?,
            "seenAfter" => filter.seen_after = time()?,
            "queueMin" => filter.queue_min = text.parse().map_err(|_| wrong("it is a number"))?,
            "tag" if filter.tags.len() == TAGS_MAX => return Err(wrong(&format!("a list is asked for with {TAGS_MAX} tags at most"))),
            "tag" => filter.tags.push(Tag::wanted(text)),
            "sort" => {
                sort = Some(Sort::named(text).ok_or_else(|| wrong("the list is sorted by id, state, since, lastSeen, queue or reason"))?)
            }
            "order" => descending = Some(order(text).ok_or_else(|| wrong("it is asc or desc"))?),
            "after" => query.after = Some(text.parse().map_err(|_| wrong("it is the next of the page before"))?),
            "skip" => query.skip = text.parse().map_err(|_| wrong("it is a number"))?,
            "limit" => query.limit = limit(text).ok_or_else(|| wrong("it is a number from 1 to 1000"))?,
            // As elsewhere: somebody else's, such as api-version.
            _ => {}
        }
    }
    (query.sort, query.descending) = match sort {
        Some(sort) => (sort, descending.unwrap_or(false)),
        // The newest change first.
        None => (Sort::Since, descending.unwrap_or(true)),
    };
    Ok(query)
}

/// What is named, each once.
fn words<T: PartialEq>(text: &str, named: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let mut found = Vec::new();
    for word in text.split(',') {
        let word = named(word.trim())?;
        if !found.contains(&word) {
            found.push(word);
        }
    }
    Some(found)
}

fn credentials(name: &str) -> Option<Credentials> {
    Credentials::ALL.into_iter().find(|known| known.name() == name)
}

fn reason(name: &str) -> Option<DisconnectReason> {
    DisconnectReason::ALL.into_iter().find(|known| known.name() == name)
}

fn order(text: &str) -> Option<bool> {
    match text {
        "asc" => Some(false),
        "desc" => Some(true),
        _ => None,
    }
}

fn limit(text: &str) -> Option<usize> {
    text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit))
}

fn page(page: FleetPage) -> FleetPageView {
    let FleetPage { devices, next, total, whole, revision } = page;
    FleetPageView {
        devices: devices.iter().map(device).collect(),
        next: next.map(|place| place.to_string()),
        total: if whole { TotalView::Exact(total) } else { TotalView::AtLeast(total) },
        revision,
    }
}

fn device(device: &FleetDevice) -> FleetDeviceView {
    let FleetDevice { id, state, state_since, enabled, held, credentials, source, seen, queue } = device;
    FleetDeviceView {
        device_id: id.to_string(),
        state: state.name(),
        state_since: state_since.map(|time| time.to_string()),
        reason: seen.reason.map(DisconnectReason::name),
        authentication: credentials.name(),
        enabled: *enabled,
        held: *held,
        connected: seen.connected,
        queue: *queue,
        last_seen: seen.last.map(|time| time.to_string()),
        managed_by: source.as_ref().map(manifest),
    }
}

fn manifest(source: &Source) -> SourceView {
    match source {
        Source::ManifestFolder => SourceView { kind: "ManifestFolder", namespace: None, name: None },
        Source::Kubernetes(place) => {
            let (namespace, name) = place.split_once('/').unwrap_or(("", place));
            SourceView { kind: "Kubernetes", namespace: Some(namespace.to_owned()), name: Some(name.to_owned()) }
        }
    }
}

#[cfg(test)]
mod tests;
