//! A queue in which everything waits once: bounded by what there is, however often it is named.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The queue. One task takes from it, anybody puts.
#[derive(Debug)]
pub struct DistinctQueue<T> {
    waiting: Mutex<Waiting<T>>,
    bell: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    order: VecDeque<T>,
    members: HashSet<T>,
}

impl<T> Default for DistinctQueue<T> {
    fn default() -> Self {
        Self { waiting: Mutex::new(Waiting { order: VecDeque::new(), members: HashSet::new() }), bell: Notify::new() }
    }
}

impl<T: Clone + Eq + Hash> DistinctQueue<T> {
    /// Puts it at the end, unless it waits already.
    pub fn put(&self, item: T) {
        let mut waiting = self.lock();
        if waiting.members.insert(item.clone()) {
            waiting.order.push_back(item);
            self.bell.notify_one();
        }
    }

    /// The first, once there is one. Dropped, it has taken nothing.
    pub async fn next(&self) -> T {
        loop {
            if let Some(item) = self.take() {
                return item;
            }
            self.bell.notified().await;
        }
    }

    /// The first, if there is one.
    pub fn take(&self) -> Option<T> {
        let mut waiting = self.lock();
        let item = waiting.order.pop_front()?;
        waiting.members.remove(&item);
        Some(item)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().order.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_not_put_twice_and_what_was_taken_can_come_again() {
        let queue = DistinctQueue::default();
        ["a", "b", "a"].iter().for_each(|item| queue.put(*item));
        assert_eq!((queue.next().await, queue.len()), ("a", 1));
        queue.put("a");
        assert_eq!((queue.next().await, queue.next().await, queue.take()), ("b", "a", None));
    }
}
