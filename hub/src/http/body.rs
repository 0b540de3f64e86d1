//! Bodies: read with a bound, answered as JSON.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use tokio::time::timeout;

use super::error::Failure;

/// How long a body may take to arrive: 2 MiB over a 1 Mbit/s line take 17 s.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a message may take: 256 KiB at the 50 kbit/s of a bad mobile link.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(45);

/// How much of a message that is too large is read and thrown away, so that its sender gets to reading the answer instead of a reset.
pub const DISCARDED_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Azure's spelling. Node's client parses an answer only when the type says JSON.
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// The whole body, chunked or not, of at most `max_bytes`.
pub async fn read(body: Body, max_bytes: usize) -> Result<Bytes, Failure> {
    let collected = timeout(BODY_TIMEOUT, Limited::new(body, max_bytes).collect());
    match collected.await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "MessageTooLarge", format!("a body has at most {max_bytes} bytes here")))
        }
        Ok(Err(_)) => Err(Failure::argument_invalid("the body broke off")),
        Err(_) => Err(Failure::argument_invalid("the body took too long to arrive")),
    }
}

/// A message, at most `limit` bytes of it.
pub async fn read_message(headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Vec<u8>, Failure> {
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
    match timeout(MESSAGE_TIMEOUT, read).await {
        Err(_elapsed) => {
            let text = format!("the body took more than {} s", MESSAGE_TIMEOUT.as_secs());
            Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", text))
        }
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(())) if length > limit => Err(too_large()),
        Ok(Ok(())) => Ok(bytes),
    }
}

/// An answer with a JSON body.
pub fn json(status: StatusCode, document: &impl Serialize) -> Response {
    let text = serde_json::to_vec(document).expect("the hub's documents have text keys and no failing parts");
    (status, [(header::CONTENT_TYPE, JSON)], text).into_response()
}
