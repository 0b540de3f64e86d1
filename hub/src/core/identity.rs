//! A device's identity as the registry keeps it. The rules that turn one into the next are in [`change`].

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretSlice};

use super::certificate::Thumbprint;
use super::device_id::DeviceId;
use super::session::BootId;
use super::time::UnixMillis;

pub mod change;
pub mod monitoring;
#[cfg(test)]
pub(crate) mod sample;

pub use monitoring::{InvalidOfflineAfter, Monitoring, OfflineAfter};

/// A device's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// Its name.
    pub device_id: DeviceId,
    /// Differs between two identities of the same name that lived one after the other.
    pub generation_id: GenerationId,
    /// Grows with every change; what clients see of it is [`Version::etag`].
    pub version: Version,
    /// Whether the manifest, or for an unmanaged identity the last writer, wants it enabled. What counts is [`Self::status`].
    pub wanted_status: DeviceStatus,
    /// Why it is enabled or disabled, at most 128 characters.
    pub status_reason: Option<String>,
    /// When [`Self::status`] last changed; `None` when it never did.
    pub status_updated_time: Option<UnixMillis>,
    /// How it proves itself.
    pub authentication: Authentication,
    /// A JSON object of at most 8 KiB, as text. Ours for now, later the twin's.
    pub tags: Option<String>,
    /// What is watched about it.
    pub monitoring: Monitoring,
    /// The last rotation of its keys that a manifest carried out; `None` when none was.
    pub rotation: Option<Rotation>,
    /// Which manifest it comes from; `None` when it was made by hand or by a back end.
    pub managed_by: Option<ManagedBy>,
    /// Set by a person or a back end who shut the device out; wins over every manifest until lifted the same way.
    pub hold: Option<Hold>,
    /// In which life of the hub it was connected, as last flushed; `None` when it was not. An earlier life's connection ended with it.
    pub connected_boot: Option<BootId>,
    /// When it last connected or disconnected, as last flushed.
    pub connection_state_updated_time: Option<UnixMillis>,
    /// When it last connected or sent, as last flushed (at most once a minute, and on disconnect).
    pub last_activity_time: Option<UnixMillis>,
}

impl DeviceIdentity {
    /// Whether it may connect: wanted, and not held.
    #[must_use]
    pub fn status(&self) -> DeviceStatus {
        if self.hold.is_some() { DeviceStatus::Disabled } else { self.wanted_status }
    }
}

/// Enabled or disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceStatus {
    /// May connect.
    Enabled,
    /// May not.
    Disabled,
}

/// Server-made text, unique per life of an identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GenerationId(pub String);

/// Counts the changes of an identity, from a random start, so that an ETag of an earlier life never fits a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub i64);

impl Version {
    /// The ETag: Base64 of the decimal version, as Azure's look.
    #[must_use]
    pub fn etag(self) -> String {
        BASE64.encode(self.0.to_string())
    }

    /// The version after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// How a device proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By tokens signed with one of two keys.
    SymmetricKey {
        /// Slot one.
        primary: SymmetricKey,
        /// Slot two, so that keys can be replaced one at a time.
        secondary: SymmetricKey,
    },
    /// By a certificate of its own making, whose thumbprint is one of two. At least one is there.
    SelfSigned {
        /// Slot one.
        primary: Option<Thumbprint>,
        /// Slot two, so that certificates can be replaced one at a time.
        secondary: Option<Thumbprint>,
    },
    /// By a certificate that an authority of the hub has issued to its id.
    CertificateAuthority,
}

/// 16 to 64 secret bytes. Compared in constant time, never shown by `Debug`.
#[derive(Clone)]
pub struct SymmetricKey(SecretSlice<u8>);

/// A text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not Base64 with padding.
    #[error("a symmetric key is Base64 text")]
    NotBase64,
    /// Shorter than 16 or longer than 64 bytes.
    #[error("a symmetric key has 16 to 64 bytes, this one has {0}")]
    Length(usize),
}

impl SymmetricKey {
    /// From Base64.
    pub fn from_base64(text: &str) -> Result<Self, InvalidKey> {
        Self::from_bytes(BASE64.decode(text).map_err(|_| InvalidKey::NotBase64)?)
    }

    /// From the bytes themselves.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, InvalidKey> {
        if (16..=64).contains(&bytes.len()) { Ok(Self(bytes.into())) } else { Err(InvalidKey::Length(bytes.len())) }
    }

    /// The bytes. Only for signing, storing, and showing to those who may see it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// As Base64. Only for storing, and showing to those who may see it.
    #[must_use]
    pub fn expose_base64(&self) -> String {
        BASE64.encode(self.expose())
    }
}

impl PartialEq for SymmetricKey {
    fn eq(&self, other: &Self) -> bool {
        bool::from(subtle::ConstantTimeEq::ct_eq(self.expose(), other.expose()))
    }
}

impl Eq for SymmetricKey {}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKey(secret)")
    }
}

/// Which manifest an identity comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManagedBy {
    /// The hub's own manifest folder.
    ManifestFolder,
    /// A `Device` resource.
    Kubernetes {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its uid, so that a resource of the same name made later is somebody else.
        uid: String,
    },
}

/// As `kubernetes/<namespace>/<name>/<uid>` or `manifest-folder`.
impl fmt::Display for ManagedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ManifestFolder => f.write_str("manifest-folder"),
            Self::Kubernetes { namespace, name, uid } => write!(f, "kubernetes/{namespace}/{name}/{uid}"),
        }
    }
}

/// A text that names no manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a manifest is named kubernetes/<namespace>/<name>/<uid>")]
pub struct InvalidManifest;

/// Reads `kubernetes/<namespace>/<name>/<uid>`. The manifest folder is the hub's own, and nobody outside speaks for it.
impl std::str::FromStr for ManagedBy {
    type Err = InvalidManifest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A DNS subdomain (RFC 1123), which bounds uids too.
        let is_name = |part: &str| (1..=253).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
        match text.split('/').collect::<Vec<_>>()[..] {
            ["kubernetes", namespace, name, uid] if [namespace, name, uid].into_iter().all(is_name) => {
                Ok(Self::Kubernetes { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() })
            }
            _ => Err(InvalidManifest),
        }
    }
}

/// A rotation of keys that was carried out for a manifest. Times are as exact as the manifest says them, because it is compared with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// When it was asked for, which is what tells it from the one before.
    pub requested_at: Timestamp,
    /// When the new key came; `None` once the key before is gone.
    pub begun_at: Option<Timestamp>,
}

/// A disable made by a person or a back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The shared access policy that made it.
    pub by: String,
    /// When.
    pub since: UnixMillis,
}
