//! The MQTT 3.1.1 front: what devices speak on port 8883, and over WebSocket.
//!
//! socket → [`connection`] → [`codec`] → [`connect`] or [`session`] → [`topic`] → `ops`. All but [`connection`] are sans-I/O.

pub mod acknowledgements;
pub mod codec;
pub mod connect;
pub mod connection;
pub mod deliveries;
pub mod packet;
pub mod session;
pub mod topic;

pub use connection::{Stranger, serve_connection};

/// What client and server agree on in `Sec-WebSocket-Protocol` (MQTT-6.0.0-3).
pub const WEB_SOCKET_SUBPROTOCOL: &str = "mqtt";
