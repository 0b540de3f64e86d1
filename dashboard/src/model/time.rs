//! Moments, in milliseconds of Unix time and always shown in UTC: those who look at one screen together are in several places.

/// A moment: milliseconds since 1970 began, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

const DAY_MS: i64 = 86_400_000;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// 1 January 1970 was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

impl Moment {
    /// What ISO 8601 says in UTC, as the hub writes it: `2026-11-23T14:06:12.250Z`. Digits behind the millisecond are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('Z')?;
        let (date, time) = text.split_once('T')?;
        let mut date = date.splitn(3, '-').map(str::parse::<i64>);
        let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
        let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
        let mut time = time.splitn(3, ':').map(str::parse::<i64>);
        let (hour, minute, second) = (time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?);
        let within = (1..=12).contains(&month) && (1..=31).contains(&day) && (0..24).contains(&hour) && (0..60).contains(&minute);
        if !within || !(0..=60).contains(&second) || !(0..=9999).contains(&year) || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let millis = fraction.bytes().chain(*b"000").take(3).fold(0, |millis, digit| millis * 10 + i64::from(digit - b'0'));
        Some(Self(days_before(year, month, day) * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + millis))
    }

    /// How long before another moment; nothing when it is later, because clocks differ.
    #[must_use]
    pub fn millis_until(self, later: Self) -> u64 {
        u64::try_from(later.0.saturating_sub(self.0)).unwrap_or_default()
    }

    /// So much later, or earlier.
    #[must_use]
    pub fn plus(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// The time of day for somebody for whom it is `present`: `14:06:12`. Of another day with that day, and to the minute unless it is to be `fine`:
    /// `22 Nov 14:06`, `22 Nov 2025 14:06`.
    #[must_use]
    pub fn clock_at(self, present: Self, fine: bool) -> String {
        let time = if fine || self.is_day_of(present) { self.clock() } else { self.hour_and_minute() };
        let ((year, month, day), (this_year, ..)) = (self.date(), present.date());
        if self.is_day_of(present) {
            time
        } else if year == this_year {
            format!("{day} {month} {time}")
        } else {
            format!("{day} {month} {year} {time}")
        }
    }

    /// `14:06`.
    #[must_use]
    pub fn hour_and_minute(self) -> String {
        self.clock().chars().take(5).collect()
    }

    /// `14:06:12`.
    #[must_use]
    pub fn clock(self) -> String {
        let second = self.0.rem_euclid(DAY_MS) / 1000;
        format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
    }

    /// `.250`.
    #[must_use]
    pub fn fraction(self) -> String {
        format!(".{:03}", self.0.rem_euclid(1000))
    }

    /// `Mon 23 Nov`.
    #[must_use]
    pub fn day(self) -> String {
        let (_, month, day) = self.date();
        let weekday = WEEKDAYS.get(self.0.div_euclid(DAY_MS).rem_euclid(7) as usize).copied().unwrap_or_default();
        format!("{weekday} {day} {month}")
    }

    /// `23 Nov 2026`.
    #[must_use]
    pub fn full_date(self) -> String {
        let (year, month, day) = self.date();
        format!("{day} {month} {year}")
    }

    /// `Mon 23 Nov 2026 14:06:12.250 UTC`: what a title says.
    #[must_use]
    pub fn absolute(self) -> String {
        let (year, ..) = self.date();
        let fraction = if self.0.rem_euclid(1000) == 0 { String::new() } else { self.fraction() };
        format!("{} {year} {}{fraction} UTC", self.day(), self.clock())
    }

    /// `2026-11-23T14:06:12.250Z`: for programs.
    #[must_use]
    pub fn iso(self) -> String {
        let (year, month, day) = civil(self.0.div_euclid(DAY_MS));
        format!("{year:04}-{month:02}-{day:02}T{}{}Z", self.clock(), self.fraction())
    }

    /// Whether both are of one day.
    #[must_use]
    pub fn is_day_of(self, other: Self) -> bool {
        self.0.div_euclid(DAY_MS) == other.0.div_euclid(DAY_MS)
    }

    /// When its day began.
    #[must_use]
    pub fn midnight(self) -> Self {
        Self(self.0 - self.0.rem_euclid(DAY_MS))
    }

    fn date(self) -> (i64, &'static str, i64) {
        let (year, month, day) = civil(self.0.div_euclid(DAY_MS));
        (year, MONTHS.get((month - 1) as usize).copied().unwrap_or_default(), day)
    }
}

