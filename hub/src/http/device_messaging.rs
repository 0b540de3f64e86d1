//! `POST /devices/{id}/messages/events`: a device without a connection sends one message, or a batch of them.
//!
//! Answered when everything is on disk. Whoever is refused learns nothing, and is refused before the body is read.

mod batch;
mod fields;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::authorization::token;
use super::connection::HttpConnection;
use super::error::Failure;
use super::header_case::Spellings;
use crate::core::message::{self, Message};
use crate::core::session::Protocol;
use crate::core::telemetry::{MESSAGE_MAX_BYTES, Occasion, TelemetryRefused};
use crate::ops::authenticate::{Origin, authenticate_device};
use crate::ops::send_telemetry::{AppendRefused, append_durably, stage, stamps};
use crate::ops::{EventBatch, Hub};

/// The largest body of a batch. Its messages together have at most [`MESSAGE_MAX_BYTES`], which Base64 makes a third longer, and JSON's
/// escapes and names longer still.
const BATCH_BODY_MAX_BYTES: usize = 4 * MESSAGE_MAX_BYTES;

/// How much of a body that is too large is read and thrown away, so that its sender gets to reading the answer instead of a reset.
const DISCARDED_MAX_BYTES: usize = 4 * 1024 * 1024;

/// How long a body may take: 256 KiB at the 50 kbit/s of a bad mobile link.
const BODY_TIMEOUT: Duration = Duration::from_secs(45);

/// Handles `POST /devices/{id}/messages/events`.
pub async fn post_events(
    State(hub): State<Arc<Hub>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    connection: HttpConnection,
    device: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Result<StatusCode, Failure> {
    let (head, body) = request.into_parts();
    let origin = Origin { protocol: Protocol::Https, peer };
    let claimed = device.map(|Path(id)| id).unwrap_or_default();
    let token = token(&head.headers, &head.uri);
    let right = authenticate_device(&hub, &claimed, token.as_deref(), origin).await?;
    connection.authenticated();

    let is_batch = batch::is_batch(&head.headers);
    let body = read_body(&head.headers, body, if is_batch { BATCH_BODY_MAX_BYTES } else { MESSAGE_MAX_BYTES }).await?;
    let stamps = stamps(&hub, &right);
    let mut events = EventBatch::default();
    if is_batch {
        batch::stage_all(&body, &stamps, &mut events)?;
    } else {
        let fields = header_fields(&head.headers, head.extensions.get())?;
        stage(read_message(&fields, &body)?, Occasion::default(), &stamps, &mut events)?;
    }
    append_durably(&hub, &right, &mut events).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the headers say about the message, as the client spelt it where that is known.
fn header_fields<'a>(headers: &'a HeaderMap, spellings: Option<&Spellings>) -> Result<Vec<(Cow<'a, str>, &'a str)>, Failure> {
    let mut fields = Vec::new();
    for (name, value) in headers {
        if fields::concern_messages(name.as_str()) {
            let value = value.to_str().map_err(|_| Failure::argument_invalid(format!("the header {name} is not visible ASCII")))?;
            let spelt = spellings.and_then(|spellings| spellings.of(name.as_str()));
            fields.push((spelt.map_or(Cow::Borrowed(name.as_str()), Cow::Owned), value));
        }
    }
    Ok(fields)
}

fn read_message<'a>(fields: &'a [(Cow<'a, str>, &'a str)], body: &'a [u8]) -> Result<Message<'a>, Failure> {
    let mut message = Message { body: message::Body::Data(vec![body.into()]), ..Message::default() };
    for (name, value) in fields {
        fields::set(&mut message, name, value)?;
    }
    Ok(message)
}

/// The body, at most `limit` bytes of it.
async fn read_body(headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Vec<u8>, Failure> {
    let too_large = || Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "MessageTooLarge", format!("the body has more than {limit} bytes"));
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > DISCARDED_MAX_BYTES) {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(limit));
    let mut length = 0_usize;
    let read = async {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Failure::argument_invalid("the body broke off"))?.into_data() else { continue };
            length = length.saturating_add(data.len());
            if length <= limit {
                bytes.extend_from_slice(&data);
            } else if length > DISCARDED_MAX_BYTES {
                break;
            }
        }
        Ok(())
    };
    match timeout(BODY_TIMEOUT, read).await {
        Err(_elapsed) => {
            let text = format!("the body took more than {} s", BODY_TIMEOUT.as_secs());
            Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", text))
        }
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(())) if length > limit => Err(too_large()),
        Ok(Ok(())) => Ok(bytes),
    }
}

impl From<TelemetryRefused> for Failure {
    fn from(refused: TelemetryRefused) -> Self {
        match refused {
            TelemetryRefused::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "MessageTooLarge", refused.to_string()),
            TelemetryRefused::TooManyProperties(_)
            | TelemetryRefused::TooManyAnnotations(_)
            | TelemetryRefused::NotASymbol(_)
            | TelemetryRefused::InvalidMessageId
            | TelemetryRefused::CorrelationIdTooLong => Self::argument_invalid(refused.to_string()),
        }
    }
}

impl From<AppendRefused> for Failure {
    fn from(refused: AppendRefused) -> Self {
        match refused {
            AppendRefused::SessionEnded(_) | AppendRefused::NoLongerGood => Self::unauthorized(),
            AppendRefused::Log(error) => error.into(),
            AppendRefused::Registry(error) => crate::ops::authenticate::AuthenticateError::from(error).into(),
        }
    }
}

#[cfg(test)]
mod tests;
