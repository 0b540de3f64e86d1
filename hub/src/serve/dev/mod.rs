//! The laptop mode.

pub mod command;
pub mod document;
pub mod java_trust_store;
pub mod trust;
