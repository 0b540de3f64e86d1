//! A hub on stores in memory, for tests: of the verbs, and of the protocols that call them.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::audit::{Audit, AuditLimits};
use super::authenticate::{AuthenticateError, Origin, Proof, authenticate_device};
use super::describe_hub::{Alone, CertificateExpiry};
use super::sign_in::SignIn;
use super::{Hub, HubParts};
use crate::core::certificate::PresentedChain;
use crate::core::command::CommandLimits;
use crate::core::device_id::DeviceId;
use crate::core::host::HubNames;
pub use crate::core::identity::sample::{identity, key};
use crate::core::identity::{DeviceIdentity, SymmetricKey};
use crate::core::message::{Body, Message};
use crate::core::policy::{BUILT_IN_POLICIES, Policies, Policy};
use crate::core::principal::{By, Door, Principal};
use crate::core::sas::sign;
use crate::core::session::{BootId, DeviceRight, Protocol};
use crate::core::time::{Clock, UnixMillis};
use crate::store::audit::AuditLog;
use crate::store::connection_log::ConnectionLog;
use crate::store::group_positions::GroupPositions;
use crate::store::memory::audit::MemoryAuditLog;
use crate::store::memory::commands::MemoryCommands;
use crate::store::memory::connection_log::MemoryConnectionLog;
use crate::store::memory::event_log::MemoryEventLog;
use crate::store::memory::group_positions::MemoryGroupPositions;
use crate::store::memory::registry::MemoryRegistry;
use crate::store::{DeviceActivity, DeviceCount, ExpectationFailed, Expected, Registry, RegistryError, RegistryWrite};

/// When it is, until a test moves the clock.
pub const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// When the hub's certificate ends.
pub const CERTIFICATE_EXPIRY_TIME: UnixMillis = UnixMillis(1_800_000_000_000);

/// A clock that a test sets.
pub struct TestClock(pub AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::Relaxed))
    }
}

fn new_log() -> Arc<MemoryEventLog> {
    Arc::new(MemoryEventLog::new(NonZeroU16::new(4).expect("it is not 0")))
}

/// The hub and what a test turns.
pub struct World {
    /// The hub.
    pub hub: Arc<Hub>,
    /// Its clock.
    pub clock: Arc<TestClock>,
    /// Its events.
    pub log: Arc<MemoryEventLog>,
    /// Its commands.
    pub commands: Arc<MemoryCommands>,
    /// Its audit.
    pub audit: Arc<dyn AuditLog>,
}

impl World {
    pub fn new() -> Self {
        let audit = Arc::<MemoryAuditLog>::default();
        let registry = Arc::new(MemoryRegistry::audited(Arc::clone(&audit)));
        let identities = (audit as Arc<dyn AuditLog>, registry as Arc<dyn Registry>, Arc::new(MemoryConnectionLog::default()) as _);
        Self::with_commands(BootId(1), identities, (Arc::default(), new_log()), Arc::new(MemoryGroupPositions::default()))
    }

    /// With another audit, in which no changes of identities are.
    pub fn auditing(audit: Arc<dyn AuditLog>) -> Self {
        let identities = (audit, Arc::new(MemoryRegistry::default()) as Arc<dyn Registry>, Arc::new(MemoryConnectionLog::default()) as _);
        Self::with_commands(BootId(1), identities, (Arc::default(), new_log()), Arc::new(MemoryGroupPositions::default()))
    }

    /// Over another registry.
    pub fn on(registry: Arc<dyn Registry>) -> Self {
        Self::living(BootId(1), registry, Arc::new(MemoryConnectionLog::default()))
    }

    /// A life of a hub, over stores that may have seen another.
    pub fn living(boot: BootId, registry: Arc<dyn Registry>, connections: Arc<dyn ConnectionLog>) -> Self {
        let identities = (Arc::new(MemoryAuditLog::default()) as Arc<dyn AuditLog>, registry, connections);
        Self::with_commands(boot, identities, (Arc::default(), new_log()), Arc::new(MemoryGroupPositions::default()))
    }

    /// The next life of the hub, over all that it keeps.
    pub fn restarted(&self) -> Self {
        let identities = (Arc::clone(&self.audit), Arc::clone(&self.hub.registry), Arc::clone(&self.hub.connection_log));
        let messages = (Arc::clone(&self.commands), Arc::clone(&self.log));
        Self::with_commands(BootId(2), identities, messages, Arc::clone(&self.hub.group_positions))
    }

