//! What the hub does, one verb a file: the only place where a decision of `core` meets a store.
//!
//! A protocol calls one verb with an intent and turns the answer into bytes. Nothing here knows a protocol.

use std::sync::Arc;
use std::time::Duration;

use crate::core::change::Change;
use crate::core::command::CommandLimits;
use crate::core::device_id::DeviceId;
use crate::core::host::HubNames;
use crate::core::identity::DeviceIdentity;
use crate::core::policy::Policies;
use crate::core::session::{BootId, DeviceRight, DisconnectReason};
use crate::core::time::{Clock, UnixMillis};
use crate::observe::Metrics;
use crate::store::commands::Commands as CommandStore;
use crate::store::connection_log::ConnectionLog;
use crate::store::group_positions::GroupPositions;
use crate::store::presence::Presence;
use crate::store::{EventLog, Registry};

// What a protocol holds on to between two verbs.
pub use crate::store::audit::{AuditLogError, AuditQuery};
pub use crate::store::commands::CommandsError;
pub use crate::store::presence::{MqttSubscription, Session};
pub use crate::store::{AppendError, DeviceCount, Durability, EventBatch, Fate, ReadError, RegistryError, StoredEvent, Ticket, Watermark};

pub mod act_on_devices;
pub mod audit;
pub mod authenticate;
pub mod change_devices;
pub mod changes;
pub mod commands;
pub mod consumer_groups;
pub mod counted_registry;
pub mod describe_hub;
pub mod device_authorities;
pub mod device_rates;
pub mod end_expired;
pub mod expected_devices;
pub mod fleet_index;
pub mod flush_activity;
pub mod follow_devices;
pub mod identities;
pub mod live;
pub mod new_key;
pub mod open_session;
pub mod policies;
pub mod purge_commands;
pub mod rates;
pub mod read_commands;
pub mod read_connections;
pub mod read_devices;
pub mod read_events;
pub mod read_partition;
pub mod read_timeline;
pub mod receive_commands;
pub mod receive_feedback;
pub mod record_connections;
pub mod refusals;
pub mod registry_statistics;
pub mod seats;
pub mod send_again;
pub mod send_command;
pub mod send_telemetry;
pub mod settle_command;
pub mod show_secrets;
pub mod sign_in;
pub mod tail_events;
#[cfg(test)]
mod tests;
pub mod watch_changes;
#[cfg(test)]
pub(crate) mod world;

/// A hub: what its verbs work on. Made once, in `serve`.
pub struct Hub {
    /// What it is called.
    pub names: HubNames,
    /// Which life of its data this is.
    pub boot: BootId,
    /// When it began.
    pub started_time: UnixMillis,
    /// When the certificate ends that clients are shown.
    pub certificate_expiry: describe_hub::CertificateExpiry,
    /// The identities.
    pub registry: Arc<dyn Registry>,
    /// The events.
    pub events: Arc<dyn EventLog>,
    /// The devices' connections of the last days.
    pub connection_log: Arc<dyn ConnectionLog>,
    /// The commands, as they are kept.
    pub command_store: Arc<dyn CommandStore>,
    /// The way to the desk where commands are decided.
    pub commands: commands::Commands,
    /// Who is connected.
    pub presence: Presence,
    /// Identities read lately.
    pub identities: identities::IdentityCache,
    /// The shared access policies.
    pub policies: policies::SharedAccessPolicies,
    /// Who stands behind devices' certificates.
    pub device_authorities: device_authorities::DeviceAuthorities,
    /// Who was refused lately, and why.
    pub refusals: refusals::Refusals,
    /// Where the consumer groups stood, as it is kept.
    pub group_positions: Arc<dyn GroupPositions>,
    /// The consumer groups, and who reads in them.
    pub consumer_groups: consumer_groups::ConsumerGroups,
    /// Who reads events now, in no group.
    pub readers: seats::Seats,
    /// Who reads partitions now, in consumer groups.
    pub partition_readers: seats::Seats,
    /// What has happened lately.
    pub changes: changes::Changes,
    /// Which devices are expected, and which of them are offline.
    pub expected_devices: expected_devices::ExpectedDevices,
    /// All devices, as a list shows them.
    pub fleet: fleet_index::FleetIndex,
    /// How fast things happen.
    pub rates: rates::Rates,
    /// How many messages each device sent lately.
    pub device_rates: device_rates::DeviceRates,
    /// What is looked at for those who look all the time.
    pub looks: live::Looks,
    /// What is around the hub.
    pub surroundings: Arc<dyn describe_hub::Surroundings>,
    /// Connections that are not in the log yet.
    pub unwritten_connections: record_connections::UnwrittenConnections,
    /// When the hub's earlier lives ended.
    pub earlier_boots: read_devices::EarlierBoots,
    /// Notified when an identity was made, changed or deleted, for whoever counts them.
    pub(crate) registry_changed: tokio::sync::Notify,
    /// Held while identities are written and the change is told, so that changes are told in the order in which they were made.
    pub(crate) registry_order: tokio::sync::Mutex<()>,
    /// Who did what.
    pub audit: audit::Audit,
    /// How people sign in, and who is signed in.
    pub sign_in: sign_in::SignIn,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
}

