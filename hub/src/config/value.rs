//! The forms that a setting can have: each is text, with its range in its type.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

use super::host_name::HostName;
use crate::core::access::Right;
use crate::core::consumer_group::{ConsumerGroup, GROUPS_MAX, parse_groups};
use crate::core::hub_place::HubPlace;
use crate::core::policy::Permission;

/// A setting's form. Text is what flags and the environment have; a file may also have TOML's own numbers and lists.
pub trait Value: Sized {
    /// The form and the range, for people.
    fn form() -> String;

    /// Reads it; an error says what the form is.
    fn from_text(text: &str) -> Result<Self, InvalidValue>;
}

/// A text that has not the form of its setting, and what the form is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {form}")]
pub struct InvalidValue {
    text: String,
    form: String,
}

impl InvalidValue {
    fn of<V: Value>(text: &str) -> Self {
        Self { text: text.to_owned(), form: V::form() }
    }
}

/// A whole number in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Count<MIN, MAX> {
    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The number, for settings whose range is within 32 bits.
    #[must_use]
    pub fn get_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl<const MIN: u64, const MAX: u64> Value for Count<MIN, MAX> {
    fn form() -> String {
        format!("a number from {MIN} to {MAX}")
    }

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let count = text.trim().parse().ok().filter(|count| (MIN..=MAX).contains(count));
        count.map(Self).ok_or_else(|| InvalidValue::of::<Self>(text))
    }
}

/// A time such as `15m`, `1d` or `1h30m`, in a range of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<const MIN_S: u64, const MAX_S: u64>(Duration);

impl<const MIN_S: u64, const MAX_S: u64> Span<MIN_S, MAX_S> {
    /// The time.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

impl<const MIN_S: u64, const MAX_S: u64> Value for Span<MIN_S, MAX_S> {
    fn form() -> String {
        format!("a time from {} to {}, such as 90s, 15m, 1h30m or 1d", with_unit(MIN_S, &TIME_UNITS), with_unit(MAX_S, &TIME_UNITS))
    }

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let seconds = parse_time(text.trim()).filter(|seconds| (MIN_S..=MAX_S).contains(seconds));
        seconds.map(|seconds| Self(Duration::from_secs(seconds))).ok_or_else(|| InvalidValue::of::<Self>(text))
    }
}

/// A size such as `64MiB`, in a range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Size<MIN, MAX> {
    /// The bytes.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> Value for Size<MIN, MAX> {
    fn form() -> String {
        format!("a size from {} to {}, such as 512KiB or 64GiB", with_unit(MIN, &SIZE_UNITS), with_unit(MAX, &SIZE_UNITS))
    }

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let bytes = parse_size(text.trim()).filter(|bytes| (MIN..=MAX).contains(bytes));
        bytes.map(Self).ok_or_else(|| InvalidValue::of::<Self>(text))
    }
}

/// Names of consumer groups, `$Default` left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupNames(Vec<ConsumerGroup>);

impl GroupNames {
    /// The groups.
    #[must_use]
    pub fn get(&self) -> &[ConsumerGroup] {
        &self.0
    }
}

impl From<Vec<ConsumerGroup>> for GroupNames {
    fn from(groups: Vec<ConsumerGroup>) -> Self {
        Self(groups)
    }
}

impl Value for GroupNames {
    fn form() -> String {
        format!("a list of at most {} names, each 1 to 50 letters and digits with . _ and - between them", GROUPS_MAX - 1)
    }

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        parse_groups(names)
            .map(Self)
            .map_err(|problem| InvalidValue { text: text.to_owned(), form: format!("{} ({problem})", Self::form()) })
    }
}

/// Where to listen, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl Value for Listen {
    fn form() -> String {
        "an address with a port, such as 0.0.0.0:8883 or [::]:8883, or off".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        match text.trim() {
            "off" => Ok(Self(None)),
            address => address.parse().map(|address| Self(Some(address))).map_err(|_| InvalidValue::of::<Self>(text)),
        }
    }
}

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Value for LogFormat {
    fn form() -> String {
        "auto (text on a terminal, else json), json or text".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(InvalidValue::of::<Self>(text)),
        }
    }
}

impl Value for String {
    fn form() -> String {
        "text".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        Ok(text.to_owned())
    }
}

impl Value for PathBuf {
    fn form() -> String {
        "a path".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        if text.is_empty() { Err(InvalidValue::of::<Self>(text)) } else { Ok(text.into()) }
    }
}

impl Value for HostName {
    fn form() -> String {
        "a host name without a port".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        text.trim().parse().map_err(|_| InvalidValue::of::<Self>(text))
    }
}

impl Value for IpNet {
    fn form() -> String {
        "a network such as 10.0.0.0/8".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        text.trim().parse().map_err(|_| InvalidValue::of::<Self>(text))
    }
}

