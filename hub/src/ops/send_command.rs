//! A back end sends a command: checked, put into its device's queue, durable when this says so.

use std::sync::Arc;

use crate::core::audit::{AuditAction, Deed};
use crate::core::command::draft::{MessageRefused, draft};
use crate::core::command::machine::NoRoom;
use crate::core::command::{Acknowledgement, Command, CommandId};
use crate::core::device_id::DeviceId;
use crate::core::message::Message;
use crate::core::principal::By;
use crate::ops::Hub;
use crate::ops::audit::{record_command_sent, record_refused, to_the_end};
use crate::ops::commands::Asked;
use crate::ops::commands::request::Request;
use crate::store::RegistryError;
use crate::store::commands::CommandsError;

/// What somebody wants to send.
#[derive(Debug)]
pub struct NewCommand<'a> {
    /// The message. Its absolute-expiry-time is the command's own expiry.
    pub message: Message<'a>,
    /// Which receipts are wanted; they need a message-id. Said to the device as the application property `iothub-ack`.
    pub ack: Acknowledgement,
    /// The policy that sends it.
    pub sent_by: String,
    /// Of which command it is a repetition.
    pub again_of: Option<CommandId>,
}

/// Why a command is not taken. Each says what the sender can do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendRefused {
    /// There is no such device.
    #[error("there is no device {0}")]
    UnknownDevice(DeviceId),
    /// The message can't be a command.
    #[error(transparent)]
    Message(#[from] MessageRefused),
    /// The device's queue, or the hub's, is full.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The commands' store does not answer; whether the command was taken is not known.
    #[error(transparent)]
    Store(#[from] CommandsError),
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// A command that lies before the desk, behind all that were put there earlier. Dropped before the desk has decided, it is not taken.
#[derive(Debug)]
pub struct OfferedCommand {
    to: DeviceId,
    answer: Asked<Result<Arc<Command>, SendRefused>>,
}

/// Sends a command to a device, whether it is connected or not, enabled or not.
pub async fn send_command(hub: &Hub, to: DeviceId, command: NewCommand<'_>) -> Result<Command, SendRefused> {
    offer_command(hub, to, command).await?.taken(hub).await
}

/// Puts a command before the desk, for whoever sends the next one before this one is durable: commands for one device keep the order in
/// which they were offered.
pub async fn offer_command(hub: &Hub, to: DeviceId, command: NewCommand<'_>) -> Result<OfferedCommand, SendRefused> {
    let NewCommand { message, ack, sent_by, again_of } = command;
    let identity = hub.identities.get(&*hub.registry, &to).await?.ok_or_else(|| SendRefused::UnknownDevice(to.clone()))?;
    let mut draft = draft(message, ack, sent_by, &identity, hub.now())?;
    draft.again_of = again_of;
    let answer = hub.commands.put(|answer| Request::Send(draft, answer)).await?;
    Ok(OfferedCommand { to, answer })
}

impl OfferedCommand {
    /// The command, once it is durable.
    pub async fn taken(self, hub: &Hub) -> Result<Command, SendRefused> {
        let Self { to, answer } = self;
        let command = answer.wait().await??;
        // Once more, now that whoever deletes the device can see the command: between them no deletion goes unnoticed.
        let identity = hub.identities.get(&*hub.registry, &to).await?;
        if identity.is_none_or(|identity| identity.generation_id != command.generation_id) {
            hub.commands.device_deleted(&to);
            return Err(SendRefused::UnknownDevice(to));
        }
        Ok(Arc::unwrap_or_clone(command))
    }
}

/// The same by the word of somebody whom the audit names. What devices are sent over AMQP is not in it: back ends send more than people do
/// anything, and who sent a command is kept with the command.
pub async fn send_command_by(hub: &Arc<Hub>, by: &By, to: DeviceId, command: NewCommand<'_>) -> Result<Command, SendRefused> {
    // Nobody but the caller has the message; from the desk on it needs nobody.
    let offered = offer_command(hub, to.clone(), command).await;
    let (of, by) = (Arc::clone(hub), by.clone());
    to_the_end(hub, async move {
        let sent = match offered {
            Ok(offered) => offered.taken(&of).await,
            Err(refused) => Err(refused),
        };
        match &sent {
            Ok(command) => record_command_sent(&of, &by, &to, command.id).await,
            Err(refused) => {
                record_refused(&of, &by, Deed::refused(AuditAction::CommandSent, refused.to_string()).to(to.as_str())).await;
            }
        }
        sent
    })
    .await
}
