//! Numbers, sizes and durations as the dashboard writes them: short on the screen, exact in the title and when copied.

/// Between thousands, and between a number and its unit: narrow, and never at the end of a line.
pub const THIN: char = '\u{202f}';

/// For a value that is not there. Zero is `0`.
pub const NOTHING: &str = "–";

/// Up to here a number is written in full.
const EXACT_MAX: u64 = 9_999_999;

/// With so many digits behind the point. The standard library's way would be exact for every number there is, and more code than all other
/// formats together.
#[must_use]
pub fn decimal(value: f64, digits: u32) -> String {
    let power = 10_i64.pow(digits);
    let scaled = (value * power as f64).round() as i64;
    let (whole, rest) = (scaled.abs() / power, scaled.abs() % power);
    let sign = if scaled < 0 { "-" } else { "" };
    if digits == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest:0digits$}", digits = digits as usize) }
}

/// Pixels, to a tenth of one: finer than any screen.
#[must_use]
pub fn px(value: f64) -> String {
    let mut text = decimal(value, 1);
    if text.ends_with(".0") {
        text.truncate(text.len() - 2);
    }
    text
}

/// A part of something that is drawn, in percent of it.
#[must_use]
pub fn share(part: f64) -> String {
    decimal(part * 100.0, 2) + "%"
}

/// With a space between thousands.
#[must_use]
pub fn exact(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(THIN);
        }
        text.push(digit);
    }
    text
}

/// In full up to 9 999 999, with three digits and a unit above: `1.88 G`.
#[must_use]
pub fn number(number: u64) -> String {
    if number <= EXACT_MAX { exact(number) } else { scaled(number as f64, 1000.0, &["", "k", "M", "G", "T", "P", "E"]) }
}

/// Of something per second or minute: one digit behind the point while it is small.
#[must_use]
pub fn rate(value: f64) -> String {
    if !value.is_finite() || value <= 0.0 {
        "0".to_owned()
    } else if value < 9.95 {
        px(value)
    } else {
        number(value.round() as u64)
    }
}

/// `212 B`, `11.2 KiB`, `4.6 MiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (value, unit) = reduced(bytes as f64, 1024.0, &UNITS);
    format!("{} {unit}", if value < 99.95 { px(value) } else { decimal(value, 0) })
}

/// A part of a whole, in percent: `98.81 %`. Never rounded up to all, nor down to nothing.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return NOTHING.to_owned();
    }
    let hundredths = (u128::from(part) * 10_000 / u128::from(whole)) as u64;
    match (hundredths, part) {
        (0, 0) => "0 %".to_owned(),
        (0, _) => "< 0.01 %".to_owned(),
        (10_000, _) => "100 %".to_owned(),
        _ => format!("{}.{:02} %", hundredths / 100, hundredths % 100),
    }
}

/// What was measured: `212 ms`, `1.31 s`, and from a minute on as [`elapsed`] has it.
#[must_use]
pub fn duration(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..10_000 => decimal(millis as f64 / 1000.0, 2) + " s",
        10_000..60_000 => decimal(millis as f64 / 1000.0, 1) + " s",
        _ => elapsed(millis),
    }
}

/// A limit, which is as round as it is: `250 ms`, `2.5 s`, `30 s`.
#[must_use]
pub fn limit(millis: u64) -> String {
    if (1_000..60_000).contains(&millis) { px(millis as f64 / 1000.0) + " s" } else { duration(millis) }
}

/// What goes on: whole seconds, and of the units the two largest: `18 s`, `3 m 41 s`, `11 h 54 m`, `12 d 4 h`, `41 d`.
#[must_use]
pub fn elapsed(millis: u64) -> String {
    let seconds = millis / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(minutes, "m", seconds % 60, "s"),
        3600..86_400 => two(hours, "h", minutes % 60, "m"),
        _ if days < 30 => two(days, "d", hours % 24, "h"),
        _ => format!("{} d", exact(days)),
    }
}

/// One thing, or several.
#[must_use]
pub fn count(number_of: u64, one: &str, several: &str) -> String {
    format!("{} {}", number(number_of), if number_of == 1 { one } else { several })
}

