//! The kind `Device`: one device's identity in a hub, and the credentials that it connects with.
//!
//! What a manifest may say, with defaults and rules in the schema, so that no webhook is needed. Optional fields only are added from now
//! on. Doc comments here are what `kubectl explain` prints.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::duration::GoDuration;
use crate::schema;

/// How long the key before a rotation stays good, when the manifest does not say.
pub const DEFAULT_OVERLAP: GoDuration = GoDuration::hours(24);

/// What is wanted: whose identity it is, how the device proves itself, where its credentials go.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mooring.dev",
    version = "v1alpha1",
    kind = "Device",
    namespaced,
    shortname = "mdev",
    category = "mooring",
    status = "DeviceStatus",
    derive = "PartialEq",
    doc = "One device: its identity in a hub, and the credentials that it connects with. Applied, it is made in the hub and its \
           credentials are written; deleted, it is gone from there unless its deletionPolicy says otherwise. A device that a person or \
           a back end has shut out in the hub stays out, whatever its manifest says.",
    printcolumn(name = "READY", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "ENABLED", type_ = "boolean", json_path = ".spec.enabled"),
    printcolumn(name = "AUTH", type_ = "string", json_path = ".status.authenticationType"),
    printcolumn(name = "CONNECTED", type_ = "string", json_path = ".status.conditions[?(@.type==\"Connected\")].status"),
    printcolumn(
        name = "LAST SEEN",
        type_ = "date",
        json_path = ".status.lastDisconnectTime",
        description = "when it last disconnected; empty while it is connected"
    ),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.hubRef.name",
    selectable = ".spec.hubRef.namespace",
    selectable = ".spec.deviceId",
    selectable = ".spec.enabled",
    validation = Rule::new("has(self.spec.deviceId) || self.metadata.name.size() <= 128")
        .message("a device id has at most 128 characters: give the device a deviceId of its own, or a shorter name"),
    validation = Rule::new("has(self.spec.credentials) && has(self.spec.credentials.secretName) || self.metadata.name.size() <= 241")
        .message("a Secret's name has at most 253 characters, and <name>-credentials has more: give the device a credentials.secretName, or a shorter name")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.deviceId) == has(oldSelf.deviceId) && (!has(self.deviceId) || self.deviceId == oldSelf.deviceId)")
        .message("deviceId can't be changed, added or removed: a device of another name is another device"),
    validation = Rule::new(
        "!has(self.rotation) || (!has(self.authentication.x509Thumbprint) && !has(self.authentication.x509CA) \
         && !(has(self.authentication.symmetricKey) && has(self.authentication.symmetricKey.secretRef)))"
    )
    .message("only keys that the hub has generated can be rotated: change the keys where they come from, and leave rotation out")
)]
pub struct DeviceSpec {
    /// The hub that the device belongs to. Can't be changed. A hub that reads the manifest from a folder takes it for its own and passes
    /// this over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a device can't move to another hub: delete it, and make it there"))]
    pub hub_ref: Option<HubReference>,

    /// The device's name in the hub, which it connects with; case matters. Absent: metadata.name. Can't be changed, added or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::device_id")]
    pub device_id: Option<String>,

    /// Whether the device may connect. `false` closes its connections. A device that was shut out in the hub itself stays out even when
    /// this is `true`: the condition Ready then says HeldInHub, by whom and since when.
    #[serde(default = "yes")]
    pub enabled: bool,

    /// Why the device is enabled or disabled, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub status_reason: Option<String>,

