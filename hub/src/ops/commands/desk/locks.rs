//! Locks that end without a word of those who hold them: time is up, or the hub ends.

use super::{Decided, Desk, LockToken, TIMED_COMMANDS_MAX, Turn};
impl Desk<'_> {
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
