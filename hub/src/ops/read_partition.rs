//! A back end reads one partition, page by page, when it has room for a page.
//!
//! Unlike [`super::read_events`] it never waits: whoever reads follows what becomes durable, and asks again. A page is read in a future of
//! its own that needs nothing of its caller, so that one connection can have many under way, and none holds up the others.

use std::sync::Arc;

use crate::core::event::{PartitionId, PartitionInfo, SequenceNumber, StartPosition};
use crate::core::principal::Principal;
use crate::observe::CountedReader;
use crate::ops::Hub;
use crate::ops::read_events::{PAGE_BYTES, ReadEventsError, must_be_here};
use crate::ops::seats::Seat;
use crate::store::{EventLog, ReadError, StoredEvent, locate_by_number};

/// The most readers of partitions at a time with the keys of one policy: every partition of 20 groups on 32 partitions, and half as many again
/// while they change hands. Each holds two pages at most, which is 128 MiB for all of a policy's.
pub(super) const PARTITION_READERS_PER_POLICY_MAX: usize = 1024;

/// Reads a partition until it is dropped.
pub struct PartitionReader {
    log: Arc<dyn EventLog>,
    partition: PartitionId,
    next: Next,
    _seat: Seat,
    _counted: CountedReader,
}

/// Where a reader goes on.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// At this number, or at the first one that is kept after it.
    Number(SequenceNumber),
    /// Where that is, the disk has to say.
    Searched(StartPosition),
}

/// What a page's reading came to: the reader itself comes back with it.
pub struct PageRead {
    /// The reader, behind the page.
    pub reader: PartitionReader,
    /// The page; empty where events are gone or damaged, and at the end.
    pub events: Result<Vec<StoredEvent>, ReadError>,
}

/// Opens a reader for somebody who may (with [`ServiceConnect`](crate::core::policy::Permission::ServiceConnect)). The end is the end at
/// this moment; asks no disk. `policy` is the one that let the reader in.
pub fn read_partition(hub: &Hub, policy: &str, partition: PartitionId, from: StartPosition) -> Result<PartitionReader, ReadEventsError> {
    let info = hub.events.partition(partition).ok_or(ReadError::UnknownPartition(partition))?;
    must_be_here(partition, &info, from)?;
    let next = locate_by_number(&info, from).map_or(Next::Searched(from), Next::Number);
    let seat = hub.partition_readers.take(&Principal::Policy(policy.to_owned())).map_err(ReadEventsError::TooManyReaders)?;
    Ok(PartitionReader { log: Arc::clone(&hub.events), partition, next, _seat: seat, _counted: hub.metrics.reads_events() })
}

impl PartitionReader {
    /// Which partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// What the partition holds now; `None` once it is gone.
    #[must_use]
    pub fn info(&self) -> Option<PartitionInfo> {
        self.log.partition(self.partition)
    }

    /// The number at which it goes on, when it is known.
    #[must_use]
    pub fn next(&self) -> Option<SequenceNumber> {
        match self.next {
            Next::Number(number) => Some(number),
            Next::Searched(_) => None,
        }
    }

