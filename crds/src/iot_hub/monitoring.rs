//! What is watched about a hub, and when somebody is called.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;
use crate::schema;

/// What is watched, and when somebody is called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// After how long without a connection an enabled device counts as missing, from 10s to 2160h; Devices may say otherwise for
    /// themselves. Absent: only Devices that say so are expected to be connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::offline_after")]
    pub offline_after: Option<GoDuration>,
    /// For the Prometheus Operator, where its kinds exist.
    #[serde(default)]
    pub prometheus: Prometheus,
    /// When somebody is called.
    #[serde(default)]
    pub alerts: Alerts,
}

/// For the Prometheus Operator, where its kinds exist: a ServiceMonitor, and a PrometheusRule with the hub's alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Prometheus {
    /// Whether they are made.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Labels that both get, by which Prometheus finds them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels_beside_ours")]
    pub labels: BTreeMap<String, String>,
    /// How often the hub is scraped, from 1s to 1h. Absent: as Prometheus has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::scrape_interval")]
    pub interval: Option<GoDuration>,
}

/// When somebody is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alerts {
    /// Labels that every alert gets besides namespace, iothub and severity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::alert_labels")]
    pub labels: BTreeMap<String, String>,
    /// MooringHubAbsent: nothing has been heard of the hub's metrics for so long, 1m to 24h.
    #[serde(default = "five_minutes")]
    #[schemars(schema_with = "schema::alert_after")]
    pub hub_absent_for: GoDuration,
    /// MooringFleetDrop: so many percent fewer devices are connected than at the most in the last fifteen minutes.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 100))]
    pub fleet_drop_percent: i32,
    /// MooringDevicesOffline: more devices than this are missing (see offlineAfter).
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub devices_offline_more_than: i32,
    /// MooringRefusalBurst: more refusals than this in five minutes.
    #[serde(default = "three_hundred")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub refusals_more_than: i32,
    /// MooringCertificateExpiry: the hub's certificate ends within this time, 1h to 8760h.
    #[serde(default = "two_weeks")]
    #[schemars(schema_with = "schema::expires_within")]
    pub certificate_expires_within: GoDuration,
    /// MooringConsumerGroupUnread: nobody reads in a consumer group that has been read in before, and its oldest event is older than this, 1m
    /// to 24h.
    #[serde(default = "a_quarter_of_an_hour")]
    #[schemars(schema_with = "schema::alert_after")]
    pub consumer_group_unread_for: GoDuration,
}

impl Default for Prometheus {
    fn default() -> Self {
        Self { enabled: true, labels: BTreeMap::new(), interval: None }
    }
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            labels: BTreeMap::new(),
            hub_absent_for: five_minutes(),
            fleet_drop_percent: twenty(),
            devices_offline_more_than: 0,
            refusals_more_than: three_hundred(),
            certificate_expires_within: two_weeks(),
            consumer_group_unread_for: a_quarter_of_an_hour(),
        }
    }
}

fn yes() -> bool {
    true
}

fn twenty() -> i32 {
    20
}

fn three_hundred() -> i32 {
    300
}

fn five_minutes() -> GoDuration {
    GoDuration::minutes(5)
}

fn a_quarter_of_an_hour() -> GoDuration {
    GoDuration::minutes(15)
}

fn two_weeks() -> GoDuration {
    GoDuration::hours(14 * 24)
}
