//! How many devices there are, how many may connect, and how many do.

use crate::ops::Hub;
use crate::store::RegistryError;

// What the verb answers.
pub use crate::store::DeviceCount;

/// How many identities there are.
pub async fn device_count(hub: &Hub) -> Result<DeviceCount, RegistryError> {
    hub.registry.count().await
}

/// How many devices have a session now.
#[must_use]
pub fn connected_count(hub: &Hub) -> usize {
    hub.presence.connected()
}
