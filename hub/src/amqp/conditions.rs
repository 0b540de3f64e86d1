//! How AMQP says no: an error condition for every refusal, in the words that Azure's SDKs know.

use fe2o3_amqp_types::definitions::{AmqpError, Error, ErrorCondition, Fields, LinkError};
use fe2o3_amqp_types::messaging::{DeliveryState, Rejected};
use fe2o3_amqp_types::primitives::Symbol;
use serde_amqp::Value;

use super::filter::NoFilter;
use super::message::NoMessage;
use super::sent_command::NoCommand;
use crate::core::command::draft::MessageRefused;
use crate::core::command::machine::NoRoom;
use crate::core::host::first_label;
use crate::core::reader_seats::READERS_MAX;
use crate::core::session::DisconnectReason;
use crate::core::telemetry::TelemetryRefused;
use crate::ops::ReadError;
use crate::ops::consumer_groups::{SeatEnded, SitRefused};
use crate::ops::read_events::ReadEventsError;
use crate::ops::send_command::SendRefused;

/// The port of AMQP over TLS, which clients can't choose.
const PORT: i32 = 5671;

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

/// The hub ends. In the words for a link, because everybody comes back after them; after `amqp:connection:forced` Node.js's SDK does not.
#[must_use]
pub fn hub_ends() -> Error {
    error(LinkError::DetachForced, "the hub is shutting down, connect again")
}

/// Events are read elsewhere: at `host`, under its first label, with what followed `messages/events` behind it. That is how clients find the
/// Event Hub-compatible name of a hub; one of them cuts the address after the port, so its form is fixed.
#[must_use]
pub fn redirect(host: &str, rest: &str) -> Error {
    let address = format!("amqps://{host}:{PORT}/{}{rest}", first_label(host));
    let mut info = Fields::new();
    for (name, value) in [("hostname", host), ("network-host", host), ("address", &address)] {
        info.insert(name.into(), Value::String(value.to_owned()));
    }
    info.insert("port".into(), Value::Int(PORT));
    Error::new(LinkError::Redirect, "events are read under the Event Hub-compatible name".to_owned(), Some(info))
}

/// A partition that is not there.
#[must_use]
pub fn no_such_partition() -> Error {
    error(argument_out_of_range(), "there is no such partition")
}

/// An argument of a link's that can't be understood.
#[must_use]
pub fn argument(what: &str) -> Error {
    error(argument_error(), what)
}

/// Filters that events can't be read by: a selector that says nothing is a mistake of the client's, another kind of filter is not there.
#[must_use]
pub fn no_filter(refusal: &NoFilter) -> Error {
    match refusal {
        NoFilter::Kind => error(AmqpError::NotImplemented, &refusal.to_string()),
        NoFilter::Selector => argument(&refusal.to_string()),
    }
}

/// Why a partition can't be read from where a reader wants to begin. A place behind the end has Azure's condition and its words: whoever
/// looks for them finds what to do.
#[must_use]
pub fn not_read(refusal: &ReadEventsError) -> Error {
    match refusal {
        ReadEventsError::BehindTheEnd { next, .. } => {
            let last = i128::from(next.0) - 1;
            argument(&format!("the supplied offset or sequence number is invalid. The last one in the system is '{last}'"))
        }
        ReadEventsError::TooManyReaders(_) => error(AmqpError::ResourceLimitExceeded, &refusal.to_string()),
        ReadEventsError::Log(ReadError::UnknownPartition(_)) => no_such_partition(),
        ReadEventsError::Log(ReadError::Io(_)) => error(AmqpError::InternalError, "the events can't be read now"),
    }
}

/// Why a reader is not let in. A link that would be stolen at once says so: event processors know that word, and try again later.
#[must_use]
pub fn no_seat(refusal: SitRefused, own: Option<i64>) -> Error {
    let own = own.map_or("without an epoch".to_owned(), |own| format!("with the epoch '{own}'"));
    match refusal {
        SitRefused::UnknownGroup => error(AmqpError::NotFound, "there is no such consumer group"),
        SitRefused::UnknownPartition => no_such_partition(),
        SitRefused::Full => {
            let most = format!("the partition has {READERS_MAX} readers in this consumer group, the most there may be");
            error(AmqpError::ResourceLimitExceeded, &most)
        }
        SitRefused::HigherEpoch { epoch } => {
            let text = format!("a reader with the higher epoch '{epoch}' already exists, so a new one {own} can't be created");
            error(LinkError::Stolen, &text)
        }
        SitRefused::EpochReaderLives => error(
            LinkError::Stolen,
            "a reader with an epoch exists, so one without is not allowed; read with an epoch, or in another group",
        ),
    }
}

