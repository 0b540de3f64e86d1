//! How long commands took, as the hub has counted it: so many at most as long as each limit, with the percentiles that people ask for.

use super::json::object;

/// The percentiles that are shown.
pub const PERCENTILES: [u64; 3] = [50, 95, 99];

/// How long commands took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// In milliseconds, the shortest first.
    limits: Vec<u64>,
    /// How many took that long and longer than the limit before, and behind all limits those that took longer.
    counts: Vec<u64>,
}

object!(Latencies { limits: "upToMs", counts: "enqueuedToCompleted" });

/// What is read of `GET /api/v1/rates` for it.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Over all of the span.
    pub latency: Latencies,
}

object!(Told { latency: "latency" });

/// How many took how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Longer than this.
    pub over: u64,
    /// At most this; nothing for those that took longer than the last limit.
    pub most: Option<u64>,
    /// How many.
    pub count: u64,
}

impl Latencies {
    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// One more.
    pub fn add(&mut self, millis: u64) {
        let place = self.limits.partition_point(|limit| *limit < millis);
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
    }

    /// One for each limit, and one for what took longer.
    #[must_use]
    pub fn bars(&self) -> Vec<Bar> {
        let over = [0].into_iter().chain(self.limits.iter().copied());
        let bar = |(place, (over, count)): (usize, (u64, &u64))| Bar { over, most: self.limits.get(place).copied(), count: *count };
        over.zip(&self.counts).enumerate().map(bar).collect()
    }

    /// Within which limit so many percent were done (nearest rank).
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Option<Bar> {
        let rank = (self.total() * percent).div_ceil(100).max(1);
        let mut seen = 0;
        self.bars().into_iter().find(|bar| {
            seen += bar.count;
            seen >= rank
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Latencies {
        let text = r#"{"stepSeconds": 20, "connected": [1], "latency": {"upToMs": [10, 100, 1000], "enqueuedToDelivered": [9],
            "enqueuedToCompleted": [0, 94, 5, 1]}}"#;
        crate::model::json::read::<Told>(text).unwrap().latency
    }

    #[test]
    fn percentiles_are_limits_of_the_hub() {
        let latencies = told();
        assert_eq!(PERCENTILES.map(|percent| latencies.percentile(percent).unwrap().most), [Some(100), Some(1000), Some(1000)]);
        assert_eq!(latencies.percentile(100), Some(Bar { over: 1000, most: None, count: 1 }));
        assert_eq!((Latencies::default().percentile(50), Latencies::default().total()), (None, 0));
    }

    #[test]
    fn every_value_has_a_bar() {
        let mut latencies = told();
        [0, 10, 11, 1_000, 1_001, 86_400_000].into_iter().for_each(|millis| latencies.add(millis));
        let counts: Vec<_> = latencies.bars().iter().map(|bar| bar.count).collect();
        assert_eq!((counts, latencies.total()), (vec![2, 95, 6, 3], 106));
        assert_eq!(latencies.bars()[1], Bar { over: 10, most: Some(100), count: 95 });
        let mut unknown = Latencies::default();
        unknown.add(5);
        assert_eq!(unknown.total(), 0, "without limits nothing is counted");
    }
}
