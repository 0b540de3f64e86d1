//! Commands and their timelines as JSON. Ids and other 64-bit numbers are text, because JavaScript's numbers end at 2⁵³.

use serde::Serialize;
use utoipa::ToSchema;

use crate::core::command::{CommandId, Receiver, Step, StepKind};
use crate::ops::read_commands::{CommandHistory, CommandView};

/// A command without its content.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Command)]
pub struct CommandDocument {
    /// A number, as text, that grows in the order of sending.
    id: String,
    /// For whom.
    device_id: String,
    /// For which life of that identity.
    generation_id: String,
    /// The sender's, as text.
    message_id: Option<String>,
    /// `none`, `positive`, `negative` or `full`.
    ack: &'static str,
    /// The policy that sent it.
    sent_by: String,
    /// The command of which it is a repetition.
    again_of: Option<String>,
    /// `Enqueued` or `Invisible` (delivered, and locked); when it has ended `Completed`, `Expired`, `DeliveryCountExceeded`, `Rejected`,
    /// `Purged` or `DeviceDeleted`.
    state: &'static str,
    /// Of its stored form, in bytes.
    size_bytes: u32,
    /// When it was taken.
    #[schema(format = DateTime)]
    enqueued_time: String,
    /// When its time runs out.
    #[schema(format = DateTime)]
    expiry_time: String,
    /// How often it was delivered.
    delivery_count: u32,
    /// Until when its present delivery is locked.
    #[schema(format = DateTime)]
    locked_until: Option<String>,
    /// When it ended.
    #[schema(format = DateTime)]
    ended_time: Option<String>,
    /// Whether it was dead-lettered and its content is still there.
    can_be_sent_again: bool,
}

impl CommandDocument {
    /// Of a command as it is now.
    #[must_use]
    pub fn of(view: &CommandView) -> Self {
        let command = &view.command;
        Self {
            id: command.id.to_string(),
            device_id: command.device_id.to_string(),
            generation_id: command.generation_id.0.clone(),
            message_id: command.message_id.clone(),
            ack: command.ack.name(),
            sent_by: command.sent_by.clone(),
            again_of: command.again_of.map(|id| id.to_string()),
            state: view.state,
            size_bytes: command.size_bytes,
            enqueued_time: command.enqueued_time.to_string(),
            expiry_time: command.expiry_time.to_string(),
            delivery_count: command.delivery_count,
            locked_until: view.locked_until.map(|time| time.to_string()),
            ended_time: command.ended.map(|(_, time)| time.to_string()),
            can_be_sent_again: view.can_be_sent_again,
        }
    }
}

/// One entry of a timeline.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Step)]
pub struct StepDocument {
    /// When.
    #[schema(format = DateTime)]
    time: String,
    /// `Enqueued`, `Delivered`, `Returned` (to its queue), how it ended, `ReceiptRead`, `ReceiptLost` or `SentAgain`.
    step: &'static str,
    /// Over what it was delivered or settled: `mqtt`, `mqtt-ws`, `amqp`, `amqp-ws` or `https`.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    /// On which of the device's connections; HTTPS has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    /// How often it had been delivered then.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_count: Option<u32>,
    /// Why it went back to its queue: `Abandoned`, `LockExpired`, `ConnectionClosed`, `NotSent` or `HubRestarted`. Why nobody took the
    /// receipt: `Expired`, `DeliveryCountExceeded`, `QueueFull` or `DeviceDeleted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The command as which it was sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#as: Option<String>,
}

impl StepDocument {
    /// Of one entry.
    #[must_use]
    pub fn of(step: &Step) -> Self {
        let mut document = Self { time: step.time.to_string(), ..Self::default() };
        match &step.kind {
            StepKind::Enqueued => document.step = "Enqueued",
            StepKind::Delivered { receiver, delivery_count } => {
                document.step = "Delivered";
                document.receiver(receiver);
                document.delivery_count = Some(*delivery_count);
            }
            StepKind::Returned(reason) => {
                document.step = "Returned";
                document.reason = Some(reason.name());
            }
            StepKind::Ended { outcome, receiver } => {
                document.step = outcome.name();
                receiver.iter().for_each(|receiver| document.receiver(receiver));
            }
            StepKind::ReceiptRead => document.step = "ReceiptRead",
            StepKind::ReceiptLost(loss) => {
                document.step = "ReceiptLost";
                document.reason = Some(loss.name());
            }
            StepKind::SentAgain(id) => {
                document.step = "SentAgain";
                document.r#as = Some(id.to_string());
            }
        }
        document
    }

    fn receiver(&mut self, receiver: &Receiver) {
        self.protocol = Some(receiver.protocol.name());
        self.connection = receiver.connection.map(|connection| connection.to_string());
    }
}

/// A command with its timeline.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CommandHistory)]
pub struct HistoryDocument {
    #[serde(flatten)]
    command: CommandDocument,
    /// What happened to it, oldest first.
    steps: Vec<StepDocument>,
}

impl HistoryDocument {
    /// Of a command and all that is known of it.
    #[must_use]
    pub fn of(history: &CommandHistory) -> Self {
        Self { command: CommandDocument::of(&history.view), steps: history.steps.iter().map(StepDocument::of).collect() }
    }
}

/// A page of commands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CommandsPage)]
pub struct CommandsDocument {
    /// The newest first.
    commands: Vec<CommandDocument>,
    /// What `before` has to be for the next page; `null` when this is the last.
    next: Option<String>,
}

impl CommandsDocument {
    /// Of these, and what follows them.
    #[must_use]
    pub fn of(views: &[CommandView], next: Option<CommandId>) -> Self {
        Self { commands: views.iter().map(CommandDocument::of).collect(), next: next.map(|id| id.to_string()) }
    }
}
