//! From a plan to a request, and from an identity to what the plan looks at. Pure: reads no registry, and writes none.

use jiff::Timestamp;
use mooring_crds::plan::{Changes, Hold, IdentityAuthentication, IdentityView, Owner, RotationStep, Step, WantedAuthentication};
use mooring_crds::{GoDuration, device};
use serde_json::{Map, Value};

use super::records::{RotationRecord, fingerprint};
use crate::core::certificate::{InvalidThumbprint, Thumbprint};
use crate::core::identity::change::{
    AuthenticationWish, Author, Change, Claim, InvalidTags, NoThumbprint, Precondition, Request, Settings, StatusReason,
    StatusReasonTooLong, Tags, Thumbprints,
};
use crate::core::identity::{
    Authentication, DeviceIdentity, DeviceStatus, InvalidOfflineAfter, ManagedBy, Monitoring, OfflineAfter, SymmetricKey,
};

/// A step that this hub can't take.
#[derive(Debug, thiserror::Error)]
pub enum CarryOutError {
    /// Too long.
    #[error(transparent)]
    StatusReason(#[from] StatusReasonTooLong),
    /// Too long.
    #[error(transparent)]
    Tags(#[from] InvalidTags),
    /// A way to authenticate that this hub does not have.
    #[error("without Kubernetes there are no keys of a Secret: leave {0} out, and the hub makes them")]
    Authentication(&'static str),
    /// Not one.
    #[error(transparent)]
    Thumbprint(#[from] InvalidThumbprint),
    /// Too short, or too long.
    #[error(transparent)]
    OfflineAfter(#[from] InvalidOfflineAfter),
    /// None at all.
    #[error(transparent)]
    NoThumbprint(#[from] NoThumbprint),
}

/// What the plan looks at.
#[must_use]
pub fn view(identity: &DeviceIdentity) -> IdentityView {
    let tags = identity.tags.as_deref().and_then(|tags| serde_json::from_str::<Map<String, Value>>(tags).ok());
    IdentityView {
        owner: match &identity.managed_by {
            None => Owner::Nobody,
            Some(ManagedBy::ManifestFolder) => Owner::ThisManifest,
            Some(other @ ManagedBy::Kubernetes { .. }) => Owner::Another(other.to_string()),
        },
        hold: identity.hold.as_ref().map(|hold| Hold { by: hold.by.clone(), since: hold.since.to_string() }),
        enabled: identity.wanted_status == DeviceStatus::Enabled,
        status_reason: identity.status_reason.clone(),
        authentication: match &identity.authentication {
            Authentication::SymmetricKey { .. } => IdentityAuthentication::Keys { as_brought: false },
            Authentication::SelfSigned { primary, secondary } => {
                let text = |slot: &Option<Thumbprint>| slot.map(|thumbprint| thumbprint.to_string().to_ascii_lowercase());
                IdentityAuthentication::Thumbprints { primary: text(primary), secondary: text(secondary) }
            }
            Authentication::CertificateAuthority => IdentityAuthentication::CertificateAuthority,
        },
        tags: tags.unwrap_or_default(),
        monitoring: device::Monitoring {
            offline_after: identity.monitoring.offline_after.map(|after| GoDuration(after.get())),
            per_device_metrics: identity.monitoring.per_device_metrics,
        },
    }
}

/// Leaves out of a step what lets a device in, and what changes how it proves itself: while a file can't be read, that file may be what
/// speaks for the device, and say otherwise. Answers whether anything was left out.
pub fn leave_admission_out(step: &mut Step) -> bool {
    let (Step::Adopt(changes) | Step::Update(changes)) = step else { return false };
    let planned = changes.clone();
    if changes.enabled == Some(true) {
        // The reason belongs to the status.
        (changes.enabled, changes.status_reason) = (None, None);
    }
    (changes.authentication, changes.rotation) = (None, None);
    let is_less = *changes != planned;
    if *step == Step::Update(Changes::default()) {
        *step = Step::Nothing;
    }
    is_less
}

/// What takes the step, in the name of the folder; `None` when there is nothing to do.
pub fn request(
    step: &Step,
    current: Option<&DeviceIdentity>,
    new_key: impl FnMut() -> SymmetricKey,
) -> Result<Option<Request>, CarryOutError> {
    // What was planned holds for what was looked at, and for nothing else.
    let as_seen = current.map_or(Precondition::Any, |identity| Precondition::ETag(identity.version.etag()));
    let (change, claim) = match step {
        Step::Nothing => return Ok(None),
        Step::Create(changes) => (Change::Create(settings(changes, None, new_key)?), Claim::Own),
        Step::Adopt(changes) => (Change::Update(settings(changes, current, new_key)?, as_seen), Claim::Adopt),
        Step::Update(changes) => (Change::Update(settings(changes, current, new_key)?, as_seen), Claim::Own),
        Step::Release => (Change::Update(Settings::default(), as_seen), Claim::Release),
        Step::Delete => (Change::Delete(as_seen), Claim::Own),
    };
    Ok(Some(Request { change, author: Author::Manifest { source: ManagedBy::ManifestFolder, claim } }))
}

fn settings(
    changes: &Changes,
    current: Option<&DeviceIdentity>,
    mut new_key: impl FnMut() -> SymmetricKey,
) -> Result<Settings, CarryOutError> {
    let (primary_key, secondary_key) = match (changes.rotation, current) {
        (Some(RotationStep::Begin(_)), Some(current)) => (Some(new_key()), primary_key(current).cloned()),
        (Some(RotationStep::Finish), Some(_)) => (None, Some(new_key())),
        _ => (None, None),
    };
    let authentication = match &changes.authentication {
        None => None,
        Some(WantedAuthentication::GeneratedKeys) => Some(AuthenticationWish::Keys),
        Some(WantedAuthentication::Thumbprints { primary, secondary }) => {
            let secondary = secondary.as_deref().map(str::parse).transpose()?;
            Some(AuthenticationWish::Thumbprints(Thumbprints::new(Some(primary.parse()?), secondary)?))
        }
        Some(WantedAuthentication::CertificateAuthority) => Some(AuthenticationWish::CertificateAuthority),
        Some(other @ WantedAuthentication::KeysOf(_)) => return Err(CarryOutError::Authentication(other.name())),
    };
    let status = |enabled| if enabled { DeviceStatus::Enabled } else { DeviceStatus::Disabled };
    let reason = |reason: &Option<String>| reason.as_deref().map(StatusReason::parse).transpose();
    let tags = |tags: &Map<String, Value>| {
        let has_some = !tags.is_empty();
        has_some.then(|| Tags::parse(&Value::Object(tags.clone()))).transpose()
    };
    Ok(Settings {
        status: changes.enabled.map(status),
        status_reason: changes.status_reason.as_ref().map(reason).transpose()?,
        authentication,
        primary_key,
        secondary_key,
        tags: changes.tags.as_ref().map(tags).transpose()?,
        monitoring: changes.monitoring.map(monitoring).transpose()?,
        ..Settings::default()
    })
}

fn monitoring(wanted: device::Monitoring) -> Result<Monitoring, InvalidOfflineAfter> {
    let offline_after = wanted.offline_after.map(|after| OfflineAfter::new(after.0)).transpose()?;
    Ok(Monitoring { offline_after, per_device_metrics: wanted.per_device_metrics })
}

/// The key that a device's credentials have.
#[must_use]
pub fn primary_key(identity: &DeviceIdentity) -> Option<&SymmetricKey> {
    match &identity.authentication {
        Authentication::SymmetricKey { primary, .. } => Some(primary),
        Authentication::SelfSigned { .. } | Authentication::CertificateAuthority => None,
    }
}

/// What is written down about a rotation: before the step is taken, and once it is.
#[must_use]
pub fn rotation_records(
    step: &Step,
    current: Option<&DeviceIdentity>,
    known: Option<&RotationRecord>,
    now: Timestamp,
) -> (Option<RotationRecord>, Option<RotationRecord>) {
    let rotation = match step {
        Step::Create(changes) | Step::Adopt(changes) | Step::Update(changes) => changes.rotation,
        Step::Nothing | Step::Release | Step::Delete => None,
    };
    let settled = known.map(|known| RotationRecord { replaces: None, ..known.clone() });
    match (rotation, current.and_then(primary_key)) {
        (Some(RotationStep::Begin(requested_at)), Some(primary)) => {
            let begun = RotationRecord { requested_at, begun_at: Some(now), replaces: None };
            (Some(RotationRecord { replaces: Some(fingerprint(primary)), ..begun.clone() }), Some(begun))
        }
        (Some(RotationStep::Note(requested_at) | RotationStep::Begin(requested_at)), _) => {
            (known.cloned(), Some(RotationRecord { requested_at, begun_at: None, replaces: None }))
        }
        (Some(RotationStep::Finish), _) => (known.cloned(), settled.map(|known| RotationRecord { begun_at: None, ..known })),
        // One that was begun and not carried out, by a hub that crashed, and that nobody asks for any more is forgotten.
        (None, Some(primary)) => (known.cloned(), known.filter(|known| known.seen(primary).is_some()).and(settled)),
        (None, None) => (known.cloned(), settled),
    }
}
