//! What the hub does, one verb a file: the only place where a decision of `core` meets a store.
//!
//! A protocol calls one verb with an intent and turns the answer into bytes. Nothing here knows a protocol.

use std::sync::Arc;

use crate::core::device_id::DeviceId;
use crate::core::host::HubNames;
use crate::core::identity::DeviceIdentity;
use crate::core::policy::Policies;
use crate::core::time::{Clock, UnixMillis};
use crate::observe::Metrics;
use crate::store::presence::Presence;
use crate::store::{EventLog, Registry};

// What a protocol holds on to between two verbs.
pub use crate::store::presence::{MqttSubscription, Session};
pub use crate::store::{AppendError, Durability, EventBatch, Fate, ReadError, RegistryError, StoredEvent, Ticket, Watermark};

pub mod authenticate;
pub mod change_devices;
pub mod counted_registry;
pub mod flush_activity;
pub mod identities;
pub mod open_session;
pub mod read_devices;
pub mod read_events;
pub mod refusals;
pub mod registry_statistics;
pub mod send_telemetry;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod world;

/// A hub: what its verbs work on. Made once, in `serve`.
pub struct Hub {
    /// What it is called.
    pub names: HubNames,
    /// The identities.
    pub registry: Arc<dyn Registry>,
    /// The events.
    pub events: Arc<dyn EventLog>,
    /// Who is connected.
    pub presence: Presence,
    /// Identities read lately.
    pub identities: identities::IdentityCache,
    /// The shared access policies.
    pub policies: Policies,
    /// Who was refused lately, and why.
    pub refusals: refusals::Refusals,
    /// Who reads events now.
    pub readers: read_events::Readers,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
}

impl Hub {
    /// A hub over these stores.
    pub fn new(names: HubNames, policies: Policies, registry: Arc<dyn Registry>, events: Arc<dyn EventLog>, clock: Arc<dyn Clock>) -> Self {
        let metrics = Arc::new(Metrics::new(&refusals::RefusalReason::NAMES));
        Self {
            names,
            registry: Arc::new(counted_registry::CountedRegistry::new(registry, Arc::clone(&metrics))),
            events,
            policies,
            clock,
            presence: Presence::default(),
            identities: identities::IdentityCache::default(),
            refusals: refusals::Refusals::default(),
            readers: read_events::Readers::default(),
            metrics,
        }
    }

    /// The hub's time.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// Makes a durable change of an identity count, before the call that made it returns: nobody goes on with the old one, and a
    /// session that lost its right has ended. `identity` is what is there now, `None` when it was deleted.
    pub fn identity_changed(&self, id: &DeviceId, identity: Option<&DeviceIdentity>) {
        self.identities.invalidate(id);
        self.presence.review(id, |right| right.review(identity));
        if identity.is_none() {
            self.presence.forget(id);
        }
    }
}
