//! The life of one device connection, in words: who, over what, and why it ended.

use ::core::net::IpAddr;
use std::fmt;

use sha2::{Digest as _, Sha256};

use super::certificate::CertificateFingerprint;
use super::certificate::authorities::Issued;
use super::device_id::DeviceId;
use super::identity::{Authentication, DeviceIdentity, DeviceStatus, GenerationId, SymmetricKey};
use super::time::UnixMillis;

/// A connection of this process: unique together with the hub's boot id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of the hub's process: a number that no other life of the same data has, larger than those of earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub u64);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a device speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// MQTT 3.1.1 over TLS.
    Mqtt,
    /// MQTT 3.1.1 over a WebSocket.
    MqttWs,
    /// AMQP 1.0 over TLS.
    Amqp,
    /// AMQP 1.0 over a WebSocket.
    AmqpWs,
    /// HTTPS.
    Https,
}

impl Protocol {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Mqtt, Self::MqttWs, Self::Amqp, Self::AmqpWs, Self::Https];

    /// Those over which a device is connected, rather than comes and goes with each request.
    pub const CONNECTED: [Self; 4] = [Self::Mqtt, Self::MqttWs, Self::Amqp, Self::AmqpWs];

    /// The name in logs, metrics and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::MqttWs => "mqtt-ws",
            Self::Amqp => "amqp",
            Self::AmqpWs => "amqp-ws",
            Self::Https => "https",
        }
    }
}

/// Why a session ended. Each says it to the one on call; MQTT 3.1.1 has no field that could tell the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The device said DISCONNECT.
    ClientDisconnected,
    /// The connection was closed or reset without DISCONNECT.
    ConnectionLost,
    /// Nothing was heard for one and a half keep-alive periods (MQTT-3.1.2-24).
    KeepAliveTimeout,
    /// The device connected again, and the newer connection won (MQTT-3.1.4-2).
    TakenOver,
    /// The token or the certificate that opened the session ran out.
    TokenExpired,
    /// The identity was disabled.
    DeviceDisabled,
    /// The identity was deleted, or deleted and made again.
    DeviceDeleted,
    /// The key that opened the session was replaced: the device's, or that of the policy which spoke for it.
    KeyReplaced,
    /// The certificate that opened the session is not the identity's any more, or its authority not the hub's.
    CertificateReplaced,
    /// The device broke a rule of the protocol or a limit.
    ProtocolViolation,
    /// The device did not take what was sent to it.
    TooSlow,
    /// Events can't be stored now, so the device is to come again later.
    StoreUnavailable,
    /// The hub is shutting down.
    HubShutdown,
    /// The hub ended without closing the connection (a crash, a power cut); found out when it started again.
    HubRestarted,
}

impl DisconnectReason {
    /// Every one.
    pub const ALL: [Self; 14] = [
        Self::ClientDisconnected,
        Self::ConnectionLost,
        Self::KeepAliveTimeout,
        Self::TakenOver,
        Self::TokenExpired,
        Self::DeviceDisabled,
        Self::DeviceDeleted,
        Self::KeyReplaced,
        Self::CertificateReplaced,
        Self::ProtocolViolation,
        Self::TooSlow,
        Self::StoreUnavailable,
        Self::HubShutdown,
        Self::HubRestarted,
    ];

    /// Whether the device has lost its right, rather than its connection.
    #[must_use]
    pub fn is_revocation(self) -> bool {
        match self {
            Self::TokenExpired | Self::DeviceDisabled | Self::DeviceDeleted | Self::KeyReplaced | Self::CertificateReplaced => true,
            Self::ClientDisconnected
            | Self::ConnectionLost
            | Self::KeepAliveTimeout
            | Self::TakenOver
            | Self::ProtocolViolation
            | Self::TooSlow
            | Self::StoreUnavailable
            | Self::HubShutdown
            | Self::HubRestarted => false,
        }
    }

    /// The name in logs, metrics and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientDisconnected => "ClientDisconnected",
            Self::ConnectionLost => "ConnectionLost",
            Self::KeepAliveTimeout => "KeepAliveTimeout",
            Self::TakenOver => "TakenOver",
            Self::TokenExpired => "TokenExpired",
            Self::DeviceDisabled => "DeviceDisabled",
            Self::DeviceDeleted => "DeviceDeleted",
            Self::KeyReplaced => "KeyReplaced",
            Self::CertificateReplaced => "CertificateReplaced",
            Self::ProtocolViolation => "ProtocolViolation",
            Self::TooSlow => "TooSlow",
            Self::StoreUnavailable => "StoreUnavailable",
            Self::HubShutdown => "HubShutdown",
            Self::HubRestarted => "HubRestarted",
        }
    }
}

