//! What has become of commands, for people and back ends: of all of them, as long as they are kept.

use std::sync::Arc;

use bytes::Bytes;

use crate::core::command::{Command, CommandId, Step};
use crate::core::principal::By;
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::ops::audit::record_bodies_read;
use crate::store::audit::AuditLogError;
use crate::store::commands::CommandsError;
pub use crate::store::commands::{CommandFilter, CommandQuery};

/// A command and the state it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandView {
    /// The command.
    pub command: Command,
    /// `Enqueued`, `Invisible`, or the name of its outcome.
    pub state: &'static str,
    /// Until when it is locked.
    pub locked_until: Option<UnixMillis>,
    /// Whether its content is kept, so that [`send_again`](crate::ops::send_again::send_again) can send it.
    pub can_be_sent_again: bool,
}

/// A command with all that has happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandHistory {
    /// The command.
    pub view: CommandView,
    /// Its timeline, oldest first.
    pub steps: Vec<Step>,
}

/// Commands, newest first.
pub async fn list_commands(hub: &Arc<Hub>, query: CommandQuery) -> Result<Vec<CommandView>, CommandsError> {
    let commands = hub.command_store.list(&query).await?;
    Ok(commands.into_iter().map(|command| view(hub, command)).collect())
}

/// One command with its timeline; `None` when it never was, or is no longer kept.
pub async fn get_command(hub: &Arc<Hub>, id: CommandId) -> Result<Option<CommandHistory>, CommandsError> {
    let history = hub.command_store.history(id).await?;
    Ok(history.map(|(command, steps)| CommandHistory { view: view(hub, command), steps }))
}

/// A command's message in its stored form, for somebody, which is written down first; `None` when it is not kept (any more).
pub async fn read_command_content(hub: &Arc<Hub>, by: &By, id: CommandId) -> Result<Option<Bytes>, ReadContentError> {
    let Some(command) = hub.command_store.command(id).await? else { return Ok(None) };
    let Some((_, content)) = hub.command_store.contents(&[id]).await?.pop() else { return Ok(None) };
    record_bodies_read(hub, by, Some(&command.device_id)).await?;
    Ok(Some(content))
}

/// A command's content can't be shown.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadContentError {
    /// The commands' store does not answer.
    #[error(transparent)]
    Store(#[from] CommandsError),
    /// The audit does not answer.
    #[error(transparent)]
    Audit(#[from] AuditLogError),
}

/// What is stored, and the lock, which is not: it counts when what is stored counts its delivery. So a command that is `Invisible` has
/// `Delivered` as its last step, and one whose latest delivery is not durable yet is `Enqueued`, as its timeline says.
fn view(hub: &Hub, command: Command) -> CommandView {
    let Some((outcome, _)) = command.ended else {
        let locked_until = hub.commands.machine().stored_locked_until(&command);
        let state = if locked_until.is_some() { "Invisible" } else { "Enqueued" };
        return CommandView { command, state, locked_until, can_be_sent_again: false };
    };
    CommandView { command, state: outcome.name(), locked_until: None, can_be_sent_again: outcome.keeps_content() }
}
