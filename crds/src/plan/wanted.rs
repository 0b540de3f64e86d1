//! What a manifest wants, checked: the rules of the schema once more, for those who read manifests where no API server has.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::device::{Adoption, Authentication, CredentialsFormat, DeletionPolicy, Device, DeviceSpec, KeysReference, Monitoring};
use crate::duration::GoDuration;

/// The longest device id, in bytes.
const DEVICE_ID_MAX_BYTES: usize = 128;

/// The longest status reason, in characters.
const STATUS_REASON_MAX_CHARACTERS: usize = 128;

/// The most bytes of tags, as compact JSON.
pub const TAGS_MAX_BYTES: usize = 8 * 1024;

/// After how long at least a device can count as missing.
const OFFLINE_AFTER_MIN: GoDuration = GoDuration(Duration::from_secs(10));

/// After how long at most: 90 days.
const OFFLINE_AFTER_MAX: GoDuration = GoDuration::hours(2160);

/// What a manifest wants of a hub.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// For which device.
    pub device_id: String,
    /// Whether it may connect.
    pub enabled: bool,
    /// Why.
    pub status_reason: Option<String>,
    /// How it proves itself.
    pub authentication: WantedAuthentication,
    /// Its tags; empty when it has none.
    pub tags: Map<String, Value>,
    /// What is watched about it; the default when nothing is.
    pub monitoring: Monitoring,
    /// New keys.
    pub rotation: Option<WantedRotation>,
    /// Whether an identity that is there is taken over.
    pub adopt: bool,
    /// What becomes of the identity when the manifest goes.
    pub deletion_policy: DeletionPolicy,
    /// What the credentials look like.
    pub format: CredentialsFormat,
}

/// How a device is to prove itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedAuthentication {
    /// By keys that the hub generates.
    GeneratedKeys,
    /// By keys that a Secret brings.
    KeysOf(KeysReference),
    /// By a self-signed certificate; thumbprints in lower case.
    Thumbprints {
        /// Slot one.
        primary: String,
        /// Slot two.
        secondary: Option<String>,
    },
    /// By a certificate that a CA has signed.
    CertificateAuthority,
}

/// New keys are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedRotation {
    /// When.
    pub requested_at: Timestamp,
    /// How long the key before stays good.
    pub overlap: SignedDuration,
}

/// A manifest that nobody can carry out. Displays what to do, with the field's path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Nothing says which device.
    #[error("metadata.name is missing")]
    NoName,
    /// Not a device id.
    #[error("{field}: {id:?} is no device id: 1 to 128 ASCII letters, digits and -.+%_#*?!(),:;=@$'")]
    DeviceId {
        /// Where it comes from.
        field: &'static str,
        /// What it is.
        id: String,
    },
    /// More than one of the kinds of authentication.
    #[error("spec.authentication: only one of symmetricKey, x509Thumbprint and x509CA, not {0} of them")]
    Authentication(usize),
    /// Not a thumbprint.
    #[error("spec.authentication.x509Thumbprint: {0:?} is no thumbprint: 40 (SHA-1) or 64 (SHA-256) hexadecimal digits")]
    Thumbprint(String),
    /// Keys that can't be rotated.
    #[error("spec.rotation: only keys that the hub has generated can be rotated; change them where they come from, and leave it out")]
    Rotation,
    /// Too long.
    #[error("spec.statusReason: at most {STATUS_REASON_MAX_CHARACTERS} characters, this one has {0}")]
    StatusReason(usize),
    /// Too long.
    #[error("spec.tags: at most {TAGS_MAX_BYTES} bytes as compact JSON, these have {0}")]
    Tags(usize),
    /// Too short, or too long.
    #[error("spec.monitoring.offlineAfter: from 10s to 2160h, this one is {0}")]
    OfflineAfter(GoDuration),
    /// What only Kubernetes can do.
    #[error("{0} needs Kubernetes: there are no Secrets here; leave it out, and the hub generates the keys")]
    NeedsKubernetes(&'static str),
}

