//! Back ends that wait for receipts: in a queue of their own, so that several share what comes, one array each in turn.

use std::collections::VecDeque;

use super::{Desk, Release, later};
use crate::core::command::machine::CommandMachine;
use crate::core::command::turn::Turn;
use crate::ops::commands::request::{Answer, ReceiptsInHand};
use crate::store::commands::CommandsError;

/// How many wait at least before those who have stopped waiting are looked for.
const LOOKED_THROUGH_MIN: usize = 64;

/// Those who wait, longest first: a link each. Who has stopped waiting stays until as many as were left last time have come, so the queue
/// is never more than twice as long as there are links, or [`LOOKED_THROUGH_MIN`].
#[derive(Default)]
pub(super) struct Waiting {
    queue: VecDeque<(usize, Answer<ReceiptsInHand>)>,
    looked_through_at: usize,
}

impl Waiting {
    /// From here on it takes nobody's room.
    pub(super) fn join(&mut self, max: usize, mut answer: Answer<ReceiptsInHand>) {
        if self.queue.len() >= self.looked_through_at.max(LOOKED_THROUGH_MIN) {
            self.queue.retain(|(_, answer)| answer.is_awaited());
            self.looked_through_at = 2 * self.queue.len();
        }
        answer.make_room();
        self.queue.push_back((max, answer));
    }

    /// There is nothing for them now, and nobody knows when there will be.
    pub(super) fn refuse(&mut self, error: &CommandsError) {
        for (_, answer) in self.queue.drain(..) {
            answer.give(Err(error.clone()));
        }
    }
}

impl Desk<'_> {
    /// Hands receipts to whoever asks for them now.
    pub(super) fn take_receipts(&self, max: usize, machine: &mut CommandMachine, turn: &mut Turn<'_>) -> Option<ReceiptsInHand> {
        machine.receive_receipts(max, turn).map(|batch| ReceiptsInHand::new(batch, self.hub.commands.sender()))
    }

    /// Hands the receipts that nobody has to those who wait: an array to each, in turn.
    pub(super) fn hand_out_receipts(&mut self, machine: &mut CommandMachine, turn: &mut Turn<'_>, answers: &mut Vec<Release>) {
        while let Some((max, answer)) = self.receipts_wanted.queue.pop_front() {
            if !answer.is_awaited() {
                continue;
            }
            let Some(receipts) = self.take_receipts(max, machine, turn) else {
                return self.receipts_wanted.queue.push_front((max, answer));
            };
            answers.push(later(answer, receipts));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{Semaphore, oneshot};

    use super::*;

    #[test]
    fn those_who_came_and_went_are_not_kept() {
        let (mut waiting, mut stay) = (Waiting::default(), Vec::new());
        for number in 0..10_000 {
            let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
            let (answer, asked) = oneshot::channel();
            waiting.join(64, Answer::new(answer, room));
            if number % 100 == 0 {
                stay.push(asked);
            }
            assert!(waiting.queue.len() <= LOOKED_THROUGH_MIN.max(2 * stay.len()), "{} for {}", waiting.queue.len(), stay.len());
        }
        assert!(waiting.queue.iter().filter(|(_, answer)| answer.is_awaited()).count() == stay.len());
    }
}
