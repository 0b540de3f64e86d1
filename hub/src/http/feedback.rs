//! The feedback queue over HTTPS, as Azure has it (facts §7.4): receipts are received together, under one lock, and settled by its token.
//! Needs ServiceConnect. Receipts are there as soon as they exist; an empty queue is answered at once.
//!
//! | request | |
//! |---|---|
//! | `GET /messages/serviceBound/feedback` | 200 with an array of receipts, and their lock token as ETag; 204 without |
//! | `DELETE …/feedback/{lockToken}` | takes them out of the queue |
//! | `POST …/feedback/{lockToken}/abandon` | gives them back |

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::authorization::BackEnd;
use super::device_bound::LockTokenOf;
use super::error::Failure;
use crate::core::command::{Receipt, Settlement};
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::ops::receive_feedback::{ReceiptBatch, receive_feedback, settle_feedback};

/// How many receipts an answer has at most, as Azure's batches.
const RECEIPTS_MAX: usize = 64;

/// What Azure calls an array of receipts.
const RECEIPTS: HeaderValue = HeaderValue::from_static("application/vnd.microsoft.iothub.feedback.json");

/// A receipt: what became of a command.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Receipt)]
pub struct ReceiptDocument {
    /// The command's message-id.
    original_message_id: String,
    /// The same as `statusCode`.
    description: &'static str,
    /// In which life of the identity.
    device_generation_id: String,
    /// Whose command it was.
    device_id: String,
    /// When the command ended.
    #[schema(format = DateTime)]
    enqueued_time_utc: String,
    /// `Success`, `Expired`, `DeliveryCountExceeded`, `Rejected` or `Purged`.
    status_code: &'static str,
}

impl ReceiptDocument {
    /// Of one receipt.
    #[must_use]
    pub fn of(receipt: &Receipt) -> Self {
        Self {
            original_message_id: receipt.original_message_id.clone(),
            description: receipt.outcome.status_code(),
            device_generation_id: receipt.generation_id.0.clone(),
            device_id: receipt.device_id.to_string(),
            enqueued_time_utc: seven_digits(receipt.time),
            status_code: receipt.outcome.status_code(),
        }
    }
}

/// A time as .NET writes it, to the ten-millionth of a second.
fn seven_digits(time: UnixMillis) -> String {
    let text = time.to_string();
    text.strip_suffix('Z').map_or_else(|| text.clone(), |seconds| format!("{seconds}0000Z"))
}

/// Handles `GET /messages/serviceBound/feedback`.
pub async fn receive(State(hub): State<Arc<Hub>>, _: BackEnd) -> Result<Response, Failure> {
    let Some(batch) = receive_feedback(&hub, RECEIPTS_MAX).await? else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let receipts: Vec<_> = batch.receipts.iter().map(ReceiptDocument::of).collect();
    let text = serde_json::to_vec(&receipts).expect("receipts are text");
    Ok((headers(&hub, &batch), text).into_response())
}

fn headers(hub: &Hub, batch: &ReceiptBatch) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, text: String| {
        // The hub's name is a host's, the others are numbers and times.
        headers.insert(name, HeaderValue::try_from(text).expect("it is visible ASCII"));
    };
    set(header::ETAG, format!("\"{}\"", batch.token));
    set(HeaderName::from_static("iothub-userid"), hub.names.primary().to_owned());
    if let Some(newest) = batch.receipts.last() {
        set(HeaderName::from_static("iothub-sequencenumber"), newest.id.0.to_string());
        set(HeaderName::from_static("iothub-enqueuedtime"), newest.time.to_string());
    }
    if let Some(count) = batch.receipts.iter().map(|receipt| receipt.delivery_count).max() {
        set(HeaderName::from_static("iothub-deliverycount"), count.to_string());
    }
    headers.insert(header::CONTENT_TYPE, RECEIPTS);
    headers.insert(HeaderName::from_static("iothub-contenttype"), RECEIPTS);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
}

/// Handles `DELETE /messages/serviceBound/feedback/{lockToken}`.
pub async fn complete(State(hub): State<Arc<Hub>>, _: BackEnd, LockTokenOf(token): LockTokenOf) -> Result<StatusCode, Failure> {
    settle_feedback(&hub, token, Settlement::Complete).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Handles `POST /messages/serviceBound/feedback/{lockToken}/abandon`.
pub async fn abandon(State(hub): State<Arc<Hub>>, _: BackEnd, LockTokenOf(token): LockTokenOf) -> Result<StatusCode, Failure> {
    settle_feedback(&hub, token, Settlement::Abandon).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests;
