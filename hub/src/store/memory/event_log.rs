//! An event log in memory: every event is durable at once, unless a test says otherwise.
//!
//! Owns its events for as long as it lives. Never keeps anything longer, and lets go of nothing that a test does not tell it to.

use std::num::NonZeroU16;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::core::event::{PartitionId, PartitionInfo, SequenceNumber, StartPosition};
use crate::core::time::UnixMillis;
use crate::store::{AppendError, Durability, EventBatch, EventLog, ReadError, StoredEvent, Ticket, Watermark, locate_by_number};

/// The event log in memory.
#[derive(Debug)]
pub struct MemoryEventLog {
    partitions: NonZeroU16,
    state: Mutex<State>,
    watermark: watch::Sender<Watermark>,
    room: Notify,
    /// Whether reads are answered.
    reads: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    durable: Vec<Vec<StoredEvent>>,
    /// How many of each partition's first events are gone.
    gone: Vec<usize>,
    /// Taken and not durable, in order.
    pending: Vec<(usize, UnixMillis, Bytes)>,
    last_times: Vec<UnixMillis>,
    ordinal: u64,
    epoch: u64,
    refusal: Option<AppendError>,
    held: bool,
}

impl MemoryEventLog {
    /// An empty log.
    #[must_use]
    pub fn new(partitions: NonZeroU16) -> Self {
        let count = usize::from(partitions.get());
        let state = State {
            durable: vec![Vec::new(); count],
            gone: vec![0; count],
            pending: Vec::new(),
            last_times: vec![UnixMillis(i64::MIN); count],
            ordinal: 0,
            epoch: 1,
            refusal: None,
            held: false,
        };
        let watermark = watch::Sender::new(Watermark { epoch: 1, ordinal: 0 });
        Self { partitions, state: Mutex::new(state), watermark, room: Notify::new(), reads: watch::Sender::new(true) }
    }

    /// From now on, events wait until [`Self::commit`] or [`Self::fail`], as they do for a disk.
    pub fn hold(&self) {
        self.lock().held = true;
    }

    /// What waits becomes durable.
    pub fn commit(&self) {
        self.settle(&mut self.lock());
    }

    /// What waits becomes durable, and so does what comes from now on.
    pub fn release(&self) {
        let mut state = self.lock();
        state.held = false;
        self.settle(&mut state);
    }

    /// From now on, reads wait until [`Self::answer_reads`], as they do for a disk that is busy.
    pub fn hold_reads(&self) {
        self.reads.send_replace(false);
    }

    /// Reads are answered again, those that wait as well.
    pub fn answer_reads(&self) {
        self.reads.send_replace(true);
    }

    /// How many reads wait for [`Self::answer_reads`].
    pub fn reads_waiting(&self) -> usize {
        self.reads.receiver_count()
    }

    /// What waits is lost, and a new epoch begins, as after a failed write to disk.
    pub fn fail(&self) {
        let mut state = self.lock();
        state.pending.clear();
        state.epoch += 1;
        let epoch = state.epoch;
        self.watermark.send_modify(|watermark| watermark.epoch = epoch);
    }

    /// Retention takes the events of a partition before this one; their numbers are never used again.
    pub fn drop_before(&self, partition: PartitionId, number: SequenceNumber) {
        let mut state = self.lock();
        let partition = usize::from(partition.0);
        let gone = usize::try_from(number.0).unwrap_or(usize::MAX).min(state.durable[partition].len());
        state.gone[partition] = state.gone[partition].max(gone);
        // Their numbers stay taken, and what they held goes.
        state.durable[partition][..gone].iter_mut().for_each(|event| event.content = Bytes::new());
    }

    /// Refuses events from now on, or takes them again.
    pub fn refuse(&self, refusal: Option<AppendError>) {
        self.lock().refusal = refusal;
        self.room.notify_waiters();
    }

