//! The fleet as a grid of small squares, a run of them for each state, those that are away by how long ago they were heard of.

use std::fmt::Write as _;

use super::state::DeviceState;
use super::time::Moment;
use crate::routes::Query;

/// Squares at most: more can't be told from each other.
pub const CELLS_MAX: u64 = 2_400;

/// A square and the gap behind it: as large as there is room for.
const CELLS_PX: [f64; 5] = [48.0, 32.0, 24.0, 16.0, 11.0];
const GAP_PX: f64 = 2.0;

/// How tall the grid may become by larger squares.
const ROOM_PX: f64 = 272.0;

/// Those who were heard of less long ago than this, and longer ago than the one before: in seconds, and in words.
const AGES: [(u64, &str); 5] = [(600, "10 min"), (3_600, "1 h"), (21_600, "6 h"), (86_400, "1 d"), (604_800, "7 d")];

/// A run of squares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Of which state.
    pub state: DeviceState,
    /// How long ago they were heard of: at least, and less than, in seconds.
    pub away: (Option<u64>, Option<u64>),
    /// The paler the longer ago: 0 to 5.
    pub shade: usize,
}

/// Every run, in the order of the grid.
#[must_use]
pub fn runs() -> Vec<Run> {
    let plain = |state| Run { state, away: (None, None), shade: 0 };
    let mut runs = vec![plain(DeviceState::Connected), plain(DeviceState::Flapping)];
    let mut from = None;
    for (index, (until, _)) in AGES.into_iter().enumerate() {
        runs.push(Run { state: DeviceState::Offline, away: (from, Some(until)), shade: index });
        from = Some(until);
    }
    runs.push(Run { state: DeviceState::Offline, away: (from, None), shade: AGES.len() });
    runs.extend([plain(DeviceState::Disabled), plain(DeviceState::Never)]);
    runs
}

impl Run {
    /// For people.
    #[must_use]
    pub fn word(&self) -> String {
        let age = |seconds: u64| AGES.iter().find(|(age, _)| *age == seconds).map_or("", |(_, word)| *word);
        match self.away {
            (None, None) => self.state.word().to_owned(),
            (None, Some(until)) => format!("Offline, seen within {}", age(until)),
            (Some(from), Some(until)) => format!("{} to {} ago", age(from), age(until)),
            (Some(from), None) => format!("Longer than {} ago", age(from)),
        }
    }

    /// What the hub is asked for how many they are.
    #[must_use]
    pub fn question(&self, now: Moment) -> Query {
        let at = |seconds: Option<u64>| seconds.map(|seconds| now.plus(-(seconds as i64) * 1000).iso()).unwrap_or_default();
        let (from, until) = self.away;
        Query::default().with("state", self.state.name()).with("seenBefore", at(from)).with("seenAfter", at(until)).with("limit", "1")
    }

    /// The list of them, as the page's own address has it.
    #[must_use]
    pub fn list(&self) -> Query {
        let (from, until) = self.away;
        let seconds = |seconds: Option<u64>| seconds.map(|seconds| seconds.to_string()).unwrap_or_default();
        Query::default().with("state", self.state.name()).with("away", seconds(from)).with("awayMax", seconds(until))
    }
}

/// The squares.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// How many devices one square stands for.
    pub each: u64,
    /// A path for each run.
    pub paths: Vec<String>,
    /// How tall it all is.
    pub height_px: f64,
}

/// Lays squares out in a width. A run that has devices has a square, however few they are.
#[must_use]
pub fn lay_out(counts: &[u64], width_px: f64) -> Grid {
    let each = counts.iter().sum::<u64>().div_ceil(CELLS_MAX).max(1);
    let cells: u64 = counts.iter().map(|count| count.div_ceil(each)).sum();
    let columns_of = |cell_px: f64| (width_px / cell_px).floor().max(1.0) as u64;
    let fits = |cell_px: &f64| cells.div_ceil(columns_of(*cell_px)) as f64 * cell_px <= ROOM_PX;
    let cell_px = CELLS_PX.into_iter().find(fits).unwrap_or(11.0);
    let (columns, side) = (columns_of(cell_px), (cell_px - GAP_PX) as u64);
    let mut laid = 0;
    let path = |count: &u64| {
        let mut path = String::new();
        for cell in laid..laid + count.div_ceil(each) {
            let (x, y) = ((cell % columns) * cell_px as u64, (cell / columns) * cell_px as u64);
            let _ = write!(path, "M{x} {y}h{side}v{side}h-{side}z");
        }
        laid += count.div_ceil(each);
        path
    };
    let paths = counts.iter().map(path).collect();
    Grid { each, paths, height_px: laid.div_ceil(columns) as f64 * cell_px }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_is_in_one_run() {
        let runs = runs();
        assert_eq!(runs.len(), 10);
        let offline: Vec<_> = runs.iter().filter(|run| run.state == DeviceState::Offline).map(|run| run.away).collect();
        assert!(offline.windows(2).all(|pair| pair[0].1 == pair[1].0) && offline[0].0.is_none() && offline[5].1.is_none());
        assert_eq!((runs[2].word().as_str(), runs[3].word().as_str()), ("Offline, seen within 10 min", "10 min to 1 h ago"));
    }

    #[test]
    fn a_run_is_asked_for_and_listed_by_the_same_ages() {
        let run = &runs()[3];
        let now = Moment::parse("2026-11-23T14:00:00.000Z").unwrap();
        let question = run.question(now);
        assert_eq!(
            (question.get("seenBefore"), question.get("seenAfter")),
            (Some("2026-11-23T13:50:00.000Z"), Some("2026-11-23T13:00:00.000Z"))
        );
        assert_eq!((run.list().get("away"), run.list().get("awayMax")), (Some("600"), Some("3600")));
    }

    #[test]
    fn squares_fill_rows_and_few_are_not_lost_among_many() {
        let grid = lay_out(&[3, 0, 2], 96.0);
        assert_eq!((grid.each, grid.height_px), (1, 144.0));
        assert_eq!(grid.paths[1], "");
        assert_eq!(grid.paths[2], "M48 48h46v46h-46zM0 96h46v46h-46z");
        assert_eq!(lay_out(&[2_000], 1_100.0).height_px, 20.0 * 11.0, "smaller where there are many");
        let many = lay_out(&[100_000, 1], 1_100.0);
        assert_eq!((many.each, many.paths[1].matches('M').count()), (42, 1));
        assert!(lay_out(&[u64::MAX / 2], 0.0).paths[0].matches('M').count() <= 2_400);
        assert_eq!(lay_out(&[], 100.0).height_px, 0.0);
    }
}
