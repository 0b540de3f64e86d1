//! What a list knows of one device, in words.

use super::tags::Tags;
use crate::core::identity::{Authentication, DeviceIdentity, DeviceStatus, ManagedBy};
use crate::core::session::DisconnectReason;
use crate::core::time::UnixMillis;

/// How a device is, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceState {
    /// Had a connection.
    Offline,
    /// Connects again and again.
    Flapping,
    /// May not connect.
    Disabled,
    /// Has never connected.
    Never,
    /// Has a connection.
    Connected,
}

impl DeviceState {
    /// Every one, what wants looking at first.
    pub const ALL: [Self; 5] = [Self::Offline, Self::Flapping, Self::Disabled, Self::Never, Self::Connected];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Flapping => "flapping",
            Self::Disabled => "disabled",
            Self::Never => "never",
            Self::Connected => "connected",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Of a device that may connect or not, that flaps or not, and whose connections went so.
    #[must_use]
    pub fn of(enabled: bool, flapping: bool, seen: Seen) -> Self {
        match (enabled, flapping, seen) {
            (false, ..) => Self::Disabled,
            (true, true, _) => Self::Flapping,
            (true, false, Seen { connected: true, .. }) => Self::Connected,
            (true, false, Seen { since: Some(_), .. }) => Self::Offline,
            (true, false, Seen { since: None, .. }) => Self::Never,
        }
    }
}

/// By what a device proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// Tokens.
    Sas,
    /// A certificate of its own making.
    SelfSigned,
    /// A certificate that an authority has issued.
    CertificateAuthority,
}

impl Credentials {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Sas, Self::SelfSigned, Self::CertificateAuthority];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sas => "sas",
            Self::SelfSigned => "selfSigned",
            Self::CertificateAuthority => "certificateAuthority",
        }
    }

    fn of(authentication: &Authentication) -> Self {
        match authentication {
            Authentication::SymmetricKey { .. } => Self::Sas,
            Authentication::SelfSigned { .. } => Self::SelfSigned,
            Authentication::CertificateAuthority => Self::CertificateAuthority,
        }
    }
}

/// Where an identity comes from, without what only programs need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file in the hub's folder of manifests.
    ManifestFolder,
    /// A `Device` resource: `<namespace>/<name>`, neither of which has a slash.
    Kubernetes(Box<str>),
}

/// What the registry knows of a device that a list shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    pub(super) enabled: bool,
    pub(super) held: bool,
    pub(super) credentials: Credentials,
    pub(super) status_since: Option<UnixMillis>,
    pub(super) source: Option<Source>,
    pub(super) tags: Tags,
}

impl Registered {
    /// Of this identity.
    #[must_use]
    pub fn of(identity: &DeviceIdentity) -> Self {
        Self {
            enabled: identity.status() == DeviceStatus::Enabled,
            held: identity.hold.is_some(),
            credentials: Credentials::of(&identity.authentication),
            status_since: identity.status_updated_time,
            source: identity.managed_by.as_ref().map(|managed_by| match managed_by {
                ManagedBy::ManifestFolder => Source::ManifestFolder,
                ManagedBy::Kubernetes { namespace, name, .. } => Source::Kubernetes(format!("{namespace}/{name}").into()),
            }),
            tags: Tags::of(identity.tags.as_deref()),
        }
    }
}

/// What is known of a device's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether it has one.
    pub connected: bool,
    /// When that changed last; `None`: it never had one.
    pub since: Option<UnixMillis>,
    /// Why the last one ended, as far as that is known.
    pub reason: Option<DisconnectReason>,
    /// When it last connected or sent.
    pub last: Option<UnixMillis>,
}
