//! How many messages one device sent, minute by minute within an hour: counted without a lock, in half a kilobyte.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::time::UnixMillis;

/// How many minutes are counted, the one that is not over included.
pub const MINUTES: usize = 60;

/// How long a step is.
pub const STEP: Duration = Duration::from_secs(60);

/// What one device sent. Each place of the ring says of which minute since 1970 it is, in its upper half, and how many came in it.
#[derive(Debug)]
pub struct MinuteCounts {
    since: UnixMillis,
    ring: [AtomicU64; MINUTES],
}

/// What one device sent, from the beginning of the first step on, the oldest step first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRate {
    /// When the first step began.
    pub start: UnixMillis,
    /// How many messages came in each; the last one is not over.
    pub messages: Vec<u32>,
}

impl MinuteCounts {
    /// Of a device that sent nothing that was not counted, since then.
    #[must_use]
    pub fn new(since: UnixMillis) -> Self {
        Self { since, ring: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// So many more at `now`.
    pub fn add(&self, now: UnixMillis, messages: usize) {
        let minute = minute(now);
        let more = u32::try_from(messages).unwrap_or(u32::MAX);
        let sum = |before: u64| {
            let (of, count) = (before >> 32, before as u32);
            Some(minute << 32 | u64::from(if of == minute { count.saturating_add(more) } else { more }))
        };
        let _ = self.place(minute).fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
    }

    /// What came in the last minutes, up to `now`.
    #[must_use]
    pub fn rate(&self, now: UnixMillis) -> DeviceRate {
        DeviceRate::of(self.since, now, |minute| self.count(minute))
    }

    /// Whether nothing came in the last minutes.
    #[must_use]
    pub fn is_silent(&self, now: UnixMillis) -> bool {
        let now = minute(now);
        // Also what lies ahead, after the clock was set back, is of no use to anybody.
        (0..MINUTES as u64).all(|ago| self.count(now.saturating_sub(ago)) == 0)
    }

    fn count(&self, minute: u64) -> u32 {
        let place = self.place(minute).load(Ordering::Relaxed);
        if place >> 32 == minute { place as u32 } else { 0 }
    }

    fn place(&self, minute: u64) -> &AtomicU64 {
        &self.ring[(minute % MINUTES as u64) as usize]
    }
}

impl DeviceRate {
    /// Of a device that has sent nothing since then.
    #[must_use]
    pub fn nothing_since(since: UnixMillis, now: UnixMillis) -> Self {
        Self::of(since, now, |_| 0)
    }

    /// Of a device of which nobody knows what it sent before `now`.
    #[must_use]
    pub fn unknown(now: UnixMillis) -> Self {
        Self { start: now, messages: Vec::new() }
    }

    fn of(since: UnixMillis, now: UnixMillis, count: impl Fn(u64) -> u32) -> Self {
        let last = minute(now);
        let first = minute(since).max((last + 1).saturating_sub(MINUTES as u64)).min(last);
        let start = UnixMillis((first * STEP.as_millis() as u64).cast_signed());
        Self { start, messages: (first..=last).map(count).collect() }
    }
}

/// Which minute since 1970.
fn minute(time: UnixMillis) -> u64 {
    let minute = time.0.max(0).cast_unsigned() / STEP.as_millis() as u64;
    minute.min(u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    proptest! {
        /// As a list of all that was ever counted has it.
        #[test]
        fn the_last_minutes_are_those_that_were_counted(sends in proptest::collection::vec((0..400_i64, 0..1000_usize), 0..100)) {
            let counts = MinuteCounts::new(NOW);
            let (mut now, mut all) = (NOW, BTreeMap::<u64, u32>::new());
            for (seconds, messages) in sends {
                now = UnixMillis(now.0 + seconds * 1000);
                counts.add(now, messages);
                *all.entry(minute(now)).or_default() += messages as u32;
                let rate = counts.rate(now);
                let first = minute(rate.start);
                prop_assert!(rate.start.0 % 60_000 == 0 && first == minute(NOW).max(minute(now) - 59));
                let expected: Vec<u32> = (first..=minute(now)).map(|minute| all.get(&minute).copied().unwrap_or_default()).collect();
                prop_assert_eq!(&rate.messages, &expected);
                prop_assert_eq!(counts.is_silent(now), expected.iter().all(|count| *count == 0));
            }
        }
    }

    #[test]
    fn many_may_count_at_once() {
        let counts = MinuteCounts::new(NOW);
        std::thread::scope(|scope| {
            (0..4).for_each(|_| drop(scope.spawn(|| (0..10_000).for_each(|_| counts.add(NOW, 3)))));
        });
        assert_eq!(counts.rate(NOW).messages, [120_000]);
    }

    #[test]
    fn a_clock_that_is_set_back_or_never_right_loses_counts_and_nothing_else() {
        let counts = MinuteCounts::new(NOW);
        let later = NOW.plus(STEP * 90);
        counts.add(later, 5);
        assert_eq!(counts.rate(NOW).messages, [0]);
        counts.add(NOW, 1);
        assert_eq!(counts.rate(NOW).messages, [1]);
        assert!(counts.is_silent(UnixMillis(i64::MIN)) && counts.is_silent(UnixMillis(i64::MAX)));
        counts.add(UnixMillis(i64::MAX), usize::MAX);
        assert_eq!(counts.rate(UnixMillis(i64::MIN)).messages, [0]);
    }

    #[test]
    fn of_what_is_not_known_there_are_no_steps() {
        assert_eq!(DeviceRate::unknown(NOW), DeviceRate { start: NOW, messages: Vec::new() });
        assert_eq!(DeviceRate::nothing_since(NOW, NOW.plus(STEP * 2)).messages, [0; 3]);
        assert_eq!(DeviceRate::nothing_since(NOW, NOW.plus(STEP * 200)).messages, [0; MINUTES]);
    }
}
