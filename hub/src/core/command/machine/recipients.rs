//! Who takes deliveries: for each device at most one connection, with a window, and the requests that wait for one command each.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use crate::core::command::turn::{PollId, Recipient, Turn};
use crate::core::device_id::DeviceId;
use crate::core::session::{ConnectionId, Protocol};
use crate::core::time::UnixMillis;

/// The most requests of one device that wait at a time: a device has one connection or two, and one request on each.
pub const POLLS_OF_DEVICE_MAX: usize = 8;

/// A connection that has subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Which.
    pub connection: ConnectionId,
    /// What it speaks.
    pub protocol: Protocol,
    /// How many unsettled deliveries it takes at a time.
    pub window: u16,
}

/// A request that waits for one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poll {
    /// Which.
    pub id: PollId,
    /// How it came.
    pub protocol: Protocol,
    /// How long it wants its delivery locked; the hub's time when it does not say.
    pub lock_time: Option<Duration>,
    /// Until when it waits.
    pub until: UnixMillis,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Recipients {
    consumers: HashMap<DeviceId, Consumer>,
    polls: HashMap<DeviceId, VecDeque<Poll>>,
    /// When each poll ends.
    ends: BTreeMap<(UnixMillis, PollId), DeviceId>,
}

/// Somebody who takes the next delivery.
pub(super) struct Free {
    pub recipient: Recipient,
    pub protocol: Protocol,
    pub connection: Option<ConnectionId>,
    pub lock_time: Option<Duration>,
}

impl Recipients {
    /// Connections are numbered in the order in which they began: a late word of an earlier one does not count.
    pub fn subscribe(&mut self, device: &DeviceId, consumer: Consumer) {
        let present = self.consumers.get(device);
        if present.is_none_or(|present| present.connection <= consumer.connection) {
            self.consumers.insert(device.clone(), consumer);
        }
    }

    pub fn unsubscribe(&mut self, device: &DeviceId, connection: ConnectionId) {
        if self.consumers.get(device).is_some_and(|consumer| consumer.connection == connection) {
            self.consumers.remove(device);
        }
    }

    /// Adds a poll, unless too many wait; then it is given back.
    pub fn poll(&mut self, device: &DeviceId, poll: Poll) -> Option<PollId> {
        let polls = self.polls.entry(device.clone()).or_default();
        if polls.len() >= POLLS_OF_DEVICE_MAX {
            return Some(poll.id);
        }
        self.ends.insert((poll.until, poll.id), device.clone());
        polls.push_back(poll);
        None
    }

    /// Devices whose connection takes deliveries, in the order of their names.
    pub fn devices(&self) -> Vec<DeviceId> {
        let mut devices: Vec<DeviceId> = self.consumers.keys().cloned().collect();
        devices.sort_unstable();
        devices
    }

    /// Who takes the device's next command, if anybody: its connection when there is room in its window, where it `held` so many, or the
    /// poll that has waited longest, which waits no more.
    pub fn next_for(&mut self, device: &DeviceId, held: impl Fn(ConnectionId) -> usize) -> Option<Free> {
        if let Some(consumer) = self.consumers.get(device)
            && held(consumer.connection) < usize::from(consumer.window)
        {
            let Consumer { connection, protocol, .. } = *consumer;
            return Some(Free { recipient: Recipient::Connection(connection), protocol, connection: Some(connection), lock_time: None });
        }
        let polls = self.polls.get_mut(device)?;
        let poll = polls.pop_front()?;
        if polls.is_empty() {
            self.polls.remove(device);
        }
        self.ends.remove(&(poll.until, poll.id));
        Some(Free { recipient: Recipient::Poll(poll.id), protocol: poll.protocol, connection: None, lock_time: poll.lock_time })
    }

    pub fn deadline(&self) -> Option<UnixMillis> {
        self.ends.first_key_value().map(|((time, _), _)| *time)
    }

    /// Polls whose time is up get nothing, at most `limit` of them.
    pub fn end_polls(&mut self, limit: usize, turn: &mut Turn<'_>) {
        for _ in 0..limit {
            let Some(first) = self.ends.first_entry().filter(|first| first.key().0 <= turn.now) else { return };
            let ((_, id), device) = first.remove_entry();
            self.end(&device, id, turn);
        }
    }

    /// The same for this one, if it still waits.
    pub fn end_poll(&mut self, poll: &Poll, turn: &mut Turn<'_>) {
        if poll.until <= turn.now
            && let Some(device) = self.ends.remove(&(poll.until, poll.id))
        {
            self.end(&device, poll.id, turn);
        }
    }

    fn end(&mut self, device: &DeviceId, id: PollId, turn: &mut Turn<'_>) {
        if let Some(polls) = self.polls.get_mut(device) {
            polls.retain(|poll| poll.id != id);
            if polls.is_empty() {
                self.polls.remove(device);
            }
        }
        turn.decisions.in_vain.push(id);
    }

    /// The device's connection that takes deliveries.
    pub fn connection_of(&self, device: &DeviceId) -> Option<ConnectionId> {
        self.consumers.get(device).map(|consumer| consumer.connection)
    }

    /// Forgets the device's polls, and says which there were.
    pub fn drop_polls_of(&mut self, device: &DeviceId) -> Vec<PollId> {
        let polls = self.polls.remove(device).unwrap_or_default();
        for poll in &polls {
            self.ends.remove(&(poll.until, poll.id));
        }
        polls.into_iter().map(|poll| poll.id).collect()
    }

    /// Forgets all polls, and says which there were.
    pub fn drop_polls(&mut self) -> Vec<PollId> {
        self.polls.clear();
        std::mem::take(&mut self.ends).into_keys().map(|(_, id)| id).collect()
    }
}
