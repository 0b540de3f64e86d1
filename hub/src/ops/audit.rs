//! What was done is written down: with the change itself, or before whoever did it is answered.
//!
//! Entries that come at the same time are written together, in one transaction. Those about identities are written by the registry, with
//! the identities. Never holds a secret; what a caller has written is cut by `core`.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lru::LruCache;
use tokio::sync::oneshot;

use crate::core::audit::{AuditAction, AuditEntry, AuditId, Deed};
use crate::core::change::Change;
use crate::core::device_id::DeviceId;
use crate::core::principal::{By, Principal};
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::store::audit::{AuditLog, AuditLogError, AuditQuery};

/// How many entries are written in one transaction.
const BATCH_MAX: usize = 512;

/// How many entries may wait to be written: some seconds of a database that does not answer.
const WAITING_MAX: usize = 10_000;

/// How many entries are forgotten in one transaction.
const PRUNE_CHUNK: usize = 1000;

/// How long it is not said again that somebody reads a device's bodies: who looks on for a day leaves 24 entries, and not 100,000.
const BODIES_SAID_EVERY: Duration = Duration::from_secs(60 * 60);

/// How many readers and devices are remembered for that.
const BODIES_REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("not 0");

/// How much of the audit is kept.
#[derive(Clone, Copy, Debug)]
pub struct AuditLimits {
    /// How long.
    pub kept_for: Duration,
    /// How many entries.
    pub entries_max: usize,
}

/// As the settings have it.
impl Default for AuditLimits {
    fn default() -> Self {
        Self { kept_for: Duration::from_secs(90 * 24 * 60 * 60), entries_max: 1_000_000 }
    }
}

/// The way to the audit.
pub struct Audit {
    log: Arc<dyn AuditLog>,
    limits: AuditLimits,
    last: AtomicU64,
    waiting: Mutex<Waiting>,
    bodies: Mutex<LruCache<(Principal, String), UnixMillis>>,
}

#[derive(Default)]
struct Waiting {
    entries: Vec<(AuditEntry, oneshot::Sender<Result<(), AuditLogError>>)>,
    /// Whether somebody writes, and will look for more.
    written: bool,
}

impl Audit {
    /// Goes on behind the entry `last` of `log`.
    #[must_use]
    pub fn new(log: Arc<dyn AuditLog>, last: Option<AuditId>, limits: AuditLimits) -> Self {
        let last = last.unwrap_or_default().0.into();
        Self { log, limits, last, waiting: Mutex::default(), bodies: Mutex::new(LruCache::new(BODIES_REMEMBERED)) }
    }

    /// The entry of a deed, which somebody else writes.
    pub(super) fn entry(&self, now: UnixMillis, by: &By, deed: Deed) -> AuditEntry {
        let next = |last: u64| AuditId::after(AuditId(last), now).0;
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        deed.entry(AuditId(next(last.unwrap_or_else(|last| last))), now, by.clone())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics while it holds this lock")
    }
}

/// Writes down what somebody did, or was refused. Answers when it is durable.
pub async fn record(hub: &Arc<Hub>, by: &By, deed: Deed) -> Result<(), AuditLogError> {
    let entry = hub.audit.entry(hub.now(), by, deed);
    let (answer, answered) = oneshot::channel();
    {
        let mut waiting = hub.audit.waiting();
        if waiting.entries.len() >= WAITING_MAX {
            return Err(AuditLogError::Unavailable(format!("{WAITING_MAX} entries wait to be written already")));
        }
        waiting.entries.push((entry, answer));
        if !std::mem::replace(&mut waiting.written, true) {
            // In a task of its own: others' entries are not lost when this caller goes away.
            tokio::spawn(write_all(Arc::clone(hub)));
        }
    }
    answered.await.unwrap_or_else(|_| Err(AuditLogError::Unavailable("the entry was lost".to_owned())))
}

/// The same of what has happened already, and can't be undone because it can't be written down: then the log has it.
pub async fn record_done(hub: &Arc<Hub>, by: &By, deed: Deed) {
    let said = deed.clone();
    if let Err(error) = record(hub, by, deed).await {
        tracing::error!(%error, who = %by.principal, "{} did this, which is not in the audit: {said:?}: {error}", by.principal);
    }
}

/// Writes down that somebody reads bodies, of one device or of all, unless that was said lately. Whoever reads waits for it.
pub async fn record_bodies_read(hub: &Arc<Hub>, by: &By, device: Option<&DeviceId>) -> Result<(), AuditLogError> {
    let key = (by.principal.clone(), device.map(DeviceId::to_string).unwrap_or_default());
    let now = hub.now();
    let said = || hub.audit.bodies.lock().expect("nothing panics while it holds this lock");
    if said().get(&key).is_some_and(|last| now.since(*last) < BODIES_SAID_EVERY) {
        return Ok(());
    }
    let deed = Deed::done(AuditAction::BodiesRead);
    let deed = device.map_or_else(|| deed.clone().saying("of all devices"), |device| deed.clone().to(device.as_str()));
    record(hub, by, deed).await?;
    said().put(key, now);
    Ok(())
}

/// Entries, the latest first.
pub async fn read_audit(hub: &Hub, query: &AuditQuery) -> Result<Vec<AuditEntry>, AuditLogError> {
    hub.audit.log.entries(query).await
}

/// Forgets what is too old, and what is too much.
pub async fn prune_audit(hub: &Hub) -> Result<(), AuditLogError> {
    let AuditLimits { kept_for, entries_max } = hub.audit.limits;
    let before = UnixMillis(hub.now().0.saturating_sub_unsigned(kept_for.as_millis() as u64));
    while hub.audit.log.prune(AuditId::first_at(before), entries_max, PRUNE_CHUNK).await? == PRUNE_CHUNK {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Tells those who watch.
pub(super) fn publish(hub: &Hub, entry: AuditEntry) {
    hub.changes.publish(hub.now(), Change::Audited(Arc::new(entry)));
}

async fn write_all(hub: Arc<Hub>) {
    loop {
        let (entries, answers): (Vec<_>, Vec<_>) = {
            let mut waiting = hub.audit.waiting();
            let count = waiting.entries.len().min(BATCH_MAX);
            waiting.written = count > 0;
            waiting.entries.drain(..count).unzip()
        };
        if entries.is_empty() {
            return;
        }
        let written = hub.audit.log.append(&entries).await;
        if written.is_ok() {
            entries.into_iter().for_each(|entry| publish(&hub, entry));
        }
        for answer in answers {
            // Whoever went away meanwhile needs none.
            let _ = answer.send(written.clone());
        }
    }
}

#[cfg(test)]
mod tests;
