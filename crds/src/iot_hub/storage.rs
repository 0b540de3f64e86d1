//! What a hub keeps, where, and for how long.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretReference;
use crate::duration::GoDuration;
use crate::schema;

/// How long events are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Retention {
    /// From 1h to 87600h (ten years). Absent: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::retention_time")]
    pub time: Option<GoDuration>,
    /// How much disk events may take, at least 256Mi. Absent: seven tenths of the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::retention_size")]
    pub size: Option<Quantity>,
}

/// Where the hub keeps its data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Storage {
    /// A volume of the hub's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<EmbeddedStorage>,
    /// An engine that several hubs share. Not there yet: the condition Stalled says so, a hub that runs already runs on as it was, and a
    /// new one is not started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distributed: Option<DistributedStorage>,
}

impl Storage {
    /// The hub's own volume, unless the storage is distributed.
    #[must_use]
    pub fn volume(&self) -> Option<EmbeddedStorage> {
        match (&self.embedded, &self.distributed) {
            (Some(embedded), _) => Some(embedded.clone()),
            (None, None) => Some(EmbeddedStorage::default()),
            (None, Some(_)) => None,
        }
    }
}

/// A volume of the hub's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("quantity(string(self.size)).compareTo(quantity(string(oldSelf.size))) >= 0")
        .message("a volume can grow, but not shrink: leave size as it was, or make it larger"),
    validation = Rule::new(
        "has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)"
    )
    .message("storageClassName can't be changed, added or removed: the volume is there already")
)]
pub struct EmbeddedStorage {
    /// Its size. It can grow where the storage class allows it, and never shrinks.
    #[serde(default = "default_size")]
    #[schemars(schema_with = "schema::volume_size")]
    pub size: Quantity,
    /// Its storage class. Absent: the cluster's default. Can't be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub storage_class_name: Option<String>,
    /// What becomes of the volume, the policies' keys and the hub's own authority when the IotHub is deleted: they stay, and an IotHub of
    /// the same name finds them again (Retain), or they go with it (Delete).
    #[serde(default)]
    pub deletion_policy: StorageDeletionPolicy,
}

impl Default for EmbeddedStorage {
    fn default() -> Self {
        Self { size: default_size(), storage_class_name: None, deletion_policy: StorageDeletionPolicy::default() }
    }
}

/// What becomes of a hub's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StorageDeletionPolicy {
    /// It stays, and an IotHub of the same name finds it again.
    #[default]
    Retain,
    /// It goes with the IotHub.
    Delete,
}

/// An engine that several hubs share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DistributedStorage {
    /// A Secret whose entry `url` is that of a PostgreSQL database, for identities, commands and receipts.
    pub registry_secret_ref: SecretReference,
    /// A Secret whose entry `url` is that of the engine that keeps events.
    pub events_secret_ref: SecretReference,
}

fn default_size() -> Quantity {
    Quantity("10Gi".to_owned())
}
