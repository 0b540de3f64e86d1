//! What was brought on a connection to prove who somebody is: a certificate, a policy's key, and tokens, each for a device or for as much
//! as a policy speaks for.
//!
//! Keeps tokens, because what a policy speaks for is known when the links come. Judges nothing: that is `ops`'.

use std::collections::HashMap;

use secrecy::{ExposeSecret as _, SecretString};

use crate::core::certificate::PresentedChain;
use crate::core::device_id::DeviceId;
use crate::core::host::HubNames;
use crate::core::sas::SasToken;
use crate::core::time::UnixMillis;
use crate::ops::authenticate::{Proof, ServiceRight};

/// The most devices that have tokens of their own on one connection: a gateway's.
const DEVICE_TOKENS_MAX: usize = 1024;

/// The most tokens of policies on one connection: one for each resource that its client has links to.
const POLICY_TOKENS_MAX: usize = 64;

/// What was brought, and was good when it was.
#[derive(Default)]
pub struct Access {
    certificate: Option<PresentedChain>,
    /// Whether it has let a device in. Anybody can make one, so before that it proves nothing.
    certificate_counts: bool,
    devices: HashMap<DeviceId, Held>,
    policies: Vec<HeldPolicy>,
}

/// A token that is good until a moment.
struct Held {
    token: SecretString,
    good_until: UnixMillis,
}

/// A policy, proven: by a token that speaks for its resource, or by a key itself, which speaks for all of the hub.
struct HeldPolicy {
    right: ServiceRight,
    token: Option<SecretString>,
}

/// No more tokens are taken on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many tokens on one connection")]
pub struct TooManyTokens;

impl Access {
    pub fn new(certificate: Option<PresentedChain>) -> Self {
        Self { certificate, ..Self::default() }
    }

    /// Whether a certificate was presented.
    pub fn has_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// The certificate has let a device in.
    pub fn certificate_let_in(&mut self) {
        self.certificate_counts = true;
    }

    /// Keeps a device's token, in the place of an earlier one.
    pub fn keep_devices(&mut self, device: &DeviceId, token: &str, good_until: UnixMillis, now: UnixMillis) -> Result<(), TooManyTokens> {
        if self.devices.len() >= DEVICE_TOKENS_MAX && !self.devices.contains_key(device) {
            self.forget_expired(now);
            if self.devices.len() >= DEVICE_TOKENS_MAX {
                return Err(TooManyTokens);
            }
        }
        self.devices.insert(device.clone(), Held { token: token.into(), good_until });
        Ok(())
    }

    /// Keeps a policy's token, in the place of an earlier one for the same resource.
    pub fn keep_policys(&mut self, token: &str, right: ServiceRight, now: UnixMillis) -> Result<(), TooManyTokens> {
        self.forget_expired(now);
        self.policies.retain(|held| !held.token().is_some_and(|of| is_same_right(of, token)));
        if self.policies.len() >= POLICY_TOKENS_MAX {
            return Err(TooManyTokens);
        }
        self.policies.push(HeldPolicy { right, token: Some(token.into()) });
        Ok(())
    }

    /// Keeps that a policy's key was shown. SASL comes once, so there is one at most.
    pub fn keep_key(&mut self, right: ServiceRight) {
        self.policies.push(HeldPolicy { right, token: None });
    }

    /// What speaks for this device: its own token, else the latest of a policy's that covers it, else the certificate.
    pub fn proof(&self, device: &DeviceId, names: &HubNames, now: UnixMillis) -> Option<Proof<'_>> {
        let own = self.devices.get(device).filter(|held| now <= held.good_until);
        let covers = |token: &&str| SasToken::parse(token).is_ok_and(|token| token.covers_device(names, device.as_str()));
        let policys = || self.policies.iter().rev().filter(|held| now <= held.right.good_until).filter_map(HeldPolicy::token).find(covers);
        let token = own.map(|held| held.token.expose_secret()).or_else(policys);
        let certificate = self.certificate.as_ref();
        (token.is_some() || certificate.is_some()).then_some(Proof { token, certificate })
    }

    /// What speaks for a back end at this path of the hub: of all that cover it and that `is_good` likes, what was brought last.
    pub fn back_end(
        &self,
        path: &str,
        names: &HubNames,
        now: UnixMillis,
        is_good: impl Fn(&ServiceRight) -> bool,
    ) -> Option<&ServiceRight> {
        let covers = |held: &&HeldPolicy| match held.token() {
            Some(token) => SasToken::parse(token).is_ok_and(|token| token.covers_path(names, path)),
            None => true,
        };
        let held = self.policies.iter().rev().find(|held| now <= held.right.good_until && covers(held) && is_good(&held.right));
        held.map(|held| &held.right)
    }

    /// The policy's token that was brought last.
    pub fn last_policys(&self) -> Option<&str> {
        self.policies.iter().rev().find_map(HeldPolicy::token)
    }

    /// Whether a policy was proven.
    pub fn has_policies(&self) -> bool {
        !self.policies.is_empty()
    }

    /// When the next token runs out.
    pub fn next_end(&self) -> Option<UnixMillis> {
        let (devices, policies) =
            (self.devices.values().map(|held| held.good_until), self.policies.iter().map(|held| held.right.good_until));
        devices.chain(policies).min()
    }

    /// Lets a device's own token go, which is good no more.
    pub fn forget(&mut self, device: &DeviceId) {
        self.devices.remove(device);
    }

    /// Lets those go that have run out.
    pub fn forget_expired(&mut self, now: UnixMillis) {
        self.devices.retain(|_, held| now <= held.good_until);
        self.policies.retain(|held| now <= held.right.good_until);
    }

    /// Lets the policies go that `is_good` does not like.
    pub fn retain_policies(&mut self, is_good: impl Fn(&ServiceRight) -> bool) {
        self.policies.retain(|held| is_good(&held.right));
    }

    /// Whether there are tokens, which may speak for somebody who has no links yet.
    pub fn has_tokens(&self) -> bool {
        !self.devices.is_empty() || !self.policies.is_empty()
    }

    /// Whether nothing is left that could prove anything.
    pub fn is_empty(&self) -> bool {
        !self.certificate_counts && !self.has_tokens()
    }
}

