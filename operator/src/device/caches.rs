//! What is remembered of objects that Devices refer to: hubs, and the metadata of Secrets. Never what is in a Secret.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use mooring_crds::IotHub;
use mooring_crds::iot_hub::{AllowedNamespaces, CertificateSource};

use super::DeviceName;
use crate::hub::HubKey;

/// An IotHub, as far as its Devices need to know.
#[derive(Clone, Debug, PartialEq)]
pub struct HubSeen {
    /// Its uid, for events.
    pub uid: String,
    /// From where Devices may name it.
    pub allowed: AllowedNamespaces,
    /// Whether its authority is its own, so that clients have to be told of it.
    pub self_signed: bool,
    /// Whether nothing is to be changed but that devices are shut out.
    pub paused: bool,
    /// Whether it is going.
    pub deleting: bool,
}

/// The IotHubs there are.
#[derive(Debug, Default)]
pub struct Hubs(Mutex<HashMap<HubKey, HubSeen>>);

impl Hubs {
    /// It is there. Answers whether its Devices have to be looked at. One that can't be read stays as it was.
    pub fn put(&self, hub: &DeserializeGuard<IotHub>) -> Option<HubKey> {
        let hub = hub.0.as_ref().ok()?;
        let name = DeviceName::of(hub);
        let key = HubKey { namespace: name.namespace, name: name.name };
        let seen = HubSeen {
            uid: hub.metadata.uid.clone().unwrap_or_default(),
            allowed: hub.spec.devices.allowed_namespaces.clone(),
            self_signed: matches!(hub.spec.tls.source(), CertificateSource::SelfSigned),
            paused: hub.spec.paused,
            deleting: hub.metadata.deletion_timestamp.is_some(),
        };
        let before = self.lock().insert(key.clone(), seen.clone());
        (before != Some(seen)).then_some(key)
    }

    /// It is gone.
    pub fn remove(&self, key: &HubKey) {
        self.lock().remove(key);
    }

    /// A hub.
    pub fn get(&self, key: &HubKey) -> Option<HubSeen> {
        self.lock().get(key).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<HubKey, HubSeen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Secrets, by the version that the watch has shown, and the versions in which they were found to be right.
#[derive(Debug, Default)]
pub struct Secrets(Mutex<SecretVersions>);

#[derive(Debug, Default)]
struct SecretVersions {
    shown: HashMap<DeviceName, String>,
    right: HashMap<DeviceName, Right>,
}

/// A Secret that was as it was to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// In this version.
    pub version: String,
    /// For what was wanted then: a hash of it.
    pub wanted: String,
}

impl Secrets {
    /// It is there. Answers whether this is another version.
    pub fn put(&self, secret: &PartialObjectMeta<Secret>) -> bool {
        let version = secret.metadata.resource_version.clone().unwrap_or_default();
        self.lock().shown.insert(DeviceName::of(secret), version.clone()) != Some(version)
    }

    /// It is gone.
    pub fn remove(&self, name: &DeviceName) {
        let mut versions = self.lock();
        versions.shown.remove(name);
        versions.right.remove(name);
    }

    /// Whether the watch shows it.
    pub fn is_shown(&self, name: &DeviceName) -> bool {
        self.lock().shown.contains_key(name)
    }

    /// Whether the watch shows it in the version in which it was right, for the same wish.
    pub fn is_right(&self, name: &DeviceName, wanted: &str) -> bool {
        let versions = self.lock();
        let right = versions.right.get(name);
        right.is_some_and(|right| versions.shown.get(name) == Some(&right.version) && right.wanted == wanted)
    }

    /// It is right.
    pub fn is_now_right(&self, name: &DeviceName, right: Right) {
        self.lock().right.insert(name.clone(), right);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SecretVersions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
