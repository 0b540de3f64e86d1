//! Consumer groups and partitions over the last quarter of an hour: how far behind readers are, and whether that grows.

use std::collections::VecDeque;

use super::format::number;
use super::json::object;
use super::shelf::Shelf;
use super::state::{Look, Tone};
use super::time::Moment;

/// Samples that are kept: one a second.
const SAMPLES_MAX: usize = 900;

/// Over how many samples a trend is looked for.
const TREND: usize = 30;

/// Samples that are further apart are no series: what came between them came over a longer time than a second.
const APART_MS: u64 = 3_000;

/// The live link's `groups`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// When it was so.
    pub time: Option<Moment>,
    /// `$Default` first.
    pub consumer_groups: Vec<Group>,
}

object!(Told { time: "time", consumer_groups: "consumerGroups" });

/// A group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// What it is called.
    pub name: String,
    /// Where it is, partition by partition.
    pub partitions: Vec<At>,
}

object!(Group { name: "name", partitions: "partitions" });

/// Where a group is in a partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct At {
    /// Which.
    pub partition: u64,
    /// The last that was delivered, as far as is known.
    pub last_delivered_sequence_number: Option<i64>,
    /// The last there is; -1 before the first.
    pub last_enqueued_sequence_number: i64,
    /// When that came.
    pub last_enqueued_time: Option<Moment>,
    /// Events in between that are kept.
    pub lag_events: u64,
    /// How old the oldest of them is.
    pub lag_seconds: Option<f64>,
    /// Who reads.
    pub readers: Vec<Reader>,
}

object!(At {
    partition: "partition",
    last_delivered_sequence_number: "lastDeliveredSequenceNumber",
    last_enqueued_sequence_number: "lastEnqueuedSequenceNumber",
    last_enqueued_time: "lastEnqueuedTime",
    lag_events: "lagEvents",
    lag_seconds: "lagSeconds",
    readers: "readers"
});

/// Somebody who reads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reader {
    /// What it calls itself.
    pub name: Option<String>,
}

object!(Reader { name: "name" });

impl Group {
    /// Events that are not delivered.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.partitions.iter().map(|at| at.lag_events).sum()
    }

    /// How old the oldest of them is, in milliseconds.
    #[must_use]
    pub fn behind_ms(&self) -> Option<u64> {
        let seconds = self
            .partitions
            .iter()
            .filter_map(|at| at.lag_seconds)
            .fold(None, |most: Option<f64>, next| Some(most.map_or(next, |most| most.max(next))));
        seconds.map(|seconds| (seconds * 1000.0) as u64)
    }

    /// How many read.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.partitions.iter().map(|at| at.readers.len()).sum()
    }

    /// Whether nobody has ever read, as far as is known.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.readers() == 0 && self.partitions.iter().all(|at| at.last_delivered_sequence_number.is_none())
    }
}

/// How it goes with a group.
#[derive(Clone, Debug, PartialEq)]
pub enum Trend {
    /// Nobody has read in it.
    Unused,
    /// Nobody reads, and events wait.
    NotReading,
    /// Nothing waits.
    CaughtUp,
    /// More waits, so many a second.
    Growing(u64),
    /// Less waits, so many a second.
    Shrinking(u64),
    /// It stays as it is.
    Steady,
}

impl Trend {
    /// In a word.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Unused => "never read".to_owned(),
            Self::NotReading => "not reading".to_owned(),
            Self::CaughtUp => "caught up".to_owned(),
            Self::Growing(rate) => format!("growing {}/s", number(*rate)),
            Self::Shrinking(rate) => format!("catching up {}/s", number(*rate)),
            Self::Steady => "steady".to_owned(),
        }
    }

    /// How it is shown.
    #[must_use]
    pub fn look(&self) -> Look {
        match self {
            Self::Unused => Look { glyph: "never", tone: Tone::Mute },
            Self::NotReading => Look { glyph: "rejected", tone: Tone::Bad },
            Self::Growing(_) => Look { glyph: "alert", tone: Tone::Warn },
            Self::CaughtUp | Self::Shrinking(_) | Self::Steady => Look { glyph: "completed", tone: Tone::Ok },
        }
    }

    /// Whether somebody should look.
    #[must_use]
    pub fn falls_behind(&self) -> bool {
        matches!(self, Self::NotReading | Self::Growing(_))
    }
}

/// What has been heard while this page is open.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    latest: Told,
    lags: Shelf<String, VecDeque<u64>>,
    ends: Shelf<u64, VecDeque<i64>>,
}

impl Watched {
    /// Takes a message in.
    pub fn take(&mut self, told: Told) {
        let keep = |samples: usize| samples > SAMPLES_MAX;
        let apart = self.latest.time.zip(told.time).map(|(before, now)| before.millis_until(now));
        if apart.is_some_and(|apart| apart > APART_MS) {
            (self.lags, self.ends) = Default::default();
        }
        self.lags.retain(|name| told.consumer_groups.iter().any(|group| group.name == *name));
        for group in &told.consumer_groups {
            let lags = self.lags.slot(group.name.clone());
            lags.push_back(group.lag());
            if keep(lags.len()) {
                lags.pop_front();
            }
        }
        for at in told.consumer_groups.first().map(|group| &group.partitions).into_iter().flatten() {
            let ends = self.ends.slot(at.partition);
            ends.push_back(at.last_enqueued_sequence_number);
            if keep(ends.len()) {
                ends.pop_front();
            }
        }
        self.latest = told;
    }

