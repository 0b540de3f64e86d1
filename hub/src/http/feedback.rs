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

use super::authorization::BackEnd;
use super::device_bound::LockTokenOf;
use super::error::Failure;
use crate::core::command::Settlement;
use crate::core::command::receipt_document::{CONTENT_TYPE, RECEIPTS_MAX, array};
use crate::ops::Hub;
use crate::ops::receive_feedback::{ReceiptBatch, receive_feedback, settle_feedback};

/// What the answer holds.
const RECEIPTS: HeaderValue = HeaderValue::from_static(CONTENT_TYPE);

/// Handles `GET /messages/serviceBound/feedback`.
pub async fn receive(State(hub): State<Arc<Hub>>, _: BackEnd) -> Result<Response, Failure> {
    let Some(batch) = receive_feedback(&hub, RECEIPTS_MAX).await? else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    Ok((headers(&hub, &batch), array(&batch.receipts)).into_response())
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
