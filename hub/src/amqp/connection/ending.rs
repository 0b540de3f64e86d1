//! How a connection ends: when what was proved on it has run out, when nothing is left of it, and when the hub ends.
//!
//! Everybody is told on their links first, and the connection is closed after them. Owns the one timer that the connection has for all of it.

use std::time::{Duration, Instant};

use fe2o3_amqp_types::definitions::Error;

use super::{Conversation, Place, conditions, now};
use crate::amqp::engine::{Ending, LinkId};
use crate::core::session::DisconnectReason;

/// How long a peer whose links have ended has to close the connection itself. Azure's SDKs do; and Node.js's, when its links end and its
/// connection does in the same breath, waits for 45 s before it says so.
pub(super) const CLOSED_BY_PEER_WITHIN: Duration = Duration::from_secs(2);

impl Conversation<'_> {
    /// When there is something to do again without anybody saying so.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let closing = self.closing.as_ref().map(|(at, _)| *at);
        self.engine
            .deadline()
            .map(|deadline| [self.next_end, closing, self.refusals.next()].into_iter().flatten().fold(deadline, Instant::min))
    }

    /// Finds out when something that was proved runs out next. Earlier than it does is as good: then it is found out again.
    pub(super) fn rights_changed(&mut self) {
        let devices = self.devices.values().map(|device| device.right_ends).min();
        // Just after its last moment.
        let tokens = self.access.next_end().map(|end| now() + end.since(self.hub.now()) + Duration::from_millis(1));
        self.next_end = [devices, self.rights.next_end(), tokens].into_iter().flatten().min();
    }

    /// Does what is due. `listens` is whether bytes would have been read.
    pub(super) fn time_passed(&mut self, listens: bool) {
        let now = now();
        if !listens {
            self.engine.heard(now);
        }
        self.engine.time_passed(now);
        self.tell_refusals();
        for device in self.devices.values() {
            if device.right_ends <= now {
                device.session.end(DisconnectReason::TokenExpired);
                self.is_woken = true;
            }
        }
        self.access.forget_expired(self.hub.now());
        self.end_links_of_ended();
        self.review_rights();
        self.rights_changed();
        self.close_if_nothing_is_left();
        if self.closing.as_ref().is_some_and(|(at, _)| *at <= now) {
            self.engine.close(self.closing.take().map(|(_, error)| error));
        }
    }

    /// Whether the time of a stranger is over, whatever else it has sent: then the connection is.
    pub(super) fn is_late(&mut self) -> bool {
        let is_stranger = self.authenticated.is_some();
        if is_stranger && self.engine.deadline().is_some_and(|deadline| deadline <= now()) {
            self.engine.time_passed(now());
            return self.engine.is_over();
        }
        false
    }

    /// Whether the connection is about to end: nobody waits for long any more for a peer that takes nothing.
    pub(super) fn is_ending(&self) -> bool {
        self.is_stopping || self.closing.is_some() || self.engine.is_over()
    }

    /// The connection is gone: what it took, others may have now, before anything is waited for.
    pub(super) fn leave(&mut self, reason: DisconnectReason) {
        self.close_sessions(reason);
        self.readers = None;
    }

    /// Whoever had proved something, and has nothing left of it, goes.
    pub(super) fn close_if_nothing_is_left(&mut self) {
        let is_trusted = self.authenticated.is_none();
        if is_trusted && self.access.is_empty() && self.devices.is_empty() {
            self.close_soon(conditions::unauthorized());
        }
    }

    /// The hub ends: the peer is told so on its links, and then on the connection.
    pub(super) fn stop(&mut self) {
        self.is_stopping = true;
        let links: Vec<LinkId> = self.links.iter().filter(|(_, place)| !place.is_of_cbs()).map(|(link, _)| *link).collect();
        if links.is_empty() {
            return self.engine.close(Some(conditions::hub_ends()));
        }
        for device in self.devices.values() {
            device.session.end(DisconnectReason::HubShutdown);
        }
        self.is_woken = true;
        for link in links {
            match self.links.get(&link).and_then(Place::device) {
                Some(_) => self.engine.detach(link, Some(conditions::hub_ends())),
                None => self.end_link(link, conditions::hub_ends()),
            }
        }
        self.closing = Some((now() + CLOSED_BY_PEER_WITHIN, conditions::hub_ends()));
    }

    /// Nobody is left who may use the connection.
    pub(super) fn close_soon(&mut self, error: Error) {
        self.closing.get_or_insert((now() + CLOSED_BY_PEER_WITHIN, error));
    }
}

/// Why the sessions on a connection end that ends so.
pub(super) fn reason(ending: &Ending) -> DisconnectReason {
    match ending {
        Ending::ByPeer(_) => DisconnectReason::ClientDisconnected,
        Ending::ByHub | Ending::Refused | Ending::Late => DisconnectReason::ConnectionLost,
        Ending::ForeignProtocol | Ending::Failed(_) => DisconnectReason::ProtocolViolation,
        Ending::Silent => DisconnectReason::KeepAliveTimeout,
    }
}
