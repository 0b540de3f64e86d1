//! What has happened lately, for those who watch: the hub's one change stream.
//!
//! Whoever publishes waits for nobody: a change takes its place in a ring, and watchers read there at their own pace. Nothing is kept per
//! watcher but where it stands; one that is too slow is told how much it has missed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::core::change::Change;
use crate::core::time::UnixMillis;

pub use self::ring::Published;
use self::ring::{Ring, Span};
use super::seats::Seats;

pub(super) mod ring;

/// The most watchers at a time with the tokens of one policy: a forgotten loop must not take everybody's place.
const WATCHERS_PER_POLICY_MAX: usize = 64;

/// The most watchers in all: each is woken by every change.
const WATCHERS_MAX: usize = 256;

/// How many old changes are let go of while those who publish wait.
const OLD_AT_ONCE: usize = 10_000;

/// The changes of the last hour, numbered in the order in which they were published.
#[derive(Debug)]
pub struct Changes {
    ring: Mutex<Ring>,
    news: Notify,
    ended: AtomicBool,
    /// Who watches now.
    pub(super) watchers: Seats,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            ring: Mutex::default(),
            news: Notify::new(),
            ended: AtomicBool::new(false),
            watchers: Seats::new(WATCHERS_PER_POLICY_MAX, WATCHERS_MAX),
        }
    }
}

impl Changes {
    /// Tells everybody who watches. Never waits, whoever watches how slowly.
    pub fn publish(&self, now: UnixMillis, change: Change) {
        self.ring().push(now, change);
        self.news.notify_waiters();
    }

    /// Lets go of changes that are too old, so that an idle hub does not keep them.
    pub fn forget_old(&self, now: UnixMillis) {
        while self.ring().forget_old(now, OLD_AT_ONCE) {}
    }

    /// Nothing more will be published: who watches is told the rest, and then that this was all.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.news.notify_waiters();
    }

    /// The number that the next change gets.
    pub(super) fn next_number(&self) -> u64 {
        self.ring().next()
    }

    /// The number of the oldest change that is kept.
    pub(super) fn first_number(&self) -> u64 {
        self.ring().first()
    }

    /// Changes from number `from` on that are there already; none when there are none.
    pub(super) fn read(&self, from: u64) -> Span {
        self.ring().read(from)
    }

    /// Waits until there is a change with number `from`. Says whether there is: not when all has ended.
    pub(super) async fn wait_for(&self, from: u64) -> bool {
        loop {
            // Enabled before looking, so that what comes while looking ends the wait.
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            // Before the ring: what was published before the end is still told.
            let ended = self.ended.load(Ordering::Acquire);
            if self.next_number() > from {
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
