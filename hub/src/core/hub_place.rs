//! Which `IotHub` of a cluster a hub is: what tokens of the cluster have to be for.

use std::fmt;

/// The `IotHub` that the hub is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubPlace {
    /// In which namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A text that names no hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hub of a cluster is named <namespace>/<name>")]
pub struct InvalidHubPlace;

impl std::str::FromStr for HubPlace {
    type Err = InvalidHubPlace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = |part: &str| (1..=253).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
        match text.split_once('/') {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(InvalidHubPlace),
        }
    }
}

impl HubPlace {
    /// What tokens for this hub are for.
    #[must_use]
    pub fn audience(&self) -> String {
        format!("mooring:{}/{}", self.namespace, self.name)
    }
}

/// As `<namespace>/<name>`.
impl fmt::Display for HubPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_namespace_and_a_name() {
        let place: HubPlace = "plant/hub-1".parse().unwrap();
        assert_eq!((place.to_string().as_str(), place.audience().as_str()), ("plant/hub-1", "mooring:plant/hub-1"));
        for text in ["", "hub", "/hub", "plant/", "plant/hub/x", "a b/c"] {
            assert!(text.parse::<HubPlace>().is_err(), "{text}");
        }
    }
}
