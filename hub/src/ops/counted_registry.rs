//! The registry, with its failures counted. Changes nothing of what it says.

use std::sync::Arc;

use async_trait::async_trait;

use crate::core::device_id::DeviceId;
use crate::core::identity::DeviceIdentity;
use crate::observe::Metrics;
use crate::store::{DeviceActivity, DeviceCount, ExpectationFailed, Registry, RegistryError, RegistryWrite};

/// A registry whose every call that fails is counted.
pub struct CountedRegistry {
    registry: Arc<dyn Registry>,
    metrics: Arc<Metrics>,
}

impl CountedRegistry {
    /// `registry`, counted in `metrics`.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>, metrics: Arc<Metrics>) -> Self {
        Self { registry, metrics }
    }

    fn counted<T>(&self, answer: Result<T, RegistryError>) -> Result<T, RegistryError> {
        answer.inspect_err(|_| self.metrics.registry_failed())
    }
}

#[async_trait]
impl Registry for CountedRegistry {
    async fn get(&self, id: &DeviceId) -> Result<Option<DeviceIdentity>, RegistryError> {
        self.counted(self.registry.get(id).await)
    }

    async fn list(&self, after: Option<&DeviceId>, limit: usize) -> Result<Vec<DeviceIdentity>, RegistryError> {
        self.counted(self.registry.list(after, limit).await)
    }

    async fn write(&self, writes: Vec<RegistryWrite>) -> Result<Vec<Result<(), ExpectationFailed>>, RegistryError> {
        self.counted(self.registry.write(writes).await)
    }

    async fn record_activity(&self, activity: Vec<DeviceActivity>) -> Result<(), RegistryError> {
        self.counted(self.registry.record_activity(activity).await)
    }

    async fn count(&self) -> Result<DeviceCount, RegistryError> {
        self.counted(self.registry.count().await)
    }
}
