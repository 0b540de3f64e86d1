//! One lane of the ring: changes of some kinds, which make room for each other and for nobody else. Pure.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::core::change::{Change, ChangeKind};
use crate::core::time::UnixMillis;

/// How long a change is kept, unless room is needed: what a position is good for.
pub const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// What the fleet's changes may take. Those who resume from them (the Kubernetes operator, the dashboard) keep a picture of the whole fleet,
/// which is dear to make anew, so they get most of the room: 40 connects and disconnects a second for an hour, which is what 70,000 devices
/// make whose tokens last for an hour, and beside them refusals, of which at most ten a second are told.
pub const FLEET_BUDGET: Budget = Budget { changes: 160_000, bytes: 96 * 1024 * 1024 };

/// What the commands' changes may take. Who watches them waits for some that are under way, and reads a list otherwise: five changes a second
/// for an hour, which is one command a second with its receipt; a thousand commands a second for some seconds.
pub const COMMANDS_BUDGET: Budget = Budget { changes: 25_000, bytes: 32 * 1024 * 1024 };

/// What the audit's changes may take: two entries a second for an hour. They come with changes of identities and with commands, whose lanes
/// they must not fill.
pub const AUDIT_BUDGET: Budget = Budget { changes: 10_000, bytes: 16 * 1024 * 1024 };

/// What a lane may keep.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The most changes.
    pub changes: usize,
    /// The most memory that they may take, by [`cost`], in bytes.
    pub bytes: usize,
}

/// Which lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneName {
    /// Registry, presence and refusals.
    Fleet,
    /// Commands and receipts.
    Commands,
    /// The audit.
    Audit,
}

impl LaneName {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Fleet, Self::Commands, Self::Audit];

    /// The one in which changes of this kind are.
    pub fn of(kind: ChangeKind) -> Self {
        match kind {
            ChangeKind::Registry | ChangeKind::Presence | ChangeKind::Refusal => Self::Fleet,
            ChangeKind::Command | ChangeKind::Receipt => Self::Commands,
            ChangeKind::Audit => Self::Audit,
        }
    }
}

/// A choice among the lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes([bool; LaneName::ALL.len()]);

impl Lanes {
    /// Those in which changes of these kinds are.
    pub fn of(kinds: &[ChangeKind]) -> Self {
        Self(LaneName::ALL.map(|lane| kinds.iter().any(|kind| LaneName::of(*kind) == lane)))
    }

    /// Whether it is among them.
    pub fn have(self, lane: LaneName) -> bool {
        self.0[lane as usize]
    }
}

/// A change with its number, and its text once somebody wanted it.
#[derive(Debug)]
pub struct Published {
    /// Its number, from 1.
    pub number: u64,
    /// What happened.
    pub change: Change,
    time: UnixMillis,
    text: OnceLock<Box<str>>,
}

impl Published {
    /// One that has happened at `time`.
    pub(super) fn new(number: u64, time: UnixMillis, change: Change) -> Self {
        Self { number, change, time, text: OnceLock::new() }
    }

    /// Its text, made by the first who asks, the same for all.
    pub fn text(&self, render: impl FnOnce(&Change) -> String) -> &str {
        self.text.get_or_init(|| render(&self.change).into_boxed_str())
    }
}

/// A lane. Places in it are counted from 0, whatever has been let go of since; numbers rise along it, and have gaps.
#[derive(Debug)]
pub struct Lane {
    budget: Budget,
    kept: VecDeque<Arc<Published>>,
    bytes: usize,
    /// The place of the first that is kept: how many are gone.
    first: u64,
    /// The number of the last that is gone; 0 while none is.
    last_gone: u64,
}

impl Lane {
    /// An empty one.
    pub fn new(budget: Budget) -> Self {
        Self { budget, kept: VecDeque::new(), bytes: 0, first: 0, last_gone: 0 }
    }

    /// The place of the first that is kept.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Whether all changes from `number` on are kept that were ever in this lane.
    pub fn is_whole_from(&self, number: u64) -> bool {
        self.last_gone < number
    }

    /// The place of the first that is kept with `number` or a higher one.
    pub fn place_of(&self, number: u64) -> u64 {
        self.first + self.kept.partition_point(|published| published.number < number) as u64
    }

    /// What is at a place, and is kept.
    pub fn at(&self, place: u64) -> Option<&Arc<Published>> {
        self.kept.get(usize::try_from(place.checked_sub(self.first)?).ok()?)
    }

