//! HTTPS: the device API, the back ends' REST API and our own.
//!
//! Turns requests into intents, calls one verb of `ops`, turns the answer into a response. Never names a store.

pub mod authorization;
pub mod body;
pub mod changes;
pub mod connection;
pub mod connections;
pub mod device_messaging;
pub mod error;
pub mod events;
pub mod header_case;
pub mod host;
pub mod openapi;
pub mod refusals;
pub mod registry;
pub mod router;
pub mod websocket;