    /// How the device proves itself: at most one of symmetricKey, x509Thumbprint and x509CA. Without any, symmetricKey is meant.
    #[serde(default)]
    #[x_kube(
        validation = Rule::new("[has(self.symmetricKey), has(self.x509Thumbprint), has(self.x509CA)].filter(given, given).size() <= 1")
            .message("only one of symmetricKey, x509Thumbprint and x509CA: remove the others")
    )]
    pub authentication: Authentication,

    /// Where the credentials go that the device connects with, and what they look like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,

    /// Asks for new keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,

    /// What becomes of the identity in the hub when the manifest is deleted: it is deleted, and its connections are closed (Delete), or it
    /// stays, and nobody manages it any more (Retain). One that was shut out in the hub stays there, shut out, in either case.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// What happens when the hub has an identity of this name already that no manifest manages: it is left alone, and the condition Ready
    /// says so (Fail), or it becomes the manifest's with its keys, and from now on is as the manifest says (Adopt).
    #[serde(default)]
    pub adoption: Adoption,

    /// What the hub shall know about the device: any JSON object of at most 8 KiB. In the hub these are the identity's tags, and nobody
    /// but the manifest can change them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::any_object")]
    pub tags: Option<Map<String, Value>>,

    /// What is watched about the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,
}

impl Default for DeviceSpec {
    fn default() -> Self {
        Self {
            hub_ref: None,
            device_id: None,
            enabled: yes(),
            status_reason: None,
            authentication: Authentication::default(),
            credentials: None,
            rotation: None,
            deletion_policy: DeletionPolicy::default(),
            adoption: Adoption::default(),
            tags: None,
            monitoring: None,
        }
    }
}

/// Names an IotHub.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HubReference {
    /// The IotHub's name.
    #[schemars(schema_with = "schema::hub_name")]
    pub name: String,

    /// The IotHub's namespace, when it is another one than the device's. The hub has to allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_name")]
    pub namespace: Option<String>,
}

/// How a device proves itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// By tokens signed with one of two keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symmetric_key: Option<SymmetricKey>,

    /// By a self-signed certificate of which the hub knows the thumbprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509_thumbprint: Option<X509Thumbprint>,

    /// By a certificate that one of the hub's device CAs has signed; its common name is the device id.
    #[serde(default, rename = "x509CA", skip_serializing_if = "Option::is_none")]
    pub x509_ca: Option<X509Ca>,
}

/// Two keys. Without a secretRef the hub generates them, and they change by rotation alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SymmetricKey {
    /// A Secret that brings the keys. A hub that reads the manifest from a folder knows no Secrets and refuses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeysReference>,
}

/// Names a Secret with two keys of 16 to 64 bytes, each as Base64 text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeysReference {
    /// The Secret's name, in the same namespace.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,

    /// The entry with the primary key.
    #[serde(default = "primary_entry")]
    #[schemars(schema_with = "schema::entry")]
    pub primary_key: String,

    /// The entry with the secondary key.
    #[serde(default = "secondary_entry")]
    #[schemars(schema_with = "schema::entry")]
    pub secondary_key: String,
}

/// Thumbprints of certificates: SHA-1 or SHA-256 of the DER form, in hexadecimal digits without separators, in either case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct X509Thumbprint {
    /// The certificate that the device uses.
    #[schemars(schema_with = "schema::thumbprint")]
    pub primary: String,

    /// The one that it will use, or has used until now: so a certificate is replaced without a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::thumbprint")]
    pub secondary: Option<String>,
}

/// Nothing more to say: which CAs there are, the hub knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct X509Ca {}

/// Where the credentials go, and what they look like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// The Secret's name; absent: the device's name, and `-credentials`. One that is there already and somebody else's is never touched.
    /// A hub that reads the manifest from a folder writes a file that is named for the device id instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub secret_name: Option<String>,

    /// Labels that the Secret gets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels_beside_ours")]
    pub labels: BTreeMap<String, String>,

    /// What the credentials look like: one connection string, as Azure's SDKs take it (connectionString); host name, device id and keys
    /// each by itself (keys); or environment variables, as Azure's samples read them (env).
    #[serde(default)]
    pub format: CredentialsFormat,
}

/// What the credentials look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CredentialsFormat {
    /// One connection string, as Azure's SDKs take it.
    #[default]
    ConnectionString,
    /// Host name, device id, primary and secondary key, each by itself.
    Keys,
    /// Environment variables, as Azure's samples read them.
    Env,
}