/// What a hub is made of.
pub struct HubParts {
    /// What it is called.
    pub names: HubNames,
    /// Which life of its data this is: from [`ConnectionLog::begin_boot`].
    pub boot: BootId,
    /// The shared access policies.
    pub policies: Policies,
    /// What commands are held to.
    pub command_limits: CommandLimits,
    /// After how long a device counts as offline that says nothing about it itself.
    pub offline_after: Option<Duration>,
    /// The identities.
    pub registry: Arc<dyn Registry>,
    /// The events.
    pub events: Arc<dyn EventLog>,
    /// The commands.
    pub commands: Arc<dyn CommandStore>,
    /// The devices' connections.
    pub connection_log: Arc<dyn ConnectionLog>,
    /// Where the consumer groups stood.
    pub group_positions: Arc<dyn GroupPositions>,
    /// Who did what.
    pub audit: audit::Audit,
    /// How people sign in.
    pub sign_in: sign_in::SignIn,
    /// When the certificate ends that clients are shown.
    pub certificate_expiry: describe_hub::CertificateExpiry,
    /// What is around the hub.
    pub surroundings: Arc<dyn describe_hub::Surroundings>,
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
}

impl Hub {
    /// A hub of these parts.
    #[must_use]
    pub fn new(parts: HubParts) -> Self {
        let HubParts {
            names,
            boot,
            policies,
            command_limits,
            offline_after,
            registry,
            events,
            commands,
            connection_log,
            group_positions,
            audit,
            sign_in,
            certificate_expiry,
            surroundings,
            clock,
        } = parts;
        let metrics = Arc::new(Metrics::new(&refusals::RefusalReason::NAMES));
        Self {
            names,
            boot,
            started_time: clock.now(),
            certificate_expiry,
            registry: Arc::new(counted_registry::CountedRegistry::new(registry, Arc::clone(&metrics))),
            consumer_groups: consumer_groups::ConsumerGroups::new(events.partition_count(), Arc::clone(&clock)),
            events,
            connection_log,
            group_positions,
            command_store: commands,
            commands: commands::Commands::new(command_limits),
            expected_devices: expected_devices::ExpectedDevices::new(clock.now(), offline_after),
            device_rates: device_rates::DeviceRates::new(clock.now()),
            policies: policies::SharedAccessPolicies::new(policies),
            device_authorities: device_authorities::DeviceAuthorities::default(),
            clock,
            presence: Presence::default(),
            identities: identities::IdentityCache::default(),
            refusals: refusals::Refusals::default(),
            readers: seats::Seats::new("readers of events", read_events::READERS_EACH_MAX, usize::MAX),
            partition_readers: seats::Seats::new("readers of partitions", read_partition::PARTITION_READERS_PER_POLICY_MAX, usize::MAX),
            changes: changes::Changes::default(),
            fleet: fleet_index::FleetIndex::default(),
            rates: rates::Rates::default(),
            looks: live::Looks::default(),
            surroundings,
            unwritten_connections: record_connections::UnwrittenConnections::default(),
            earlier_boots: read_devices::EarlierBoots::default(),
            registry_changed: tokio::sync::Notify::new(),
            registry_order: tokio::sync::Mutex::default(),
            audit,
            sign_in,
            metrics,
        }
    }

    /// The hub's time.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// Whether a right survives what its identity has become and which authorities and keys the hub believes; otherwise why not.
    pub fn review(&self, right: &DeviceRight, identity: Option<&DeviceIdentity>) -> Result<(), DisconnectReason> {
        right.review(identity)?;
        self.review_believed(right)
    }

    /// The part of [`Self::review`] that needs no identity.
    fn review_believed(&self, right: &DeviceRight) -> Result<(), DisconnectReason> {
        self.device_authorities.review(right)?;
        self.policies.review(right)
    }

    /// Makes a durable change of an identity count, before the call that made it returns: nobody goes on with the old one, and a
    /// session that lost its right has ended. What is under way at the command desk is waited for by
    /// [`commands::Commands::identities_changed`], once for all that changed together. `identity` is what is there now, `None` when it was deleted.
    pub fn identity_changed(&self, id: &DeviceId, identity: Option<&DeviceIdentity>) {
        self.identities.invalidate(id);
        self.presence.review(id, |right| self.review(right, identity));
        let change = if let Some(identity) = identity {
            Change::IdentityWritten(Arc::new(identity.clone()))
        } else {
            self.presence.forget(id);
            self.commands.device_deleted(id);
            Change::IdentityDeleted(id.clone())
        };
        self.changes.publish(self.now(), change);
        self.registry_changed.notify_one();
    }

    /// A change of an identity may be durable or not, and nobody can tell: `perhaps` is what may be there now. A session that would have lost
    /// its right by it ends, and whoever watches has to look how things stand; commands of a device that may be deleted wait on.
    pub fn identity_perhaps_changed(&self, id: &DeviceId, perhaps: Option<&DeviceIdentity>) {
        self.identities.invalidate(id);
        self.presence.review(id, |right| self.review(right, perhaps));
        self.changes.lose_fleet();
        self.registry_changed.notify_one();
    }
}
