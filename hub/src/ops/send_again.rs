//! A person has a dead-lettered command sent again, as a new command.

use std::sync::Arc;

use crate::core::audit::{AuditAction, Deed};
use crate::core::change::Change;
use crate::core::command::{Command, CommandId, Outcome, Step, StepKind};
use crate::core::message::encoding;
use crate::core::principal::By;
use crate::ops::Hub;
use crate::ops::audit::{record_done, record_refused, to_the_end};
use crate::ops::send_command::{NewCommand, SendRefused, send_command};
use crate::store::commands::CommandsError;

/// Why a command is not sent again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendAgainRefused {
    /// There is no such command, or it is no longer kept.
    #[error("there is no command {0}, or it ended so long ago that it is forgotten")]
    UnknownCommand(CommandId),
    /// It still waits for its device.
    #[error("command {0} has not ended; it can be sent again once it is dead-lettered")]
    NotEnded(CommandId),
    /// It was not dead-lettered, so its content is gone.
    #[error("command {id} ended as {}, and only dead-lettered ones can be sent again", .outcome.name())]
    NotDeadLettered {
        /// Which.
        id: CommandId,
        /// How it ended.
        outcome: Outcome,
    },
    /// What is stored of it can't be read.
    #[error("the content of command {0} is damaged")]
    Damaged(CommandId),
    /// It is not taken.
    #[error(transparent)]
    Refused(#[from] SendRefused),
    /// The commands' store does not answer.
    #[error(transparent)]
    Store(#[from] CommandsError),
}

/// Sends a dead-lettered command again to the device of that name, with its content and the hub's default time to live.
pub async fn send_again(hub: &Arc<Hub>, by: &By, id: CommandId) -> Result<Command, SendAgainRefused> {
    let (of, by) = (Arc::clone(hub), by.clone());
    to_the_end(hub, async move {
        let sent = again(&of, by.principal.name(), id).await;
        match &sent {
            Ok(command) => {
                let deed = Deed::done(AuditAction::CommandSentAgain).to(command.device_id.as_str());
                record_done(&of, &by, deed.saying(format!("command {id} as {}", command.id))).await;
            }
            Err(refused) => {
                let deed = Deed::refused(AuditAction::CommandSentAgain, refused.to_string());
                record_refused(&of, &by, deed.saying(format!("command {id}"))).await;
            }
        }
        sent
    })
    .await
}

async fn again(hub: &Hub, sent_by: &str, id: CommandId) -> Result<Command, SendAgainRefused> {
    let former = hub.command_store.command(id).await?.ok_or(SendAgainRefused::UnknownCommand(id))?;
    let (outcome, _) = former.ended.ok_or(SendAgainRefused::NotEnded(id))?;
    let content = hub.command_store.contents(&[id]).await?.pop();
    let (_, content) = content.filter(|_| outcome.keeps_content()).ok_or(SendAgainRefused::NotDeadLettered { id, outcome })?;
    let mut message = encoding::decode(&content).map_err(|_| SendAgainRefused::Damaged(id))?;
    message.properties.absolute_expiry_time = None;
    let again = NewCommand { message, ack: former.ack, sent_by: sent_by.to_owned(), again_of: Some(id) };
    let command = send_command(hub, former.device_id.clone(), again).await?;
    let step = Step { time: command.enqueued_time, kind: StepKind::SentAgain(command.id) };
    hub.changes.publish(hub.now(), Change::Command(Arc::new(former), step));
    Ok(command)
}
