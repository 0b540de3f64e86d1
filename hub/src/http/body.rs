//! Bodies: read with a bound, answered as JSON.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;

use super::error::Failure;

/// How long a body may take to arrive: 2 MiB over a 1 Mbit/s line take 17 s.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Azure's spelling. Node's client parses an answer only when the type says JSON.
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// The whole body, chunked or not, of at most `max_bytes`.
pub async fn read(body: Body, max_bytes: usize) -> Result<Bytes, Failure> {
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, max_bytes).collect());
    match collected.await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "MessageTooLarge", format!("a body has at most {max_bytes} bytes here")))
        }
        Ok(Err(_)) => Err(Failure::argument_invalid("the body broke off")),
        Err(_) => Err(Failure::argument_invalid("the body took too long to arrive")),
    }
}

/// An answer with a JSON body.
pub fn json(status: StatusCode, document: &impl Serialize) -> Response {
    let text = serde_json::to_vec(document).expect("the hub's documents have text keys and no failing parts");
    (status, [(header::CONTENT_TYPE, JSON)], text).into_response()
}
