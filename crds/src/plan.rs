//! The pure plan: what a manifest wants, what the registry has, and so what is to be done.
//!
//! What the manifest says (enabled, reason, kind of authentication, thumbprints, tags, keys it brings) is the manifest's; generated keys
//! are the registry's, and change by rotation alone. A hold always wins. An identity that is there already is adopted only when the
//! manifest says so, and one that is another's is never touched. Carried out and planned again, a plan is [`Step::Nothing`].
//!
//! Knows no store, no clock and no secret: whoever carries out manifests compares the keys, and generates those that are needed.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::device::{DeletionPolicy, KeysReference, Monitoring};

mod claim;
mod wanted;

pub use claim::{Claim, first_claim};
pub use wanted::{Invalid, TAGS_MAX_BYTES, Wanted, WantedAuthentication, WantedRotation, is_device_id};

/// An identity as the registry has it, seen by one manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityView {
    /// Whose it is.
    pub owner: Owner,
    /// Who shut it out.
    pub hold: Option<Hold>,
    /// Whether its manifest, or without one its last writer, wants it enabled; a hold doesn't show here.
    pub enabled: bool,
    /// Why.
    pub status_reason: Option<String>,
    /// How it proves itself.
    pub authentication: IdentityAuthentication,
    /// Its tags; empty when it has none.
    pub tags: Map<String, Value>,
    /// What is watched about it; the default when nothing is.
    pub monitoring: Monitoring,
}

/// Whose an identity is, seen by one manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// No manifest's.
    Nobody,
    /// This manifest's.
    ThisManifest,
    /// That of a Device of the same namespace and name that was deleted, and made again, while nobody could tell the hub. It has no other
    /// heir: this manifest takes it over without being told to adopt. It is released without a manifest's name, and then adopted.
    Predecessor,
    /// Another one's, named for people.
    Another(String),
}

/// A person or a back end has shut the device out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The shared access policy that they used.
    pub by: String,
    /// When, for people.
    pub since: String,
}

/// How an identity proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityAuthentication {
    /// By one of two keys.
    Keys {
        /// Whether they are those that the manifest brings; of no account when it brings none.
        as_brought: bool,
    },
    /// By a self-signed certificate.
    Thumbprints {
        /// Slot one.
        primary: Option<String>,
        /// Slot two.
        secondary: Option<String>,
    },
    /// By a certificate that a CA has signed.
    CertificateAuthority,
}

/// The last rotation that was carried out for a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationSeen {
    /// For which `requestedAt`.
    pub requested_at: Timestamp,
    /// When the new key came; `None` once the key before is gone.
    pub begun_at: Option<Timestamp>,
}

/// What is to be done, and how the manifest stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is to be done.
    pub step: Step,
    /// How it stands once that is done.
    pub standing: Standing,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// All is as the manifest wants it.
    Nothing,
    /// Make the identity; keys that are not brought are generated.
    Create(Changes),
    /// Make it this manifest's, and change it.
    Adopt(Changes),
    /// Change it.
    Update(Changes),
    /// Leave it, as nobody's.
    Release,
    /// Remove it.
    Delete,
}

/// What changes; `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Whether it may connect.
    pub enabled: Option<bool>,
    /// Why; `Some(None)` takes the reason away.
    pub status_reason: Option<Option<String>>,
    /// How it proves itself.
    pub authentication: Option<WantedAuthentication>,
    /// Tags; empty ones take them away.
    pub tags: Option<Map<String, Value>>,
    /// What is watched about it; the default takes that away.
    pub monitoring: Option<Monitoring>,
    /// Its keys' rotation.
    pub rotation: Option<RotationStep>,
}

/// What becomes of generated keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationStep {
    /// The keys are new anyway: remember that this was asked for.
    Note(Timestamp),
    /// The primary key becomes the secondary one, and a new one takes its place; this was asked for.
    Begin(Timestamp),
    /// The overlap is over: a new secondary key takes the place of the old one.
    Finish,
}

/// How a manifest stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As it wants.
    InHub,
    /// As it wants, but for the hold.
    Held(Hold),
    /// Not at all.
    Refused(Refusal),
}

/// Why a manifest is not carried out. Displays what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another manifest is for the same device, and came first.
    #[error("{0} is for the same device and comes first; give one of them another deviceId, or delete it")]
    DeviceIdConflict(String),
    /// The identity is another manifest's.
    #[error("the hub's identity of this name belongs to {0}; release it there, or give the device another deviceId")]
    ManagedByAnother(String),
    /// There is one, nobody's.
    #[error("the hub has an identity of this name that no manifest manages; to take it over, say adoption: Adopt")]
    Exists,
    /// The manifest can't be carried out by anybody.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl Refusal {
    /// The word for programs: a condition's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::DeviceIdConflict(_) => "DeviceIdConflict",
            Self::ManagedByAnother(_) => "ManagedByAnother",
            Self::Exists => "NotAdopted",
            Self::Invalid(_) => "Invalid",
        }
    }
}

impl Plan {
    fn refused(refusal: Refusal) -> Self {
        Self { step: Step::Nothing, standing: Standing::Refused(refusal) }
    }
}

