//! How a simulation goes, for whoever watches: one line that is rewritten on a terminal, a line now and then elsewhere, a summary at the end.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::tally::{Latencies, Tally};
use crate::cli::duration::shown;

/// Between two lines: a terminal's is rewritten, others are there to stay.
const REWRITTEN_EVERY: Duration = Duration::from_millis(500);
const WRITTEN_EVERY: Duration = Duration::from_secs(10);

/// A terminal's line says how it went over so many lines, so that its numbers can be read before they change. The others: since the last.
const LINES_TOLD_OF: usize = 10;

/// The line of a running simulation, on standard error.
pub(super) struct Progress {
    terminal: bool,
    begun: Instant,
    /// The readings of the last lines, the oldest first; never empty.
    readings: VecDeque<Reading>,
    line: String,
}

/// The counters from which rates are made, at one moment.
struct Reading {
    at: Instant,
    sent: u64,
    acknowledged: u64,
    latencies: Latencies,
}

impl Reading {
    fn take(tally: &Tally) -> Self {
        Self { at: Instant::now(), sent: tally.sent.get(), acknowledged: tally.acknowledged.get(), latencies: tally.latencies() }
    }
}

impl Progress {
    pub(super) fn new(tally: &Tally) -> Self {
        let first = Reading::take(tally);
        let terminal = std::io::stderr().is_terminal();
        Self { terminal, begun: first.at, readings: VecDeque::from([first]), line: String::new() }
    }

    /// Between two lines.
    pub(super) fn every(&self) -> Duration {
        if self.terminal { REWRITTEN_EVERY } else { WRITTEN_EVERY }
    }

    /// Writes the line of now.
    pub(super) fn show(&mut self, tally: &Tally) {
        let now = Reading::take(tally);
        self.line = line(tally, now.at - self.begun, &self.readings[0], &now);
        self.readings.push_back(now);
        if self.readings.len() > if self.terminal { LINES_TOLD_OF } else { 1 } {
            self.readings.pop_front();
        }
        self.write_line();
    }

    /// Writes a line to standard output that stays, above the one that is rewritten.
    pub(super) fn say(&self, line: &str) {
        self.clear();
        let _ = writeln!(std::io::stdout().lock(), "{line}");
        if self.terminal {
            self.write_line();
        }
    }

    fn write_line(&self) {
        let line = &self.line;
        // Without wrapping, a line that is too long for the terminal is cut and can still be rewritten.
        write(&if self.terminal { format!("\r\x1b[2K\x1b[?7l{line}\x1b[?7h") } else { format!("{line}\n") });
    }

    /// Takes the line away, for what comes after it.
    pub(super) fn clear(&self) {
        if self.terminal {
            write("\r\x1b[2K");
        }
    }
}

/// Nobody is left to be told that standard error can't be written.
fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn line(tally: &Tally, elapsed: Duration, before: &Reading, now: &Reading) -> String {
    let recent = now.latencies.since(&before.latencies);
    let seconds = (now.at - before.at).as_secs_f64().max(f64::MIN_POSITIVE);
    let rate = |now: u64, before: u64| compact((now - before) as f64 / seconds);
    let mut line = format!("{:>5}  {} connected", clock(elapsed), tally.connected.get());
    if tally.asleep.get() > 0 {
        let _ = write!(line, ", {} asleep", tally.asleep.get());
    }
    let (sent, acknowledged) = (rate(now.sent, before.sent), rate(now.acknowledged, before.acknowledged));
    let _ = write!(line, " · {sent} sent/s, {acknowledged} acknowledged/s");
    if let (Some(p50), Some(p99)) = (recent.quantile(0.5), recent.quantile(0.99)) {
        let _ = write!(line, ", PUBACK {} p50 {} p99", precise(p50), precise(p99));
    }
    if tally.commands_received.get() > 0 {
        let _ = write!(line, " · {} commands, {} answered", tally.commands_received.get(), tally.commands_answered.get());
    }
    let _ = write!(line, " · {} reconnects, {} errors", tally.reconnects.get(), tally.errors.get());
    line
}

/// What came of it all.
pub(super) struct Summary<'a> {
    pub(super) devices: usize,
    pub(super) elapsed: Duration,
    pub(super) stopped_by: &'static str,
    pub(super) tally: &'a Tally,
    /// How many identities were removed, if that was wanted.
    pub(super) removed: Option<usize>,
}

