//! Which PUBACKs are owed, in what order, and what each waits for.
//!
//! Owns the bound on what one connection may have waiting for the disk. Never writes a packet.

use std::collections::VecDeque;

use super::packet::PacketId;
use super::session::NotDurable;
use crate::ops::{Fate, Ticket, Watermark};

/// The most messages of one connection that wait for the disk, give or take one read; beyond it the hub stops reading. It is far above
/// any SDK's window and lets one connection fill a group commit.
pub const WAITING_MAX_MESSAGES: usize = 1000;

/// The most bytes of one connection's messages that wait for the disk, give or take one message: several of the largest ones.
pub const WAITING_MAX_BYTES: usize = 1024 * 1024;

/// What an idle connection's queues may keep room for: enough that a device which waits for each PUBACK never makes them grow again.
const IDLE_CAPACITY: usize = 4;

/// What is owed for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The PUBACK; QoS 0 gets none.
    pub packet_id: Option<PacketId>,
    /// How much waits.
    pub bytes: usize,
}

/// Messages that wait for the disk.
#[derive(Debug, Default)]
pub struct Acknowledgements {
    /// The ids of all PUBACKs owed, oldest first; those of staged messages are the last.
    packet_ids: VecDeque<PacketId>,
    /// What has been appended and is not known to be durable, oldest first.
    batches: VecDeque<(Ticket, Batch)>,
    /// What will be appended next.
    staged: Batch,
    /// Sums over `batches` and `staged`.
    waiting: Batch,
}

#[derive(Clone, Copy, Debug, Default)]
struct Batch {
    messages: usize,
    packet_ids: usize,
    bytes: usize,
}

impl Acknowledgements {
    /// One more message is staged.
    pub fn stage(&mut self, receipt: Receipt) {
        for batch in [&mut self.staged, &mut self.waiting] {
            batch.messages += 1;
            batch.packet_ids += usize::from(receipt.packet_id.is_some());
            batch.bytes += receipt.bytes;
        }
        self.packet_ids.extend(receipt.packet_id);
    }

    /// All that was staged waits for `ticket`.
    pub fn appended(&mut self, ticket: Ticket) {
        self.batches.push_back((ticket, std::mem::take(&mut self.staged)));
    }

    /// Hands out the ids of the batches that are durable, up to the first that is not.
    pub fn release(&mut self, watermark: Watermark, mut due: impl FnMut(PacketId)) -> Result<(), NotDurable> {
        while let Some(&(ticket, batch)) = self.batches.front() {
            match watermark.fate(ticket) {
                Fate::Pending => return Ok(()),
                Fate::Failed => return Err(NotDurable),
                Fate::Durable => {}
            }
            self.packet_ids.drain(..batch.packet_ids).for_each(&mut due);
            self.waiting.messages -= batch.messages;
            self.waiting.packet_ids -= batch.packet_ids;
            self.waiting.bytes -= batch.bytes;
            self.batches.pop_front();
        }
        if self.is_empty() {
            self.packet_ids.shrink_to(IDLE_CAPACITY);
            self.batches.shrink_to(IDLE_CAPACITY);
        }
        Ok(())
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.messages == 0
    }

    /// Whether more may be taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.messages < WAITING_MAX_MESSAGES && self.waiting.bytes < WAITING_MAX_BYTES
    }
}
