//! What a session and the command desk leave for each other: deliveries one way, the wish for deliveries the other.
//!
//! Bounded by the window that the connection asks for. Small, because every idle connection has one. Wakes nobody.

use std::sync::{Mutex, MutexGuard};

use crate::core::command::{Delivery, LockToken};

/// The mailbox of one session.
#[derive(Debug, Default)]
pub struct Mailbox(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Boxed, because hardly ever any wait.
    waiting: Option<Box<Waiting>>,
    window: u16,
    /// Whether the desk has been told to look at the window and has not looked yet.
    told: bool,
    /// Whether the desk has had to do with this session.
    used: bool,
    closed: bool,
}

#[derive(Debug, Default)]
struct Waiting(Vec<Delivery>);

impl Mailbox {
    /// How many unsettled deliveries the connection takes from now on. Says whether the desk has to be told to look: not when it has been
    /// already, so that there is at most one such note for each session.
    pub fn set_window(&self, window: u16) -> bool {
        let mut state = self.state();
        if state.closed || state.window == window {
            return false;
        }
        state.window = window;
        state.used = true;
        !std::mem::replace(&mut state.told, true)
    }

    /// The desk looks: how many deliveries does the connection take?
    pub fn look(&self) -> u16 {
        let mut state = self.state();
        state.told = false;
        state.window
    }

    /// The connection is gone: takes the tokens of what it never took out, and takes nothing in any more. `None` when the desk never had
    /// to do with it, or has been told before.
    pub fn close(&self) -> Option<Vec<LockToken>> {
        let mut state = self.state();
        state.window = 0;
        let first = !std::mem::replace(&mut state.closed, true);
        let unsent = state.waiting.take().map(|waiting| waiting.0.iter().map(|delivery| delivery.token).collect());
        (first && state.used).then(|| unsent.unwrap_or_default())
    }

    /// Takes a delivery out again that the connection has not come to yet; false when it is not there.
    pub fn take_back(&self, token: LockToken) -> bool {
        let mut state = self.state();
        let Some(waiting) = &mut state.waiting else { return false };
        let before = waiting.0.len();
        waiting.0.retain(|delivery| delivery.token != token);
        let is_found = waiting.0.len() < before;
        state.waiting.take_if(|waiting| waiting.0.is_empty());
        is_found
    }

    /// Puts a delivery in, or gives it back when it is closed. It takes the place of an older one of the same command, whose lock is lost.
    pub(super) fn put(&self, delivery: Delivery) -> Result<(), Delivery> {
        let mut state = self.state();
        if state.closed {
            return Err(delivery);
        }
        let waiting = &mut state.waiting.get_or_insert_default().0;
        match waiting.iter_mut().find(|older| older.command == delivery.command) {
            Some(older) => *older = delivery,
            None => waiting.push(delivery),
        }
        Ok(())
    }

    pub(super) fn take(&self) -> Vec<Delivery> {
        self.state().waiting.take().map(|waiting| waiting.0).unwrap_or_default()
    }

    /// Takes the first one out that `is_wanted` chooses.
    pub(super) fn take_first(&self, is_wanted: impl Fn(&Delivery) -> bool) -> Option<Delivery> {
        let mut state = self.state();
        let waiting = state.waiting.as_mut()?;
        let place = waiting.0.iter().position(is_wanted)?;
        let taken = waiting.0.remove(place);
        state.waiting.take_if(|waiting| waiting.0.is_empty());
        Some(taken)
    }

    pub(super) fn has_any(&self) -> bool {
        self.state().waiting.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::core::command::CommandId;
    use crate::core::time::UnixMillis;

    fn delivery(command: u64, token: u8) -> Delivery {
        Delivery {
            command: CommandId(command),
            token: LockToken([token; 16]),
            locked_until: UnixMillis(60_000),
            delivery_count: 1,
            enqueued_time: UnixMillis(0),
            content: Bytes::new(),
        }
    }

    #[test]
    fn what_is_not_taken_can_be_taken_back_and_replaced() {
        let mailbox = Mailbox::default();
        mailbox.put(delivery(1, 1)).unwrap();
        assert_eq!(mailbox.take_first(|delivery| delivery.command == CommandId(2)), None);
        assert!(mailbox.take_back(LockToken([1; 16])));
        assert!(!mailbox.has_any() && !mailbox.take_back(LockToken([1; 16])));
        mailbox.put(delivery(1, 2)).unwrap();
        mailbox.put(delivery(2, 3)).unwrap();
        mailbox.put(delivery(1, 4)).unwrap();
        assert_eq!(mailbox.take(), [delivery(1, 4), delivery(2, 3)], "one delivery of each command, the newest, in the queue's order");
    }
}
