//! How long commands take: from being taken to their delivery, and from there to their completion, in fixed buckets.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::{Counted, Totals};
use crate::core::command::{Command, CommandId, Outcome, Step, StepKind};
use crate::core::time::UnixMillis;

/// Up to how many milliseconds each bucket holds; one more holds what took longer.
pub const UP_TO_MS: [u64; 15] = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 1_800_000, 3_600_000];

/// How many buckets there are.
pub const BUCKETS: usize = UP_TO_MS.len() + 1;

/// The most deliveries that are remembered until the device settles them, some 10 MB. One that is forgotten is missing in the counts.
const DELIVERED_MAX: NonZeroUsize = NonZeroUsize::new(100_000).expect("not zero");

/// How long commands took so far.
#[derive(Debug)]
pub struct Latencies {
    /// When each command that has not ended was delivered last.
    delivered: LruCache<CommandId, UnixMillis>,
    enqueued_to_delivered: [u64; BUCKETS],
    delivered_to_completed: [u64; BUCKETS],
    enqueued_to_completed: [u64; BUCKETS],
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            // Unbounded in form, so that nothing is allocated ahead.
            delivered: LruCache::unbounded(),
            enqueued_to_delivered: [0; BUCKETS],
            delivered_to_completed: [0; BUCKETS],
            enqueued_to_completed: [0; BUCKETS],
        }
    }
}

impl Latencies {
    /// Something has happened to a command.
    pub fn step(&mut self, command: &Command, step: &Step) {
        match &step.kind {
            StepKind::Delivered { delivery_count, .. } => {
                if *delivery_count == 1 {
                    count(&mut self.enqueued_to_delivered, command.enqueued_time, step.time);
                }
                self.delivered.put(command.id, step.time);
                if self.delivered.len() > DELIVERED_MAX.get() {
                    self.delivered.pop_lru();
                }
            }
            StepKind::Ended { outcome, .. } => {
                let delivered = self.delivered.pop(&command.id);
                if *outcome == Outcome::Completed {
                    count(&mut self.enqueued_to_completed, command.enqueued_time, step.time);
                    if let Some(delivered) = delivered {
                        count(&mut self.delivered_to_completed, delivered, step.time);
                    }
                }
            }
            StepKind::Enqueued | StepKind::Returned(_) | StepKind::ReceiptRead | StepKind::ReceiptLost(_) | StepKind::SentAgain(_) => {}
        }
    }

    /// Notes in `totals` how far they are.
    pub fn tell(&self, totals: &mut Totals) {
        totals.set(Counted::EnqueuedToDelivered, self.enqueued_to_delivered);
        totals.set(Counted::DeliveredToCompleted, self.delivered_to_completed);
        totals.set(Counted::EnqueuedToCompleted, self.enqueued_to_completed);
    }
}

fn count(buckets: &mut [u64; BUCKETS], from: UnixMillis, to: UnixMillis) {
    let took = u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX);
    buckets[UP_TO_MS.partition_point(|up_to| *up_to < took)] += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::command::{Acknowledgement, Receiver};
    use crate::core::device_id::DeviceId;
    use crate::core::identity::GenerationId;
    use crate::core::session::Protocol;

    fn command(id: u64) -> Command {
        Command {
            id: CommandId(id),
            device_id: DeviceId::parse("D").unwrap(),
            generation_id: GenerationId("1".into()),
            message_id: None,
            ack: Acknowledgement::None,
            sent_by: "service".into(),
            again_of: None,
            size_bytes: 100,
            enqueued_time: UnixMillis(1_000),
            expiry_time: UnixMillis(9_000),
            delivery_count: 0,
            ended: None,
        }
    }

    fn delivered(at: i64, delivery_count: u32) -> Step {
        let receiver = Receiver { protocol: Protocol::Mqtt, connection: None };
        Step { time: UnixMillis(at), kind: StepKind::Delivered { receiver, delivery_count } }
    }

    fn ended(at: i64, outcome: Outcome) -> Step {
        Step { time: UnixMillis(at), kind: StepKind::Ended { outcome, receiver: None } }
    }

    fn filled(buckets: &[u64]) -> Vec<(usize, u64)> {
        buckets.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn a_commands_way_is_counted_in_its_buckets() {
        let (mut latencies, mut totals) = (Latencies::default(), Totals::default());
        let steps = [delivered(1_010, 1), delivered(61_010, 2), ended(61_021, Outcome::Completed)];
        steps.iter().for_each(|step| latencies.step(&command(1), step));
        latencies.tell(&mut totals);
        assert_eq!(filled(totals.of(Counted::EnqueuedToDelivered)), [(0, 1)], "10 ms, and a second delivery is none");
        assert_eq!(filled(totals.of(Counted::DeliveredToCompleted)), [(1, 1)], "11 ms since the last");
        assert_eq!(filled(totals.of(Counted::EnqueuedToCompleted)), [(12, 1)], "60,021 ms");
        assert!(latencies.delivered.is_empty());
    }

    #[test]
    fn what_did_not_complete_is_not_counted_and_what_took_for_ever_is() {
        let (mut latencies, mut totals) = (Latencies::default(), Totals::default());
        for (id, steps) in [(1, [delivered(1_000, 1), ended(1_001, Outcome::Rejected)]), (2, [delivered(99_999_999, 1), delivered(1, 2)])] {
            steps.iter().for_each(|step| latencies.step(&command(id), step));
        }
        latencies.step(&command(2), &ended(1_000, Outcome::Completed));
        latencies.tell(&mut totals);
        assert_eq!(filled(totals.of(Counted::EnqueuedToDelivered)), [(0, 1), (BUCKETS - 1, 1)]);
        assert_eq!(filled(totals.of(Counted::EnqueuedToCompleted)), [(0, 1)]);
        assert_eq!(filled(totals.of(Counted::DeliveredToCompleted)), [(6, 1)]);
    }

    #[test]
    fn so_many_deliveries_are_remembered() {
        let mut latencies = Latencies::default();
        (0..DELIVERED_MAX.get() as u64 + 9).for_each(|id| latencies.step(&command(id), &delivered(2_000, 1)));
        assert_eq!(latencies.delivered.len(), DELIVERED_MAX.get());
    }
}
