//! What a watcher is told, message by message, whichever way it goes: server-sent events or a WebSocket.
//!
//! Owns the signs of life and the end of the right to watch. Never touches a socket.

use std::borrow::Cow;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::json;
use crate::core::change::ChangePosition;
use crate::ops::policies::LastingRight;
use crate::ops::watch_changes::{News, Published, Standing, Watcher};

/// How often a watcher without news is told that the stream is alive. Below the 60 s after which proxies commonly give up.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// One message.
#[derive(Debug)]
pub struct Message {
    /// Of which kind.
    pub kind: &'static str,
    /// Where to go on after it; `None` where nobody could.
    pub position: Option<ChangePosition>,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Published(Arc<Published>),
    Own(String),
}

/// The kind of a message that only says that the stream is alive, and where it stands.
pub const HEARTBEAT: &str = "heartbeat";

/// Messages, one after another.
pub struct Feed {
    watcher: Watcher,
    /// The right to watch.
    right: LastingRight,
    begun: bool,
    ended: bool,
}

impl Message {
    fn own(kind: &'static str, position: Option<ChangePosition>, data: &serde_json::Value) -> Self {
        Self { kind, position, data: Data::Own(data.to_string()) }
    }

    /// Its data, a JSON object on one line.
    #[must_use]
    pub fn data(&self) -> Cow<'_, str> {
        match &self.data {
            Data::Published(published) => published.text(json::render).into(),
            Data::Own(text) => text.into(),
        }
    }

    /// All of it as one JSON object: what is to stand first, with a comma behind it, then position and kind, then the data.
    #[must_use]
    pub fn whole(&self, first: &str) -> String {
        let position = self.position.map(|position| format!("\"position\":\"{position}\",")).unwrap_or_default();
        let data = self.data();
        let fields = data.strip_prefix('{').unwrap_or_default();
        let comma = if fields == "}" { "" } else { "," };
        format!("{{{first}{position}\"kind\":\"{}\"{comma}{fields}", self.kind)
    }
}

impl Feed {
    /// What `watcher` is told until `right` is lost.
    pub fn new(watcher: Watcher, right: LastingRight) -> Self {
        Self { watcher, right, begun: false, ended: false }
    }

    /// The next messages, never none; `None` at the end. Loses nothing when it is dropped while it waits.
    pub async fn next(&mut self) -> Option<Vec<Message>> {
        if self.ended {
            return None;
        }
        if !self.begun {
            self.begun = true;
            return Some(vec![self.heartbeat()]);
        }
        let news = tokio::select! {
            biased;
            lost = self.right.lost() => return Some(self.problem(&lost.to_string())),
            news = timeout(HEARTBEAT_EVERY, self.watcher.next()) => news,
        };
        Some(match news {
            Ok(Ok(Some(news))) => self.messages(news),
            Ok(Ok(None)) => self.problem("the hub is stopping"),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a stream of changes ends: {error}");
                self.problem("how things stand can't be read now")
            }
            Err(_elapsed) => vec![self.heartbeat()],
        })
    }

    /// Whether the last messages were the last of all.
    pub fn is_over(&self) -> bool {
        self.ended
    }

    /// Waits until the right to watch is lost; for ever once the last has been told. Loses nothing when it is dropped while it waits.
    pub async fn lost(&mut self) {
        if self.ended {
            pending::<()>().await;
        }
        self.right.lost().await;
    }

    fn messages(&self, news: News) -> Vec<Message> {
        let position = self.watcher.position();
        match news {
            News::Reset(reason) => vec![Message::own("reset", None, &json!({ "reason": reason.name() }))],
            News::SnapshotBegins => vec![Message::own("snapshot-begin", None, &json!({}))],
            News::SnapshotEnds => vec![Message::own("snapshot-end", position, &json!({}))],
            News::Skipped(count) => vec![Message::own("skipped", position, &json!({ "count": count }))],
            News::Standing(standing) => {
                let part = |standing: &Standing| Message {
                    kind: standing.kind().name(),
                    position: None,
                    data: Data::Own(json::render_standing(standing)),
                };
                standing.iter().map(part).collect()
            }
            News::Changes(changes) => {
                let told = |published: Arc<Published>| Message {
                    kind: published.change.kind().name(),
                    position: self.watcher.position_after(&published),
                    data: Data::Published(published),
                };
                changes.into_iter().map(told).collect()
            }
        }
    }

    fn heartbeat(&self) -> Message {
        Message::own(HEARTBEAT, self.watcher.position(), &json!({}))
    }

    fn problem(&mut self, message: &str) -> Vec<Message> {
        self.ended = true;
        vec![Message::own("problem", None, &json!({ "message": message }))]
    }
}
