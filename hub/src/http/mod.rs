//! HTTPS: the device API, the back ends' REST API and our own.
//!
//! Turns requests into intents, calls one verb of `ops`, turns the answer into a response. Never names a store.

pub mod authorization;
pub mod body;
pub mod error;
pub mod registry;
pub mod router;
