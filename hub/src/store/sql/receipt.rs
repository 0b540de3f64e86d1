//! The table `receipt`: the feedback queue, and the way from a row to a [`Receipt`] and back.

use sea_orm::entity::prelude::*;
use sea_orm::{FromQueryResult as _, QueryResult};

use crate::core::command::{CommandId, Receipt, ReceiptId};
use crate::core::device_id::DeviceId;
use crate::core::identity::GenerationId;
use crate::core::time::UnixMillis;
use crate::store::commands::CommandsError;

use super::words;

/// Notes at the commands that they have a receipt now, where they have had none.
pub(super) const MARK: &str = "UPDATE command SET receipt_id = new.column2 FROM (VALUES {rows}) AS new \
    WHERE command.command_id = new.column1 AND command.receipt_id IS NULL";

/// Makes rows of what [`inserted`] gives, except where [`MARK`] has noted another receipt.
pub(super) const INSERT: &str = "INSERT INTO receipt (receipt_id, command_id, original_message_id, device_id, generation_id, outcome, \
    time, expiry_time, delivery_count) SELECT * FROM (VALUES {rows}) AS new \
    WHERE NOT EXISTS (SELECT 1 FROM command WHERE command.command_id = new.column2 AND command.receipt_id <> new.column1)";

/// A row. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "receipt")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub receipt_id: i64,
    pub command_id: i64,
    pub original_message_id: String,
    pub device_id: String,
    pub generation_id: String,
    pub outcome: String,
    pub time: i64,
    pub expiry_time: i64,
    pub delivery_count: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The values of a new receipt, as [`INSERT`] takes them.
pub(super) fn inserted(receipt: &Receipt) -> [Value; 9] {
    [
        receipt.id.0.cast_signed().into(),
        receipt.command.0.cast_signed().into(),
        receipt.original_message_id.as_str().into(),
        receipt.device_id.as_str().into(),
        receipt.generation_id.0.as_str().into(),
        receipt.outcome.name().into(),
        receipt.time.0.into(),
        receipt.expiry_time.0.into(),
        i64::from(receipt.delivery_count).into(),
    ]
}

/// A row's number, and the receipt that it holds. Every mistake in a row is its own, so that the others can be read.
pub(super) fn from_row(row: &QueryResult) -> Result<(i64, Result<Receipt, CommandsError>), DbErr> {
    let number: i64 = row.try_get("", "receipt_id")?;
    let command = CommandId(row.try_get("", "command_id").map(i64::cast_unsigned).unwrap_or_default());
    let read = Model::from_query_result(row, "").map_err(|error| error.to_string()).and_then(|row| parse(row, command));
    Ok((number, read.map_err(|reason| CommandsError::Damaged { command, reason: format!("its receipt {number} has {reason}") })))
}

fn parse(row: Model, command: CommandId) -> Result<Receipt, String> {
    if row.receipt_id < 0 || row.command_id < 0 {
        return Err("a negative id".to_owned());
    }
    Ok(Receipt {
        id: ReceiptId(row.receipt_id.cast_unsigned()),
        command,
        original_message_id: row.original_message_id,
        device_id: DeviceId::parse(&row.device_id).map_err(|error| error.to_string())?,
        generation_id: GenerationId(row.generation_id),
        outcome: words::outcome(&row.outcome)?,
        time: UnixMillis(row.time),
        expiry_time: UnixMillis(row.expiry_time),
        delivery_count: row.delivery_count.try_into().map_err(|_| format!("delivery count {}", row.delivery_count))?,
    })
}
