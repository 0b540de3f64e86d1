//! One turn of the command machine: when it is, and what the requests of the turn come to.
//!
//! Owns nothing but lists. What is in them takes effect when the writes are durable, and not before.

use std::sync::Arc;

use super::write::CommandWrite;
use super::{Command, CommandId, LockToken, Receipt, Receiver, Step, StepKind};
use crate::core::session::ConnectionId;
use crate::core::time::UnixMillis;

/// What a turn is given, and what comes of it.
pub struct Turn<'a> {
    /// When it is, for the whole turn.
    pub now: UnixMillis,
    /// Makes tokens that nobody can guess.
    pub fresh_token: &'a mut dyn FnMut() -> LockToken,
    /// What comes of it.
    pub decisions: Decisions,
}

/// What is to be written, and what is to be done once it is durable.
#[derive(Debug, Default)]
pub struct Decisions {
    /// For the store, in order.
    pub writes: Vec<CommandWrite>,
    /// For those who watch, in order.
    pub happenings: Vec<Happening>,
    /// For devices.
    pub handouts: Vec<Handout>,
    /// Polls for which nothing came in their time.
    pub in_vain: Vec<PollId>,
}

/// Something to be told.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// A command, as the step left it.
    Step(Arc<Command>, Step),
    /// There is a receipt.
    Receipt(Receipt),
    /// The receipt has left the feedback queue: the last step of its command, which has left memory long before.
    ReceiptStep(Receipt, Step),
}

/// A locked command on its way to its device.
#[derive(Clone, Debug, PartialEq)]
pub struct Handout {
    /// Who gets it.
    pub to: Recipient,
    /// What its timeline says of that.
    pub receiver: Receiver,
    /// The command, this delivery counted.
    pub command: Arc<Command>,
    /// Its lock.
    pub token: LockToken,
    /// Until when the lock holds.
    pub locked_until: UnixMillis,
}

/// Who takes a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recipient {
    /// The device's connection, which has subscribed.
    Connection(ConnectionId),
    /// A request of the device, which waits for one.
    Poll(PollId),
}

/// One request for one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PollId(pub u64);

impl<'a> Turn<'a> {
    /// A turn in which nothing has been decided yet.
    pub fn new(now: UnixMillis, fresh_token: &'a mut dyn FnMut() -> LockToken) -> Self {
        Self { now, fresh_token, decisions: Decisions::default() }
    }

    /// To be written.
    pub(super) fn write(&mut self, write: CommandWrite) {
        self.decisions.writes.push(write);
    }

    /// A step of a command, to be written and to be told.
    pub(super) fn step(&mut self, command: &Arc<Command>, kind: StepKind) {
        let step = Step { time: self.now, kind };
        self.write(CommandWrite::Step(command.id, step.clone()));
        self.decisions.happenings.push(Happening::Step(Arc::clone(command), step));
    }

    /// A step of a command that has ended, to be written.
    pub(super) fn late_step(&mut self, command: CommandId, kind: StepKind) {
        self.write(CommandWrite::Step(command, Step { time: self.now, kind }));
    }

    /// A step of a receipt, to be written into its command's timeline and to be told.
    pub(super) fn receipt_step(&mut self, receipt: Receipt, kind: StepKind) {
        let step = Step { time: self.now, kind };
        self.write(CommandWrite::Step(receipt.command, step.clone()));
        self.decisions.happenings.push(Happening::ReceiptStep(receipt, step));
    }
}
