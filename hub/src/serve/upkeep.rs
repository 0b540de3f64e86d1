//! What the hub does beside its requests: writing what is kept in memory first, and letting go of what is old.
//!
//! Owns how often. What is done is decided in `ops`.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time;
use tracing::{info, warn};

use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::ops::audit::finish_audit;
use crate::ops::consumer_groups::{keep_group_positions, look_up_ages};
use crate::ops::end_expired::end_expired;
use crate::ops::flush_activity::flush_activity;
use crate::ops::follow_devices::follow_devices;
use crate::ops::live::{keep_fleet_told, keep_groups_told};
use crate::ops::rates::keep_rates;
use crate::ops::record_connections::{flush_connections, forget_boots, prune_connections};
use crate::ops::registry_statistics::keep_count;

/// How often connects and disconnects are written: what a crash may lose of them.
const CONNECTIONS_WRITTEN_EVERY: Duration = Duration::from_millis(250);

/// How often the hub notes that it lives, and when devices were last seen: how exactly it is known after a crash when that was.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);

/// How often it is written where the consumer groups stand: what a crash may lose of that.
const GROUP_POSITIONS_WRITTEN_EVERY: Duration = Duration::from_secs(2);

/// How often the ages of what consumer groups have not read are looked up.
const AGES_LOOKED_UP_EVERY: Duration = Duration::from_secs(2);

/// How long the end of a hub waits for the last entries of the audit.
const AUDIT_WRITTEN_WITHIN: Duration = Duration::from_secs(5);

/// How often connections are looked for that have been kept long enough.
const CONNECTIONS_PRUNED_EVERY: Duration = Duration::from_secs(60);

/// How often sessions are looked for that ought to have ended by the wall clock: they are rare, for a clock has to be set right first.
const EXPIRED_ENDED_EVERY: Duration = Duration::from_secs(60);

/// Begins all of it, in tasks among `upkeep`.
pub(super) fn begin(hub: &Arc<Hub>, upkeep: &mut JoinSet<()>) {
    upkeep.spawn(keep_connections(Arc::clone(hub)));
    upkeep.spawn(keep_activity(Arc::clone(hub)));
    upkeep.spawn(keep_consumer_groups(Arc::clone(hub)));
    upkeep.spawn(keep_ages(Arc::clone(hub)));
    upkeep.spawn(keep_count(Arc::clone(hub)));
    upkeep.spawn(keep_pictures(Arc::clone(hub)));
    upkeep.spawn(keep_rates(Arc::clone(hub)));
    upkeep.spawn(keep_fleet_told(Arc::clone(hub)));
    upkeep.spawn(keep_groups_told(Arc::clone(hub)));
}

/// Writes what is not written yet, once the tasks have ended.
pub(super) async fn end(hub: &Hub) {
    if time::timeout(AUDIT_WRITTEN_WITHIN, finish_audit(hub)).await.is_err() {
        warn!("what was done last may not be in the audit: it could not be written within {AUDIT_WRITTEN_WITHIN:?}");
    }
    // Long ago, so that everything not written yet is due.
    flush_activity(hub, UnixMillis(0)).await;
    if let Err(error) = flush_connections(hub).await {
        warn!(%error, "the last connects and disconnects could not be written: {error}");
    }
    if let Err(error) = keep_group_positions(hub).await {
        warn!(%error, "where the consumer groups stand at last could not be written: {error}");
    }
}

/// Writes connects and disconnects, and the hub's heartbeat.
async fn keep_connections(hub: Arc<Hub>) {
    let mut beat_at = time::Instant::now();
    let mut prune_at = beat_at;
    let mut boots_forgotten = false;
    let mut failing = false;
    loop {
        time::sleep(CONNECTIONS_WRITTEN_EVERY).await;
        let now = time::Instant::now();
        if now < beat_at && hub.unwritten_connections.is_empty() {
            continue;
        }
        beat_at = now + HEARTBEAT_EVERY;
        let mut done = flush_connections(&hub).await;
        if done.is_ok() && now >= prune_at {
            prune_at = now + CONNECTIONS_PRUNED_EVERY;
            done = prune_connections(&hub).await;
            if done.is_ok() && !boots_forgotten {
                done = forget_boots(&hub).await;
                boots_forgotten = done.is_ok();
            }
        }
        match &done {
            Err(error) if !failing => {
                warn!(%error, "connects and disconnects can't be written, and are kept in memory until they can: {error}")
            }
            Ok(()) if failing => info!("connects and disconnects are written again"),
            _ => {}
        }
        failing = done.is_err();
    }
}

/// Writes where the consumer groups stand.
async fn keep_consumer_groups(hub: Arc<Hub>) {
    let mut failing = false;
    loop {
        let kept = keep_group_positions(&hub).await;
        match &kept {
            Err(error) if !failing => warn!(%error, "where the consumer groups stand can't be kept, and is tried again: {error}"),
            Ok(()) if failing => info!("where the consumer groups stand is kept again"),
            _ => {}
        }
        failing = kept.is_err();
        time::sleep(GROUP_POSITIONS_WRITTEN_EVERY).await;
    }
}

/// Keeps the ages of what the consumer groups have not read. Apart from the positions, for it reads from the disk of the events.
async fn keep_ages(hub: Arc<Hub>) {
    loop {
        look_up_ages(&hub).await;
        time::sleep(AGES_LOOKED_UP_EVERY).await;
    }
}

/// Writes when devices were last seen, ends sessions that a wrong clock let in for too long, and lets go of changes
/// and counts that nobody can ask for any more.
async fn keep_activity(hub: Arc<Hub>) {
    let mut flushed_at = hub.now();
    let mut expired_at = time::Instant::now();
    loop {
        time::sleep(HEARTBEAT_EVERY).await;
        if expired_at.elapsed() >= EXPIRED_ENDED_EVERY {
            expired_at = time::Instant::now();
            end_expired(&hub).await;
            hub.device_rates.forget_silent(hub.now());
        }
        hub.changes.forget_old(hub.now());
        flushed_at = flush_activity(&hub, flushed_at).await;
    }
}

/// Keeps count of the devices that are expected, and of those that are offline; and the list of all devices.
async fn keep_pictures(hub: Arc<Hub>) {
    follow_devices(&hub).await;
}
