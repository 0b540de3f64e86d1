//! `GET /api/v1/events`: the events as server-sent events, for back ends and for people.
//!
//! Query: `partition` (all of them, merged, when absent), `from` (`latest` when absent), `device`, `follow` (`true` when absent).
//! `from` is `earliest`, `latest`, `offset:N`, `sequence:N` or `time:ISO`; the named event itself is wanted.
//! An event's `id` says where the stream stands in every partition that it reads; sent back as `Last-Event-ID` it resumes there exactly,
//! whatever `from` says. A block with an `id` alone, which makes no event, moves it on while nothing comes.
//! The end is the end of the response, or a block `event: problem` first when there was more to come.

pub(super) mod json;

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::time::{sleep, timeout};
use utoipa::IntoParams;

use super::authorization::authorize_for;
use super::connection::{Closing, HttpConnection};
use super::error::{ErrorDocument, Failure};
use super::openapi::Refusals;
use crate::core::access::Need;
use crate::core::device_id::DeviceId;
use crate::core::event::{Offset, PartitionId, SequenceNumber, StartPosition, StreamPosition};
use crate::ops::audit::BodiesReader;
use crate::ops::policies::LastingRight;
use crate::ops::read_events::{EventReader, Page, ReadEventsError, Selection, read_events};
use crate::ops::{Hub, ReadError};
use json::EventJson;

/// How often a stream without events says that it is alive. Below the 60 s after which proxies commonly give up.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// For a client to hear that its right has ended, before its connection is closed.
const FAREWELL_TIME: Duration = Duration::from_secs(5);

/// When a client whose stream broke is to come again, in milliseconds.
const RETRY_AFTER_MS: u32 = 2000;

/// The query.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// One partition, a number from 0; all of them, merged, when absent.
    partition: Option<String>,
    /// `earliest`, `latest` (when absent), `offset:N`, `sequence:N` or `time:<ISO 8601>`; the event that is named is wanted too.
    from: Option<String>,
    /// Only what this device sent.
    device: Option<String>,
    /// `true`, when absent, waits for more; `false` ends with what is there now.
    follow: Option<String>,
}

/// Handles `GET /api/v1/events`: what devices send, as server-sent events. Needs ServiceConnect, or the right Bodies; the audit says who reads.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    tag = "events",
    params(
        EventsQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "An event's id: the stream goes on behind it, whatever `from` says."),
    ),
    responses(
        (
            status = 200,
            description = "Blocks `event: message` whose data is one event, without end. A last one, `event: problem`, says in its data's \
                `message` why there is no more.",
            content_type = "text/event-stream",
            body = EventJson,
        ),
        (status = 404, description = "PartitionNotFound.", body = ErrorDocument),
        (status = 429, description = "ThrottlingException: this person, or this policy, has 64 readers already; the header Retry-After says when to \
            come again.", body = ErrorDocument),
        Refusals,
    ),
)]
pub async fn get_events(
    State(hub): State<Arc<Hub>>,
    connection: HttpConnection,
    query: Result<Query<EventsQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let (mut parts, _) = request.into_parts();
    let caller = authorize_for(&mut parts, &hub, Need::ReadBodies, "messages/events").await?;
    let Query(query) = query.map_err(|rejection| Failure::argument_invalid(rejection.body_text()))?;
    let selection = selection(&query, &parts.headers)?;
    let device = selection.device.clone();
    let reader = read_events(&hub, &caller.principal(), selection).await?;
    // Who was let in, and before anything is read.
    let audited = BodiesReader::begin(&hub, caller.by(), device).await?;
    let stream = EventStream::new((caller.lasting(&hub, &[Need::ReadBodies]), audited), reader, &connection);
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Asks proxies of the nginx family not to collect the stream before they pass it on.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(stream::unfold(stream, EventStream::next))).into_response())
}

fn selection(query: &EventsQuery, headers: &HeaderMap) -> Result<Selection, Failure> {
    let wrong = |name: &str, text: &str, wanted: &str| Failure::argument_invalid(format!("{name} is {text:?}, but {wanted}"));
    let partition = match &query.partition {
        Some(text) => Some(PartitionId(text.parse().map_err(|_| wrong("partition", text, "a partition is a number from 0"))?)),
        None => None,
    };
    let device = match &query.device {
        Some(text) => Some(DeviceId::parse(text).map_err(|invalid| wrong("device", text, &invalid.to_string()))?),
        None => None,
    };
    let from = match &query.from {
        Some(text) => start_position(text).ok_or_else(|| {
            wrong("from", text, "a start is earliest, latest, offset:<number>, sequence:<number> or time:<ISO 8601 with Z or an offset>")
        })?,
        None => StartPosition::Latest,
    };
    let follow = match query.follow.as_deref() {
        None | Some("true") => true,
        Some("false") => false,
        Some(other) => return Err(wrong("follow", other, "it is true or false")),
    };
    let resume = match headers.get("last-event-id").map(|value| value.to_str().unwrap_or_default()).filter(|id| !id.is_empty()) {
        Some(id) => id.parse().map_err(|invalid: <StreamPosition as FromStr>::Err| wrong("Last-Event-ID", id, &invalid.to_string()))?,
        None => StreamPosition::default(),
    };
    Ok(Selection { partition, device, from, resume, follow })
}

