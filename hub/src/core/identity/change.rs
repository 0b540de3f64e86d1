//! What a write makes of an identity: creation, replacement, deletion, and who may do which to whom.
//!
//! Every front (REST, bulk, a manifest, a person's command) asks here and nowhere else. Knows no store: the caller reads, asks [`decide`],
//! and writes on condition that nothing has changed in between.
//!
//! Two authors may differ about a device. A manifest says what it wants; a person or a back end can shut the device out, which is a
//! [`Hold`]. The hold wins, and only a person or a back end can lift it: no manifest, by whatever sequence of writes, deletions and
//! creations, ever re-admits a device that somebody has shut out.

use super::{Authentication, DeviceIdentity, DeviceStatus, GenerationId, Hold, ManagedBy, Monitoring, Rotation, SymmetricKey, Version};
use crate::core::certificate::Thumbprint;
use crate::core::device_id::DeviceId;
use crate::core::time::UnixMillis;

mod texts;

pub use texts::{InvalidTags, STATUS_REASON_MAX_CHARACTERS, StatusReason, StatusReasonTooLong, TAGS_MAX_BYTES, Tags};

/// Somebody asks for something.
#[derive(Clone, Debug)]
pub struct Request {
    /// For what.
    pub change: Change,
    /// Who.
    pub author: Author,
}

/// What is asked of an identity.
#[derive(Clone, Debug)]
pub enum Change {
    /// Make it; nobody of this name may be there.
    Create(Settings),
    /// Change the one that is there.
    Update(Settings, Precondition),
    /// Make it, or change the one that is there; the precondition is for that one.
    CreateOrUpdate(Settings, Precondition),
    /// Remove the one that is there.
    Delete(Precondition),
}

/// What the identity must be for the change to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Anything (`If-Match: *`).
    Any,
    /// The version with this ETag.
    ETag(String),
}

/// What an author says about a device. What is `None` is left as it is, or made by the hub when the identity is new.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whether it may connect.
    pub status: Option<DeviceStatus>,
    /// Why; `Some(None)` takes the reason away.
    pub status_reason: Option<Option<StatusReason>>,
    /// How it proves itself. A certificate's thumbprints are always said together.
    pub authentication: Option<AuthenticationWish>,
    /// Key slot one; with no word of how the device proves itself, a key means by keys.
    pub primary_key: Option<SymmetricKey>,
    /// Key slot two.
    pub secondary_key: Option<SymmetricKey>,
    /// Tags; `Some(None)` takes them away.
    pub tags: Option<Option<Tags>>,
    /// What is watched about it.
    pub monitoring: Option<Monitoring>,
    /// The rotation that is carried out with this very change; `Some(None)` forgets the last one.
    pub rotation: Option<Option<Rotation>>,
}

impl Settings {
    /// Whether the device is to prove itself by something else than before, perhaps.
    #[must_use]
    pub fn gives_credentials(&self) -> bool {
        self.authentication.is_some() || self.primary_key.is_some() || self.secondary_key.is_some()
    }
}

/// How a device is to prove itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticationWish {
    /// By keys: those that are given beside it, else those that it has, else new ones.
    Keys,
    /// By a self-signed certificate.
    Thumbprints(Thumbprints),
    /// By a certificate that an authority of the hub issues.
    CertificateAuthority,
}

/// One or two thumbprints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thumbprints {
    primary: Option<Thumbprint>,
    secondary: Option<Thumbprint>,
}

/// A device would prove itself by nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a device with a self-signed certificate has at least one thumbprint")]
pub struct NoThumbprint;

impl Thumbprints {
    /// The one check.
    pub fn new(primary: Option<Thumbprint>, secondary: Option<Thumbprint>) -> Result<Self, NoThumbprint> {
        if primary.is_none() && secondary.is_none() { Err(NoThumbprint) } else { Ok(Self { primary, secondary }) }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Author {
    /// A person or a back end.
    Policy {
        /// The shared access policy that they use.
        name: String,
        /// Whether the identity is to be taken from whatever manifest manages it, because that manifest is gone for good, say.
        release: bool,
    },
    /// A manifest.
    Manifest {
        /// Which.
        source: ManagedBy,
        /// What it says about owning the identity.
        claim: Claim,
    },
}

/// What a manifest says about owning an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// "It is mine": true, or the change is refused.
    Own,
    /// "It becomes mine if it is nobody's."
    Adopt,
    /// "It was mine, and is nobody's from now on."
    Release,
}

/// What randomness an identity may need, fresh for every decision.
#[derive(Clone)]
pub struct Fresh {
    /// Becomes the generation id.
    pub generation: u128,
    /// Becomes the first version.
    pub version: i64,
    /// Becomes the primary key if none is given.
    pub primary_key: SymmetricKey,
    /// Becomes the secondary key if none is given.
    pub secondary_key: SymmetricKey,
}

/// What is there after the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This identity.
    Kept(Box<DeviceIdentity>),
    /// Nothing.
    Deleted,
}

