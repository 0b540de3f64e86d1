//! What time does: commands expire, locks run out, polls end, and a hub that has begun anew catches up.
//!
//! Owns the bounds of one turn. However much falls due together, a turn does some of it, and [`CommandMachine::deadline`] then asks for the
//! next turn at once: writes stay small, and whoever asks meanwhile gets his turn too.

use super::{CommandMachine, Turn};
use crate::core::command::{CommandId, LockToken, Outcome, ReturnReason};
use crate::core::device_id::DeviceId;
use crate::core::session::ConnectionId;
use crate::core::time::UnixMillis;

/// How many commands time ends or gives back in one turn: as many as requests are decided in one.
pub const TIMED_COMMANDS_MAX: usize = 512;

/// How many polls end in one turn.
const ENDED_POLLS_MAX: usize = TIMED_COMMANDS_MAX;

/// How many devices that were connected before a reload are offered their commands in one turn: each takes up to a window of contents,
/// which together are 32 MiB when all are as large as can be.
const OFFERED_DEVICES_MAX: usize = 64;

/// Earlier than any time that a turn can have.
const AT_ONCE: UnixMillis = UnixMillis(i64::MIN);

impl CommandMachine {
    /// When time does something next.
    #[must_use]
    pub fn deadline(&self) -> Option<UnixMillis> {
        let behind = !(self.spent.is_empty() && self.to_be_offered.is_empty());
        let command = self.timers.first().map(|(time, _)| *time);
        let all = [behind.then_some(AT_ONCE), command, self.recipients.deadline(), self.feedback.deadline()];
        all.into_iter().flatten().min()
    }

    /// Does what time does, up to the bounds of a turn.
    pub fn time_passed(&mut self, turn: &mut Turn<'_>) {
        let mut left = self.end_spent(turn);
        let mut returned = Vec::new();
        while left > 0
            && let Some((_, id)) = self.timers.first().copied().filter(|(time, _)| *time <= turn.now)
        {
            left -= 1;
            // Whatever becomes of the command, this timer has gone off.
            self.timers.pop_first();
            let Some(device) = self.devices.get(&id).cloned() else { continue };
            if self.locked_until(id).is_some() {
                self.give_back(&device, id, ReturnReason::LockExpired, turn);
                returned.push(device);
            } else {
                self.end(&device, id, Outcome::Expired, None, turn);
            }
        }
        let newly_loaded = self.to_be_offered.len().min(OFFERED_DEVICES_MAX);
        returned.extend(self.to_be_offered.drain(..newly_loaded));
        for device in returned {
            self.offer(&device, turn);
        }
        self.feedback.time_passed(&self.limits, turn);
        self.recipients.end_polls(ENDED_POLLS_MAX, turn);
    }

    /// Ends one command of any device whose time is up, which a turn has not come to yet. Overdue locks keep their turn: whether their
    /// deliveries count must be found out first. Looks at as many timers as one turn would.
    pub(super) fn end_one_overdue(&mut self, turn: &mut Turn<'_>) {
        let mut due = self.timers.iter().take_while(|(time, _)| *time <= turn.now).take(TIMED_COMMANDS_MAX);
        let unlocked = |id: CommandId| self.devices.get(&id).filter(|_| self.locked_until(id).is_none()).cloned();
        if let Some((device, id)) = due.find_map(|(_, id)| Some((unlocked(*id)?, *id))) {
            self.end(&device, id, Outcome::Expired, None, turn);
        }
    }

    /// Ends commands that were delivered as often as may be in a former life; says how many more may end in this turn.
    fn end_spent(&mut self, turn: &mut Turn<'_>) -> usize {
        let now = self.spent.len().min(TIMED_COMMANDS_MAX);
        for id in self.spent.drain(..now).collect::<Vec<_>>() {
            if let Some(device) = self.devices.get(&id).cloned() {
                self.end(&device, id, Outcome::DeliveryCountExceeded, None, turn);
            }
        }
        TIMED_COMMANDS_MAX - now
    }

    /// Those locks of connections that [`Self::time_passed`] would take away at `now`, up to the bounds of a turn.
    #[must_use]
    pub fn overdue_locks(&self, now: UnixMillis) -> Vec<(DeviceId, ConnectionId, LockToken)> {
        let due = self.timers.iter().take_while(|(time, _)| *time <= now).take(TIMED_COMMANDS_MAX);
        let lock = |id: CommandId| {
            let device = self.devices.get(&id)?;
            let lock = self.queues.get(device)?.get(id)?.lock.as_ref()?;
            Some((device.clone(), lock.receiver.connection?, lock.token))
        };
        due.filter_map(|(_, id)| lock(*id)).collect()
    }

    /// What is locked, in order: what a hub that ends has to give back.
    #[must_use]
    pub fn locked(&self) -> Vec<CommandId> {
        let all = self.queues.values().flat_map(|queue| queue.iter());
        let mut locked: Vec<CommandId> = all.filter(|entry| entry.lock.is_some()).map(|entry| entry.command.id).collect();
        locked.sort_unstable();
        locked
    }

    /// The hub ends: these go back, so that their timelines say so. Nothing is offered any more.
    pub fn shut_down(&mut self, locked: &[CommandId], turn: &mut Turn<'_>) {
        for id in locked {
            if let Some(device) = self.devices.get(id).cloned() {
                self.give_back(&device, *id, ReturnReason::HubRestarted, turn);
            }
        }
        let polls = self.recipients.drop_polls();
        turn.decisions.in_vain.extend(polls);
    }
}
