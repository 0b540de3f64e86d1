//! The AMQP 1.0 front: what devices, back ends and event readers speak on port 5671, and over WebSocket.
//!
//! [`engine`] is the protocol itself, sans-I/O. What nodes there are, who may use them and what a message means is not its business.

pub mod engine;
