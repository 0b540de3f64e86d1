//! The Device controller: makes each Device an identity in its hub and a Secret with its credentials, and keeps them so.
//!
//! dereference (reads) → validate and plan (pure, `mooring_crds::plan`) → apply (the hub, the Secret) → status. Beside it: who is to be shut
//! out goes first ([`shut_out`]), identities whose Device has vanished are held ([`vanished`]), and an operator whose own namespace is deleted
//! lets Devices go before it ends ([`leave`]).

use std::fmt;

use kube::Resource;
use mooring_crds::Device;

mod apply;
mod build;
mod caches;
mod context;
mod credentials;
mod delete;
mod dereference;
mod endings;
mod index;
mod leave;
mod reconcile;
mod run;
mod shut_out;
pub mod status;
mod vanished;
mod watch;

pub use run::controller;

/// A namespaced object, by its names: a Device, or a Secret beside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl DeviceName {
    fn of(object: &impl Resource) -> Self {
        let metadata = object.meta();
        Self { namespace: metadata.namespace.clone().unwrap_or_default(), name: metadata.name.clone().unwrap_or_default() }
    }

    /// Another object in the same namespace.
    fn beside(&self, name: &str) -> Self {
        Self { namespace: self.namespace.clone(), name: name.to_owned() }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What the Secret with a Device's credentials is called.
fn credentials_name(device: &Device) -> String {
    let named = device.spec.credentials.as_ref().and_then(|credentials| credentials.secret_name.clone());
    named.unwrap_or_else(|| format!("{}-credentials", device.metadata.name.as_deref().unwrap_or_default()))
}

#[cfg(test)]
mod tests;
