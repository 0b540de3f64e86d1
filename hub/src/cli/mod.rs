//! The commands that people type.

pub mod client;
pub mod connection_string;
pub mod device;
pub mod events;
pub mod token;
