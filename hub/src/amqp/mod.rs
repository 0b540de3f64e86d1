//! The AMQP 1.0 front: what devices, back ends and event readers speak on port 5671, and over WebSocket.
//!
//! [`engine`] is the protocol itself, sans-I/O. Above it, as pure: which node an address means ([`address`]), what stands in messages
//! ([`message`]), and how somebody proves who they are ([`sasl`], [`cbs`]). Who may do what is `ops`' to say.

pub mod address;
pub mod cbs;
pub mod engine;
pub mod message;
pub mod sasl;
