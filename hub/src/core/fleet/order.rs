//! In which order a list shows devices, and where in that order a page ends.

use std::cmp::Ordering;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use super::{DeviceState, Row};
use crate::core::device_id::DeviceId;
use crate::core::session::DisconnectReason;

/// By what a list is sorted; among equals, by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// The id.
    #[default]
    Id,
    /// The state, what wants looking at first.
    State,
    /// Since when it is in its state, never first.
    Since,
    /// When it was seen last, never first.
    LastSeen,
    /// How many commands wait.
    Queue,
    /// Why its last connection ended, by the reason's name; without one first.
    Reason,
}

impl Sort {
    /// Every one.
    pub const ALL: [Self; 6] = [Self::Id, Self::State, Self::Since, Self::LastSeen, Self::Queue, Self::Reason];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::State => "state",
            Self::Since => "since",
            Self::LastSeen => "lastSeen",
            Self::Queue => "queue",
            Self::Reason => "reason",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.name() == name)
    }

    /// A number whose order is this order.
    pub(super) fn key(self, row: &Row, state: DeviceState) -> i64 {
        match self {
            Self::Id => 0,
            Self::State => state as i64,
            Self::Since => row.since().map_or(i64::MIN, |time| time.0),
            Self::LastSeen => row.seen.last.map_or(i64::MIN, |time| time.0),
            Self::Queue => row.queue.into(),
            Self::Reason => row.seen.reason.map_or(-1, reason_key),
        }
    }
}

/// How many reasons have names that come before this one's.
fn reason_key(reason: DisconnectReason) -> i64 {
    DisconnectReason::ALL.iter().map(|other| i64::from(other.name() < reason.name())).sum()
}

/// The order, or the other way round.
pub(super) fn compare(one: (i64, &DeviceId), other: (i64, &DeviceId), descending: bool) -> Ordering {
    let ascending = one.cmp(&other);
    if descending { ascending.reverse() } else { ascending }
}

/// A place in an order: behind the device with this id, which stood at this key. Opaque to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetPlace {
    pub(super) key: i64,
    pub(super) id: DeviceId,
}

/// Base64 of `<key> <id>`.
impl fmt::Display for FleetPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(format!("{} {}", self.key, self.id)))
    }
}

/// A text that no list gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a place in the list of devices is what the list gave out as next")]
pub struct InvalidFleetPlace;

impl std::str::FromStr for FleetPlace {
    type Err = InvalidFleetPlace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = String::from_utf8(BASE64.decode(text).map_err(|_| InvalidFleetPlace)?).map_err(|_| InvalidFleetPlace)?;
        let (key, id) = text.split_once(' ').ok_or(InvalidFleetPlace)?;
        let id = DeviceId::parse(id).map_err(|_| InvalidFleetPlace)?;
        Ok(Self { key: key.parse().map_err(|_| InvalidFleetPlace)?, id })
    }
}
