//! Commands in our own API: sent, listed, read, sent again; and the purge, as Azure's API has it. Needs ServiceConnect.
//!
//! A command is sent as a device sends an event (facts §7.2): the body is the payload, headers say the rest. What is listed comes newest
//! first; a page says in `next` what `before` has to be for the one that follows it.

pub mod json;

use std::str::FromStr as _;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use super::authorization::{BackEnd, BodyReader, CommandReader};
use super::error::{ErrorDocument, Failure};
use super::message_headers::{self, Field};
use super::openapi::Refusals;
use super::registry::PathDevice;
use super::{body, device_bound};
use crate::core::command::{Acknowledgement, COMMAND_MAX_BYTES, Command, CommandId, Outcome};
use crate::core::device_id::DeviceId;
use crate::core::message::{self, Message, encoding};
use crate::ops::Hub;
use crate::ops::purge_commands::purge_commands;
use crate::ops::read_commands::{CommandFilter, CommandQuery, CommandView, get_command, list_commands, read_command_content};
use crate::ops::send_again::send_again;
use crate::ops::send_command::{NewCommand, send_command_by};
use json::{CommandDocument, CommandsDocument, HistoryDocument};

/// How many commands a page has that does not say.
const PAGE_DEFAULT: usize = 100;

/// The most that it may have.
const PAGE_MAX: usize = 1000;

/// What outcomes dead-letter a command.
const DEAD_LETTERED: [Outcome; 4] = [Outcome::Expired, Outcome::DeliveryCountExceeded, Outcome::Rejected, Outcome::Purged];

/// The command that the path names.
#[derive(Debug)]
pub struct PathCommand(CommandId);

impl<S: Send + Sync> FromRequestParts<S> for PathCommand {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let text = Path::<String>::from_request_parts(parts, state).await.map(|Path(text)| text).unwrap_or_default();
        text.parse().map(|id| Self(CommandId(id))).map_err(|_| no_command(&text))
    }
}

fn no_command(id: &str) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "CommandNotFound", format!("there is no command {id}, or no more"))
}

/// Handles `POST /api/v1/devices/{id}/commands`: answered when the command is on disk.
#[utoipa::path(
    post,
    path = "/api/v1/devices/{id}/commands",
    operation_id = "send_command",
    tag = "commands",
    params(
        ("id" = String, Path, description = "The device."),
        ("iothub-ack" = Option<String>, Header, description = "Which receipts are wanted: `none` (when absent), `positive`, `negative` or `full`."),
        ("iothub-messageid" = Option<String>, Header, description = "The message-id, which receipts name as `originalMessageId`."),
        ("iothub-correlationid" = Option<String>, Header, description = "The correlation-id."),
        ("iothub-userid" = Option<String>, Header, description = "The user-id."),
        ("iothub-expiry" = Option<String>, Header, description = "When it expires, in ISO 8601, at most 2 days from now; the hub's default when absent."),
        ("iothub-contenttype" = Option<String>, Header, description = "The payload's content-type."),
        ("iothub-contentencoding" = Option<String>, Header, description = "The payload's content-encoding."),
        ("iothub-app-{name}" = Option<String>, Header, description = "An application property; there may be many."),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The payload, at most 64 KiB with everything that headers say."),
    responses(
        (
            status = 201,
            description = "The command, on disk.",
            body = CommandDocument,
            headers(("Location" = String, description = "Where to read what becomes of it.")),
        ),
        (status = 403, description = "DeviceMaximumQueueDepthExceeded: the device's queue is full. IotHubQuotaExceeded: the hub's are. \
            InvalidMessageExpiryTime: it would expire more than 2 days from now.", body = ErrorDocument),
        (status = 404, description = "DeviceNotFound.", body = ErrorDocument),
        (status = 413, description = "MessageTooLarge.", body = ErrorDocument),
        Refusals,
    ),
)]
pub async fn send(
    State(hub): State<Arc<Hub>>,
    BackEnd(caller): BackEnd,
    PathDevice(device): PathDevice,
    request: Request<Body>,
) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let body = body::read_message(&head.headers, body, COMMAND_MAX_BYTES).await?;
    let fields = message_headers::of(&head.headers, head.extensions.get())?;
    let command =
        NewCommand { message: message(&fields, &body)?, ack: acknowledgement(&fields)?, sent_by: caller.name().to_owned(), again_of: None };
    Ok(created(send_command_by(&hub, &caller.by(), device, command).await?))
}

fn message<'a>(fields: &'a [Field<'a>], body: &'a [u8]) -> Result<Message<'a>, Failure> {
    let mut message = Message { body: message::Body::Data(vec![body.into()]), ..Message::default() };
    for (name, value) in fields {
        message_headers::set(&mut message, name, value)?;
    }
    Ok(message)
}