/// `None`: not one.
pub(super) fn start_position(text: &str) -> Option<StartPosition> {
    let inclusive = true;
    Some(match text.split_once(':') {
        None if text == "earliest" => StartPosition::Earliest,
        None if text == "latest" => StartPosition::Latest,
        Some(("offset", offset)) => StartPosition::Offset { offset: offset.parse::<Offset>().ok()?, inclusive },
        Some(("sequence", number)) => StartPosition::SequenceNumber { number: SequenceNumber(number.parse().ok()?), inclusive },
        Some(("time", time)) => StartPosition::EnqueuedTime { time: time.parse().ok()?, inclusive },
        _ => return None,
    })
}

impl From<ReadEventsError> for Failure {
    fn from(error: ReadEventsError) -> Self {
        let text = error.to_string();
        match error {
            ReadEventsError::BehindTheEnd { .. } => Self::argument_invalid(text),
            ReadEventsError::TooManyReaders(full) => full.into(),
            ReadEventsError::Log(ReadError::UnknownPartition(_)) => Self::new(StatusCode::NOT_FOUND, "PartitionNotFound", text),
            ReadEventsError::Log(ReadError::Io(_)) => {
                tracing::error!(error = text, "events can't be read: {text}");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ServerError", "the events can't be read now")
            }
        }
    }
}

/// The response's body, made piece by piece as the client takes it.
struct EventStream {
    reader: EventReader,
    /// The right to read.
    right: LastingRight,
    /// What writes down who reads.
    audited: BodiesReader,
    /// What the client knows as the last event id; `None` before it was told anything.
    told: Option<StreamPosition>,
    finished: bool,
    /// A client that takes nothing is not told that its right has ended: its connection ends, then.
    _closing: Closing,
}

impl EventStream {
    fn new((right, audited): (LastingRight, BodiesReader), reader: EventReader, connection: &HttpConnection) -> Self {
        let mut watched = right.clone();
        let closing = connection.close_after(async move {
            watched.lost().await;
            sleep(FAREWELL_TIME).await;
        });
        Self { reader, right, audited, told: None, finished: false, _closing: closing }
    }

    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.finished {
            return None;
        }
        let piece = if self.told.is_none() {
            format!("retry: {RETRY_AFTER_MS}\n{}", self.heartbeat())
        } else {
            tokio::select! {
                biased;
                lost = self.right.lost() => self.problem(&lost.to_string()),
                error = self.audited.cannot_go_on() => {
                    tracing::error!(%error, "an event stream ends, because who reads can't be written down: {error}");
                    self.problem("who reads can't be written into the audit now")
                }
                read = timeout(HEARTBEAT_EVERY, self.reader.next()) => match read {
                    Ok(Ok(Some(page))) => self.events(&page),
                    Ok(Ok(None)) => return None,
                    Ok(Err(error)) => {
                        tracing::error!(%error, "an event stream ends: {error}");
                        self.problem("the events can't be read now")
                    }
                    Err(_elapsed) => self.heartbeat(),
                },
            }
        };
        Some((Ok(piece.into()), self))
    }

    fn events(&mut self, page: &Page) -> String {
        let mut position = self.reader.position();
        let mut blocks = String::new();
        for event in &page.events {
            position.0.insert(page.partition, Some(event.sequence_number.into()));
            let data = json::render(page.partition, event);
            blocks.push_str(&format!("event: message\nid: {position}\ndata: {data}\n\n"));
        }
        self.told = Some(position);
        blocks
    }

    /// A comment, and the position if the client does not know it yet.
    fn heartbeat(&mut self) -> String {
        let position = self.reader.position();
        if self.told.as_ref() == Some(&position) {
            return ":\n\n".to_owned();
        }
        let block = format!(":\nid: {position}\n\n");
        self.told = Some(position);
        block
    }

    fn problem(&mut self, message: &str) -> String {
        self.finished = true;
        format!("event: problem\ndata: {}\n\n", serde_json::json!({ "message": message }))
    }
}

#[cfg(test)]
mod tests;
