//! A device connects, and later it goes: its session begins and ends.

use crate::core::session::{DeviceRight, DisconnectReason};
use crate::ops::Hub;
use crate::ops::authenticate::Origin;
use crate::ops::record_connections::tell;
use crate::store::RegistryError;
use crate::store::presence::Session;
use crate::store::presence::flapping::FLAPPING_WINDOW;

/// Opens the session of a device that has authenticated. The right is reviewed once more after the session can be seen by those who
/// revoke: between them no change of the identity or of an authority goes unnoticed. The session that comes back may have ended already.
pub async fn open_session(hub: &Hub, right: DeviceRight, origin: Origin) -> Result<Session, RegistryError> {
    let now = hub.now();
    let session = hub.presence.open(right, origin.protocol, origin.peer, now, |session| tell(hub, session, now, None, true));
    hub.metrics.connected(origin.protocol);
    let device = session.device_id();
    if let Some(streak) = hub.presence.flapping.connected(device, now) {
        let (connects, minutes) = (streak.connects, FLAPPING_WINDOW.as_secs() / 60);
        tracing::warn!(%device, connects, "device {device} flaps: it has connected {connects} times within {minutes} minutes");
    }
    match hub.identities.get(&*hub.registry, device).await {
        Ok(identity) => {
            if let Err(reason) = hub.review(session.right(), identity.as_deref()) {
                session.end(reason);
            }
            tracing::info!(device = %session.device_id(), connection = %session.connection(), protocol = origin.protocol.name(), peer = %origin.peer, "device {} connected", session.device_id());
            Ok(session)
        }
        Err(error) => {
            close_session(hub, &session, DisconnectReason::StoreUnavailable);
            Err(error)
        }
    }
}

/// Closes it, when its connection is gone. `reason` is why, unless the session had already been ended for another.
pub fn close_session(hub: &Hub, session: &Session, reason: DisconnectReason) {
    session.end(reason);
    let reason = session.ended().unwrap_or(reason);
    let now = hub.now();
    hub.presence.close(session, now, |connected| tell(hub, session, now, Some(reason), connected));
    hub.commands.session_closed(session);
    hub.metrics.disconnected(session.protocol(), reason);
    tracing::info!(device = %session.device_id(), connection = %session.connection(), reason = reason.name(), "device {} disconnected: {}", session.device_id(), reason.name());
}
