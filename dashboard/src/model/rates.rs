//! How much of everything there was, second by second: what the hub counts once for all browsers, kept for as far back as a chart reaches.

use std::collections::VecDeque;

use super::json::object;
use super::order::sorted;
use super::shelf::Shelf;
use super::time::Moment;

/// Counts by a word of the API.
pub type ByReason = Shelf<String, u64>;

/// What happened in one step of time, and how things stood at its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// When it began, of a whole second.
    pub time: Option<Moment>,
    /// Devices with a connection.
    pub connected: u64,
    /// Connections that came.
    pub connects: u64,
    /// Connections that ended.
    pub disconnects: ByReason,
    /// Device to cloud.
    pub events: Flow,
    /// Cloud to device.
    pub commands: CommandFlow,
    /// What came back.
    pub receipts: ReceiptFlow,
    /// Who was not let in.
    pub refusals: ByReason,
    /// What was turned away for being too much.
    pub throttled: u64,
    /// What waits.
    pub backlog: Backlog,
}

object!(Sample {
    time: "time",
    connected: "connected",
    connects: "connects",
    disconnects: "disconnects",
    events: "events",
    commands: "commands",
    receipts: "receipts",
    refusals: "refusals",
    throttled: "throttled",
    backlog: "backlog"
});

/// Messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// How many.
    pub messages: u64,
    /// How large together.
    pub bytes: u64,
}

object!(Flow { messages: "messages", bytes: "bytes" });

/// Commands on their way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommandFlow {
    /// Sent.
    pub enqueued: u64,
    /// How large together.
    pub bytes: u64,
    /// Handed to devices.
    pub delivered: u64,
    /// Ended, by outcome.
    pub ended: ByReason,
}

object!(CommandFlow { enqueued: "enqueued", bytes: "bytes", delivered: "delivered", ended: "ended" });

/// Receipts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReceiptFlow {
    /// By their commands' outcome.
    pub made: ByReason,
    /// Taken by a back end.
    pub read: u64,
    /// That nobody will read.
    pub lost: u64,
}

object!(ReceiptFlow { made: "made", read: "read", lost: "lost" });

/// Commands and receipts that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// In their queues.
    pub enqueued: u64,
    /// With their devices.
    pub delivered: u64,
    /// When the oldest was sent.
    pub oldest: Option<Moment>,
    /// Receipts.
    pub receipts: u64,
}

object!(Backlog { enqueued: "enqueued", delivered: "delivered", oldest: "oldest", receipts: "receipts" });

/// A message of the live link.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// What has happened within the last second.
    pub last: Sample,
    /// The last whole second, with every fourth message.
    pub second: Option<Sample>,
    /// How many messages were left out before this one.
    pub skipped: u64,
}

object!(Told { last: "last", second: "second", skipped: "skipped" });

/// `GET /api/v1/rates`: columns, all of one length.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// When the first step began.
    pub start: Option<Moment>,
    /// How long each is.
    pub step_seconds: i64,
    connected: Vec<u64>,
    connects: Vec<u64>,
    disconnects: Shelf<String, Vec<u64>>,
    events: FlowColumns,
    commands: CommandColumns,
    receipts: ReceiptColumns,
    refusals: Shelf<String, Vec<u64>>,
    throttled: Vec<u64>,
    backlog: BacklogColumns,
}

object!(Columns {
    start: "start",
    step_seconds: "stepSeconds",
    connected: "connected",
    connects: "connects",
    disconnects: "disconnects",
    events: "events",
    commands: "commands",
    receipts: "receipts",
    refusals: "refusals",
    throttled: "throttled",
    backlog: "backlog"
});

#[derive(Clone, Debug, Default)]
struct FlowColumns {
    messages: Vec<u64>,
    bytes: Vec<u64>,
}

object!(FlowColumns { messages: "messages", bytes: "bytes" });

#[derive(Clone, Debug, Default)]
struct CommandColumns {
    enqueued: Vec<u64>,
    bytes: Vec<u64>,
    delivered: Vec<u64>,
    ended: Shelf<String, Vec<u64>>,
}

object!(CommandColumns { enqueued: "enqueued", bytes: "bytes", delivered: "delivered", ended: "ended" });

#[derive(Clone, Debug, Default)]
struct ReceiptColumns {
    made: Shelf<String, Vec<u64>>,
    read: Vec<u64>,
    lost: Vec<u64>,
}

object!(ReceiptColumns { made: "made", read: "read", lost: "lost" });

