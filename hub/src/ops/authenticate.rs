//! Who is this, and may it do that? The answer to a stranger is always the same, in bytes and in time; the reason is for the owner.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::core::certificate::PresentedChain;
use crate::core::device_id::DeviceId;
use crate::core::identity::{Authentication, DeviceIdentity, DeviceStatus, SymmetricKey};
use crate::core::policy::Permission;
use crate::core::sas::SasToken;
use crate::core::session::{Credential, DeviceRight, KeyFingerprint, Protocol};
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::ops::refusals::{Refusal, RefusalReason};
use crate::store::RegistryError;

/// When a refusal is answered, counted from the question: later than any honest look-up takes, so that an unknown device, a disabled one
/// and a bad key can't be told apart by a watch, and guessing is slow.
const REFUSED_AFTER: Duration = Duration::from_millis(100);

/// Refused, or not decidable now.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthenticateError {
    /// Not this one, or not this. The reason is already with the owner; the one refused gets none.
    #[error("unauthorized")]
    Refused,
    /// The registry does not answer: not a refusal, to be tried again.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Nobody is let in; whoever asked may hear so no sooner than anybody else would, whatever the reason.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}")]
pub struct NotLetIn {
    /// Why.
    pub why: AuthenticateError,
    /// When they may hear it.
    pub not_before: Instant,
}

impl NotLetIn {
    /// Waits until it may be told.
    pub async fn told(self) -> AuthenticateError {
        sleep_until(self.not_before).await;
        self.why
    }
}

/// Where a question comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// Over what.
    pub protocol: Protocol,
    /// From where.
    pub peer: SocketAddr,
}

/// A principal that is not a device: a policy, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRight {
    /// The policy's name.
    pub policy: String,
    /// Which of its keys signed the token, or was shown itself.
    pub key: KeyFingerprint,
    /// The last moment at which the token holds; a key itself holds as long as the policy has it.
    pub good_until: UnixMillis,
}

/// What somebody brings who says to be a device.
#[derive(Debug, Clone, Copy)]
pub struct Proof<'a> {
    /// A SAS token. It counts alone when there is one: SDKs present a certificate that they have for other ends, too.
    pub token: Option<&'a str>,
    /// A certificate whose key the client has, as TLS has found out.
    pub certificate: Option<&'a PresentedChain>,
}

/// Lets in somebody who says to be `claimed`: with a SAS token, the device's own, or a policy's with DeviceConnect that speaks for an
/// existing, enabled device; or without one, with the device's certificate.
pub async fn authenticate_device(hub: &Hub, claimed: &str, proof: Proof<'_>, origin: Origin) -> Result<DeviceRight, AuthenticateError> {
    match device_right(hub, claimed, proof, origin).await {
        Ok(right) => Ok(right),
        Err(not_let_in) => Err(not_let_in.told().await),
    }
}

/// The same, for whoever sees to it that a refusal is told in time, and has others to serve meanwhile.
pub async fn device_right(hub: &Hub, claimed: &str, proof: Proof<'_>, origin: Origin) -> Result<DeviceRight, NotLetIn> {
    let asked = Instant::now();
    match judge_device(hub, claimed, proof).await {
        Ok(right) => Ok(right),
        // A known name is refused from the cache while the registry is down; an unknown one must not be answered any sooner.
        Err(Judgement::Registry(error)) => Err(NotLetIn { why: error.into(), not_before: asked + REFUSED_AFTER }),
        Err(Judgement::Refused(reason)) => Err(refused_since(hub, claimed, reason, origin, asked)),
    }
}

/// Lets in a policy that has `permission`, with a token for `path` in this hub (such as `devices/D` or `messages/events`).
pub async fn authenticate_service(
    hub: &Hub,
    token: Option<&str>,
    permission: Permission,
    path: &str,
    origin: Origin,
) -> Result<ServiceRight, AuthenticateError> {
    match service_right(hub, token, permission, path, origin) {
        Ok(right) => Ok(right),
        Err(not_let_in) => Err(not_let_in.told().await),
    }
}

