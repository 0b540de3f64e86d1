//! One device's commands in the order in which they were sent: those that wait, and those that are locked.
//!
//! A locked one keeps its place, so what comes back is where it was. Knows neither time nor limits.

use std::sync::Arc;

use super::{Command, CommandId, LockToken, Receiver};
use crate::core::session::ConnectionId;
use crate::core::time::UnixMillis;

/// The queue.
#[derive(Clone, Debug, Default)]
pub struct CommandQueue {
    /// By id, which is the order of sending.
    entries: Vec<Entry>,
}

/// A command in its queue.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The command. Shared with those who are told of its steps.
    pub command: Arc<Command>,
    /// Boxed, because most commands wait for a device that sleeps.
    pub lock: Option<Box<Lock>>,
    /// How many deliveries of it in a row never left the hub.
    pub not_sent: u8,
}

/// What makes a command invisible: one delivery of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Proves who holds it.
    pub token: LockToken,
    /// When it ends by itself.
    pub until: UnixMillis,
    /// Where the delivery went.
    pub receiver: Receiver,
}

impl Entry {
    /// When time changes its state: it expires, or its lock does.
    #[must_use]
    pub fn deadline(&self) -> UnixMillis {
        self.lock.as_ref().map_or(self.command.expiry_time, |lock| lock.until)
    }
}

impl CommandQueue {
    /// Adds a command that was sent after all that are in it.
    pub fn push(&mut self, command: Arc<Command>) {
        self.entries.push(Entry { command, lock: None, not_sent: 0 });
    }

    /// How many commands there are, locked ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The command with this id.
    #[must_use]
    pub fn get(&self, id: CommandId) -> Option<&Entry> {
        self.place(id).map(|place| &self.entries[place])
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: CommandId) -> Option<&mut Entry> {
        self.place(id).map(|place| &mut self.entries[place])
    }

    /// The first that is not locked, of those that `is_good` chooses.
    pub fn first_enqueued(&mut self, is_good: impl Fn(&Command) -> bool) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.lock.is_none() && is_good(&entry.command))
    }

    /// The one that is locked with this token.
    #[must_use]
    pub fn locked_with(&self, token: LockToken) -> Option<CommandId> {
        let found = self.entries.iter().find(|entry| entry.lock.as_ref().is_some_and(|lock| lock.token == token));
        found.map(|entry| entry.command.id)
    }

    /// Those whose delivery went to this connection, in order.
    pub fn held_by(&self, connection: ConnectionId) -> impl Iterator<Item = (CommandId, &Lock)> {
        let locks = self.entries.iter().filter_map(|entry| Some((entry.command.id, entry.lock.as_deref()?)));
        locks.filter(move |(_, lock)| lock.receiver.connection == Some(connection))
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Takes one out.
    pub fn remove(&mut self, id: CommandId) -> Option<Entry> {
        self.place(id).map(|place| self.entries.remove(place))
    }

    fn place(&self, id: CommandId) -> Option<usize> {
        self.entries.binary_search_by_key(&id, |entry| entry.command.id).ok()
    }
}
