//! A host name, or an IP address in its place.

use std::fmt;
use std::net::IpAddr;

/// Letters, digits and hyphens, in labels of 1 to 63, 253 in all (RFC 1123); or an IP address. In lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(String);

/// A text that is no host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no host name: letters, digits, hyphens and dots, without a port")]
pub struct InvalidHostName(pub String);

impl HostName {
    /// This machine, by its own word.
    #[must_use]
    pub fn localhost() -> Self {
        Self("localhost".to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, when it is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }
}

impl std::str::FromStr for HostName {
    type Err = InvalidHostName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let is_name = text.len() <= 253 && text.split('.').all(is_label);
        if is_name || text.parse::<IpAddr>().is_ok() { Ok(Self(text.to_ascii_lowercase())) } else { Err(InvalidHostName(text.to_owned())) }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_pass_and_nothing_else() {
        for name in ["localhost", "Hub.Example", "a-1.b", "127.0.0.1", "::1"] {
            assert_eq!(name.parse::<HostName>().unwrap().as_str(), name.to_ascii_lowercase());
        }
        for name in ["", "a b", "-a.example", "a-.example", "a..b", "*.example", "a_b", "hub:8883", "https://hub", &"a".repeat(64)] {
            assert!(name.parse::<HostName>().is_err(), "{name}");
        }
    }
}