    fn settle(&self, state: &mut State) {
        for (partition, enqueued_time, content) in state.pending.drain(..) {
            let events = &mut state.durable[partition];
            events.push(StoredEvent { sequence_number: SequenceNumber(events.len() as u64), enqueued_time, content });
        }
        let ordinal = state.ordinal;
        self.watermark.send_modify(|watermark| watermark.ordinal = ordinal);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl EventLog for MemoryEventLog {
    fn partition_count(&self) -> NonZeroU16 {
        self.partitions
    }

    fn try_append(&self, batch: &mut EventBatch) -> Result<Ticket, AppendError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(refusal) = state.refusal {
            return Err(refusal);
        }
        for (partition, content) in batch.iter() {
            let partition = usize::from(partition.0);
            let time = &mut state.last_times[partition];
            *time = (*time).max(batch.enqueued_time);
            state.pending.push((partition, *time, Bytes::copy_from_slice(content)));
        }
        state.ordinal += batch.len() as u64;
        let ticket = Ticket { epoch: state.epoch, ordinal: state.ordinal };
        if !state.held {
            self.settle(state);
        }
        batch.clear();
        Ok(ticket)
    }

    async fn room(&self) {
        loop {
            let notified = self.room.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.lock().refusal != Some(AppendError::Busy) {
                return;
            }
            notified.await;
        }
    }

    fn durability(&self) -> Durability {
        Durability(self.watermark.subscribe())
    }

    fn partition(&self, partition: PartitionId) -> Option<PartitionInfo> {
        let state = self.lock();
        let events = state.durable.get(usize::from(partition.0))?;
        Some(PartitionInfo {
            begin_sequence_number: SequenceNumber(state.gone[usize::from(partition.0)] as u64),
            next_sequence_number: SequenceNumber(events.len() as u64),
            last_enqueued_time: events.last().map(|event| event.enqueued_time),
        })
    }

    async fn locate(&self, partition: PartitionId, position: StartPosition) -> Result<SequenceNumber, ReadError> {
        let info = self.partition(partition).ok_or(ReadError::UnknownPartition(partition))?;
        Ok(locate_by_number(&info, position).unwrap_or_else(|time| {
            let state = self.lock();
            let partition = usize::from(partition.0);
            let earlier = state.durable[partition].partition_point(|event| event.enqueued_time < time);
            SequenceNumber(earlier.max(state.gone[partition]) as u64)
        }))
    }

    async fn read(&self, partition: PartitionId, from: SequenceNumber, max_bytes: usize) -> Result<Vec<StoredEvent>, ReadError> {
        let _ = self.reads.subscribe().wait_for(|answered| *answered).await;
        let state = self.lock();
        let events = state.durable.get(usize::from(partition.0)).ok_or(ReadError::UnknownPartition(partition))?;
        let start = usize::try_from(from.0).unwrap_or(usize::MAX).max(state.gone[usize::from(partition.0)]).min(events.len());
        let mut room = max_bytes;
        let fitting = events[start..].iter().take_while(|event| {
            let fits = event.content.len() <= room;
            room = room.saturating_sub(event.content.len());
            fits
        });
        let count = fitting.count().max(1);
        Ok(events[start..].iter().take(count).cloned().collect())
    }

    async fn enqueued_time(&self, partition: PartitionId, from: SequenceNumber) -> Result<Option<UnixMillis>, ReadError> {
        Ok(self.read(partition, from, 0).await?.first().map(|event| event.enqueued_time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Fate;
    use crate::store::contract::event_log::{batch, retention, suite};

    #[tokio::test]
    async fn keeps_the_contract() {
        suite(MemoryEventLog::new).await;
    }

    #[tokio::test]
    async fn keeps_the_contract_of_retention() {
        let log = MemoryEventLog::new(NonZeroU16::MIN);
        retention(&log, |next| log.drop_before(PartitionId(0), SequenceNumber(next.saturating_sub(20)))).await;
    }

    #[test]
    fn events_can_be_held_and_lost() {
        let log = MemoryEventLog::new(NonZeroU16::MIN);
        log.hold();
        let lost = log.try_append(&mut batch(1, &[(0, b"a")])).unwrap();
        assert_eq!(log.durability().now().fate(lost), Fate::Pending);
        log.fail();
        let kept = log.try_append(&mut batch(1, &[(0, b"b")])).unwrap();
        log.commit();
        let now = log.durability().now();
        assert_eq!((now.fate(lost), now.fate(kept)), (Fate::Failed, Fate::Durable));
        assert_eq!(log.partition(PartitionId(0)).unwrap().next_sequence_number.0, 1);
    }
}
