//! HTTPS: the device API, the back ends' REST API and our own.
//!
//! Turns requests into intents, calls one verb of `ops`, turns the answer into a response. Never names a store.

pub mod audit;
pub mod authorization;
pub mod body;
pub mod changes;
#[cfg(test)]
pub(crate) mod client;
pub mod commands;
pub mod connection;
pub mod connections;
pub mod consumer_groups;
pub mod dashboard;
pub mod device_bound;
pub mod device_messaging;
pub mod devices;
pub mod error;
pub mod events;
pub mod feedback;
pub mod fleet;
pub mod header_case;
pub mod host;
pub mod hub;
pub mod live;
pub mod message_headers;
pub mod openapi;
pub mod path_case;
pub mod rates;
pub mod refusals;
pub mod registry;
pub mod router;
pub mod session;
pub mod timeline;
pub mod websocket;
