//! What the REST API says of the hub and its devices (docs/api.md), as far as the page shows it.

use super::change::{Command, Refusal};
use super::format::{count, duration, exact, number};
use super::json::object;
use super::shelf::Shelf;
use super::state::DeviceState;
use super::time::Moment;

/// `GET /api/v1/hub`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hub {
    /// Its name in connection strings.
    pub host_name: String,
    /// Its version.
    pub version: String,
    /// When that began.
    pub started_time: Option<Moment>,
    /// When its certificate ends.
    pub certificate_expiry_time: Option<Moment>,
    /// How many partitions its events have.
    pub partitions: u64,
    /// How many devices it has.
    pub devices: Counts,
    /// Whom clients have to trust, in PEM; nothing for an authority that they trust anyhow.
    pub authority: Option<String>,
    /// Where its events are.
    pub storage: Option<Storage>,
}

object!(Hub {
    host_name: "hostName",
    version: "version",
    started_time: "startedTime",
    certificate_expiry_time: "certificateExpiryTime",
    partitions: "partitions",
    devices: "devices",
    authority: "authority",
    storage: "storage"
});

/// The disk that events are on, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Storage {
    /// What events take.
    pub events_bytes: Option<u64>,
    /// What they may take.
    pub retention_bytes: Option<u64>,
    /// How long they are kept.
    pub retention_seconds: Option<u64>,
    /// Since when there are events.
    pub oldest_event_time: Option<Moment>,
    /// What is left of the disk.
    pub free_bytes: Option<u64>,
    /// How large it is.
    pub size_bytes: Option<u64>,
    /// Whether nothing more is taken.
    pub full: bool,
}

object!(Storage {
    events_bytes: "eventsBytes",
    retention_bytes: "retentionBytes",
    retention_seconds: "retentionSeconds",
    oldest_event_time: "oldestEventTime",
    free_bytes: "freeBytes",
    size_bytes: "sizeBytes",
    full: "full"
});

/// How many devices a hub has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Identities.
    pub total: u64,
    /// That may connect.
    pub enabled: u64,
    /// That are connected.
    pub connected: u64,
}

object!(Counts { total: "total", enabled: "enabled", connected: "connected" });

/// The live link's `fleet`: how the devices are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fleet {
    /// Whether all of them are counted.
    pub whole: bool,
    /// Grows with every change.
    pub revision: u64,
    /// All.
    pub total: u64,
    /// That may connect.
    pub enabled: u64,
    /// That have a connection.
    pub connected: u64,
    /// That somebody shut out.
    pub held: u64,
    /// Each device in one of them.
    pub states: Shelf<String, u64>,
    /// Who comes and goes.
    pub flapping: Vec<Flapping>,
}

object!(Fleet {
    whole: "whole",
    revision: "revision",
    total: "total",
    enabled: "enabled",
    connected: "connected",
    held: "held",
    states: "states",
    flapping: "flapping"
});

impl Fleet {
    /// How many are so.
    #[must_use]
    pub fn count(&self, state: DeviceState) -> u64 {
        self.states.get(state.name()).copied().unwrap_or_default()
    }

    /// Of those that are connected: who flaps is counted there, and among the states by itself.
    #[must_use]
    pub fn of_them_flapping(&self) -> String {
        match self.connected.saturating_sub(self.count(DeviceState::Connected)) {
            0 => String::new(),
            flapping => format!(", {} of them flapping", number(flapping)),
        }
    }
}

/// A device that can't hold a connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flapping {
    /// Which; empty where it is clear.
    pub device_id: String,
    /// How often it connected.
    pub connects: u64,
    /// Since when.
    pub since: Option<Moment>,
}

object!(Flapping { device_id: "deviceId", connects: "connects", since: "since" });

/// A connection of the past or of now.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Connection {
    /// Which.
    pub connection: String,
    /// Over what.
    pub protocol: String,
    /// From where.
    pub address: String,
    /// When it came.
    pub connected_time: Moment,
    /// When it went.
    pub disconnected_time: Option<Moment>,
    /// Why.
    pub reason: Option<String>,
}

object!(Connection {
    connection: "connection",
    protocol: "protocol",
    address: "address",
    connected_time: "connectedTime",
    disconnected_time: "disconnectedTime",
    reason: "reason"
});

/// `GET /api/v1/commands`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commands {
    /// The newest first.
    pub commands: Vec<Command>,
    /// What to send as `before` for more.
    pub next: Option<String>,
}

object!(Commands { commands: "commands", next: "next" });

/// `GET /api/v1/devices`: one row of the fleet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetRow {
    /// Its id.
    pub device_id: String,
    /// `connected`, `offline`, `flapping`, `disabled` or `never`.
    pub state: String,
    /// Since when.
    pub state_since: Option<Moment>,
    /// Why its last connection ended.
    pub reason: Option<String>,
    /// How it proves itself.
    pub authentication: String,
    /// Whether it may connect.
    pub enabled: bool,
    /// Whether it has a connection.
    pub connected: bool,
    /// Commands that wait for it.
    pub queue: u64,
    /// When it was last heard of.
    pub last_seen: Option<Moment>,
    /// Whether somebody shut it out.
    pub held: bool,
    /// Where its identity comes from.
    pub managed_by: Option<super::change::ManagedBy>,
}

object!(FleetRow {
    device_id: "deviceId",
    state: "state",
    state_since: "stateSince",
    reason: "reason",
    authentication: "authentication",
    enabled: "enabled",
    connected: "connected",
    queue: "queue",
    last_seen: "lastSeen",
    held: "held",
    managed_by: "managedBy"
});

