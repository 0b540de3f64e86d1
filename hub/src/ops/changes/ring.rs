//! The latest changes, numbered, in a bounded ring. Pure: who wakes whom is not known here.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::core::change::Change;
use crate::core::time::UnixMillis;

/// How long a change is kept, unless room is needed: what a position is good for.
pub const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// The most changes kept: 55 a second for an hour.
pub const CHANGES_MAX: usize = 200_000;

/// The most memory that changes may take, by [`cost`]: 200,000 connects and disconnects with their texts, or 100,000 identities.
pub const BYTES_MAX: usize = 128 * 1024 * 1024;

/// How many changes a call looks through at most, so that nobody who publishes waits for one who reads.
pub const PAGE: usize = 512;

/// How many old changes one publication lets go of beside what it needs room for: more than one, so that they go faster than new ones come.
const OLD_PER_PUSH: usize = 4;

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
    /// Its text, made by the first who asks, the same for all.
    pub fn text(&self, render: impl FnOnce(&Change) -> String) -> &str {
        self.text.get_or_init(|| render(&self.change).into_boxed_str())
    }
}

/// The ring.
#[derive(Debug)]
pub struct Ring {
    /// With contiguous numbers, the last of which is one below `next`.
    kept: VecDeque<Arc<Published>>,
    next: u64,
    bytes: usize,
}

/// Some changes in order.
#[derive(Debug, Default)]
pub struct Span {
    /// How many of those asked for are gone.
    pub skipped: u64,
    /// The ones after these.
    pub changes: Vec<Arc<Published>>,
    /// The number after them: where to go on.
    pub next: u64,
}

impl Default for Ring {
    fn default() -> Self {
        Self { kept: VecDeque::new(), next: 1, bytes: 0 }
    }
}

impl Ring {
    /// The number that the next change gets.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The number of the oldest change kept; when there is none, the next one's.
    pub fn first(&self) -> u64 {
        self.next - self.kept.len() as u64
    }

    /// Takes a change in; the oldest make room.
    pub fn push(&mut self, now: UnixMillis, change: Change) {
        self.bytes += cost(&change);
        self.kept.push_back(Arc::new(Published { number: self.next, change, time: now, text: OnceLock::new() }));
        self.next += 1;
        while self.kept.len() > CHANGES_MAX || self.bytes > BYTES_MAX {
            self.pop();
        }
        self.forget_old(now, OLD_PER_PUSH);
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

    /// Changes from `from` on, at most [`PAGE`].
    pub fn read(&self, from: u64) -> Span {
        let first = self.first();
        let start = from.max(first);
        let place = usize::try_from(start - first).unwrap_or(usize::MAX).min(self.kept.len());
        let changes: Vec<_> = self.kept.range(place..).take(PAGE).cloned().collect();
        Span { skipped: start - from, next: start + changes.len() as u64, changes }
    }

    fn oldest_is_old(&self, now: UnixMillis) -> bool {
        self.kept.front().is_some_and(|oldest| now.since(oldest.time) > KEPT_FOR)
    }

    fn pop(&mut self) {
        if let Some(oldest) = self.kept.pop_front() {
            self.bytes -= cost(&oldest.change);
        }
    }
}

/// What a change takes in memory, with its text, in bytes: rather too much than too little. The same for as long as it is kept.
fn cost(change: &Change) -> usize {
    /// The change itself and its place in the ring.
    const PLACE: usize = size_of::<Published>() + size_of::<Arc<Published>>() + 2 * size_of::<usize>();
    PLACE
        + match change {
            // The identity with ids and keys, and about twice its tags as text within text.
            Change::IdentityWritten(identity) => 1200 + 3 * identity.tags.as_deref().unwrap_or_default().len(),
            Change::IdentityDeleted(_) => 300,
            Change::Presence(_) => 400,
            Change::Refused { claimed, reason: (_, text), .. } => 300 + 3 * (claimed.len() + text.len()),
            Change::Command(..) => 1400,
            Change::Receipt(_) | Change::ReceiptStep(..) => 1000,
        }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::device_id::DeviceId;

    fn deleted(number: usize) -> Change {
        Change::IdentityDeleted(DeviceId::parse(&number.to_string()).unwrap())
    }

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(count * 60)
    }

    proptest! {
        /// Against a list that forgets nothing: what is read is what was published, in order, from the place where it is still kept.
        #[test]
        fn what_is_read_is_what_was_published(steps in proptest::collection::vec((0..20u64, 0..40usize, 0..200u64), 1..60)) {
            let mut ring = Ring::default();
            let mut published: Vec<(UnixMillis, String)> = Vec::new();
            let mut now = UnixMillis(0);
            for (pause, count, from) in steps {
                now = now.plus(minutes(pause));
                for _ in 0..count {
                    ring.push(now, deleted(published.len()));
                    published.push((now, published.len().to_string()));
                }
                while ring.forget_old(now, 7) {}
                let young = published.iter().position(|(time, _)| now.since(*time) <= KEPT_FOR).unwrap_or(published.len());
                prop_assert_eq!(ring.first(), young as u64 + 1);
                prop_assert_eq!(ring.next(), published.len() as u64 + 1);

                let from = from.clamp(1, ring.next());
                let (mut cursor, mut skipped, mut read) = (from, 0, Vec::new());
                while cursor < ring.next() {
                    let span = ring.read(cursor);
                    skipped += span.skipped;
                    read.extend(span.changes.iter().map(|published| published.change.device().to_owned()));
                    cursor = span.next;
                }
                let start = young.max(from as usize - 1);
                prop_assert_eq!(skipped, start as u64 - (from - 1));
                let expected: Vec<_> = published[start..].iter().map(|(_, id)| id.clone()).collect();
                prop_assert_eq!(read, expected);
            }
        }
    }

    #[test]
    fn so_many_are_kept_and_so_many_bytes() {
        let mut ring = Ring::default();
        (0..CHANGES_MAX + 5).for_each(|number| ring.push(UnixMillis(0), deleted(number)));
        assert_eq!(ring.first(), 6);
        assert_eq!(ring.read(1).skipped, 5);
        assert_eq!(ring.read(1).changes.len(), PAGE);

        let mut ring = Ring::default();
        let mut identity = crate::ops::world::identity("D");
        identity.tags = Some("x".repeat(8 * 1024));
        let change = Change::IdentityWritten(Arc::new(identity));
        let each = cost(&change);
        (0..2 * BYTES_MAX / each).for_each(|_| ring.push(UnixMillis(0), change.clone()));
        assert!(ring.bytes <= BYTES_MAX && ring.bytes > BYTES_MAX - each, "{}", ring.bytes);
        ring.forget_old(UnixMillis(0).plus(minutes(61)), usize::MAX);
        assert_eq!((ring.bytes, ring.first()), (0, ring.next()));
    }

    #[test]
    fn a_text_is_made_once() {
        let mut ring = Ring::default();
        ring.push(UnixMillis(0), deleted(1));
        let first = ring.read(1).changes.remove(0);
        assert_eq!(first.text(|change| change.device().to_owned()), "1");
        assert_eq!(ring.read(1).changes[0].text(|_| unreachable!("somebody has made it")), "1");
    }
}
