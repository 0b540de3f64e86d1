//! Devices in our own API: one without its keys, its keys by themselves, and what is done to many at once.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::authorization::{RegistryReader, RegistryWriter, SecretsReader};
use super::body;
use super::connections;
use super::error::{ErrorDocument, Failure};
use super::openapi::Refusals;
use super::registry::{PathDevice, document};
use crate::core::device_id::DeviceId;
use crate::core::event::PartitionId;
use crate::core::fleet::{DeviceState, Seen};
use crate::core::identity::change::{Refused, StatusReason};
use crate::core::identity::{Authentication, DeviceStatus};
use crate::ops::act_on_devices::{ActionRefused, DEVICES_MAX, DeviceAction, KeySlot, act_on_devices};
use crate::ops::read_devices::get_device;
use crate::ops::show_secrets::{ShowSecretsError, show_secrets};
use crate::ops::{Hub, Session};

/// A thousand ids of 128 characters, and some words.
const ACTIONS_MAX_BYTES: usize = 256 * 1024;

/// Handles `GET /api/v1/devices/{id}`: as `GET /devices/{id}`, without the keys; and how it is, who it is connected as, and whether it flaps.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{id}",
    operation_id = "get_device",
    tag = "devices",
    params(("id" = String, Path, description = "The device.")),
    responses(
        (status = 200, description = "The identity, and its device as it is now.", body = Object),
        (status = 404, description = "DeviceNotFound.", body = ErrorDocument),
        Refusals,
    ),
)]
pub async fn get(State(hub): State<Arc<Hub>>, _: RegistryReader, PathDevice(id): PathDevice) -> Result<Response, Failure> {
    let view = get_device(&hub, &id).await?.ok_or_else(|| Refused::NotFound(id.clone()))?;
    let flapping = hub.presence.flapping.of(&id, hub.now());
    let seen = Seen { connected: view.connected, since: view.connection_state_updated_time, ..Seen::default() };
    let enabled = view.identity.status() == DeviceStatus::Enabled;
    let mut device = document::without_keys(&view);
    device["state"] = DeviceState::of(enabled, flapping.is_some(), seen).name().into();
    device["flapping"] = json!(flapping.map(connections::flapping));
    device["connections"] = hub.presence.sessions_of(&id).iter().filter(|session| session.ended().is_none()).map(connection).collect();
    device["partition"] = PartitionId::of_device(&id, hub.events.partition_count()).0.into();
    Ok(body::json(StatusCode::OK, &device))
}

fn connection(session: &Session) -> Value {
    json!({
        "connection": session.connection().to_string(),
        "protocol": session.protocol().name(),
        "address": session.peer().ip().to_string(),
        "since": session.since().to_string(),
    })
}

/// A device's keys.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretsDocument {
    /// Whose.
    device_id: String,
    /// The first key in Base64; `null` for a device with a certificate.
    primary_key: Option<String>,
    /// The second.
    secondary_key: Option<String>,
    /// What an SDK takes, with the first key.
    connection_string: String,
}

/// Handles `POST /api/v1/devices/{id}/secrets`: a device's keys, which the audit tells of. Needs RegistryRead, or the right Secrets.
#[utoipa::path(
    post,
    path = "/api/v1/devices/{id}/secrets",
    operation_id = "show_secrets",
    tag = "devices",
    params(("id" = String, Path, description = "The device.")),
    responses(
        (status = 200, description = "The keys, and a connection string.", body = SecretsDocument),
        (status = 404, description = "DeviceNotFound.", body = ErrorDocument),
        Refusals,
    ),
)]
pub async fn show_secrets_of(
    State(hub): State<Arc<Hub>>,
    SecretsReader(caller): SecretsReader,
    PathDevice(id): PathDevice,
) -> Result<Response, Failure> {
    let identity = show_secrets(&hub, &caller.by(), &id).await?;
    let host = hub.names.primary();
    let (keys, proof) = match &identity.authentication {
        Authentication::SymmetricKey { primary, secondary } => {
            let keys = [primary, secondary].map(|key| Some(key.expose_base64()));
            (keys, format!("SharedAccessKey={}", primary.expose_base64()))
        }
        Authentication::SelfSigned { .. } | Authentication::CertificateAuthority => ([None, None], "x509=true".to_owned()),
    };
    let [primary_key, secondary_key] = keys;
    let connection_string = format!("HostName={host};DeviceId={id};{proof}");
    let document = SecretsDocument { device_id: id.to_string(), primary_key, secondary_key, connection_string };
    let mut response = body::json(StatusCode::OK, &document);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

impl From<ShowSecretsError> for Failure {
    fn from(error: ShowSecretsError) -> Self {
        match error {
            ShowSecretsError::UnknownDevice(id) => Refused::NotFound(id).into(),
            ShowSecretsError::Registry(error) => error.into(),
            ShowSecretsError::Audit(error) => error.into(),
        }
    }
}

/// What is to be done, and to which devices.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionsDocument {
    /// What.
    action: ActionName,
    /// To which devices, at most 1000.
    ids: Vec<String>,
    /// Why, at most 128 characters: the `statusReason` of what is enabled or disabled.
    reason: Option<String>,
    /// Which key is replaced, when `action` is `rotate`.
    slot: Option<SlotName>,
}

