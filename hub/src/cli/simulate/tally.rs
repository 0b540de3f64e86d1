//! What a fleet counts while it runs. Written by all devices at once, without a lock; read by whoever reports.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// log2 of the parts that each power of two of microseconds is divided into: a quantile is right to within 6 %.
const PRECISION_BITS: u32 = 3;

/// Up to 2³² µs, more than an hour.
const BUCKETS: usize = (32 - PRECISION_BITS as usize + 1) << PRECISION_BITS;

/// The counters.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) connected: Counter,
    pub(super) asleep: Counter,
    pub(super) connects: Counter,
    pub(super) reconnects: Counter,
    pub(super) sent: Counter,
    pub(super) acknowledged: Counter,
    pub(super) commands_received: Counter,
    pub(super) commands_completed: Counter,
    pub(super) commands_answered: Counter,
    pub(super) commands_ignored: Counter,
    pub(super) commands_refused: Counter,
    pub(super) errors: Counter,
    pubacks: [Counter; BUCKETS],
    last_error: Mutex<Option<String>>,
}

/// A number that many change and somebody reads.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One fewer, of a number that goes down as well.
    pub(super) fn less(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often each latency was seen, in buckets, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Latencies(Box<[u64]>);

impl Tally {
    pub(super) fn new() -> Self {
        let counter = Counter::default;
        Self {
            connected: counter(),
            asleep: counter(),
            connects: counter(),
            reconnects: counter(),
            sent: counter(),
            acknowledged: counter(),
            commands_received: counter(),
            commands_completed: counter(),
            commands_answered: counter(),
            commands_ignored: counter(),
            commands_refused: counter(),
            errors: counter(),
            pubacks: std::array::from_fn(|_| counter()),
            last_error: Mutex::new(None),
        }
    }

    /// A message was acknowledged so long after it had been sent.
    pub(super) fn acknowledged_after(&self, latency: Duration) {
        self.acknowledged.more();
        self.pubacks[bucket_of(latency)].more();
    }

    /// Something went wrong that nobody had asked for.
    pub(super) fn failed(&self, what: String) {
        self.errors.more();
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }

    /// What went wrong last.
    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The latencies from send to PUBACK until now.
    pub(super) fn latencies(&self) -> Latencies {
        Latencies(self.pubacks.iter().map(Counter::get).collect())
    }
}

impl Latencies {
    /// What was seen since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self(self.0.iter().zip(&before.0).map(|(now, before)| now - before).collect())
    }

    /// The latency that `share` (0 to 1) of them do not exceed; `None` when there is none.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        let total: u64 = self.0.iter().sum();
        let rank = ((total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.0.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_micros(middle_of(bucket)))
    }
}

fn bucket_of(latency: Duration) -> usize {
    let micros = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
    let shift = (31 - (micros | 1).leading_zeros()).saturating_sub(PRECISION_BITS);
    ((shift << PRECISION_BITS) + (micros >> shift)) as usize
}

fn middle_of(bucket: usize) -> u64 {
    let shift = (bucket >> PRECISION_BITS).saturating_sub(1);
    let low = ((bucket - (shift << PRECISION_BITS)) as u64) << shift;
    low + ((1 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_close_to_what_falls_into_it() {
        for micros in (0..4000).chain([65_535, 1_000_000, 3_600_000_000, u64::from(u32::MAX)]) {
            let bucket = bucket_of(Duration::from_micros(micros));
            assert!(bucket < BUCKETS, "{micros}");
            assert!(middle_of(bucket).abs_diff(micros) as f64 <= 0.0625 * micros as f64, "{micros} is read back as {}", middle_of(bucket));
        }
        assert_eq!(bucket_of(Duration::from_secs(1_000_000)), bucket_of(Duration::from_micros(u32::MAX.into())));
    }

    #[test]
    fn quantiles_are_of_what_came_since() {
        let tally = Tally::new();
        tally.acknowledged_after(Duration::from_secs(9));
        let before = tally.latencies();
        assert_eq!(tally.latencies().since(&before).quantile(0.5), None);
        (1..=100).for_each(|ms| tally.acknowledged_after(Duration::from_millis(ms)));
        let now = tally.latencies().since(&before);
        for (share, ms) in [(0.5, 50), (0.99, 99), (1.0, 100)] {
            let got = now.quantile(share).unwrap().as_secs_f64() * 1e3;
            assert!((got - f64::from(ms)).abs() <= f64::from(ms) * 0.07, "{share}: {got}");
        }
        assert_eq!(tally.acknowledged.get(), 101);
    }
}