fn acknowledgement(fields: &[Field<'_>]) -> Result<Acknowledgement, Failure> {
    let wanted = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("iothub-ack")).map(|(_, value)| value);
    let ack = wanted.filter(|value| !value.is_empty()).map(|value| Acknowledgement::from_str(value)).transpose();
    Ok(ack.map_err(|invalid| Failure::argument_invalid(invalid.to_string()))?.unwrap_or_default())
}

/// A command that was just taken.
fn created(command: Command) -> Response {
    let location = HeaderValue::try_from(format!("/api/v1/commands/{}", command.id)).expect("a number is visible ASCII");
    let view = CommandView { command, state: "Enqueued", locked_until: None, can_be_sent_again: false };
    let mut response = body::json(StatusCode::CREATED, &CommandDocument::of(&view));
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// Whose commands are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OfDevice {
    /// Only this device's commands.
    device: Option<String>,
}

/// Which commands are listed, and how many.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// `Pending`, `DeadLettered`, or outcomes with commas between them: `Completed`, `Expired`, `DeliveryCountExceeded`, `Rejected`,
    /// `Purged`, `DeviceDeleted`. All when absent.
    state: Option<String>,
    /// Only commands with a smaller id: what the page before this one has in `next`.
    before: Option<String>,
    /// How many, 1 to 1000; 100 when absent.
    limit: Option<String>,
}

/// Handles `GET /api/v1/commands`: the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/commands",
    operation_id = "list_commands",
    tag = "commands",
    params(OfDevice, Page),
    responses((status = 200, description = "A page of commands.", body = CommandsDocument), Refusals),
)]
pub async fn list(
    State(hub): State<Arc<Hub>>,
    _: CommandReader,
    of: Result<Query<OfDevice>, QueryRejection>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(of) = of.map_err(|rejection| Failure::argument_invalid(rejection.body_text()))?;
    let device = of.device.as_deref().map(DeviceId::parse).transpose();
    list_page(&hub, device.map_err(|invalid| Failure::argument_invalid(invalid.to_string()))?, page).await
}

/// Handles `GET /api/v1/devices/{id}/commands`: the newest first, also of a device that is gone.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{id}/commands",
    operation_id = "list_device_commands",
    tag = "commands",
    params(("id" = String, Path, description = "The device."), Page),
    responses((status = 200, description = "A page of the device's commands.", body = CommandsDocument), Refusals),
)]
pub async fn list_of_device(
    State(hub): State<Arc<Hub>>,
    _: CommandReader,
    PathDevice(device): PathDevice,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Failure> {
    list_page(&hub, Some(device), page).await
}

async fn list_page(hub: &Arc<Hub>, device: Option<DeviceId>, page: Result<Query<Page>, QueryRejection>) -> Result<Response, Failure> {
    let Query(page) = page.map_err(|rejection| Failure::argument_invalid(rejection.body_text()))?;
    let wrong = |name: &str, text: &str, wanted: &str| Failure::argument_invalid(format!("{name} is {text:?}, but {wanted}"));
    let before = match &page.before {
        Some(text) => Some(CommandId(text.parse().map_err(|_| wrong("before", text, "it is the id of a command"))?)),
        None => None,
    };
    let limit = match page.limit.as_deref().map(|text| (text, text.parse())) {
        Some((_, Ok(limit @ 1..=PAGE_MAX))) => limit,
        Some((text, _)) => return Err(wrong("limit", text, "it is a number from 1 to 1000")),
        None => PAGE_DEFAULT,
    };
    let state = match page.state.as_deref() {
        Some(text) => filter(text).ok_or_else(|| wrong("state", text, "it is Pending, DeadLettered, or outcomes with commas between"))?,
        None => CommandFilter::Any,
    };
    let views = list_commands(hub, CommandQuery { device, state, before, limit }).await?;
    let next = if views.len() == limit { views.last().map(|view| view.command.id) } else { None };
    Ok(body::json(StatusCode::OK, &CommandsDocument::of(&views, next)))
}

/// `None`: not one.
fn filter(text: &str) -> Option<CommandFilter> {
    if text.eq_ignore_ascii_case("pending") {
        return Some(CommandFilter::Pending);
    }
    if text.eq_ignore_ascii_case("deadlettered") {
        return Some(CommandFilter::Ended(DEAD_LETTERED.to_vec()));
    }
    let outcome = |name: &str| Outcome::ALL.into_iter().find(|outcome| outcome.name().eq_ignore_ascii_case(name.trim()));
    text.split(',').map(outcome).collect::<Option<Vec<_>>>().map(CommandFilter::Ended)
}

/// Handles `GET /api/v1/commands/{id}`: one command with its timeline, kept 7 days after its end.
#[utoipa::path(
    get,
    path = "/api/v1/commands/{id}",
    operation_id = "get_command",
    tag = "commands",
    params(("id" = String, Path, description = "The command.")),
    responses(
        (status = 200, description = "The command with its timeline.", body = HistoryDocument),
        (status = 404, description = "CommandNotFound.", body = ErrorDocument),
        Refusals,
    ),
)]
pub async fn get(State(hub): State<Arc<Hub>>, _: CommandReader, PathCommand(id): PathCommand) -> Result<Response, Failure> {
    let history = get_command(&hub, id).await?.ok_or_else(|| no_command(&id.to_string()))?;
    Ok(body::json(StatusCode::OK, &HistoryDocument::of(&history)))
}

