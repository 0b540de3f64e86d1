//! What the hub keeps in SQL: SQLite beside the hub, or PostgreSQL, through the same code.
//!
//! sea-orm's entities, statements and errors never leave this folder. Nothing here decides what an identity turns into.

mod database;
mod device;
mod migration;
mod registry;

pub use database::{MakeRoom, OpenError};
pub use registry::SqlRegistry;
