//! Commands to devices, their receipts, and what a hub bears. The bounds are those of the hub's own configuration.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;
use crate::schema;

/// Commands to devices, and their receipts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudToDevice {
    /// How long a command waits for its device, unless the sender gives it an expiry: 1m to 48h. Absent: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ttl")]
    pub default_ttl: Option<GoDuration>,
    /// How long a command that was delivered is locked: 5s to 5m. Absent: 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::lock_duration")]
    pub lock_duration: Option<GoDuration>,
    /// How often a command is delivered before it is dead-lettered. Absent: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_delivery_count: Option<i32>,
    /// How many commands of one device may wait, delivered ones included. Absent: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_queue_depth: Option<i32>,
    /// Receipts.
    #[serde(default)]
    pub feedback: Feedback,
}

/// Receipts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Feedback {
    /// How long a receipt waits for a back end: 1m to 48h. Absent: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ttl")]
    pub ttl: Option<GoDuration>,
    /// How long receipts that were received are locked: 5s to 5m. Absent: 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::lock_duration")]
    pub lock_duration: Option<GoDuration>,
    /// How often a receipt is handed out before it is dropped. Absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_delivery_count: Option<i32>,
}

/// What the hub bears. Absent: the hub's defaults, which are in its configuration reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "(has(self.unfinishedConnectionsPerAddress) ? self.unfinishedConnectionsPerAddress : 512) \
         <= (has(self.unfinishedConnections) ? self.unfinishedConnections : 2048)"
    )
    .message("unfinishedConnectionsPerAddress (512 unless it is given) can't be above unfinishedConnections (2048 unless it is given)")
)]
pub struct Limits {
    /// Connections at once. Absent: 100,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_000_000))]
    pub connections: Option<i32>,
    /// Connections on which nobody has authenticated yet. Absent: 2,048.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60_000))]
    pub unfinished_connections: Option<i32>,
    /// The same, of one address. Absent: 512.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60_000))]
    pub unfinished_connections_per_address: Option<i32>,
    /// Connections of one address that may end without anybody's authentication, in a burst; then the address is shut out. Absent: 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub failed_connections_per_address: Option<i32>,
    /// Commands of all devices that may wait; each takes about 500 bytes of memory. Absent: 1,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub pending_commands: Option<i32>,
}
