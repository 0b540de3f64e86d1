//! A back end, or a person, reads the events: of one partition, or of all, merged.
//!
//! Readers pull: nothing is read ahead of them but one page, so that a slow one costs the hub that page and nobody else anything.
//! Order is kept within a partition. Merged, the partitions take turns, a page each, and nothing is promised about the order between two.

use std::sync::Arc;

use crate::core::device_id::DeviceId;
use crate::core::event::{Offset, PartitionId, PartitionInfo, SequenceNumber, StartPosition, StreamPosition};
use crate::core::principal::Principal;
use crate::core::tail::is_from;
use crate::observe::CountedReader;
use crate::ops::Hub;
use crate::ops::seats::{NoSeat, Seat};
use crate::store::{Durability, EventLog, ReadError, StoredEvent};

/// How much is read at once, in bytes of stored events; also how much a partition gives before the next one has its turn.
pub(super) const PAGE_BYTES: usize = 64 * 1024;

/// The most readers at a time of one person, or with the tokens of one policy: a forgotten loop of `curl` must not eat the hub's memory page by page.
pub(super) const READERS_EACH_MAX: usize = 64;

/// What somebody wants to read.
#[derive(Clone, Debug)]
pub struct Selection {
    /// One partition; `None` for all of them.
    pub partition: Option<PartitionId>,
    /// Only what this device sent.
    pub device: Option<DeviceId>,
    /// Where to begin.
    pub from: StartPosition,
    /// Where an earlier reader left off; counts more than `from` in the partitions that it names.
    pub resume: StreamPosition,
    /// Whether to wait for more at the end. Otherwise the reader ends with what was durable when it was opened.
    pub follow: bool,
}

/// Nothing can be read that way.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadEventsError {
    /// It begins behind the end: the events it left off at are not the ones that are here.
    #[error("partition {partition} begins its next event with {next}, so there is nothing to begin with after that")]
    BehindTheEnd {
        /// Of which partition.
        partition: PartitionId,
        /// The number of its next event.
        next: SequenceNumber,
    },
    /// Too many readers already.
    #[error(transparent)]
    TooManyReaders(NoSeat),
    /// The log has no such partition, or does not answer.
    #[error(transparent)]
    Log(#[from] ReadError),
}

/// Some events of one partition, in order; never none.
#[derive(Clone, Debug)]
pub struct Page {
    /// Whose events these are.
    pub partition: PartitionId,
    /// The events.
    pub events: Vec<StoredEvent>,
}

/// Reads events until it is dropped.
pub struct EventReader {
    log: Arc<dyn EventLog>,
    durability: Durability,
    device: Option<DeviceId>,
    cursors: Vec<Cursor>,
    turn: usize,
    follow: bool,
    _seat: Seat,
    _counted: CountedReader,
}

/// Where the reader stands in one partition.
struct Cursor {
    partition: PartitionId,
    next: SequenceNumber,
    /// The first number that is not wanted any more.
    end: Option<SequenceNumber>,
}

/// Opens a reader for somebody who may (with [`ServiceConnect`](crate::core::policy::Permission::ServiceConnect)).
pub async fn read_events(hub: &Hub, reader: &Principal, selection: Selection) -> Result<EventReader, ReadEventsError> {
    let seat = hub.readers.take(reader).map_err(ReadEventsError::TooManyReaders)?;
    let count = hub.events.partition_count();
    let partitions = match (selection.partition, &selection.device) {
        (Some(partition), _) => vec![partition],
        // The others hold nothing of this device.
        (None, Some(device)) => vec![PartitionId::of_device(device, count)],
        (None, None) => (0..count.get()).map(PartitionId).collect(),
    };
    let mut cursors = Vec::with_capacity(partitions.len());
    for partition in partitions {
        cursors.push(open_cursor(&*hub.events, partition, &selection).await?);
    }
    Ok(EventReader {
        log: Arc::clone(&hub.events),
        durability: hub.events.durability(),
        device: selection.device,
        cursors,
        turn: 0,
        follow: selection.follow,
        _seat: seat,
        _counted: hub.metrics.reads_events(),
    })
}