    /// Whether [`Self::read`] has something to do now.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.next().is_none_or(|next| self.info().is_some_and(|info| next < info.next_sequence_number))
    }

    /// Reads the next page of what is durable now.
    pub async fn read(mut self) -> PageRead {
        let events = self.read_page().await;
        PageRead { reader: self, events }
    }

    async fn read_page(&mut self) -> Result<Vec<StoredEvent>, ReadError> {
        let next = match self.next {
            Next::Number(next) => next,
            Next::Searched(position) => self.log.locate(self.partition, position).await?,
        };
        self.next = Next::Number(next);
        let limit = self.info().map_or(next, |info| info.next_sequence_number);
        if next >= limit {
            return Ok(Vec::new());
        }
        let events = self.log.read(self.partition, next, PAGE_BYTES).await?;
        // Nothing there although there should be: the rest up to here is gone or damaged.
        self.next = Next::Number(events.last().map_or(limit, |last| last.sequence_number.next()));
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::Offset;
    use crate::core::time::UnixMillis;
    use crate::ops::world::{NOW, World};
    use crate::store::EventBatch;

    fn append(world: &World, events: &[(u16, usize)]) {
        for (partition, bytes) in events {
            let batch = EventBatch { enqueued_time: NOW, bytes: vec![7; *bytes], ends: vec![(PartitionId(*partition), *bytes)] };
            world.log.try_append(&mut { batch }).unwrap();
        }
    }

    fn open(world: &World, from: StartPosition) -> PartitionReader {
        read_partition(&world.hub, "service", PartitionId(1), from).unwrap()
    }

    async fn page(reader: PartitionReader) -> (PartitionReader, Vec<u64>) {
        let PageRead { reader, events } = reader.read().await;
        (reader, events.unwrap().iter().map(|event| event.sequence_number.0).collect())
    }

    #[tokio::test]
    async fn pages_follow_one_another_and_what_comes_later() {
        let world = World::new();
        append(&world, &[(1, PAGE_BYTES), (2, 1), (1, 1), (1, 1)]);
        let (reader, first) = page(open(&world, StartPosition::Earliest)).await;
        assert!(reader.is_behind());
        let (reader, second) = page(reader).await;
        assert_eq!((first, second), (vec![0], vec![1, 2]));
        assert!(!reader.is_behind());
        append(&world, &[(2, 1)]);
        assert!(!reader.is_behind(), "it is another partition's");
        append(&world, &[(1, 1)]);
        assert!(reader.is_behind());
        assert_eq!(page(reader).await.1, [3]);
    }

    #[tokio::test]
    async fn every_position_is_where_azure_has_it() {
        let world = World::new();
        append(&world, &[(1, 1), (1, 1)]);
        let offset = |offset, inclusive| StartPosition::Offset { offset: Offset(offset), inclusive };
        let number = |number, inclusive| StartPosition::SequenceNumber { number: SequenceNumber(number), inclusive };
        let time = |time, inclusive| StartPosition::EnqueuedTime { time: UnixMillis(time), inclusive };
        for (from, expected) in [
            (StartPosition::Earliest, &[0, 1][..]),
            (StartPosition::Latest, &[]),
            (offset(0, false), &[1]),
            (offset(0, true), &[0, 1]),
            (offset(1, false), &[]),
            (number(1, true), &[1]),
            // What comes next may be named.
            (number(2, true), &[]),
            (time(NOW.0, true), &[0, 1]),
            (time(NOW.0, false), &[]),
            (time(0, false), &[0, 1]),
        ] {
            let reader = open(&world, from);
            assert_eq!(reader.next().is_none(), matches!(from, StartPosition::EnqueuedTime { .. }));
            assert_eq!(page(reader).await.1, expected, "{from:?}");
        }
        for beyond in [offset(2, false), number(3, true), number(u64::MAX, false)] {
            let refused = read_partition(&world.hub, "service", PartitionId(1), beyond).err();
            assert!(matches!(refused, Some(ReadEventsError::BehindTheEnd { .. })), "{beyond:?}");
        }
        let unknown = read_partition(&world.hub, "service", PartitionId(4), StartPosition::Earliest).err();
        assert!(matches!(unknown, Some(ReadEventsError::Log(ReadError::UnknownPartition(_)))));
    }

    #[tokio::test]
    async fn a_policy_has_so_many_readers_and_others_are_not_meant() {
        let world = World::new();
        let mut readers: Vec<_> = (0..PARTITION_READERS_PER_POLICY_MAX).map(|_| open(&world, StartPosition::Latest)).collect();
        let open_as = |policy| read_partition(&world.hub, policy, PartitionId(1), StartPosition::Latest);
        assert!(matches!(open_as("service").err(), Some(ReadEventsError::TooManyReaders(_))));
        assert!(open_as("iothubowner").is_ok());
        readers.pop();
        assert!(open_as("service").is_ok());
    }

    /// Retention takes no notice of readers: they go on at the oldest event that is kept.
    #[tokio::test]
    async fn a_reader_that_retention_overtakes_goes_on_where_events_begin() {
        let world = World::new();
        append(&world, &[(1, PAGE_BYTES); 5]);
        let (reader, first) = page(open(&world, StartPosition::Earliest)).await;
        world.log.drop_before(PartitionId(1), SequenceNumber(3));
        let (reader, second) = page(reader).await;
        assert_eq!((first, second), (vec![0], vec![3]));
        let (late, begin) = page(open(&world, StartPosition::Offset { offset: Offset(0), inclusive: false })).await;
        assert_eq!((begin, late.next()), (vec![3], Some(SequenceNumber(4))), "one that asks for what is gone");
        world.log.drop_before(PartitionId(1), SequenceNumber(5));
        let (reader, none) = page(reader).await;
        assert_eq!((none, reader.next(), reader.is_behind()), (vec![], Some(SequenceNumber(5)), false), "nothing is left to give it");
        append(&world, &[(1, 1)]);
        assert_eq!((page(reader).await.1, page(late).await.1), (vec![5], vec![5]));
    }

    /// The end is the end when it was asked for, not when the first page is read.
    #[tokio::test]
    async fn the_end_does_not_move() {
        let world = World::new();
        append(&world, &[(1, 1)]);
        let reader = open(&world, StartPosition::Latest);
        append(&world, &[(1, 1)]);
        assert_eq!(page(reader).await.1, [1]);
    }
}