/// What is to be done for a manifest that is there.
#[must_use]
pub fn plan(wanted: &Wanted, identity: Option<&IdentityView>, seen: Option<RotationSeen>, now: Timestamp) -> Plan {
    let Some(identity) = identity else {
        return Plan { step: Step::Create(creation(wanted)), standing: Standing::InHub };
    };
    let changes = changes(wanted, identity, seen, now);
    let step = match &identity.owner {
        Owner::Another(owner) => return Plan::refused(Refusal::ManagedByAnother(owner.clone())),
        Owner::Nobody if !wanted.adopt => return Plan::refused(Refusal::Exists),
        Owner::Nobody | Owner::Predecessor => Step::Adopt(changes),
        Owner::ThisManifest if changes == Changes::default() => Step::Nothing,
        Owner::ThisManifest => Step::Update(changes),
    };
    Plan { step, standing: identity.hold.clone().map_or(Standing::InHub, Standing::Held) }
}

/// What is to be done for a manifest that is gone, whose identity may still be there.
#[must_use]
pub fn plan_deletion(policy: DeletionPolicy, identity: Option<&IdentityView>) -> Step {
    match identity {
        Some(IdentityView { owner: Owner::ThisManifest | Owner::Predecessor, hold, .. }) => match (policy, hold) {
            (DeletionPolicy::Delete, None) => Step::Delete,
            // The hold outlives the manifest, or a manifest made anew would let the device in again.
            (DeletionPolicy::Delete, Some(_)) | (DeletionPolicy::Retain, _) => Step::Release,
        },
        _ => Step::Nothing,
    }
}

fn creation(wanted: &Wanted) -> Changes {
    Changes {
        enabled: Some(wanted.enabled),
        status_reason: Some(wanted.status_reason.clone()),
        authentication: Some(wanted.authentication.clone()),
        tags: Some(wanted.tags.clone()),
        monitoring: Some(wanted.monitoring),
        rotation: wanted.rotation.map(|rotation| RotationStep::Note(rotation.requested_at)),
    }
}

fn changes(wanted: &Wanted, identity: &IdentityView, seen: Option<RotationSeen>, now: Timestamp) -> Changes {
    let enabled = (wanted.enabled != identity.enabled).then_some(wanted.enabled);
    // A reason belongs to the status that it was given for, so it goes with it; while a device is held the reason is the holder's.
    let says_why = identity.hold.is_none() && (enabled.is_some() || wanted.status_reason != identity.status_reason);
    let fits = authentication_fits(&wanted.authentication, &identity.authentication);
    Changes {
        enabled,
        status_reason: says_why.then(|| wanted.status_reason.clone()),
        authentication: (!fits).then(|| wanted.authentication.clone()),
        tags: (wanted.tags != identity.tags).then(|| wanted.tags.clone()),
        monitoring: (wanted.monitoring != identity.monitoring).then_some(wanted.monitoring),
        rotation: rotation_step(wanted, fits, seen, now),
    }
}

fn authentication_fits(wanted: &WantedAuthentication, identity: &IdentityAuthentication) -> bool {
    let same = |ours: Option<&String>, theirs: &Option<String>| match (ours, theirs) {
        (Some(ours), Some(theirs)) => ours.eq_ignore_ascii_case(theirs),
        (ours, theirs) => ours.is_none() && theirs.is_none(),
    };
    match (wanted, identity) {
        (WantedAuthentication::GeneratedKeys, IdentityAuthentication::Keys { .. })
        | (WantedAuthentication::CertificateAuthority, IdentityAuthentication::CertificateAuthority) => true,
        (WantedAuthentication::KeysOf(_), IdentityAuthentication::Keys { as_brought }) => *as_brought,
        (
            WantedAuthentication::Thumbprints { primary, secondary },
            IdentityAuthentication::Thumbprints { primary: has_primary, secondary: has_secondary },
        ) => same(Some(primary), has_primary) && same(secondary.as_ref(), has_secondary),
        _ => false,
    }
}

/// `has_keys`: whether the identity has generated keys already, if it is to have any.
fn rotation_step(wanted: &Wanted, has_keys: bool, seen: Option<RotationSeen>, now: Timestamp) -> Option<RotationStep> {
    if wanted.authentication != WantedAuthentication::GeneratedKeys {
        return None;
    }
    let asked = wanted.rotation.filter(|asked| seen.is_none_or(|seen| asked.requested_at > seen.requested_at));
    match (asked, seen.and_then(|seen| seen.begun_at)) {
        (Some(asked), _) if has_keys => Some(RotationStep::Begin(asked.requested_at)),
        (Some(asked), _) => Some(RotationStep::Note(asked.requested_at)),
        // Without a rotation in the manifest any more, the one that was begun is finished at once: nobody says how long to wait.
        (None, Some(begun_at)) => {
            let overlap = wanted.rotation.map_or(SignedDuration::ZERO, |rotation| rotation.overlap);
            let over = begun_at.checked_add(overlap).is_ok_and(|end| end <= now);
            over.then_some(RotationStep::Finish)
        }
        (None, None) => None,
    }
}

impl WantedAuthentication {
    /// The Secret that brings the keys.
    #[must_use]
    pub fn keys_reference(&self) -> Option<&KeysReference> {
        match self {
            Self::KeysOf(reference) => Some(reference),
            Self::GeneratedKeys | Self::Thumbprints { .. } | Self::CertificateAuthority => None,
        }
    }

    /// Its name in a manifest.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::GeneratedKeys | Self::KeysOf(_) => "symmetricKey",
            Self::Thumbprints { .. } => "x509Thumbprint",
            Self::CertificateAuthority => "x509CA",
        }
    }
}

#[cfg(test)]
mod tests;
