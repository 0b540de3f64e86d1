//! How fast things happen: the counters are looked at four times a second, and what they have grown by is kept for a day.
//!
//! Nobody who counts waits for it, or does more because somebody looks.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::core::command::{Command, Step as CommandStep};
use crate::core::rates::{Counted, Gauges, History, LOOKS_PER_SECOND, Latencies, Look, Span};
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::ops::live::Broadcast;
use crate::ops::refusals::RefusalReason;

/// How fast things happen.
#[derive(Debug, Default)]
pub struct Rates {
    history: Mutex<History>,
    latencies: Mutex<Latencies>,
    /// For those who look all the time.
    pub live: Broadcast<RatesNow>,
}

/// How fast things happen now.
#[derive(Clone, Debug)]
pub struct RatesNow {
    /// When.
    pub time: UnixMillis,
    /// What was counted in the last second, and the second that is over since the look before.
    pub look: Look,
}

impl Rates {
    /// Something has happened to a command.
    pub(super) fn command_step(&self, command: &Command, step: &CommandStep) {
        self.latencies.lock().expect("nothing panics while it holds this lock").step(command, step);
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("nothing panics while it holds this lock")
    }
}

/// Looks at the counters until it is dropped.
pub async fn keep_rates(hub: Arc<Hub>) {
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(LOOKS_PER_SECOND).unwrap_or(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        look(&hub);
    }
}

/// What was counted since then, in the finest steps that reach so far back from `now`; `None` when nobody has looked yet.
#[must_use]
pub fn rates_since(hub: &Hub, since: UnixMillis, now: UnixMillis) -> Option<Span> {
    hub.rates.history().since(since, now)
}

/// What refusals are called, in the order in which they are counted.
#[must_use]
pub fn refusal_names() -> &'static [&'static str] {
    &RefusalReason::NAMES
}

fn look(hub: &Hub) {
    let (time, statistics) = (hub.now(), hub.commands.statistics());
    let mut totals = hub.metrics.totals(refusal_names());
    let throttled = totals.one(Counted::Throttled) + hub.surroundings.turned_away();
    totals.set(Counted::Throttled, [throttled]);
    hub.rates.latencies.lock().expect("nothing panics while it holds this lock").tell(&mut totals);
    let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let gauges = Gauges {
        connected: narrow(hub.presence.connected()),
        commands_enqueued: narrow(statistics.pending.saturating_sub(statistics.invisible)),
        commands_delivered: narrow(statistics.invisible),
        oldest_command: statistics.oldest,
        receipts_waiting: narrow(statistics.receipts_waiting),
    };
    let look = hub.rates.history().look(time, totals, gauges);
    hub.rates.live.tell(RatesNow { time, look });
}

#[cfg(test)]
mod tests;
