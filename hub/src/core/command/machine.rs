//! The command machine: every rule about what becomes of a command between sender and device, and of its receipt.
//!
//! Owns all devices' queues, who takes deliveries, the feedback queue and everything that time does to them. One method per request; each
//! adds to its [`Turn`] what is to be written and, once that is durable, done. Never waits, never looks at a clock, never holds a content.
//!
//! Call [`CommandMachine::time_passed`] first in every turn. It may leave overdue what does not fit into one; nobody gets that meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

pub use self::life::NOT_SENT_MAX;
use self::recipients::Recipients;
pub use self::recipients::{Consumer, POLLS_OF_DEVICE_MAX, Poll};
pub use self::time::TIMED_COMMANDS_MAX;
use super::draft::Draft;
use super::feedback::{FeedbackQueue, LockLost, ReceiptBatch};
use super::queue::CommandQueue;
use super::turn::{PollId, Turn};
use super::write::{CommandWrite, Pending};
use super::{Command, CommandId, CommandLimits, LockToken, Outcome, Receipt, ReceiptId, Receiver, ReturnReason, Settlement, StepKind};
use crate::core::device_id::DeviceId;
use crate::core::identity::GenerationId;
use crate::core::session::ConnectionId;
use crate::core::time::UnixMillis;

mod life;
mod recipients;
mod time;

/// The machine.
#[derive(Debug)]
pub struct CommandMachine {
    limits: CommandLimits,
    queues: HashMap<DeviceId, CommandQueue>,
    /// Whose each command is; the first is the oldest.
    devices: BTreeMap<CommandId, DeviceId>,
    /// When time does something to a command: each is here once, at [`Entry::deadline`](super::queue::Entry::deadline).
    timers: BTreeSet<(UnixMillis, CommandId)>,
    /// How many are locked.
    invisible: usize,
    /// Loaded with as many deliveries as may be: they end, some in each turn.
    spent: VecDeque<CommandId>,
    /// Devices whose connections outlived the loading: they are offered what waits, some in each turn.
    to_be_offered: VecDeque<DeviceId>,
    recipients: Recipients,
    feedback: FeedbackQueue,
    next_command: u64,
}

/// There is no room for one more command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The device's queue.
    #[error("{depth} commands wait for device {device} already; it takes no more before it has settled some, or they are purged")]
    QueueFull {
        /// Whose.
        device: DeviceId,
        /// How many wait.
        depth: usize,
    },
    /// All queues together.
    #[error("{pending} commands wait for devices of this hub, and it keeps no more")]
    HubFull {
        /// How many wait.
        pending: usize,
    },
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Commands that have not ended, locked ones included.
    pub pending: usize,
    /// Those that are locked.
    pub invisible: usize,
    /// When the oldest was sent.
    pub oldest: Option<UnixMillis>,
    /// Receipts that nobody has taken.
    pub receipts_waiting: usize,
}

impl CommandMachine {
    /// An empty one.
    #[must_use]
    pub fn new(limits: CommandLimits) -> Self {
        Self {
            limits,
            queues: HashMap::new(),
            devices: BTreeMap::new(),
            timers: BTreeSet::new(),
            invisible: 0,
            spent: VecDeque::new(),
            to_be_offered: VecDeque::new(),
            recipients: Recipients::default(),
            feedback: FeedbackQueue::default(),
            next_command: 0,
        }
    }

    /// Begins anew with what the store has. Locks are lost, and what was delivered as often as may be is dead-lettered; connections go on
    /// taking deliveries, polls do not. What does not fit into this turn is done in the next ones. The order and the next ids are not taken
    /// on trust: nothing here may come to a stop because of a damaged row.
    pub fn load(&mut self, mut pending: Pending, turn: &mut Turn<'_>) {
        let polls = self.recipients.drop_polls();
        turn.decisions.in_vain.extend(polls);
        self.queues.clear();
        self.devices.clear();
        self.timers.clear();
        self.spent.clear();
        self.invisible = 0;
        self.feedback = FeedbackQueue::load(pending.receipts, pending.next_receipt, &self.limits);
        pending.commands.sort_unstable_by_key(|command| command.id);
        pending.commands.dedup_by_key(|command| command.id);
        self.next_command = pending.commands.last().map_or(0, |last| last.id.0.saturating_add(1)).max(pending.next_command);
        for command in pending.commands {
            if command.delivery_count >= self.limits.delivery_count_max {
                self.spent.push_back(command.id);
            }
            self.insert(Arc::new(command));
        }
        self.to_be_offered = self.recipients.devices().into();
        self.time_passed(turn);
    }

