//! Durations as Go writes them, which is how Kubernetes has them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration as a Go string: `90s`, `15m`, `1h30m`, `0.5s`. Never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub Duration);

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no duration: numbers with units, such as 90s, 15m or 1h30m")]
pub struct InvalidDuration(String);

/// The longest text: more than all units with a number each need.
const TEXT_MAX_BYTES: usize = 64;

/// What Go's `time.Duration` can hold, in nanoseconds: some 292 years.
const MAX_NS: u128 = i64::MAX as u128;

/// Longer units' first letters come after the shorter ones that begin alike (`ms` before `m`).
const UNITS_NS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl GoDuration {
    /// Whole minutes.
    #[must_use]
    pub const fn minutes(minutes: u64) -> Self {
        Self(Duration::from_secs(minutes * 60))
    }

    /// Whole hours.
    #[must_use]
    pub const fn hours(hours: u64) -> Self {
        Self(Duration::from_secs(hours * 3600))
    }
}

impl FromStr for GoDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidDuration(text.chars().take(TEXT_MAX_BYTES).collect());
        if text == "0" {
            return Ok(Self::default());
        }
        if text.is_empty() || text.len() > TEXT_MAX_BYTES {
            return Err(invalid());
        }
        let (mut rest, mut total_ns) = (text, 0u128);
        while !rest.is_empty() {
            let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
            let (unit, unit_ns) = UNITS_NS.into_iter().find(|(unit, _)| rest[number..].starts_with(unit)).ok_or_else(invalid)?;
            total_ns = parse_number(&rest[..number], unit_ns).and_then(|ns| total_ns.checked_add(ns)).ok_or_else(invalid)?;
            rest = &rest[number + unit.len()..];
        }
        let in_range = u64::try_from(total_ns).ok().filter(|_| total_ns <= MAX_NS).ok_or_else(invalid)?;
        Ok(Self(Duration::from_nanos(in_range)))
    }
}

/// `digits[.digits]` of a unit, in nanoseconds; what is below one is cut.
fn parse_number(text: &str, unit_ns: u128) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // More digits than an hour has nanoseconds say nothing.
    let digits: String = fraction.chars().take(13).collect();
    let scaled = match digits.len() {
        0 => 0,
        length => digits.parse::<u128>().ok()?.checked_mul(unit_ns)? / 10u128.checked_pow(u32::try_from(length).ok()?)?,
    };
    if fraction.contains('.') { None } else { whole.checked_mul(unit_ns)?.checked_add(scaled) }
}

/// As short as it goes: `24h`, `1h30m`, `0.5s`, `0s`.
impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        if self.0.is_zero() {
            return f.write_str("0s");
        }
        for (value, unit) in [(seconds / 3600, "h"), (seconds / 60 % 60, "m")] {
            if value > 0 {
                write!(f, "{value}{unit}")?;
            }
        }
        match (seconds % 60, nanos) {
            (0, 0) => Ok(()),
            (seconds, 0) => write!(f, "{seconds}s"),
            (seconds, nanos) => write!(f, "{seconds}.{}s", format!("{nanos:09}").trim_end_matches('0')),
        }
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'_, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> Cow<'static, str> {
        "GoDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": TEXT_MAX_BYTES, "pattern": r"^(0|([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+)$" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_go_writes_is_read() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("24h0m0s", 86_400_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("300ms", 300),
            ("1m2.25s", 62_250),
            ("1000us", 1),
            ("1000µs", 1),
        ] {
            assert_eq!(text.parse::<GoDuration>().unwrap().0, Duration::from_millis(millis), "{text}");
        }
        for text in ["", "1", "h", "-1s", "1d", "1 h", "1..5s", ".s", "1e3s", "300000000h", "99999999999999999999999999999999999999999h"] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }

    #[test]
    fn they_are_written_short() {
        for (text, written) in [("24h0m0s", "24h"), ("90s", "1m30s"), ("1500ms", "1.5s"), ("1ns", "0.000000001s"), ("0", "0s")] {
            assert_eq!(text.parse::<GoDuration>().unwrap().to_string(), written);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ns in 0..i64::MAX) {
            let duration = GoDuration(Duration::from_nanos(ns.unsigned_abs()));
            prop_assert_eq!(duration.to_string().parse::<GoDuration>().unwrap(), duration);
        }

        #[test]
        fn garbage_is_refused_without_a_panic(text in "[0-9.hmsnuµ]{0,20}|\\PC{0,80}") {
            let _ = text.parse::<GoDuration>();
        }
    }
}