/// Asks for new keys, once for each `requestedAt`: the primary key becomes the secondary one, and stays good for the overlap; a new one
/// takes its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// When it was asked for: any time later than the one before. Keys that are made with the device are as new as can be, so the first
    /// rotation is the one after.
    #[schemars(schema_with = "schema::moment")]
    pub requested_at: Timestamp,

    /// How long the key before stays good, up to 8760h (a year).
    #[serde(default = "default_overlap")]
    #[schemars(schema_with = "schema::overlap")]
    pub overlap: GoDuration,
}

/// What becomes of the identity when the manifest is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It is deleted, and its connections are closed. One that was shut out in the hub stays, shut out.
    #[default]
    Delete,
    /// It stays, and nobody manages it any more.
    Retain,
}

/// What happens when there is an identity of this name that no manifest manages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Adoption {
    /// It is left alone, and the condition Ready says so.
    #[default]
    Fail,
    /// It becomes the manifest's: with its keys and its generation, and from now on as the manifest says.
    Adopt,
}

/// What is watched about a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// After how long without a connection the device counts as missing, from 10s to 2160h. Absent: as the hub has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::offline_after")]
    pub offline_after: Option<GoDuration>,

    /// Whether the device gets time series of its own among the hub's metrics. For few devices.
    #[serde(default)]
    pub per_device_metrics: bool,
}

/// How the device stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceStatus {
    /// The generation of the manifest that the rest is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Whether the device can connect as its manifest says (Ready), whether its Secret is there (CredentialsIssued), whether the hub has
    /// what the manifest wants (Synced), and whether the device is connected (Connected, for information: a few seconds late, and never
    /// part of Ready); the message says what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The device's name in the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,

    /// Differs between two identities of the same name that lived one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_id: Option<String>,

    /// How the device proves itself: symmetricKey, x509Thumbprint or x509CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication_type: Option<String>,

    /// The Secret with the credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret: Option<String>,

    /// When the device last connected or disconnected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date_time")]
    pub last_transition_time: Option<Timestamp>,

    /// When the device last disconnected; absent while it is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date_time")]
    pub last_disconnect_time: Option<Timestamp>,

    /// The last rotation that was carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationStatus>,
}

/// A rotation that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotationStatus {
    /// The `requestedAt` that it was carried out for.
    #[schemars(schema_with = "schema::date_time")]
    pub requested_at: Timestamp,

    /// When the new key came; absent when the overlap is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date_time")]
    pub begun_at: Option<Timestamp>,
}

fn yes() -> bool {
    true
}

fn primary_entry() -> String {
    "primaryKey".to_owned()
}

fn secondary_entry() -> String {
    "secondaryKey".to_owned()
}

fn default_overlap() -> GoDuration {
    DEFAULT_OVERLAP
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_shortest_manifest_says_everything_by_default() {
        let device: Device = serde_json::from_value(json!({
            "apiVersion": crate::API_VERSION, "kind": "Device", "metadata": { "name": "pump" }, "spec": {}
        }))
        .unwrap();
        assert_eq!(device.spec, DeviceSpec::default());
        assert_eq!(device.spec.authentication, Authentication::default());
        assert_eq!((device.spec.deletion_policy, device.spec.adoption), (DeletionPolicy::Delete, Adoption::Fail));
    }

    #[test]
    fn a_whole_manifest_is_written_as_it_was_read() {
        let text = json!({
            "apiVersion": crate::API_VERSION, "kind": "Device", "metadata": { "name": "pump" },
            "spec": {
                "hubRef": { "name": "plant" }, "deviceId": "Pump-1", "enabled": false, "statusReason": "being repaired",
                "authentication": { "x509Thumbprint": { "primary": "ab".repeat(20) } },
                "credentials": { "secretName": "pump", "labels": { "a": "b" }, "format": "env" },
                "rotation": { "requestedAt": "2026-11-23T03:00:00Z", "overlap": "1h30m" },
                "deletionPolicy": "Retain", "adoption": "Adopt", "tags": { "site": { "name": "north" } },
                "monitoring": { "offlineAfter": "15m", "perDeviceMetrics": true },
            }
        });
        let device: Device = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(device).unwrap(), text);
    }
}
