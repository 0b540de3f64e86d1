//! The Devices there are, as far as others need to know: who names which identity, which Secret, and what they said last.
//!
//! Fed by the watch, before anything waits in a queue. Bounded by the Devices there are.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use mooring_crds::Device;
use mooring_crds::device::{DeviceSpec, DeviceStatus};

use super::DeviceName;
use super::status::SYNCED;
use crate::hub::HubKey;
use crate::hub::identity::ManagedBy;
use crate::labels;

/// A Device, as far as others need to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: DeviceName,
    /// Differs between two of the same name that lived one after the other.
    pub uid: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Which version of its spec this is.
    pub generation: Option<i64>,
    /// The hub that it names.
    pub hub: HubKey,
    /// The identity that it names.
    pub device_id: String,
    /// Whether the device may connect.
    pub enabled: bool,
    /// Why.
    pub status_reason: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether its identity outlives it.
    pub retains: bool,
    /// Whether the finalizer is on it.
    pub has_finalizer: bool,
    /// Whether the hub has what this generation says, by the status.
    pub is_carried_out: bool,
    /// The Secrets in its namespace that it has to do with.
    pub secrets: Vec<String>,
}

impl Seen {
    /// Of a Device; `None` for one that names no hub, which the schema does not let through.
    #[must_use]
    pub fn of(device: &Device) -> Option<Self> {
        let name = DeviceName::of(device);
        let DeviceSpec { hub_ref, device_id, authentication, .. } = &device.spec;
        let hub = hub_ref.as_ref()?;
        let keys = authentication.symmetric_key.as_ref().and_then(|keys| keys.secret_ref.as_ref());
        let metadata = &device.metadata;
        Some(Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            generation: metadata.generation,
            hub: HubKey { namespace: hub.namespace.clone().unwrap_or_else(|| name.namespace.clone()), name: hub.name.clone() },
            device_id: device_id.clone().unwrap_or_else(|| name.name.clone()),
            enabled: device.spec.enabled,
            status_reason: device.spec.status_reason.clone().filter(|reason| !reason.is_empty()),
            deleting: metadata.deletion_timestamp.is_some(),
            retains: device.spec.deletion_policy == mooring_crds::device::DeletionPolicy::Retain,
            has_finalizer: metadata.finalizers.iter().flatten().any(|finalizer| finalizer == labels::DEVICE_FINALIZER),
            is_carried_out: device.status.as_ref().is_some_and(|status| is_synced(status, metadata.generation)),
            secrets: [super::credentials_name(device)].into_iter().chain(keys.map(|keys| keys.name.clone())).collect(),
            name,
        })
    }

    /// Its name in requests to the hub.
    #[must_use]
    pub fn author(&self) -> ManagedBy {
        ManagedBy {
            kind: "Kubernetes".to_owned(),
            namespace: self.name.namespace.clone(),
            name: self.name.name.clone(),
            uid: self.uid.clone(),
        }
    }

    /// Whether this is to be seen to although a Device with this name was seen to: another spec, another life, or its finalizer is lost.
    #[must_use]
    pub fn is_news_after(&self, before: Option<&Self>) -> bool {
        before.is_none_or(|before| {
            (&before.uid, before.generation, before.deleting) != (&self.uid, self.generation, self.deleting)
                || (before.has_finalizer && !self.has_finalizer)
        })
    }

    /// Whether somebody wants the device out, and it may not be yet.
    #[must_use]
    pub fn is_to_be_out(&self) -> bool {
        if self.deleting { self.has_finalizer } else { !self.enabled && !self.is_carried_out }
    }

    /// Whether somebody wants the device out who did not before.
    #[must_use]
    pub fn shuts_out_after(&self, before: Option<&Self>) -> bool {
        let out = |seen: &Self| !seen.enabled || seen.deleting;
        let is_same_life = |before: &&Self| before.uid == self.uid;
        match before.filter(is_same_life) {
            Some(before) => out(self) && (!out(before) || self.deleting != before.deleting),
            None => self.deleting || self.is_to_be_out(),
        }
    }
}