    fn with_commands(
        boot: BootId,
        (audit, registry, connections): (Arc<dyn AuditLog>, Arc<dyn Registry>, Arc<dyn ConnectionLog>),
        (commands, log): (Arc<MemoryCommands>, Arc<MemoryEventLog>),
        group_positions: Arc<dyn GroupPositions>,
    ) -> Self {
        let clock = Arc::new(TestClock(AtomicI64::new(NOW.0)));
        let policies: Policies = BUILT_IN_POLICIES
            .iter()
            .map(|(name, permissions)| Policy {
                name: (*name).to_owned(),
                primary: key(100),
                secondary: key(101),
                permissions: permissions.to_vec(),
            })
            .collect();
        let names = HubNames::new("hub.example", &[]);
        let hub = Hub::new(HubParts {
            names,
            boot,
            policies,
            command_limits: CommandLimits::default(),
            offline_after: None,
            registry,
            events: Arc::clone(&log) as _,
            commands: Arc::clone(&commands) as _,
            connection_log: connections,
            group_positions,
            audit: Audit::new(Arc::clone(&audit), None, AuditLimits::default()),
            sign_in: SignIn::default(),
            certificate_expiry: CertificateExpiry::told_by(|| Some(CERTIFICATE_EXPIRY_TIME)),
            surroundings: Arc::new(Alone),
            clock: Arc::clone(&clock) as _,
        });
        let hub = Arc::new(hub);
        tokio::spawn(super::commands::run(Arc::clone(&hub)));
        Self { hub, clock, log, commands, audit }
    }

    pub async fn with_device(id: &str) -> Self {
        let world = Self::new();
        world.write(Expected::Absent, Some(identity(id))).await;
        world
    }

    /// What a registry verb does: a durable write, and then the hook.
    pub async fn write(&self, expected: Expected, new: Option<DeviceIdentity>) {
        let id = new.as_ref().map_or_else(|| DeviceId::parse("D").unwrap(), |identity| identity.device_id.clone());
        let write = RegistryWrite { id: id.clone(), expected, new: new.clone(), audit: None };
        self.hub.registry.write(vec![write]).await.unwrap()[0].unwrap();
        self.hub.identity_changed(&id, new.as_ref());
        self.hub.commands.identities_changed(vec![id]).await.unwrap();
    }

    pub async fn login(&self, id: &str, token: &str) -> Result<DeviceRight, AuthenticateError> {
        authenticate_device(&self.hub, id, Proof { token: Some(token), certificate: None }, origin()).await
    }

    pub async fn present(&self, id: &str, chain: &PresentedChain) -> Result<DeviceRight, AuthenticateError> {
        authenticate_device(&self.hub, id, Proof { token: None, certificate: Some(chain) }, origin()).await
    }

    pub fn last_reason(&self, name: &str) -> String {
        self.hub.refusals.of(name).last().expect("somebody was refused").reason.to_string()
    }
}

/// A back end with the policy `service`.
pub fn by_service() -> By {
    By { principal: Principal::Policy("service".to_owned()), door: Door::Rest, address: Some(origin().peer.ip()) }
}

pub fn origin() -> Origin {
    Origin { protocol: Protocol::Mqtt, peer: SocketAddr::from(([192, 0, 2, 1], 4711)) }
}

pub fn device_token(id: &str, byte: u8) -> String {
    sign(&format!("hub.example/devices/{id}"), NOW.plus(std::time::Duration::from_secs(60)), &key(byte), None)
}

pub fn policy_token(resource: &str, policy: &str) -> String {
    sign(resource, NOW.plus(std::time::Duration::from_secs(60)), &key(101), Some(policy))
}

/// As Event Hubs' clients sign: with the text of the key.
pub fn event_hubs_token(resource: &str, policy: &str) -> String {
    sign(resource, NOW.plus(std::time::Duration::from_secs(60)), &key_text(101), Some(policy))
}

/// A key whose bytes are the Base64 text of [`key`]'s.
pub fn key_text(byte: u8) -> SymmetricKey {
    SymmetricKey::from_bytes(key(byte).expose_base64().into_bytes()).unwrap()
}

pub fn payload(text: &'static str) -> Message<'static> {
    Message { body: Body::Data(vec![text.as_bytes().into()]), ..Message::default() }
}

/// A registry that always answers with the same error.
pub struct BrokenRegistry(pub RegistryError);

#[async_trait::async_trait]
impl Registry for BrokenRegistry {
    async fn get(&self, _: &DeviceId) -> Result<Option<DeviceIdentity>, RegistryError> {
        Err(self.0.clone())
    }

    async fn list(&self, _: Option<&DeviceId>, _: usize) -> Result<Vec<DeviceIdentity>, RegistryError> {
        Err(self.0.clone())
    }

    async fn write(&self, _: Vec<RegistryWrite>) -> Result<Vec<Result<(), ExpectationFailed>>, RegistryError> {
        Err(self.0.clone())
    }

    async fn record_activity(&self, _: Vec<DeviceActivity>) -> Result<(), RegistryError> {
        Err(self.0.clone())
    }

    async fn count(&self) -> Result<DeviceCount, RegistryError> {
        Err(self.0.clone())
    }
}
