//! What commands and receipts are on disk: what a starting hub finds there, and the changes that it makes.
//!
//! Owns the two nouns that the rules and the store have in common. Knows neither.

use bytes::Bytes;

use super::{Command, CommandId, Outcome, Receipt, ReceiptId, Step};
use crate::core::time::UnixMillis;

/// Everything that has not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Commands whose `ended` is `None`, by id.
    pub commands: Vec<Command>,
    /// Receipts in the feedback queue, by id.
    pub receipts: Vec<Receipt>,
    /// An id that no command has had: larger than any that was ever committed.
    pub next_command: u64,
    /// The same for receipts.
    pub next_receipt: u64,
}

/// One change to what is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum CommandWrite {
    /// A new command; its `ended` is `None`.
    Enqueue(Command, Bytes),
    /// It has been delivered so often now.
    DeliveryCount(CommandId, u32),
    /// It has ended. A command that has ended already stays as it is. Its content goes unless [`Outcome::keeps_content`].
    End {
        /// Which.
        command: CommandId,
        /// How.
        outcome: Outcome,
        /// When.
        time: UnixMillis,
    },
    /// One more entry of a timeline.
    Step(CommandId, Step),
    /// A receipt enters the feedback queue; a second one of the same command is not kept.
    AddReceipt(Receipt),
    /// Receipts have been received so often now.
    ReceiptDeliveryCount(Vec<ReceiptId>, u32),
    /// Receipts leave the feedback queue.
    RemoveReceipts(Vec<ReceiptId>),
}
