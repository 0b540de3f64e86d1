//! What has happened lately, for those who watch: the hub's one change stream.
//!
//! Whoever publishes waits for nobody: a change takes its place in a ring, and watchers read there at their own pace. Nothing is kept per
//! watcher but where it stands; one that is too slow is told how much it has missed. What happens to the fleet, what happens to
//! commands and what is written into the audit have a lane each, so that none makes room for the others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::core::change::Change;
use crate::core::time::UnixMillis;

pub(super) use self::lane::Lanes;
pub use self::lane::Published;
#[cfg(test)]
pub(super) use self::lane::{COMMANDS_BUDGET, FLEET_BUDGET};
use self::ring::Ring;
pub(super) use self::ring::{Cursor, NoPlace, Span};
use super::seats::Seats;

mod lane;
mod ring;

/// The most watchers at a time of one person, or with the tokens of one policy: a forgotten loop must not take everybody's place.
const WATCHERS_EACH_MAX: usize = 64;

/// The most watchers in all: each is woken by every change. All that one live link watches, in one task, counts as one.
const WATCHERS_MAX: usize = 256;

/// How many old changes of a lane are let go of while those who publish wait.
const OLD_AT_ONCE: usize = 10_000;

/// The changes of the last hour, numbered in the order in which they were published.
#[derive(Debug)]
pub struct Changes {
    ring: Mutex<Ring>,
    news: Notify,
    ended: AtomicBool,
    over: Notify,
    /// Who watches now.
    pub watchers: Seats,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            ring: Mutex::default(),
            news: Notify::new(),
            ended: AtomicBool::new(false),
            over: Notify::new(),
            watchers: Seats::new("watchers of changes", WATCHERS_EACH_MAX, WATCHERS_MAX),
        }
    }
}

impl Changes {
    /// Tells everybody who watches. Never waits, whoever watches how slowly.
    pub fn publish(&self, now: UnixMillis, change: Change) {
        self.ring().push(now, change);
        self.news.notify_waiters();
    }

    /// Something may have happened to the fleet, and nobody can tell what: whoever watches it is told that he has missed something, as one
    /// who was too slow is, so that he looks how things stand.
    pub fn lose_fleet(&self) {
        let lost = self.ring().lose_fleet();
        self.news.notify_waiters();
        // Perhaps a lot, and nobody waits for it.
        drop(lost);
    }

    /// Lets go of changes that are too old, so that an idle hub does not keep them.
    pub fn forget_old(&self, now: UnixMillis) {
        while self.ring().forget_old(now, OLD_AT_ONCE) {}
    }

    /// Nothing more will be published: who watches is told the rest, and then that this was all.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.news.notify_waiters();
        self.over.notify_waiters();
    }

    /// Waits until nothing more will be published, for those who do other things beside watching.
    pub async fn ended(&self) {
        // Before looking, so that an end that comes while looking is heard of.
        let mut over = std::pin::pin!(self.over.notified());
        over.as_mut().enable();
        if !self.ended.load(Ordering::Acquire) {
            over.await;
        }
    }

    /// Behind all that has happened.
    pub(super) fn end_of(&self, lanes: Lanes) -> Cursor {
        self.ring().end(lanes)
    }

    /// Before the change with this number, with nothing lost of these lanes from there on.
    pub(super) fn stand(&self, number: u64, lanes: Lanes) -> Result<Cursor, NoPlace> {
        self.ring().stand(number, lanes)
    }

    /// What is there already at the cursor, which moves behind it.
    pub(super) fn read(&self, cursor: &mut Cursor) -> Span {
        self.ring().read(cursor)
    }

    /// Waits until there is a change with number `from`. Says whether there is: not when all has ended.
    pub(super) async fn wait_for(&self, from: u64) -> bool {
        loop {
            // Enabled before looking, so that what comes while looking ends the wait.
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            // Before the ring: what was published before the end is still told.
            let ended = self.ended.load(Ordering::Acquire);
            if self.ring().next() > from {
                return true;
            }
            if ended {
                return false;
            }
            news.await;
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().expect("nothing panics while it holds this lock")
    }
}
