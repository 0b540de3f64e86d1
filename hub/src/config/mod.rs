//! What an operator can choose: one table of settings, read from a file, the environment and flags.
//!
//! Owns the settings' names, ranges and defaults, and the words for what is wrong with them. Never opens a port, a store or a key file.
//! The table is in [`settings`], and the file's form, the flags, the environment and docs/configuration.md all come from it.

pub mod host_name;
mod named;
pub mod page;
pub mod settings;
pub mod source;
pub mod value;

pub use host_name::HostName;
pub use settings::{Setting, Settings};
pub use source::{Config, ConfigError, Override, Source};
