//! What the options of `mooring-hub simulate` say: shares of a fleet, rates, and habits with their times.

use std::str::FromStr;
use std::time::Duration;

use crate::cli::duration::parse_duration;

/// A part of a fleet, 0 to 100 %.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Share(f64);

impl Share {
    /// All of it.
    #[cfg(test)]
    pub(super) const ALL: Self = Self(1.0);

    /// How many of `count`, rounded up: who asks for a share wants to see it.
    pub(super) fn of(self, count: usize) -> usize {
        // Percentages like 28 % have no exact binary form; what is a whole number but for that is one.
        ((self.0 * count as f64 - 1e-9).ceil() as usize).min(count)
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        let share = percent.filter(|percent| (0.0..=100.0).contains(percent)).map(|percent| Self(percent / 100.0));
        share.ok_or_else(|| "a share is a percentage such as 20% or 2.5%".to_owned())
    }
}

/// Devices that sleep: how many, how long they are awake, and how long they are not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sleep {
    pub(super) share: Share,
    pub(super) awake: Duration,
    pub(super) asleep: Duration,
}

impl FromStr for Sleep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (share, times) = text.split_once(':').unwrap_or((text, "30s/2m"));
        let (awake, asleep) = times.split_once('/').ok_or("the times are AWAKE/ASLEEP, such as 30s/2m")?;
        Ok(Self { share: share.parse()?, awake: parse_duration(awake)?, asleep: parse_duration(asleep)? })
    }
}

/// Devices whose connection breaks again and again: how many, and how long it mostly holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Flap {
    pub(super) share: Share,
    pub(super) holds: Duration,
}

impl FromStr for Flap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (share, holds) = text.split_once(':').unwrap_or((text, "10s"));
        Ok(Self { share: share.parse()?, holds: parse_duration(holds)? })
    }
}

/// The time between two, of something that comes with a rate such as `2/s` or `10/m`.
pub(super) fn parse_rate(text: &str) -> Result<Duration, String> {
    const MALFORMED: &str = "a rate is a number per s, m or h, such as 0.5/s or 10/m";
    let (number, unit) = text.split_once('/').ok_or(MALFORMED)?;
    let unit_s = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(MALFORMED.to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| MALFORMED)?;
    let between = Duration::try_from_secs_f64(unit_s / number).map_err(|_| MALFORMED)?;
    if between.is_zero() { Err(MALFORMED.to_owned()) } else { Ok(between) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percentages_and_round_up() {
        let share = |text: &str| text.parse::<Share>();
        assert_eq!(share("2%").unwrap().of(50), 1);
        assert_eq!(share("28%").unwrap().of(25), 7);
        assert_eq!(share("2.5%").unwrap().of(10), 1);
        assert_eq!(share("0%").unwrap().of(10), 0);
        assert_eq!(share("100%"), Ok(Share::ALL));
        for wrong in ["20", "-1%", "101%", "%", "NaN%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn habits_have_times_that_may_be_left_out() {
        let sleep: Sleep = "20%:500ms/2m".parse().unwrap();
        assert_eq!((sleep.awake, sleep.asleep), (Duration::from_millis(500), Duration::from_secs(120)));
        assert_eq!("20%".parse::<Sleep>().unwrap().awake, Duration::from_secs(30));
        assert_eq!("2%:1s".parse::<Flap>().unwrap().holds, Duration::from_secs(1));
        assert_eq!("2%".parse::<Flap>().unwrap().holds, Duration::from_secs(10));
        assert!("20%:30s".parse::<Sleep>().is_err() && "x:1s/1s".parse::<Sleep>().is_err());
    }

    #[test]
    fn rates_are_turned_into_the_time_between_two() {
        assert_eq!(parse_rate("2/s"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_rate("0.5/m"), Ok(Duration::from_secs(120)));
        for wrong in ["2", "0/s", "-1/s", "1/d", "inf/s", "NaN/s", "1e300/s"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }
}
