//! A histogram of latencies with a fixed size: recording allocates nothing and costs a shift and an addition.
//! Buckets are linear within each power of two, so a percentile is right to within 1.6 %.

use std::time::Duration;

/// log2 of the number of buckets that one power of two is divided into.
const PRECISION_BITS: u32 = 6;
const BUCKETS_PER_POWER: usize = 1 << PRECISION_BITS;
/// Enough for every `u64` of nanoseconds.
const BUCKETS: usize = (64 - PRECISION_BITS as usize) * BUCKETS_PER_POWER + BUCKETS_PER_POWER;

pub struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0 }
    }

    pub fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket_of(nanoseconds)] += 1;
        self.total += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts.iter()) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    pub fn count(&self) -> u64 {
        self.total
    }

    /// The latency that `share` (0 to 1) of the recorded ones do not exceed; zero when none was recorded.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(middle_of(bucket));
            }
        }
        Duration::ZERO
    }
}

fn bucket_of(nanoseconds: u64) -> usize {
    let shift = (63 - (nanoseconds | 1).leading_zeros()).saturating_sub(PRECISION_BITS);
    ((shift as usize) << PRECISION_BITS) + (nanoseconds >> shift) as usize
}

fn middle_of(bucket: usize) -> u64 {
    let shift = (bucket >> PRECISION_BITS).saturating_sub(1);
    let low = ((bucket - (shift << PRECISION_BITS)) as u64) << shift;
    low + ((1u64 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_close_to_their_values() {
        let mut previous = 0;
        for exponent in 0..64 {
            for value in [1u64 << exponent, (1u64 << exponent) + (1u64 << exponent) / 3, u64::MAX >> (63 - exponent)] {
                let bucket = bucket_of(value);
                assert!(bucket >= previous && bucket < BUCKETS, "{value} fell into {bucket} after {previous}");
                previous = bucket;
                let error = middle_of(bucket).abs_diff(value) as f64 / value as f64;
                assert!(error <= 0.016, "{value} is read back as {}", middle_of(bucket));
            }
        }
    }

    #[test]
    fn quantiles_of_a_uniform_sequence() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        assert_eq!(histogram.count(), 1000);
        for (share, expected_us) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let got_us = histogram.quantile(share).as_secs_f64() * 1e6;
            assert!((got_us - expected_us).abs() / expected_us < 0.02, "{share}: {got_us}");
        }
    }

    #[test]
    fn an_empty_histogram_has_no_latency() {
        assert_eq!(Histogram::new().quantile(0.99), Duration::ZERO);
    }
}
