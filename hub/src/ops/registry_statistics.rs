//! How many devices there are, how many may connect, and how many do.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::ops::Hub;
use crate::store::RegistryError;

// What the verb answers.
pub use crate::store::DeviceCount;

/// How often devices are counted while identities change.
const COUNTED_EVERY: Duration = Duration::from_secs(10);

/// How often they are counted even so: somebody else may have written to the registry's database.
const COUNTED_AT_LEAST_EVERY: Duration = Duration::from_secs(5 * 60);

/// Keeps the gauges of devices right, until it is dropped: at once, and within ten seconds of a change. While the registry does not answer
/// they stay as they are.
pub async fn keep_count(hub: Arc<Hub>) {
    loop {
        if let Ok(count) = device_count(&hub).await {
            hub.metrics.devices(count.total, count.enabled);
        }
        sleep(COUNTED_EVERY).await;
        let _ = timeout(COUNTED_AT_LEAST_EVERY, hub.registry_changed.notified()).await;
    }
}

/// How many identities there are.
pub async fn device_count(hub: &Hub) -> Result<DeviceCount, RegistryError> {
    hub.registry.count().await
}

/// How many devices have a session now.
#[must_use]
pub fn connected_count(hub: &Hub) -> usize {
    hub.presence.connected()
}