impl Summary<'_> {
    pub(super) fn json(&self) -> Value {
        let tally = self.tally;
        let latencies = tally.latencies();
        let ms = |share| latencies.quantile(share).map(|latency| latency.as_secs_f64() * 1e3);
        json!({
            "devices": self.devices,
            "seconds": self.elapsed.as_secs_f64(),
            "stoppedBy": self.stopped_by,
            "sent": tally.sent.get(),
            "acknowledged": tally.acknowledged.get(),
            "puback": { "p50Ms": ms(0.5), "p99Ms": ms(0.99), "maxMs": ms(1.0) },
            "commands": {
                "received": tally.commands_received.get(),
                "completed": tally.commands_completed.get(),
                "answered": tally.commands_answered.get(),
                "ignored": tally.commands_ignored.get(),
                "refused": tally.commands_refused.get(),
            },
            "connects": tally.connects.get(),
            "reconnects": tally.reconnects.get(),
            "errors": tally.errors.get(),
            "lastError": tally.last_error(),
            "removed": self.removed,
        })
    }

    pub(super) fn text(&self) -> String {
        let tally = self.tally;
        let latencies = tally.latencies();
        let per_second = tally.acknowledged.get() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let mut text = format!("{} devices, {}\n", self.devices, shown(self.elapsed));
        let mut row = |name: &str, what: String| {
            let _ = writeln!(text, "  {name:<11}  {what}");
        };
        row("Messages", format!("{} sent, {} acknowledged, {} a second", tally.sent.get(), tally.acknowledged.get(), compact(per_second)));
        if let (Some(p50), Some(p99), Some(max)) = (latencies.quantile(0.5), latencies.quantile(0.99), latencies.quantile(1.0)) {
            row("PUBACK", format!("{} p50, {} p99, {} at most", precise(p50), precise(p99), precise(max)));
        }
        let [received, completed, answered, ignored, refused] = [
            &tally.commands_received,
            &tally.commands_completed,
            &tally.commands_answered,
            &tally.commands_ignored,
            &tally.commands_refused,
        ]
        .map(|counter| counter.get());
        if received > 0 {
            row(
                "Commands",
                format!("{received} received: {completed} completed ({answered} answered), {ignored} ignored, {refused} refused"),
            );
        }
        row("Connections", format!("{} made, {} of them after a loss", tally.connects.get(), tally.reconnects.get()));
        match tally.last_error() {
            None => row("Errors", "none".to_owned()),
            Some(last) => row("Errors", format!("{}, the last: {last}", tally.errors.get())),
        }
        if let Some(removed) = self.removed {
            row("Removed", format!("{removed} devices"));
        }
        text
    }
}

/// `7`, `9.5`, `1200`: three digits are enough for a rate.
fn compact(rate: f64) -> String {
    if rate < 9.95 && rate > 0.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// A latency, which is mostly a few milliseconds.
fn precise(latency: Duration) -> String {
    let ms = latency.as_secs_f64() * 1e3;
    match ms {
        ..9.95 => format!("{ms:.1} ms"),
        ..1000.0 => format!("{ms:.0} ms"),
        _ => shown(latency),
    }
}

fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match seconds / 3600 {
        0 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        let tally = Tally::new();
        (0..50).for_each(|_| tally.connected.more());
        (0..20).for_each(|_| tally.sent.more());
        (0..19).for_each(|_| tally.acknowledged_after(Duration::from_millis(2)));
        tally
    }

    #[test]
    fn the_line_says_how_it_goes() {
        let none = Tally::new();
        let tally = tally();
        let before = Reading::take(&none);
        let now = Reading { at: before.at + Duration::from_secs(2), ..Reading::take(&tally) };
        assert_eq!(
            line(&tally, Duration::from_secs(75), &before, &now),
            "01:15  50 connected · 10 sent/s, 9.5 acknowledged/s, PUBACK 2.0 ms p50 2.0 ms p99 · 0 reconnects, 0 errors"
        );
        tally.asleep.more();
        tally.commands_received.more();
        let later = Reading { at: now.at + Duration::from_secs(2), ..Reading::take(&tally) };
        assert_eq!(
            line(&tally, Duration::from_secs(3675), &now, &later),
            "1:01:15  50 connected, 1 asleep · 0 sent/s, 0 acknowledged/s · 1 commands, 0 answered · 0 reconnects, 0 errors"
        );
    }

    #[test]
    fn the_summary_says_what_came_of_it() {
        let tally = tally();
        let summary = |removed| Summary { devices: 50, elapsed: Duration::from_secs(2), stopped_by: "time", tally: &tally, removed };
        assert_eq!(
            summary(None).text(),
            "50 devices, 2.00 s\n  Messages     20 sent, 19 acknowledged, 9.5 a second\n  PUBACK       2.0 ms p50, 2.0 ms p99, 2.0 ms at most\n  \
             Connections  0 made, 0 of them after a loss\n  Errors       none\n"
        );
        tally.commands_received.more();
        tally.failed("sim-0001: gone".to_owned());
        let text = summary(Some(50)).text();
        assert!(text.contains("1, the last: sim-0001: gone") && text.contains("Removed      50 devices"), "{text}");
        let json = summary(None).json();
        assert_eq!((&json["acknowledged"], &json["errors"], &json["stoppedBy"]), (&json!(19), &json!(1), &json!("time")));
    }
}
