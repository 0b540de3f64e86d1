//! An identity as a hub's REST API has it.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value};

/// An identity. In the change stream it is without its keys and without presence.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Its name.
    pub device_id: String,
    /// Differs between two of the same name that lived one after the other.
    #[serde(default)]
    pub generation_id: String,
    /// Changes with every write.
    pub etag: String,
    /// `enabled` or `disabled`, as it counts: a hold shows.
    #[serde(default)]
    pub status: String,
    /// What the manifest wants, or the last writer of one that nobody manages: a hold doesn't show.
    #[serde(default)]
    pub wanted_status: Option<String>,
    /// Why.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// `Connected` or `Disconnected`.
    #[serde(default)]
    pub connection_state: Option<String>,
    /// Since when; the year 1 when never.
    #[serde(default)]
    pub connection_state_updated_time: Option<String>,
    /// How it proves itself.
    #[serde(default)]
    pub authentication: Authentication,
    /// Its tags.
    #[serde(default)]
    pub tags: Option<Map<String, Value>>,
    /// Whose it is.
    #[serde(default)]
    pub managed_by: Option<ManagedBy>,
    /// Who shut it out.
    #[serde(default)]
    pub hold: Option<Hold>,
    /// What is watched about it.
    #[serde(default)]
    pub monitoring: Option<Value>,
    /// The last rotation that its manifest carried out.
    #[serde(default)]
    pub rotation: Option<Rotation>,
}

/// How an identity proves itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// `sas`, `selfSigned` or `certificateAuthority`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Its keys.
    #[serde(default)]
    pub symmetric_key: Option<Keys>,
    /// Its certificates.
    #[serde(default)]
    pub x509_thumbprint: Option<Thumbprints>,
}

/// Two keys, in Base64.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keys {
    /// Slot one.
    #[serde(default)]
    pub primary_key: Option<SecretString>,
    /// Slot two.
    #[serde(default)]
    pub secondary_key: Option<SecretString>,
}

/// Two thumbprints.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Thumbprints {
    /// Slot one.
    #[serde(default)]
    pub primary_thumbprint: Option<String>,
    /// Slot two.
    #[serde(default)]
    pub secondary_thumbprint: Option<String>,
}

/// Whose an identity is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct ManagedBy {
    /// `Kubernetes`, `ManifestFolder`, or what a later hub calls it.
    pub kind: String,
    /// The Device's namespace.
    #[serde(default)]
    pub namespace: String,
    /// The Device's name.
    #[serde(default)]
    pub name: String,
    /// The Device's uid.
    #[serde(default)]
    pub uid: String,
}

impl ManagedBy {
    /// Whether it is a Device.
    #[must_use]
    pub fn is_device(&self) -> bool {
        self.kind == "Kubernetes"
    }
}

impl std::fmt::Display for ManagedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind.as_str() {
            "Kubernetes" => write!(f, "the Device {}/{}", self.namespace, self.name),
            "ManifestFolder" => f.write_str("the hub's own folder of manifests"),
            other => write!(f, "{other}"),
        }
    }
}

/// Who shut it out, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Hold {
    /// The policy that they used.
    pub by: String,
    /// When.
    pub since: String,
}

/// A rotation that was carried out, in the same write as its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// For which request.
    pub requested_at: Timestamp,
    /// When the new key came; absent once the one before is gone.
    #[serde(default)]
    pub begun_at: Option<Timestamp>,
}

/// Whether a device is connected, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Whether it has a connection.
    pub connected: bool,
    /// Since when; `None` when it never was otherwise, or nobody knows any more.
    pub since: Option<Timestamp>,
}

impl Identity {
    /// What the document says about presence; `None` when it says nothing.
    #[must_use]
    pub fn presence(&self) -> Option<Presence> {
        let connected = self.connection_state.as_deref()? == "Connected";
        let since = self.connection_state_updated_time.as_deref().and_then(|text| text.parse().ok());
        Some(Presence { connected, since })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_read_with_and_without_what_the_stream_leaves_out() {
        let whole: Identity = serde_json::from_value(json!({
            "deviceId": "pump", "generationId": "1", "etag": "e", "status": "disabled", "wantedStatus": "enabled", "statusReason": null,
            "connectionState": "Disconnected", "connectionStateUpdatedTime": "0001-01-01T00:00:00",
            "authentication": { "type": "sas", "symmetricKey": { "primaryKey": "AQ==", "secondaryKey": "AQ==" },
                "x509Thumbprint": { "primaryThumbprint": null, "secondaryThumbprint": null } },
            "tags": null, "hold": { "by": "service", "since": "2026-11-23T03:00:00.000Z" },
            "managedBy": { "kind": "Kubernetes", "namespace": "plant", "name": "pump", "uid": "u" },
            "rotation": { "requestedAt": "2026-11-23T03:00:00Z", "begunAt": null },
        }))
        .unwrap();
        assert_eq!(whole.presence(), Some(Presence { connected: false, since: None }));
        assert_eq!(whole.managed_by.unwrap().to_string(), "the Device plant/pump");
        assert!(!format!("{:?}", whole.authentication).contains("AQ=="));
        let bare: Identity = serde_json::from_value(json!({ "deviceId": "pump", "etag": "e" })).unwrap();
        assert_eq!(bare.presence(), None);
    }
}
