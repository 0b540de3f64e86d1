//! How fast things happen: what is counted, step by step, for a quarter of an hour by the second and for a day by 20 seconds.
//!
//! Owns the steps and their bounds: 900 fine and 4,320 coarse ones of about 600 bytes each, 3 MB whatever happens. Never counts anything
//! itself: it is told how far the counters are, and takes differences.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::time::UnixMillis;

pub mod latency;

pub use latency::Latencies;

/// The most reasons for which somebody can be refused.
pub const REFUSAL_REASONS_MAX: usize = 40;

/// The fine steps.
pub const FINE: Resolution = Resolution { step: Duration::from_secs(1), room: 900 };

/// The coarse steps.
pub const COARSE: Resolution = Resolution { step: Duration::from_secs(20), room: 4_320 };

/// How many looks at the counters make a second.
pub const LOOKS_PER_SECOND: usize = 4;

/// How long a step is, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// How long one is.
    pub step: Duration,
    /// How many are kept.
    pub room: usize,
}

impl Resolution {
    fn step_ms(self) -> i64 {
        i64::try_from(self.step.as_millis()).unwrap_or(i64::MAX)
    }

    /// How far back the kept steps reach.
    #[must_use]
    pub fn reach(self) -> Duration {
        self.step * u32::try_from(self.room).unwrap_or(u32::MAX)
    }
}

/// What is counted. A group of several columns has one for each reason or outcome, in the order of their `ALL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Connections that came.
    Connects,
    /// Connections that ended, by reason.
    Disconnects,
    /// Events appended.
    EventMessages,
    /// Their stored bytes.
    EventBytes,
    /// Commands taken.
    CommandsEnqueued,
    /// Their stored bytes.
    CommandBytes,
    /// Commands handed to devices, each time.
    CommandsDelivered,
    /// Commands that ended, by outcome.
    CommandsEnded,
    /// Receipts that came to be, by their commands' outcomes.
    ReceiptsMade,
    /// Receipts that a back end took.
    ReceiptsRead,
    /// Receipts that nobody took.
    ReceiptsLost,
    /// Those who were refused, by reason.
    Refusals,
    /// Who was told to come later, because there was too much.
    Throttled,
    /// How long commands took from being taken to their first delivery.
    EnqueuedToDelivered,
    /// From their last delivery to their completion.
    DeliveredToCompleted,
    /// From being taken to their completion.
    EnqueuedToCompleted,
}

/// How many columns each has, in the order of [`Counted`].
const WIDTHS: [usize; 16] = [
    1,
    super::session::DisconnectReason::ALL.len(),
    1,
    1,
    1,
    1,
    1,
    super::command::Outcome::ALL.len(),
    super::command::Outcome::ALL.len(),
    1,
    1,
    REFUSAL_REASONS_MAX,
    1,
    latency::BUCKETS,
    latency::BUCKETS,
    latency::BUCKETS,
];

const COLUMNS: usize = begin(WIDTHS.len());

const fn begin(group: usize) -> usize {
    let (mut sum, mut place) = (0, 0);
    while place < group {
        sum += WIDTHS[place];
        place += 1;
    }
    sum
}

impl Counted {
    /// Its columns in a row.
    const fn columns(self) -> Range<usize> {
        let place = self as usize;
        begin(place)..begin(place + 1)
    }
}

/// A number for everything that is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<N>(Box<[N]>);

/// How far the counters are since the hub began.
pub type Totals = Row<u64>;

/// What was counted in a while. What does not fit counts as much as fits: 4 GiB of events in 20 s.
pub type Counts = Row<u32>;

impl<N: Copy + Default> Default for Row<N> {
    fn default() -> Self {
        Self(vec![N::default(); COLUMNS].into_boxed_slice())
    }
}

impl<N: Copy> Row<N> {
    /// The numbers of this.
    #[must_use]
    pub fn of(&self, counted: Counted) -> &[N] {
        &self.0[counted.columns()]
    }

    /// Sets the numbers of this; what there is no column for is left out.
    pub fn set(&mut self, counted: Counted, numbers: impl IntoIterator<Item = N>) {
        for (place, number) in self.0[counted.columns()].iter_mut().zip(numbers) {
            *place = number;
        }
    }
}

impl<N: Copy + Default> Row<N> {
    /// The number of what has one column.
    #[must_use]
    pub fn one(&self, counted: Counted) -> N {
        self.of(counted).first().copied().unwrap_or_default()
    }
}

impl Totals {
    /// What was counted since the counters stood so.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Counts {
        let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Row(self.0.iter().zip(&earlier.0).map(|(now, before)| narrow(now.saturating_sub(*before))).collect())
    }
}

impl Counts {
    /// Adds what was counted in another while.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(&other.0) {
            *sum = sum.saturating_add(*more);
        }
    }
}

/// How things stand at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Devices that are connected.
    pub connected: u32,
    /// Commands in their queues.
    pub commands_enqueued: u32,
    /// Commands that are locked by a delivery.
    pub commands_delivered: u32,
    /// When the oldest command that has not ended was taken.
    pub oldest_command: Option<UnixMillis>,
    /// Receipts that nobody has taken.
    pub receipts_waiting: u32,
}