    /// Takes a change in; the oldest of the lane make room.
    pub fn push(&mut self, published: Published) {
        self.bytes += cost(&published.change);
        self.kept.push_back(Arc::new(published));
        while self.kept.len() > self.budget.changes || self.bytes > self.budget.bytes {
            self.pop();
        }
    }

    /// Something has happened under this number that nobody can tell: it is gone, and so is all before it, because behind a gap there is
    /// no whole. Answers what was kept, for whoever has the time to drop it.
    #[must_use]
    pub fn lose(&mut self, number: u64) -> VecDeque<Arc<Published>> {
        let lost = std::mem::take(&mut self.kept);
        (self.bytes, self.last_gone) = (0, number);
        self.first += lost.len() as u64 + 1;
        lost
    }

    /// Lets go of at most `limit` changes that are older than [`KEPT_FOR`]; says whether there are more.
    pub fn forget_old(&mut self, now: UnixMillis, limit: usize) -> bool {
        for _ in 0..limit {
            if !self.oldest_is_old(now) {
                return false;
            }
            self.pop();
        }
        self.oldest_is_old(now)
    }

    fn oldest_is_old(&self, now: UnixMillis) -> bool {
        self.kept.front().is_some_and(|oldest| now.since(oldest.time) > KEPT_FOR)
    }

    fn pop(&mut self) {
        if let Some(oldest) = self.kept.pop_front() {
            self.bytes -= cost(&oldest.change);
            self.first += 1;
            self.last_gone = oldest.number;
        }
    }
}

/// What a change takes in memory, with its text, in bytes: rather too much than too little. The same for as long as it is kept.
pub(super) fn cost(change: &Change) -> usize {
    /// The change itself and its place in its lane.
    const PLACE: usize = size_of::<Published>() + size_of::<Arc<Published>>() + 2 * size_of::<usize>();
    PLACE
        + match change {
            // The identity with ids and keys, and about twice its tags as text within text.
            Change::IdentityWritten(identity) => 1200 + 3 * identity.tags.as_deref().unwrap_or_default().len(),
            Change::IdentityDeleted(_) => 300,
            Change::Presence(_) => 400,
            Change::Refused { claimed, reason: (_, text), .. } => 300 + 3 * (claimed.len() + text.len()),
            // The entry, and about twice its texts as text within text.
            Change::Audited(entry) => {
                let texts = [&entry.device, &entry.detail, &entry.refused].into_iter().flatten().map(String::len).sum::<usize>();
                1000 + 3 * (entry.by.principal.name().len() + texts)
            }
            Change::Command(..) => 1400,
            Change::Receipt(_) | Change::ReceiptStep(..) => 1000,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::device_id::DeviceId;

    fn deleted(id: &str) -> Change {
        Change::IdentityDeleted(DeviceId::parse(id).unwrap())
    }

    fn fill(budget: Budget, change: &Change) -> Lane {
        let mut lane = Lane::new(budget);
        (0..2 * budget.changes as u64).for_each(|number| lane.push(Published::new(number + 1, UnixMillis(0), change.clone())));
        lane
    }

    #[test]
    fn so_many_are_kept_and_so_many_bytes() {
        let each = cost(&deleted("D"));
        let lane = fill(Budget { changes: 100, bytes: usize::MAX }, &deleted("D"));
        assert_eq!((lane.kept.len(), lane.first(), lane.last_gone), (100, 100, 100));
        let mut lane = fill(Budget { changes: 100, bytes: 50 * each + each / 2 }, &deleted("D"));
        assert_eq!((lane.kept.len(), lane.bytes, lane.first()), (50, 50 * each, 150));
        assert!(lane.forget_old(UnixMillis(0).plus(2 * KEPT_FOR), 49));
        assert!(!lane.forget_old(UnixMillis(0).plus(2 * KEPT_FOR), 1));
        assert_eq!((lane.bytes, lane.first(), lane.at(199).map(|published| published.number)), (0, 200, None));
    }

    #[test]
    fn a_text_is_made_once() {
        let published = Published::new(1, UnixMillis(0), deleted("D"));
        assert_eq!(published.text(|change| change.device().to_owned()), "D");
        assert_eq!(published.text(|_| unreachable!("somebody has made it")), "D");
    }
}
