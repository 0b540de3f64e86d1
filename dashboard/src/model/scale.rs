//! From values to pixels: steps that people can read, and the lines and bars of charts as an SVG path has them.

use super::format::px;
use super::time::Moment;

/// The lines of a grid, four at most, at round values: the lowest, the highest, and how far apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps {
    /// Where the axis begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
    /// From line to line.
    pub step: f64,
}

impl Steps {
    /// Around these values. They need not begin at zero: a bare line has no ground.
    #[must_use]
    pub fn around(values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = values.into_iter().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return Self { low: 0.0, high: 3.0, step: 1.0 };
        }
        let step = round_up((high - low) / 3.0).max(1.0);
        let low = (low / step).floor() * step;
        let high = (high / step).ceil() * step;
        // A value that stays the same lies in the middle of something.
        let (low, high) = if high > low { (low, high) } else { ((low - step).max(0.0), high + step) };
        Self { low, high, step }
    }

    /// The values of the lines, the lowest first.
    #[must_use]
    pub fn lines(&self) -> Vec<f64> {
        (0..=(((self.high - self.low) / self.step).round() as usize).min(5)).map(|line| self.low + line as f64 * self.step).collect()
    }

    /// Where a value is: 0 at the bottom, 1 at the top.
    #[must_use]
    pub fn part(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// 1, 2, 5, 10, 20, 50, … , whichever is the next.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let mut power = 1.0;
    while power * 10.0 <= value {
        power *= 10.0;
    }
    while power > value {
        power /= 10.0;
    }
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= value * 0.999_999).unwrap_or(power * 10.0)
}

/// Steps of time that people count in.
const TIME_STEPS_MS: [i64; 15] = [
    1_000,
    5_000,
    10_000,
    30_000,
    60_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    172_800_000,
];

/// Round times between two moments, at most so many.
#[must_use]
pub fn times(from: Moment, to: Moment, most: usize) -> Vec<Moment> {
    let span = to.0 - from.0;
    let fits = |step: &&i64| span / **step <= most as i64;
    let Some(step) = TIME_STEPS_MS.iter().find(fits) else { return Vec::new() };
    let first = from.0.div_euclid(*step) + i64::from(from.0.rem_euclid(*step) != 0);
    (first..=to.0.div_euclid(*step)).map(|index| Moment(index * step)).take(most + 1).collect()
}

/// How a round time is written under an axis of this length.
#[must_use]
pub fn time_label(at: Moment, span_ms: u64) -> String {
    match span_ms {
        0..300_000 => at.clock(),
        300_000..=86_400_000 => at.hour_and_minute(),
        _ => at.day(),
    }
}

/// A line through points, as an SVG path: one decimal is finer than any screen.
#[must_use]
pub fn path(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        path.push(if path.is_empty() { 'M' } else { 'L' });
        path += &px(x);
        path.push(' ');
        path += &px(y);
    }
    path
}

/// The same, down to the ground and closed.
#[must_use]
pub fn area(line: &str, from: f64, to: f64, ground: f64) -> String {
    if line.is_empty() { String::new() } else { format!("{line}L{} {ground}L{} {ground}Z", px(to), px(from), ground = px(ground)) }
}

/// Adds a bar that stands on nothing: from its corner at the top left, in pixels.
pub fn bar(path: &mut String, (x, y): (f64, f64), (wide, tall): (f64, f64)) {
    let (x, y, wide, tall) = (px(x), px(y), px(wide), px(tall));
    *path += &format!("M{x} {y}h{wide}v{tall}h-{wide}z");
}

/// With fewer values than this nothing can be said of how they went.
const SPARK_MIN: usize = 3;

/// A line of values, evenly spaced over a width and within a height. With `ground` it begins at zero. What is no number is not known, and no part of
/// it. Nothing while there are too few.
#[must_use]
pub fn spark(values: &[f64], width: f64, height: f64, ground: bool) -> String {
    let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(*value), most.max(*value)));
    let low = if ground { 0.0 } else { least };
    let span = if most > low { most - low } else { 1.0 };
    let last = values.len().saturating_sub(1).max(1) as f64;
    let known = values.iter().enumerate().filter(|(_, value)| !value.is_nan());
    let known = known.map(|(index, value)| (index as f64 / last * width, height - 2.0 - (value - low) / span * (height - 5.0)));
    if known.clone().count() < SPARK_MIN { String::new() } else { path(known) }
}