/// Why a change does not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is one of this name.
    #[error("Device {0} already registered")]
    AlreadyExists(DeviceId),
    /// There is none of this name.
    #[error("Device {0} not registered")]
    NotFound(DeviceId),
    /// It is in another version.
    #[error("Device {0} has another ETag than the one given")]
    ETagMismatch(DeviceId),
    /// A manifest asks, and nobody's manifest made the identity.
    #[error("Device {0} is not managed by a manifest; adopt it to manage it")]
    Unmanaged(DeviceId),
    /// A manifest asks, and another one has the identity.
    #[error("Device {id} is managed by {owner}, not by {asker}")]
    ManagedByAnother {
        /// Which device.
        id: DeviceId,
        /// Whose it is.
        owner: Box<ManagedBy>,
        /// Who asks.
        asker: Box<ManagedBy>,
    },
    /// A person enables what the manifest disables.
    #[error("Device {id} is disabled by its manifest {owner}, and held by nobody; enable it there")]
    DisabledByManifest {
        /// Which device.
        id: DeviceId,
        /// Whose it is.
        owner: Box<ManagedBy>,
    },
    /// A person changes tags that the manifest says.
    #[error("Device {id} has its tags from its manifest {owner}; change them there")]
    TagsOfManifest {
        /// Which device.
        id: DeviceId,
        /// Whose it is.
        owner: Box<ManagedBy>,
    },
    /// A person changes what the manifest has watched.
    #[error("Device {id} has its monitoring from its manifest {owner}; change it there")]
    MonitoringOfManifest {
        /// Which device.
        id: DeviceId,
        /// Whose it is.
        owner: Box<ManagedBy>,
    },
    /// A person says that a rotation was carried out.
    #[error("the rotation of device {0} is for manifests to say; leave it out, or as it is")]
    RotationOfManifests(DeviceId),
    /// A person deletes what the manifest would make again, with the door open.
    #[error("Device {id} would be made again by its manifest {owner}; delete it there, or disable it here, or release it first")]
    DeletedUnderManifest {
        /// Which device.
        id: DeviceId,
        /// Whose it is.
        owner: Box<ManagedBy>,
    },
}

/// What becomes of `current` (`None`: nobody is there) at the request.
pub fn decide(
    id: &DeviceId,
    current: Option<&DeviceIdentity>,
    request: &Request,
    now: UnixMillis,
    fresh: Fresh,
) -> Result<Outcome, Refused> {
    let Request { change, author } = request;
    match (change, current) {
        (Change::Create(_), Some(_)) => Err(Refused::AlreadyExists(id.clone())),
        (Change::Create(settings) | Change::CreateOrUpdate(settings, _), None) => create(id, settings, author, now, fresh).map(kept),
        (Change::Update(..) | Change::Delete(_), None) => Err(Refused::NotFound(id.clone())),
        (Change::Update(settings, precondition) | Change::CreateOrUpdate(settings, precondition), Some(current)) => {
            precondition.check(current)?;
            update(current, settings, author, now, fresh).map(kept)
        }
        (Change::Delete(precondition), Some(current)) => {
            precondition.check(current)?;
            delete(current, author)
        }
    }
}

fn kept(identity: DeviceIdentity) -> Outcome {
    Outcome::Kept(Box::new(identity))
}

impl Precondition {
    fn check(&self, current: &DeviceIdentity) -> Result<(), Refused> {
        match self {
            Self::Any => Ok(()),
            Self::ETag(etag) if *etag == current.version.etag() => Ok(()),
            Self::ETag(_) => Err(Refused::ETagMismatch(current.device_id.clone())),
        }
    }
}

