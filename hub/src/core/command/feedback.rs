//! The feedback queue of a hub: receipts in the order in which they came to be, received in batches under one lock.
//!
//! A receipt is there to be received at once; nothing is held back to make a batch larger. Every receipt leaves the queue once: taken,
//! expired, handed out too often, pushed out by newer ones, or with its device. Knows no devices' queues.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;

use super::turn::{Happening, Turn};
use super::write::CommandWrite;
use super::{CommandLimits, LockToken, Receipt, ReceiptId, ReceiptLoss, Settlement, StepKind};
use crate::core::device_id::DeviceId;
use crate::core::identity::GenerationId;
use crate::core::time::UnixMillis;

/// How many receipts time takes away or gives back in one turn: as many as requests are decided in one.
const TIMED_RECEIPTS_MAX: usize = 512;

/// Somebody settles what is no longer locked with his token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lock is lost: it has run out, or what it locked is settled")]
pub struct LockLost;

/// Receipts that were received together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptBatch {
    /// Their lock.
    pub token: LockToken,
    /// The receipts, in order; never none.
    pub receipts: Vec<Receipt>,
    /// Until when the lock holds.
    pub locked_until: UnixMillis,
}

/// The queue.
#[derive(Debug, Default)]
pub struct FeedbackQueue {
    receipts: BTreeMap<ReceiptId, Waiting>,
    /// Those that can be received.
    enqueued: BTreeSet<ReceiptId>,
    /// When those expire that can be received.
    expiries: BTreeSet<(UnixMillis, ReceiptId)>,
    of_devices: BTreeSet<(DeviceId, ReceiptId)>,
    batches: HashMap<LockToken, Batch>,
    /// When their locks run out.
    locks: BTreeSet<(UnixMillis, LockToken)>,
    /// Loaded with as many deliveries as may be: they are lost, some in each turn.
    spent: VecDeque<ReceiptId>,
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    receipt: Receipt,
    locked_with: Option<LockToken>,
}

#[derive(Debug)]
struct Batch {
    receipts: BTreeSet<ReceiptId>,
    until: UnixMillis,
}

impl FeedbackQueue {
    /// A queue with these receipts, whose next one is to have the id `next` or a larger one. Locks are of another life: what was handed
    /// out as often as may be is lost, when time passes.
    pub fn load(receipts: Vec<Receipt>, next: u64, limits: &CommandLimits) -> Self {
        let last = receipts.iter().map(|receipt| receipt.id).max();
        let mut queue = Self { next: last.map_or(0, |last| last.0.saturating_add(1)).max(next), ..Self::default() };
        for receipt in receipts {
            let (id, is_spent) = (receipt.id, receipt.delivery_count >= limits.feedback_delivery_count_max);
            queue.insert(receipt);
            if is_spent {
                queue.enqueued.remove(&id);
                queue.spent.push_back(id);
            }
        }
        queue
    }

