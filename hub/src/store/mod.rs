//! What the hub keeps, behind seams. Each trait says what it promises; [`contract`] is the suite that every implementation passes.
//!
//! Never decides anything: a decision of `core` meets a store only in `ops`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::core::audit::AuditEntry;
use crate::core::device_id::DeviceId;
use crate::core::event::{PartitionId, PartitionInfo, SequenceNumber, StartPosition};
use crate::core::identity::{DeviceIdentity, GenerationId, Version};
use crate::core::session::BootId;
use crate::core::time::UnixMillis;

pub mod audit;
pub mod ballast;
pub mod commands;
pub mod connection_log;
#[cfg(test)]
pub mod contract;
pub mod data_folder;
pub mod group_positions;
pub mod journal;
pub mod mailbox;
pub mod memory;
pub mod modes;
pub mod presence;
pub mod sql;

/// The identities. Linearizable: a read that starts after a write has returned sees it.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// The identity, or `None`.
    async fn get(&self, id: &DeviceId) -> Result<Option<DeviceIdentity>, RegistryError>;

    /// Identities in byte order of their ids, after `after`, at most `limit` (1 to 1000).
    async fn list(&self, after: Option<&DeviceId>, limit: usize) -> Result<Vec<DeviceIdentity>, RegistryError>;

    /// Writes each, in order, in one durable transaction; an answer per write. A write whose expectation fails changes nothing and
    /// does not hinder the others; each sees the ones before it.
    async fn write(&self, writes: Vec<RegistryWrite>) -> Result<Vec<Result<(), ExpectationFailed>>, RegistryError>;

    /// Records when devices connected, disconnected or sent, and whether they are connected. Not a change: versions stay. Identities that
    /// are gone are skipped, even when others of their names have come since.
    async fn record_activity(&self, activity: Vec<DeviceActivity>) -> Result<(), RegistryError>;

    /// How many identities there are.
    async fn count(&self) -> Result<DeviceCount, RegistryError>;
}

/// One identity's compare-and-swap.
#[derive(Clone, Debug)]
pub struct RegistryWrite {
    /// Whose.
    pub id: DeviceId,
    /// What must be there for the write to happen.
    pub expected: Expected,
    /// What is there afterwards; `None` deletes. Its activity counts only where nothing was there before: what
    /// [`Registry::record_activity`] has recorded is never undone by a writer who read before it.
    pub new: Option<DeviceIdentity>,
    /// What the audit says of it, in the same transaction: there when the write happened, and only then.
    pub audit: Option<AuditEntry>,
}

/// What must be there for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No identity of this name.
    Absent,
    /// The identity in exactly this version.
    Version(Version),
}

/// Somebody else was faster: read again and decide again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the identity is not what the write expected")]
pub struct ExpectationFailed;

/// When a device was last seen, and whether it is there.
#[derive(Clone, Debug)]
pub struct DeviceActivity {
    /// Which.
    pub id: DeviceId,
    /// Which life of that identity.
    pub generation_id: GenerationId,
    /// In which life of the hub it is connected; `None` when it is not.
    pub connected_boot: Option<BootId>,
    /// When it last connected or sent; `None` leaves what is there.
    pub last_activity_time: Option<UnixMillis>,
    /// When it last connected or disconnected; `None` leaves what is there.
    pub connection_state_updated_time: Option<UnixMillis>,
}

/// How many identities there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceCount {
    /// All.
    pub total: u64,
    /// Those whose status is enabled.
    pub enabled: u64,
}

/// The registry can't answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// No space, even after the ballast was let go.
    #[error("the registry's disk is full")]
    Full,
    /// Anything else, in the store's words; no secret in it.
    #[error("the registry's store does not answer: {0}")]
    Unavailable(String),
    /// A row that this version can't read.
    #[error("the registry's row of {id:?} is damaged: {reason}")]
    Damaged {
        /// Whose row.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The events of all partitions. Sequence numbers are contiguous per partition from 0, never reused or shifted, holes included.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// How many partitions; fixed when the log was made.
    fn partition_count(&self) -> std::num::NonZeroU16;

    /// Takes the whole batch, or nothing of it, without waiting, and empties it. Events of one partition get numbers in the order of the
    /// batch, and batches in the order of the calls. They are not durable yet: see [`Self::durability`].
    fn try_append(&self, batch: &mut EventBatch) -> Result<Ticket, AppendError>;

    /// Waits until [`AppendError::Busy`] is worth another try.
    async fn room(&self);

    /// Follows what has become durable.
    fn durability(&self) -> Durability;

    /// What a partition holds. `None`: no such partition.
    fn partition(&self, partition: PartitionId) -> Option<PartitionInfo>;

    /// The number of the first event that a reader starting at `position` gets, stored or not yet.
    async fn locate(&self, partition: PartitionId, position: StartPosition) -> Result<SequenceNumber, ReadError>;

    /// Durable events from `from` on, in order, at most `max_bytes` of content but at least one event when there is one; empty at the end.
    /// Where events are gone (retention) or damaged (a hole), the first one after them comes: numbers tell.
    async fn read(&self, partition: PartitionId, from: SequenceNumber, max_bytes: usize) -> Result<Vec<StoredEvent>, ReadError>;

    /// When the event was enqueued with which [`Self::read`] would begin from `from` on; `None` at the end. Leaves those who read in peace.
    async fn enqueued_time(&self, partition: PartitionId, from: SequenceNumber) -> Result<Option<UnixMillis>, ReadError>;
}

