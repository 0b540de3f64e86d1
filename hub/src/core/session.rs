//! The life of one device connection, in words: who, over what, and why it ended.

use std::fmt;

/// A connection of this process: unique together with the hub's boot id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
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
    /// HTTPS.
    Https,
}

impl Protocol {
    /// The name in logs, metrics and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::MqttWs => "mqtt-ws",
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
    /// The token that opened the session ran out.
    TokenExpired,
    /// The identity was disabled.
    DeviceDisabled,
    /// The identity was deleted, or deleted and made again.
    DeviceDeleted,
    /// The key that opened the session was replaced.
    KeyReplaced,
    /// The device broke a rule of the protocol or a limit.
    ProtocolViolation,
    /// The device did not take what was sent to it.
    TooSlow,
    /// Events can't be stored now, so the device is to come again later.
    StoreUnavailable,
    /// The hub is shutting down.
    HubShutdown,
}

impl DisconnectReason {
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
            Self::ProtocolViolation => "ProtocolViolation",
            Self::TooSlow => "TooSlow",
            Self::StoreUnavailable => "StoreUnavailable",
            Self::HubShutdown => "HubShutdown",
        }
    }
}
