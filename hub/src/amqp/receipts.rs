//! Which transfers are owed an answer, in what order, and what each waits for.
//!
//! Owns the bound on what one connection may have waiting for the disk. Never writes a frame.

use std::collections::VecDeque;

use super::engine::LinkId;
use crate::ops::{Fate, Ticket, Watermark};

/// The most messages of one connection that wait for the disk, give or take one transfer; beyond it the hub takes no more. It lets one
/// connection fill a group commit.
pub const WAITING_MAX_MESSAGES: usize = 1000;

/// The most bytes of one connection's messages that wait for the disk, give or take one transfer: several of the largest ones.
pub const WAITING_MAX_BYTES: usize = 1024 * 1024;

/// What an idle connection's queues may keep room for: enough that a device which waits for each answer never makes them grow again.
const IDLE_CAPACITY: usize = 4;

/// What is owed for one transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The link on which it came.
    pub link: LinkId,
    /// Its delivery-id.
    pub delivery: u32,
    /// Whether its sender has forgotten it, and hears nothing.
    pub settled: bool,
    /// How many messages were in it: more than one in a batch.
    pub messages: usize,
    /// How large what is stored of it is.
    pub bytes: usize,
}

/// Transfers that wait for the disk.
#[derive(Debug, Default)]
pub struct Receipts {
    /// All that are owed, oldest first; those of staged transfers are the last.
    owed: VecDeque<Receipt>,
    /// How many of them wait for what, oldest first.
    batches: VecDeque<(Ticket, usize)>,
    /// How many will be appended next.
    staged: usize,
    messages: usize,
    bytes: usize,
}

impl Receipts {
    /// One more transfer is staged.
    pub fn stage(&mut self, receipt: Receipt) {
        self.staged += 1;
        self.messages += receipt.messages;
        self.bytes += receipt.bytes;
        self.owed.push_back(receipt);
    }

    /// All that was staged waits for `ticket`.
    pub fn appended(&mut self, ticket: Ticket) {
        self.batches.push_back((ticket, std::mem::take(&mut self.staged)));
    }

    /// What was staged was not appended: nothing is owed for it.
    pub fn not_appended(&mut self) {
        for _ in 0..std::mem::take(&mut self.staged) {
            if let Some(receipt) = self.owed.pop_back() {
                self.forget(receipt);
            }
        }
    }

    /// Hands out the transfers whose fate is decided, up to the first whose is not, and whether they are durable.
    pub fn release(&mut self, watermark: Watermark, mut decided: impl FnMut(Receipt, bool)) {
        while let Some(&(ticket, count)) = self.batches.front() {
            let durable = match watermark.fate(ticket) {
                Fate::Pending => return,
                Fate::Failed => false,
                Fate::Durable => true,
            };
            self.batches.pop_front();
            for _ in 0..count {
                if let Some(receipt) = self.owed.pop_front() {
                    self.forget(receipt);
                    decided(receipt, durable);
                }
            }
        }
        if self.is_empty() {
            self.owed.shrink_to(IDLE_CAPACITY);
            self.batches.shrink_to(IDLE_CAPACITY);
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// Whether more may be taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.messages < WAITING_MAX_MESSAGES && self.bytes < WAITING_MAX_BYTES
    }

    fn forget(&mut self, receipt: Receipt) {
        self.messages -= receipt.messages;
        self.bytes -= receipt.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::engine::tests::peer::Peer;

    fn receipt(link: LinkId, delivery: u32, messages: usize) -> Receipt {
        Receipt { link, delivery, settled: false, messages, bytes: 10 }
    }

    fn released(receipts: &mut Receipts, epoch: u64, ordinal: u64) -> Vec<(u32, bool)> {
        let mut released = Vec::new();
        receipts.release(Watermark { epoch, ordinal }, |receipt, durable| released.push((receipt.delivery, durable)));
        released
    }

    #[test]
    fn transfers_are_answered_in_order_once_their_fate_is_decided() {
        let link = Peer::with_session(4096, 0).sender(0, 0, 1);
        let mut receipts = Receipts::default();
        for (deliveries, ordinal) in [(&[1, 2][..], 5), (&[3], 6)] {
            deliveries.iter().for_each(|delivery| receipts.stage(receipt(link, *delivery, 2)));
            receipts.appended(Ticket { epoch: 1, ordinal });
        }
        receipts.stage(receipt(link, 4, 1));
        receipts.not_appended();
        assert_eq!(released(&mut receipts, 1, 4), []);
        assert_eq!(released(&mut receipts, 1, 5), [(1, true), (2, true)]);
        assert!(!receipts.is_empty());
        assert_eq!(released(&mut receipts, 2, 9), [(3, false)], "its epoch has ended");
        assert!(receipts.is_empty());
        assert_eq!((receipts.messages, receipts.bytes), (0, 0));
    }

    #[test]
    fn what_waits_is_bounded_by_messages_and_by_bytes() {
        let link = Peer::with_session(4096, 0).sender(0, 0, 1);
        let mut receipts = Receipts::default();
        receipts.stage(receipt(link, 1, WAITING_MAX_MESSAGES));
        assert!(!receipts.has_room());
        receipts.not_appended();
        assert!(receipts.has_room());
        receipts.stage(Receipt { bytes: WAITING_MAX_BYTES, ..receipt(link, 1, 1) });
        assert!(!receipts.has_room());
    }
}
