//! What is watched about a device, as it is told and kept.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What is watched about a device. By default nothing is said: the hub's own settings hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Monitoring {
    /// After how long without a connection the device counts as missing; `None`: as the hub has it.
    pub offline_after: Option<OfflineAfter>,
    /// Whether the device gets time series of its own among the hub's metrics.
    pub per_device_metrics: bool,
}

/// A time from 10 s to 90 days, exact to the nanosecond. As text it is Go's, which is Kubernetes': `90s`, `15m`, `1h30m`, `0.5h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OfflineAfter(Duration);

/// No such time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOfflineAfter {
    /// Not one of Go's durations.
    #[error("{0:?} is no duration: numbers with units, such as 90s, 15m or 1h30m")]
    Text(String),
    /// Too short or too long.
    #[error("offlineAfter is from 10s to 2160h (90 days), not {0:?}")]
    Range(Duration),
}

/// The longest text that is looked at: more than all units with a number each need.
const TEXT_MAX_BYTES: usize = 64;

/// A unit that begins like another one comes before it.
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

/// More digits after the point than an hour has nanoseconds say nothing.
const FRACTION_MAX_DIGITS: usize = 13;

impl OfflineAfter {
    /// Connections come and go within seconds: less would be noise.
    pub const MIN: Duration = Duration::from_secs(10);

    /// Nobody waits for longer than that to be told.
    pub const MAX: Duration = Duration::from_secs(90 * 24 * 3600);

    /// The one check.
    pub fn new(duration: Duration) -> Result<Self, InvalidOfflineAfter> {
        if (Self::MIN..=Self::MAX).contains(&duration) { Ok(Self(duration)) } else { Err(InvalidOfflineAfter::Range(duration)) }
    }

    /// How long.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for OfflineAfter {
    type Err = InvalidOfflineAfter;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidOfflineAfter::Text(text.chars().take(TEXT_MAX_BYTES).collect());
        if text.is_empty() || text.len() > TEXT_MAX_BYTES {
            return Err(invalid());
        }
        let (mut rest, mut total_ns) = (text, 0u128);
        while !rest.is_empty() {
            let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
            let (unit, unit_ns) = UNITS_NS.into_iter().find(|(unit, _)| rest[number..].starts_with(unit)).ok_or_else(invalid)?;
            total_ns = in_nanoseconds(&rest[..number], unit_ns).and_then(|ns| total_ns.checked_add(ns)).ok_or_else(invalid)?;
            rest = &rest[number + unit.len()..];
        }
        Self::new(Duration::from_nanos(u64::try_from(total_ns).map_err(|_| invalid())?))
    }
}

/// `digits[.digits]` of a unit; what is below a nanosecond is cut.
fn in_nanoseconds(number: &str, unit_ns: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    let fraction = &fraction[..fraction.len().min(FRACTION_MAX_DIGITS)];
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    digits(whole)?.checked_mul(unit_ns)?.checked_add(digits(fraction)?.checked_mul(unit_ns)? / scale)
}

/// As short as it goes: `24h`, `1h30m`, `10.5s`.
impl fmt::Display for OfflineAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
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

#[cfg(test)]
mod tests {
    use mooring_crds::GoDuration;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_from_ten_seconds_to_ninety_days() {
        for (text, seconds) in [("10s", 10), ("10000ms", 10), ("1m", 60), ("1h30m0s", 5400), ("1.5h", 5400), ("2160h", 7_776_000)] {
            assert_eq!(text.parse::<OfflineAfter>().map(|time| time.get().as_secs()), Ok(seconds), "{text}");
        }
        for text in ["9.999999999s", "2160h0.000000001s", "0s", "1000000h"] {
            assert!(matches!(text.parse::<OfflineAfter>(), Err(InvalidOfflineAfter::Range(_))), "{text}");
        }
        for text in ["", "0", "10", "s", "-10s", "1d", "1 h", "1..5h", ".h", "1e3s", "99999999999999999999999999999999999999h"] {
            assert!(matches!(text.parse::<OfflineAfter>(), Err(InvalidOfflineAfter::Text(_))), "{text}");
        }
        let error = "5s".parse::<OfflineAfter>().unwrap_err();
        assert_eq!(error.to_string(), "offlineAfter is from 10s to 2160h (90 days), not 5s");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ns in 10_000_000_000..=7_776_000_000_000_000_u64) {
            let time = OfflineAfter::new(Duration::from_nanos(ns)).unwrap();
            prop_assert_eq!(time.to_string().parse(), Ok(time));
            prop_assert_eq!(time.to_string(), GoDuration(time.get()).to_string(), "and as the manifests write it");
        }

        /// Whatever a manifest can say means the same here, or is out of range.
        #[test]
        fn it_is_read_as_manifests_are(text in "([0-9]{1,4}(\\.[0-9]{0,15})?(ns|us|µs|ms|s|m|h)){1,4}|[0-9.hmsnuµ]{0,20}|\\PC{0,80}") {
            let theirs = text.parse::<GoDuration>().ok().and_then(|time| OfflineAfter::new(time.0).ok());
            prop_assert_eq!(text.parse::<OfflineAfter>().ok(), theirs);
        }
    }
}
