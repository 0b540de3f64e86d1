//! What a group of writes comes to, kind by kind, so that each kind is written with few statements.
//!
//! Decides nothing: the outcome is that of the writes made one by one, in order.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;

use crate::core::command::{Command, CommandId, Outcome, Receipt, ReceiptId, Step};
use crate::core::time::UnixMillis;
use crate::store::commands::CommandWrite;

/// Consecutive writes, by kind. They may be made in the order of the fields, because nothing tells it from the order in which they came:
/// * of two delivery counts the later stays, of two ends the earlier, and neither touches what the other does;
/// * steps keep their order, and look at nothing but whether their command is there;
/// * whatever would be noticed by something earlier begins a new run: see [`runs`].
#[derive(Debug, Default)]
pub(super) struct Run<'w> {
    pub(super) enqueued: Vec<(&'w Command, &'w Bytes)>,
    pub(super) delivery_counts: BTreeMap<CommandId, u32>,
    pub(super) ended: BTreeMap<CommandId, (Outcome, UnixMillis)>,
    pub(super) steps: Vec<(CommandId, &'w Step)>,
    /// At most one of each command.
    pub(super) receipts: BTreeMap<CommandId, &'w Receipt>,
    pub(super) receipt_delivery_counts: BTreeMap<ReceiptId, u32>,
    pub(super) removed_receipts: BTreeSet<ReceiptId>,
    named_commands: HashSet<CommandId>,
}

/// The group, in runs. What comes first in a run must not be preceded by anything that it would have been too late for: a command is
/// enqueued before anything else is said of it, a receipt added before it is counted or removed, and the first receipt of a command
/// stands before a second. Groups keep to that by nature, and so are one run.
pub(super) fn runs(writes: &[CommandWrite]) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for write in writes {
        match runs.last_mut() {
            Some(run) if !run.would_notice(write) => run.push(write),
            _ => {
                let mut run = Run::default();
                run.push(write);
                runs.push(run);
            }
        }
    }
    runs
}

impl<'w> Run<'w> {
    /// Whether the write must come after what is here, and would come before it.
    fn would_notice(&self, write: &CommandWrite) -> bool {
        match write {
            CommandWrite::Enqueue(command, _) => self.named_commands.contains(&command.id),
            CommandWrite::AddReceipt(receipt) => {
                self.receipts.contains_key(&receipt.command)
                    || self.receipt_delivery_counts.contains_key(&receipt.id)
                    || self.removed_receipts.contains(&receipt.id)
            }
            CommandWrite::DeliveryCount(..)
            | CommandWrite::End { .. }
            | CommandWrite::Step(..)
            | CommandWrite::ReceiptDeliveryCount(..)
            | CommandWrite::RemoveReceipts(_) => false,
        }
    }

    fn push(&mut self, write: &'w CommandWrite) {
        match write {
            CommandWrite::Enqueue(command, content) => {
                self.named_commands.insert(command.id);
                self.enqueued.push((command, content));
            }
            CommandWrite::DeliveryCount(id, count) => {
                self.named_commands.insert(*id);
                self.delivery_counts.insert(*id, *count);
            }
            CommandWrite::End { command, outcome, time } => {
                self.named_commands.insert(*command);
                self.ended.entry(*command).or_insert((*outcome, *time));
            }
            CommandWrite::Step(id, step) => {
                self.named_commands.insert(*id);
                self.steps.push((*id, step));
            }
            CommandWrite::AddReceipt(receipt) => {
                self.named_commands.insert(receipt.command);
                self.receipts.insert(receipt.command, receipt);
            }
            CommandWrite::ReceiptDeliveryCount(ids, count) => {
                self.receipt_delivery_counts.extend(ids.iter().map(|id| (*id, *count)));
            }
            CommandWrite::RemoveReceipts(ids) => self.removed_receipts.extend(ids),
        }
    }
}
