//! The change stream as server-sent events: one block per message, made as the client takes it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write as _;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;

use super::feed::{Feed, HEARTBEAT, Message};
use crate::core::change::ChangePosition;
use crate::http::connection::Closing;

/// When a client whose stream broke is to come again, in milliseconds.
const RETRY_AFTER_MS: u32 = 2000;

/// How much is handed over at once, in bytes, and at least one block: what a client that takes nothing makes the hub keep.
const PIECE_BYTES: usize = 64 * 1024;

struct Blocks {
    feed: Feed,
    unsaid: VecDeque<Message>,
    /// What the client knows as the last event id.
    told: Option<ChangePosition>,
    begun: bool,
    /// A client that takes nothing is not told that its right has ended: its connection ends, then.
    _closing: Closing,
}

/// The response.
pub fn respond(feed: Feed, closing: Closing) -> Response {
    let blocks = Blocks { feed, unsaid: VecDeque::new(), told: None, begun: false, _closing: closing };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Asks proxies of the nginx family not to collect the stream before they pass it on.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(stream::unfold(blocks, Blocks::next))).into_response()
}

impl Blocks {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let mut piece = String::new();
        if !self.begun {
            self.begun = true;
            piece = format!("retry: {RETRY_AFTER_MS}\n");
        }
        if self.unsaid.is_empty() {
            self.unsaid.extend(self.feed.next().await?);
        }
        while piece.len() < PIECE_BYTES
            && let Some(message) = self.unsaid.pop_front()
        {
            self.write(&message, &mut piece);
        }
        Some((Ok(piece.into()), self))
    }

    fn write(&mut self, message: &Message, piece: &mut String) {
        let beat = message.kind == HEARTBEAT;
        piece.push_str(if beat { ":\n" } else { "" });
        if !beat {
            let _ = writeln!(piece, "event: {}", message.kind);
        }
        if let Some(position) = message.position.filter(|position| !beat || self.told != Some(*position)) {
            self.told = Some(position);
            let _ = writeln!(piece, "id: {position}");
        }
        if !beat {
            let _ = writeln!(piece, "data: {}", message.data());
        }
        piece.push('\n');
    }
}
