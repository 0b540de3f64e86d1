//! The live link to the hub. [`state`] decides, [`ask`] says what is wanted; `client` has the socket and is the only place that knows of it.

pub mod ask;
#[cfg(feature = "page")]
pub(crate) mod client;
pub mod state;