/// The same, for whoever sees to it that a refusal is told in time.
pub fn service_right(hub: &Hub, token: Option<&str>, permission: Permission, path: &str, origin: Origin) -> Result<ServiceRight, NotLetIn> {
    let asked = Instant::now();
    judge_service(hub, token, permission, path).map_err(|(policy, reason)| refused_since(hub, &policy, reason, origin, asked))
}

/// Lets in a policy that has `permission`, with one of its keys itself, as Event Hubs' clients of old bring it: a right to all of the hub.
pub async fn authenticate_service_by_key(
    hub: &Hub,
    policy: &str,
    key: &str,
    permission: Permission,
    origin: Origin,
) -> Result<ServiceRight, AuthenticateError> {
    let asked = Instant::now();
    match judge_key(hub, policy, key, permission) {
        Ok(right) => Ok(right),
        Err(reason) => Err(refused_since(hub, policy, reason, origin, asked).told().await),
    }
}

/// Lets in a policy that has at least one of `permissions`, and says which of them it has.
pub async fn authenticate_service_for_any(
    hub: &Hub,
    token: Option<&str>,
    permissions: &[Permission],
    path: &str,
    origin: Origin,
) -> Result<(ServiceRight, Vec<Permission>), AuthenticateError> {
    match service_right_for_any(hub, token, permissions, path, origin) {
        Ok(right) => Ok(right),
        Err(not_let_in) => Err(not_let_in.told().await),
    }
}

/// The same, for whoever sees to it that a refusal is told in time.
pub fn service_right_for_any(
    hub: &Hub,
    token: Option<&str>,
    permissions: &[Permission],
    path: &str,
    origin: Origin,
) -> Result<(ServiceRight, Vec<Permission>), NotLetIn> {
    let asked = Instant::now();
    let (mut right, mut allowed, mut refused) = (None, Vec::new(), None);
    for permission in permissions {
        match judge_service(hub, token, *permission, path) {
            Ok(proven) => {
                right = Some(proven);
                allowed.push(*permission);
            }
            Err(why) => refused = Some(why),
        }
    }
    match (right, refused) {
        (Some(right), _) => Ok((right, allowed)),
        (None, Some((policy, reason))) => Err(refused_since(hub, &policy, reason, origin, asked)),
        (None, None) => Err(NotLetIn { why: AuthenticateError::Refused, not_before: asked + REFUSED_AFTER }),
    }
}

/// Refuses somebody for a reason that a protocol found, as all others are refused.
pub async fn refuse(hub: &Hub, claimed: &str, reason: RefusalReason, origin: Origin) -> AuthenticateError {
    refused(hub, claimed, reason, origin).told().await
}

/// The same, for whoever sees to it that the refusal is told in time.
pub fn refused(hub: &Hub, claimed: &str, reason: RefusalReason, origin: Origin) -> NotLetIn {
    refused_since(hub, claimed, reason, origin, Instant::now())
}

/// Asks again whether a right that was proven some time ago still holds: after a body has been read, say.
pub async fn still_good(hub: &Hub, right: &DeviceRight) -> Result<bool, RegistryError> {
    let identity = hub.identities.get(&*hub.registry, &right.device_id).await?;
    Ok(is_good(hub, right, identity.as_deref()))
}

/// Whether a right holds now, when this is what its identity is.
pub(super) fn is_good(hub: &Hub, right: &DeviceRight, identity: Option<&DeviceIdentity>) -> bool {
    hub.now() <= right.good_until && hub.review(right, identity).is_ok()
}

enum Judgement {
    Refused(RefusalReason),
    Registry(RegistryError),
}

impl From<RefusalReason> for Judgement {
    fn from(reason: RefusalReason) -> Self {
        Self::Refused(reason)
    }
}

