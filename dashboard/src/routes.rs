//! The page's addresses. Everything that can be shown has one, with its filters in the query, so that it can be sent to somebody.

use crate::model::payload::harmless;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Where the page lives on the hub's port 8443. Azure's paths are at the root (`/devices/{id}` shows keys), so the page has a root of its own.
pub const BASE: &str = "/dashboard";

/// What may stand in a segment as it is (RFC 3986 §3.3), so that most ids can be read in an address.
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'@').remove(b':').remove(b'=').remove(b',');

/// A page.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// How the hub does.
    Overview,
    /// All devices.
    Devices,
    /// One.
    Device(String),
    /// The fleet by state and last seen.
    Connectivity,
    /// What devices send.
    Flow,
    /// Commands and receipts.
    Commands,
    /// One.
    Command(String),
    /// One to many devices.
    Compose,
    /// Who changed what.
    Audit,
    /// How to connect the first device.
    GetStarted,
    /// No page of ours.
    Unknown(String),
}

impl Route {
    /// The page at this path.
    #[must_use]
    pub fn parse(path: &str) -> Self {
        let unknown = || Self::Unknown(path.to_owned());
        let Some(rest) = path.strip_prefix(BASE) else { return unknown() };
        let mut segments = rest.split('/').filter(|segment| !segment.is_empty());
        let (page, id, more) = (segments.next(), segments.next(), segments.next());
        let id = match id.map(|id| percent_decode_str(id).decode_utf8()) {
            None => None,
            Some(Ok(id)) => Some(id.into_owned()),
            Some(Err(_)) => return unknown(),
        };
        match (page, id, more) {
            (None, None, None) => Self::Overview,
            (Some("devices"), None, None) => Self::Devices,
            (Some("devices"), Some(id), None) => Self::Device(id),
            (Some("connectivity"), None, None) => Self::Connectivity,
            (Some("flow"), None, None) => Self::Flow,
            (Some("commands"), None, None) => Self::Commands,
            (Some("commands"), Some(id), None) => Self::Command(id),
            (Some("compose"), None, None) => Self::Compose,
            (Some("audit"), None, None) => Self::Audit,
            (Some("start"), None, None) => Self::GetStarted,
            _ => unknown(),
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Overview => format!("{BASE}/"),
            Self::Devices => format!("{BASE}/devices"),
            Self::Device(id) => format!("{BASE}/devices/{}", segment(id)),
            Self::Connectivity => format!("{BASE}/connectivity"),
            Self::Flow => format!("{BASE}/flow"),
            Self::Commands => format!("{BASE}/commands"),
            Self::Command(id) => format!("{BASE}/commands/{}", segment(id)),
            Self::Compose => format!("{BASE}/compose"),
            Self::Audit => format!("{BASE}/audit"),
            Self::GetStarted => format!("{BASE}/start"),
            Self::Unknown(path) => path.clone(),
        }
    }

    /// For the window's title.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Overview => "Overview".to_owned(),
            Self::Devices => "Devices".to_owned(),
            Self::Device(id) => harmless(id),
            Self::Connectivity => "Connectivity".to_owned(),
            Self::Flow => "Message flow".to_owned(),
            Self::Commands => "Commands".to_owned(),
            Self::Command(id) => harmless(&format!("Command {id}")),
            Self::Compose => "Send a command".to_owned(),
            Self::Audit => "Audit".to_owned(),
            Self::GetStarted => "Get started".to_owned(),
            Self::Unknown(_) => "Not found".to_owned(),
        }
    }

    /// The entry of the navigation that it belongs to.
    #[must_use]
    pub fn section(&self) -> Self {
        match self {
            Self::Device(_) => Self::Devices,
            Self::Command(_) | Self::Compose => Self::Commands,
            other => other.clone(),
        }
    }
}

/// A piece of text as one segment of a path, also of the API's.
#[must_use]
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// The names and values of an address's query, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Of `a=1&b=x%20y`, with or without a question mark.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let pairs = text.strip_prefix('?').unwrap_or(text).split('&').filter(|pair| !pair.is_empty());
        let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        Self(pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(name, value)| (decoded(name), decoded(value))).collect())
    }

    /// The first value of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// All values of this name.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }

    /// With one value more of this name: ids may have commas in them, so that several are not one value.
    #[must_use]
    pub fn and(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }

    /// With this value in place of whatever has the name; without it, if the value is empty.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.0.retain(|(found, _)| found != name);
        if !value.is_empty() {
            self.0.push((name.to_owned(), value));
        }
        self
    }

    /// With its question mark; nothing when there is none.
    #[must_use]
    pub fn text(&self) -> String {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{}={}", segment(name), segment(value))).collect();
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_an_address_that_leads_back_to_it() {
        let ids = ["pump", "a b/c?d#e%f", "ä", "$.%+", ".."];
        let pages = [
            Route::Overview,
            Route::Devices,
            Route::Connectivity,
            Route::Flow,
            Route::Commands,
            Route::Compose,
            Route::Audit,
            Route::GetStarted,
        ];
        let of_ids = ids.iter().flat_map(|id| [Route::Device((*id).to_owned()), Route::Command((*id).to_owned())]);
        for route in pages.into_iter().chain(of_ids) {
            assert_eq!(Route::parse(&route.path()), route);
        }
    }

    #[test]
    fn anything_else_is_no_page() {
        for path in ["/", "/devices", "/dashboard/x", "/dashboard/devices/a/b", "/dashboard/devices/%ff", "/dashboardx"] {
            assert_eq!(Route::parse(path), Route::Unknown(path.to_owned()), "{path}");
        }
        assert_eq!(Route::parse("/dashboard"), Route::Overview);
    }

    #[test]
    fn several_ids_stay_what_they_are() {
        let ids = ["a,b", "c&device=d", "#1", "50%"];
        let query = ids.iter().fold(Query::default().with("x", "y"), |query, id| query.and("device", *id));
        assert_eq!(Query::parse(&query.text()).all("device"), ids);
        assert_eq!((query.get("device"), query.all("z").len()), (Some("a,b"), 0));
    }

    #[test]
    fn a_query_keeps_what_it_is_given() {
        let query = Query::parse("?prefix=a%20b%26c&state=offline&prefix=again");
        assert_eq!((query.get("prefix"), query.get("state"), query.get("x")), (Some("a b&c"), Some("offline"), None));
        let changed = query.with("prefix", "ü=").with("state", "");
        assert_eq!(changed.text(), "?prefix=%C3%BC=");
        assert_eq!(Query::parse(&changed.text()), changed);
        assert_eq!(Query::default().text(), "");
    }
}
