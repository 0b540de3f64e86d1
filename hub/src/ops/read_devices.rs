//! Identities are read: one, or a page of them, each with what is known about its device.

use std::collections::HashMap;

use tokio::sync::OnceCell;

use crate::core::device_id::DeviceId;
use crate::core::identity::DeviceIdentity;
use crate::core::session::BootId;
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

/// When the hub's earlier lives ended, as far as that is known: by their last heartbeats, which never change again.
#[derive(Debug, Default)]
pub struct EarlierBoots(OnceCell<HashMap<BootId, UnixMillis>>);

impl EarlierBoots {
    /// What views of these take. `None` when nobody of them was connected in an earlier life, and while the connections' log does not
    /// answer: presence is told less exactly then, and not refused.
    async fn ends(&self, hub: &Hub, identities: &[DeviceIdentity]) -> Option<&HashMap<BootId, UnixMillis>> {
        if !identities.iter().any(|identity| earlier_boot(hub, identity).is_some()) {
            return None;
        }
        self.all(hub).await
    }

    /// When the hub's life before this one ended; `None` when there was none, and while the connections' log does not answer.
    pub(super) async fn last_end(&self, hub: &Hub) -> Option<UnixMillis> {
        let ends = self.all(hub).await?.iter().filter(|(boot, _)| **boot < hub.boot);
        ends.max_by_key(|(boot, _)| **boot).map(|(_, end)| *end)
    }

    async fn all(&self, hub: &Hub) -> Option<&HashMap<BootId, UnixMillis>> {
        let read = self.0.get_or_try_init(async || Ok(hub.connection_log.last_heartbeats().await?.into_iter().collect())).await;
        read.inspect_err(|error: &crate::store::connection_log::ConnectionLogError| {
            tracing::warn!(%error, "when the hub's earlier lives ended can't be read: {error}");
        })
        .ok()
    }
}

impl DeviceView {
    /// The identity with its device's presence and queue. What presence knows is later than what was flushed to the registry; who was
    /// connected in an earlier life of the hub went when that ended.
    pub async fn of(hub: &Hub, identity: DeviceIdentity) -> Self {
        let ends = hub.earlier_boots.ends(hub, std::slice::from_ref(&identity)).await;
        Self::with_ends(hub, identity, ends)
    }

    fn with_ends(hub: &Hub, identity: DeviceIdentity, ends: Option<&HashMap<BootId, UnixMillis>>) -> Self {
        let presence = hub.presence.view(&identity.device_id);
        let went_with = earlier_boot(hub, &identity).and_then(|boot| ends?.get(&boot).copied());
        let flushed = identity.connection_state_updated_time.max(went_with);
        Self {
            connected: presence.connected,
            connection_state_updated_time: presence.connection_state_updated_time.or(flushed),
            last_activity_time: presence.last_activity_time.or(identity.last_activity_time),
            commands_pending: hub.commands.pending_of(&identity.device_id),
            identity,
        }
    }
}

/// One device, or `None`.
pub async fn get_device(hub: &Hub, id: &DeviceId) -> Result<Option<DeviceView>, RegistryError> {
    Ok(match hub.registry.get(id).await? {
        Some(identity) => Some(DeviceView::of(hub, identity).await),
        None => None,
    })
}

/// The first devices after `after` in byte order of their ids, at most `limit` and [`PAGE_MAX`].
pub async fn list_devices(hub: &Hub, after: Option<&DeviceId>, limit: usize) -> Result<Vec<DeviceView>, RegistryError> {
    let identities = hub.registry.list(after, limit.clamp(1, PAGE_MAX)).await?;
    Ok(describe_devices(hub, identities).await)
}

/// Identities that somebody has read or written, with their devices' presence and queues.
pub async fn describe_devices(hub: &Hub, identities: Vec<DeviceIdentity>) -> Vec<DeviceView> {
    let ends = hub.earlier_boots.ends(hub, &identities).await;
    identities.into_iter().map(|identity| DeviceView::with_ends(hub, identity, ends)).collect()
}

/// The earlier life of the hub in which the device was connected last, if nobody has seen it go since.
fn earlier_boot(hub: &Hub, identity: &DeviceIdentity) -> Option<BootId> {
    identity.connected_boot.filter(|boot| *boot != hub.boot)
}