impl HeldPolicy {
    fn token(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.expose_secret())
    }
}

/// Whether two tokens are of one policy and for one resource.
fn is_same_right(one: &str, other: &str) -> bool {
    let right =
        |text| SasToken::parse(text).ok().map(|token| (token.resource().into_owned(), token.policy.map(|policy| policy.into_owned())));
    right(one) == right(other)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::session::KeyFingerprint;
    use crate::ops::world::{NOW, device_token, key, policy_token};

    fn right(good_until: UnixMillis) -> ServiceRight {
        ServiceRight { policy: "device".to_owned(), key: KeyFingerprint::of(&key(101)), good_until }
    }

    fn device(number: usize) -> DeviceId {
        DeviceId::parse(&format!("d{number}")).unwrap()
    }

    fn token_of(access: &Access, device: &DeviceId, now: UnixMillis) -> Option<String> {
        access.proof(device, &HubNames::new("hub.example", &[]), now)?.token.map(str::to_owned)
    }

    #[test]
    fn a_devices_own_token_comes_before_a_policys_and_each_ends() {
        let mut access = Access::default();
        let (own, policys) = (device_token("d1", 1), policy_token("hub.example/devices", "device"));
        let later = NOW.plus(Duration::from_secs(10));
        access.keep_devices(&device(1), &own, NOW, NOW).unwrap();
        access.keep_policys(&policys, right(later), NOW).unwrap();
        assert_eq!(access.next_end(), Some(NOW));
        assert_eq!(token_of(&access, &device(1), NOW).as_ref(), Some(&own));
        assert_eq!(token_of(&access, &device(1), later).as_ref(), Some(&policys));
        assert_eq!(token_of(&access, &device(2), NOW).as_ref(), Some(&policys));
        access.forget_expired(later);
        assert!(!access.is_empty());
        access.forget_expired(later.plus(Duration::from_millis(1)));
        assert!(access.is_empty());
        assert_eq!(token_of(&access, &device(2), NOW), None);
    }

    #[test]
    fn a_policys_token_speaks_where_it_was_signed_for() {
        let mut access = Access::default();
        let narrow = policy_token("hub.example/devices/d1", "device");
        access.keep_policys(&narrow, right(NOW), NOW).unwrap();
        assert_eq!(token_of(&access, &device(1), NOW).as_ref(), Some(&narrow));
        assert_eq!(token_of(&access, &device(2), NOW), None);
    }

    #[test]
    fn there_is_room_for_so_many_and_renewal_takes_none() {
        let mut access = Access::default();
        let later = NOW.plus(Duration::from_secs(1));
        for number in 0..DEVICE_TOKENS_MAX {
            access.keep_devices(&device(number), "t", NOW, NOW).unwrap();
        }
        assert_eq!(access.keep_devices(&device(DEVICE_TOKENS_MAX), "t", later, NOW), Err(TooManyTokens));
        assert_eq!(access.keep_devices(&device(0), "t", later, NOW), Ok(()));
        assert_eq!(access.keep_devices(&device(DEVICE_TOKENS_MAX), "t", later, later), Ok(()), "the others have expired");
        for number in 0..POLICY_TOKENS_MAX {
            access.keep_policys(&policy_token(&format!("hub.example/devices/d{number}"), "device"), right(NOW), NOW).unwrap();
        }
        assert_eq!(access.keep_policys(&policy_token("hub.example", "device"), right(NOW), NOW), Err(TooManyTokens));
        assert_eq!(access.keep_policys(&policy_token("hub.example/devices/d0", "device"), right(NOW), NOW), Ok(()));
    }
}
