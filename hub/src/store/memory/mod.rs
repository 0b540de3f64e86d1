//! Stores in memory: the models that the real ones are compared with.

pub mod audit;
pub mod commands;
pub mod connection_log;
pub mod event_log;
pub mod group_positions;
pub mod registry;
