//! What has been going on, in numbers: counts by minute and by reason, and how a number went. Bounded whatever happens.

use std::collections::{BTreeMap, VecDeque};

use super::change::Change;
use super::time::Moment;

const MINUTE_MS: i64 = 60_000;

/// Minutes that are remembered: an hour.
pub const MINUTES: usize = 60;

/// Different reasons in one minute; what comes on top is counted as `other`.
const REASONS_MAX: usize = 40;

/// Counts of the last hour by minute, each by reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PerMinute {
    /// The oldest first; minutes without anything are not there.
    minutes: VecDeque<(i64, BTreeMap<String, u64>)>,
}

impl PerMinute {
    /// One more, of this reason, at this time. What is older than an hour is forgotten.
    pub fn add(&mut self, at: Moment, reason: &str) {
        let minute = at.0.div_euclid(MINUTE_MS);
        let index = match self.minutes.binary_search_by_key(&minute, |(found, _)| *found) {
            Ok(index) => index,
            Err(index) => {
                self.minutes.insert(index, (minute, BTreeMap::new()));
                index
            }
        };
        if let Some((_, reasons)) = self.minutes.get_mut(index) {
            let full = reasons.len() >= REASONS_MAX && !reasons.contains_key(reason);
            *reasons.entry(if full { "other" } else { reason }.to_owned()).or_default() += 1;
        }
        let newest = self.minutes.back().map_or(minute, |(newest, _)| *newest);
        while self.minutes.front().is_some_and(|(oldest, _)| *oldest <= newest - MINUTES as i64) {
            self.minutes.pop_front();
        }
    }

    /// How many in each of the last minutes, the present one last.
    #[must_use]
    pub fn counts(&self, now: Moment) -> [u64; MINUTES] {
        let mut counts = [0; MINUTES];
        let first = now.0.div_euclid(MINUTE_MS) - MINUTES as i64 + 1;
        for (minute, reasons) in &self.minutes {
            if let Some(count) = usize::try_from(minute - first).ok().and_then(|index| counts.get_mut(index)) {
                *count = reasons.values().sum();
            }
        }
        counts
    }

    /// The same of one reason.
    #[must_use]
    pub fn counts_of(&self, reason: &str, now: Moment) -> [u64; MINUTES] {
        let only = |(minute, reasons): &(i64, BTreeMap<String, u64>)| {
            let count = reasons.get(reason)?;
            Some((*minute, BTreeMap::from([(reason.to_owned(), *count)])))
        };
        Self { minutes: self.minutes.iter().filter_map(only).collect() }.counts(now)
    }

    /// How many of each reason since then, the most frequent first.
    #[must_use]
    pub fn by_reason(&self, since: Moment) -> Vec<(String, u64)> {
        let first = since.0.div_euclid(MINUTE_MS);
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, reasons) in self.minutes.iter().filter(|(minute, _)| *minute >= first) {
            reasons.iter().for_each(|(reason, count)| *sums.entry(reason).or_default() += count);
        }
        let mut sums: Vec<_> = sums.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
        sums.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        sums
    }
}

/// How a number went: a sample a second for a quarter of an hour, and one in 20 s for a day.
#[derive(Clone, Debug)]
pub struct History {
    fine: Ring,
    coarse: Ring,
}

impl Default for History {
    fn default() -> Self {
        Self {
            fine: Ring { step_ms: 1_000, room: 900, samples: VecDeque::new() },
            coarse: Ring { step_ms: 20_000, room: 4_320, samples: VecDeque::new() },
        }
    }
}

#[derive(Clone, Debug)]
struct Ring {
    step_ms: i64,
    room: usize,
    samples: VecDeque<(Moment, f64)>,
}

impl History {
    /// It is so now.
    pub fn record(&mut self, at: Moment, value: f64) {
        self.fine.record(at, value);
        self.coarse.record(at, value);
    }