#[derive(Clone, Debug, Default)]
struct BacklogColumns {
    enqueued: Vec<u64>,
    delivered: Vec<u64>,
}

object!(BacklogColumns { enqueued: "enqueued", delivered: "delivered" });

impl Columns {
    fn samples(&self) -> impl Iterator<Item = (Moment, Sample)> + '_ {
        let start = self.start.unwrap_or_default();
        (0..self.connected.len()).map(move |index| (start.plus(index as i64 * self.step_seconds * 1000), self.sample(index)))
    }

    fn sample(&self, index: usize) -> Sample {
        let of = |column: &[u64]| column.get(index).copied().unwrap_or_default();
        let by = |columns: &Shelf<String, Vec<u64>>| {
            let mut counts = ByReason::default();
            for (reason, column) in columns.iter().filter(|(_, column)| of(column) > 0) {
                counts.insert(reason.clone(), of(column));
            }
            counts
        };
        Sample {
            time: None,
            connected: of(&self.connected),
            connects: of(&self.connects),
            disconnects: by(&self.disconnects),
            events: Flow { messages: of(&self.events.messages), bytes: of(&self.events.bytes) },
            commands: CommandFlow {
                enqueued: of(&self.commands.enqueued),
                bytes: of(&self.commands.bytes),
                delivered: of(&self.commands.delivered),
                ended: by(&self.commands.ended),
            },
            receipts: ReceiptFlow { made: by(&self.receipts.made), read: of(&self.receipts.read), lost: of(&self.receipts.lost) },
            refusals: by(&self.refusals),
            throttled: of(&self.throttled),
            backlog: Backlog { enqueued: of(&self.backlog.enqueued), delivered: of(&self.backlog.delivered), oldest: None, receipts: 0 },
        }
    }
}

impl Sample {
    /// Connections that ended.
    #[must_use]
    pub fn disconnected(&self) -> u64 {
        self.disconnects.values().sum()
    }

    fn add(&mut self, later: &Self) {
        let by = |sums: &mut ByReason, more: &ByReason| more.iter().for_each(|(reason, count)| *sums.slot(reason.clone()) += count);
        (self.connected, self.backlog) = (later.connected, later.backlog);
        self.connects += later.connects;
        self.throttled += later.throttled;
        self.events.messages += later.events.messages;
        self.events.bytes += later.events.bytes;
        self.commands.enqueued += later.commands.enqueued;
        self.commands.bytes += later.commands.bytes;
        self.commands.delivered += later.commands.delivered;
        self.receipts.read += later.receipts.read;
        self.receipts.lost += later.receipts.lost;
        by(&mut self.disconnects, &later.disconnects);
        by(&mut self.commands.ended, &later.commands.ended);
        by(&mut self.receipts.made, &later.receipts.made);
        by(&mut self.refusals, &later.refusals);
    }
}

/// Many connections that were lost at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Drop {
    /// When it began.
    pub began: Moment,
    /// When the last was lost.
    pub ended: Moment,
    /// How many fewer were connected then: who comes and goes all the time is in no sum.
    pub lost: u64,
    /// How many of them have come back.
    pub back: u64,
    /// Why, in the API's word, if all had one reason.
    pub reason: Option<String>,
}

/// Fewer lost connections within one step than this are everyday life.
const DROP_MIN: u64 = 5;

/// All that is known: a sample a second for a quarter of an hour, and one in 20 s for a day.
#[derive(Clone, Debug)]
pub struct Rates {
    latest: Sample,
    fine: Ring,
    coarse: Ring,
}

impl Default for Rates {
    fn default() -> Self {
        let ring = |step_ms, room| Ring { step_ms, room, samples: VecDeque::new() };
        Self { latest: Sample::default(), fine: ring(1_000, 900), coarse: ring(20_000, 4_320) }
    }
}

#[derive(Clone, Debug)]
struct Ring {
    step_ms: i64,
    room: usize,
    /// By when each step began, the oldest first.
    samples: VecDeque<(Moment, Sample)>,
}

impl Rates {
    /// How it is now, per second.
    #[must_use]
    pub fn latest(&self) -> &Sample {
        &self.latest
    }

    /// Takes in what the live link says.
    pub fn hear(&mut self, told: Told) {
        self.latest = told.last;
        if let Some((time, sample)) = told.second.and_then(|sample| Some((sample.time?, sample))) {
            self.fine.record(time, &sample);
            self.coarse.record(time, &sample);
        }
    }

