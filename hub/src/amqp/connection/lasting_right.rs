//! A back end's right to its links: what lets each in, and ends it when nothing that was brought on the connection speaks for it any more.
//!
//! A link that a [`Place`] with a resource is granted has one, from its attach to its end; [`Conversation::right_of`] is asked before
//! anything that comes on it takes effect, and before anything leaves on it. A right is lost with its token's time or its policy's key. Then
//! another token that covers the resource goes on in its place, which is how a renewal keeps links; without one the link is detached, and the
//! others of the connection live on.

use std::collections::HashMap;
use std::time::Instant;

use fe2o3_amqp_types::definitions::Error;

use super::held_back::LinkRefused;
use super::{Conversation, conditions, now};
use crate::amqp::engine::LinkId;
use crate::core::policy::Permission;
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::ops::authenticate::{AuthenticateError, NotLetIn, ServiceRight, service_right};
use crate::ops::policies::Replacements;

/// What every back end needs, whatever its link leads to.
const PERMISSION: Permission = Permission::ServiceConnect;

/// The rights of a connection's links.
pub struct LastingRights {
    of_links: HashMap<LinkId, LastingRight>,
    replacements: Replacements,
}

/// One link's.
pub struct LastingRight {
    /// What has to be covered, as a path in the hub.
    resource: String,
    right: ServiceRight,
    /// When its token runs out, by the steady clock.
    ends: Instant,
}

impl LastingRights {
    pub fn new(hub: &Hub) -> Self {
        Self { of_links: HashMap::new(), replacements: hub.policies.replacements() }
    }

    /// What tells that policies have been replaced.
    pub fn replacements(&self) -> Replacements {
        self.replacements.clone()
    }

    /// The link has been granted.
    pub fn granted(&mut self, link: LinkId, right: LastingRight) {
        self.of_links.insert(link, right);
    }

    /// The link is gone.
    pub fn link_gone(&mut self, link: LinkId) {
        self.of_links.remove(&link);
    }

    /// When the next one runs out.
    pub fn next_end(&self) -> Option<Instant> {
        self.of_links.values().map(|right| right.ends).min()
    }
}

impl LastingRight {
    fn new(hub: &Hub, resource: String, right: ServiceRight) -> Self {
        let ends = now() + right.good_until.since(hub.now());
        Self { resource, right, ends }
    }

    /// Whether its time is over, by either clock.
    fn has_ended(&self, hub: &Hub) -> bool {
        self.ends <= now() || self.right.good_until < hub.now()
    }

    /// Whose it is.
    pub fn policy(&self) -> &str {
        &self.right.policy
    }

    fn is_lost(&self, hub: &Hub) -> bool {
        self.has_ended(hub) || !hub.policies.still_allow(&self.right, PERMISSION)
    }
}

impl Conversation<'_> {
    /// Lets in a back end's link by what was brought on the connection; refuses it as all others are refused.
    pub(super) fn let_in_back_end(&mut self, resource: String) -> Result<LastingRight, LinkRefused> {
        if let Some(right) = self.brought_for(&resource, None) {
            return Ok(LastingRight::new(self.hub, resource, right));
        }
        // The owner is told what is wrong with what was brought last.
        match service_right(self.hub, self.access.last_policys(), PERMISSION, &resource, self.origin) {
            Ok(right) => Ok(LastingRight::new(self.hub, resource, right)),
            Err(NotLetIn { why, not_before }) => Err(LinkRefused {
                not_before,
                error: match why {
                    AuthenticateError::Refused => conditions::unauthorized(),
                    AuthenticateError::Registry(_) => conditions::unavailable(),
                },
            }),
        }
    }

    /// By what right the link is used now; `None` when it has lost its right, or never had one. Then it has been detached by this.
    pub(super) fn right_of(&mut self, link: LinkId) -> Option<&ServiceRight> {
        self.review_replaced();
        if self.rights.of_links.get(&link).is_some_and(|right| right.has_ended(self.hub)) {
            self.review_rights();
        }
        self.rights.of_links.get(&link).map(|lasting| &lasting.right)
    }

    /// Reviews all rights if policies have been replaced. A connection that is left with nothing is closed.
    pub(super) fn review_replaced(&mut self) {
        if self.rights.replacements.any() && self.access.has_policies() {
            let hub = self.hub;
            self.access.retain_policies(|right| hub.policies.current().have(&right.policy, right.key));
            self.review_rights();
            // Devices that the policy spoke for are gone as well.
            self.is_woken = true;
            self.end_links_of_ended();
            self.close_if_nothing_is_left();
        }
    }

    /// Puts what else was brought in the place of lost rights, and ends the links for which there is nothing.
    pub(super) fn review_rights(&mut self) {
        let hub = self.hub;
        let lost: Vec<LinkId> = self.rights.of_links.iter().filter(|(_, right)| right.is_lost(hub)).map(|(link, _)| *link).collect();
        for link in lost {
            let Some(lost) = self.rights.of_links.remove(&link) else { continue };
            // The same again it is not, even when the wall clock has been put back.
            let after = lost.has_ended(hub).then_some(lost.right.good_until);
            let resource = lost.resource;
            match self.brought_for(&resource, after) {
                Some(right) => self.rights.granted(link, LastingRight::new(hub, resource, right)),
                None => self.end_link(link, conditions::unauthorized()),
            }
        }
    }

    /// Ends a back end's link.
    pub(super) fn end_link(&mut self, link: LinkId, error: Error) {
        self.back_ends.shut_out(link);
        self.detached(link);
        self.engine.detach(link, Some(error));
    }

    /// What was brought that covers the resource, and that lasts longer than until `after`.
    fn brought_for(&self, resource: &str, after: Option<UnixMillis>) -> Option<ServiceRight> {
        let hub = self.hub;
        let is_good =
            |right: &ServiceRight| after.is_none_or(|after| right.good_until > after) && hub.policies.still_allow(right, PERMISSION);
        self.access.back_end(resource, &hub.names, hub.now(), is_good).cloned()
    }
}
