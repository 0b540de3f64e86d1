//! The live link to the hub. [`state`] decides; `client` has the sockets and is the only place that knows how the hub is asked.

#[cfg(feature = "page")]
pub(crate) mod client;
pub mod state;
