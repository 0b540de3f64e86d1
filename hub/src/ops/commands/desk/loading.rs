//! The desk begins with what the store has: at its start, and again whenever the store has failed.
//!
//! Until it has, whoever asks is told why not. What cannot be asked again, that a connection has gone or a device was deleted, is kept.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Decided, Desk, GROUP_MAX, take_note};
use crate::core::command::LockToken;
use crate::core::command::turn::Turn;
use crate::core::command::write::Pending;
use crate::ops::commands::lives::Lives;
use crate::ops::commands::request::{Answer, Note, Request};
use crate::store::commands::CommandsError;

/// How long the desk waits, after the store has failed, before it reads from it; doubled with each failure.
const RELOAD_AFTER: Duration = Duration::from_millis(100);

/// The longest of those waits.
const RELOAD_AFTER_MAX: Duration = Duration::from_secs(5);

impl Desk<'_> {
    /// Begins with what the store has, as soon as it answers; whoever asks meanwhile is told why not. False when the desk is to end.
    pub(super) async fn reload(&mut self) -> bool {
        let mut wait = RELOAD_AFTER;
        loop {
            let Err(error) = self.load().await else { return true };
            tracing::error!(%error, "commands can't be read, will try again: {error}");
            let until = Instant::now() + wait;
            loop {
                tokio::select! {
                    biased;
                    () = sleep_until(until) => break,
                    _ = self.inbox.recv_many(&mut self.group, GROUP_MAX) => if !self.refuse_group(&error) {
                        return false;
                    },
                }
            }
            wait = (2 * wait).min(RELOAD_AFTER_MAX);
        }
    }

    async fn load(&mut self) -> Result<(), CommandsError> {
        self.contents = super::Contents::default();
        let pending = self.hub.command_store.load().await?;
        self.say_whose(&pending);
        let lives = Lives::of_devices(self.hub, &self.deleted).await;
        let decisions = {
            let mut fresh_token = || LockToken(rand::random());
            let mut turn = Turn::new(self.hub.now(), &mut fresh_token);
            let mut machine = self.hub.commands.machine();
            machine.load(pending, &mut turn);
            for device in &self.deleted {
                machine.forget(device, lives.since_deletion(device), &mut turn);
            }
            turn.decisions
        };
        self.carry_out(Decided { decisions, ..Decided::default() }).await
    }

    /// Says, at the hub's start, whose commands and receipts there are.
    fn say_whose(&mut self, pending: &Pending) {
        let Some(found) = self.found.take() else { return };
        let of_commands = pending.commands.iter().map(|command| (&command.device_id, &command.generation_id));
        let of_receipts = pending.receipts.iter().map(|receipt| (&receipt.device_id, &receipt.generation_id));
        let mut lives: Vec<_> = of_commands.chain(of_receipts).collect();
        lives.sort_unstable_by_key(|(device, generation)| (*device, &generation.0));
        lives.dedup();
        let _ = found.send(lives.into_iter().map(|(device, generation)| (device.clone(), generation.clone())).collect());
    }

    /// Nobody gets what he asked for; what connections said about themselves counts all the same. False when the desk is to end.
    fn refuse_group(&mut self, error: &CommandsError) -> bool {
        self.shut_out();
        let mut fresh_token = || LockToken(rand::random());
        let mut turn = Turn::new(self.hub.now(), &mut fresh_token);
        let hub = self.hub;
        let mut machine = hub.commands.machine();
        for request in self.group.drain(..) {
            match request {
                Request::Send(_, answer) => refuse(answer, error),
                Request::Poll(_, _, answer) => refuse(answer, error),
                Request::Settle(_, _, _, answer) => refuse(answer, error),
                Request::SettleReceipts(_, _, answer) => refuse(answer, error),
                Request::Purge(_, answer) => refuse(answer, error),
                Request::ReceiveReceipts(_, answer) => refuse(answer, error),
                Request::TakeReceipts(_, answer) => refuse(answer, error),
                Request::AwaitReceipts(_, answer) => refuse(answer, error),
                Request::Changed(_, done) | Request::Pass(done) => {
                    let _ = done.send(());
                }
                Request::Note(Note::Stop) => return false,
                Request::Note(Note::Deleted(device)) => {
                    self.deleted.insert(device);
                }
                // Who takes deliveries outlives the loading; the rest of what this decides does not.
                Request::Note(note) => take_note(&mut machine, note, &Lives::default(), &mut turn),
            }
        }
        true
    }

    /// Those who wait for a command may have been given one that they will never see.
    pub(super) fn refuse_polls(&mut self, error: &CommandsError) {
        for (_, answer) in std::mem::take(&mut self.polls) {
            refuse(answer, error);
        }
    }
}

fn refuse<T>(answer: Answer<T>, error: &CommandsError) {
    answer.give(Err(error.clone()));
}