/// Whether the text is 1 to 128 of the characters that device ids may have.
#[must_use]
pub fn is_device_id(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-.+%_#*?!(),:;=@$'".contains(c);
    (1..=DEVICE_ID_MAX_BYTES).contains(&text.len()) && text.chars().all(allowed)
}

impl Wanted {
    /// The one check.
    pub fn of(device: &Device) -> Result<Self, Invalid> {
        let spec = &device.spec;
        let authentication = authentication(&spec.authentication)?;
        let rotation = match (&spec.rotation, &authentication) {
            (None, _) => None,
            (Some(asked), WantedAuthentication::GeneratedKeys) => Some(WantedRotation {
                requested_at: asked.requested_at,
                overlap: SignedDuration::try_from(asked.overlap.0).unwrap_or(SignedDuration::MAX),
            }),
            (Some(_), _) => return Err(Invalid::Rotation),
        };
        let reason = spec.status_reason.clone().filter(|reason| !reason.is_empty());
        let reason_length = reason.as_ref().map_or(0, |reason| reason.chars().count());
        if reason_length > STATUS_REASON_MAX_CHARACTERS {
            return Err(Invalid::StatusReason(reason_length));
        }
        let tags = spec.tags.clone().unwrap_or_default();
        match Value::Object(tags.clone()).to_string().len() {
            length if length > TAGS_MAX_BYTES => return Err(Invalid::Tags(length)),
            _ => {}
        }
        let monitoring = spec.monitoring.unwrap_or_default();
        if let Some(after) = monitoring.offline_after.filter(|after| !(OFFLINE_AFTER_MIN..=OFFLINE_AFTER_MAX).contains(after)) {
            return Err(Invalid::OfflineAfter(after));
        }
        Ok(Self {
            device_id: device_id(device, spec)?,
            enabled: spec.enabled,
            status_reason: reason,
            authentication,
            tags,
            monitoring,
            rotation,
            adopt: spec.adoption == Adoption::Adopt,
            deletion_policy: spec.deletion_policy,
            format: spec.credentials.as_ref().map(|credentials| credentials.format).unwrap_or_default(),
        })
    }

    /// Refuses what only Kubernetes can do.
    pub fn without_kubernetes(self) -> Result<Self, Invalid> {
        match self.authentication.keys_reference() {
            Some(_) => Err(Invalid::NeedsKubernetes("spec.authentication.symmetricKey.secretRef")),
            None => Ok(self),
        }
    }
}

fn device_id(device: &Device, spec: &DeviceSpec) -> Result<String, Invalid> {
    let (field, id) = match (&spec.device_id, &device.metadata.name) {
        (Some(id), _) => ("spec.deviceId", id),
        (None, Some(name)) => ("metadata.name", name),
        (None, None) => return Err(Invalid::NoName),
    };
    if is_device_id(id) { Ok(id.clone()) } else { Err(Invalid::DeviceId { field, id: id.chars().take(DEVICE_ID_MAX_BYTES).collect() }) }
}

fn authentication(given: &Authentication) -> Result<WantedAuthentication, Invalid> {
    match (&given.symmetric_key, &given.x509_thumbprint, &given.x509_ca) {
        (None, None, None) => Ok(WantedAuthentication::GeneratedKeys),
        (Some(keys), None, None) => Ok(keys.secret_ref.clone().map_or(WantedAuthentication::GeneratedKeys, WantedAuthentication::KeysOf)),
        (None, Some(thumbprints), None) => Ok(WantedAuthentication::Thumbprints {
            primary: thumbprint(&thumbprints.primary)?,
            secondary: thumbprints.secondary.as_deref().map(thumbprint).transpose()?,
        }),
        (None, None, Some(_)) => Ok(WantedAuthentication::CertificateAuthority),
        (keys, thumbprints, ca) => {
            let given = [keys.is_some(), thumbprints.is_some(), ca.is_some()];
            Err(Invalid::Authentication(given.into_iter().filter(|given| *given).count()))
        }
    }
}

fn thumbprint(text: &str) -> Result<String, Invalid> {
    let is_one = [40, 64].contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if is_one { Ok(text.to_ascii_lowercase()) } else { Err(Invalid::Thumbprint(text.chars().take(80).collect())) }
}
