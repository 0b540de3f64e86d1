//! Times as people write and read them: `500ms`, `30s`, `10m`, `1h` in; `3 ms`, `1.24 s`, `2 m 05 s` out.

use std::time::Duration;

const MALFORMED: &str = "a time is a number with ms, s, m, h or d";

/// A whole number with its unit, greater than zero; without a unit it is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match &text[number.len()..] {
        "ms" => 1,
        "s" | "" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return Err(MALFORMED.to_owned()),
    };
    let count: u64 = number.parse().map_err(|_| MALFORMED.to_owned())?;
    count.checked_mul(unit_ms).filter(|total| *total > 0).map(Duration::from_millis).ok_or_else(|| "that is no time".to_owned())
}

/// With the precision that a person can use.
#[must_use]
pub fn shown(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..100 => format!("{:.2} s", duration.as_secs_f64()),
        100..3600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("2d"), Ok(Duration::from_secs(172_800)));
        for text in ["", "h", "0s", "1w", "-1h", "1.5h", "99999999999999999999d", "9999999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_shown_as_one_would_say_them() {
        for (ms, text) in [(3, "3 ms"), (1240, "1.24 s"), (99_000, "99.00 s"), (125_000, "2 m 05 s"), (3_720_000, "1 h 02 m")] {
            assert_eq!(shown(Duration::from_millis(ms)), text);
        }
    }
}
