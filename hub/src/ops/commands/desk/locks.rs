//! Locks that end without a word of those who hold them: time is up, or the hub ends.

use super::{Decided, Desk};
use crate::core::command::LockToken;
use crate::core::command::machine::TIMED_COMMANDS_MAX;
use crate::core::command::turn::Turn;
use crate::core::device_id::DeviceId;
use crate::core::time::UnixMillis;

impl Desk<'_> {
    /// Takes back out of mailboxes what lies there although its lock runs out now: its connection has not come to sending it, so it does
    /// not count as delivered, and must not be sent without a lock.
    pub(super) fn take_back_unsent(&self, now: UnixMillis) -> Vec<(DeviceId, LockToken)> {
        // The machine is asked first and let go: nobody who holds it waits for presence.
        let overdue = self.hub.commands.machine().overdue_locks(now);
        let is_unsent = |(device, connection, token): (DeviceId, _, LockToken)| {
            let session = self.hub.presence.session(&device, connection)?;
            session.mailbox().take_back(token).then_some((device, token))
        };
        overdue.into_iter().filter_map(is_unsent).collect()
    }

    /// Gives everything back that is locked, so that its timeline says so, in groups that the store soon has done. When that fails, the
    /// hub that starts next finds it enqueued all the same.
    pub(super) async fn give_all_back(&mut self) {
        let locked = self.hub.commands.machine().locked();
        let mut rest = &locked[..];
        loop {
            let (piece, later) = rest.split_at(rest.len().min(TIMED_COMMANDS_MAX));
            let decisions = {
                let mut fresh_token = || LockToken(rand::random());
                let mut turn = Turn::new(self.hub.now(), &mut fresh_token);
                self.hub.commands.machine().shut_down(piece, &mut turn);
                turn.decisions
            };
            if let Err(error) = self.carry_out(Decided { decisions, ..Decided::default() }).await {
                tracing::error!(%error, "what is locked can't be given back: {error}");
                return;
            }
            if later.is_empty() {
                return;
            }
            rest = later;
        }
    }
}
