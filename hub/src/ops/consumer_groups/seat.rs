//! One reader's seat: what it was given, and whether it may go on.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::Shared;
use crate::core::consumer_group::ConsumerGroup;
use crate::core::event::{PartitionId, SequenceNumber};
use crate::core::reader_position::ReaderPosition;
use crate::core::reader_seats::ReaderId;
use crate::core::time::UnixMillis;
use crate::ops::refusals::PeerText;

/// A reader's right to read a partition in a group, given back when it is dropped.
pub struct ReaderSeat {
    shared: Arc<Shared>,
    group: ConsumerGroup,
    partition: PartitionId,
    id: ReaderId,
    reader: Arc<Reader>,
}

/// Why a reader may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SeatEnded {
    /// Another one took its place, with this epoch.
    #[error("a reader with the epoch {epoch} has taken over")]
    Stolen {
        /// The epoch.
        epoch: i64,
    },
    /// The group is no more.
    #[error("the consumer group was taken away")]
    GroupGone,
}

/// Who a reader is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderClient {
    /// What it calls itself.
    pub name: PeerText,
    /// From where it came.
    pub address: IpAddr,
    /// The policy that let it in.
    pub policy: String,
}

impl ReaderSeat {
    pub(super) fn new(shared: Arc<Shared>, group: ConsumerGroup, partition: PartitionId, id: ReaderId, reader: Arc<Reader>) -> Self {
        Self { shared, group, partition, id, reader }
    }

    /// In which group.
    #[must_use]
    pub fn group(&self) -> &ConsumerGroup {
        &self.group
    }

    /// Why the reader may not go on; `None`: it may. The bell that it brought rings when that changes.
    #[must_use]
    pub fn ended(&self) -> Option<SeatEnded> {
        self.reader.state().ended
    }

    /// Says who reads.
    pub fn is_for(&self, client: ReaderClient) {
        self.reader.state().client = Some(client);
    }

    /// Says where the reader begins: before the event with this number, whether that is stored already or not. The group's lag counts from
    /// there on, before the first event was delivered.
    pub fn begins(&self, next: SequenceNumber) {
        let now = self.shared.clock.now();
        self.reader.state().position.get_or_insert_with(|| ReaderPosition::at_beginning(next, now));
    }

    /// Says that the reader was given this event, and so those before it. Cheap, and changes nothing when it is told late.
    pub fn delivered(&self, number: SequenceNumber, enqueued: UnixMillis) {
        let now = self.shared.clock.now();
        let mut state = self.reader.state();
        state.position = Some(ReaderPosition::after(state.position, number, enqueued, now));
    }
}

impl Drop for ReaderSeat {
    fn drop(&mut self) {
        self.shared.leave(&self.group, self.partition, self.id);
    }
}

impl fmt::Debug for ReaderSeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReaderSeat({:?}, {}, {:?})", self.group, self.partition, self.id)
    }
}

/// What seat and group both know of a reader.
pub(super) struct Reader {
    bell: Arc<Notify>,
    pub(super) since: UnixMillis,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) ended: Option<SeatEnded>,
    pub(super) position: Option<ReaderPosition>,
    pub(super) client: Option<ReaderClient>,
}

impl Reader {
    pub(super) fn new(bell: Arc<Notify>, now: UnixMillis) -> Self {
        Self { bell, since: now, state: Mutex::default() }
    }

    pub(super) fn position(&self) -> Option<ReaderPosition> {
        self.state().position
    }

    /// Tells the reader that it may not go on.
    pub(super) fn end(&self, why: SeatEnded) {
        self.state().ended.get_or_insert(why);
        self.bell.notify_one();
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}