    /// Takes a command, if there is room. What waited for a former life of the device ends first.
    pub fn send(&mut self, draft: Draft, turn: &mut Turn<'_>) -> Result<Arc<Command>, NoRoom> {
        self.end_former_lives(&draft.device_id, Some(&draft.generation_id), turn);
        if self.pending_of(&draft.device_id) >= self.limits.queue_depth_max {
            self.end_overdue(&draft.device_id, turn);
        }
        let depth = self.pending_of(&draft.device_id);
        if depth >= self.limits.queue_depth_max {
            return Err(NoRoom::QueueFull { device: draft.device_id, depth });
        }
        if self.devices.len() >= self.limits.pending_max {
            self.end_one_overdue(turn);
        }
        if self.devices.len() >= self.limits.pending_max {
            return Err(NoRoom::HubFull { pending: self.devices.len() });
        }
        let command = Arc::new(Command {
            id: CommandId(self.next_command),
            device_id: draft.device_id,
            generation_id: draft.generation_id,
            message_id: draft.message_id,
            ack: draft.ack,
            sent_by: draft.sent_by,
            again_of: draft.again_of,
            size_bytes: u32::try_from(draft.content.len()).unwrap_or(u32::MAX),
            enqueued_time: turn.now,
            expiry_time: draft.expiry_time.unwrap_or_else(|| turn.now.plus(self.limits.default_ttl)),
            delivery_count: 0,
            ended: None,
        });
        self.next_command += 1;
        turn.write(CommandWrite::Enqueue(Command::clone(&command), draft.content));
        turn.step(&command, StepKind::Enqueued);
        if let Some(former) = draft.again_of {
            turn.late_step(former, StepKind::SentAgain(command.id));
        }
        self.insert(Arc::clone(&command));
        self.offer(&command.device_id, turn);
        Ok(command)
    }

    /// From now on a connection of the device takes deliveries; a later connection takes the place of an earlier one.
    pub fn subscribe(&mut self, device: &DeviceId, generation: &GenerationId, consumer: Consumer, turn: &mut Turn<'_>) {
        self.end_former_lives(device, Some(generation), turn);
        self.recipients.subscribe(device, consumer);
        self.offer(device, turn);
    }

    /// From now on the connection takes none. What it has, it keeps.
    pub fn unsubscribe(&mut self, device: &DeviceId, connection: ConnectionId) {
        self.recipients.unsubscribe(device, connection);
    }

    /// Which of the device's connections takes deliveries.
    #[must_use]
    pub fn taken_by(&self, device: &DeviceId) -> Option<ConnectionId> {
        self.recipients.connection_of(device)
    }

    /// From now on no request of the device that has come so far waits for a command; says which there were.
    pub fn drop_polls_of(&mut self, device: &DeviceId) -> Vec<PollId> {
        self.recipients.drop_polls_of(device)
    }

    /// The connection is gone: what it has not settled goes back; deliveries in `unsent` never left the hub.
    pub fn close(&mut self, device: &DeviceId, connection: ConnectionId, unsent: &[LockToken], turn: &mut Turn<'_>) {
        self.unsubscribe(device, connection);
        let Some(queue) = self.queues.get(device) else { return };
        let held: Vec<(CommandId, LockToken)> = queue.held_by(connection).map(|(id, lock)| (id, lock.token)).collect();
        for (id, token) in held {
            let reason = if unsent.contains(&token) { ReturnReason::NotSent } else { ReturnReason::ConnectionClosed };
            self.give_back(device, id, reason, turn);
        }
        self.offer(device, turn);
    }

    /// A request of the device waits for one command. It is answered with a handout, or among those in vain.
    pub fn poll(&mut self, device: &DeviceId, generation: &GenerationId, poll: Poll, turn: &mut Turn<'_>) {
        self.end_former_lives(device, Some(generation), turn);
        if let Some(refused) = self.recipients.poll(device, poll) {
            turn.decisions.in_vain.push(refused);
        }
        self.offer(device, turn);
        self.recipients.end_poll(&poll, turn);
    }

