//! The AMQP 1.0 front: what devices, back ends and event readers speak on port 5671, and over WebSocket.
//!
//! socket → [`connection`] → [`engine`] → events → [`connection`] → `ops`. [`engine`] is the protocol itself, sans-I/O. Beside it, as
//! pure: which node an address means ([`address`]), what stands in messages ([`message`]), in those that back ends send
//! ([`sent_command`]) and receive ([`feedback`]), how somebody proves who they are ([`sasl`],
//! [`cbs`]), which transfers are owed an answer ([`receipts`]), and how a refusal is said ([`conditions`]). Who may do what is `ops`' to
//! say.

pub mod address;
pub mod cbs;
pub mod conditions;
pub mod connection;
pub mod engine;
pub mod feedback;
pub mod filter;
pub mod management;
pub mod message;
pub mod receipts;
pub mod sasl;
pub mod sent_command;

pub use connection::{Stranger, serve_connection};

/// What client and server agree on in `Sec-WebSocket-Protocol`, as Azure's clients spell it.
pub const WEB_SOCKET_SUBPROTOCOL: &str = "AMQPWSB10";