    /// The groups, as they are.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.latest.consumer_groups
    }

    /// The partitions' ends, as they are.
    #[must_use]
    pub fn partitions(&self) -> &[At] {
        self.latest.consumer_groups.first().map_or(&[], |group| &group.partitions)
    }

    /// How a group's lag went, the latest last.
    #[must_use]
    pub fn lags(&self, name: &str) -> Vec<f64> {
        self.lags.get(name).into_iter().flatten().map(|lag| *lag as f64).collect()
    }

    /// How many events a second came into a partition, the latest last.
    #[must_use]
    pub fn flow(&self, partition: u64) -> Vec<f64> {
        let ends: Vec<_> = self.ends.get(&partition).into_iter().flatten().copied().collect();
        ends.windows(2).filter_map(|pair| Some((pair.get(1)? - pair.first()?).max(0) as f64)).collect()
    }

    /// How it goes with a group.
    #[must_use]
    pub fn trend(&self, group: &Group) -> Trend {
        let lag = group.lag();
        let lags = self.lags.get(&group.name);
        let samples = lags.map_or(0, VecDeque::len).min(TREND);
        let before = lags.and_then(|lags| lags.get(lags.len().saturating_sub(samples))).copied().unwrap_or(lag);
        let over = samples.saturating_sub(1).max(1) as u64;
        // A hundredth more or less is what comes and goes.
        let (grown, shrunk) = (lag.saturating_sub(before), before.saturating_sub(lag));
        match () {
            () if group.is_unused() => Trend::Unused,
            () if group.readers() == 0 && lag > 0 => Trend::NotReading,
            () if lag == 0 => Trend::CaughtUp,
            () if samples > 4 && grown / over > 0 && grown * 20 > lag.min(20_000) => Trend::Growing(grown / over),
            () if samples > 4 && shrunk / over > 0 && shrunk * 20 > lag.min(20_000) => Trend::Shrinking(shrunk / over),
            () => Trend::Steady,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, lag: u64, reads: bool) -> Group {
        let readers = if reads { vec![Reader::default()] } else { Vec::new() };
        let at = At { lag_events: lag, lag_seconds: Some(1.5), last_delivered_sequence_number: Some(7), readers, ..At::default() };
        Group { name: name.to_owned(), partitions: vec![at.clone(), At { lag_seconds: None, ..at }] }
    }

    fn watched(lags: impl IntoIterator<Item = u64>, reads: bool) -> (Watched, Trend) {
        let mut watched = Watched::default();
        lags.into_iter().for_each(|lag| watched.take(Told { time: None, consumer_groups: vec![group("a", lag, reads)] }));
        let trend = watched.trend(&watched.groups()[0]);
        (watched, trend)
    }

    #[test]
    fn what_came_while_the_link_was_down_is_no_rate() {
        let mut watched = Watched::default();
        let told = |at: i64, end: i64| {
            let mut group = group("a", end as u64, true);
            group.partitions.truncate(1);
            group.partitions.iter_mut().for_each(|at| at.last_enqueued_sequence_number = end);
            Told { time: Some(Moment(at)), consumer_groups: vec![group] }
        };
        for (at, end) in [(1_000, 10), (2_000, 20), (602_000, 6_020), (603_000, 6_030)] {
            watched.take(told(at, end));
        }
        assert_eq!((watched.flow(0), watched.lags("a").len()), (vec![10.0], 2));
    }

    #[test]
    fn a_trend_says_whether_somebody_should_look() {
        for (lags, reads, trend) in [
            (vec![0; 9], true, Trend::CaughtUp),
            (vec![500, 500, 502, 499, 500, 501], true, Trend::Steady),
            ((0..40).map(|at| 1_000 + at * 155).collect(), true, Trend::Growing(310)),
            ((0..40).map(|at| 9_000 - at * 155).collect(), true, Trend::Shrinking(310)),
            (vec![8], false, Trend::NotReading),
        ] {
            assert_eq!(watched(lags.clone(), reads).1, trend, "{lags:?}");
        }
        assert_eq!(Watched::default().trend(&Group::default()), Trend::Unused);
        assert!(Trend::NotReading.falls_behind() && !Trend::Steady.falls_behind());
    }

    #[test]
    fn lags_are_of_all_partitions() {
        let (watched, _) = watched([3, 4], true);
        let group = &watched.groups()[0];
        assert_eq!((group.lag(), group.behind_ms(), group.readers(), watched.lags("a")), (8, Some(1_500), 2, vec![6.0, 8.0]));
    }

    #[test]
    fn what_comes_into_a_partition_is_the_difference() {
        let mut watched = Watched::default();
        for end in [-1, 4, 4, 9] {
            let at = At { partition: 2, last_enqueued_sequence_number: end, ..At::default() };
            watched.take(Told { time: None, consumer_groups: vec![Group { name: "a".to_owned(), partitions: vec![at] }] });
        }
        assert_eq!(watched.flow(2), [5.0, 0.0, 5.0]);
        (0..2_000).for_each(|_| watched.take(Told { time: None, consumer_groups: vec![group("a", 1, true)] }));
        assert_eq!(watched.lags("a").len(), SAMPLES_MAX);
    }
}
