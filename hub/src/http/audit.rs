//! `GET /api/v1/audit`: who did what, through every door.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::authorization::RegistryReader;
use super::error::Failure;
use super::openapi::Refusals;
use crate::core::audit::{AuditEntry, AuditId};
use crate::core::principal::{By, Principal};
use crate::ops::audit::read_audit;
use crate::ops::{AuditQuery, Hub};

/// How many entries a page has that does not say.
const PAGE_DEFAULT: usize = 100;

/// The most that it may have.
const PAGE_MAX: usize = 1000;

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditPage {
    /// Only entries with a smaller id: what the page before this one has in `next`.
    before: Option<String>,
    /// How many, 1 to 1000; 100 when absent.
    limit: Option<String>,
    /// Only those about this device.
    device: Option<String>,
    /// Only those of the person, the policy or the manifest of this name.
    who: Option<String>,
}

/// A page of the audit.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditDocument {
    /// The latest first.
    entries: Vec<EntryDocument>,
    /// What to send as `before` for the next page; `null` when there is none.
    next: Option<String>,
}

/// Who did something.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Principal)]
pub struct PrincipalDocument {
    /// `person`, `policy`, `manifest` or `hub`.
    kind: &'static str,
    /// The name. Of a refused sign-in: the one that was claimed. The hub has none.
    name: String,
    /// How a person had signed in: `link`, `password`, `kubernetes` or `openid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'static str>,
}

/// Something that was done, or refused.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub struct EntryDocument {
    /// A number, as text; later entries have larger ones.
    entry_id: String,
    /// When.
    #[schema(format = DateTime)]
    time: String,
    /// Who.
    who: PrincipalDocument,
    /// Through which door: `dashboard`, `rest`, `cli`, `manifest` or `file`.
    door: &'static str,
    /// From which address; `null` for what the hub did by itself.
    address: Option<String>,
    /// What: `SignIn`, `SignOut`, `SessionReviewed`, `DeviceCreated`, `DeviceChanged`, `DeviceEnabled`, `DeviceDisabled`,
    /// `CredentialsReplaced`, `DeviceDeleted`, `SecretsShown`, `BodiesRead`, `CommandSent`, `CommandSentAgain`, `CommandsPurged` or
    /// `SettingsFollowed`.
    action: &'static str,
    /// To which device, if to one.
    device_id: Option<String>,
    /// What more there is to say, for people.
    detail: Option<String>,
    /// `Done` or `Refused`.
    outcome: &'static str,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl EntryDocument {
    /// Of one entry.
    #[must_use]
    pub fn of(entry: &AuditEntry) -> Self {
        let AuditEntry { id, time, by: By { principal, door, address }, action, device, detail, refused } = entry;
        let (kind, method) = match principal {
            Principal::Person(_, method) => ("person", Some(method.name())),
            Principal::Policy(_) | Principal::Manifest(_) | Principal::Hub => (principal.kind(), None),
        };
        Self {
            entry_id: id.to_string(),
            time: time.to_string(),
            who: PrincipalDocument { kind, name: principal.name().to_owned(), method },
            door: door.name(),
            address: address.map(|address| address.to_string()),
            action: action.name(),
            device_id: device.clone(),
            detail: detail.clone(),
            outcome: if refused.is_some() { "Refused" } else { "Done" },
            reason: refused.clone(),
        }
    }
}

/// Handles `GET /api/v1/audit`: who did what, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    operation_id = "list_audit",
    tag = "audit",
    params(AuditPage),
    responses((status = 200, description = "A page of the audit.", body = AuditDocument), Refusals),
)]
pub async fn list(
    State(hub): State<Arc<Hub>>,
    _: RegistryReader,
    page: Result<Query<AuditPage>, QueryRejection>,
) -> Result<Json<AuditDocument>, Failure> {
    let Query(page) = page.map_err(|rejection| Failure::argument_invalid(rejection.body_text()))?;
    let wrong = |name: &str, text: &str, wanted: &str| Failure::argument_invalid(format!("{name} is {text:?}, but {wanted}"));
    let before = match &page.before {
        Some(text) => {
            let id = text.parse().ok().map(AuditId).filter(|id| *id <= AuditId::MAX);
            Some(id.ok_or_else(|| wrong("before", text, "it is the id of an entry"))?)
        }
        None => None,
    };
    let limit = match page.limit.as_deref().map(|text| (text, text.parse())) {
        Some((_, Ok(limit @ 1..=PAGE_MAX))) => limit,
        Some((text, _)) => return Err(wrong("limit", text, "it is a number from 1 to 1000")),
        None => PAGE_DEFAULT,
    };
    // No name has them, and not every database takes them.
    for (name, text) in [("device", &page.device), ("who", &page.who)] {
        if let Some(text) = text.as_deref().filter(|text| text.contains('\0')) {
            return Err(wrong(name, text, "no name has a character NUL"));
        }
    }
    let query = AuditQuery { before, device: page.device, who: page.who, without: Vec::new(), limit };
    let entries = read_audit(&hub, &query).await?;
    let next = entries.last().filter(|_| entries.len() == limit).map(|last| last.id.to_string());
    Ok(Json(AuditDocument { entries: entries.iter().map(EntryDocument::of).collect(), next }))
}
