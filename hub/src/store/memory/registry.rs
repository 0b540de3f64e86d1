//! The registry in memory: the model that the real ones are compared with, and the tests' stand-in.
//!
//! Keeps every promise of [`Registry`] but the one that a restart would test.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::core::device_id::DeviceId;
use crate::core::identity::{DeviceIdentity, DeviceStatus};
use crate::store::memory::audit::MemoryAuditLog;
use crate::store::{DeviceActivity, DeviceCount, ExpectationFailed, Expected, Registry, RegistryError, RegistryWrite};

/// The identities, in byte order of their ids.
#[derive(Debug, Default)]
pub struct MemoryRegistry {
    identities: Mutex<BTreeMap<DeviceId, DeviceIdentity>>,
    audit: Arc<MemoryAuditLog>,
}

impl MemoryRegistry {
    /// One whose changes this audit tells of.
    #[must_use]
    pub fn audited(audit: Arc<MemoryAuditLog>) -> Self {
        Self { audit, ..Self::default() }
    }

    /// The map is whole at every point where a holder of the lock could panic, so poison means nothing here.
    fn identities(&self) -> MutexGuard<'_, BTreeMap<DeviceId, DeviceIdentity>> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Registry for MemoryRegistry {
    async fn get(&self, id: &DeviceId) -> Result<Option<DeviceIdentity>, RegistryError> {
        Ok(self.identities().get(id).cloned())
    }

    async fn list(&self, after: Option<&DeviceId>, limit: usize) -> Result<Vec<DeviceIdentity>, RegistryError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self.identities().range::<DeviceId, _>((start, Bound::Unbounded)).take(limit).map(|(_, identity)| identity.clone()).collect())
    }

    async fn write(&self, writes: Vec<RegistryWrite>) -> Result<Vec<Result<(), ExpectationFailed>>, RegistryError> {
        let mut identities = self.identities();
        let write = |mut write: RegistryWrite| {
            let audit = write.audit.take();
            apply(&mut identities, write)?;
            audit.into_iter().for_each(|entry| self.audit.add(entry));
            Ok(())
        };
        Ok(writes.into_iter().map(write).collect())
    }

    async fn record_activity(&self, activity: Vec<DeviceActivity>) -> Result<(), RegistryError> {
        let mut identities = self.identities();
        for seen in activity {
            if let Some(identity) = identities.get_mut(&seen.id).filter(|identity| identity.generation_id == seen.generation_id) {
                identity.connected_boot = seen.connected_boot;
                identity.last_activity_time = seen.last_activity_time.or(identity.last_activity_time);
                identity.connection_state_updated_time = seen.connection_state_updated_time.or(identity.connection_state_updated_time);
            }
        }
        Ok(())
    }

    async fn count(&self) -> Result<DeviceCount, RegistryError> {
        let identities = self.identities();
        let enabled = identities.values().filter(|identity| identity.status() == DeviceStatus::Enabled).count();
        Ok(DeviceCount { total: identities.len() as u64, enabled: enabled as u64 })
    }
}

fn apply(identities: &mut BTreeMap<DeviceId, DeviceIdentity>, write: RegistryWrite) -> Result<(), ExpectationFailed> {
    let current = identities.get(&write.id);
    match (current, write.expected) {
        (None, Expected::Absent) => {}
        (Some(current), Expected::Version(version)) if current.version == version => {}
        _ => return Err(ExpectationFailed),
    }
    let seen = current.map(|current| (current.connected_boot, current.connection_state_updated_time, current.last_activity_time));
    match write.new {
        None => {
            identities.remove(&write.id);
        }
        Some(mut new) => {
            if let Some((connected_boot, connection_state_updated_time, last_activity_time)) = seen {
                new.connected_boot = connected_boot;
                new.connection_state_updated_time = connection_state_updated_time;
                new.last_activity_time = last_activity_time;
            }
            identities.insert(write.id, new);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::store::contract::registry::{self as contract, registry_contract};

    async fn open() -> (super::MemoryRegistry, ()) {
        (super::MemoryRegistry::default(), ())
    }

    registry_contract!(open);
}