impl Value for Permission {
    fn form() -> String {
        "RegistryRead, RegistryWrite, ServiceConnect or DeviceConnect".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        text.trim().parse().map_err(|_| InvalidValue::of::<Self>(text))
    }
}

impl Value for Right {
    fn form() -> String {
        "Read, Bodies, Commands, Devices or Secrets".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        text.trim().parse().map_err(|_| InvalidValue::of::<Self>(text))
    }
}

impl Value for HubPlace {
    fn form() -> String {
        "a namespace and a name, such as plant/hub".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        text.trim().parse().map_err(|_| InvalidValue::of::<Self>(text))
    }
}

/// Empty text is no value.
impl<V: Value> Value for Option<V> {
    fn form() -> String {
        V::form()
    }

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        if text.is_empty() { Ok(None) } else { V::from_text(text).map(Some) }
    }
}

/// With commas between them; empty text is an empty list.
impl<V: Value> Value for Vec<V> {
    fn form() -> String {
        format!("a list, each {}", V::form())
    }

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        text.split(',').filter(|item| !item.trim().is_empty()).map(V::from_text).collect()
    }
}

/// Reads a setting from a file: a text, or a whole number or a list where text of that form would do.
pub(super) fn deserialize<'de, V: Value, D: Deserializer<'de>>(deserializer: D) -> Result<V, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text, a whole number or a list of texts")]
    enum Raw {
        Text(String),
        Number(u64),
        List(Vec<String>),
    }
    let text = match Raw::deserialize(deserializer)? {
        Raw::Text(text) => text,
        Raw::Number(number) => number.to_string(),
        Raw::List(items) if items.iter().any(|item| item.contains(',')) => return Err(de::Error::custom("an item has a comma in it")),
        Raw::List(items) => items.join(","),
    };
    V::from_text(&text).map_err(de::Error::custom)
}

/// Units from the largest to the smallest, each a multiple of the one after it.
type Units = [(&'static str, u64)];

const TIME_UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

const SIZE_UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Numbers with units, the larger first, each unit at most once.
fn parse_time(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0u64;
    for (unit, seconds) in TIME_UNITS {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if let Some(after) = rest[digits..].strip_prefix(unit) {
            total = total.checked_add(rest[..digits].parse::<u64>().ok()?.checked_mul(seconds)?)?;
            rest = after;
        }
    }
    (rest.is_empty() && !text.is_empty()).then_some(total)
}

/// A number with a unit, or of bytes.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = if unit.is_empty() { 1 } else { SIZE_UNITS.iter().find(|(name, _)| *name == unit)?.1 };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// In the largest unit that keeps the number whole.
fn with_unit(number: u64, units: &Units) -> impl fmt::Display {
    match units.iter().find(|(_, factor)| number >= *factor && number.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", number / factor),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_a_range() {
        type Time = Span<1, 86_400>;
        for (text, seconds) in [("1s", 1), ("90s", 90), ("15m", 900), ("1h30m", 5_400), ("1d", 86_400), (" 2m ", 120)] {
            assert_eq!(Time::from_text(text).map(|time| time.get().as_secs()), Ok(seconds), "{text}");
        }
        for text in ["", "5", "s", "0s", "1d1s", "30m1h", "1m1m", "-1s", "1.5h", "1ms", "99999999999999999999s", "300000000000000000d"] {
            assert!(Time::from_text(text).is_err(), "{text}");
        }
        assert_eq!(Time::from_text("2d").unwrap_err().to_string(), "\"2d\" is not a time from 1s to 1d, such as 90s, 15m, 1h30m or 1d");
    }

    #[test]
    fn sizes_have_binary_units_and_a_range() {
        type Bytes = Size<1024, { 1 << 30 }>;
        for (text, bytes) in [("1024", 1024), ("1024B", 1024), ("64KiB", 65_536), ("1GiB", 1 << 30)] {
            assert_eq!(Bytes::from_text(text).map(Size::get), Ok(bytes), "{text}");
        }
        for text in ["", "1023", "2GiB", "64MB", "64 MiB", "KiB", "1.5MiB", "99999999999TiB"] {
            assert!(Bytes::from_text(text).is_err(), "{text}");
        }
        assert!(Bytes::from_text("1").unwrap_err().to_string().contains("from 1KiB to 1GiB"));
    }

    #[test]
    fn a_listener_can_be_off() {
        assert_eq!(Listen::from_text("off"), Ok(Listen(None)));
        assert_eq!(Listen::from_text("[::]:8883"), Ok(Listen("[::]:8883".parse().ok())));
        assert!(Listen::from_text("localhost:8883").is_err());
    }

    #[test]
    fn lists_have_commas() {
        assert_eq!(Vec::<IpNet>::from_text("10.0.0.0/8, fd00::/8").map(|networks| networks.len()), Ok(2));
        assert_eq!(Vec::<IpNet>::from_text(""), Ok(vec![]));
        assert!(Vec::<IpNet>::from_text("10.0.0.1").is_err());
    }
}
