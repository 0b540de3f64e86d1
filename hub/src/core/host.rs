//! The names that a hub answers to.

/// The hub's own host names and the foreign ones it stands in for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubNames {
    primary: String,
    others: Vec<String>,
}

impl HubNames {
    /// `primary` is the name in connection strings; `others` are further names, and aliases for `GatewayHostName`: hubs for which
    /// clients may believe that this one speaks. All are compared without case.
    #[must_use]
    pub fn new(primary: &str, others: &[String]) -> Self {
        Self { primary: primary.to_ascii_lowercase(), others: others.iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// The name in connection strings.
    #[must_use]
    pub fn primary(&self) -> &str {
        &self.primary
    }

    /// All of them, the one in connection strings first.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        [&self.primary].into_iter().chain(&self.others).map(String::as_str)
    }

    /// Whether `host`, which may end in a port, names this hub.
    #[must_use]
    pub fn contain(&self, host: &str) -> bool {
        self.known(host).is_some()
    }

    /// Which of the names `host` is, which may end in a port.
    #[must_use]
    pub fn known(&self, host: &str) -> Option<&str> {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
            _ => host,
        };
        self.all().find(|known| known.eq_ignore_ascii_case(name))
    }

    /// What the events are called for Event Hubs' clients: the Event Hub-compatible name is the first label of the name in connection
    /// strings.
    #[must_use]
    pub fn event_hub_name(&self) -> &str {
        first_label(&self.primary)
    }

    /// Whether `name` is the first label of one of the hub's names, without case.
    #[must_use]
    pub fn include_label(&self, name: &str) -> bool {
        self.all().any(|known| first_label(known).eq_ignore_ascii_case(name))
    }

    /// Whether exactly this, without a port, is a name of this hub.
    #[must_use]
    pub fn include(&self, name: &str) -> bool {
        self.primary.eq_ignore_ascii_case(name) || self.others.iter().any(|other| other.eq_ignore_ascii_case(name))
    }
}

/// A host name up to its first dot.
#[must_use]
pub fn first_label(host: &str) -> &str {
    host.split_once('.').map_or(host, |(label, _)| label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_or_port() {
        let names = HubNames::new("Hub.Example", &["alias.example".into()]);
        assert!(names.contain("hub.example") && names.contain("HUB.EXAMPLE:8883") && names.contain("Alias.example"));
        assert_eq!(names.known("ALIAS.example:5671"), Some("alias.example"));
        assert!(!names.contain("hub.example.org") && !names.contain("") && !names.contain("hub.example:x"));
    }

    #[test]
    fn events_are_called_by_a_first_label() {
        let names = HubNames::new("Hub.Example", &["alias.example".into(), "localhost".into()]);
        assert_eq!(names.event_hub_name(), "hub");
        for name in ["hub", "HUB", "alias", "localhost"] {
            assert!(names.include_label(name), "{name}");
        }
        assert!(!names.include_label("hub.example") && !names.include_label(""));
    }
}