/// One connection of a device from its beginning to its end, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// In which life of the hub.
    pub boot: BootId,
    /// Which of that life's.
    pub connection: ConnectionId,
    /// Whose.
    pub device_id: DeviceId,
    /// Over what.
    pub protocol: Protocol,
    /// From where.
    pub address: IpAddr,
    /// When it began.
    pub connected_time: UnixMillis,
    /// When it ended, and why; `None` while it lasts, or while nobody has found out.
    pub disconnected: Option<(UnixMillis, DisconnectReason)>,
}

/// What a device proved when it came in, and until when that holds.
#[derive(Clone, Debug)]
pub struct DeviceRight {
    /// Who it is.
    pub device_id: DeviceId,
    /// Which life of that identity.
    pub generation_id: GenerationId,
    /// What it proved it with.
    pub credential: Credential,
    /// The last moment at which it holds.
    pub good_until: UnixMillis,
}

/// What a device, or somebody who speaks for it, came in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// One of the device's own keys.
    DeviceKey(KeyFingerprint),
    /// The key of a shared access policy with DeviceConnect: a token service.
    Policy {
        /// The policy's name.
        name: String,
        /// Which of its keys.
        key: KeyFingerprint,
    },
    /// A self-signed certificate whose thumbprint the identity has.
    SelfSigned(CertificateFingerprint),
    /// A certificate that an authority of the hub stands behind.
    Issued(Issued),
}

impl Credential {
    /// Azure's `iothub-connection-auth-method`.
    #[must_use]
    pub fn auth_method(&self) -> &'static str {
        match self {
            Self::DeviceKey(_) => r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#,
            Self::Policy { .. } => r#"{"scope":"hub","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#,
            Self::SelfSigned(_) => r#"{"scope":"device","type":"x509Certificate","issuer":"external","acceptingIpFilterRule":null}"#,
            Self::Issued(_) => r#"{"scope":"device","type":"x509CertificateAuthority","issuer":"external","acceptingIpFilterRule":null}"#,
        }
    }
}

/// Tells keys apart without keeping them: the first half of a SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFingerprint([u8; 16]);

impl KeyFingerprint {
    /// Of this key.
    #[must_use]
    pub fn of(key: &SymmetricKey) -> Self {
        let digest = Sha256::digest(key.expose());
        Self(std::array::from_fn(|i| digest[i]))
    }
}

impl DeviceRight {
    /// Whether the right survives what its identity has become; otherwise why not. Whether an authority still stands behind it, or a policy
    /// still has the key, is for those to say who know the hub's.
    pub fn review(&self, identity: Option<&DeviceIdentity>) -> Result<(), DisconnectReason> {
        let identity = identity.ok_or(DisconnectReason::DeviceDeleted)?;
        if identity.generation_id != self.generation_id {
            return Err(DisconnectReason::DeviceDeleted);
        }
        if identity.status() == DeviceStatus::Disabled {
            return Err(DisconnectReason::DeviceDisabled);
        }
        match (&self.credential, &identity.authentication) {
            (Credential::Policy { .. }, _) => Ok(()),
            (Credential::DeviceKey(used), Authentication::SymmetricKey { primary, secondary }) => {
                let known = KeyFingerprint::of(primary) == *used || KeyFingerprint::of(secondary) == *used;
                if known { Ok(()) } else { Err(DisconnectReason::KeyReplaced) }
            }
            (Credential::DeviceKey(_), _) => Err(DisconnectReason::KeyReplaced),
            (Credential::SelfSigned(used), Authentication::SelfSigned { primary, secondary }) => {
                let known = used.is_one_of(primary.as_ref(), secondary.as_ref());
                if known { Ok(()) } else { Err(DisconnectReason::CertificateReplaced) }
            }
            (Credential::Issued(_), Authentication::CertificateAuthority) => Ok(()),
            (Credential::SelfSigned(_) | Credential::Issued(_), _) => Err(DisconnectReason::CertificateReplaced),
        }
    }
}