    /// The device, as `by`, settles a delivery.
    pub fn settle(
        &mut self,
        device: &DeviceId,
        token: LockToken,
        settlement: Settlement,
        by: Receiver,
        turn: &mut Turn<'_>,
    ) -> Result<(), LockLost> {
        let id = self.locked_with(device, token).ok_or(LockLost)?;
        if self.locked_until(id).is_none_or(|until| until <= turn.now) {
            return Err(LockLost);
        }
        match settlement {
            Settlement::Complete => self.end(device, id, Outcome::Completed, Some(by), turn),
            Settlement::Reject => self.end(device, id, Outcome::Rejected, Some(by), turn),
            Settlement::Abandon => self.give_back(device, id, ReturnReason::Abandoned, turn),
        }
        self.offer(device, turn);
        Ok(())
    }

    /// A delivery never left the hub: it does not count.
    pub fn not_sent(&mut self, device: &DeviceId, token: LockToken, turn: &mut Turn<'_>) {
        if let Some(id) = self.locked_with(device, token) {
            self.give_back(device, id, ReturnReason::NotSent, turn);
            self.offer(device, turn);
        }
    }

    /// Empties a device's queue, locked ones included; says how many there were.
    pub fn purge(&mut self, device: &DeviceId, turn: &mut Turn<'_>) -> usize {
        self.end_all(device, Outcome::Purged, turn, |_| true)
    }

    /// The device is deleted, or has been made anew as `present`: what waited for its former lives ends, and their receipts go.
    pub fn forget(&mut self, device: &DeviceId, present: Option<&GenerationId>, turn: &mut Turn<'_>) {
        self.end_former_lives(device, present, turn);
        self.feedback.forget(device, present, turn);
    }

    /// Whether there is anything that [`Self::forget`] could take away.
    #[must_use]
    pub fn knows(&self, device: &DeviceId) -> bool {
        self.queues.contains_key(device) || self.feedback.has_any_of(device)
    }

    /// The receipts that wait, after `after`, oldest first, at most `limit`; nobody receives them by that.
    #[must_use]
    pub fn receipts_after(&self, after: Option<ReceiptId>, limit: usize) -> Vec<Receipt> {
        self.feedback.after(after, limit)
    }

    /// Hands out the oldest receipts, at most `max`.
    pub fn receive_receipts(&mut self, max: usize, turn: &mut Turn<'_>) -> Option<ReceiptBatch> {
        self.feedback.receive(max, &self.limits, turn)
    }

    /// A back end settles receipts.
    pub fn settle_receipts(&mut self, token: LockToken, settlement: Settlement, turn: &mut Turn<'_>) -> Result<(), LockLost> {
        self.feedback.settle(token, settlement, &self.limits, turn)
    }

    /// How many commands wait for a device, locked ones included.
    #[must_use]
    pub fn pending_of(&self, device: &DeviceId) -> usize {
        self.queues.get(device).map_or(0, CommandQueue::len)
    }

    /// How much waits.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let oldest = self.devices.first_key_value().and_then(|(id, device)| self.queues.get(device)?.get(*id));
        Statistics {
            pending: self.devices.len(),
            invisible: self.invisible,
            oldest: oldest.map(|entry| entry.command.enqueued_time),
            receipts_waiting: self.feedback.len(),
        }
    }

    /// Until when the latest delivery that `stored` counts is locked; `None` when it is not. The lock of a delivery that is not durable
    /// yet is nobody's business.
    #[must_use]
    pub fn stored_locked_until(&self, stored: &Command) -> Option<UnixMillis> {
        let entry = self.queues.get(&stored.device_id)?.get(stored.id)?;
        let lock = entry.lock.as_ref().filter(|_| entry.command.delivery_count == stored.delivery_count)?;
        Some(lock.until)
    }

    /// Whether this is the present lock of one of the device's commands.
    #[must_use]
    pub fn is_locked(&self, device: &DeviceId, token: LockToken) -> bool {
        self.locked_with(device, token).is_some()
    }

    fn locked_until(&self, id: CommandId) -> Option<UnixMillis> {
        let queue = self.queues.get(self.devices.get(&id)?)?;
        queue.get(id)?.lock.as_ref().map(|lock| lock.until)
    }

    fn locked_with(&self, device: &DeviceId, token: LockToken) -> Option<CommandId> {
        self.queues.get(device)?.locked_with(token)
    }
}

#[cfg(test)]
mod tests;
