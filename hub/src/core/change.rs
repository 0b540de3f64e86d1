//! What happens in a hub, as it is told to those who watch: the nouns of the change stream.

use ::core::net::IpAddr;
use std::fmt;
use std::sync::Arc;

use super::access::Need;
use super::audit::AuditEntry;
use super::command::{Command, Receipt, Step};
use super::device_id::DeviceId;
use super::identity::DeviceIdentity;
use super::session::{BootId, ConnectionId, DisconnectReason, Protocol};
use super::time::UnixMillis;

/// One thing that has happened. Made after it is durable, where it is to be durable at all.
#[derive(Clone, Debug)]
pub enum Change {
    /// An identity was made or changed.
    IdentityWritten(Arc<DeviceIdentity>),
    /// An identity was deleted.
    IdentityDeleted(DeviceId),
    /// A device connected or disconnected.
    Presence(Transition),
    /// Somebody who claimed to be a device was refused.
    Refused {
        /// Who was claimed.
        claimed: Box<str>,
        /// When.
        time: UnixMillis,
        /// Over what.
        protocol: Protocol,
        /// From where.
        address: IpAddr,
        /// The reason's name and its text.
        reason: (&'static str, Box<str>),
    },
    /// Something happened to a command.
    Command(Arc<Command>, Step),
    /// There is a receipt.
    Receipt(Receipt),
    /// A receipt was read or lost, and waits no more.
    ReceiptStep(Receipt, Step),
    /// Something was written into the audit.
    Audited(Arc<AuditEntry>),
}

/// What a change is about: what watchers choose by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// Identities.
    Registry,
    /// Devices' connections.
    Presence,
    /// Those who were not let in.
    Refusal,
    /// Commands.
    Command,
    /// Receipts.
    Receipt,
    /// Who did what.
    Audit,
}

impl ChangeKind {
    /// Every one.
    pub const ALL: [Self; 6] = [Self::Registry, Self::Presence, Self::Refusal, Self::Command, Self::Receipt, Self::Audit];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Presence => "presence",
            Self::Refusal => "refusal",
            Self::Command => "command",
            Self::Receipt => "receipt",
            Self::Audit => "audit",
        }
    }

    /// What somebody needs who watches it.
    #[must_use]
    pub fn need(self) -> Need {
        match self {
            Self::Registry | Self::Presence | Self::Refusal | Self::Audit => Need::SeeFleet,
            Self::Command | Self::Receipt => Need::SeeCommands,
        }
    }
}

/// A word that is no kind of change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of change; there are registry, presence, refusal, command, receipt and audit")]
pub struct UnknownChangeKind(pub String);

/// The names on the wire, without case.
impl std::str::FromStr for ChangeKind {
    type Err = UnknownChangeKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| UnknownChangeKind(text.to_owned()))
    }
}

impl Change {
    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        match self {
            Self::IdentityWritten(_) | Self::IdentityDeleted(_) => ChangeKind::Registry,
            Self::Presence(_) => ChangeKind::Presence,
            Self::Refused { .. } => ChangeKind::Refusal,
            Self::Command(..) => ChangeKind::Command,
            Self::Receipt(_) | Self::ReceiptStep(..) => ChangeKind::Receipt,
            Self::Audited(_) => ChangeKind::Audit,
        }
    }

    /// Whose it is. Of a refusal: whom the refused one said to be. Of the audit: nobody's, if no device is in it.
    #[must_use]
    pub fn device(&self) -> &str {
        match self {
            Self::IdentityWritten(identity) => identity.device_id.as_str(),
            Self::IdentityDeleted(id) => id.as_str(),
            Self::Presence(transition) => transition.device_id.as_str(),
            Self::Refused { claimed, .. } => claimed,
            Self::Command(command, _) => command.device_id.as_str(),
            Self::Receipt(receipt) | Self::ReceiptStep(receipt, _) => receipt.device_id.as_str(),
            Self::Audited(entry) => entry.device.as_deref().unwrap_or_default(),
        }
    }
}

/// Where a watcher stands in a hub's changes: before the one with this number, in this life of the hub. Opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangePosition {
    /// In which life of the hub.
    pub boot: BootId,
    /// The number of the next change.
    pub next: u64,
}

/// As `<boot>-<number>`.
impl fmt::Display for ChangePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.boot, self.next)
    }
}

/// A text that no hub gave out as a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is a text that this stream gave out, such as 3-1042")]
pub struct InvalidChangePosition;

impl std::str::FromStr for ChangePosition {
    type Err = InvalidChangePosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| InvalidChangePosition);
        let (boot, next) = text.split_once('-').ok_or(InvalidChangePosition)?;
        Ok(Self { boot: BootId(number(boot)?), next: number(next)? })
    }
}

/// A device's connection began or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Whose.
    pub device_id: DeviceId,
    /// Which connection.
    pub connection: ConnectionId,
    /// Over what.
    pub protocol: Protocol,
    /// From where.
    pub address: IpAddr,
    /// When.
    pub time: UnixMillis,
    /// Why it ended; `None` when it began.
    pub disconnected: Option<DisconnectReason>,
    /// Whether the device has a connection now: a connection that was taken over leaves its device connected.
    pub connected: bool,
}
