//! Somebody who watches: reads `GET /api/v1/changes` as server-sent events, with the owner's token.

use std::collections::VecDeque;

use anyhow::{Context, Result, ensure};
use reqwest::Response;
use serde_json::Value;

use crate::hub::Ready;
use crate::patience::within;
use crate::rest;

/// One message of the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Of which kind.
    pub kind: String,
    /// Where to go on behind it.
    pub position: Option<String>,
    /// What it says.
    pub data: Value,
}

/// An open stream.
pub struct Changes {
    response: Response,
    unread: Vec<u8>,
    ready: VecDeque<Change>,
}

impl Changes {
    /// Opens the stream: `query` is what stands behind the question mark.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn open(hub: &Ready, query: &str) -> Result<Self> {
        let url = format!("{}/api/v1/changes?{query}", hub.endpoints.api);
        let request = rest::client(hub)?.get(url).header("Authorization", hub.policy("iothubowner")?.token());
        let response = within("the change stream to open", request.send()).await??;
        ensure!(response.status() == 200, "no changes: {} {}", response.status(), response.text().await?);
        Ok(Self { response, unread: Vec::new(), ready: VecDeque::new() })
    }

    /// The next message; comments are passed over.
    ///
    /// # Errors
    /// When none comes in time, or the stream ends.
    pub async fn next(&mut self) -> Result<Change> {
        within("a change", self.next_whenever()).await?
    }

    async fn next_whenever(&mut self) -> Result<Change> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(change);
            }
            let chunk = self.response.chunk().await?.context("the change stream has ended")?;
            self.unread.extend_from_slice(&chunk);
            while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                self.ready.extend(parse(std::str::from_utf8(&block)?)?);
            }
        }
    }

    /// The next message of this kind; others are passed over.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn next_of(&mut self, kind: &str) -> Result<Change> {
        loop {
            let change = self.next().await.with_context(|| format!("waiting for {kind}"))?;
            if change.kind == kind {
                return Ok(change);
            }
        }
    }

    /// Passes over how things stand.
    ///
    /// # Errors
    /// When that does not end.
    pub async fn until_live(mut self) -> Result<Self> {
        self.next_of("snapshot-end").await?;
        Ok(self)
    }
}

/// One block; `None` for a comment.
fn parse(block: &str) -> Result<Option<Change>> {
    let field = |wanted: &str| {
        let fields = block.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
    };
    let (Some(kind), Some(data)) = (field("event"), field("data")) else { return Ok(None) };
    let data = serde_json::from_str(&data).with_context(|| format!("no JSON: {block}"))?;
    Ok(Some(Change { kind, position: field("id"), data }))
}
