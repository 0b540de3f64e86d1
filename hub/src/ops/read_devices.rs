//! Identities are read: one, or a page of them, each with what is known about its device.

use crate::core::device_id::DeviceId;
use crate::core::identity::DeviceIdentity;
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::store::RegistryError;

/// The most identities on one page, as Azure has it.
pub const PAGE_MAX: usize = 1000;

/// An identity, and its device as it is now.
#[derive(Clone, Debug)]
pub struct DeviceView {
    /// The identity.
    pub identity: DeviceIdentity,
    /// Whether the device is connected.
    pub connected: bool,
    /// When that last changed; `None`: never.
    pub connection_state_updated_time: Option<UnixMillis>,
    /// When the device last connected or sent; `None`: never.
    pub last_activity_time: Option<UnixMillis>,
    /// How many commands wait for the device, locked ones included.
    pub commands_pending: usize,
}

impl DeviceView {
    /// The identity with its device's presence and queue. What presence knows is later than what was flushed to the registry.
    #[must_use]
    pub fn of(hub: &Hub, identity: DeviceIdentity) -> Self {
        let presence = hub.presence.view(&identity.device_id);
        Self {
            connected: presence.connected,
            connection_state_updated_time: presence.connection_state_updated_time.or(identity.connection_state_updated_time),
            last_activity_time: presence.last_activity_time.or(identity.last_activity_time),
            commands_pending: hub.commands.pending_of(&identity.device_id),
            identity,
        }
    }
}

/// One device, or `None`.
pub async fn get_device(hub: &Hub, id: &DeviceId) -> Result<Option<DeviceView>, RegistryError> {
    Ok(hub.registry.get(id).await?.map(|identity| DeviceView::of(hub, identity)))
}

/// The first devices after `after` in byte order of their ids, at most `limit` and [`PAGE_MAX`].
pub async fn list_devices(hub: &Hub, after: Option<&DeviceId>, limit: usize) -> Result<Vec<DeviceView>, RegistryError> {
    let page = hub.registry.list(after, limit.clamp(1, PAGE_MAX)).await?;
    Ok(page.into_iter().map(|identity| DeviceView::of(hub, identity)).collect())
}
