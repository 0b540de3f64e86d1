//! The server's side of AMQP 1.0, sans-I/O: bytes and the time go in, events and bytes come out.
//!
//! ```text
//! socket → Connection::receive → events → whoever owns the nodes → verbs of Connection → Connection::take_output → socket
//! ```
//!
//! [`Connection`] holds sessions, a session holds links, and each layer keeps its own rules: `frame` the framing, `performative` the
//! fields, [`Connection`] the handshake, its limits and time-outs, `session` the windows, `link` the credit. Owns no node and knows no
//! address: every link is offered to the caller, who accepts or refuses it. Payloads pass through unread. Never touches a socket or a clock.
//!
//! Whoever owns the socket goes round: read, say [`Connection::heard`], take events from [`Connection::receive`] and answer them until
//! there are none, write [`Connection::take_output`], and begin again while it gave something, because a full output stops `receive`.
//! [`Connection::deadline`] is a timer for [`Connection::time_passed`]; after [`Event::Closed`] the last output is written and the socket
//! closed. While the caller does not read, because what it took waits for the disk, it says `heard` when the timer fires.
//!
//! Refused here, as `amqp:not-implemented`: resuming a link, transactions and dynamic nodes. Filters are the caller's to grant.

mod codec;
mod connection;
mod delivery;
mod disposition;
mod error;
mod flow;
mod frame;
mod limits;
mod link;
mod output;
mod performative;
mod sasl;
mod serial;
mod session;
mod states;
mod table;
mod terminus;
mod transfer;

pub use codec::{Malformed, check_values};
pub use connection::{Connection, Event, Terms};
pub use delivery::{Delivery, DeliveryTag, Disposition, NotSent, Outgoing};
pub use error::Ending;
pub use limits::Limits;
pub use link::{Acceptance, AttachRequest, LinkId, Role};
pub use performative::{Open, Symbols};
pub use sasl::{SaslInit, SaslOutcome};
pub use session::SessionId;

#[cfg(test)]
pub(super) mod tests;
