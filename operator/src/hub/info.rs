//! What a hub says about itself: `GET /api/v1/hub`.

use jiff::Timestamp;
use serde::Deserialize;

/// A hub, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HubInfo {
    /// The first of its names.
    pub host_name: String,
    /// All of them.
    #[serde(default)]
    pub host_names: Vec<String>,
    /// Its version.
    pub version: String,
    /// Which of its lives this is.
    pub boot: String,
    /// When that began.
    pub started_time: Timestamp,
    /// When its certificate ends.
    #[serde(default)]
    pub certificate_expiry_time: Option<Timestamp>,
    /// Its partitions.
    pub partitions: u32,
    /// Its devices.
    pub devices: DeviceCounts,
}

/// How many devices a hub has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct DeviceCounts {
    /// All of them.
    pub total: u64,
    /// Those that may connect.
    pub enabled: u64,
    /// Those that are connected.
    pub connected: u64,
}