/// Events to append: encoded messages back to back, reused from batch to batch.
#[derive(Debug, Default)]
pub struct EventBatch {
    /// When they arrived, by the hub's clock. The log never lets a partition's time run backwards.
    pub enqueued_time: UnixMillis,
    /// Their contents, back to back.
    pub bytes: Vec<u8>,
    /// Each event's partition, and where its content ends in `bytes`.
    pub ends: Vec<(PartitionId, usize)>,
}

impl EventBatch {
    /// Appends one event, whose content `encode` pushes to the buffer.
    pub fn push(&mut self, partition: PartitionId, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
        self.ends.push((partition, self.bytes.len()));
    }

    /// How many events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets the events, keeps the buffers (up to 64 KiB, so that one large message does not stay with an idle connection).
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(64 * 1024);
        self.ends.clear();
        self.ends.shrink_to(1024);
    }

    /// The events: partition and content.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(partition, end)| (partition, &self.bytes[std::mem::replace(&mut start, end)..end]))
    }
}

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number.
    pub sequence_number: SequenceNumber,
    /// When it was enqueued.
    pub enqueued_time: UnixMillis,
    /// The encoded message ([`crate::core::message::encoding`]), byte for byte as appended.
    pub content: Bytes,
}

/// Stands for a batch until it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which run of the log took it; a failed write to disk starts a new one.
    pub epoch: u64,
    /// Position of the batch's last event among all events of all epochs.
    pub ordinal: u64,
}

/// What is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// The log's present epoch.
    pub epoch: u64,
    /// The ordinal of the last durable event of this epoch (or of the ones before it, when this epoch has none yet).
    pub ordinal: u64,
}

/// What has become of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Not on disk yet.
    Pending,
    /// On disk: acknowledge.
    Durable,
    /// Never acknowledge: its epoch has ended. (It may be on disk all the same; then the sender's repetition is a duplicate, as at-least-once has it.)
    Failed,
}

impl Watermark {
    /// What has become of the batch that the ticket stands for.
    #[must_use]
    pub fn fate(self, ticket: Ticket) -> Fate {
        if ticket.epoch != self.epoch {
            Fate::Failed
        } else if ticket.ordinal <= self.ordinal {
            Fate::Durable
        } else {
            Fate::Pending
        }
    }
}

/// Follows the watermark.
#[derive(Clone, Debug)]
pub struct Durability(pub watch::Receiver<Watermark>);

impl Durability {
    /// The watermark now; marks it as seen.
    pub fn now(&mut self) -> Watermark {
        *self.0.borrow_and_update()
    }

    /// Waits for the watermark to change. For ever when the log is gone.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the batch's fate is decided; true when it is durable.
    pub async fn durable(&mut self, ticket: Ticket) -> bool {
        loop {
            match self.now().fate(ticket) {
                Fate::Durable => return true,
                Fate::Failed => return false,
                Fate::Pending => self.changed().await,
            }
        }
    }
}

/// The log did not take a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too much is waiting for the disk: wait for [`EventLog::room`] and try again.
    #[error("the event log's queue is full")]
    Busy,
    /// No space; retry after the given time.
    #[error("the event log's disk is full")]
    DiskFull {
        /// A good time to come again.
        retry_after: Duration,
    },
    /// The last write failed and the log is being verified, or the hub is shutting down.
    #[error("the event log takes no events now")]
    Unavailable {
        /// A good time to come again.
        retry_after: Duration,
    },
}

/// The log can't be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// There is no such partition.
    #[error("there is no partition {0}")]
    UnknownPartition(PartitionId),
    /// The disk failed.
    #[error("the event log can't be read: {0}")]
    Io(Arc<std::io::Error>),
}

/// Where a reader begins that does not ask for a time: never before the oldest event kept, possibly after the last one. For one that
/// asks for a time, the first time that it wants.
pub fn locate_by_number(info: &PartitionInfo, position: StartPosition) -> Result<SequenceNumber, UnixMillis> {
    let (number, inclusive) = match position {
        StartPosition::Earliest => (0, true),
        StartPosition::Latest => (info.next_sequence_number.0, true),
        StartPosition::Offset { offset, inclusive } => (offset.0, inclusive),
        StartPosition::SequenceNumber { number, inclusive } => (number.0, inclusive),
        StartPosition::EnqueuedTime { time, inclusive } => return Err(UnixMillis(time.0.saturating_add(i64::from(!inclusive)))),
    };
    let number = SequenceNumber(number.saturating_add(u64::from(!inclusive)));
    Ok(number.max(info.begin_sequence_number))
}
