//! The hubs that the operator speaks to, each over its public REST API and its change stream.
//!
//! The IotHub controller says where a hub is and how it is spoken to ([`Links::set`]), and when it is gone ([`Links::remove`]); the Device
//! controller asks for the link. Nobody else opens a connection to a hub.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};

pub mod batch;
pub mod changes;
pub mod client;
pub mod identity;
mod info;
pub mod known;
mod link;
mod roots;
pub mod token;

pub use client::HubError;
pub use info::{DeviceCounts, HubInfo};
use known::Known;

use crate::clock::Clock;
use crate::observe::Metrics;
pub use link::Link;

/// An IotHub, by its names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HubKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for HubKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// How a hub is spoken to. Two that are equal need no new connection.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The hub's first host name: the `HostName` of connection strings, the name in its certificate.
    pub host_name: String,
    /// Where its API is: the API Service's cluster address and port. The name above is never looked up.
    pub address: SocketAddr,
    /// The roots that its certificate is checked against, in PEM; empty: those of the system.
    pub roots_pem: String,
    /// The policy that the operator signs its tokens as.
    pub policy: String,
    /// That policy's primary key, in Base64.
    pub key: SecretString,
}

impl Endpoint {
    fn is_the_same(&self, other: &Self) -> bool {
        let Self { host_name, address, roots_pem, policy, key } = self;
        *host_name == other.host_name
            && *address == other.address
            && *roots_pem == other.roots_pem
            && *policy == other.policy
            && key.expose_secret() == other.key.expose_secret()
    }
}

/// What whoever speaks to a hub needs beside it.
#[derive(Clone, Debug)]
pub struct Instruments {
    /// Tokens end by it.
    pub clock: Clock,
    /// Where requests are counted.
    pub metrics: Metrics,
}

/// The hubs that are spoken to. Clones are the same.
#[derive(Clone, Debug)]
pub struct Links {
    instruments: Instruments,
    links: Arc<Mutex<HashMap<HubKey, Arc<Link>>>>,
    looked_at: Arc<Mutex<HashSet<HubKey>>>,
    known: Arc<Known>,
}

impl Links {
    /// To no hub yet.
    #[must_use]
    pub fn new(instruments: Instruments) -> Self {
        Self { instruments, links: Arc::default(), looked_at: Arc::default(), known: Arc::default() }
    }

    /// Says where a hub is. The same as before changes nothing; anything else ends the link that there was and begins a new one. Needs a
    /// tokio runtime.
    pub fn set(&self, key: HubKey, endpoint: Endpoint) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.get(&key).is_none_or(|link| !link.endpoint().is_the_same(&endpoint)) {
            let link = Link::begin(key.clone(), endpoint, &self.known, &self.instruments);
            links.insert(key, Arc::new(link));
        }
    }

    /// To a hub that a test plays, without TLS.
    #[cfg(test)]
    pub fn set_plain(&self, key: HubKey, endpoint: Endpoint) {
        let link = Link::plain(key.clone(), endpoint, &self.known, &self.instruments);
        self.links.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(link));
    }

    /// Says that a hub is gone, or is not to be spoken to.
    pub fn remove(&self, key: &HubKey) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Says that a hub has been looked at: if there is no link, there is none for now. An operator that has just begun does not know it yet.
    pub fn looked_at(&self, key: &HubKey) {
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
    }

    /// Whether the hub has been looked at.
    #[must_use]
    pub fn is_looked_at(&self, key: &HubKey) -> bool {
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// The link to a hub; `None` while nobody has said where it is.
    #[must_use]
    pub fn get(&self, key: &HubKey) -> Option<Arc<Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// What is known of the identities that Devices name.
    #[must_use]
    pub fn known(&self) -> &Arc<Known> {
        &self.known
    }
}
