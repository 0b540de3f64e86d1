//! The tables `command` and `command_content`: a row per command, and the way from it to a [`Command`] and back.

use sea_orm::entity::prelude::*;
use sea_orm::{FromQueryResult as _, QueryResult};

use crate::core::command::{Command, CommandId};
use crate::core::device_id::DeviceId;
use crate::core::identity::GenerationId;
use crate::core::time::UnixMillis;
use crate::store::commands::CommandsError;

use super::words;

/// Makes rows of what [`inserted`] gives.
pub(super) const INSERT: &str = "INSERT INTO command (command_id, device_id, generation_id, message_id, ack, sent_by, again_of, \
    size_bytes, enqueued_time, expiry_time, delivery_count) VALUES {rows}";

/// A row. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "command")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub command_id: i64,
    pub device_id: String,
    pub generation_id: String,
    pub message_id: Option<String>,
    pub ack: String,
    pub sent_by: String,
    pub again_of: Option<i64>,
    pub size_bytes: i64,
    pub enqueued_time: i64,
    pub expiry_time: i64,
    pub delivery_count: i64,
    pub outcome: Option<String>,
    pub ended_time: Option<i64>,
    /// The receipt that it has had. There is never another one.
    pub receipt_id: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What is sent to the device, for as long as somebody may want it.
pub mod content {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "command_content")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub command_id: i64,
        pub content: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The values of a new command, as [`INSERT`] takes them.
pub(super) fn inserted(command: &Command) -> [Value; 11] {
    [
        command.id.0.cast_signed().into(),
        command.device_id.as_str().into(),
        command.generation_id.0.as_str().into(),
        command.message_id.clone().into(),
        command.ack.name().into(),
        command.sent_by.as_str().into(),
        command.again_of.map(|id| id.0.cast_signed()).into(),
        i64::from(command.size_bytes).into(),
        command.enqueued_time.0.into(),
        command.expiry_time.0.into(),
        i64::from(command.delivery_count).into(),
    ]
}

/// A row's number, and the command that it holds. Every mistake in a row is its own, so that the others can be read.
pub(super) fn from_row(row: &QueryResult) -> Result<(i64, Result<Command, CommandsError>), DbErr> {
    let number: i64 = row.try_get("", "command_id")?;
    let command = CommandId(number.cast_unsigned());
    let read = Model::from_query_result(row, "").map_err(|error| error.to_string()).and_then(|row| parse(row, command));
    Ok((number, read.map_err(|reason| CommandsError::Damaged { command, reason })))
}

fn parse(row: Model, id: CommandId) -> Result<Command, String> {
    if row.command_id < 0 {
        return Err("a negative id".to_owned());
    }
    let ended = match (row.outcome, row.ended_time) {
        (Some(outcome), Some(time)) => Some((words::outcome(&outcome)?, UnixMillis(time))),
        (None, None) => None,
        _ => return Err("half an end".to_owned()),
    };
    Ok(Command {
        id,
        device_id: DeviceId::parse(&row.device_id).map_err(|error| error.to_string())?,
        generation_id: GenerationId(row.generation_id),
        message_id: row.message_id,
        ack: row.ack.parse().map_err(|_| format!("acknowledgement {:?}", row.ack))?,
        sent_by: row.sent_by,
        again_of: row.again_of.map(|id| CommandId(id.cast_unsigned())),
        size_bytes: row.size_bytes.try_into().map_err(|_| format!("size {}", row.size_bytes))?,
        enqueued_time: UnixMillis(row.enqueued_time),
        expiry_time: UnixMillis(row.expiry_time),
        delivery_count: row.delivery_count.try_into().map_err(|_| format!("delivery count {}", row.delivery_count))?,
        ended,
    })
}
