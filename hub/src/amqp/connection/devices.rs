//! The devices of a connection: a session for each, from its first link to its last.

use std::sync::Arc;
use std::time::Instant;

use super::{Conversation, Place, conditions, now};
use crate::amqp::engine::LinkId;
use crate::core::command::LockToken;
use crate::core::device_id::DeviceId;
use crate::core::session::{Credential, DeviceRight, DisconnectReason};
use crate::core::telemetry::Stamps;
use crate::core::time::UnixMillis;
use crate::ops::RegistryError;
use crate::ops::authenticate::{AuthenticateError, NotLetIn, device_right, refused};
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
    /// Whether its commands are to be looked at.
    pub is_concerned: bool,
    /// Commands that have been sent, or begun to be, and that are still its own.
    pub held: Vec<HeldCommand>,
}

/// A command at its device.
pub struct HeldCommand {
    /// On which link it was sent.
    pub link: LinkId,
    /// Under which number.
    pub number: u32,
    /// What settles it.
    pub token: LockToken,
    /// Until when that does; afterwards it is somebody else's.
    pub locked_until: UnixMillis,
}

impl Device<'_> {
    /// The command with this number, which is held no more; `None` when it is not any more.
    pub fn take_held(&mut self, link: LinkId, number: u32) -> Option<HeldCommand> {
        let place = self.held.iter().position(|held| held.link == link && held.number == number)?;
        let held = self.held.swap_remove(place);
        if self.held.is_empty() {
            // Most of the time there are none.
            self.held = Vec::new();
        }
        Some(held)
    }
}

impl Conversation<'_> {
    /// Makes sure that the device has a session that has not ended: the one of its other links, or a new one by what was brought.
    pub(super) async fn have_session(&mut self, id: &DeviceId) -> Result<(), NotLetIn> {
        if let Some(device) = self.devices.get(id) {
            if device.session.ended().is_none() {
                return Ok(());
            }
            self.end_links_of(id);
        }
        let hub = self.hub;
        let Some(proof) = self.access.proof(id, &hub.names, hub.now()) else {
            return Err(refused(hub, id.as_str(), RefusalReason::NoToken, self.origin));
        };
        let right = device_right(hub, id.as_str(), proof, self.origin).await?;
        let (stamps, right_ends) = (send_telemetry::stamps(hub, &right), self.ends(&right));
        let is_by_certificate = matches!(right.credential, Credential::SelfSigned(_) | Credential::Issued(_));
        let at_once = |why| NotLetIn { why, not_before: tokio::time::Instant::now() };
        let opened = open_session(hub, right, self.origin).await.map_err(|error| at_once(error.into()))?;
        let session = OpenSession::new(hub, opened);
        session.wake_too(Arc::clone(&self.bell));
        if let Some(reason) = session.ended() {
            session.close(reason);
            return Err(at_once(AuthenticateError::Refused));
        }
        if is_by_certificate {
            self.access.certificate_let_in();
        }
        self.trust();
        let device = Device { session, stamps, right_ends, links: Vec::new(), receives: false, is_concerned: false, held: Vec::new() };
        self.devices.insert(id.clone(), Box::new(device));
        self.rights_changed();
        Ok(())
    }

    /// A device has proved itself again: if it has a session, that goes on with the new right, and its links with it.
    pub(super) async fn renew(&mut self, right: DeviceRight) -> Result<(), RegistryError> {
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
        self.forget_answers_on(link);
        let Some(place) = self.forget_link(link) else { return };
        self.rights.link_gone(link);
        self.back_ends.detached(link);
        self.remove_reader(link);
        let Some(id) = place.device() else { return };
        let Some(device) = self.devices.get_mut(id) else { return };
        device.links.retain(|other| *other != link);
        if device.links.is_empty() {
            // What it had goes back with its session. Given back before, it would be handed out to the session once more, and count.
            device.session.close(DisconnectReason::ClientDisconnected);
            self.devices.remove(id);
            return;
        }
        self.give_back_commands(link, id);
        if let Place::Commands { .. } = place {
            let id = id.clone();
            self.concerns(&id);
        }
    }

    /// The link leads nowhere any more.
    fn forget_link(&mut self, link: LinkId) -> Option<Place> {
        let place = self.links.remove(&link);
        if self.links.len() < self.links.capacity() / 4 {
            // Down to half, so that one more and one less is not a copy each time.
            self.links.shrink_to(self.links.capacity() / 2);
        }
        place
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
            self.forget_link(link);
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
