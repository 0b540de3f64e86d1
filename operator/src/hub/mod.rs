//! The hubs that the operator speaks to, each over its public REST API and its change stream.
//!
//! The IotHub controller says where a hub is and how it is spoken to ([`Links::set`]), and when it is gone ([`Links::remove`]); the Device
//! controller asks for the link. Nobody else opens a connection to a hub.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::SecretString;

mod info;
mod link;

pub use info::{DeviceCounts, HubInfo};
pub use link::{HubError, Link};

/// An IotHub, by its names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HubKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
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

/// The hubs that are spoken to. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Links {
    links: Arc<Mutex<HashMap<HubKey, Arc<Link>>>>,
}

impl Links {
    /// Says where a hub is. The same as before changes nothing; anything else ends the link that there was and begins a new one.
    pub fn set(&self, key: HubKey, endpoint: Endpoint) {
        let link = Arc::new(Link::new(key.clone(), endpoint));
        self.links.lock().unwrap_or_else(PoisonError::into_inner).insert(key, link);
    }

    /// Says that a hub is gone, or is not to be spoken to.
    pub fn remove(&self, key: &HubKey) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// The link to a hub; `None` while nobody has said where it is.
    #[must_use]
    pub fn get(&self, key: &HubKey) -> Option<Arc<Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }
}