/// Handles `GET /api/v1/commands/{id}/content`: the payload, with the headers with which a device gets it. A browser saves it, and never
/// shows it: whoever may send commands must not get to run a script in the page of somebody who looks at them.
#[utoipa::path(
    get,
    path = "/api/v1/commands/{id}/content",
    operation_id = "get_command_content",
    tag = "commands",
    params(("id" = String, Path, description = "The command.")),
    responses(
        (
            status = 200,
            description = "The payload, of the content type that its sender named; properties are in headers, as a device gets them.",
            content_type = "application/octet-stream",
            body = Vec<u8>,
        ),
        (status = 404, description = "CommandNotFound: no such command, or its content is not kept any more.", body = ErrorDocument),
        Refusals,
    ),
)]
pub async fn get_content(
    State(hub): State<Arc<Hub>>,
    BodyReader(caller): BodyReader,
    PathCommand(id): PathCommand,
) -> Result<Response, Failure> {
    let content = read_command_content(&hub, &caller.by(), id).await?.ok_or_else(|| {
        Failure::new(StatusCode::NOT_FOUND, "CommandNotFound", format!("the content of command {id} is not kept, or not any more"))
    })?;
    let message = encoding::decode(&content).map_err(|damage| device_bound::damaged(id, &damage))?;
    let mut headers = HeaderMap::new();
    device_bound::headers::describe(&message, &mut headers);
    // A browser would unpack what its sender says is packed; `iothub-contentencoding` says it to whoever wants to know.
    headers.remove(header::CONTENT_ENCODING);
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    Ok((headers, message.body.to_bytes().into_owned()).into_response())
}

/// Handles `POST /api/v1/commands/{id}/send-again`: a dead-lettered command goes out once more, as a new one, with the hub's default TTL.
#[utoipa::path(
    post,
    path = "/api/v1/commands/{id}/send-again",
    operation_id = "send_command_again",
    tag = "commands",
    params(("id" = String, Path, description = "A command that was dead-lettered.")),
    responses(
        (
            status = 201,
            description = "The new command, on disk.",
            body = CommandDocument,
            headers(("Location" = String, description = "Where to read what becomes of it.")),
        ),
        (status = 403, description = "DeviceMaximumQueueDepthExceeded, IotHubQuotaExceeded.", body = ErrorDocument),
        (status = 404, description = "CommandNotFound, DeviceNotFound.", body = ErrorDocument),
        (status = 409, description = "InvalidOperation: it was not dead-lettered.", body = ErrorDocument),
        Refusals,
    ),
)]
pub async fn again(State(hub): State<Arc<Hub>>, BackEnd(caller): BackEnd, PathCommand(id): PathCommand) -> Result<Response, Failure> {
    Ok(created(send_again(&hub, &caller.by(), id).await?))
}

/// Handles `DELETE /api/v1/devices/{id}/commands`: empties the device's queue, of what is locked too.
#[utoipa::path(
    delete,
    path = "/api/v1/devices/{id}/commands",
    operation_id = "purge_commands",
    tag = "commands",
    params(("id" = String, Path, description = "The device.")),
    responses(
        (status = 200, description = "Done. `totalMessagesPurged` says how many commands there were.", body = Object),
        (status = 404, description = "DeviceNotFound.", body = ErrorDocument),
        Refusals,
    ),
)]
pub async fn purge_own(state: State<Arc<Hub>>, caller: BackEnd, device: PathDevice) -> Result<Response, Failure> {
    purge(state, caller, device).await
}

/// Handles Azure's `DELETE /devices/{id}/commands`: empties the device's queue, of what is locked too. Facts §7.4.
pub async fn purge(State(hub): State<Arc<Hub>>, BackEnd(caller): BackEnd, PathDevice(device): PathDevice) -> Result<Response, Failure> {
    let purged = purge_commands(&hub, &caller.by(), device.clone()).await?;
    Ok(body::json(StatusCode::OK, &json!({ "totalMessagesPurged": purged, "deviceId": device.as_str(), "moduleId": null })))
}

#[cfg(test)]
mod tests;