/// Why a reader may not go on.
#[must_use]
pub fn seat_ended(why: SeatEnded) -> Error {
    match why {
        SeatEnded::Stolen { epoch } => {
            let text = format!("a new reader with the epoch of '{epoch}' is created, hence the current one is disconnected");
            error(LinkError::Stolen, &text)
        }
        SeatEnded::GroupGone => error(AmqpError::ResourceDeleted, "the consumer group was taken away"),
    }
}

/// A message is larger than a receiver takes.
#[must_use]
pub fn too_large_to_send() -> Error {
    error(LinkError::MessageSizeExceeded, "an event is larger than the link's max-message-size")
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
            Self::NoMessage(NoMessage::TooMany(_)) => LinkError::MessageSizeExceeded.into(),
            Self::NoMessage(NoMessage::Malformed(_) | NoMessage::Sections(_) | NoMessage::Batch) => AmqpError::DecodeError.into(),
            Self::Refused(TelemetryRefused::TooLarge(_)) => LinkError::MessageSizeExceeded.into(),
            Self::Refused(
                TelemetryRefused::TooManyProperties(_)
                | TelemetryRefused::TooManyAnnotations(_)
                | TelemetryRefused::NotASymbol(_)
                | TelemetryRefused::InvalidMessageId
                | TelemetryRefused::CorrelationIdTooLong,
            ) => argument_error(),
        };
        rejected(error(condition, &self.to_string()))
    }
}

/// Why a command is not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommandNotTaken {
    /// It can't be one.
    #[error(transparent)]
    NoCommand(#[from] NoCommand),
    /// It is one that the hub does not take.
    #[error(transparent)]
    Refused(#[from] SendRefused),
}

impl CommandNotTaken {
    /// The outcome that its sender hears.
    #[must_use]
    pub fn outcome(&self) -> DeliveryState {
        let condition = match self {
            Self::NoCommand(NoCommand::NoMessage(_)) => AmqpError::DecodeError.into(),
            Self::NoCommand(NoCommand::Batch) => AmqpError::NotImplemented.into(),
            Self::NoCommand(NoCommand::To | NoCommand::Acknowledgement(_)) => argument_error(),
            Self::Refused(SendRefused::UnknownDevice(_)) => AmqpError::NotFound.into(),
            Self::Refused(SendRefused::NoRoom(NoRoom::QueueFull { .. } | NoRoom::HubFull { .. })) => {
                AmqpError::ResourceLimitExceeded.into()
            }
            Self::Refused(SendRefused::Message(MessageRefused::TooLarge(_) | MessageRefused::Message(TelemetryRefused::TooLarge(_)))) => {
                LinkError::MessageSizeExceeded.into()
            }
            Self::Refused(SendRefused::Message(
                MessageRefused::AlreadyExpired(_)
                | MessageRefused::ExpiryTooFar(_)
                | MessageRefused::PropertyName(_)
                | MessageRefused::PropertyValue(_)
                | MessageRefused::Message(_),
            )) => argument_error(),
            // SDKs take this for HTTP's 503, and try again.
            Self::Refused(SendRefused::Store(_) | SendRefused::Registry(_)) => azure("timeout"),
        };
        rejected(error(condition, &self.to_string()))
    }
}

/// The store does not answer, so there are no receipts to be had.
#[must_use]
pub fn no_receipts_now() -> Error {
    error(LinkError::DetachForced, "the hub can't read receipts now, try again later")
}

/// A single receipt is larger than the receiver takes.
#[must_use]
pub fn receipt_too_large() -> Error {
    error(LinkError::MessageSizeExceeded, "a receipt is larger than the max-message-size of this link")
}

/// One of Azure's own conditions.
fn azure(condition: &str) -> ErrorCondition {
    ErrorCondition::Custom(Symbol::from(format!("com.microsoft:{condition}")))
}

/// Rejected, with the reason.
#[must_use]
pub fn rejected(error: Error) -> DeliveryState {
    DeliveryState::Rejected(Rejected { error: Some(error) })
}

/// Azure's, for what a peer says that can't be.
fn argument_error() -> ErrorCondition {
    ErrorCondition::Custom(Symbol::from("com.microsoft:argument-error"))
}

/// Azure's, for what a peer says that could be and is not.
fn argument_out_of_range() -> ErrorCondition {
    ErrorCondition::Custom(Symbol::from("com.microsoft:argument-out-of-range"))
}

fn error(condition: impl Into<ErrorCondition>, description: &str) -> Error {
    Error::new(condition, description.to_owned(), None)
}
