//! What was done is written down: with the change itself, or before whoever did it is answered.
//!
//! Entries that come at the same time are written together, in one transaction. Those about identities are written by the registry, with
//! the identities. Never holds a secret; what a caller has written is cut by `core`.

mod said;

use std::future::pending;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::sync::{oneshot, watch};

pub(super) use self::said::record_command_sent;
pub use self::said::{BodiesReader, record_bodies_read};
use crate::core::audit::{AuditEntry, AuditId, Deed};
use crate::core::change::Change;
use crate::core::principal::{By, Door};
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::store::audit::{AuditLog, AuditLogError, AuditQuery, Authors};

/// How many entries are written in one transaction.
const BATCH_MAX: usize = 512;

/// How many entries may wait to be written: some seconds of a database that does not answer.
const WAITING_MAX: usize = 10_000;

/// How many entries are forgotten in one transaction.
const PRUNE_CHUNK: usize = 1000;

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
    said: said::Said,
    /// How many tasks do or write something that nobody else would.
    under_way: watch::Sender<usize>,
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
        Self { log, limits, last, waiting: Mutex::default(), said: said::Said::default(), under_way: watch::Sender::default() }
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
            tokio::spawn(write_all(UnderWay::in_hub(hub)));
        }
    }
    answered.await.unwrap_or_else(|_| Err(AuditLogError::Unavailable("the entry was lost".to_owned())))
}

/// The same of what has happened already, and can't be undone because it can't be written down: then the log has it. Says whether it is written
/// down.
pub async fn record_done(hub: &Arc<Hub>, by: &By, deed: Deed) -> bool {
    let said = deed.clone();
    let written = record(hub, by, deed).await;
    if let Err(error) = &written {
        tracing::error!(%error, who = %by.principal, "{} did this, which is not in the audit: {said:?}: {error}", by.principal);
    }
    written.is_ok()
}

/// Writes down what a person was refused, at the pace that her audit has for that. Programs ask again and again for what they can't have.
pub(super) async fn record_refused(hub: &Arc<Hub>, by: &By, refused: Deed) {
    if by.door == Door::Dashboard && hub.sign_in.person_may_be_audited(&by.principal, hub.now()) {
        record_done(hub, by, refused).await;
    }
}

/// The same of many, in one transaction or a few.
pub(super) async fn record_all_refused(hub: &Arc<Hub>, by: &By, refused: impl IntoIterator<Item = Deed>) {
    join_all(refused.into_iter().map(|deed| record_refused(hub, by, deed))).await;
}

/// Does something and writes it down, whether or not the caller still waits: one who goes away between the two (a closed HTTP connection
/// drops its handler) must not leave a deed without its entry.
pub(super) async fn to_the_end<T: Send + 'static>(hub: &Arc<Hub>, deed: impl Future<Output = T> + Send + 'static) -> T {
    let under_way = UnderWay::in_hub(hub);
    let deed = async move {
        let done = deed.await;
        drop(under_way);
        done
    };
    match tokio::spawn(deed).await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => resume_unwind(panic),
        // The runtime ends, and this task with it.
        Err(Err(_cancelled)) => pending().await,
    }
}

/// Waits until all that was begun is done and written down: who ends the hub closes the log then.
pub async fn finish_audit(hub: &Hub) {
    let mut under_way = hub.audit.under_way.subscribe();
    under_way.wait_for(|count| *count == 0).await.expect("the hub has its sender");
}

/// Somebody whom the hub waits for at its end.
struct UnderWay(Arc<Hub>);

impl UnderWay {
    fn in_hub(hub: &Arc<Hub>) -> Self {
        hub.audit.under_way.send_modify(|count| *count += 1);
        Self(Arc::clone(hub))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.audit.under_way.send_modify(|count| *count -= 1);
    }
}

/// Entries, the latest first.
pub async fn read_audit(hub: &Hub, query: &AuditQuery) -> Result<Vec<AuditEntry>, AuditLogError> {
    hub.audit.log.entries(query).await
}

/// Forgets what is too old, and what is too much.
pub async fn prune_audit(hub: &Hub) -> Result<(), AuditLogError> {
    hub.audit.prune(hub.now()).await
}

impl Audit {
    /// Of what is too much, whoever has more than half of the room makes room: a program that changes a million devices must not push out what
    /// people did, nor people what programs did.
    async fn prune(&self, now: UnixMillis) -> Result<(), AuditLogError> {
        let AuditLimits { kept_for, entries_max } = self.limits;
        let too_old = AuditId::first_at(UnixMillis(now.0.saturating_sub_unsigned(kept_for.as_millis() as u64)));
        self.forget(Authors::All, too_old, usize::MAX).await?;
        let excess = self.log.count(Authors::All).await?.saturating_sub(entries_max);
        if excess == 0 {
            return Ok(());
        }
        let of_programs = excess.min(self.log.count(Authors::Programs).await?.saturating_sub(entries_max / 2));
        let of_others = excess - of_programs;
        tracing::warn!(
            of_programs,
            of_others,
            "the audit has more than {entries_max} entries, so the oldest are forgotten: {of_programs} of programs and {of_others} of others"
        );
        self.forget(Authors::Programs, AuditId::MAX, of_programs).await?;
        self.forget(Authors::Others, AuditId::MAX, of_others).await
    }

    /// Forgets so many at most, a few at a time.
    async fn forget(&self, of: Authors, before: AuditId, mut count: usize) -> Result<(), AuditLogError> {
        loop {
            let chunk = count.min(PRUNE_CHUNK);
            if chunk == 0 || self.log.prune(of, before, chunk).await? < chunk {
                return Ok(());
            }
            count -= chunk;
            tokio::task::yield_now().await;
        }
    }
}

/// Tells those who watch.
pub(super) fn publish(hub: &Hub, entry: AuditEntry) {
    hub.changes.publish(hub.now(), Change::Audited(Arc::new(entry)));
}

async fn write_all(under_way: UnderWay) {
    let hub = &under_way.0;
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
        // A log that dies of some entries must not keep all others from being written ever after.
        let written = AssertUnwindSafe(hub.audit.log.append(&entries)).catch_unwind().await;
        let written = written.unwrap_or_else(|_| Err(AuditLogError::Unavailable("it died of what was to be written".to_owned())));
        if written.is_ok() {
            entries.into_iter().for_each(|entry| publish(hub, entry));
        }
        for answer in answers {
            // Whoever went away meanwhile needs none.
            let _ = answer.send(written.clone());
        }
    }
}

#[cfg(test)]
mod tests;
