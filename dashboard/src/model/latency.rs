//! How long commands took, in bars on a logarithmic scale, with the percentiles that people ask for.

use super::scale::waterfall;

/// Bars from 1 ms to 1 h: four and a bit to a power of ten.
pub const BARS: usize = 28;

/// The percentiles that are shown.
pub const PERCENTILES: [u8; 3] = [50, 95, 99];

/// How long some commands took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// In milliseconds, the shortest first.
    sorted: Vec<u64>,
}

impl Latencies {
    /// Of these, in milliseconds.
    #[must_use]
    pub fn of(millis: impl IntoIterator<Item = u64>) -> Self {
        let mut sorted: Vec<_> = millis.into_iter().collect();
        sorted.sort_unstable();
        Self { sorted }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// How many fall into each bar.
    #[must_use]
    pub fn bars(&self) -> [u64; BARS] {
        let mut bars = [0; BARS];
        for millis in &self.sorted {
            let index = ((waterfall(*millis) * BARS as f64) as usize).min(BARS - 1);
            if let Some(bar) = bars.get_mut(index) {
                *bar += 1;
            }
        }
        bars
    }

    /// So many percent took this long or less (nearest rank).
    #[must_use]
    pub fn percentile(&self, percent: u8) -> Option<u64> {
        let rank = (self.sorted.len() * usize::from(percent)).div_ceil(100);
        self.sorted.get(rank.saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let latencies = Latencies::of((1..=200).rev());
        assert_eq!(PERCENTILES.map(|percent| latencies.percentile(percent)), [Some(100), Some(190), Some(198)]);
        assert_eq!((Latencies::of([7]).percentile(50), Latencies::of([7]).percentile(99)), (Some(7), Some(7)));
        assert_eq!(Latencies::default().percentile(50), None);
    }

    #[test]
    fn every_value_has_a_bar() {
        let latencies = Latencies::of([0, 1, 94, 3_600_000, 86_400_000]);
        let bars = latencies.bars();
        assert_eq!((bars[0], bars[BARS - 1], bars.iter().sum::<u64>()), (2, 2, 5));
    }
}