async fn open_cursor(log: &dyn EventLog, partition: PartitionId, selection: &Selection) -> Result<Cursor, ReadEventsError> {
    let info = log.partition(partition).ok_or(ReadError::UnknownPartition(partition))?;
    let from = match selection.resume.0.get(&partition) {
        Some(Some(offset)) => StartPosition::Offset { offset: *offset, inclusive: false },
        Some(None) => StartPosition::Earliest,
        None => selection.from,
    };
    must_be_here(partition, &info, from)?;
    let next = match from {
        // Not what is on its way to the disk: its number is not final before it arrives there.
        StartPosition::Latest => info.next_sequence_number,
        position => log.locate(partition, position).await?,
    };
    Ok(Cursor { partition, next, end: (!selection.follow).then_some(info.next_sequence_number) })
}

/// Said by a number, a place behind the end is one of another life of this log: waiting there would pass events over in silence.
pub(super) fn must_be_here(partition: PartitionId, info: &PartitionInfo, from: StartPosition) -> Result<(), ReadEventsError> {
    let named = match from {
        StartPosition::Offset { offset: Offset(number), inclusive } => Some((number, inclusive)),
        StartPosition::SequenceNumber { number: SequenceNumber(number), inclusive } => Some((number, inclusive)),
        StartPosition::Earliest | StartPosition::Latest | StartPosition::EnqueuedTime { .. } => None,
    };
    if named.is_some_and(|(number, inclusive)| number.saturating_add(u64::from(!inclusive)) > info.next_sequence_number.0) {
        return Err(ReadEventsError::BehindTheEnd { partition, next: info.next_sequence_number });
    }
    Ok(())
}

impl EventReader {
    /// The next events; `None` at the end, which a reader that follows never reaches. Loses nothing when it is dropped while it waits.
    pub async fn next(&mut self) -> Result<Option<Page>, ReadError> {
        loop {
            // Before looking, so that what becomes durable while looking ends the wait below.
            self.durability.now();
            let mut idle = true;
            for _ in 0..self.cursors.len() {
                self.turn = (self.turn + 1) % self.cursors.len();
                let Some(limit) = self.cursors[self.turn].readable(&*self.log) else { continue };
                idle = false;
                let page = self.read_page(limit).await?;
                if !page.events.is_empty() {
                    return Ok(Some(page));
                }
            }
            match (idle, self.follow) {
                (false, _) => tokio::task::yield_now().await,
                (true, true) => self.durability.changed().await,
                (true, false) => return Ok(None),
            }
        }
    }

    /// Where it stands, after all that [`Self::next`] has given or passed over.
    #[must_use]
    pub fn position(&self) -> StreamPosition {
        let passed = |cursor: &Cursor| (cursor.partition, cursor.next.0.checked_sub(1).map(Offset));
        StreamPosition(self.cursors.iter().map(passed).collect())
    }

    /// How many events lie between where it stands and the end.
    #[must_use]
    pub fn behind(&self) -> u64 {
        self.cursors.iter().map(|cursor| cursor.behind(&*self.log)).sum()
    }

    /// Goes to the end; says how many events it passes over.
    pub fn skip_to_end(&mut self) -> u64 {
        let mut skipped = 0;
        for cursor in &mut self.cursors {
            let behind = cursor.behind(&*self.log);
            cursor.next = SequenceNumber(cursor.next.0 + behind);
            skipped += behind;
        }
        skipped
    }

    /// Reads on in the partition whose turn it is, where events are durable up to `limit`, and keeps what is wanted.
    async fn read_page(&mut self, limit: SequenceNumber) -> Result<Page, ReadError> {
        let cursor = &mut self.cursors[self.turn];
        let mut events = self.log.read(cursor.partition, cursor.next, PAGE_BYTES).await?;
        // Nothing there although there should be: the rest up to here is gone or damaged.
        cursor.next = events.last().map_or(limit, |last| last.sequence_number.next());
        if let Some(end) = cursor.end {
            cursor.next = cursor.next.min(end);
            events.retain(|event| event.sequence_number < end);
        }
        if let Some(device) = &self.device {
            events.retain(|event| is_from(&event.content, device));
        }
        Ok(Page { partition: cursor.partition, events })
    }
}

impl Cursor {
    fn behind(&self, log: &dyn EventLog) -> u64 {
        self.readable(log).map_or(0, |limit| limit.0.saturating_sub(self.next.0))
    }

    /// The number before which there is something to read now; `None` when there is nothing.
    fn readable(&self, log: &dyn EventLog) -> Option<SequenceNumber> {
        let durable = log.partition(self.partition)?.next_sequence_number;
        let limit = self.end.map_or(durable, |end| end.min(durable));
        (self.next < limit).then_some(limit)
    }
}

#[cfg(test)]
mod tests;
