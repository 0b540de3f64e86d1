//! Commands for devices without a connection, as Azure has it (facts §7.2): received one at a time, and settled by their lock tokens.
//!
//! | request | |
//! |---|---|
//! | `GET /devices/{id}/messages/deviceBound` | 200 with a command, 204 without |
//! | `DELETE …/deviceBound/{lockToken}` | completes it; with `?reject` rejects it |
//! | `POST …/deviceBound/{lockToken}/abandon` | gives it back |
//!
//! Java's client asks again at once when it got nothing; so "nothing" is answered after a moment in which a command may come.

pub mod headers;
pub mod polls;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};

use super::authorization::Device;
use super::error::Failure;
use super::header_case::Spellings;
use crate::core::command::feedback::LockLost;
use crate::core::command::{CommandId, LockToken, Settlement};
use crate::core::message::encoding::{self, Damaged};
use crate::ops::Hub;
use crate::ops::receive_commands::next_command;
use crate::ops::settle_command::settle_command;
use polls::Polls;

/// How long a poll waits for a command. A client that asks again at once makes one request a second, and no proxy gives up so soon.
const POLL_TIME: Duration = Duration::from_secs(1);

/// For how many seconds the client wants the lock; Java's sends 180.
const LOCK_TIME: HeaderName = HeaderName::from_static("iothub-messagelocktimeout");

/// The lock that the path's `token` names. What is no lock token is no lock that anybody has.
#[derive(Debug)]
pub struct LockTokenOf(pub(super) LockToken);

impl<S: Send + Sync> FromRequestParts<S> for LockTokenOf {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = RawPathParams::from_request_parts(parts, state).await.ok();
        let text = path.iter().flatten().find(|(name, _)| *name == "token").map(|(_, text)| text);
        text.and_then(|text| text.parse().ok()).map(Self).ok_or_else(|| LockLost.into())
    }
}

/// Handles `GET /devices/{id}/messages/deviceBound`.
pub async fn receive(
    State(hub): State<Arc<Hub>>,
    Extension(polls): Extension<Arc<Polls>>,
    spellings: Option<Extension<Spellings>>,
    Device { right, origin }: Device,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let lock_time = lock_time(&headers)?;
    let waiting = polls.begin(&right.device_id);
    let wait = waiting.as_ref().map_or(Duration::ZERO, |_| POLL_TIME);
    let Some(delivery) = next_command(&hub, &right, origin, lock_time, wait).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let message = encoding::decode(&delivery.content).map_err(|damage| damaged(delivery.command, &damage))?;
    if let Some(Extension(spellings)) = spellings {
        spellings.answer_with(headers::spellings(&message));
    }
    Ok((headers::of(&delivery, &message), message.body.to_bytes().into_owned()).into_response())
}

/// Handles `DELETE /devices/{id}/messages/deviceBound/{lockToken}`.
pub async fn complete_or_reject(
    State(hub): State<Arc<Hub>>,
    Device { right, .. }: Device,
    LockTokenOf(token): LockTokenOf,
    uri: Uri,
) -> Result<StatusCode, Failure> {
    let settlement = if wants_rejection(&uri) { Settlement::Reject } else { Settlement::Complete };
    settle_command(&hub, &right, token, settlement).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Handles `POST /devices/{id}/messages/deviceBound/{lockToken}/abandon`.
pub async fn abandon(
    State(hub): State<Arc<Hub>>,
    Device { right, .. }: Device,
    LockTokenOf(token): LockTokenOf,
) -> Result<StatusCode, Failure> {
    settle_command(&hub, &right, token, Settlement::Abandon).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A command that can't be read; the reason is for the owner, in the log.
pub fn damaged(command: CommandId, damage: &Damaged) -> Failure {
    tracing::error!(%command, %damage, "the content of command {command} can't be read: {damage}");
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "ServerError", format!("what is stored of command {command} can't be read"))
}

fn lock_time(headers: &HeaderMap) -> Result<Option<Duration>, Failure> {
    let Some(value) = headers.get(&LOCK_TIME) else { return Ok(None) };
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    seconds
        .map(|seconds| Some(Duration::from_secs(seconds)))
        .ok_or_else(|| Failure::argument_invalid(format!("{LOCK_TIME} is a number of seconds")))
}

/// `?reject`, as Node's client writes it, or `?reject=true`, as Java's does.
fn wants_rejection(uri: &Uri) -> bool {
    let pairs = uri.query().unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.into_iter().any(|(name, value)| name.eq_ignore_ascii_case("reject") && !value.eq_ignore_ascii_case("false"))
}

#[cfg(test)]
mod tests;
