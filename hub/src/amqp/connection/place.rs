//! What the links that were granted lead to, and what a right has to cover there.

use crate::core::device_id::DeviceId;

/// Where a link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// To `$cbs`.
    PutToken,
    /// From `$cbs`.
    Answers,
    /// A device sends.
    Events(DeviceId),
    /// A device receives its commands.
    Commands {
        /// Which.
        device: DeviceId,
        /// Whether it wants to settle none: what has left is done.
        settled: bool,
        /// Whether it wants its credit used up, or back.
        drain: Drain,
    },
    /// A back end sends commands.
    SentCommands,
    /// A back end receives receipts.
    Feedback {
        /// Whether it wants to settle none.
        settled: bool,
    },
    /// A back end would receive notifications of uploaded files. There are none, for devices can't upload any.
    FileNotifications,
    /// To `$management`.
    ReadProperties,
    /// From `$management`.
    Properties {
        /// What the peer calls its end.
        target: Option<Box<str>>,
    },
    /// A back end reads events.
    Partition,
}

/// How far the drain of a receiver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// It wants none, or has had it.
    No,
    /// It wants one.
    Wanted,
    /// All that waited at the desk has been handed out; what of that has not been sent is sent first.
    HandedOut,
}

impl Place {
    /// Whether it is for tokens and the answers to them.
    pub fn is_of_cbs(&self) -> bool {
        matches!(self, Self::PutToken | Self::Answers)
    }

    /// Whose it is, if it is a device's.
    pub fn device(&self) -> Option<&DeviceId> {
        match self {
            Self::PutToken
            | Self::Answers
            | Self::SentCommands
            | Self::Feedback { .. }
            | Self::FileNotifications
            | Self::ReadProperties
            | Self::Properties { .. }
            | Self::Partition => None,
            Self::Events(device) | Self::Commands { device, .. } => Some(device),
        }
    }

    /// What a right has to cover, as a path in the hub, if it is a back end's; a partition's has been asked for already.
    pub fn resource(&self) -> Option<String> {
        match self {
            Self::PutToken
            | Self::Answers
            | Self::Events(_)
            | Self::Commands { .. }
            | Self::ReadProperties
            | Self::Properties { .. }
            | Self::Partition => None,
            Self::SentCommands => Some("messages/devicebound".to_owned()),
            Self::Feedback { .. } => Some("messages/serviceBound/feedback".to_owned()),
            Self::FileNotifications => Some("messages/serviceBound/filenotifications".to_owned()),
        }
    }
}