/// By how much the hub's clock is before this machine's, in milliseconds, once the hub has said the time to the second: `said`, somewhere between the
/// moments `begun` and `heard` of this machine. What was thought before stays as far as it can be true, so that clocks that agree are left alone.
#[must_use]
pub fn ahead_ms(thought: i64, begun: Moment, said: Moment, heard: Moment) -> i64 {
    let (least, most) = (said.0 - heard.0, said.0 + 1000 - begun.0);
    thought.max(least).min(most)
}

/// How many days of the proleptic Gregorian calendar there are between 1 January 1970 and this one. Howard Hinnant's `days_from_civil`.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The other way round: year, month, day. Howard Hinnant's `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_hub_writes_is_read_and_written_back() {
        for text in ["2026-11-23T14:06:12.250Z", "1970-01-01T00:00:00.000Z", "2024-02-29T23:59:59.999Z", "2100-03-01T00:00:00.000Z"] {
            assert_eq!(Moment::parse(text).unwrap().iso(), text);
        }
        assert_eq!(Moment::parse("2023-11-14T22:13:20Z"), Some(Moment(1_700_000_000_000)));
        assert_eq!(Moment::parse("2026-11-23T03:00:07.2500000Z").unwrap().fraction(), ".250");
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in
            ["", "2026-11-23", "2026-11-23T14:06:12.250", "2026-13-23T14:06:12Z", "2026-11-23T25:06:12Z", "2026-11-23T14:06:12.-5Z", "x"]
        {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }

    #[test]
    fn it_is_said_in_short_and_in_full() {
        let moment = Moment::parse("2026-11-23T14:06:12.250Z").unwrap();
        assert_eq!(
            (moment.clock().as_str(), moment.hour_and_minute().as_str(), moment.day().as_str()),
            ("14:06:12", "14:06", "Mon 23 Nov")
        );
        assert_eq!(moment.absolute(), "Mon 23 Nov 2026 14:06:12.250 UTC");
        assert_eq!(moment.plus(-250).absolute(), "Mon 23 Nov 2026 14:06:12 UTC");
        assert_eq!(moment.full_date(), "23 Nov 2026");
        assert!(moment.is_day_of(moment.plus(9 * 3_600_000)) && !moment.is_day_of(moment.plus(10 * 3_600_000)));
    }

    #[test]
    fn a_time_of_another_day_says_which() {
        let moment = Moment::parse("2026-01-01T00:06:12.250Z").unwrap();
        for (present, fine, text) in [
            ("2026-01-01T23:59:59.000Z", false, "00:06:12"),
            ("2026-01-02T00:00:00.000Z", false, "1 Jan 00:06"),
            ("2026-11-23T00:00:00.000Z", true, "1 Jan 00:06:12"),
            ("2025-12-31T23:59:59.000Z", false, "1 Jan 2026 00:06"),
        ] {
            assert_eq!(moment.clock_at(Moment::parse(present).unwrap(), fine), text);
        }
        assert_eq!(moment.midnight().iso(), "2026-01-01T00:00:00.000Z");
    }

    #[test]
    fn clocks_that_agree_are_left_alone() {
        let (begun, heard) = (Moment(10_200), Moment(10_260));
        for said in [9_300, 10_000, 10_200] {
            assert_eq!(ahead_ms(0, begun, Moment(said), heard), 0, "{said}");
        }
        assert_eq!(ahead_ms(0, begun, Moment(70_000), heard), 59_740, "a minute behind");
        assert_eq!(ahead_ms(59_740, Moment(10_900), Moment(71_000), Moment(10_910)), 60_090, "a later answer says it better");
        assert_eq!(ahead_ms(60_090, Moment(12_000), Moment(72_000), Moment(12_010)), 60_090);
        assert_eq!(ahead_ms(0, begun, Moment(-50_000), heard), -59_200, "a minute ahead");
    }

    #[test]
    fn a_clock_that_is_ahead_makes_no_negative_time() {
        assert_eq!((Moment(5).millis_until(Moment(3)), Moment(3).millis_until(Moment(5))), (0, 2));
    }
}