async fn judge_device(hub: &Hub, claimed: &str, proof: Proof<'_>) -> Result<DeviceRight, Judgement> {
    let device_id = DeviceId::parse(claimed).map_err(|_| RefusalReason::InvalidDeviceId)?;
    let right = match proof {
        Proof { token: Some(token), .. } => judge_token(hub, device_id, token).await?,
        Proof { token: None, certificate: Some(chain) } => judge_certificate(hub, device_id, chain).await?,
        Proof { token: None, certificate: None } => return Err(RefusalReason::NoToken.into()),
    };
    Ok(right)
}

async fn judge_token(hub: &Hub, device_id: DeviceId, token: &str) -> Result<DeviceRight, Judgement> {
    let token = SasToken::parse(token).map_err(RefusalReason::from)?;
    let credential = match token.policy.as_deref() {
        Some(policy) => {
            let key = policy_key(hub, policy, &token, Permission::DeviceConnect)?;
            Some(Credential::Policy { name: policy.to_owned(), key })
        }
        None => None,
    };
    let identity = identity(hub, &device_id).await?;
    let credential = match (credential, &identity.authentication) {
        (Some(credential), _) => credential,
        (None, Authentication::SymmetricKey { primary, secondary }) => {
            let key = signing_key(primary, secondary, |key| token.is_signed_with(key));
            Credential::DeviceKey(key.ok_or(RefusalReason::SignedWithNeitherKey)?)
        }
        (None, Authentication::SelfSigned { .. } | Authentication::CertificateAuthority) => return Err(RefusalReason::HasNoKeys.into()),
    };
    if !token.covers_device(&hub.names, device_id.as_str()) {
        return Err(RefusalReason::OtherResource(token.resource().as_ref().into()).into());
    }
    if let Some(expired) = token.expired_for(hub.now()) {
        return Err(RefusalReason::TokenExpired(expired).into());
    }
    must_be_enabled(&identity)?;
    Ok(DeviceRight { generation_id: identity.generation_id.clone(), device_id, credential, good_until: token.good_until() })
}

async fn judge_certificate(hub: &Hub, device_id: DeviceId, chain: &PresentedChain) -> Result<DeviceRight, Judgement> {
    let identity = identity(hub, &device_id).await?;
    let (credential, good_until) = match &identity.authentication {
        Authentication::SymmetricKey { .. } => return Err(RefusalReason::HasNoCertificate.into()),
        Authentication::SelfSigned { primary, secondary } => chain
            .prove_self_signed(primary.as_ref(), secondary.as_ref(), hub.now())
            .map(|(fingerprint, good_until)| (Credential::SelfSigned(fingerprint), good_until)),
        Authentication::CertificateAuthority => hub
            .device_authorities
            .current()
            .prove(chain, &device_id, hub.now())
            .map(|(issued, good_until)| (Credential::Issued(issued), good_until)),
    }
    .map_err(RefusalReason::from)?;
    must_be_enabled(&identity)?;
    Ok(DeviceRight { generation_id: identity.generation_id.clone(), device_id, credential, good_until })
}

async fn identity(hub: &Hub, device_id: &DeviceId) -> Result<Arc<DeviceIdentity>, Judgement> {
    let found = hub.identities.get(&*hub.registry, device_id).await.map_err(Judgement::Registry)?;
    Ok(found.ok_or(RefusalReason::UnknownDevice)?)
}

fn must_be_enabled(identity: &DeviceIdentity) -> Result<(), RefusalReason> {
    match identity.status() {
        DeviceStatus::Enabled => Ok(()),
        DeviceStatus::Disabled => Err(RefusalReason::DeviceDisabled { held_by: identity.hold.as_ref().map(|hold| hold.by.clone()) }),
    }
}

