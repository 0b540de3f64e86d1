//! A journal without its thread: each step of the writer is the test's.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::{TestClock, clock};
use crate::core::event::{PartitionId, PartitionInfo, SequenceNumber};
use crate::store::contract::event_log::batch;
use crate::store::journal::disk::Disk;
use crate::store::journal::writer::Writer;
use crate::store::journal::{JournalConfig, JournalError, JournalStats, Shared, open_on};
use crate::store::{AppendError, Fate, Ticket};

pub struct Rig {
    pub shared: Arc<Shared>,
    pub writer: Writer,
    pub clock: Arc<TestClock>,
}

impl Rig {
    pub fn open(disk: Arc<dyn Disk>, config: JournalConfig) -> Result<Self, JournalError> {
        let clock = clock();
        let (shared, writer) = open_on(disk, config, clock.clone())?;
        Ok(Self { shared, writer, clock })
    }

    /// Hands events to the queue, enqueued now.
    pub fn offer(&self, events: &[(u16, &[u8])]) -> Result<Ticket, AppendError> {
        self.shared.queue.try_append(&mut batch(self.clock.0.load(SeqCst), events))
    }

    /// One turn of the writer, without waiting.
    pub fn turn(&mut self) {
        assert!(self.writer.turn(Duration::ZERO), "the queue is open");
    }

    /// Appends events as one group, which becomes durable.
    pub fn append(&mut self, events: &[(u16, &[u8])]) {
        let ticket = self.offer(events).unwrap();
        self.turn();
        assert_eq!(self.fate(ticket), Fate::Durable);
    }

    pub fn fate(&self, ticket: Ticket) -> Fate {
        self.shared.watermark.borrow().fate(ticket)
    }

    pub fn partition(&self, partition: u16) -> PartitionInfo {
        self.shared.partition(PartitionId(partition)).unwrap()
    }

    pub fn next(&self, partition: u16) -> u64 {
        self.partition(partition).next_sequence_number.0
    }

    /// Numbers and contents of a partition's events from `from` on.
    pub fn read(&self, partition: u16, from: u64) -> Vec<(u64, Vec<u8>)> {
        let (mut events, mut from) = (Vec::new(), SequenceNumber(from));
        loop {
            let some = self.shared.read(PartitionId(partition), from, 2000).unwrap();
            let Some(last) = some.last() else { return events };
            from = last.sequence_number.next();
            events.extend(some.into_iter().map(|event| (event.sequence_number.0, event.content.to_vec())));
        }
    }

    pub fn stats(&self) -> JournalStats {
        self.shared.stats()
    }

    pub fn close(mut self) {
        self.shared.queue.close(AppendError::Busy);
        while self.writer.turn(Duration::ZERO) {}
    }
}
