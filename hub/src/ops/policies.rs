//! The shared access policies: which keys they have now, and what becomes of those who came in by one that is gone.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::core::access::Rights;
use crate::core::policy::{Permission, Policies};
use crate::core::session::{Credential, DeviceRight, DisconnectReason};
use crate::ops::Hub;
use crate::ops::authenticate::ServiceRight;
use crate::ops::sign_in::sessions::{OpenStream, Session, SessionEnd};

/// The hub's policies, whose keys can be replaced while it runs.
#[derive(Debug)]
pub struct SharedAccessPolicies(watch::Sender<Arc<Policies>>);

impl SharedAccessPolicies {
    /// These.
    #[must_use]
    pub fn new(policies: Policies) -> Self {
        Self(watch::Sender::new(Arc::new(policies)))
    }

    /// Those that there are now.
    #[must_use]
    pub fn current(&self) -> Arc<Policies> {
        Arc::clone(&self.0.borrow())
    }

    /// Whether the policy that was proven still has the key that proved it, and `permission`.
    #[must_use]
    pub fn still_allow(&self, right: &ServiceRight, permission: Permission) -> bool {
        let policies = self.0.borrow();
        policies.have(&right.policy, right.key) && policies.get(&right.policy).is_some_and(|policy| policy.allows(permission))
    }

    /// What tells whoever keeps it that these have been replaced.
    #[must_use]
    pub fn replacements(&self) -> Replacements {
        Replacements(self.0.subscribe())
    }

    /// Whether the policy that spoke for `right` still has the key that did; a right of another kind needs no policy.
    pub fn review(&self, right: &DeviceRight) -> Result<(), DisconnectReason> {
        match &right.credential {
            Credential::Policy { name, key } if !self.0.borrow().have(name, *key) => Err(DisconnectReason::KeyReplaced),
            Credential::Policy { .. } | Credential::DeviceKey(_) | Credential::SelfSigned(_) | Credential::Issued(_) => Ok(()),
        }
    }
}

/// Takes these from now on, and no others. When this returns, every session of a device has ended that came in by a key that is gone, and
/// nothing that arrives later on it takes effect; who reads or watches by such a key is told nothing more.
pub fn replace_policies(hub: &Hub, policies: Policies) {
    hub.policies.0.send_replace(Arc::new(policies));
    hub.presence.review_all(|right| hub.policies.review(right));
}

/// Tells that the policies have been replaced: for somebody who keeps several rights, and reviews them then.
#[derive(Clone, Debug)]
pub struct Replacements(watch::Receiver<Arc<Policies>>);

impl Replacements {
    /// Whether they have been, since this was asked last.
    pub fn any(&mut self) -> bool {
        let replaced = self.0.has_changed().unwrap_or(false);
        if replaced {
            self.0.mark_unchanged();
        }
        replaced
    }

    /// Waits until they are, or answers at once when they have been since this was asked last. Nothing is missed when this is dropped.
    pub async fn next(&mut self) {
        // Without a hub nobody replaces anything.
        if self.0.changed().await.is_err() {
            pending().await
        }
    }
}

/// The right of somebody who stays: who reads events, or watches changes.
#[derive(Clone, Debug)]
pub struct LastingRight {
    rests_on: RestsOn,
    ends: Instant,
}

/// What a right rests on.
#[derive(Clone, Debug)]
enum RestsOn {
    Policy { right: ServiceRight, policies: watch::Receiver<Arc<Policies>> },
    Session { stream: OpenStream, wanted: Rights },
}

/// Why a right is none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RightLost {
    /// Its time is over.
    #[error("the token has expired")]
    TokenExpired,
    /// The policy has other keys.
    #[error("the key that the token was signed with has been replaced")]
    KeyReplaced,
    /// The session is over.
    #[error(transparent)]
    SessionEnded(#[from] SessionEnd),
    /// The session goes on, with fewer rights.
    #[error("the right to this has been taken away")]
    RightTaken,
}

impl LastingRight {
    /// `right`, from now on.
    #[must_use]
    pub fn new(hub: &Hub, right: &ServiceRight) -> Self {
        let ends = Instant::now() + right.good_until.since(hub.now());
        Self { rests_on: RestsOn::Policy { right: right.clone(), policies: hub.policies.0.subscribe() }, ends }
    }

    /// These rights of whoever is signed in there, from now on. The session is not idle while this is kept.
    #[must_use]
    pub fn of_session(hub: &Hub, session: &Session, wanted: Rights) -> Self {
        let ends = Instant::now() + session.ends().since(hub.now());
        Self { rests_on: RestsOn::Session { stream: session.stay(), wanted }, ends }
    }

