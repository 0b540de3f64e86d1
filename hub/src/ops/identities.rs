//! Identities read lately, so that a connect or a send need not ask the registry. Bounded; a change takes its identity out at once.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};

use lru::LruCache;

use crate::core::device_id::DeviceId;
use crate::core::identity::DeviceIdentity;
use crate::store::{Registry, RegistryError};

/// The most identities kept: about 100 MB at half a KB each.
const CACHED_IDENTITIES_MAX: NonZeroUsize = NonZeroUsize::new(200_000).expect("not zero");

/// The most names kept that no device has: so many guesses, made again and again, cost the registry nothing. 2 MB at most.
const CACHED_UNKNOWN_MAX: usize = 10_000;

/// The cache.
pub struct IdentityCache(Mutex<State>);

struct State {
    identities: LruCache<DeviceId, Arc<DeviceIdentity>>,
    /// Names that no device has.
    unknown: LruCache<DeviceId, ()>,
    /// Counts invalidations: what was read before one may be the old state, and is not kept.
    invalidations: u64,
}

impl Default for IdentityCache {
    fn default() -> Self {
        // Unbounded in form, so that nothing is allocated ahead; `get` keeps the bound.
        Self(Mutex::new(State { identities: LruCache::unbounded(), unknown: LruCache::unbounded(), invalidations: 0 }))
    }
}

impl IdentityCache {
    /// The identity as it is now.
    pub async fn get(&self, registry: &dyn Registry, id: &DeviceId) -> Result<Option<Arc<DeviceIdentity>>, RegistryError> {
        let before = {
            let mut state = self.state();
            if let Some(identity) = state.identities.get(id) {
                return Ok(Some(Arc::clone(identity)));
            }
            if state.unknown.get(id).is_some() {
                return Ok(None);
            }
            state.invalidations
        };
        let identity = registry.get(id).await?.map(Arc::new);
        let mut state = self.state();
        if state.invalidations == before {
            state.keep(id, identity.as_ref());
        }
        Ok(identity)
    }

    /// Takes an identity out, or its absence, after its change is durable and before the change is answered.
    pub fn invalidate(&self, id: &DeviceId) {
        let mut state = self.state();
        state.invalidations += 1;
        state.identities.pop(id);
        state.unknown.pop(id);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

impl State {
    fn keep(&mut self, id: &DeviceId, identity: Option<&Arc<DeviceIdentity>>) {
        match identity {
            Some(identity) => {
                self.identities.put(id.clone(), Arc::clone(identity));
                if self.identities.len() > CACHED_IDENTITIES_MAX.get() {
                    self.identities.pop_lru();
                }
            }
            None => {
                self.unknown.put(id.clone(), ());
                if self.unknown.len() > CACHED_UNKNOWN_MAX {
                    self.unknown.pop_lru();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::ops::world::identity;
    use crate::store::memory::registry::MemoryRegistry;
    use crate::store::{DeviceActivity, DeviceCount, ExpectationFailed, Expected, RegistryWrite};

    /// A registry that counts how often it is asked for an identity.
    #[derive(Default)]
    struct CountingRegistry {
        inner: MemoryRegistry,
        reads: AtomicUsize,
    }

    #[async_trait]
    impl Registry for CountingRegistry {
        async fn get(&self, id: &DeviceId) -> Result<Option<DeviceIdentity>, RegistryError> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.inner.get(id).await
        }

        async fn list(&self, after: Option<&DeviceId>, limit: usize) -> Result<Vec<DeviceIdentity>, RegistryError> {
            self.inner.list(after, limit).await
        }

        async fn write(&self, writes: Vec<RegistryWrite>) -> Result<Vec<Result<(), ExpectationFailed>>, RegistryError> {
            self.inner.write(writes).await
        }

        async fn record_activity(&self, activity: Vec<DeviceActivity>) -> Result<(), RegistryError> {
            self.inner.record_activity(activity).await
        }

        async fn count(&self) -> Result<DeviceCount, RegistryError> {
            self.inner.count().await
        }
    }

    #[tokio::test]
    async fn a_guess_made_again_costs_no_read_until_there_is_such_a_device() {
        let (cache, registry) = (IdentityCache::default(), CountingRegistry::default());
        let id = DeviceId::parse("D").unwrap();
        for _ in 0..3 {
            assert!(cache.get(&registry, &id).await.unwrap().is_none());
        }
        assert_eq!(registry.reads.load(Ordering::Relaxed), 1);
        let write = RegistryWrite { id: id.clone(), expected: Expected::Absent, new: Some(identity("D")), audit: None };
        registry.write(vec![write]).await.unwrap()[0].unwrap();
        cache.invalidate(&id);
        for _ in 0..3 {
            assert!(cache.get(&registry, &id).await.unwrap().is_some());
        }
        assert_eq!(registry.reads.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn so_many_guesses_are_kept_and_no_more() {
        let (cache, registry) = (IdentityCache::default(), CountingRegistry::default());
        for number in 0..=CACHED_UNKNOWN_MAX {
            cache.get(&registry, &DeviceId::parse(&number.to_string()).unwrap()).await.unwrap();
        }
        assert_eq!(cache.state().unknown.len(), CACHED_UNKNOWN_MAX);
    }
}
