//! What happens in a hub, as it is told to those who watch: the nouns of the change stream.

use ::core::net::IpAddr;
use std::sync::Arc;

use super::command::{Command, Receipt, Step};
use super::device_id::DeviceId;
use super::identity::DeviceIdentity;
use super::session::{ConnectionId, DisconnectReason, Protocol};
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
