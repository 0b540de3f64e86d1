//! The consumer groups: which there are, who reads in them, and how far each has come.
//!
//! Owns who sits where and what each reader was given, in memory. Never reads an event: that is the reader's own, who says here what it was
//! given. One lock for all seats, held for a moment; what a reader is given it notes in a place of its own.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::core::consumer_group::{ConsumerGroup, GROUPS_MAX};
use crate::core::event::{PartitionId, SequenceNumber};
use crate::core::reader_position::{ReaderPosition, group_position};
use crate::core::reader_seats::{NoReaderSeat, ReaderId, ReaderSeats, Seated};
use crate::core::time::{Clock, UnixMillis};

mod kept;
mod seat;
mod status;

pub use kept::keep_group_positions;
use seat::Reader;
pub use seat::{ReaderClient, ReaderSeat, SeatEnded};
pub use status::{GroupStatus, PlaceStatus, ReaderStatus, describe_consumer_groups, look_up_ages};

/// The consumer groups of a hub. `$Default` is always one of them.
pub struct ConsumerGroups(Arc<Shared>);

struct Shared {
    partitions: NonZeroU16,
    clock: Arc<dyn Clock>,
    groups: Mutex<Groups>,
    /// Held while positions are kept, so that nothing older is written over something newer.
    stored: tokio::sync::Mutex<kept::Stored>,
    /// Held while ages are looked up: a disk that does not answer has one look-up to wait for it, and not one for each who asks.
    looking: Arc<tokio::sync::Mutex<()>>,
}

struct Groups {
    /// `$Default` first, the others as they were given.
    all: Vec<Group>,
    last_reader: u64,
}

struct Group {
    name: ConsumerGroup,
    /// One for each partition.
    places: Vec<Place>,
}

/// One partition in one group.
#[derive(Clone, Default)]
struct Place {
    seats: ReaderSeats<Arc<Reader>>,
    /// Where the last reader was.
    kept: Option<ReaderPosition>,
    /// Since when nobody sits here; who sat here in an earlier life of the hub left when this one began.
    empty_since: UnixMillis,
    /// An event that was the oldest one not given when somebody last looked, and when it was enqueued.
    oldest_unread: Option<(SequenceNumber, UnixMillis)>,
}

/// A reader can't sit down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SitRefused {
    /// There is no such group.
    #[error("there is no such consumer group")]
    UnknownGroup,
    /// There is no such partition.
    #[error("there is no such partition")]
    UnknownPartition,
    /// As many readers as may sit, without an epoch, do.
    #[error("the partition has as many readers in this group as there may be")]
    Full,
    /// Somebody with a higher epoch reads.
    #[error("a reader with the higher epoch {epoch} reads the partition in this group")]
    HigherEpoch {
        /// The epoch.
        epoch: i64,
    },
    /// Somebody with an epoch reads, and this reader has none.
    #[error("a reader with an epoch reads the partition in this group, and this one has none")]
    EpochReaderLives,
}

impl From<NoReaderSeat> for SitRefused {
    fn from(refusal: NoReaderSeat) -> Self {
        match refusal {
            NoReaderSeat::Full => Self::Full,
            NoReaderSeat::HigherEpoch { epoch } => Self::HigherEpoch { epoch },
            NoReaderSeat::EpochReaderLives => Self::EpochReaderLives,
        }
    }
}

impl ConsumerGroups {
    /// `$Default` alone, of a log with so many partitions.
    #[must_use]
    pub fn new(partitions: NonZeroU16, clock: Arc<dyn Clock>) -> Self {
        let default = Group::new(ConsumerGroup::default(), partitions);
        let groups = Mutex::new(Groups { all: vec![default], last_reader: 0 });
        Self(Arc::new(Shared { partitions, clock, groups, stored: tokio::sync::Mutex::default(), looking: Arc::default() }))
    }

    /// All of them, `$Default` first.
    #[must_use]
    pub fn names(&self) -> Vec<ConsumerGroup> {
        self.0.groups().all.iter().map(|group| group.name.clone()).collect()
    }

    /// Takes `$Default` and these from now on, and no others: readers of a group that is gone end. A group that stays keeps its readers and
    /// its place. Those beyond [`GROUPS_MAX`], which no configuration has, are left out.
    pub fn replace(&self, configured: Vec<ConsumerGroup>) {
        let mut groups = self.0.groups();
        let mut before = std::mem::take(&mut groups.all);
        for name in std::iter::once(ConsumerGroup::default()).chain(configured) {
            if groups.all.len() < GROUPS_MAX && !groups.all.iter().any(|group| group.name == name) {
                let kept = before.iter().position(|group| group.name == name).map(|at| before.remove(at));
                let places = kept.map_or_else(|| Group::new(name.clone(), self.0.partitions).places, |group| group.places);
                groups.all.push(Group { name, places });
            }
        }
        for gone in before.iter_mut().flat_map(|group| &mut group.places).flat_map(|place| place.seats.clear()) {
            gone.reader.end(SeatEnded::GroupGone);
        }
    }

    /// Gives a reader of `partition` a seat in `group`, and ends those who have to go for it. `bell` is rung when the seat has ended.
    pub fn sit(&self, group: &str, partition: PartitionId, epoch: Option<i64>, bell: Arc<Notify>) -> Result<ReaderSeat, SitRefused> {
        let mut groups = self.0.groups();
        groups.last_reader += 1;
        let id = ReaderId(groups.last_reader);
        let group = groups.all.iter_mut().find(|known| known.name.is(group)).ok_or(SitRefused::UnknownGroup)?;
        let place = group.places.get_mut(usize::from(partition.0)).ok_or(SitRefused::UnknownPartition)?;
        let reader = Arc::new(Reader::new(bell, self.0.clock.now()));
        let stood = place.position();
        let gone = place.seats.sit(Seated { id, epoch, reader: Arc::clone(&reader) })?;
        if let (false, Some(epoch)) = (gone.is_empty(), epoch) {
            place.kept = stood;
            gone.iter().for_each(|gone| gone.reader.end(SeatEnded::Stolen { epoch }));
        }
        Ok(ReaderSeat::new(Arc::clone(&self.0), group.name.clone(), partition, id, reader))
    }
}

impl fmt::Debug for ConsumerGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConsumerGroups").field(&self.names()).finish()
    }
}

impl Shared {
    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().expect("nothing panics while it holds this lock")
    }

    /// A reader goes; it may have lost its seat before.
    fn leave(&self, group: &ConsumerGroup, partition: PartitionId, id: ReaderId) {
        let now = self.clock.now();
        let mut groups = self.groups();
        let Some(place) = groups.place(group, partition) else { return };
        let stood = place.position();
        if place.seats.leave(id).is_some() {
            place.kept = stood;
            place.empty_since = now;
        }
    }
}

impl Groups {
    fn place(&mut self, group: &ConsumerGroup, partition: PartitionId) -> Option<&mut Place> {
        let group = self.all.iter_mut().find(|known| known.name == *group)?;
        group.places.get_mut(usize::from(partition.0))
    }
}

impl Group {
    fn new(name: ConsumerGroup, partitions: NonZeroU16) -> Self {
        Self { name, places: vec![Place::default(); usize::from(partitions.get())] }
    }
}

impl Place {
    fn position(&self) -> Option<ReaderPosition> {
        group_position(self.seats.iter().map(|seated| seated.reader.position()), self.kept)
    }
}

#[cfg(test)]
mod tests;