/// One step: what was counted in it, and how things stood at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What was counted.
    pub counts: Counts,
    /// How things stood.
    pub gauges: Gauges,
}

/// Steps without a gap between them, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// When the first begins.
    pub start: UnixMillis,
    /// How long each is.
    pub step: Duration,
    /// The steps; the last one may not be over yet.
    pub steps: Vec<Step>,
}

/// What was counted up to now.
#[derive(Debug)]
pub struct History {
    fine: Ring,
    coarse: Ring,
    /// The last look.
    before: Option<(UnixMillis, Totals)>,
    /// What was counted between the last looks, for the last second.
    latest: VecDeque<Counts>,
}

/// What a look at the counters has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What was counted in the last second, and how things stand.
    pub last: Step,
    /// The fine step that is over since the look before, and when it began.
    pub finished: Option<(UnixMillis, Step)>,
}

impl Default for History {
    fn default() -> Self {
        Self { fine: Ring::new(FINE), coarse: Ring::new(COARSE), before: None, latest: VecDeque::new() }
    }
}

impl History {
    /// The counters stand so at `now`, and things stand so. To be called [`LOOKS_PER_SECOND`] times a second.
    pub fn look(&mut self, now: UnixMillis, totals: Totals, gauges: Gauges) -> Look {
        let (counts, middle) = match &self.before {
            // What was counted between two looks belongs to the step in which most of that time lies. The clock may have been set back.
            Some((before, earlier)) => (totals.since(earlier), UnixMillis(before.0.midpoint(now.0)).min(now)),
            None => (totals.since(&Totals::default()), now),
        };
        self.before = Some((now, totals));
        let finished = self.fine.record(middle, &counts, gauges);
        self.coarse.record(middle, &counts, gauges);
        self.latest.push_back(counts);
        while self.latest.len() > LOOKS_PER_SECOND {
            self.latest.pop_front();
        }
        let mut last = Counts::default();
        self.latest.iter().for_each(|counts| last.add(counts));
        Look { last: Step { counts: last, gauges }, finished }
    }

    /// What is known of the time since then, in the finest steps that reach so far; `None` when nobody has looked yet.
    #[must_use]
    pub fn since(&self, since: UnixMillis, now: UnixMillis) -> Option<Span> {
        let ring = if now.since(since) <= FINE.reach() { &self.fine } else { &self.coarse };
        ring.since(since)
    }
}

/// The latest steps of one length.
#[derive(Debug)]
struct Ring {
    resolution: Resolution,
    /// The number of the newest step since 1970.
    newest: i64,
    steps: VecDeque<Step>,
}

impl Ring {
    fn new(resolution: Resolution) -> Self {
        Self { resolution, newest: i64::MIN, steps: VecDeque::new() }
    }

    /// Adds to the step of this time, or to the newest when the clock has gone back a little. Answers with the step that is over by it.
    fn record(&mut self, at: UnixMillis, counts: &Counts, gauges: Gauges) -> Option<(UnixMillis, Step)> {
        let number = at.0.div_euclid(self.resolution.step_ms());
        self.forget_what_is_to_come(number);
        let mut finished = None;
        if self.steps.is_empty() || number > self.newest {
            finished = self.steps.back().map(|step| (self.start_of(self.newest), step.clone()));
            self.fill_up_to(number);
            self.steps.push_back(Step::default());
            self.newest = number;
            while self.steps.len() > self.resolution.room {
                self.steps.pop_front();
            }
        }
        if let Some(step) = self.steps.back_mut() {
            step.counts.add(counts);
            step.gauges = gauges;
        }
        finished
    }

    /// When the clock was set back: steps that lie ahead of it would have to take all that is counted until it is there again.
    fn forget_what_is_to_come(&mut self, number: i64) {
        if !self.steps.is_empty() && self.newest.saturating_sub(number) > 1 {
            while self.newest > number && self.steps.pop_back().is_some() {
                self.newest -= 1;
            }
        }
    }

    /// Steps in which nobody has looked: nothing is known to have happened, and things stood as before.
    fn fill_up_to(&mut self, number: i64) {
        let Some(gauges) = self.steps.back().map(|step| step.gauges) else { return };
        let missing = number.saturating_sub(self.newest).saturating_sub(1);
        if usize::try_from(missing).is_ok_and(|missing| missing < self.resolution.room) {
            self.steps.extend((0..missing).map(|_| Step { counts: Counts::default(), gauges }));
        } else {
            self.steps.clear();
        }
    }

    fn since(&self, since: UnixMillis) -> Option<Span> {
        let kept = i64::try_from(self.steps.len()).unwrap_or(i64::MAX);
        let oldest = self.newest.checked_sub(kept - 1).filter(|_| kept > 0)?;
        let first = since.0.div_euclid(self.resolution.step_ms()).clamp(oldest, self.newest);
        let skipped = usize::try_from(first - oldest).unwrap_or(0);
        Some(Span { start: self.start_of(first), step: self.resolution.step, steps: self.steps.iter().skip(skipped).cloned().collect() })
    }

    fn start_of(&self, number: i64) -> UnixMillis {
        UnixMillis(number.saturating_mul(self.resolution.step_ms()))
    }
}

#[cfg(test)]
mod tests;
