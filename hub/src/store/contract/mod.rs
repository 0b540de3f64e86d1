//! What every implementation of a seam must do.

pub mod event_log;
pub mod registry;
