//! A device's story: its connections, those who were refused in its name, its commands with all that happened to them, and what was done to
//! its identity, merged by the times at which they began.
//!
//! Each of the four is kept where it always is; here they are only read together, so the story reaches back as far as they do.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::core::audit::{AuditAction, AuditEntry, AuditId};
use crate::core::command::CommandId;
use crate::core::device_id::DeviceId;
use crate::core::session::{BootId, ConnectionId, ConnectionRecord};
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::ops::audit::read_audit;
use crate::ops::read_commands::{CommandHistory, CommandQuery, CommandView, get_command, list_commands};
use crate::ops::read_connections::{ReadConnectionsError, device_connections};
use crate::ops::refusals::Refusal;
use crate::store::audit::{AuditLogError, AuditQuery};
use crate::store::commands::CommandsError;

/// The most entries of a page: each command costs a read of its own.
pub const PAGE_MAX: usize = 200;

/// A part of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimelineKind {
    /// Connections.
    Connection,
    /// Those who were refused.
    Refusal,
    /// Commands.
    Command,
    /// What was done to the identity.
    Registry,
}

impl TimelineKind {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Connection, Self::Refusal, Self::Command, Self::Registry];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Refusal => "refusal",
            Self::Command => "command",
            Self::Registry => "registry",
        }
    }
}

/// Where a page ends: in each part of the story the last that was told. Opaque to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimelinePlace {
    connection: Option<(BootId, ConnectionId)>,
    refusal: Option<UnixMillis>,
    command: Option<CommandId>,
    registry: Option<AuditId>,
}

/// `<boot>-<connection>.<time>.<command>.<entry>`, each empty where nothing was told.
impl fmt::Display for TimelinePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn text(value: Option<impl ToString>) -> String {
            value.map(|value| value.to_string()).unwrap_or_default()
        }
        let connection = self.connection.map(|(boot, connection)| format!("{boot}-{connection}"));
        let refusal = self.refusal.map(|time| time.0);
        write!(f, "{}.{}.{}.{}", text(connection), text(refusal), text(self.command), text(self.registry))
    }
}

/// A text that no timeline gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a place in a timeline is what the page before gave out as next")]
pub struct InvalidTimelinePlace;

impl FromStr for TimelinePlace {
    type Err = InvalidTimelinePlace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        fn part<T: FromStr>(text: &str) -> Result<Option<T>, InvalidTimelinePlace> {
            if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| InvalidTimelinePlace) }
        }
        let [connection, refusal, command, registry] = text.split('.').collect::<Vec<_>>()[..] else { return Err(InvalidTimelinePlace) };
        let connection = match connection.split_once('-') {
            Some((boot, number)) => part(boot)?.zip(part(number)?).map(|(boot, number)| (BootId(boot), ConnectionId(number))),
            None if connection.is_empty() => None,
            None => return Err(InvalidTimelinePlace),
        };
        Ok(Self {
            connection,
            refusal: part(refusal)?.map(UnixMillis),
            command: part(command)?.map(CommandId),
            registry: part(registry)?.map(AuditId),
        })
    }
}

/// One thing that has happened.
#[derive(Clone, Debug)]
pub enum TimelineEntry {
    /// A connection came, and perhaps went.
    Connection(ConnectionRecord),
    /// Somebody was refused who said to be the device.
    Refusal(Box<Refusal>),
    /// A command, and what became of it.
    Command(Box<CommandHistory>),
    /// Something was done to the identity, or refused.
    Registry(Box<AuditEntry>),
}

/// Some of the story.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The latest first.
    pub entries: Vec<TimelineEntry>,
    /// Behind which place it goes on; `None` where it begins.
    pub next: Option<TimelinePlace>,
}