    /// Waits until it is lost; answers at once when it is already. Nothing is missed when this is dropped while it waits.
    pub async fn lost(&mut self) -> RightLost {
        let Self { rests_on, ends } = self;
        match rests_on {
            RestsOn::Policy { right, policies } => {
                let replaced = async {
                    let gone = policies.wait_for(|policies| !policies.have(&right.policy, right.key)).await.map(drop);
                    // Without a hub nobody replaces anything.
                    if gone.is_err() {
                        pending().await
                    }
                };
                tokio::select! {
                    biased;
                    () = replaced => RightLost::KeyReplaced,
                    () = sleep_until(*ends) => RightLost::TokenExpired,
                }
            }
            RestsOn::Session { stream, wanted } => tokio::select! {
                biased;
                lost = stream.session().lost(*wanted) => lost.map_or(RightLost::RightTaken, RightLost::SessionEnded),
                () = sleep_until(*ends) => RightLost::SessionEnded(SessionEnd::Expired),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::core::identity::SymmetricKey;
    use crate::core::policy::Policy;
    use crate::core::sas::sign;
    use crate::ops::authenticate::{authenticate_service, still_good};
    use crate::ops::open_session::open_session;
    use crate::ops::world::{NOW, World, device_token, key, origin, policy_token};

    /// The hub's policies with these keys in all of them.
    fn with_keys(world: &World, primary: &SymmetricKey, secondary: &SymmetricKey) -> Policies {
        let other = |policy: &Policy| Policy { primary: primary.clone(), secondary: secondary.clone(), ..policy.clone() };
        world.hub.policies.current().iter().map(other).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_with_the_policys_key_that_opened_it() {
        let world = World::with_device("D").await;
        let right = world.login("D", &policy_token("hub.example", "device")).await.unwrap();
        let by_policy = open_session(&world.hub, right.clone(), origin()).await.unwrap();
        let other = World::with_device("D").await;
        let by_key = {
            let right = other.login("D", &device_token("D", 1)).await.unwrap();
            open_session(&other.hub, right, origin()).await.unwrap()
        };

        replace_policies(&world.hub, with_keys(&world, &key(101), &key(102)));
        assert_eq!(by_policy.ended(), None, "its key only moved to the other slot");
        assert!(still_good(&world.hub, &right).await.unwrap());
        for world in [&world, &other] {
            replace_policies(&world.hub, with_keys(world, &key(103), &key(102)));
        }
        assert_eq!(by_policy.ended(), Some(DisconnectReason::KeyReplaced));
        assert_eq!(by_key.ended(), None, "it needs no policy");
        assert!(!still_good(&world.hub, &right).await.unwrap());
        assert!(world.login("D", &policy_token("hub.example", "device")).await.is_err());
        let renewed = sign("hub.example", NOW.plus(Duration::from_secs(60)), &key(103), Some("device"));
        assert!(world.login("D", &renewed).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_opens_while_its_key_goes_has_ended() {
        let world = World::with_device("D").await;
        let right = world.login("D", &policy_token("hub.example", "device")).await.unwrap();
        replace_policies(&world.hub, with_keys(&world, &key(103), &key(102)));
        let session = open_session(&world.hub, right, origin()).await.unwrap();
        assert_eq!(session.ended(), Some(DisconnectReason::KeyReplaced));
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_that_lasts_ends_with_its_key_or_with_its_token() {
        let world = World::new();
        let token = policy_token("hub.example", "service");
        let right = authenticate_service(&world.hub, Some(&token), Permission::ServiceConnect, "messages/events", origin()).await.unwrap();
        let mut lasting = LastingRight::new(&world.hub, &right);
        replace_policies(&world.hub, with_keys(&world, &key(101), &key(102)));
        assert!(timeout(Duration::from_secs(1), lasting.lost()).await.is_err());
        let mut expiring = lasting.clone();
        assert_eq!(expiring.lost().await, RightLost::TokenExpired);

        let mut lasting = LastingRight::new(&world.hub, &right);
        replace_policies(&world.hub, with_keys(&world, &key(103), &key(102)));
        assert_eq!(lasting.lost().await, RightLost::KeyReplaced);
        assert_eq!(LastingRight::new(&world.hub, &right).lost().await, RightLost::KeyReplaced, "who comes late hears it too");
    }
}
