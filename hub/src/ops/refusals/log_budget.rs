//! How much refusals may write to the log: refused attempts cost strangers nothing, so they must not set its size.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The most lines about refusals in [`PERIOD`]: enough to see every refusal of a normal day, and 2 KB a second at worst.
const LINES_MAX: u32 = 10;

/// What [`LINES_MAX`] is counted over, and how long after the first line left out it is said how many were.
pub const PERIOD: Duration = Duration::from_secs(1);

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// It is written.
    Written,
    /// It is left out, and the first so since [`LogBudget::take_left_out`]: that is to be called after [`PERIOD`].
    FirstLeftOut,
    /// It is left out.
    LeftOut,
}

/// Counts lines.
#[derive(Debug, Default)]
pub struct LogBudget(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    period_began: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl LogBudget {
    /// Decides about a line.
    pub fn line(&self, now: Instant) -> Line {
        let mut state = self.state();
        if state.period_began.is_none_or(|began| now.saturating_duration_since(began) >= PERIOD) {
            state.period_began = Some(now);
            state.written = 0;
        }
        if state.written < LINES_MAX {
            state.written += 1;
            return Line::Written;
        }
        state.left_out += 1;
        if state.left_out == 1 { Line::FirstLeftOut } else { Line::LeftOut }
    }

    /// How many lines were left out since the last call.
    pub fn take_left_out(&self) -> u64 {
        std::mem::take(&mut self.state().left_out)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_a_second_and_the_others_are_counted() {
        let budget = LogBudget::default();
        let start = tokio::time::Instant::now().into_std();
        let lines =
            |after_ms: u64, count: u32| -> Vec<Line> { (0..count).map(|_| budget.line(start + Duration::from_millis(after_ms))).collect() };
        assert_eq!(lines(0, LINES_MAX), vec![Line::Written; 10]);
        assert_eq!(lines(999, 3), [Line::FirstLeftOut, Line::LeftOut, Line::LeftOut]);
        assert_eq!(lines(1000, 1), [Line::Written]);
        assert_eq!(budget.take_left_out(), 3);
        assert_eq!(budget.take_left_out(), 0);
        assert_eq!(lines(1999, LINES_MAX)[8..], [Line::Written, Line::FirstLeftOut]);
    }
}
