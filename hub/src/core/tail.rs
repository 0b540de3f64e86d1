//! What somebody is shown of the events as they come: which, and how many, when there are more than anybody can read.
//!
//! Owns the filter and the pace. Never reads a log and never looks at a clock: a window is what its caller makes of time.

use memchr::memmem::Finder;

use super::device_id::DeviceId;
use super::message::encoding::{decode, find_annotation};
use super::message::{Body, Message, Value};

/// The most rows that are shown in a window. With [`WINDOWS_PER_SECOND`], forty a second.
pub const ROWS_PER_WINDOW: usize = 10;

/// When a window has shown so many bytes, nothing more is shown in it: a browser is not sent more than one event of the largest beyond that.
pub const SHOWN_BYTES_PER_WINDOW: usize = 64 * 1024;

/// How many windows a second has.
pub const WINDOWS_PER_SECOND: usize = 4;

/// What looking at events may cost in a second, for all who look together, by [`cost`]: some 2 % of a core.
pub const WORK_PER_SECOND: u64 = 16 * 1024 * 1024;

/// What looking at an event costs beside its bytes.
const WORK_PER_EVENT: u64 = 256;

/// Which events are shown; what is absent leaves none out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TailFilter {
    /// Only of this device.
    pub device: Option<DeviceId>,
    /// Only with an application property of this name, and this value as text if one is said.
    pub property: Option<(String, Option<String>)>,
    /// Only with this text in the payload.
    pub text: Option<String>,
}

impl TailFilter {
    /// A property as people write it: `name`, or `name=value`.
    #[must_use]
    pub fn property(text: &str) -> (String, Option<String>) {
        match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (text.to_owned(), None),
        }
    }

    /// Whether it looks into what devices write, and not only at who they are.
    #[must_use]
    pub fn looks_inside(&self) -> bool {
        self.property.is_some() || self.text.is_some()
    }
}

/// A filter that many events are held against.
#[derive(Clone, Debug)]
pub struct Sieve {
    filter: TailFilter,
    /// Looks for the text, in a time that grows with the payload alone.
    finder: Option<Finder<'static>>,
}

impl From<TailFilter> for Sieve {
    fn from(filter: TailFilter) -> Self {
        let finder = filter.text.as_ref().map(|text| Finder::new(text.as_bytes()).into_owned());
        Self { filter, finder }
    }
}

impl Sieve {
    /// Whether the stored event fits. One that can't be read fits only where nothing has to be read.
    #[must_use]
    pub fn fits(&self, content: &[u8]) -> bool {
        if self.filter.device.as_ref().is_some_and(|device| !is_from(content, device)) {
            return false;
        }
        if !self.filter.looks_inside() {
            return true;
        }
        decode(content).is_ok_and(|message| self.has_property(&message) && self.has_text(&message))
    }

    fn has_property(&self, message: &Message<'_>) -> bool {
        let Some((name, value)) = &self.filter.property else { return true };
        let is_it = |found: &Value<'_>| value.as_ref().is_none_or(|value| found.to_text().as_deref() == Some(value.as_str()));
        message.application_properties.iter().any(|(found, value)| found == name && is_it(value))
    }

    fn has_text(&self, message: &Message<'_>) -> bool {
        let Some(finder) = &self.finder else { return true };
        let contains = |bytes: &[u8]| finder.find(bytes).is_some();
        match &message.body {
            Body::Data(sections) | Body::Sequence(sections) => sections.iter().any(|section| contains(section)),
            Body::Value(encoded) => contains(encoded),
        }
    }
}

/// Whether the hub has stamped this device on it.
#[must_use]
pub fn is_from(content: &[u8], device: &DeviceId) -> bool {
    matches!(find_annotation(content, "iothub-connection-device-id"), Ok(Some(Value::String(id))) if id == device.as_str())
}

/// What it costs to look at an event of so many bytes.
#[must_use]
pub fn cost(bytes: usize) -> u64 {
    WORK_PER_EVENT + bytes as u64
}

/// What somebody is told of the events of a window, beside those that are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// That fit.
    pub matched: u64,
    /// Of these, not shown, because there are too many.
    pub sampled_out: u64,
    /// That did not fit.
    pub passed_over: u64,
    /// That were not looked at.
    pub unread: u64,
}

impl Tally {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One window: how much may still be looked at in it.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    work_left: u64,
}

impl Window {
    /// For one of so many who look.
    #[must_use]
    pub fn for_one_of(tails: usize) -> Self {
        Self { work_left: WORK_PER_SECOND / WINDOWS_PER_SECOND as u64 / tails.max(1) as u64 }
    }

    /// Looks at something that costs so much. The first thing in a window may cost more than there is.
    pub fn spend(&mut self, cost: u64) {
        self.work_left = self.work_left.saturating_sub(cost);
    }

    /// Whether no more may be looked at in it.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.work_left == 0
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::core::message::encoding::{EncodedAnnotations, encode};

    fn stored(device: &str, properties: &[(&'static str, Value<'static>)], payload: &'static str) -> Vec<u8> {
        let message = Message {
            application_properties: properties.iter().map(|(name, value)| (Cow::Borrowed(*name), value.clone())).collect(),
            body: Body::Data(vec![payload.as_bytes().into()]),
            ..Message::default()
        };
        let mut bytes = Vec::new();
        let stamps = EncodedAnnotations::new(&[("iothub-connection-device-id", Value::String(device.to_owned().into()))]);
        encode(&message, &stamps, &mut bytes);
        bytes
    }

    fn filter(device: Option<&str>, property: Option<&str>, text: Option<&str>) -> Sieve {
        Sieve::from(TailFilter {
            device: device.map(|id| DeviceId::parse(id).unwrap()),
            property: property.map(TailFilter::property),
            text: text.map(str::to_owned),
        })
    }

    #[test]
    fn what_fits_is_shown() {
        let event = stored("pump", &[("level", Value::String("high".into())), ("count", Value::Int(7))], "it is too hot");
        for (device, property, text) in [
            (None, None, None),
            (Some("pump"), Some("level"), Some("too hot")),
            (None, Some("level=high"), None),
            (None, Some("count=7"), None),
            (None, None, Some("it is too hot")),
        ] {
            assert!(filter(device, property, text).fits(&event), "{device:?} {property:?} {text:?}");
        }
        for (device, property, text) in [
            (Some("pum"), None, None),
            (None, Some("Level"), None),
            (None, Some("level=hig"), None),
            (None, Some("level="), None),
            (None, None, Some("Too hot")),
            (None, Some("level=low"), Some("hot")),
            (None, None, Some("it is too hot today")),
        ] {
            assert!(!filter(device, property, text).fits(&event), "{device:?} {property:?} {text:?}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_shown_to_who_shows_everything() {
        assert!(filter(None, None, None).fits(b"\xff"));
        assert!(!filter(None, None, Some("a")).fits(b"\xff") && !filter(Some("D"), None, None).fits(b"\xff"));
    }

    #[test]
    fn a_window_is_shared_by_all_who_look() {
        let mut window = Window::for_one_of(64);
        let mut events = 0;
        while !window.is_spent() {
            window.spend(cost(0));
            events += 1;
        }
        assert_eq!(events * 64 * WINDOWS_PER_SECOND as u64 * WORK_PER_EVENT, WORK_PER_SECOND);
        assert!(!Window::for_one_of(0).is_spent());
    }
}
