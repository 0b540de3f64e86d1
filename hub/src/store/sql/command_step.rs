//! The table `command_step`: the commands' timelines, and the way from a row to a [`Step`] and back.

use sea_orm::entity::prelude::*;
use sea_orm::{FromQueryResult as _, QueryResult};

use crate::core::command::{CommandId, Receiver, Step, StepKind};
use crate::core::session::ConnectionId;
use crate::core::time::UnixMillis;
use crate::store::commands::CommandsError;

use super::words;

const ENQUEUED: &str = "Enqueued";
const DELIVERED: &str = "Delivered";
const RETURNED: &str = "Returned";
const ENDED: &str = "Ended";
const RECEIPT_READ: &str = "ReceiptRead";
const RECEIPT_LOST: &str = "ReceiptLost";
const SENT_AGAIN: &str = "SentAgain";

/// Makes rows of what [`inserted`] gives, except where the command is not kept: nothing would ever forget such a row.
pub(super) const INSERT: &str = "INSERT INTO command_step (command_id, step, time, kind, reason, protocol, connection_id, \
    delivery_count, sent_again_as) SELECT * FROM (VALUES {rows}) AS new \
    WHERE EXISTS (SELECT 1 FROM command WHERE command.command_id = new.column1)";

/// A row: a command's `step` grows from entry to entry, with gaps.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "command_step")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub command_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub step: i64,
    pub time: i64,
    pub kind: String,
    pub reason: Option<String>,
    pub protocol: Option<String>,
    pub connection_id: Option<i64>,
    pub delivery_count: Option<i64>,
    pub sent_again_as: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The values of a new entry, as [`INSERT`] takes them.
pub(super) fn inserted(command: CommandId, number: i64, step: &Step) -> [Value; 9] {
    let (kind, reason) = match &step.kind {
        StepKind::Enqueued => (ENQUEUED, None),
        StepKind::Delivered { .. } => (DELIVERED, None),
        StepKind::Returned(reason) => (RETURNED, Some(reason.name())),
        StepKind::Ended { outcome, .. } => (ENDED, Some(outcome.name())),
        StepKind::ReceiptRead => (RECEIPT_READ, None),
        StepKind::ReceiptLost(loss) => (RECEIPT_LOST, Some(loss.name())),
        StepKind::SentAgain(_) => (SENT_AGAIN, None),
    };
    let (receiver, delivery_count) = match &step.kind {
        StepKind::Delivered { receiver, delivery_count } => (Some(receiver), Some(i64::from(*delivery_count))),
        StepKind::Ended { receiver, .. } => (receiver.as_ref(), None),
        StepKind::Enqueued | StepKind::Returned(_) | StepKind::ReceiptRead | StepKind::ReceiptLost(_) | StepKind::SentAgain(_) => {
            (None, None)
        }
    };
    let sent_again_as = if let StepKind::SentAgain(again) = &step.kind { Some(again.0.cast_signed()) } else { None };
    [
        command.0.cast_signed().into(),
        number.into(),
        step.time.0.into(),
        kind.into(),
        reason.into(),
        receiver.map(|receiver| receiver.protocol.name()).into(),
        receiver.and_then(|receiver| receiver.connection).map(|connection| connection.0.cast_signed()).into(),
        delivery_count.into(),
        sent_again_as.into(),
    ]
}

/// The entry of `command`'s timeline that a row holds in columns whose names begin with `step_`; `None` when these are null.
pub(super) fn from_row(row: &QueryResult, command: CommandId) -> Result<Option<Step>, CommandsError> {
    let damaged = |reason| CommandsError::Damaged { command, reason };
    if row.try_get::<Option<i64>>("step_", "step")?.is_none() {
        return Ok(None);
    }
    let row = Model::from_query_result(row, "step_").map_err(|error| damaged(error.to_string()))?;
    Ok(Some(Step { time: UnixMillis(row.time), kind: kind(&row).map_err(damaged)? }))
}

fn kind(row: &Model) -> Result<StepKind, String> {
    let reason = || row.reason.as_deref().ok_or("a step without its reason");
    Ok(match row.kind.as_str() {
        ENQUEUED => StepKind::Enqueued,
        DELIVERED => {
            let count = row.delivery_count.and_then(|count| count.try_into().ok());
            let (Some(receiver), Some(delivery_count)) = (receiver(row)?, count) else { return Err("half a delivery".to_owned()) };
            StepKind::Delivered { receiver, delivery_count }
        }
        RETURNED => StepKind::Returned(words::return_reason(reason()?)?),
        ENDED => StepKind::Ended { outcome: words::outcome(reason()?)?, receiver: receiver(row)? },
        RECEIPT_READ => StepKind::ReceiptRead,
        RECEIPT_LOST => StepKind::ReceiptLost(words::receipt_loss(reason()?)?),
        SENT_AGAIN => StepKind::SentAgain(CommandId(row.sent_again_as.ok_or("sent again as none")?.cast_unsigned())),
        other => return Err(format!("step {other:?}, which this version does not know")),
    })
}

fn receiver(row: &Model) -> Result<Option<Receiver>, String> {
    let connection = row.connection_id.map(|id| ConnectionId(id.cast_unsigned()));
    row.protocol.as_deref().map(|protocol| Ok(Receiver { protocol: words::protocol(protocol)?, connection })).transpose()
}
