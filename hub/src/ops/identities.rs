//! Identities read lately, so that a connect or a send need not ask the registry. Bounded; a change takes its identity out at once.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};

use lru::LruCache;

use crate::core::device_id::DeviceId;
use crate::core::identity::DeviceIdentity;
use crate::store::{Registry, RegistryError};

/// The most identities kept: about 100 MB at half a KB each.
const CACHED_IDENTITIES_MAX: NonZeroUsize = NonZeroUsize::new(200_000).expect("not zero");

/// The cache.
pub struct IdentityCache(Mutex<State>);

struct State {
    identities: LruCache<DeviceId, Arc<DeviceIdentity>>,
    /// Counts invalidations: an identity that was read before one may be the old one, and is not kept.
    invalidations: u64,
}

impl Default for IdentityCache {
    fn default() -> Self {
        // Unbounded in form, so that nothing is allocated ahead; `get` keeps the bound.
        Self(Mutex::new(State { identities: LruCache::unbounded(), invalidations: 0 }))
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
            state.invalidations
        };
        let identity = registry.get(id).await?.map(Arc::new);
        let mut state = self.state();
        if let Some(identity) = identity.as_ref().filter(|_| state.invalidations == before) {
            state.identities.put(id.clone(), Arc::clone(identity));
            if state.identities.len() > CACHED_IDENTITIES_MAX.get() {
                state.identities.pop_lru();
            }
        }
        Ok(identity)
    }

    /// Takes an identity out, after its change is durable and before the change is answered.
    pub fn invalidate(&self, id: &DeviceId) {
        let mut state = self.state();
        state.invalidations += 1;
        state.identities.pop(id);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}
