//! The event log's model: what the journal is compared with, and what tests of everything above it use. Nothing survives it.

use std::num::NonZeroU16;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::core::event::{PartitionId, PartitionInfo, SequenceNumber, StartPosition};
use crate::core::time::UnixMillis;
use crate::store::{AppendError, Durability, EventBatch, EventLog, ReadError, StoredEvent, Ticket, Watermark};

/// An event log in memory. Durable at once, unless a test holds it back.
#[derive(Debug)]
pub struct MemoryEventLog {
    state: Mutex<State>,
    watermark: watch::Sender<Watermark>,
}

#[derive(Debug)]
struct State {
    partitions: Vec<Vec<StoredEvent>>,
    /// How many events of each partition are durable.
    durable: Vec<usize>,
    appended: u64,
    epoch: u64,
    held: bool,
    refusing: Option<AppendError>,
}

impl MemoryEventLog {
    /// With so many partitions.
    #[must_use]
    pub fn new(partitions: NonZeroU16) -> Self {
        let count = usize::from(partitions.get());
        let state =
            State { partitions: vec![Vec::new(); count], durable: vec![0; count], appended: 0, epoch: 0, held: false, refusing: None };
        Self { state: Mutex::new(state), watermark: watch::Sender::new(Watermark { epoch: 0, ordinal: 0 }) }
    }

    /// From now on nothing becomes durable, as if the disk were slow, until [`Self::release`].
    pub fn hold(&self) {
        self.state().held = true;
    }

    /// Makes durable what was held back.
    pub fn release(&self) {
        let mut state = self.state();
        state.held = false;
        self.settle(&mut state);
    }

    /// Throws away what is not durable and starts a new epoch, as a failed write to disk does.
    pub fn fail(&self) {
        let mut state = self.state();
        let State { partitions, durable, .. } = &mut *state;
        for (partition, durable) in partitions.iter_mut().zip(durable) {
            partition.truncate(*durable);
        }
        state.epoch += 1;
        state.held = false;
        self.settle(&mut state);
    }

    /// Refuses to append with this error, or goes on appending.
    pub fn refuse(&self, error: Option<AppendError>) {
        self.state().refusing = error;
    }

    fn settle(&self, state: &mut State) {
        state.durable = state.partitions.iter().map(Vec::len).collect();
        self.watermark.send_replace(Watermark { epoch: state.epoch, ordinal: state.appended });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

impl State {
    fn durable_events(&self, partition: PartitionId) -> Option<&[StoredEvent]> {
        let index = usize::from(partition.0);
        Some(&self.partitions.get(index)?[..self.durable[index]])
    }
}

#[async_trait]
impl EventLog for MemoryEventLog {
    fn partition_count(&self) -> NonZeroU16 {
        u16::try_from(self.state().partitions.len()).ok().and_then(NonZeroU16::new).expect("it was made from such a number")
    }

    fn try_append(&self, batch: &mut EventBatch) -> Result<Ticket, AppendError> {
        let mut state = self.state();
        if let Some(error) = state.refusing {
            return Err(error);
        }
        for (partition, content) in batch.iter() {
            let events = &mut state.partitions[usize::from(partition.0)];
            let latest = events.last().map_or(UnixMillis(i64::MIN), |event| event.enqueued_time);
            events.push(StoredEvent {
                sequence_number: SequenceNumber(events.len() as u64),
                enqueued_time: batch.enqueued_time.max(latest),
                content: Bytes::copy_from_slice(content),
            });
        }
        state.appended += batch.len() as u64;
        let ticket = Ticket { epoch: state.epoch, ordinal: state.appended };
        batch.clear();
        if !state.held {
            self.settle(&mut state);
        }
        Ok(ticket)
    }

    async fn room(&self) {}

    fn durability(&self) -> Durability {
        Durability(self.watermark.subscribe())
    }

    fn partition(&self, partition: PartitionId) -> Option<PartitionInfo> {
        let state = self.state();
        let events = state.durable_events(partition)?;
        Some(PartitionInfo {
            begin_sequence_number: SequenceNumber(0),
            next_sequence_number: SequenceNumber(events.len() as u64),
            last_enqueued_time: events.last().map(|event| event.enqueued_time),
        })
    }

    async fn locate(&self, partition: PartitionId, position: StartPosition) -> Result<SequenceNumber, ReadError> {
        let state = self.state();
        let events = state.durable_events(partition).ok_or(ReadError::UnknownPartition(partition))?;
        let end = events.len() as u64;
        let from = |number: u64, inclusive: bool| if inclusive { number } else { number.saturating_add(1) };
        Ok(SequenceNumber(match position {
            StartPosition::Earliest => 0,
            StartPosition::Latest => end,
            StartPosition::Offset { offset, inclusive } => from(offset.0, inclusive).min(end),
            StartPosition::SequenceNumber { number, inclusive } => from(number.0, inclusive).min(end),
            StartPosition::EnqueuedTime { time, inclusive } => {
                events.partition_point(|event| event.enqueued_time < time || (!inclusive && event.enqueued_time == time)) as u64
            }
        }))
    }

    async fn read(&self, partition: PartitionId, from: SequenceNumber, max_bytes: usize) -> Result<Vec<StoredEvent>, ReadError> {
        let state = self.state();
        let events = state.durable_events(partition).ok_or(ReadError::UnknownPartition(partition))?;
        let start = usize::try_from(from.0).unwrap_or(usize::MAX).min(events.len());
        let mut bytes = 0;
        let fits = |event: &&StoredEvent| {
            let first = bytes == 0;
            bytes += event.content.len().max(1);
            first || bytes <= max_bytes
        };
        Ok(events[start..].iter().take_while(fits).cloned().collect())
    }
}
