//! `POST /devices/{id}/messages/events`: a device without a connection sends one message, or a batch of them.
//!
//! Answered when everything is on disk. Whoever is refused learns nothing, and is refused before the body is read.

mod batch;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};

use super::authorization::Device;
use super::body;
use super::error::Failure;
use super::message_headers::{self, Field};
use crate::core::message::{self, Message};
use crate::core::telemetry::{MESSAGE_MAX_BYTES, Occasion, TelemetryRefused};
use crate::ops::send_telemetry::{AppendRefused, append_durably, stage, stamps};
use crate::ops::{EventBatch, Hub};

/// The largest body of a batch. Its messages together have at most [`MESSAGE_MAX_BYTES`], which Base64 makes a third longer, and JSON's
/// escapes and names longer still.
const BATCH_BODY_MAX_BYTES: usize = 4 * MESSAGE_MAX_BYTES;

/// Handles `POST /devices/{id}/messages/events`.
pub async fn post_events(State(hub): State<Arc<Hub>>, Device { right, .. }: Device, request: Request<Body>) -> Result<StatusCode, Failure> {
    let (head, body) = request.into_parts();
    let is_batch = batch::is_batch(&head.headers);
    let body = body::read_message(&head.headers, body, if is_batch { BATCH_BODY_MAX_BYTES } else { MESSAGE_MAX_BYTES }).await?;
    let stamps = stamps(&hub, &right);
    let mut events = EventBatch::default();
    if is_batch {
        batch::stage_all(&body, &stamps, &mut events)?;
    } else {
        let fields = message_headers::of(&head.headers, head.extensions.get())?;
        stage(read_message(&fields, &body)?, Occasion::default(), &stamps, &mut events)?;
    }
    append_durably(&hub, &right, &mut events).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn read_message<'a>(fields: &'a [Field<'a>], body: &'a [u8]) -> Result<Message<'a>, Failure> {
    let mut message = Message { body: message::Body::Data(vec![body.into()]), ..Message::default() };
    for (name, value) in fields {
        if !value.bytes().all(|byte| byte == b'\t' || byte == b' ' || byte.is_ascii_graphic()) {
            return Err(Failure::argument_invalid(format!("the header {name} is not visible ASCII")));
        }
        message_headers::check_devices_value(name, value)?;
        message_headers::set(&mut message, name, value)?;
    }
    Ok(message)
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