    /// What is known of the time since then, the oldest first, in the finest steps that reach so far.
    #[must_use]
    pub fn since(&self, since: Moment, now: Moment) -> Vec<(Moment, f64)> {
        let reach = self.fine.step_ms as u64 * self.fine.room as u64;
        let ring = if since.millis_until(now) <= reach { &self.fine } else { &self.coarse };
        // One before, so that the line begins at the edge.
        let first = ring.samples.partition_point(|(at, _)| *at < since).saturating_sub(1);
        ring.samples.iter().skip(first).copied().collect()
    }
}

impl Ring {
    /// The newest value of each step counts.
    fn record(&mut self, at: Moment, value: f64) {
        let step = at.0.div_euclid(self.step_ms);
        match self.samples.back_mut() {
            Some((newest, kept)) if newest.0.div_euclid(self.step_ms) == step => (*newest, *kept) = (at, value),
            _ => self.samples.push_back((at, value)),
        }
        while self.samples.len() > self.room {
            self.samples.pop_front();
        }
    }
}

/// Many connections that were lost at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Drop {
    /// When it began.
    pub began: Moment,
    /// When the last was lost.
    pub ended: Moment,
    /// How many were lost.
    pub lost: u64,
    /// How many connections came since.
    pub back: u64,
    /// Why, in the API's word, if all had one reason.
    pub reason: Option<String>,
}

/// Connections lost within so long of each other belong together.
const DROP_GAP_MS: u64 = 5_000;

/// Fewer lost connections than this are everyday life.
const DROP_MIN: u64 = 5;

/// What this page has seen happen.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    /// Connections that came.
    pub connects: PerMinute,
    /// Connections that ended, by reason.
    pub disconnects: PerMinute,
    /// Refusals, by reason.
    pub refusals: PerMinute,
    /// Receipts, by how their commands ended.
    pub receipts: PerMinute,
    /// Steps of commands.
    pub steps: PerMinute,
    latest_drop: Option<Drop>,
    running: Option<Drop>,
}

impl Activity {
    /// Counts what has happened. What merely is, as in a snapshot, is not for here.
    pub fn apply(&mut self, change: &Change, now: Moment) {
        match change {
            Change::Presence(presence) if presence.is_connect() => {
                self.connects.add(presence.time, "connect");
                if let Some(drop) = self.running.as_mut().or(self.latest_drop.as_mut()).filter(|drop| presence.time >= drop.began) {
                    drop.back = (drop.back + 1).min(drop.lost);
                }
            }
            Change::Presence(presence) => {
                let reason = presence.reason.as_deref().unwrap_or("other");
                self.disconnects.add(presence.time, reason);
                if !presence.device_connected {
                    self.lost(presence.time, reason);
                }
            }
            Change::Refusal(refusal) => self.refusals.add(refusal.time, &refusal.reason),
            Change::Receipt(receipt) if receipt.step.is_none() => self.receipts.add(receipt.enqueued_time_utc, &receipt.status_code),
            Change::Command(_, Some(step)) => self.steps.add(step.time, &step.step),
            Change::Command(_, None) | Change::Receipt(_) | Change::Written(_) | Change::Deleted(_) => {}
        }
        if self.running.as_ref().is_some_and(|drop| drop.ended.millis_until(now) > DROP_GAP_MS) {
            self.settle();
        }
    }

    /// The last time that many devices were lost at once, within the last hour.
    #[must_use]
    pub fn latest_drop(&self, now: Moment) -> Option<&Drop> {
        let running = self.running.as_ref().filter(|drop| drop.lost >= DROP_MIN);
        running.or(self.latest_drop.as_ref()).filter(|drop| drop.began.millis_until(now) < (MINUTES as u64) * 60_000)
    }

    fn lost(&mut self, at: Moment, reason: &str) {
        match &mut self.running {
            Some(drop) if drop.ended.millis_until(at) <= DROP_GAP_MS => {
                drop.ended = drop.ended.max(at);
                drop.lost += 1;
                if drop.reason.as_deref() != Some(reason) {
                    drop.reason = None;
                }
            }
            _ => {
                self.settle();
                self.running = Some(Drop { began: at, ended: at, lost: 1, back: 0, reason: Some(reason.to_owned()) });
            }
        }
    }

