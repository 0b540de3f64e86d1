//! What is known of the identities that Devices name, and of no others; and what has happened to them, for whoever reconciles.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::HubKey;
use super::identity::{Identity, ManagedBy, Presence};
use crate::distinct_queue::DistinctQueue;

/// The most identities without a Device that wait to be looked at. The others are found with the next snapshot.
const STRAYS_WAITING_MAX: usize = 20_000;

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum News {
    /// An identity that a Device names is another than the one it was reconciled with.
    Identity(HubKey, String),
    /// A device that a Device names has come or gone.
    Presence(HubKey, String),
    /// An identity belongs to a Device, and no Device names it.
    Stray(HubKey, String, ManagedBy),
    /// A hub can be spoken to again, or can't be any more: all its Devices.
    Hub(HubKey),
}

/// What is known. Bounded by what Devices name.
#[derive(Debug)]
pub struct Known {
    hubs: Mutex<HashMap<HubKey, HashMap<String, Entry>>>,
    /// What has happened, each once.
    pub news: DistinctQueue<News>,
    synced: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Entry {
    /// The version that a Device was reconciled with last.
    etag: Option<String>,
    presence: Option<Presence>,
}

impl Default for Known {
    fn default() -> Self {
        Self { hubs: Mutex::default(), news: DistinctQueue::default(), synced: watch::Sender::new(false) }
    }
}

impl Known {
    /// All Devices there are have been named: from now on, an identity that none names is a stray.
    pub fn all_named(&self) {
        self.synced.send_replace(true);
    }