fn judge_service(hub: &Hub, token: Option<&str>, permission: Permission, path: &str) -> Result<ServiceRight, (String, RefusalReason)> {
    let nobody = |reason: RefusalReason| (String::new(), reason);
    let token = SasToken::parse(token.ok_or(nobody(RefusalReason::NoToken))?).map_err(|error| nobody(error.into()))?;
    let name = token.policy.as_deref().ok_or(nobody(RefusalReason::NeedsPolicy(permission)))?.to_owned();
    let refused = |reason: RefusalReason| (name.clone(), reason);
    let key = policy_key(hub, &name, &token, permission).map_err(refused)?;
    if !token.covers_path(&hub.names, path) {
        return Err(refused(RefusalReason::OtherResource(token.resource().as_ref().into())));
    }
    if let Some(expired) = token.expired_for(hub.now()) {
        return Err(refused(RefusalReason::TokenExpired(expired)));
    }
    Ok(ServiceRight { policy: name, key, good_until: token.good_until() })
}

fn judge_key(hub: &Hub, name: &str, key: &str, permission: Permission) -> Result<ServiceRight, RefusalReason> {
    let policies = hub.policies.current();
    let policy = policies.get(name).ok_or_else(|| RefusalReason::UnknownPolicy(name.into()))?;
    let shown = SymmetricKey::from_base64(key).map_err(|_| RefusalReason::NeitherPolicyKey(name.into()))?;
    // Both are always compared, each in constant time.
    if !((policy.primary == shown) | (policy.secondary == shown)) {
        return Err(RefusalReason::NeitherPolicyKey(name.into()));
    }
    if !policy.allows(permission) {
        return Err(RefusalReason::NotAllowed { policy: name.into(), permission });
    }
    Ok(ServiceRight { policy: name.to_owned(), key: KeyFingerprint::of(&shown), good_until: UnixMillis(i64::MAX) })
}

/// Both keys are always tried, so that the answer takes as long for either.
fn signing_key(primary: &SymmetricKey, secondary: &SymmetricKey, signed: impl Fn(&SymmetricKey) -> bool) -> Option<KeyFingerprint> {
    match (signed(primary), signed(secondary)) {
        (true, _) => Some(KeyFingerprint::of(primary)),
        (false, true) => Some(KeyFingerprint::of(secondary)),
        (false, false) => None,
    }
}

/// The policy's key that signed the token, if the policy allows that.
fn policy_key(hub: &Hub, name: &str, token: &SasToken<'_>, permission: Permission) -> Result<KeyFingerprint, RefusalReason> {
    let policies = hub.policies.current();
    let policy = policies.get(name).ok_or_else(|| RefusalReason::UnknownPolicy(name.into()))?;
    let (primary, secondary) = (&policy.primary, &policy.secondary);
    let decoded = signing_key(primary, secondary, |key| token.is_signed_with(key));
    // Event Hubs' clients sign with the key's text. That is good for what they do, and for nothing else.
    let as_event_hubs = || signing_key(primary, secondary, |key| token.is_for_event_hubs() && token.is_signed_with_text_of(key));
    let Some(key) = decoded.or_else(as_event_hubs) else {
        return Err(RefusalReason::SignedWithNeitherPolicyKey(name.into()));
    };
    if decoded.is_none() && permission != Permission::ServiceConnect {
        return Err(RefusalReason::OtherResource(token.resource().as_ref().into()));
    }
    if !policy.allows(permission) {
        return Err(RefusalReason::NotAllowed { policy: name.into(), permission });
    }
    Ok(key)
}

fn refused_since(hub: &Hub, claimed: &str, reason: RefusalReason, origin: Origin, asked: Instant) -> NotLetIn {
    hub.metrics.refused(reason.name());
    let refusal = Refusal { time: hub.now(), protocol: origin.protocol, peer: origin.peer, reason };
    hub.refusals.tell(claimed, refusal, asked.into_std(), &hub.changes);
    NotLetIn { why: AuthenticateError::Refused, not_before: asked + REFUSED_AFTER }
}
