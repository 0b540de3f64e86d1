//! What a hub is made of: pure functions from what was read to the objects that are applied.

pub mod alerts;
pub mod service_monitor;