/// `GET /api/v1/devices`: a page of the fleet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetPage {
    /// The rows.
    pub devices: Vec<FleetRow>,
    /// What to send as `after` for more.
    pub next: Option<String>,
    /// How many match.
    pub total: Total,
    /// Of the fleet, as it was.
    pub revision: u64,
}

object!(FleetPage { devices: "devices", next: "next", total: "total", revision: "revision" });

/// How many match a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// So many.
    pub exact: Option<u64>,
    /// So many or more.
    pub at_least: Option<u64>,
}

object!(Total { exact: "exact", at_least: "atLeast" });

impl Total {
    /// The number, and whether it is exact.
    #[must_use]
    pub fn count(self) -> (u64, bool) {
        (self.exact.or(self.at_least).unwrap_or_default(), self.exact.is_some())
    }
}

/// `POST /api/v1/devices/actions`: what became of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActionResults {
    /// In the order of the request.
    pub results: Vec<ActionResult>,
}

object!(ActionResults { results: "results" });

/// What became of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActionResult {
    /// Which.
    pub device_id: String,
    /// Whether it was done.
    pub done: bool,
    /// How many connections were closed by it.
    pub connections_closed: u64,
    /// How long that took.
    pub closed_in_ms: Option<u64>,
    /// Why it was not done.
    pub message: Option<String>,
}

object!(ActionResult {
    device_id: "deviceId",
    done: "done",
    connections_closed: "connectionsClosed",
    closed_in_ms: "closedInMs",
    message: "message"
});

impl ActionResults {
    /// What was measured, in a sentence; or why nothing was done.
    #[must_use]
    pub fn sentence(&self) -> String {
        let failed: Vec<_> = self.results.iter().filter(|result| !result.done).collect();
        let closed: u64 = self.results.iter().map(|result| result.connections_closed).sum();
        let slowest = self.results.iter().filter(|result| result.connections_closed > 0).filter_map(|result| result.closed_in_ms).max();
        let why = failed.first().map(|result| result.message.clone().unwrap_or_default());
        match (failed.len(), why, slowest) {
            (0, _, None) => "No connection was open.".to_owned(),
            (0, _, Some(slowest)) if closed == 1 => format!("Its connection was closed in {}.", duration(slowest)),
            (0, _, Some(slowest)) => {
                format!("{} closed, the slowest in {}.", count(closed, "connection", "connections"), duration(slowest))
            }
            (1, Some(why), _) if self.results.len() == 1 => why,
            (several, why, _) => {
                format!("{} of {} not: {}", exact(several as u64), exact(self.results.len() as u64), why.unwrap_or_default())
            }
        }
    }

    /// Whether all was done.
    #[must_use]
    pub fn all_done(&self) -> bool {
        self.results.iter().all(|result| result.done)
    }
}

/// `POST /api/v1/devices/{id}/secrets`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Secrets {
    /// With the first key; `null` for a device with a certificate.
    pub connection_string: Option<String>,
    /// The first key.
    pub primary_key: Option<String>,
    /// The second one.
    pub secondary_key: Option<String>,
}

object!(Secrets { connection_string: "connectionString", primary_key: "primaryKey", secondary_key: "secondaryKey" });

/// `GET /api/v1/refusals`.
pub type Refusals = Vec<Refusal>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_said_with_what_was_measured() {
        let done = |closed: u64, ms: u64| ActionResult {
            done: true,
            connections_closed: closed,
            closed_in_ms: Some(ms),
            ..ActionResult::default()
        };
        let not = || ActionResult { message: Some("it comes from a manifest".to_owned()), ..ActionResult::default() };
        for (results, sentence) in [
            (vec![done(1, 84)], "Its connection was closed in 84 ms."),
            (vec![done(0, 3)], "No connection was open."),
            (vec![done(1, 84), done(8, 212), done(0, 900)], "9 connections closed, the slowest in 212 ms."),
            (vec![not()], "it comes from a manifest"),
            (vec![done(1, 84), not()], "1 of 2 not: it comes from a manifest"),
        ] {
            assert_eq!(ActionResults { results }.sentence(), sentence);
        }
        assert!(ActionResults { results: vec![done(1, 1)] }.all_done() && !ActionResults { results: vec![not()] }.all_done());
    }

    #[test]
    fn what_a_hub_says_is_understood() {
        let text = r#"{"hostName":"hub.example","hostNames":["hub.example"],"version":"0.1.0","boot":"3","startedTime":"2026-11-23T03:00:00.000Z",
            "certificateExpiryTime":null,"partitions":4,"devices":{"total":50,"enabled":48,"connected":42}}"#;
        let hub: Hub = crate::model::json::read(text).unwrap();
        assert_eq!((hub.devices, hub.certificate_expiry_time), (Counts { total: 50, enabled: 48, connected: 42 }, None));
        assert_eq!(hub.storage, None);
        let text = r#"{"id":3,"kind":"fleet","whole":true,"revision":817,"total":50,"states":{"connected":40,"offline":5},"flapping":[{"deviceId":"pump","connects":7}]}"#;
        let fleet: Fleet = crate::model::json::read(text).unwrap();
        assert_eq!((fleet.count(DeviceState::Offline), fleet.count(DeviceState::Never), fleet.flapping[0].connects), (5, 0, 7));
        let page: FleetPage = crate::model::json::read(r#"{"devices":[{"deviceId":"d"}],"next":null,"total":{"atLeast":5}}"#).unwrap();
        assert_eq!((page.devices[0].device_id.as_str(), page.total.count()), ("d", (5, false)));
    }
}
