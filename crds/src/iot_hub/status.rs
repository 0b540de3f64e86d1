//! How a hub stands.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::device::RotationStatus;
use crate::schema;

/// How the hub stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IotHubStatus {
    /// The generation of the spec that the rest is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Whether clients can come in (Ready), whether something is being changed (Reconciling), whether nothing will change until somebody
    /// does something (Stalled); the message says what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// Where it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,

    /// Its devices, read at most every 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<DeviceCounts>,

    /// The version of the hub that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// When its certificate ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date_time")]
    pub certificate_expiry_time: Option<Timestamp>,

    /// The Secrets of its policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub policies: Vec<PolicyStatus>,
}

/// Where a hub is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// The HostName of its connection strings.
    pub hostname: String,
    /// Where its name has to lead: the load balancer's addresses, none while it is being made; the Service's; or the nodes' ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub addresses: Vec<String>,
    /// The Service for devices, within the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices_service: Option<String>,
    /// The Service for the hub's own API, within the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_service: Option<String>,
    /// The Secret whose `ca.crt` clients trust; absent when the certificate comes from somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<String>,
}

/// A hub's devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceCounts {
    /// All of them.
    pub total: i64,
    /// Those that may connect.
    pub enabled: i64,
    /// Those that are connected.
    pub connected: i64,
}

/// A policy's Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// The policy.
    pub name: String,
    /// Its Secret.
    pub secret: String,
    /// The last rotation that was carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationStatus>,
}
