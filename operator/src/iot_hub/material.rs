//! Keys and certificates: kept while they are good, made when they are missing, rotated when it is time. The one place where anything
//! random comes into a hub; what is built from it is pure.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use mooring_crds::device::Rotation;
use secrecy::{ExposeSecret as _, SecretString};

use super::certificates::Pair;
use super::child::Kind;
use super::dereference::{Facts, entry};
use super::validate::{CertificateSource, Valid, is_key};
use crate::labels::HubChildren;

/// The annotation that says for which request a policy's keys were last rotated.
pub const ROTATION_REQUESTED: &str = "mooring.dev/rotation-requested-at";

/// The annotation that says when that was; gone once the key before is gone.
pub const ROTATION_BEGUN: &str = "mooring.dev/rotation-begun-at";

/// How often the operator's own keys are rotated.
const OPERATOR_ROTATION: SignedDuration = SignedDuration::from_hours(30 * 24);

/// For how long both of the operator's keys are good then.
const OPERATOR_OVERLAP: SignedDuration = SignedDuration::from_hours(24);

/// How long a new key may take to reach the hub: kubelets look at Secrets every minute or two. Until then the operator signs with the one
/// before, and connection strings have it.
const KEY_TRAVELS: SignedDuration = SignedDuration::from_mins(10);

/// The length of a generated key, as Azure's are.
const KEY_BYTES: usize = 32;

/// A policy's keys, in Base64, and the last rotation.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The newer one.
    pub primary: SecretString,
    /// The other.
    pub secondary: SecretString,
    /// For which request they were last rotated.
    pub requested_at: Option<Timestamp>,
    /// When; `None` once the key before is gone.
    pub begun_at: Option<Timestamp>,
}

/// All that is random about a hub.
#[derive(Clone, Debug)]
pub struct Material {
    /// By policy.
    pub policies: BTreeMap<String, Keys>,
    /// The operator's own policy.
    pub operator: Keys,
    /// The hub's own authority, if it has one.
    pub authority: Option<Pair>,
    /// The hub's certificate, if it is of that authority.
    pub certificate: Option<Pair>,
}

/// Where randomness comes from.
pub type Random<'a> = &'a mut dyn FnMut() -> [u8; KEY_BYTES];

/// Which hub this is for, and when.
#[derive(Clone, Copy, Debug)]
pub struct For<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub hub: &'a str,
    /// The names that its certificate has to have.
    pub names: &'a BTreeSet<String>,
    /// Now.
    pub now: Timestamp,
}

/// What there is to be from now on. `ours`: whether a Secret of this name may be believed; `remembered`: what this operator settled
/// before, so that a Secret that is lost or was edited comes back as it was.
pub fn settle(
    of: For<'_>,
    valid: &Valid,
    facts: &Facts,
    remembered: Option<&Material>,
    random: Random<'_>,
) -> Result<Material, rcgen::Error> {
    let children = HubChildren(of.hub);
    let secret = |name: &str| facts.child::<Secret>(Kind::Secret, name);
    let mut policies = BTreeMap::new();
    for policy in &valid.policies {
        let keys = match &policy.brought {
            Some((primary, secondary)) => {
                Keys { primary: primary.clone(), secondary: secondary.clone(), requested_at: None, begun_at: None }
            }
            None => {
                let before = remembered.and_then(|material| material.policies.get(&policy.name).cloned());
                let kept = before.or_else(|| secret(&policy.secret).as_ref().and_then(keys_of));
                rotated(kept, policy.rotation.as_ref(), of.now, random)
            }
        };
        policies.insert(policy.name.clone(), keys);
    }
    let before = remembered.map(|material| material.operator.clone());
    let kept = before.or_else(|| secret(&children.operator_policy()).as_ref().and_then(keys_of));
    let operator = operators(kept, of.now, random);
    let (authority, certificate) = if valid.certificate == CertificateSource::SelfSigned {
        let authority = remembered.and_then(|material| material.authority.clone());
        let authority = settled_authority(of, authority.or_else(|| kept_authority(facts, &children.authority())))?;
        let certificate = remembered.and_then(|material| material.certificate.clone());
        let certificate = certificate.or_else(|| kept_pair(facts, &children.certificate(), "tls.crt", "tls.key"));
        let certificate = match certificate.filter(|pair| pair.is_good(&authority, of.names, of.now)) {
            Some(good) => good,
            None => authority.issue(of.names, of.now)?,
        };
        (Some(authority), Some(certificate))
    } else {
        (None, None)
    };
    Ok(Material { policies, operator, authority, certificate })
}

/// The key to sign with: not one that the hub may not have yet.
#[must_use]
pub fn signing_key(keys: &Keys, now: Timestamp) -> SecretString {
    match keys.begun_at {
        Some(begun) if now.duration_since(begun) < KEY_TRAVELS => keys.secondary.clone(),
        _ => keys.primary.clone(),
    }
}

/// The keys that a policy's Secret holds.
#[must_use]
pub fn keys_of(secret: &Secret) -> Option<Keys> {
    let key = |name: &str| entry(secret, name).filter(|text| is_key(text)).map(SecretString::from);
    let time = |name: &str| secret.annotations().get(name).and_then(|text| text.parse().ok());
    Some(Keys {
        primary: key("primaryKey")?,
        secondary: key("secondaryKey")?,
        requested_at: time(ROTATION_REQUESTED),
        begun_at: time(ROTATION_BEGUN),
    })
}

/// The authority that a Secret holds, if its certificate and its key belong together.
#[must_use]
pub fn kept_authority(facts: &Facts, secret: &str) -> Option<Pair> {
    kept_pair(facts, secret, "ca.crt", "ca.key").filter(Pair::belongs_together)
}

