//! A device connects, and later it goes: its session begins and ends.

use std::ops::Deref;

use crate::core::session::{DeviceRight, DisconnectReason};
use crate::ops::Hub;
use crate::ops::authenticate::Origin;
use crate::ops::record_connections::tell;
use crate::store::RegistryError;
use crate::store::presence::Session;
use crate::store::presence::flapping::FLAPPING_WINDOW;

/// Opens the session of a device that has authenticated. The right is reviewed once more after the session can be seen by those who
/// revoke: between them no change of the identity or of an authority goes unnoticed. The session that comes back may have ended already.
/// Whoever serves its connection keeps it in an [`OpenSession`].
pub async fn open_session(hub: &Hub, right: DeviceRight, origin: Origin) -> Result<Session, RegistryError> {
    let now = hub.now();
    let session = hub.presence.open(right, origin.protocol, origin.peer, now, |session| tell(hub, session, now, None, true));
    let session = OpenSession::new(hub, session);
    hub.metrics.connected(origin.protocol);
    let device = session.device_id();
    if let Some(streak) = hub.presence.flapping.connected(device, now) {
        let (connects, minutes) = (streak.connects, FLAPPING_WINDOW.as_secs() / 60);
        tracing::warn!(%device, connects, "device {device} flaps: it has connected {connects} times within {minutes} minutes");
    }
    match hub.identities.get(&*hub.registry, device).await {
        Ok(identity) => {
            if let Err(reason) = hub.review(&session.right(), identity.as_deref()) {
                session.end(reason);
            }
            tracing::info!(device = %session.device_id(), connection = %session.connection(), protocol = origin.protocol.name(), peer = %origin.peer, "device {} connected", session.device_id());
            Ok(session.into_session())
        }
        Err(error) => {
            session.close(DisconnectReason::StoreUnavailable);
            Err(error)
        }
    }
}

/// The device of a session proves itself again, before what it proved last runs out. The new right is reviewed after those who revoke can
/// see it, as in [`open_session`], so the session may have ended by then.
pub async fn renew_session(hub: &Hub, session: &Session, right: DeviceRight) -> Result<(), RegistryError> {
    session.renew(right);
    let identity = hub.identities.get(&*hub.registry, session.device_id()).await?;
    if let Err(reason) = hub.review(&session.right(), identity.as_deref()) {
        session.end(reason);
    }
    Ok(())
}

/// Why an [`OpenSession`] has its session.
const HELD: &str = "it is handed on together with the duty";

/// A session and the duty to close it: done at the latest when this is dropped, so that nobody stays connected whose connection's task
/// panicked or was cut.
pub struct OpenSession<'a> {
    hub: &'a Hub,
    /// `None` once it is handed on.
    session: Option<Session>,
}

impl<'a> OpenSession<'a> {
    /// Takes the duty over.
    #[must_use]
    pub fn new(hub: &'a Hub, session: Session) -> Self {
        Self { hub, session: Some(session) }
    }

    /// Closes it, as [`close_session`] does.
    pub fn close(&self, reason: DisconnectReason) {
        close_session(self.hub, self, reason);
    }

    /// Hands the duty on.
    fn into_session(mut self) -> Session {
        self.session.take().expect(HELD)
    }
}

impl Deref for OpenSession<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect(HELD)
    }
}

impl Drop for OpenSession<'_> {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            close_session(self.hub, session, DisconnectReason::ConnectionLost);
        }
    }
}

/// Closes all sessions that are left, when the hub has cut their connections.
pub fn close_all_sessions(hub: &Hub, reason: DisconnectReason) {
    let mut after = None;
    loop {
        let page = hub.presence.sessions(after.as_ref(), usize::MAX);
        let Some(last) = page.last() else { return };
        after = Some(last.key());
        page.iter().for_each(|session| close_session(hub, session, reason));
    }
}

/// Closes it, when its connection is gone. `reason` is why, unless the session had already been ended for another. Once: what comes later
/// changes nothing.
pub fn close_session(hub: &Hub, session: &Session, reason: DisconnectReason) {
    session.end(reason);
    let reason = session.ended().unwrap_or(reason);
    let now = hub.now();
    if !hub.presence.close(session, now, |connected| tell(hub, session, now, Some(reason), connected)) {
        return;
    }
    hub.commands.session_closed(session);
    hub.metrics.disconnected(session.protocol(), reason);
    tracing::info!(device = %session.device_id(), connection = %session.connection(), reason = reason.name(), "device {} disconnected: {}", session.device_id(), reason.name());
}