fn create(id: &DeviceId, settings: &Settings, author: &Author, now: UnixMillis, fresh: Fresh) -> Result<DeviceIdentity, Refused> {
    let wanted_status = settings.status.unwrap_or(DeviceStatus::Enabled);
    let (managed_by, hold) = match author {
        // Made disabled, it is shut out from the start.
        Author::Policy { name, .. } => (None, (wanted_status == DeviceStatus::Disabled).then(|| Hold { by: name.clone(), since: now })),
        Author::Manifest { claim: Claim::Release, .. } => (None, None),
        Author::Manifest { source, claim: Claim::Own | Claim::Adopt } => (Some(source.clone()), None),
    };
    Ok(DeviceIdentity {
        device_id: id.clone(),
        generation_id: GenerationId(fresh.generation.to_string()),
        version: Version(fresh.version),
        wanted_status,
        status_reason: settings.status_reason.clone().flatten().map(|reason| reason.0),
        status_updated_time: None,
        authentication: authentication_after(None, settings, fresh),
        tags: settings.tags.clone().flatten().map(|tags| tags.0),
        monitoring: settings.monitoring.unwrap_or_default(),
        rotation: rotation_after(id, None, settings, author)?,
        managed_by,
        hold,
        connected_boot: None,
        connection_state_updated_time: None,
        last_activity_time: None,
    })
}

fn update(
    current: &DeviceIdentity,
    settings: &Settings,
    author: &Author,
    now: UnixMillis,
    fresh: Fresh,
) -> Result<DeviceIdentity, Refused> {
    let mut next = current.clone();
    next.version = current.version.next();
    next.managed_by = owner_after(current, author)?;
    if let Some(status) = settings.status {
        set_status(&mut next, status, author, now)?;
    }
    if next.status() != current.status() {
        next.status_updated_time = Some(now);
    }
    set_status_reason(current, &mut next, settings, author);
    next.authentication = authentication_after(Some(&current.authentication), settings, fresh);
    set_tags(&mut next, settings, author)?;
    set_monitoring(&mut next, settings, author)?;
    next.rotation = rotation_after(&current.device_id, current.rotation, settings, author)?;
    Ok(next)
}

/// How the device proves itself after the change. Keys do not outlive the change to certificates: whoever goes back to keys gets new ones.
fn authentication_after(current: Option<&Authentication>, settings: &Settings, fresh: Fresh) -> Authentication {
    let gives_keys = settings.primary_key.is_some() || settings.secondary_key.is_some();
    match (&settings.authentication, current) {
        (Some(AuthenticationWish::Thumbprints(Thumbprints { primary, secondary })), _) => {
            Authentication::SelfSigned { primary: *primary, secondary: *secondary }
        }
        (Some(AuthenticationWish::CertificateAuthority), _) => Authentication::CertificateAuthority,
        (None, Some(by_certificate @ (Authentication::SelfSigned { .. } | Authentication::CertificateAuthority))) if !gives_keys => {
            by_certificate.clone()
        }
        (None | Some(AuthenticationWish::Keys), current) => {
            let (primary, secondary) = match current {
                Some(Authentication::SymmetricKey { primary, secondary }) => (primary.clone(), secondary.clone()),
                _ => (fresh.primary_key, fresh.secondary_key),
            };
            Authentication::SymmetricKey {
                primary: settings.primary_key.clone().unwrap_or(primary),
                secondary: settings.secondary_key.clone().unwrap_or(secondary),
            }
        }
    }
}

/// Who manages the identity after the author's change; refuses a manifest to which it does not belong.
fn owner_after(current: &DeviceIdentity, author: &Author) -> Result<Option<ManagedBy>, Refused> {
    let id = || current.device_id.clone();
    match (author, &current.managed_by) {
        (Author::Policy { release, .. }, owner) => Ok(owner.clone().filter(|_| !release)),
        (Author::Manifest { source, claim: Claim::Adopt }, None) => Ok(Some(source.clone())),
        (Author::Manifest { claim: Claim::Own | Claim::Release, .. }, None) => Err(Refused::Unmanaged(id())),
        (Author::Manifest { source, .. }, Some(owner)) if owner != source => {
            Err(Refused::ManagedByAnother { id: id(), owner: Box::new(owner.clone()), asker: Box::new(source.clone()) })
        }
        (Author::Manifest { claim: Claim::Release, .. }, Some(_)) => Ok(None),
        (Author::Manifest { claim: Claim::Own | Claim::Adopt, .. }, Some(owner)) => Ok(Some(owner.clone())),
    }
}