    fn settle(&mut self) {
        if let Some(drop) = self.running.take().filter(|drop| drop.lost >= DROP_MIN) {
            self.latest_drop = Some(drop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::Presence;

    const NOW: Moment = Moment(1_700_000_040_000);

    fn presence(at: Moment, reason: Option<&str>) -> Change {
        Change::Presence(Presence {
            device_id: "d".to_owned(),
            connection: "1".to_owned(),
            protocol: "mqtt".to_owned(),
            address: "192.0.2.1".to_owned(),
            time: at,
            state: if reason.is_some() { "disconnected" } else { "connected" }.to_owned(),
            reason: reason.map(str::to_owned),
            device_connected: reason.is_none(),
        })
    }

    #[test]
    fn counts_go_by_minute_and_by_reason_and_an_hour_is_kept() {
        let mut counts = PerMinute::default();
        counts.add(NOW, "a");
        counts.add(NOW.plus(-60_000), "b");
        counts.add(NOW.plus(-60_000), "b");
        counts.add(NOW.plus(-3_600_000), "old");
        let by_minute = counts.counts(NOW);
        assert_eq!((by_minute[59], by_minute[58], by_minute.iter().sum::<u64>()), (1, 2, 3));
        assert_eq!(counts.by_reason(NOW.plus(-3_540_000)), [("b".to_owned(), 2), ("a".to_owned(), 1)]);
        assert_eq!(counts.counts_of("b", NOW).iter().sum::<u64>(), 2);
        counts.add(NOW.plus(3_600_000), "new");
        assert_eq!(counts.by_reason(Moment(0)), [("new".to_owned(), 1)]);
    }

    #[test]
    fn strangers_words_do_not_fill_the_memory() {
        let mut counts = PerMinute::default();
        (0..1000).for_each(|reason| counts.add(NOW, &reason.to_string()));
        let reasons = counts.by_reason(NOW);
        assert_eq!((reasons.len(), reasons[0].clone()), (REASONS_MAX + 1, ("other".to_owned(), 1000 - REASONS_MAX as u64)));
    }

    #[test]
    fn a_history_answers_in_the_finest_steps_that_reach_so_far() {
        let mut history = History::default();
        (0..3600).for_each(|second| history.record(NOW.plus(second * 1000), second as f64));
        let end = NOW.plus(3_599_000);
        let fine = history.since(end.plus(-10_000), end);
        assert_eq!((fine.len(), fine[0].1, fine[11].1), (12, 3588.0, 3599.0));
        let coarse = history.since(end.plus(-3_600_000), end);
        assert_eq!((coarse.len(), coarse.last().unwrap().1), (180, 3599.0));
    }

    #[test]
    fn many_that_are_lost_at_once_are_one_drop() {
        let mut activity = Activity::default();
        for index in 0..12 {
            let at = NOW.plus(index * 100);
            activity.apply(&presence(at, Some("KeepAliveTimeout")), at);
        }
        let later = NOW.plus(10_000);
        activity.apply(&presence(later, None), later);
        let drop = activity.latest_drop(later).unwrap();
        assert_eq!((drop.began, drop.lost, drop.back, drop.reason.as_deref()), (NOW, 12, 1, Some("KeepAliveTimeout")));
        assert_eq!(activity.latest_drop(NOW.plus(3_600_000)), None);
    }

    #[test]
    fn one_now_and_then_is_no_drop() {
        let mut activity = Activity::default();
        for index in 0..20 {
            let at = NOW.plus(index * 6_000);
            activity.apply(&presence(at, Some("ConnectionLost")), at);
        }
        assert_eq!(activity.latest_drop(NOW.plus(120_000)), None);
        assert_eq!(activity.disconnects.counts(NOW.plus(120_000)).iter().sum::<u64>(), 20);
    }
}
