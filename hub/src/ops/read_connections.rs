//! Who is connected now, how a device's connections went, and who connects again and again.

use crate::core::device_id::DeviceId;
use crate::core::session::{BootId, ConnectionId, ConnectionRecord};
use crate::ops::Hub;
use crate::ops::record_connections::flush_connections;
use crate::store::connection_log::ConnectionLogError;
use crate::store::presence::Session;

// What the verbs answer.
pub use crate::store::connection_log::ConnectionLogError as ReadConnectionsError;
pub use crate::store::presence::flapping::Streak;
pub use crate::store::presence::{PresenceCounts, SessionKey};

/// The most connections on one page.
pub const PAGE_MAX: usize = 1000;

/// How it stands with everybody's presence.
#[derive(Clone, Debug)]
pub struct PresenceOverview {
    /// How many.
    pub counts: PresenceCounts,
    /// Who connects again and again, in byte order of their ids.
    pub flapping: Vec<(DeviceId, Streak)>,
}

/// A device's connections.
#[derive(Clone, Debug)]
pub struct DeviceConnections {
    /// Whether it is connected now.
    pub connected: bool,
    /// How it flaps, if it does.
    pub flapping: Option<Streak>,
    /// Its connections, the latest first.
    pub connections: Vec<ConnectionRecord>,
}

/// Who is connected now: the sessions after `after` that have not ended, by device in byte order, at most `limit` and [`PAGE_MAX`].
#[must_use]
pub fn list_sessions(hub: &Hub, after: Option<&SessionKey>, limit: usize) -> Vec<Session> {
    let limit = limit.clamp(1, PAGE_MAX);
    let mut after = after.cloned();
    let mut found = Vec::new();
    while found.len() < limit {
        let page = hub.presence.sessions(after.as_ref(), limit - found.len());
        let Some(last) = page.last() else { break };
        after = Some(last.key());
        found.extend(page.into_iter().filter(|session| session.ended().is_none()));
    }
    found
}

/// How many are connected, and who can't hold a connection.
#[must_use]
pub fn presence_overview(hub: &Hub) -> PresenceOverview {
    PresenceOverview { counts: hub.presence.counts(), flapping: hub.presence.flapping.all(hub.now()) }
}

/// How many are connected.
#[must_use]
pub fn presence_counts(hub: &Hub) -> PresenceCounts {
    hub.presence.counts()
}

/// How many devices flap now; a thousand at most.
#[must_use]
pub fn flapping_count(hub: &Hub) -> usize {
    hub.presence.flapping.count(hub.now())
}

/// The connections of a device in the last seven days, the latest first: those before `before`, at most `limit` and [`PAGE_MAX`]. Also of
/// a device that has been deleted since. All that has been told to watchers before is in it.
pub async fn device_connections(
    hub: &Hub,
    id: &DeviceId,
    before: Option<(BootId, ConnectionId)>,
    limit: usize,
) -> Result<DeviceConnections, ConnectionLogError> {
    if !hub.unwritten_connections.is_empty() {
        flush_connections(hub).await?;
    }
    let connections = hub.connection_log.connections(hub.boot, id, before, limit.clamp(1, PAGE_MAX)).await?;
    Ok(DeviceConnections { connected: hub.presence.view(id).connected, flapping: hub.presence.flapping.of(id, hub.now()), connections })
}