/// `41st`, `2nd`, `13th`.
#[must_use]
pub fn ordinal(number_of: u64) -> String {
    let ending = match (number_of % 100, number_of % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{}{ending}", exact(number_of))
}

fn two(first: u64, first_unit: &str, second: u64, second_unit: &str) -> String {
    if second == 0 { format!("{first} {first_unit}") } else { format!("{first} {first_unit} {second} {second_unit}") }
}

/// Three digits and a unit.
fn scaled(value: f64, step: f64, units: &[&'static str]) -> String {
    let (value, unit) = reduced(value, step, units);
    let digits = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{}{THIN}{unit}", decimal(value, digits))
}

fn reduced(mut value: f64, step: f64, units: &[&'static str]) -> (f64, &'static str) {
    let mut rest = units;
    // What would be rounded up to a step belongs to the next unit.
    while value >= step - 0.5 && rest.len() > 1 {
        value /= step;
        rest = rest.get(1..).unwrap_or_default();
    }
    (value, rest.first().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_shortened_only_when_they_are_long() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1\u{202f}000"),
            (98_941, "98\u{202f}941"),
            (9_999_999, "9\u{202f}999\u{202f}999"),
            (10_000_000, "10.0\u{202f}M"),
            (123_456_789, "123\u{202f}M"),
            (1_880_000_000, "1.88\u{202f}G"),
            (999_999_999, "1.00\u{202f}G"),
            (u64::MAX, "18.4\u{202f}E"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(exact(1_880_000_000), "1\u{202f}880\u{202f}000\u{202f}000");
    }

    #[test]
    fn rates_keep_a_digit_while_they_are_small() {
        for (value, text) in
            [(0.0, "0"), (0.24, "0.2"), (2.0, "2"), (9.94, "9.9"), (9.96, "10"), (18_411.6, "18\u{202f}412"), (f64::NAN, "0")]
        {
            assert_eq!(rate(value), text);
        }
    }

    #[test]
    fn sizes_are_binary() {
        for (value, text) in [
            (0, "0 B"),
            (51, "51 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (65_536, "64 KiB"),
            (11_469, "11.2 KiB"),
            (4_823_450, "4.6 MiB"),
            (227_633_266_688, "212 GiB"),
            (1_048_575, "1 MiB"),
        ] {
            assert_eq!(bytes(value), text);
        }
    }

    #[test]
    fn a_part_is_never_rounded_to_all_or_nothing() {
        for (part, whole, text) in [
            (98_941, 100_128, "98.81 %"),
            (0, 5, "0 %"),
            (5, 5, "100 %"),
            (999_999, 1_000_000, "99.99 %"),
            (1, 1_000_000, "< 0.01 %"),
            (0, 0, "–"),
        ] {
            assert_eq!(percent(part, whole), text);
        }
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (millis, text) in [
            (0, "0 ms"),
            (212, "212 ms"),
            (1310, "1.31 s"),
            (18_400, "18.4 s"),
            (60_000, "1 m"),
            (221_000, "3 m 41 s"),
            (42_840_000, "11 h 54 m"),
            (1_051_200_000, "12 d 4 h"),
            (3_542_400_000, "41 d"),
        ] {
            assert_eq!(duration(millis), text);
        }
        for (millis, text) in [(250, "250 ms"), (1_000, "1 s"), (2_500, "2.5 s"), (30_000, "30 s"), (300_000, "5 m")] {
            assert_eq!(limit(millis), text);
        }
        assert_eq!((elapsed(999).as_str(), elapsed(18_400).as_str()), ("0 s", "18 s"));
    }

    #[test]
    fn words_follow_their_number() {
        assert_eq!((count(1, "device", "devices"), count(0, "device", "devices")), ("1 device".to_owned(), "0 devices".to_owned()));
        let ordinals: Vec<_> = [1, 2, 3, 4, 11, 12, 13, 21, 41, 112].map(ordinal).into();
        assert_eq!(ordinals, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "41st", "112th"]);
    }
}
