//! What every implementation of a seam must do.

pub mod audit;
pub mod commands;
pub mod connection_log;
pub mod event_log;
pub mod group_positions;
pub mod registry;