    /// Takes in what happened before this page was there, or while the link was down.
    pub fn recall(&mut self, columns: &Columns) {
        let ring = if columns.step_seconds == 1 { &mut self.fine } else { &mut self.coarse };
        let known: Vec<_> = columns.samples().collect();
        let Some((end, _)) = known.last() else { return };
        // What has come since the answer was made is behind it.
        let later: Vec<_> = ring.samples.iter().filter(|(at, _)| at > end).cloned().collect();
        ring.samples = known.into_iter().chain(later).collect();
        ring.trim();
    }

    /// What is known of the time since then, the oldest first, in the finest steps that reach so far.
    pub fn since(&self, since: Moment, now: Moment) -> impl Iterator<Item = &(Moment, Sample)> {
        let reach = self.fine.step_ms as u64 * self.fine.room as u64;
        let ring = if since.millis_until(now) <= reach { &self.fine } else { &self.coarse };
        let first = ring.samples.partition_point(|(at, _)| *at < since);
        ring.samples.range(first..)
    }

    /// One number for each of so many equal stretches until now, the latest last: the sum of what a sample says, and the samples of it.
    #[must_use]
    pub fn stretches(&self, since: Moment, now: Moment, stretches: usize, say: impl Fn(&Sample) -> u64) -> Vec<(u64, u64)> {
        let span = since.millis_until(now).max(1);
        let mut sums = vec![(0, 0); stretches];
        for (at, sample) in self.since(since, now) {
            let index = (u128::from(since.millis_until(*at)) * stretches as u128 / u128::from(span)) as usize;
            if let Some((sum, samples)) = sums.get_mut(index.min(stretches.saturating_sub(1))) {
                *sum += say(sample);
                *samples += 1;
            }
        }
        sums
    }

    /// The same as sums alone.
    #[must_use]
    pub fn sums(&self, since: Moment, now: Moment, stretches: usize, say: impl Fn(&Sample) -> u64) -> Vec<u64> {
        self.stretches(since, now, stretches, say).into_iter().map(|(sum, _)| sum).collect()
    }

    /// How many of each since then, the most frequent first.
    #[must_use]
    pub fn by_reason(&self, since: Moment, now: Moment, say: impl Fn(&Sample) -> &ByReason) -> Vec<(String, u64)> {
        let mut sums = Shelf::<&str, u64>::default();
        for (_, sample) in self.since(since, now) {
            say(sample).iter().for_each(|(reason, count)| *sums.slot(reason.as_str()) += count);
        }
        let sums = sums.into_vec().into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
        sorted(sums, |one: &(String, u64), other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)))
    }

    /// The last time within the hour that many connections were lost at once.
    #[must_use]
    pub fn latest_drop(&self, now: Moment) -> Option<Drop> {
        let mut found: Option<Drop> = None;
        let fine_from = self.fine.samples.front().map_or(now, |(at, _)| *at);
        let early = self.since(now.plus(-3_600_000), now).filter(|(at, _)| at.plus(self.coarse.step_ms) <= fine_from);
        for (at, sample) in early.chain(&self.fine.samples) {
            let fewer = sample.disconnected().saturating_sub(sample.connects);
            match &mut found {
                Some(drop) if fewer > 0 && drop.ended.millis_until(*at) <= 5_000 => {
                    let away = drop.lost - drop.back + fewer;
                    if away >= drop.lost {
                        (drop.ended, drop.lost) = (*at, away);
                    }
                    drop.back = drop.lost - away;
                    if sample.disconnects.keys().any(|reason| Some(reason) != drop.reason.as_ref()) {
                        drop.reason = None;
                    }
                }
                _ if fewer >= DROP_MIN => {
                    let reason = sample.disconnects.keys().next().filter(|_| sample.disconnects.len() == 1).cloned();
                    found = Some(Drop { began: *at, ended: *at, lost: fewer, back: 0, reason });
                }
                Some(drop) => drop.back = (drop.back + sample.connects).saturating_sub(sample.disconnected()).min(drop.lost),
                None => {}
            }
        }
        found
    }
}

impl Ring {
    fn record(&mut self, at: Moment, sample: &Sample) {
        let begun = Moment(at.0.div_euclid(self.step_ms) * self.step_ms);
        match self.samples.back_mut() {
            Some((newest, sums)) if *newest == begun => {
                if self.step_ms > 1_000 {
                    sums.add(sample);
                }
            }
            Some((newest, _)) if *newest > begun => {}
            _ => self.samples.push_back((begun, sample.clone())),
        }
        self.trim();
    }

