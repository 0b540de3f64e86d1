//! How AMQP says no: an error condition for every refusal, in the words that Azure's SDKs know.

use fe2o3_amqp_types::definitions::{AmqpError, Error, ErrorCondition, LinkError};
use fe2o3_amqp_types::messaging::{DeliveryState, Rejected};
use fe2o3_amqp_types::primitives::Symbol;

use super::message::NoMessage;
use crate::core::session::DisconnectReason;
use crate::core::telemetry::TelemetryRefused;

/// Whoever asks for what no right on the connection covers. The same for everybody, for a refusal tells the refused nothing.
#[must_use]
pub fn unauthorized() -> Error {
    error(AmqpError::UnauthorizedAccess, "nothing that was brought on this connection allows this")
}

/// The registry can't be asked now.
#[must_use]
pub fn unavailable() -> Error {
    error(AmqpError::InternalError, "the hub can't tell now who this is, try again later")
}

/// An address that leads nowhere.
#[must_use]
pub fn no_such_node() -> Error {
    error(AmqpError::NotFound, "there is nothing at this address")
}

/// A link in the direction that the node does not have.
#[must_use]
pub fn wrong_direction() -> Error {
    error(AmqpError::NotAllowed, "the link goes in the other direction at this address")
}

/// A node of Azure's that this hub does not have.
#[must_use]
pub fn no_node_yet() -> Error {
    error(AmqpError::NotImplemented, "this hub has no such node over AMQP")
}

/// The hub ends. In the words for a link, because everybody comes back after them; after `amqp:connection:forced` Node.js's SDK does not.
#[must_use]
pub fn hub_ends() -> Error {
    error(LinkError::DetachForced, "the hub is shutting down, connect again")
}

/// What a device's links end with when its session has.
#[must_use]
pub fn session_ended(reason: DisconnectReason) -> Error {
    match reason {
        DisconnectReason::TokenExpired
        | DisconnectReason::DeviceDisabled
        | DisconnectReason::DeviceDeleted
        | DisconnectReason::KeyReplaced
        | DisconnectReason::CertificateReplaced => unauthorized(),
        DisconnectReason::TakenOver => error(LinkError::Stolen, "the device has another connection"),
        DisconnectReason::ClientDisconnected
        | DisconnectReason::ConnectionLost
        | DisconnectReason::KeepAliveTimeout
        | DisconnectReason::ProtocolViolation
        | DisconnectReason::TooSlow
        | DisconnectReason::StoreUnavailable
        | DisconnectReason::HubShutdown
        | DisconnectReason::HubRestarted => error(LinkError::DetachForced, "the hub can't serve the device now, try again later"),
    }
}

/// Why a transfer is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It is no message, or no batch of messages.
    #[error(transparent)]
    NoMessage(#[from] NoMessage),
    /// It is one that the hub does not take.
    #[error(transparent)]
    Refused(#[from] TelemetryRefused),
}

impl NotTaken {
    /// The outcome that its sender hears.
    #[must_use]
    pub fn outcome(&self) -> DeliveryState {
        let condition = match self {
            Self::NoMessage(_) => AmqpError::DecodeError.into(),
            Self::Refused(TelemetryRefused::TooLarge(_)) => LinkError::MessageSizeExceeded.into(),
            Self::Refused(
                TelemetryRefused::TooManyProperties(_)
                | TelemetryRefused::TooManyAnnotations(_)
                | TelemetryRefused::NotASymbol(_)
                | TelemetryRefused::InvalidMessageId
                | TelemetryRefused::CorrelationIdTooLong,
            ) => ErrorCondition::Custom(Symbol::from("com.microsoft:argument-error")),
        };
        rejected(error(condition, &self.to_string()))
    }
}

/// Rejected, with the reason.
#[must_use]
pub fn rejected(error: Error) -> DeliveryState {
    DeliveryState::Rejected(Rejected { error: Some(error) })
}

fn error(condition: impl Into<ErrorCondition>, description: &str) -> Error {
    Error::new(condition, description.to_owned(), None)
}