    /// The receipts after `after`, oldest first, at most `limit`; nobody receives them by that.
    #[must_use]
    pub fn after(&self, after: Option<ReceiptId>, limit: usize) -> Vec<Receipt> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.receipts.range((start, Bound::Unbounded)).take(limit).map(|(_, waiting)| waiting.receipt.clone()).collect()
    }

    /// How many receipts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.receipts.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.receipts.is_empty()
    }

    /// Adds the receipt that `make` makes with its id. The oldest makes room if it must.
    pub fn add(&mut self, limits: &CommandLimits, turn: &mut Turn<'_>, make: impl FnOnce(ReceiptId) -> Receipt) {
        while self.receipts.len() >= limits.feedback_max.max(1) {
            let Some((&oldest, _)) = self.receipts.first_key_value() else { break };
            self.lose(&[oldest], ReceiptLoss::QueueFull, turn);
        }
        let receipt = make(ReceiptId(self.next));
        self.next += 1;
        turn.write(CommandWrite::AddReceipt(receipt.clone()));
        turn.decisions.happenings.push(Happening::Receipt(receipt.clone()));
        self.insert(receipt);
    }

    /// Hands out the oldest receipts, at most `max`, locked together; not those that time has yet to take away.
    pub fn receive(&mut self, max: usize, limits: &CommandLimits, turn: &mut Turn<'_>) -> Option<ReceiptBatch> {
        let is_good = |id: &&ReceiptId| self.receipts.get(id).is_some_and(|waiting| waiting.receipt.expiry_time > turn.now);
        // The overdue ones are the oldest. When they fill all that a turn takes away, the next one finds the others.
        let looked_at = self.enqueued.iter().take(TIMED_RECEIPTS_MAX.saturating_add(max));
        let ids: BTreeSet<ReceiptId> = looked_at.filter(is_good).take(max).copied().collect();
        if ids.is_empty() {
            return None;
        }
        let token = (turn.fresh_token)();
        let locked_until = turn.now.plus(limits.feedback_lock_time);
        let mut receipts = Vec::with_capacity(ids.len());
        let mut counts: BTreeMap<u32, Vec<ReceiptId>> = BTreeMap::new();
        for id in &ids {
            let waiting = self.receipts.get_mut(id).expect("what can be received is there");
            self.enqueued.remove(id);
            self.expiries.remove(&(waiting.receipt.expiry_time, *id));
            waiting.locked_with = Some(token);
            waiting.receipt.delivery_count += 1;
            counts.entry(waiting.receipt.delivery_count).or_default().push(*id);
            receipts.push(waiting.receipt.clone());
        }
        for (count, ids) in counts {
            turn.write(CommandWrite::ReceiptDeliveryCount(ids, count));
        }
        self.locks.insert((locked_until, token));
        self.batches.insert(token, Batch { receipts: ids, until: locked_until });
        Some(ReceiptBatch { token, receipts, locked_until })
    }

    /// Settles a batch. A receipt can't be rejected: it is as good as read.
    pub fn settle(
        &mut self,
        token: LockToken,
        settlement: Settlement,
        limits: &CommandLimits,
        turn: &mut Turn<'_>,
    ) -> Result<(), LockLost> {
        let batch = self.unlock(token, turn.now).ok_or(LockLost)?;
        match settlement {
            Settlement::Complete | Settlement::Reject => {
                let ids: Vec<ReceiptId> = batch.receipts.into_iter().collect();
                self.take_out(&ids, turn, || StepKind::ReceiptRead);
            }
            Settlement::Abandon => self.give_back(&batch, limits, turn),
        }
        Ok(())
    }

    /// Takes out the receipts of a device, or of its former lives when there is such a device now.
    pub fn forget(&mut self, device: &DeviceId, present: Option<&GenerationId>, turn: &mut Turn<'_>) {
        let all = self.of_devices.range((device.clone(), ReceiptId(0))..=(device.clone(), ReceiptId(u64::MAX)));
        let ids = all.map(|(_, id)| *id).filter(|id| present != self.receipts.get(id).map(|waiting| &waiting.receipt.generation_id));
        let ids: Vec<ReceiptId> = ids.collect();
        self.lose(&ids, ReceiptLoss::DeviceDeleted, turn);
    }

    /// Whether a receipt of this device waits.
    #[must_use]
    pub fn has_any_of(&self, device: &DeviceId) -> bool {
        self.of_devices.range((device.clone(), ReceiptId(0))..).next().is_some_and(|(of, _)| of == device)
    }

    /// When time changes something next.
    #[must_use]
    pub fn deadline(&self) -> Option<UnixMillis> {
        let spent = (!self.spent.is_empty()).then_some(UnixMillis(i64::MIN));
        let expiry = self.expiries.first().map(|(time, _)| *time);
        let lock = self.locks.first().map(|(time, _)| *time);
        [spent, expiry, lock].into_iter().flatten().min()
    }

    /// Gives back what was locked long enough, and lets go what is spent or has expired: [`TIMED_RECEIPTS_MAX`] receipts, and what else is
    /// in the last batch. The others stay overdue until the next turn.
    pub fn time_passed(&mut self, limits: &CommandLimits, turn: &mut Turn<'_>) {
        let mut left = TIMED_RECEIPTS_MAX;
        while left > 0
            && let Some((_, token)) = self.locks.first().copied().filter(|(time, _)| *time <= turn.now)
        {
            self.locks.pop_first();
            if let Some(batch) = self.batches.remove(&token) {
                left = left.saturating_sub(batch.receipts.len().max(1));
                self.give_back(&batch, limits, turn);
            }
        }
        let spent: Vec<ReceiptId> = self.spent.drain(..left.min(self.spent.len())).collect();
        left -= spent.len();
        self.lose(&spent, ReceiptLoss::DeliveryCountExceeded, turn);
        let expired = self.expiries.iter().take_while(|(time, _)| *time <= turn.now).take(left);
        let expired: Vec<ReceiptId> = expired.map(|(_, id)| *id).collect();
        self.lose(&expired, ReceiptLoss::Expired, turn);
    }

    fn insert(&mut self, receipt: Receipt) {
        self.enqueued.insert(receipt.id);
        self.expiries.insert((receipt.expiry_time, receipt.id));
        self.of_devices.insert((receipt.device_id.clone(), receipt.id));
        self.receipts.insert(receipt.id, Waiting { receipt, locked_with: None });
    }

    /// Unless its time is up, and has only not come to it yet.
    fn unlock(&mut self, token: LockToken, now: UnixMillis) -> Option<Batch> {
        self.batches.get(&token).filter(|batch| batch.until > now)?;
        let batch = self.batches.remove(&token)?;
        self.locks.remove(&(batch.until, token));
        Some(batch)
    }

    /// Back to their places, from which time takes those that have expired.
    fn give_back(&mut self, batch: &Batch, limits: &CommandLimits, turn: &mut Turn<'_>) {
        let (mut spent, mut expired) = (Vec::new(), Vec::new());
        for id in &batch.receipts {
            let Some(waiting) = self.receipts.get_mut(id) else { continue };
            waiting.locked_with = None;
            let receipt = &waiting.receipt;
            if receipt.delivery_count >= limits.feedback_delivery_count_max {
                spent.push(*id);
            } else if receipt.expiry_time <= turn.now {
                expired.push(*id);
            } else {
                self.enqueued.insert(*id);
                self.expiries.insert((receipt.expiry_time, *id));
            }
        }
        self.lose(&spent, ReceiptLoss::DeliveryCountExceeded, turn);
        self.lose(&expired, ReceiptLoss::Expired, turn);
    }

    fn lose(&mut self, ids: &[ReceiptId], loss: ReceiptLoss, turn: &mut Turn<'_>) {
        self.take_out(ids, turn, || StepKind::ReceiptLost(loss));
    }

    fn take_out(&mut self, ids: &[ReceiptId], turn: &mut Turn<'_>, step: impl Fn() -> StepKind) {
        if ids.is_empty() {
            return;
        }
        for id in ids {
            let Some(Waiting { receipt, locked_with }) = self.receipts.remove(id) else { continue };
            self.enqueued.remove(id);
            self.expiries.remove(&(receipt.expiry_time, *id));
            self.of_devices.remove(&(receipt.device_id.clone(), *id));
            if let Some(batch) = locked_with.and_then(|token| self.batches.get_mut(&token)) {
                batch.receipts.remove(id);
            }
            turn.receipt_step(receipt, step());
        }
        turn.write(CommandWrite::RemoveReceipts(ids.to_vec()));
    }
}
