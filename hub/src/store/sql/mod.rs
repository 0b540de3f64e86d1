//! What the hub keeps in SQL: SQLite beside the hub, or PostgreSQL, through the same code.
//!
//! sea-orm's entities, statements and errors never leave this folder. Nothing here decides what an identity or a command turns into.

mod audit;
mod audit_log;
mod command;
mod command_group;
mod command_step;
mod commands;
mod connection;
mod connection_log;
mod database;
mod device;
mod group_positions;
mod migration;
mod receipt;
mod registry;
mod rows;
mod words;

#[cfg(test)]
mod tests;

pub use audit_log::SqlAuditLog;
pub use commands::SqlCommands;
pub use connection_log::SqlConnectionLog;
pub use database::{Database, MakeRoom, OpenError};
pub use group_positions::SqlGroupPositions;
pub use registry::SqlRegistry;
