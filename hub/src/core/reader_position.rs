//! Where a consumer group stands in a partition, and how far that is behind.
//!
//! While somebody reads, the group stands where that reader stands; with several, where the furthest does, because each of them is given
//! every event. A reader that begins anew at the oldest event therefore shows where it is, and not where an earlier one was. When nobody
//! reads, the group stands where the last reader was, and falls behind from there. A reader only goes forward, so what is told of it late
//! changes nothing.

use super::event::{PartitionInfo, SequenceNumber};
use super::time::UnixMillis;

/// Up to where events were given to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderPosition {
    /// The number of the next event to give it: one more than the last one's, or where it began.
    pub next: SequenceNumber,
    /// When the last event that it was given was enqueued; `None` before the first.
    pub enqueued_time: Option<UnixMillis>,
    /// When that was: the last event given, or the reader's beginning.
    pub time: UnixMillis,
}

impl ReaderPosition {
    /// Of a reader that begins before the event with this number.
    #[must_use]
    pub fn at_beginning(next: SequenceNumber, now: UnixMillis) -> Self {
        Self { next, enqueued_time: None, time: now }
    }

    /// Of a reader that was at `before` when it was given an event.
    #[must_use]
    pub fn after(before: Option<Self>, given: SequenceNumber, enqueued: UnixMillis, now: UnixMillis) -> Self {
        match before {
            Some(before) if before.next > given => before,
            _ => Self { next: given.next(), enqueued_time: Some(enqueued), time: now },
        }
    }

    /// The number of the last event that was given, or that the reader passed over by where it began; `None` when that is before the first.
    #[must_use]
    pub fn last(&self) -> Option<SequenceNumber> {
        self.next.0.checked_sub(1).map(SequenceNumber)
    }

    /// The number of the oldest event that is kept and was not given.
    #[must_use]
    pub fn oldest_unread(&self, partition: &PartitionInfo) -> Option<SequenceNumber> {
        let oldest = self.next.max(partition.begin_sequence_number);
        (oldest < partition.next_sequence_number).then_some(oldest)
    }

    /// How many events that are kept were not given.
    #[must_use]
    pub fn lag(&self, partition: &PartitionInfo) -> u64 {
        self.oldest_unread(partition).map_or(0, |oldest| partition.next_sequence_number.0 - oldest.0)
    }

    /// Whether it can be one of this partition: one behind the end is of another life of the log.
    #[must_use]
    pub fn fits(&self, partition: &PartitionInfo) -> bool {
        self.next <= partition.next_sequence_number
    }
}

/// Where a group stands: `readers` are the positions of those who read now, as far as they have one, and `kept` is where the last one was.
#[must_use]
pub fn group_position(readers: impl IntoIterator<Item = Option<ReaderPosition>>, kept: Option<ReaderPosition>) -> Option<ReaderPosition> {
    readers.into_iter().flatten().max_by_key(|position| position.next).or(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1000);

    fn at(next: u64) -> ReaderPosition {
        ReaderPosition::at_beginning(SequenceNumber(next), NOW)
    }

    fn partition(begin: u64, next: u64) -> PartitionInfo {
        PartitionInfo { begin_sequence_number: SequenceNumber(begin), next_sequence_number: SequenceNumber(next), last_enqueued_time: None }
    }

    #[test]
    fn a_reader_goes_forward_only() {
        let first = ReaderPosition::after(None, SequenceNumber(4), UnixMillis(1), NOW);
        assert_eq!((first.next, first.last()), (SequenceNumber(5), Some(SequenceNumber(4))));
        assert_eq!(ReaderPosition::after(Some(first), SequenceNumber(3), UnixMillis(9), NOW), first, "told late");
        let second = ReaderPosition::after(Some(first), SequenceNumber(5), UnixMillis(2), UnixMillis(1001));
        assert_eq!((second.next, second.enqueued_time, second.time), (SequenceNumber(6), Some(UnixMillis(2)), UnixMillis(1001)));
        assert_eq!(at(0).last(), None);
        assert_eq!(ReaderPosition::after(Some(at(0)), SequenceNumber(0), UnixMillis(2), NOW).last(), Some(SequenceNumber(0)));
    }

    #[test]
    fn a_group_stands_where_the_furthest_of_its_readers_does() {
        assert_eq!(group_position([], None), None);
        assert_eq!(group_position([], Some(at(7))), Some(at(7)));
        assert_eq!(group_position([None], Some(at(7))), Some(at(7)), "nobody knows yet where it begins");
        assert_eq!(group_position([Some(at(0))], Some(at(7))), Some(at(0)), "one that begins anew shows where it is");
        assert_eq!(group_position([Some(at(2)), None, Some(at(9))], Some(at(70))), Some(at(9)));
    }

    #[test]
    fn lag_counts_what_is_kept_and_was_not_given() {
        let kept = partition(10, 30);
        for (next, oldest, lag) in [(30, None, 0), (29, Some(29), 1), (10, Some(10), 20), (3, Some(10), 20), (0, Some(10), 20)] {
            assert_eq!((at(next).oldest_unread(&kept), at(next).lag(&kept)), (oldest.map(SequenceNumber), lag), "{next}");
        }
        assert_eq!(at(0).lag(&partition(30, 30)), 0, "nothing is kept");
        assert!(at(30).fits(&kept) && !at(31).fits(&kept));
        assert_eq!(at(31).lag(&kept), 0);
    }
}