/// What can be done to devices.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum ActionName {
    /// Lets them in again.
    Enable,
    /// Shuts them out; of a device with a manifest, a hold.
    Disable,
    /// Replaces a key.
    Rotate,
    /// Removes them.
    Delete,
}

/// A key's place.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum SlotName {
    /// The first.
    Primary,
    /// The second.
    Secondary,
}

/// What became of an action.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActedDocument {
    /// Of each device, in the order of the request; once, if it came twice.
    results: Vec<ResultDocument>,
}

/// What became of one device.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResultDocument {
    /// Which.
    device_id: String,
    /// Whether it was done.
    done: bool,
    /// How many connections of the device are closed by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_closed: Option<usize>,
    /// Within how many milliseconds of the beginning of the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_in_ms: Option<u64>,
    /// Why it was not done: the word that the same change of one device would get.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    /// The same, for people; of a device with a manifest, the change to make there.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Handles `POST /api/v1/devices/actions`: enables, disables, rotates or deletes up to 1000 devices, each by itself. Needs RegistryWrite, or
/// the right Devices.
#[utoipa::path(
    post,
    path = "/api/v1/devices/actions",
    operation_id = "act_on_devices",
    tag = "devices",
    request_body = ActionsDocument,
    responses((status = 200, description = "What became of each.", body = ActedDocument), Refusals),
)]
pub async fn act(State(hub): State<Arc<Hub>>, RegistryWriter(caller): RegistryWriter, body: Body) -> Result<Response, Failure> {
    let bytes = body::read(body, ACTIONS_MAX_BYTES).await?;
    let wanted: ActionsDocument = serde_json::from_slice(&bytes).map_err(|error| Failure::argument_invalid(error.to_string()))?;
    if wanted.ids.len() > DEVICES_MAX {
        return Err(Failure::argument_invalid(format!("at most {DEVICES_MAX} ids at once, these are {}", wanted.ids.len())));
    }
    let ids: Result<Vec<DeviceId>, _> = wanted.ids.iter().map(|id| DeviceId::parse(id)).collect();
    let ids = ids.map_err(|invalid| Failure::argument_invalid(invalid.to_string()))?;
    let reason = wanted.reason.as_deref().filter(|reason| !reason.is_empty()).map(StatusReason::parse).transpose();
    let reason = reason.map_err(|invalid| Failure::argument_invalid(invalid.to_string()))?;
    let action = match (wanted.action, wanted.slot) {
        (ActionName::Enable, None) => DeviceAction::Enable,
        (ActionName::Disable, None) => DeviceAction::Disable,
        (ActionName::Delete, None) => DeviceAction::Delete,
        (ActionName::Rotate, Some(SlotName::Primary)) => DeviceAction::Rotate(KeySlot::Primary),
        (ActionName::Rotate, Some(SlotName::Secondary)) => DeviceAction::Rotate(KeySlot::Secondary),
        (ActionName::Rotate, None) => return Err(Failure::argument_invalid("rotate needs a slot: primary or secondary")),
        (_, Some(_)) => return Err(Failure::argument_invalid("only rotate has a slot")),
    };
    let results = act_on_devices(&hub, &caller.by(), ids, &action, reason).await?;
    let results = results.into_iter().map(|(id, result)| match result {
        Ok(acted) => ResultDocument {
            device_id: id.to_string(),
            done: true,
            connections_closed: Some(acted.connections_closed),
            closed_in_ms: Some(u64::try_from(acted.closed_in.as_millis()).unwrap_or(u64::MAX)),
            error_code: None,
            message: None,
        },
        Err(refused) => {
            let failure = Failure::from(refused);
            ResultDocument {
                device_id: id.to_string(),
                done: false,
                connections_closed: None,
                closed_in_ms: None,
                error_code: Some(failure.code()),
                message: Some(failure.text().to_owned()),
            }
        }
    });
    Ok(body::json(StatusCode::OK, &ActedDocument { results: results.collect() }))
}

impl From<ActionRefused> for Failure {
    fn from(refused: ActionRefused) -> Self {
        let text = refused.to_string();
        match refused {
            ActionRefused::Change(error) => error.into(),
            ActionRefused::NoKeys(_) | ActionRefused::OfManifest { .. } => Self::new(StatusCode::BAD_REQUEST, "InvalidOperation", text),
        }
    }
}

#[cfg(test)]
mod tests;