fn is_synced(status: &DeviceStatus, generation: Option<i64>) -> bool {
    let is_synced = |condition: &Condition| condition.type_ == SYNCED && condition.status == "True";
    status.conditions.iter().any(|condition| is_synced(condition) && condition.observed_generation == generation)
}

/// The Devices there are.
#[derive(Debug, Default)]
pub struct Index {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    devices: HashMap<DeviceName, Seen>,
    by_identity: HashMap<HubKey, HashMap<String, BTreeSet<DeviceName>>>,
    by_secret: HashMap<DeviceName, BTreeSet<DeviceName>>,
    /// Uids of Devices whose finalizer was taken off because all was done.
    finalized: HashMap<DeviceName, String>,
}

impl Index {
    /// It is there. Answers what was there under its name before.
    pub fn put(&self, seen: Seen) -> Option<Seen> {
        let mut inner = self.lock();
        let before = inner.remove(&seen.name);
        let devices = inner.by_identity.entry(seen.hub.clone()).or_default();
        devices.entry(seen.device_id.clone()).or_default().insert(seen.name.clone());
        for secret in &seen.secrets {
            inner.by_secret.entry(seen.name.beside(secret)).or_default().insert(seen.name.clone());
        }
        inner.devices.insert(seen.name.clone(), seen);
        before
    }

    /// It is gone. Answers what it was, and whether it was let go in good order.
    pub fn remove(&self, name: &DeviceName) -> Option<(Seen, bool)> {
        let mut inner = self.lock();
        let before = inner.remove(name)?;
        let finalized = inner.finalized.remove(name).is_some_and(|uid| uid == before.uid);
        Some((before, finalized))
    }

    /// All is done for a Device that is being deleted.
    pub fn finalized(&self, name: &DeviceName, uid: &str) {
        let mut inner = self.lock();
        if inner.devices.contains_key(name) {
            inner.finalized.insert(name.clone(), uid.to_owned());
        }
    }

    /// A Device.
    #[must_use]
    pub fn get(&self, name: &DeviceName) -> Option<Seen> {
        self.lock().devices.get(name).cloned()
    }

    /// All that name an identity.
    #[must_use]
    pub fn naming(&self, hub: &HubKey, device_id: &str) -> Vec<Seen> {
        let inner = self.lock();
        let names = inner.by_identity.get(hub).and_then(|devices| devices.get(device_id));
        names.into_iter().flatten().filter_map(|name| inner.devices.get(name).cloned()).collect()
    }

    /// All that name a hub.
    #[must_use]
    pub fn of_hub(&self, hub: &HubKey) -> Vec<DeviceName> {
        self.lock().by_identity.get(hub).into_iter().flat_map(|devices| devices.values().flatten().cloned()).collect()
    }

