//! The ways of one command: into its queue, out to a device, back, and to its end.
//!
//! Keeps what the machine knows of it in step: its queue, its one timer, and the count of locks.

use std::sync::Arc;

use super::{CommandMachine, Turn};
use crate::core::command::queue::{Entry, Lock};
use crate::core::command::turn::Handout;
use crate::core::command::write::CommandWrite;
use crate::core::command::{Command, CommandId, Outcome, Receipt, Receiver, ReturnReason, StepKind};
use crate::core::device_id::DeviceId;
use crate::core::identity::GenerationId;

/// How many deliveries in a row may not count because they never left the hub. A client that asks and hangs up, again and again, would
/// otherwise write two steps into a timeline each time, for as long as the command lives.
pub const NOT_SENT_MAX: u8 = 10;

impl CommandMachine {
    pub(super) fn insert(&mut self, command: Arc<Command>) {
        self.devices.insert(command.id, command.device_id.clone());
        self.timers.insert((command.expiry_time, command.id));
        self.queues.entry(command.device_id.clone()).or_default().push(command);
    }

    /// Hands out what waits to whoever takes it; not what time has yet to end.
    pub(super) fn offer(&mut self, device: &DeviceId, turn: &mut Turn<'_>) {
        let Some(queue) = self.queues.get_mut(device) else { return };
        let (now, delivery_count_max) = (turn.now, self.limits.delivery_count_max);
        let is_good = |command: &Command| command.expiry_time > now && command.delivery_count < delivery_count_max;
        loop {
            if queue.first_enqueued(is_good).is_none() {
                return;
            }
            let held = |connection| queue.held_by(connection).count();
            let Some(free) = self.recipients.next_for(device, held) else { return };
            let entry = queue.first_enqueued(is_good).expect("looked for just now");
            let receiver = Receiver { protocol: free.protocol, connection: free.connection };
            let (token, until) = ((turn.fresh_token)(), turn.now.plus(free.lock_time.unwrap_or(self.limits.lock_time)));
            self.timers.remove(&(entry.deadline(), entry.command.id));
            let command = Arc::make_mut(&mut entry.command);
            command.delivery_count += 1;
            let delivery_count = command.delivery_count;
            entry.lock = Some(Box::new(Lock { token, until, receiver }));
            self.timers.insert((until, entry.command.id));
            self.invisible += 1;
            turn.write(CommandWrite::DeliveryCount(entry.command.id, delivery_count));
            turn.step(&entry.command, StepKind::Delivered { receiver, delivery_count });
            let command = Arc::clone(&entry.command);
            turn.decisions.handouts.push(Handout { to: free.recipient, receiver, command, token, locked_until: until });
        }
    }

    /// Puts a locked command back to its place, unless it has been delivered too often or its time is up. A delivery that was not sent does
    /// not count, unless [`NOT_SENT_MAX`] before it were not sent either.
    pub(super) fn give_back(&mut self, device: &DeviceId, id: CommandId, reason: ReturnReason, turn: &mut Turn<'_>) {
        let Some(entry) = self.queues.get_mut(device).and_then(|queue| queue.get_mut(id)) else { return };
        if reason != ReturnReason::NotSent {
            entry.not_sent = 0;
        } else if entry.not_sent < NOT_SENT_MAX {
            entry.not_sent += 1;
            let command = Arc::make_mut(&mut entry.command);
            command.delivery_count = command.delivery_count.saturating_sub(1);
            turn.write(CommandWrite::DeliveryCount(id, command.delivery_count));
        }
        if entry.command.delivery_count >= self.limits.delivery_count_max {
            self.end(device, id, Outcome::DeliveryCountExceeded, None, turn);
        } else if entry.command.expiry_time <= turn.now {
            self.end(device, id, Outcome::Expired, None, turn);
        } else {
            self.timers.remove(&(entry.deadline(), id));
            self.invisible -= usize::from(entry.lock.take().is_some());
            self.timers.insert((entry.deadline(), id));
            turn.step(&entry.command, StepKind::Returned(reason));
        }
    }

    /// Ends a command, for good.
    pub(super) fn end(&mut self, device: &DeviceId, id: CommandId, outcome: Outcome, receiver: Option<Receiver>, turn: &mut Turn<'_>) {
        let Some(queue) = self.queues.get_mut(device) else { return };
        let Some(entry) = queue.remove(id) else { return };
        if queue.is_empty() {
            self.queues.remove(device);
        }
        self.devices.remove(&id);
        self.timers.remove(&(entry.deadline(), id));
        let Entry { mut command, lock, not_sent: _ } = entry;
        self.invisible -= usize::from(lock.is_some());
        Arc::make_mut(&mut command).ended = Some((outcome, turn.now));
        turn.write(CommandWrite::End { command: id, outcome, time: turn.now });
        turn.step(&command, StepKind::Ended { outcome, receiver });
        if command.ack.wants(outcome)
            && let Some(original_message_id) = command.message_id.clone()
        {
            let (now, expiry_time) = (turn.now, turn.now.plus(self.limits.feedback_ttl));
            self.feedback.add(&self.limits, turn, |id| Receipt {
                id,
                command: command.id,
                original_message_id,
                device_id: command.device_id.clone(),
                generation_id: command.generation_id.clone(),
                outcome,
                time: now,
                expiry_time,
                delivery_count: 0,
            });
        }
    }

    /// Ends those of a device's commands that `which` chooses; says how many.
    pub(super) fn end_all(&mut self, device: &DeviceId, outcome: Outcome, turn: &mut Turn<'_>, which: impl Fn(&Command) -> bool) -> usize {
        let Some(queue) = self.queues.get(device) else { return 0 };
        let ids: Vec<CommandId> = queue.iter().map(|entry| &*entry.command).filter(|command| which(command)).map(|c| c.id).collect();
        for id in &ids {
            self.end(device, *id, outcome, None, turn);
        }
        ids.len()
    }

    /// Ends those of a device's commands whose time is up, which a turn has not come to yet.
    pub(super) fn end_overdue(&mut self, device: &DeviceId, turn: &mut Turn<'_>) {
        let Some(queue) = self.queues.get(device) else { return };
        let overdue = queue.iter().filter(|entry| entry.lock.is_none() && entry.command.expiry_time <= turn.now);
        for id in overdue.map(|entry| entry.command.id).collect::<Vec<_>>() {
            self.end(device, id, Outcome::Expired, None, turn);
        }
    }

    pub(super) fn end_former_lives(&mut self, device: &DeviceId, present: Option<&GenerationId>, turn: &mut Turn<'_>) {
        self.end_all(device, Outcome::DeviceDeleted, turn, |command| present != Some(&command.generation_id));
    }
}