/// Where such a line begins.
#[must_use]
pub fn spark_from(values: &[f64], width: f64) -> f64 {
    let last = values.len().saturating_sub(1).max(1) as f64;
    values.iter().position(|value| !value.is_nan()).map_or(0.0, |first| first as f64 / last * width)
}

/// Where a time since the beginning is on the waterfall's axis: logarithmic from 1 ms to 1 h, so that 5 ms and 10 min read on one.
#[must_use]
pub fn waterfall(millis: u64) -> f64 {
    const HOUR_MS: f64 = 3_600_000.0;
    ((millis.max(1) as f64).ln() / HOUR_MS.ln()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_have_round_lines_around_what_is_shown() {
        for (values, low, high, step) in [
            (vec![98_850.0, 99_090.0], 98_800.0, 99_100.0, 100.0),
            (vec![0.0, 48.0], 0.0, 60.0, 20.0),
            (vec![50.0, 50.0], 49.0, 51.0, 1.0),
            (vec![0.0, 0.0], 0.0, 1.0, 1.0),
            (vec![], 0.0, 3.0, 1.0),
        ] {
            assert_eq!(Steps::around(values), Steps { low, high, step });
        }
        let steps = Steps::around([98_850.0, 99_090.0]);
        assert_eq!(steps.lines(), [98_800.0, 98_900.0, 99_000.0, 99_100.0]);
        assert_eq!((steps.part(98_800.0), steps.part(99_100.0), steps.part(1e9)), (0.0, 1.0, 1.0));
    }

    #[test]
    fn times_are_round() {
        let to = Moment::parse("2026-11-23T14:06:12Z").unwrap();
        let clocks =
            |from: i64, most| times(to.plus(-from), to, most).into_iter().map(|at| time_label(at, from as u64)).collect::<Vec<_>>();
        assert_eq!(clocks(3_600_000, 4), ["13:15", "13:30", "13:45", "14:00"]);
        assert_eq!(clocks(3_600_000, 6), ["13:10", "13:20", "13:30", "13:40", "13:50", "14:00"]);
        assert_eq!(clocks(604_800_000, 7).len(), 7);
        assert_eq!(clocks(604_800_000, 7)[0], "Tue 17 Nov");
        assert_eq!(clocks(2_000, 4), ["14:06:10", "14:06:11", "14:06:12"]);
    }

    #[test]
    fn lines_are_drawn_from_left_to_right() {
        assert_eq!(path([(0.0, 1.0), (2.0, 3.25)]), "M0 1L2 3.3");
        assert_eq!(area("M0 1L2 3.3", 0.0, 2.0, 10.0), "M0 1L2 3.3L2 10L0 10Z");
        let mut bars = String::new();
        bar(&mut bars, (1.0, 2.0), (3.0, 4.5));
        bar(&mut bars, (5.0, 2.0), (1.0, 4.5));
        assert_eq!(bars, "M1 2h3v4.5h-3zM5 2h1v4.5h-1z");
        assert_eq!(area("", 0.0, 2.0, 10.0), "");
        assert_eq!(spark(&[0.0, 5.0, 10.0], 100.0, 32.0, true), "M0 30L50 16.5L100 3");
        assert_eq!(spark(&[5.0, 5.0, 5.0], 100.0, 32.0, false), "M0 30L50 30L100 30");
        let late = [f64::NAN, 0.0, 10.0, 5.0, 0.0];
        assert_eq!((spark(&late, 100.0, 32.0, true).as_str(), spark_from(&late, 100.0)), ("M25 30L50 3L75 16.5L100 30", 25.0));
        assert_eq!((spark(&[], 100.0, 32.0, false), spark(&[1.0, 0.0], 100.0, 32.0, true)), (String::new(), String::new()));
    }

    #[test]
    fn a_waterfall_shows_a_millisecond_and_an_hour() {
        assert_eq!((waterfall(0), waterfall(1), waterfall(3_600_000), waterfall(u64::MAX)), (0.0, 0.0, 1.0, 1.0));
        assert!(waterfall(5) > 0.1 && waterfall(600_000) < 0.9);
    }
}
