//! Connections that begin and end are told to those who watch, and kept for those who ask later.
//!
//! A connect costs a place in a bounded buffer; what is in there is written in batches, by whoever calls [`flush_connections`]. A
//! connection that began and ended in between is one record.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::core::change::{Change, Transition};
use crate::core::session::{ConnectionId, ConnectionRecord, DisconnectReason};
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::store::connection_log::ConnectionLogError;
use crate::store::presence::Session;

/// How long a connection stays readable after it ended.
pub const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The most connections that wait to be written, 40 MB of them: three minutes of a thousand connects a second while the store is down.
const UNWRITTEN_MAX: usize = 200_000;

/// How many are written in one transaction: some milliseconds, for which others who write may have to wait.
const BATCH: usize = 1000;

/// How many are forgotten in one transaction.
const PRUNE_CHUNK: usize = 500;

/// Connections that are not in the log yet.
#[derive(Debug, Default)]
pub struct UnwrittenConnections {
    state: Mutex<State>,
    /// Held while a batch is written, so that records of one connection are written in their order.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<ConnectionId, ConnectionRecord>,
    /// How many found no room since there was room.
    lost: u64,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Yes,
    /// There was no room, for the first time since there was.
    FirstLost,
    Lost,
}

/// Tells of a session that has begun, or ended for a reason. To be called under presence's lock: it waits for nothing.
pub fn tell(hub: &Hub, session: &Session, time: UnixMillis, disconnected: Option<DisconnectReason>, connected: bool) {
    let record = ConnectionRecord {
        boot: hub.boot,
        connection: session.connection(),
        device_id: session.device_id().clone(),
        protocol: session.protocol(),
        address: session.peer().ip(),
        connected_time: session.since(),
        // A step of the wall clock must not make an end come before its beginning.
        disconnected: disconnected.map(|reason| (time.max(session.since()), reason)),
    };
    let transition = Transition {
        device_id: record.device_id.clone(),
        connection: record.connection,
        protocol: record.protocol,
        address: record.address,
        time: record.disconnected.map_or(time, |(time, _)| time),
        disconnected,
        connected,
    };
    match hub.unwritten_connections.keep(record) {
        Kept::Yes => {}
        kept => {
            hub.metrics.connection_record_lost();
            if kept == Kept::FirstLost {
                tracing::error!(
                    "the connections' log does not take as much as comes: connects and disconnects are missing in it from now on"
                );
            }
        }
    }
    hub.changes.publish(time, Change::Presence(transition));
}

/// Writes what waits, and that the hub lives. With nothing to write only the latter. Loses nothing when it is dropped while it waits: a
/// record stays until it is known to be written.
pub async fn flush_connections(hub: &Hub) -> Result<(), ConnectionLogError> {
    let _alone = hub.unwritten_connections.writing.lock().await;
    loop {
        let batch = hub.unwritten_connections.oldest(BATCH);
        hub.connection_log.record(hub.boot, hub.now(), &batch).await?;
        hub.unwritten_connections.written(&batch);
        if let Some(lost) = hub.unwritten_connections.caught_up() {
            tracing::error!(lost, "the connections' log takes what comes again; {lost} connects and disconnects are missing in it");
        }
        if batch.len() < BATCH {
            return Ok(());
        }
    }
}

/// Forgets the connections that ended too long ago, a chunk at a time.
pub async fn prune_connections(hub: &Hub) -> Result<(), ConnectionLogError> {
    while hub.connection_log.prune(hub.boot, kept_since(hub), PRUNE_CHUNK).await? == PRUNE_CHUNK {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Forgets the hub's earlier lives to which nothing refers any more, no connection and no device. To be called once in a life: that is
/// how fast they come.
pub async fn forget_boots(hub: &Hub) -> Result<(), ConnectionLogError> {
    while hub.connection_log.forget_boots(hub.boot, kept_since(hub), PRUNE_CHUNK).await? == PRUNE_CHUNK {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// What ended before this is not kept.
fn kept_since(hub: &Hub) -> UnixMillis {
    UnixMillis(hub.now().0.saturating_sub_unsigned(KEPT_FOR.as_millis() as u64))
}

impl UnwrittenConnections {
    /// Whether any wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state().records.is_empty()
    }

    fn keep(&self, record: ConnectionRecord) -> Kept {
        let mut state = self.state();
        if state.records.len() >= UNWRITTEN_MAX && !state.records.contains_key(&record.connection) {
            state.lost += 1;
            return if state.lost == 1 { Kept::FirstLost } else { Kept::Lost };
        }
        state.records.insert(record.connection, record);
        Kept::Yes
    }

    /// The oldest, at most `limit`.
    fn oldest(&self, limit: usize) -> Vec<ConnectionRecord> {
        self.state().records.values().take(limit).cloned().collect()
    }

    /// Lets go of what is written. What has come meanwhile about the same connection is not, and stays.
    fn written(&self, batch: &[ConnectionRecord]) {
        let mut state = self.state();
        for record in batch {
            if state.records.get(&record.connection) == Some(record) {
                state.records.remove(&record.connection);
            }
        }
    }

    /// How many were lost, once there is room again.
    fn caught_up(&self) -> Option<u64> {
        let mut state = self.state();
        if state.lost == 0 || state.records.len() > UNWRITTEN_MAX / 2 {
            return None;
        }
        Some(std::mem::take(&mut state.lost))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests;