/// The story can't be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadTimelineError {
    /// Connections.
    #[error(transparent)]
    Connections(#[from] ReadConnectionsError),
    /// Commands.
    #[error(transparent)]
    Commands(#[from] CommandsError),
    /// The audit.
    #[error(transparent)]
    Audit(#[from] AuditLogError),
}

/// What is known of one thing before all of it is read.
enum Found {
    Connection(ConnectionRecord),
    Refusal(Refusal),
    Command(CommandView),
    Registry(AuditEntry),
}

/// A device's story before a place, of these kinds; at most `limit` and [`PAGE_MAX`] entries, and those who were refused in one millisecond
/// together. Also of a device that is gone.
pub async fn read_timeline(
    hub: &Arc<Hub>,
    id: &DeviceId,
    kinds: &[TimelineKind],
    before: TimelinePlace,
    limit: usize,
) -> Result<Timeline, ReadTimelineError> {
    let limit = limit.clamp(1, PAGE_MAX);
    let mut parts = Vec::with_capacity(kinds.len());
    for kind in kinds {
        parts.push(read_part(hub, id, *kind, before, limit + 1).await?);
    }
    let (mut next, mut found) = (before, Vec::with_capacity(limit));
    while found.len() < limit
        && let Some(latest) = latest(&mut parts)
    {
        latest.pass(&mut next);
        found.push(latest);
    }
    // They have no numbers to go on from, but their times.
    for part in &mut parts {
        while part.front().is_some_and(|one| matches!(one, Found::Refusal(refusal) if Some(refusal.time) == next.refusal)) {
            found.extend(part.pop_front());
        }
    }
    let more = parts.iter().any(|part| !part.is_empty());
    let mut entries = Vec::with_capacity(found.len());
    for found in found {
        entries.extend(found.read(hub).await?);
    }
    Ok(Timeline { entries, next: more.then_some(next) })
}

/// One part of the story before a place, the latest first.
async fn read_part(
    hub: &Arc<Hub>,
    id: &DeviceId,
    kind: TimelineKind,
    before: TimelinePlace,
    limit: usize,
) -> Result<VecDeque<Found>, ReadTimelineError> {
    Ok(match kind {
        TimelineKind::Connection => {
            let page = device_connections(hub, id, before.connection, limit).await?;
            page.connections.into_iter().map(Found::Connection).collect()
        }
        TimelineKind::Refusal => {
            let refusals = hub.refusals.of(id.as_str()).into_iter().rev();
            refusals.filter(|refusal| before.refusal.is_none_or(|before| refusal.time < before)).map(Found::Refusal).collect()
        }
        TimelineKind::Command => {
            let query = CommandQuery { device: Some(id.clone()), before: before.command, limit, ..CommandQuery::default() };
            list_commands(hub, query).await?.into_iter().map(Found::Command).collect()
        }
        TimelineKind::Registry => registry(hub, id, before.registry, limit).await?.into_iter().map(Found::Registry).collect(),
    })
}

/// Takes the latest of what comes next in each part, so that each part stays in its own order whatever a clock has done.
fn latest(parts: &mut [VecDeque<Found>]) -> Option<Found> {
    parts.iter_mut().max_by_key(|part| part.front().map(Found::time))?.pop_front()
}

/// What was done to the identity; its commands tell of themselves.
async fn registry(hub: &Hub, id: &DeviceId, before: Option<AuditId>, limit: usize) -> Result<Vec<AuditEntry>, AuditLogError> {
    let without = vec![AuditAction::CommandSent, AuditAction::CommandSentAgain];
    read_audit(hub, &AuditQuery { before, device: Some(id.to_string()), who: None, without, limit }).await
}

impl Found {
    fn time(&self) -> UnixMillis {
        match self {
            Self::Connection(record) => record.connected_time,
            Self::Refusal(refusal) => refusal.time,
            Self::Command(view) => view.command.enqueued_time,
            Self::Registry(entry) => entry.time,
        }
    }

    /// Moves the place behind this one.
    fn pass(&self, place: &mut TimelinePlace) {
        match self {
            Self::Connection(record) => place.connection = Some((record.boot, record.connection)),
            Self::Refusal(refusal) => place.refusal = Some(refusal.time),
            Self::Command(view) => place.command = Some(view.command.id),
            Self::Registry(entry) => place.registry = Some(entry.id),
        }
    }

    /// All of it; `None` of a command that has been forgotten meanwhile.
    async fn read(self, hub: &Arc<Hub>) -> Result<Option<TimelineEntry>, CommandsError> {
        Ok(Some(match self {
            Self::Connection(record) => TimelineEntry::Connection(record),
            Self::Refusal(refusal) => TimelineEntry::Refusal(Box::new(refusal)),
            Self::Registry(entry) => TimelineEntry::Registry(Box::new(entry)),
            Self::Command(view) => match get_command(hub, view.command.id).await? {
                Some(history) => TimelineEntry::Command(Box::new(history)),
                None => return Ok(None),
            },
        }))
    }
}

#[cfg(test)]
mod tests;