    /// All that have to do with a Secret.
    #[must_use]
    pub fn of_secret(&self, secret: &DeviceName) -> Vec<DeviceName> {
        self.lock().by_secret.get(secret).into_iter().flatten().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove(&mut self, name: &DeviceName) -> Option<Seen> {
        let seen = self.devices.remove(name)?;
        if let Some(devices) = self.by_identity.get_mut(&seen.hub) {
            if let Some(names) = devices.get_mut(&seen.device_id) {
                names.remove(name);
                if names.is_empty() {
                    devices.remove(&seen.device_id);
                }
            }
            if devices.is_empty() {
                self.by_identity.remove(&seen.hub);
            }
        }
        for secret in &seen.secrets {
            let secret = name.beside(secret);
            if let Some(names) = self.by_secret.get_mut(&secret) {
                names.remove(name);
                if names.is_empty() {
                    self.by_secret.remove(&secret);
                }
            }
        }
        Some(seen)
    }
}

/// Whose the identity is to be when several Devices name it: whose it is already, now or in an earlier life, or else the oldest's.
#[must_use]
pub fn first<'a>(siblings: &'a [Seen], owner: Option<&ManagedBy>) -> Option<&'a Seen> {
    let is_owner = |seen: &Seen, owner: &ManagedBy| (&seen.name.namespace, &seen.name.name) == (&owner.namespace, &owner.name);
    let incumbent = owner.filter(|owner| owner.is_device()).and_then(|owner| siblings.iter().find(|seen| is_owner(seen, owner)));
    // One without a time is one that no API server has made: it comes last.
    incumbent.or_else(|| siblings.iter().min_by_key(|seen| (seen.created.is_none(), seen.created, &seen.uid)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(name: &str, uid: &str, second: i64) -> Seen {
        let device: Device = serde_json::from_value(json!({
            "apiVersion": mooring_crds::API_VERSION, "kind": "Device",
            "metadata": { "name": name, "namespace": "plant", "uid": uid, "generation": 1,
                "creationTimestamp": Timestamp::from_second(second).unwrap().to_string() },
            "spec": { "hubRef": { "name": "hub" }, "deviceId": "Pump" },
        }))
        .unwrap();
        Seen::of(&device).unwrap()
    }

    #[test]
    fn the_oldest_is_first_unless_the_identity_is_anothers_already() {
        let siblings = [seen("young", "1", 20), seen("old", "3", 10), seen("as-old", "2", 10)];
        assert_eq!(first(&siblings, None).unwrap().name.name, "as-old");
        assert_eq!(first(&siblings, Some(&siblings[0].author())).unwrap().name.name, "young");
        assert_eq!(first(&siblings, Some(&seen("young", "0", 1).author())).unwrap().name.name, "young", "it was made again");
        assert_eq!(first(&siblings, Some(&seen("gone", "9", 1).author())).unwrap().name.name, "as-old");
    }

    #[test]
    fn what_goes_leaves_nothing_behind() {
        let index = Index::default();
        index.put(seen("a", "1", 10));
        index.put(seen("b", "2", 20));
        let hub = seen("a", "1", 10).hub;
        assert_eq!((index.naming(&hub, "Pump").len(), index.of_hub(&hub).len()), (2, 2));
        let secret = DeviceName { namespace: "plant".to_owned(), name: "a-credentials".to_owned() };
        assert_eq!(index.of_secret(&secret), [secret.beside("a")]);
        index.finalized(&secret.beside("a"), "1");
        assert!(index.remove(&secret.beside("a")).unwrap().1);
        assert!(!index.remove(&secret.beside("b")).unwrap().1, "nobody has let it go");
        let inner = index.lock();
        assert!(inner.devices.is_empty() && inner.by_identity.is_empty() && inner.by_secret.is_empty() && inner.finalized.is_empty());
    }

    #[test]
    fn who_is_to_be_out_is_found_once() {
        let before = seen("a", "1", 10);
        let disabled = Seen { enabled: false, generation: Some(2), ..before.clone() };
        assert!(disabled.shuts_out_after(Some(&before)) && !disabled.shuts_out_after(Some(&disabled)));
        let deleting = Seen { deleting: true, ..disabled.clone() };
        assert!(deleting.shuts_out_after(Some(&disabled)), "a deletion is more than a disable");
        assert!(disabled.shuts_out_after(None) && !Seen { is_carried_out: true, ..disabled }.shuts_out_after(None));
        assert!(!before.shuts_out_after(None));
        let is_to_be_out = |seen: &Seen| seen.is_to_be_out();
        assert!(!is_to_be_out(&before) && is_to_be_out(&Seen { enabled: false, ..before.clone() }));
        assert!(!is_to_be_out(&Seen { enabled: false, is_carried_out: true, ..before.clone() }));
        assert!(is_to_be_out(&Seen { deleting: true, has_finalizer: true, is_carried_out: true, ..before.clone() }));
        assert!(!is_to_be_out(&Seen { deleting: true, ..before }), "it was let go");
    }
}