fn kept_pair(facts: &Facts, secret: &str, certificate: &str, key: &str) -> Option<Pair> {
    let secret = facts.child::<Secret>(Kind::Secret, secret)?;
    Some(Pair { certificate: entry(&secret, certificate)?, key: entry(&secret, key)?.into() })
}

fn settled_authority(of: For<'_>, kept: Option<Pair>) -> Result<Pair, rcgen::Error> {
    let name = format!("{}/{}", of.namespace, of.hub);
    match kept {
        Some(authority) if authority.authority_ends_soon(of.now) => authority.renewed_authority(&name, of.now),
        Some(authority) => Ok(authority),
        None => Pair::new_authority(&name, of.now),
    }
}

/// A policy's keys: made, kept, rotated once for each request, and rid of the key before when its overlap is over.
fn rotated(kept: Option<Keys>, asked: Option<&Rotation>, now: Timestamp, random: Random<'_>) -> Keys {
    let Some(mut keys) = kept else {
        // Keys that are made now are as new as can be.
        let requested_at = asked.map(|asked| asked.requested_at);
        return Keys { primary: new_key(random), secondary: new_key(random), requested_at, begun_at: None };
    };
    let overlap = asked.map_or(SignedDuration::ZERO, |asked| SignedDuration::try_from(asked.overlap.0).unwrap_or(SignedDuration::MAX));
    if let Some(asked) = asked.filter(|asked| keys.requested_at.is_none_or(|done| asked.requested_at > done)) {
        keys.secondary = std::mem::replace(&mut keys.primary, new_key(random));
        (keys.requested_at, keys.begun_at) = (Some(asked.requested_at), Some(whole_second(now)));
    } else if keys.begun_at.is_some_and(|begun| now.duration_since(begun) >= overlap) {
        // Without a rotation in the spec any more, nobody says how long to wait.
        keys.secondary = new_key(random);
        keys.begun_at = None;
    }
    keys
}

/// The operator's own: `requested_at` is when they were made, or last rotated.
fn operators(kept: Option<Keys>, now: Timestamp, random: Random<'_>) -> Keys {
    let made = kept.as_ref().and_then(|keys| keys.requested_at);
    let due = made.is_some_and(|made| now.duration_since(made) >= OPERATOR_ROTATION);
    let requested_at = if due { whole_second(now) } else { made.unwrap_or_else(|| whole_second(now)) };
    let overlap = OPERATOR_OVERLAP.unsigned_abs();
    let asked = Rotation { requested_at, overlap: mooring_crds::GoDuration(overlap) };
    let kept = kept.map(|keys| Keys { requested_at: Some(made.unwrap_or(requested_at)), ..keys });
    rotated(kept, Some(&asked), now, random)
}

fn new_key(random: Random<'_>) -> SecretString {
    BASE64.encode(random()).into()
}

/// What is written and read again is the same.
fn whole_second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        let shown = |keys: &Self| (keys.primary.expose_secret().to_owned(), keys.secondary.expose_secret().to_owned());
        shown(self) == shown(other) && self.requested_at == other.requested_at && self.begun_at == other.begun_at
    }
}

#[cfg(test)]
mod tests {
    use mooring_crds::GoDuration;

    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_795_435_200 + hour * 3600).unwrap()
    }

    fn counting() -> impl FnMut() -> [u8; KEY_BYTES] {
        let mut next = 0;
        move || {
            next += 1;
            [next; KEY_BYTES]
        }
    }

    #[test]
    fn a_policy_s_keys_are_made_kept_rotated_once_and_rid_of_the_old_one() {
        let mut random = counting();
        let asked = |hour| Rotation { requested_at: at(hour), overlap: GoDuration::hours(24) };
        let made = rotated(None, Some(&asked(0)), at(0), &mut random);
        assert_eq!((made.requested_at, made.begun_at), (Some(at(0)), None));
        assert_eq!(rotated(Some(made.clone()), Some(&asked(0)), at(1), &mut random), made, "done already");
        let begun = rotated(Some(made.clone()), Some(&asked(2)), at(2), &mut random);
        assert_eq!(begun.secondary.expose_secret(), made.primary.expose_secret());
        assert_eq!(rotated(Some(begun.clone()), Some(&asked(2)), at(25), &mut random), begun, "the overlap");
        let over = rotated(Some(begun.clone()), Some(&asked(2)), at(26), &mut random);
        assert_eq!((over.primary.expose_secret(), over.begun_at), (begun.primary.expose_secret(), None));
        assert_ne!(over.secondary.expose_secret(), begun.secondary.expose_secret());
        assert_eq!(rotated(Some(over.clone()), Some(&asked(2)), at(27), &mut random), over);
        assert!(rotated(Some(begun), None, at(3), &mut random).begun_at.is_none(), "nobody says how long to wait");
    }

    #[test]
    fn the_operator_rotates_its_own_and_signs_with_what_the_hub_has() {
        let mut random = counting();
        let made = operators(None, at(0), &mut random);
        assert_eq!(operators(Some(made.clone()), at(29 * 24), &mut random), made);
        let begun = operators(Some(made.clone()), at(30 * 24), &mut random);
        let signs = |keys: &Keys, hour| signing_key(keys, at(hour)).expose_secret().to_owned();
        assert_eq!(signs(&begun, 30 * 24), made.primary.expose_secret(), "the new one is on its way");
        assert_eq!(signs(&begun, 30 * 24 + 1), begun.primary.expose_secret());
        let over = operators(Some(begun), at(31 * 24), &mut random);
        assert!(over.begun_at.is_none() && over.secondary.expose_secret() != made.primary.expose_secret());
        assert_eq!(operators(Some(over.clone()), at(59 * 24), &mut random), over);
    }
}
