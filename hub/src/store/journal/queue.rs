//! What waits for the disk: the group that is being filled while another one is written.
//!
//! Owns the order of the events, the tickets, and whether the log takes events at all. Never touches the disk.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::layout::{self, BLOCK_HEADER_BYTES, Progress};
use crate::core::time::UnixMillis;
use crate::store::{AppendError, EventBatch, Ticket};

/// A block is closed when its records have grown to this: damage to its header costs no more than this, and a reader's buffer
/// is about as large.
const BLOCK_TARGET_BYTES: usize = 64 * 1024;
/// What a group's buffer for a partition may keep allocated between groups, so that one burst does not stay in memory.
const KEPT_BUFFER_BYTES: usize = 1024 * 1024;

/// Events on their way to the disk, in the layout they will have there, without places, numbers and checksums.
#[derive(Debug)]
pub struct Group {
    /// One for each partition of the log.
    pub partitions: Vec<PendingPartition>,
    /// The ordinal of the last event.
    pub ordinal: u64,
    /// How many events.
    pub records: u64,
    bytes: usize,
}

/// A partition's part of a group.
#[derive(Debug, Default)]
pub struct PendingPartition {
    /// Block header, records, block header, records, …
    pub bytes: Vec<u8>,
    /// The blocks in it.
    pub blocks: Vec<PendingBlock>,
}

/// A block in the making.
#[derive(Clone, Copy, Debug)]
pub struct PendingBlock {
    /// Where its header starts.
    pub start: usize,
    /// How many records it has.
    pub records: u32,
    /// When the first was enqueued.
    pub first_time: UnixMillis,
    /// When the last was enqueued.
    pub last_time: UnixMillis,
}

impl Group {
    fn new(partitions: usize) -> Self {
        Self { partitions: (0..partitions).map(|_| PendingPartition::default()).collect(), ordinal: 0, records: 0, bytes: 0 }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The length of all blocks.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn clear(&mut self) {
        for partition in &mut self.partitions {
            partition.bytes.clear();
            partition.bytes.shrink_to(KEPT_BUFFER_BYTES);
            partition.blocks.clear();
        }
        (self.records, self.bytes) = (0, 0);
    }
}

impl PendingPartition {
    /// Appends a record; returns the bytes that it took.
    fn push(&mut self, time: UnixMillis, content: &[u8]) -> usize {
        let before = self.bytes.len();
        if self.blocks.last().is_none_or(|block| before - block.start >= BLOCK_TARGET_BYTES) {
            self.blocks.push(PendingBlock { start: before, records: 0, first_time: time, last_time: time });
            self.bytes.resize(before + BLOCK_HEADER_BYTES, 0);
        }
        let block = self.blocks.last_mut().expect("pushed above");
        // A clock that leaps by more than 49 days inside one block loses the excess; the next block has the true time.
        let delta = u32::try_from(time.0.saturating_sub(block.first_time.0)).unwrap_or(u32::MAX);
        layout::push_record(&mut self.bytes, block.records, delta, content);
        block.records += 1;
        block.last_time = UnixMillis(block.first_time.0 + i64::from(delta));
        self.bytes.len() - before
    }
}

/// What the writer does next.
#[derive(Debug)]
pub enum Work {
    /// Write these.
    Group(Group),
    /// Nothing came in time: look after the rest.
    Tick,
    /// Nothing will ever come again.
    Close,
}

/// The queue between connections and the writer.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    room: Notify,
    limit_bytes: usize,
}

#[derive(Debug)]
struct State {
    filling: Group,
    /// The group written last, for its buffers.
    idle: Option<Group>,
    last_times: Vec<UnixMillis>,
    epoch: u64,
    refusal: Option<AppendError>,
    closing: bool,
    /// Whether the writer sleeps: only then is it worth a system call to wake it.
    writer_sleeps: bool,
}

