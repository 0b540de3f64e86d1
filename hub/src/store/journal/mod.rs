//! The event log on this machine: one append-only sequence of segment files, shared by all partitions.
//!
//! Owns the events and their numbers. *Durable* means that fdatasync has returned. Never knows what an event's content means.
//!
//! ```text
//! try_append → queue → writer thread: one pwritev, one fdatasync per group → catalog, watermark → connections acknowledge
//! read → catalog (where) → segment file, past the writer
//! ```
//!
//! [`layout`] has the bytes, [`recovery`] what they mean after a crash, [`writer`] what happens when the disk fails.

use std::io;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use self::catalog::Catalog;
use self::disk::{Disk, Folder};
use self::layout::{HEADER_BYTES, MAX_PARTITIONS};
use self::queue::Queue;
use self::read::{Bookmarks, OpenSegments};
use self::stats::{Counters, Holes};
use self::writer::{RETRY_AFTER, Writer};
use super::ballast::Ballast;
use super::{AppendError, Durability, EventBatch, EventLog, ReadError, StoredEvent, Ticket, Watermark};
use crate::core::event::{PartitionId, PartitionInfo, SequenceNumber, StartPosition};
use crate::core::time::{Clock, UnixMillis};

pub use self::stats::JournalStats;

mod catalog;
pub(crate) mod disk;
mod index;
mod layout;
mod queue;
mod read;
mod recovery;
mod scan;
mod segment;
mod stats;
#[cfg(test)]
mod tests;
mod writer;

/// How the journal is set up.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// How many partitions, 1 to 32; can't be changed later.
    pub partitions: NonZeroU16,
    /// How much is allocated for a segment, in bytes.
    pub segment_bytes: u64,
    /// How old a segment becomes before the next is begun; retention is as coarse as this.
    pub segment_max_age: Duration,
    /// How long events are kept at least.
    pub retention_time: Duration,
    /// How much disk all segments may take, in bytes; the oldest go first. It should be at least three segments.
    pub retention_bytes: u64,
    /// How much may wait for the disk, in bytes.
    pub queue_bytes: usize,
    /// The space that is kept for the registry.
    pub ballast: Option<Arc<Ballast>>,
}

impl JournalConfig {
    /// One day, no limit in size, and what was measured to do well.
    #[must_use]
    pub fn new(partitions: NonZeroU16) -> Self {
        const MEBIBYTE: u64 = 1024 * 1024;
        Self {
            partitions,
            // Beginning a segment costs three commits: at this size they vanish among the thousands that fill it.
            segment_bytes: 64 * MEBIBYTE,
            segment_max_age: Duration::from_secs(60 * 60),
            retention_time: Duration::from_secs(24 * 60 * 60),
            retention_bytes: u64::MAX,
            // A fast hub's events of some ten milliseconds, which is a slow fdatasync.
            queue_bytes: 8 * 1024 * 1024,
            ballast: None,
        }
    }
}

/// The journal can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk failed.
    #[error("can't {doing} the journal's {file:?}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file of the journal's folder; empty for the folder.
        file: String,
        /// The disk's error.
        source: io::Error,
    },
    /// The log was made with another number of partitions.
    #[error("the journal has {stored} partitions and can't be opened with {configured}: the number is fixed when the log is made")]
    PartitionCount {
        /// What it has.
        stored: usize,
        /// What is configured.
        configured: usize,
    },
    /// More partitions than the journal can have.
    #[error("a journal has 1 to {MAX_PARTITIONS} partitions, not {0}")]
    TooManyPartitions(u16),
    /// A later version of this program wrote a segment.
    #[error("journal segment {segment} has format {version}, which only a later version reads")]
    NewerVersion {
        /// The segment's number.
        segment: u64,
        /// Its format.
        version: u32,
    },
}

impl JournalError {
    fn io(doing: &'static str, file: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |source| Self::Io { doing, file, source }
    }
}

/// The event log.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What connections, readers and the writer share.
struct Shared {
    queue: Queue,
    catalog: RwLock<Catalog>,
    disk: Arc<dyn Disk>,
    open_segments: OpenSegments,
    bookmarks: Bookmarks,
    watermark: watch::Sender<Watermark>,
    counters: Counters,
    holes: Holes,
    partitions: NonZeroU16,
    ballast: Option<Arc<Ballast>>,
}