fn set_status(next: &mut DeviceIdentity, status: DeviceStatus, author: &Author, now: UnixMillis) -> Result<(), Refused> {
    let Author::Policy { name, .. } = author else {
        next.wanted_status = status;
        return Ok(());
    };
    match status {
        // Also when the manifest disables it already: whoever shuts a device out must not be overruled by the manifest's next version.
        DeviceStatus::Disabled => {
            next.hold.get_or_insert_with(|| Hold { by: name.clone(), since: now });
        }
        DeviceStatus::Enabled => {
            let held = next.hold.take().is_some();
            if let (Some(owner), DeviceStatus::Disabled, false) = (&next.managed_by, next.wanted_status, held) {
                return Err(Refused::DisabledByManifest { id: next.device_id.clone(), owner: Box::new(owner.clone()) });
            }
        }
    }
    if next.managed_by.is_none() {
        next.wanted_status = status;
    }
    Ok(())
}

/// A reason belongs to the status it was given for: it goes when the status or the hold changes without a new one. While a device is
/// held the reason is that of whoever holds it.
fn set_status_reason(current: &DeviceIdentity, next: &mut DeviceIdentity, settings: &Settings, author: &Author) {
    let manifests = matches!(author, Author::Manifest { .. });
    match &settings.status_reason {
        Some(reason) if !(manifests && next.hold.is_some()) => next.status_reason = reason.clone().map(|reason| reason.0),
        Some(_) => {}
        None if next.status() != current.status() || next.hold != current.hold => next.status_reason = None,
        None => {}
    }
}

fn set_tags(next: &mut DeviceIdentity, settings: &Settings, author: &Author) -> Result<(), Refused> {
    let Some(tags) = &settings.tags else { return Ok(()) };
    let tags = tags.as_ref().map(|tags| tags.0.clone());
    // Reading an identity and writing it back changes nothing and so takes nothing from the manifest.
    if let (Author::Policy { .. }, Some(owner), false) = (author, &next.managed_by, next.tags == tags) {
        return Err(Refused::TagsOfManifest { id: next.device_id.clone(), owner: Box::new(owner.clone()) });
    }
    next.tags = tags;
    Ok(())
}

/// As with tags.
fn set_monitoring(next: &mut DeviceIdentity, settings: &Settings, author: &Author) -> Result<(), Refused> {
    let Some(monitoring) = settings.monitoring else { return Ok(()) };
    if let (Author::Policy { .. }, Some(owner), false) = (author, &next.managed_by, next.monitoring == monitoring) {
        return Err(Refused::MonitoringOfManifest { id: next.device_id.clone(), owner: Box::new(owner.clone()) });
    }
    next.monitoring = monitoring;
    Ok(())
}

/// What is remembered of the last rotation after the change. Nobody but a manifest counts rotations, but everybody may write back what
/// they have read. It outlives the manifest, so that one which adopts the identity later does not carry the same one out again.
fn rotation_after(id: &DeviceId, current: Option<Rotation>, settings: &Settings, author: &Author) -> Result<Option<Rotation>, Refused> {
    match (settings.rotation, author) {
        (Some(rotation), Author::Policy { .. }) if rotation != current => Err(Refused::RotationOfManifests(id.clone())),
        (Some(rotation), _) => Ok(rotation),
        (None, _) => Ok(current),
    }
}

fn delete(current: &DeviceIdentity, author: &Author) -> Result<Outcome, Refused> {
    let owner = owner_after(current, author)?;
    match (author, owner) {
        (Author::Policy { .. }, Some(owner)) => {
            Err(Refused::DeletedUnderManifest { id: current.device_id.clone(), owner: Box::new(owner) })
        }
        (Author::Policy { .. }, None) => Ok(Outcome::Deleted),
        // The hold outlives the manifest. Were the identity deleted, a manifest made anew would let the device in again.
        (Author::Manifest { .. }, _) if current.hold.is_some() => {
            Ok(kept(DeviceIdentity { managed_by: None, version: current.version.next(), ..current.clone() }))
        }
        (Author::Manifest { .. }, _) => Ok(Outcome::Deleted),
    }
}

#[cfg(test)]
mod tests;