    fn trim(&mut self) {
        while self.samples.len() > self.room {
            self.samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_700_000_040_000);

    fn second(at: i64, connects: u64, lost: &[(&str, u64)]) -> Told {
        let disconnects = lost.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
        let second = Sample { time: Some(NOW.plus(at)), connects, disconnects, ..Sample::default() };
        Told { second: Some(second), ..Told::default() }
    }

    #[test]
    fn what_the_link_says_is_understood() {
        let text = r#"{"id":2,"kind":"rates","time":"2026-11-23T19:00:00.250Z","last":{"connected":42,"connects":3,"disconnects":{"ConnectionLost":2},
            "events":{"messages":120,"bytes":34000},"commands":{"enqueued":2,"bytes":412,"delivered":2,"ended":{"Completed":1}},
            "receipts":{"made":{"Completed":1},"read":1,"lost":0},"refusals":{"TokenExpired":1},"throttled":0,
            "backlog":{"enqueued":3,"delivered":1,"oldest":"2026-11-23T18:58:00.000Z","receipts":0}},
            "second":{"time":"2026-11-23T18:59:59.000Z","connected":41}}"#;
        let told: Told = crate::model::json::read(text).unwrap();
        assert_eq!((told.last.connected, told.last.disconnected(), told.last.backlog.oldest.is_some()), (42, 2, true));
        assert_eq!(told.second.unwrap().connected, 41);
    }

    #[test]
    fn seconds_are_kept_fine_and_coarse() {
        let mut rates = Rates::default();
        (0..2_000).for_each(|at| rates.hear(second(at * 1000, 1, &[])));
        let end = NOW.plus(2_000_000);
        assert_eq!(rates.since(end.plus(-60_000), end).count(), 60);
        assert_eq!(rates.since(end.plus(-1_800_000), end).map(|(_, sample)| sample.connects).sum::<u64>(), 1_800);
        assert_eq!(rates.sums(end.plus(-60_000), end, 6, |sample| sample.connects), [10; 6]);
        rates.hear(second(0, 99, &[]));
        assert_eq!(rates.since(end.plus(-60_000), end).count(), 60, "what comes late is known already");
    }

    #[test]
    fn the_past_is_recalled_and_what_came_meanwhile_stays() {
        let mut rates = Rates::default();
        rates.hear(second(20_000, 7, &[]));
        let columns: Columns = crate::model::json::read(
            r#"{"start":"2023-11-14T22:14:00.000Z","stepSeconds":1,"connected":[4,5],"connects":[1,2],"disconnects":{"TakenOver":[0,3]}}"#,
        )
        .unwrap();
        assert_eq!(columns.start, Some(NOW));
        rates.recall(&columns);
        let end = NOW.plus(30_000);
        let connects: Vec<_> = rates.since(NOW, end).map(|(_, sample)| sample.connects).collect();
        assert_eq!(connects, [1, 2, 7]);
        assert_eq!(rates.by_reason(NOW, end, |sample| &sample.disconnects), [("TakenOver".to_owned(), 3)]);
    }

    #[test]
    fn many_that_are_lost_at_once_are_one_drop() {
        let mut rates = Rates::default();
        rates.hear(second(0, 0, &[("KeepAliveTimeout", 9)]));
        rates.hear(second(1_000, 1, &[("KeepAliveTimeout", 3)]));
        rates.hear(second(10_000, 4, &[]));
        let drop = rates.latest_drop(NOW.plus(12_000)).unwrap();
        assert_eq!((drop.began, drop.ended, drop.lost, drop.back), (NOW, NOW.plus(1_000), 11, 4));
        assert_eq!(drop.reason.as_deref(), Some("KeepAliveTimeout"));
    }

    #[test]
    fn who_comes_and_goes_makes_no_drop_larger() {
        let mut rates = Rates::default();
        rates.hear(second(0, 0, &[("ConnectionLost", 6)]));
        for at in 1..60 {
            let (connects, lost): (u64, &[(&str, u64)]) = if at % 2 == 1 { (4, &[]) } else { (0, &[("ConnectionLost", 4)]) };
            rates.hear(second(at * 1_000, connects, lost));
        }
        let drop = rates.latest_drop(NOW.plus(60_000)).unwrap();
        assert_eq!((drop.began, drop.lost, drop.back), (NOW, 6, 4));
    }

    #[test]
    fn one_now_and_then_is_no_drop() {
        let mut rates = Rates::default();
        (0..20).for_each(|at| rates.hear(second(at * 6_000, 1, &[("ConnectionLost", 1)])));
        assert_eq!(rates.latest_drop(NOW.plus(120_000)), None);
    }
}
