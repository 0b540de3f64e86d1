//! Conditions in a status: what is said now, over what was said before.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The longest message that the API server takes.
const MESSAGE_MAX_BYTES: usize = 32_768;

/// What is said about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What about.
    pub kind: &'static str,
    /// Whether it is so; `None`: nobody knows.
    pub status: Option<bool>,
    /// Why, in one CamelCase word.
    pub reason: &'static str,
    /// Why, and what to do, for people. Never a secret.
    pub message: String,
}

impl Said {
    /// It is so.
    #[must_use]
    pub fn yes(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: Some(true), reason, message: message.into() }
    }

    /// It is not so.
    #[must_use]
    pub fn no(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: Some(false), reason, message: message.into() }
    }

    /// Nobody knows.
    #[must_use]
    pub fn unknown(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: None, reason, message: message.into() }
    }
}

/// The conditions to write: in the order given, each with the time since when its status is what it is.
#[must_use]
pub fn conditions(before: &[Condition], said: &[Said], generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    let condition = |said: &Said| {
        let status = said.status.map_or("Unknown", |so| if so { "True" } else { "False" });
        let since = before.iter().find(|old| old.type_ == said.kind && old.status == status).map(|old| old.last_transition_time.clone());
        Condition {
            type_: said.kind.to_owned(),
            status: status.to_owned(),
            reason: said.reason.to_owned(),
            message: shortened(&said.message),
            observed_generation: generation,
            last_transition_time: since.unwrap_or_else(|| Time(whole_seconds(now))),
        }
    };
    said.iter().map(condition).collect()
}

/// Whether the object says so of itself.
#[must_use]
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

/// The API server keeps no parts of a second: with them, what was written would never equal what is there.
fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn shortened(message: &str) -> String {
    let mut end = message.len().min(MESSAGE_MAX_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_changes_with_the_status_alone() {
        let at = |second| Timestamp::from_millisecond(second * 1000_i64 + 345).unwrap();
        let first = conditions(&[], &[Said::no("Ready", "Starting", "wait")], Some(1), at(10));
        let second = conditions(&first, &[Said::no("Ready", "Stuck", "look")], Some(2), at(20));
        assert_eq!((second[0].reason.as_str(), second[0].observed_generation), ("Stuck", Some(2)));
        assert_eq!(second[0].last_transition_time, first[0].last_transition_time);
        let third = conditions(&second, &[Said::yes("Ready", "Ready", "")], Some(2), at(30));
        assert_eq!(third[0].last_transition_time, Time(Timestamp::from_second(30).unwrap()));
        assert!(is_true(&third, "Ready") && !is_true(&third, "Stalled"));
    }
}
