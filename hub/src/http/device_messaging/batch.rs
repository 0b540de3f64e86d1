//! `application/vnd.microsoft.iothub.json`: several messages in one request, all of them taken or none.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use crate::core::message::{Body, Message};
use crate::core::telemetry::{self, BATCH_MAX_MESSAGES, MESSAGE_MAX_BYTES, Occasion, Stamps};
use crate::http::error::Failure;
use crate::http::message_headers;
use crate::ops::EventBatch;
use crate::ops::send_telemetry::stage;

/// Whether the request is a batch.
pub(super) fn is_batch(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/vnd.microsoft.iothub.json")
}

/// Checks and stamps every message of the batch, and adds them to `events`.
pub(super) fn stage_all(body: &[u8], stamps: &Stamps, events: &mut EventBatch) -> Result<(), Failure> {
    let entries: Vec<Entry<'_>> = serde_json::from_slice(body).map_err(|error| {
        Failure::argument_invalid(format!(
            "the body is not [{{\"body\":\"…\",\"base64Encoded\":true,\"properties\":{{\"iothub-app-name\":\"value\"}}}},…]: {error}"
        ))
    })?;
    if entries.is_empty() {
        return Err(Failure::argument_invalid("the batch has no messages"));
    }
    if entries.len() > BATCH_MAX_MESSAGES {
        return Err(too_large(format!("the batch has {} messages, more than {BATCH_MAX_MESSAGES}", entries.len())));
    }
    let mut size = 0;
    for (index, entry) in entries.iter().enumerate() {
        let in_message = |failure: Failure| failure.about(&format!("message {index} of the batch"));
        let message = entry.message().map_err(in_message)?;
        size += telemetry::size(&message);
        stage(message, Occasion::default(), stamps, events).map_err(|refused| in_message(refused.into()))?;
    }
    if size > MESSAGE_MAX_BYTES {
        return Err(too_large(format!("the batch has {size} bytes with its properties, more than {MESSAGE_MAX_BYTES}")));
    }
    Ok(())
}

fn too_large(text: String) -> Failure {
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "MessageTooLarge", text)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow)]
    body: Cow<'a, str>,
    /// Node's SDK leaves it out and means Base64.
    base64_encoded: Option<bool>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

impl Entry<'_> {
    fn message(&self) -> Result<Message<'_>, Failure> {
        let bytes = if self.base64_encoded.unwrap_or(true) {
            BASE64.decode(&*self.body).map_err(|_| Failure::argument_invalid("body is not Base64, and base64Encoded is not false"))?.into()
        } else {
            Cow::Borrowed(self.body.as_bytes())
        };
        let mut message = Message { body: Body::Data(vec![bytes]), ..Message::default() };
        for (name, value) in &self.properties {
            if !message_headers::concern_messages(name) {
                return Err(Failure::argument_invalid(format!("the property {name:?} does not begin with iothub-app- or another iothub-")));
            }
            message_headers::check_devices_value(name, value)?;
            message_headers::set(&mut message, name, value)?;
        }
        Ok(message)
    }
}
