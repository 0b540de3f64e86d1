//! The devices of a connection: a session for each, from its first link to its last.

use std::sync::Arc;
use std::time::Instant;

use super::{Conversation, Place, conditions, now};
use crate::amqp::engine::LinkId;
use crate::core::device_id::DeviceId;
use crate::core::session::{DeviceRight, DisconnectReason};
use crate::core::telemetry::Stamps;
use crate::ops::authenticate::{AuthenticateError, authenticate_device, refuse};
use crate::ops::open_session::{OpenSession, open_session, renew_session};
use crate::ops::refusals::RefusalReason;
use crate::ops::send_telemetry;

/// A device that has links.
pub struct Device<'a> {
    pub session: OpenSession<'a>,
    pub stamps: Stamps,
    /// When what it proved runs out, by the steady clock.
    pub right_ends: Instant,
    pub links: Vec<LinkId>,
    /// Whether the command desk has been asked for commands.
    pub receives: bool,
}

impl Conversation<'_> {
    /// Makes sure that the device has a session that has not ended: the one of its other links, or a new one by what was brought.
    pub(super) async fn have_session(&mut self, id: &DeviceId) -> Result<(), AuthenticateError> {
        if let Some(device) = self.devices.get(id) {
            if device.session.ended().is_none() {
                return Ok(());
            }
            self.end_links_of(id);
        }
        let hub = self.hub;
        let Some(proof) = self.access.proof(id, &hub.names, hub.now()) else {
            return Err(refuse(hub, id.as_str(), RefusalReason::NoToken, self.origin).await);
        };
        let right = authenticate_device(hub, id.as_str(), proof, self.origin).await?;
        let (stamps, right_ends) = (send_telemetry::stamps(hub, &right), self.ends(&right));
        let session = OpenSession::new(hub, open_session(hub, right, self.origin).await?);
        session.wake_too(Arc::clone(&self.bell));
        if let Some(reason) = session.ended() {
            session.close(reason);
            return Err(AuthenticateError::Refused);
        }
        self.trust();
        self.devices.insert(id.clone(), Box::new(Device { session, stamps, right_ends, links: Vec::new(), receives: false }));
        self.rights_changed();
        Ok(())
    }

    /// A device has proved itself again: if it has a session, that goes on with the new right, and its links with it.
    pub(super) async fn renew(&mut self, right: DeviceRight) -> Result<(), AuthenticateError> {
        let right_ends = self.ends(&right);
        let Some(device) = self.devices.get_mut(&right.device_id) else { return Ok(()) };
        if device.session.ended().is_some() {
            return Ok(());
        }
        device.stamps = send_telemetry::stamps(self.hub, &right);
        device.right_ends = right_ends;
        renew_session(self.hub, &device.session, right).await?;
        self.rights_changed();
        Ok(())
    }

    /// A granted link has gone, and not by the hub.
    pub(super) fn detached(&mut self, link: LinkId) {
        let Some(place) = self.links.remove(&link) else { return };
        self.rights.link_gone(link);
        self.back_ends.detached(link);
        self.remove_reader(link);
        let Some(id) = place.device() else { return };
        self.give_back_deliveries(link, id);
        let Some(device) = self.devices.get_mut(id) else { return };
        device.links.retain(|other| *other != link);
        if device.links.is_empty() {
            device.session.close(DisconnectReason::ClientDisconnected);
            self.devices.remove(id);
        } else if let Place::Commands { .. } = place {
            self.is_woken = true;
        }
    }

    /// Ends the links of devices whose session has ended, and of no others. A connection that nobody may use any more ends, too.
    pub(super) fn end_links_of_ended(&mut self) {
        if !self.is_woken {
            return;
        }
        let reasons = self.devices.iter().filter_map(|(id, device)| Some((id.clone(), device.session.ended()?)));
        let ended: Vec<(DeviceId, DisconnectReason)> = reasons.collect();
        if !self.is_stopping && ended.iter().any(|(_, reason)| *reason == DisconnectReason::HubShutdown) {
            // The end of the session is heard of before the end of the hub.
            self.stop();
        }
        for (id, reason) in ended {
            self.end_links_of(&id);
            if reason.is_revocation() {
                self.access.forget(&id);
                self.close_if_nobody_is_left(reason);
            }
        }
    }

    /// Ends a connection on which there is neither a link of anybody's nor a token that could bring one.
    fn close_if_nobody_is_left(&mut self, reason: DisconnectReason) {
        if !self.access.has_tokens() && self.links.values().all(Place::is_of_cbs) {
            self.close_soon(conditions::session_ended(reason));
        }
    }

    fn end_links_of(&mut self, id: &DeviceId) {
        let Some(device) = self.devices.remove(id) else { return };
        let reason = device.session.ended().unwrap_or(DisconnectReason::ConnectionLost);
        device.session.close(reason);
        for link in device.links {
            self.links.remove(&link);
            self.deliveries.retain(|(of, _), _| *of != link);
            self.engine.detach(link, Some(conditions::session_ended(reason)));
        }
    }

    /// The connection is gone, and its devices with it.
    pub(super) fn close_sessions(&mut self, reason: DisconnectReason) {
        for device in std::mem::take(&mut self.devices).into_values() {
            device.session.close(reason);
        }
    }

    fn ends(&self, right: &DeviceRight) -> Instant {
        now() + right.good_until.since(self.hub.now())
    }
}
