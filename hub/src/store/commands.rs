//! The seam behind which commands, their timelines and receipts are kept.
//!
//! Knows no rules: what a command turns into is decided by `core::command` and written here.

use async_trait::async_trait;
use bytes::Bytes;

pub use crate::core::command::write::{CommandWrite, Pending};
use crate::core::command::{Command, CommandId, Outcome, Step};
use crate::core::device_id::DeviceId;
use crate::core::time::UnixMillis;

/// Commands and receipts. Linearizable: a read that starts after a commit has returned sees it.
#[async_trait]
pub trait Commands: Send + Sync + 'static {
    /// What a starting hub must know: everything that has not ended.
    async fn load(&self) -> Result<Pending, CommandsError>;

    /// Makes all writes, in order, in one durable transaction: all of it is on disk when this returns, or nothing ever.
    /// After [`CommandsError`] nobody knows which: [`Self::load`] tells.
    async fn commit(&self, writes: &[CommandWrite]) -> Result<(), CommandsError>;

    /// The contents of those commands that are still kept, in any order.
    async fn contents(&self, commands: &[CommandId]) -> Result<Vec<(CommandId, Bytes)>, CommandsError>;

    /// One command, whether it has ended or not; `None` when it never was, or is no longer kept.
    async fn command(&self, id: CommandId) -> Result<Option<Command>, CommandsError>;

    /// The same with its timeline, oldest first: both as one commit left them, so that they never contradict each other.
    async fn history(&self, id: CommandId) -> Result<Option<(Command, Vec<Step>)>, CommandsError>;

    /// Commands, newest first.
    async fn list(&self, query: &CommandQuery) -> Result<Vec<Command>, CommandsError>;

    /// Forgets at most `limit` commands that ended before `ended_before`, with their timelines; says how many it forgot.
    async fn prune(&self, ended_before: UnixMillis, limit: usize) -> Result<usize, CommandsError>;
}

/// Which commands to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandQuery {
    /// Only this device's.
    pub device: Option<DeviceId>,
    /// Only those in this state.
    pub state: CommandFilter,
    /// Only those with a smaller id: where the page before ended.
    pub before: Option<CommandId>,
    /// At most this many, 1 to 1000.
    pub limit: usize,
}

/// A choice among states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CommandFilter {
    /// All.
    #[default]
    Any,
    /// Those that have not ended.
    Pending,
    /// Those that ended so.
    Ended(Vec<Outcome>),
}

/// Commands can't be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommandsError {
    /// No space, even after the ballast was let go.
    #[error("the disk for commands is full")]
    Full,
    /// Anything else, in the store's words.
    #[error("the store of commands does not answer: {0}")]
    Unavailable(String),
    /// A row that this version can't read.
    #[error("the row of command {command} is damaged: {reason}")]
    Damaged {
        /// Which command's.
        command: CommandId,
        /// What is wrong with it.
        reason: String,
    },
}