impl Queue {
    /// A queue that takes events of these partitions, up to about `limit_bytes`.
    #[must_use]
    pub fn new(progress: &[Progress], limit_bytes: usize) -> Self {
        let state = State {
            filling: Group::new(progress.len()),
            idle: None,
            last_times: progress.iter().map(|progress| progress.last_time).collect(),
            epoch: 1,
            refusal: None,
            closing: false,
            writer_sleeps: false,
        };
        Self { state: Mutex::new(state), wake: Condvar::new(), room: Notify::new(), limit_bytes }
    }

    /// See [`crate::store::EventLog::try_append`].
    ///
    /// # Errors
    /// The batch is untouched then.
    ///
    /// # Panics
    /// When the batch names a partition that the log does not have.
    pub fn try_append(&self, batch: &mut EventBatch) -> Result<Ticket, AppendError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        assert!(batch.ends.iter().all(|(partition, _)| usize::from(partition.0) < state.last_times.len()), "no such partition");
        if let Some(refusal) = state.refusal {
            return Err(refusal);
        }
        // A batch beyond the limit is taken when nothing else waits, or it would never be.
        if !state.filling.is_empty() && state.filling.bytes + batch.bytes.len() > self.limit_bytes {
            return Err(AppendError::Busy);
        }
        for (partition, content) in batch.iter() {
            let partition = usize::from(partition.0);
            let time = &mut state.last_times[partition];
            *time = (*time).max(batch.enqueued_time);
            state.filling.bytes += state.filling.partitions[partition].push(*time, content);
        }
        state.filling.records += batch.len() as u64;
        state.filling.ordinal += batch.len() as u64;
        let ticket = Ticket { epoch: state.epoch, ordinal: state.filling.ordinal };
        let wake = !batch.is_empty() && std::mem::take(&mut state.writer_sleeps);
        drop(guard);
        if wake {
            self.wake.notify_one();
        }
        batch.clear();
        Ok(ticket)
    }

    /// Waits until there may be room, or the log has started to refuse.
    pub async fn room(&self) {
        loop {
            let notified = self.room.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            {
                let state = self.lock();
                if state.refusal.is_some() || state.filling.bytes < self.limit_bytes / 2 {
                    return;
                }
            }
            notified.await;
        }
    }

    /// The writer's next piece of work, waiting for it at most `patience`.
    pub fn next(&self, patience: Duration) -> Work {
        let mut state = self.lock();
        loop {
            if !state.filling.is_empty() {
                return Work::Group(self.take(&mut state));
            }
            if state.closing {
                return Work::Close;
            }
            state.writer_sleeps = true;
            let (woken, timeout) = self.wake.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.writer_sleeps = false;
            if timeout.timed_out() && state.filling.is_empty() && !state.closing {
                return Work::Tick;
            }
        }
    }

    fn take(&self, state: &mut State) -> Group {
        let mut next = state.idle.take().unwrap_or_else(|| Group::new(state.last_times.len()));
        next.ordinal = state.filling.ordinal;
        let group = std::mem::replace(&mut state.filling, next);
        self.room.notify_waiters();
        group
    }

    /// Gives the buffers of a written group back.
    pub fn give_back(&self, mut group: Group) {
        group.clear();
        self.lock().idle = Some(group);
    }

    /// Forgets what waits, refuses what comes, and begins a new epoch; returns it.
    pub fn fail(&self, refusal: AppendError) -> u64 {
        let mut state = self.lock();
        state.filling.clear();
        state.epoch += 1;
        state.refusal = Some(refusal);
        self.room.notify_waiters();
        state.epoch
    }

    /// Takes events again.
    pub fn accept(&self) {
        let mut state = self.lock();
        if !state.closing {
            state.refusal = None;
        }
    }

    /// Why events are refused, if they are.
    pub fn refusal(&self) -> Option<AppendError> {
        self.lock().refusal
    }

    /// Refuses what comes; the writer still gets what waits, then [`Work::Close`].
    pub fn close(&self, refusal: AppendError) {
        let mut state = self.lock();
        state.closing = true;
        state.refusal = Some(refusal);
        drop(state);
        self.wake.notify_one();
        self.room.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock panics half-way: the state is whole even then.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