impl Journal {
    /// Opens the journal in `folder`, which is made if need be, and starts its thread. Damage is stepped over and counted.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(folder: PathBuf, config: JournalConfig, clock: Arc<dyn Clock>) -> Result<Self, JournalError> {
        let disk = Folder::open(folder).map_err(JournalError::io("open", ""))?;
        let (shared, writer) = open_on(Arc::new(disk), config, clock)?;
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(JournalError::io("start the thread of", ""))?;
        Ok(Self { shared, writer: Mutex::new(Some(thread)) })
    }

    /// The journal in numbers. Reads an index (some 100 KiB) from the disk each time that the oldest segment is another one.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        self.shared.stats()
    }

    /// Takes no more events, waits until those that it took are on disk, and closes the files. Blocks for as long as that takes.
    pub fn close(&self) {
        self.shared.queue.close(AppendError::Unavailable { retry_after: RETRY_AFTER });
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the journal's thread has panicked");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

/// Recovers what the disk holds and begins a new segment; the writer is returned, not started.
fn open_on(disk: Arc<dyn Disk>, config: JournalConfig, clock: Arc<dyn Clock>) -> Result<(Arc<Shared>, Writer), JournalError> {
    let partitions = config.partitions;
    if partitions.get() > MAX_PARTITIONS {
        return Err(JournalError::TooManyPartitions(partitions.get()));
    }
    let config = JournalConfig { segment_bytes: config.segment_bytes.max(2 * HEADER_BYTES), ..config };
    let holes = Holes::default();
    let recovered = recovery::recover(&*disk, usize::from(partitions.get()), &holes)?;
    // A segment is never continued: in what a torn group has left behind its end, frames may be whole.
    let (active, full) = segment::first(&*disk, &config, &recovered, clock.now()).map_err(JournalError::io("begin a segment of", ""))?;
    for surplus in &recovered.surplus {
        for name in [segment::segment_name(*surplus), index::file_name(*surplus)] {
            // What can't be removed is found empty again at the next start.
            let _ = disk.remove(&name);
        }
    }
    let (file, segment) = (active.file.clone(), active.summary.segment);
    tracing::info!(segment, segments = recovered.complete.len(), holes = holes.count(), "the journal begins segment {segment}");
    let shared = Arc::new(Shared {
        queue: Queue::new(&recovered.progress, config.queue_bytes),
        catalog: RwLock::new(Catalog::new(recovered.complete, active)),
        disk,
        open_segments: OpenSegments::default(),
        bookmarks: Bookmarks::default(),
        watermark: watch::Sender::new(Watermark { epoch: 1, ordinal: 0 }),
        counters: Counters::default(),
        holes,
        partitions,
        ballast: config.ballast.clone(),
    });
    let mut writer = Writer::new(shared.clone(), config, clock, file);
    if let Some(full) = full {
        writer.fail(&full);
    }
    Ok((shared, writer))
}

impl Shared {
    fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn catalog_mut(&self) -> RwLockWriteGuard<'_, Catalog> {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn partitions(&self) -> usize {
        usize::from(self.partitions.get())
    }

    fn partition(&self, partition: PartitionId) -> Option<PartitionInfo> {
        self.catalog().partition(usize::from(partition.0))
    }

    fn read(&self, partition: PartitionId, from: SequenceNumber, max_bytes: usize) -> Result<Vec<StoredEvent>, ReadError> {
        read::read(self, usize::from(partition.0), from.0, max_bytes).map_err(|error| ReadError::Io(Arc::new(error)))
    }

    fn enqueued_time(&self, partition: PartitionId, from: SequenceNumber) -> Result<Option<UnixMillis>, ReadError> {
        read::enqueued_time(self, usize::from(partition.0), from.0).map_err(|error| ReadError::Io(Arc::new(error)))
    }

    fn locate_time(&self, partition: PartitionId, time: UnixMillis) -> Result<SequenceNumber, ReadError> {
        let number = read::locate_time(self, usize::from(partition.0), time).map_err(|error| ReadError::Io(Arc::new(error)))?;
        Ok(SequenceNumber(number))
    }

    fn stats(&self) -> JournalStats {
        let oldest_event_time = read::oldest_event_time(self);
        let catalog = self.catalog();
        let refusal = self.queue.refusal();
        JournalStats {
            groups: self.counters.groups.load(Relaxed),
            records: self.counters.records.load(Relaxed),
            bytes: self.counters.bytes.load(Relaxed),
            sync_time: Duration::from_millis(self.counters.sync_ms.load(Relaxed)),
            failures: self.counters.failures.load(Relaxed),
            holes: self.holes.count(),
            segments: catalog.segments() as u64,
            bytes_on_disk: catalog.bytes(),
            oldest_event_time,
            ballast_held: self.ballast.as_ref().map(|ballast| ballast.is_held()),
            disk_full: matches!(refusal, Some(AppendError::DiskFull { .. })),
            refusing: refusal.is_some(),
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

#[async_trait]
impl EventLog for Journal {
    fn partition_count(&self) -> NonZeroU16 {
        self.shared.partitions
    }

    fn try_append(&self, batch: &mut EventBatch) -> Result<Ticket, AppendError> {
        self.shared.queue.try_append(batch)
    }

    async fn room(&self) {
        self.shared.queue.room().await;
    }

    fn durability(&self) -> Durability {
        Durability(self.shared.watermark.subscribe())
    }

    fn partition(&self, partition: PartitionId) -> Option<PartitionInfo> {
        self.shared.partition(partition)
    }

    async fn locate(&self, partition: PartitionId, position: StartPosition) -> Result<SequenceNumber, ReadError> {
        let info = self.partition(partition).ok_or(ReadError::UnknownPartition(partition))?;
        match super::locate_by_number(&info, position) {
            Ok(number) => Ok(number),
            Err(time) => {
                let shared = self.shared.clone();
                blocking(move || shared.locate_time(partition, time)).await
            }
        }
    }

    async fn read(&self, partition: PartitionId, from: SequenceNumber, max_bytes: usize) -> Result<Vec<StoredEvent>, ReadError> {
        let info = self.partition(partition).ok_or(ReadError::UnknownPartition(partition))?;
        if from >= info.next_sequence_number {
            return Ok(Vec::new());
        }
        let shared = self.shared.clone();
        blocking(move || shared.read(partition, from, max_bytes)).await
    }

    async fn enqueued_time(&self, partition: PartitionId, from: SequenceNumber) -> Result<Option<UnixMillis>, ReadError> {
        let info = self.partition(partition).ok_or(ReadError::UnknownPartition(partition))?;
        if from >= info.next_sequence_number {
            return Ok(None);
        }
        let shared = self.shared.clone();
        blocking(move || shared.enqueued_time(partition, from)).await
    }
}

/// Runs what may wait for the disk where it hinders no connection.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, ReadError> + Send + 'static) -> Result<T, ReadError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(ReadError::Io(Arc::new(io::Error::other(error)))),
    }
}
