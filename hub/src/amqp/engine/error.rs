//! What goes wrong in the protocol, how far it reaches, and what the peer is told of it.

use fe2o3_amqp_types::definitions::{AmqpError, ConnectionError, Error, ErrorCondition, LinkError, SessionError};

use super::codec::Malformed;
use super::frame::BadFrame;
use super::limits::DESCRIPTION_MAX_BYTES;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// The peer took its leave, perhaps with an error.
    ByPeer(Option<Error>),
    /// The hub closed it, and the peer has answered or has not in time.
    ByHub,
    /// SASL ended with an outcome other than ok, which has been sent.
    Refused,
    /// The peer began with another protocol, or another version; it has been told which one is spoken here.
    ForeignProtocol,
    /// The peer broke a rule or took too much; it has been told so, if it could be.
    Failed(Error),
    /// Nothing has come for too long.
    Silent,
    /// Nobody has proved who they are in time.
    Late,
}

/// A rule that was broken, with the smallest thing that has to end for it.
#[derive(Debug)]
pub enum Fault {
    /// The whole connection.
    Connection(Error),
    /// The session that the frame belongs to.
    Session(Error),
    /// The link with this handle in that session.
    Link(u32, Error),
}

impl Fault {
    pub fn connection(condition: impl Into<ErrorCondition>, description: &str) -> Self {
        Self::Connection(error(condition, description))
    }

    pub fn session(condition: impl Into<ErrorCondition>, description: &str) -> Self {
        Self::Session(error(condition, description))
    }

    pub fn link(handle: u32, condition: impl Into<ErrorCondition>, description: &str) -> Self {
        Self::Link(handle, error(condition, description))
    }

    pub fn unattached(handle: u32) -> Self {
        Self::session(SessionError::UnattachedHandle, &format!("no link is attached to handle {handle}"))
    }

    pub fn too_many(what: &str) -> Self {
        Self::connection(AmqpError::ResourceLimitExceeded, &format!("too many {what} on one connection"))
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::connection(AmqpError::DecodeError, &malformed.to_string())
    }
}

impl From<BadFrame> for Fault {
    fn from(bad: BadFrame) -> Self {
        Self::connection(ConnectionError::FramingError, &bad.to_string())
    }
}

/// An error of AMQP's with a sentence.
pub fn error(condition: impl Into<ErrorCondition>, description: &str) -> Error {
    Error::new(condition, description.to_owned(), None)
}

/// `error` with a description that fits into any frame.
pub fn cut(mut error: Error) -> Error {
    if let Some(description) = &mut error.description {
        description.truncate(description.floor_char_boundary(DESCRIPTION_MAX_BYTES));
    }
    error
}

pub fn not_implemented(what: &str) -> Error {
    error(AmqpError::NotImplemented, &format!("this hub has no {what}"))
}

pub fn stolen() -> Error {
    error(LinkError::Stolen, "another link of this name was attached")
}