    /// Waits for [`Self::all_named`].
    pub async fn wait_until_all_named(&self) {
        // The sender lives as long as this does.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// A Device names it.
    pub fn name(&self, hub: &HubKey, device_id: &str) {
        self.lock().entry(hub.clone()).or_default().entry(device_id.to_owned()).or_default();
    }

    /// No Device names it any more.
    pub fn forget(&self, hub: &HubKey, device_id: &str) {
        let mut hubs = self.lock();
        if let Some(devices) = hubs.get_mut(hub) {
            devices.remove(device_id);
            if devices.is_empty() {
                hubs.remove(hub);
            }
        }
    }

    /// Whether the device is connected, if that is known.
    #[must_use]
    pub fn presence(&self, hub: &HubKey, device_id: &str) -> Option<Presence> {
        self.lock().get(hub)?.get(device_id)?.presence
    }

    /// A Device has been reconciled with the identity in this version. What the answer says about presence counts only where the stream
    /// has not said anything: the stream is newer.
    pub fn reconciled(&self, hub: &HubKey, identity: &Identity) {
        let mut hubs = self.lock();
        if let Some(entry) = hubs.get_mut(hub).and_then(|devices| devices.get_mut(&identity.device_id)) {
            entry.etag = Some(identity.etag.clone());
            entry.presence = entry.presence.or_else(|| identity.presence());
        }
    }

    /// The stream says that an identity is so.
    pub(super) fn written(&self, hub: &HubKey, identity: &Identity) {
        let named = match self.lock().get(hub).and_then(|devices| devices.get(&identity.device_id)) {
            Some(entry) if entry.etag.as_ref() == Some(&identity.etag) => return,
            Some(_) => true,
            None => false,
        };
        if named {
            self.news.put(News::Identity(hub.clone(), identity.device_id.clone()));
        } else if let Some(owner) = identity.managed_by.as_ref().filter(|owner| owner.is_device()) {
            self.stray(hub, &identity.device_id, owner.clone());
        }
    }

    /// An identity may have lost its Device.
    pub fn stray(&self, hub: &HubKey, device_id: &str, owner: ManagedBy) {
        if self.news.len() < STRAYS_WAITING_MAX {
            self.news.put(News::Stray(hub.clone(), device_id.to_owned(), owner));
        }
    }

    /// The stream says that an identity is gone.
    pub(super) fn deleted(&self, hub: &HubKey, device_id: &str) {
        let named = match self.lock().get_mut(hub).and_then(|devices| devices.get_mut(device_id)) {
            Some(entry) => {
                *entry = Entry::default();
                true
            }
            None => false,
        };
        if named {
            self.news.put(News::Identity(hub.clone(), device_id.to_owned()));
        }
    }

    /// The stream says that a device came or went.
    pub(super) fn moved(&self, hub: &HubKey, device_id: &str, presence: Presence) {
        let changed = match self.lock().get_mut(hub).and_then(|devices| devices.get_mut(device_id)) {
            Some(entry) => entry.presence.replace(presence) != Some(presence),
            None => false,
        };
        if changed {
            self.news.put(News::Presence(hub.clone(), device_id.to_owned()));
        }
    }

    /// A snapshot has ended: what it did not speak of is gone, or not connected.
    pub(super) fn snapshot_ended(&self, hub: &HubKey, seen: &Seen) {
        let mut changed = Vec::new();
        for (device_id, entry) in self.lock().get_mut(hub).into_iter().flatten() {
            let lost = !seen.identities.contains(device_id) && entry.etag.is_some();
            if lost {
                *entry = Entry::default();
            }
            // It went while nobody listened; when, only the identity says.
            let went = !seen.connected.contains(device_id) && entry.presence.is_some_and(|presence| presence.connected);
            if went {
                entry.presence = None;
                entry.etag = None;
            }
            if lost || went {
                changed.push(News::Identity(hub.clone(), device_id.clone()));
            }
        }
        changed.into_iter().for_each(|news| self.news.put(news));
    }

    /// Whether a Device names it.
    #[must_use]
    pub fn names(&self, hub: &HubKey, device_id: &str) -> bool {
        self.lock().get(hub).is_some_and(|devices| devices.contains_key(device_id))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HubKey, HashMap<String, Entry>>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of which identities a snapshot has spoken, among those that Devices name.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub identities: HashSet<String>,
    pub connected: HashSet<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hub() -> HubKey {
        HubKey { namespace: "plant".to_owned(), name: "hub".to_owned() }
    }

    fn identity(id: &str, etag: &str, owner: Option<&str>) -> Identity {
        let owner = owner.map(|uid| json!({ "kind": "Kubernetes", "namespace": "plant", "name": id, "uid": uid }));
        serde_json::from_value(json!({ "deviceId": id, "etag": etag, "managedBy": owner })).unwrap()
    }

    fn news(known: &Known) -> Vec<News> {
        std::iter::from_fn(|| known.news.take()).collect()
    }

    #[test]
    fn a_change_that_was_reconciled_is_no_news_and_one_that_nobody_names_is_kept_nowhere() {
        let known = Known::default();
        known.name(&hub(), "a");
        known.written(&hub(), &identity("a", "1", None));
        known.written(&hub(), &identity("other", "1", None));
        assert_eq!(news(&known), [News::Identity(hub(), "a".to_owned())]);
        known.reconciled(&hub(), &identity("a", "1", None));
        known.written(&hub(), &identity("a", "1", None));
        assert_eq!(news(&known), []);
        known.written(&hub(), &identity("gone", "1", Some("u")));
        assert!(matches!(&news(&known)[..], [News::Stray(_, id, owner)] if id == "gone" && owner.uid == "u"));
        let connected = Presence { connected: true, since: None };
        known.moved(&hub(), "other", connected);
        known.moved(&hub(), "a", connected);
        known.moved(&hub(), "a", connected);
        assert_eq!(news(&known), [News::Presence(hub(), "a".to_owned())]);
        known.forget(&hub(), "a");
        assert!(known.lock().is_empty());
    }

    #[test]
    fn a_snapshot_tells_who_is_gone() {
        let known = Known::default();
        for id in ["here", "left", "lost"] {
            known.name(&hub(), id);
            known.reconciled(&hub(), &identity(id, "1", None));
            known.moved(&hub(), id, Presence { connected: true, since: None });
        }
        news(&known);
        let of = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        known.snapshot_ended(&hub(), &Seen { identities: of(&["here", "left"]), connected: of(&["here"]) });
        let mut told = news(&known);
        told.sort_by_key(|news| format!("{news:?}"));
        assert_eq!(told, [News::Identity(hub(), "left".to_owned()), News::Identity(hub(), "lost".to_owned())]);
        assert_eq!(known.presence(&hub(), "left"), None, "when it went, only the identity says");
    }
}
