//! The [`Commands`] in SQL: a group of writes is one transaction of few statements.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction, DbErr, EntityTrait, QueryFilter as _, QueryOrder as _, QueryResult,
    QuerySelect as _, QueryTrait as _, Select, Statement,
};

use super::command::{self, content};
use super::command_group::{Run, runs};
use super::database::{Database, DatabaseError};
use super::rows::{self, pieces};
use super::{command_step, receipt};
use crate::core::command::{Command, CommandId, Outcome, Receipt, ReceiptId, Step};
use crate::core::time::UnixMillis;
use crate::store::commands::{CommandFilter, CommandQuery, CommandWrite, Commands, CommandsError, Pending};

/// Rows read at once when the hub starts: some 3 MB of them.
const LOAD_PAGE_ROWS: u64 = 10_000;

/// Raises the numbers that come next, where they are lower, and takes as many numbers for steps as the run has.
const TAKE_NUMBERS: &str = "UPDATE command_sequence SET \
    next_command = CASE WHEN next_command < $1 THEN $1 ELSE next_command END, \
    next_receipt = CASE WHEN next_receipt < $2 THEN $2 ELSE next_receipt END, \
    next_step = next_step + $3 RETURNING next_step";

/// A command as often as it has steps, each beside it; once beside nothing when it has none. One statement sees one state of the database.
const HISTORY: &str = "SELECT command.*, command_step.command_id AS step_command_id, command_step.step AS step_step, \
    command_step.time AS step_time, command_step.kind AS step_kind, command_step.reason AS step_reason, \
    command_step.protocol AS step_protocol, command_step.connection_id AS step_connection_id, \
    command_step.delivery_count AS step_delivery_count, command_step.sent_again_as AS step_sent_again_as \
    FROM command LEFT JOIN command_step ON command_step.command_id = command.command_id \
    WHERE command.command_id = $1 ORDER BY command_step.step";

const INSERT_CONTENT: &str = "INSERT INTO command_content (command_id, content) VALUES {rows}";

const SET_DELIVERY_COUNT: &str =
    "UPDATE command SET delivery_count = new.column2 FROM (VALUES {rows}) AS new WHERE command.command_id = new.column1";

const END: &str = "UPDATE command SET outcome = new.column2, ended_time = new.column3 FROM (VALUES {rows}) AS new \
    WHERE command.command_id = new.column1 AND command.outcome IS NULL";

/// Of those that have ended so, and not earlier in another way.
const DELETE_CONTENT: &str = "DELETE FROM command_content WHERE command_id IN (SELECT command.command_id FROM (VALUES {rows}) AS new \
    JOIN command ON command.command_id = new.column1 AND command.outcome = new.column2)";

const SET_RECEIPT_DELIVERY_COUNT: &str =
    "UPDATE receipt SET delivery_count = new.column2 FROM (VALUES {rows}) AS new WHERE receipt.receipt_id = new.column1";

const DELETE_RECEIPTS: &str = "DELETE FROM receipt WHERE receipt_id IN (VALUES {rows})";

/// How many damaged rows are remembered as named in the log. Beyond it they are named again with every read: that many are a disaster, and
/// the log may look like one.
const NAMED_ROWS_MAX: usize = 1000;

/// A row's number, by which rows are read page by page, and what it holds.
type Row<T> = (i64, Result<T, CommandsError>);

/// The commands in SQLite or PostgreSQL.
///
/// A row that can't be read is left as it is and passed over, so that one damaged row does not take all others away; whoever asks for that
/// very command hears of it.
#[derive(Clone)]
pub struct SqlCommands {
    database: Database,
    /// Whose damaged rows the log has named.
    named: Arc<Mutex<HashSet<CommandId>>>,
}

impl SqlCommands {
    /// Those in this database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database, named: Arc::default() }
    }
}

impl From<DatabaseError> for CommandsError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Full => Self::Full,
            DatabaseError::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

impl From<DbErr> for CommandsError {
    fn from(error: DbErr) -> Self {
        DatabaseError::from(error).into()
    }
}

#[async_trait]
impl Commands for SqlCommands {
    async fn load(&self) -> Result<Pending, CommandsError> {
        let connection = self.database.readers();
        let numbers = "SELECT next_command, next_receipt FROM command_sequence";
        let numbers = connection.query_one_raw(Statement::from_string(connection.get_database_backend(), numbers)).await?;
        let numbers = numbers.ok_or_else(|| CommandsError::Unavailable("the table command_sequence has no row".to_owned()))?;
        Ok(Pending {
            commands: self.pending_commands().await?,
            receipts: self.receipts().await?,
            next_command: numbers.try_get_by_index::<i64>(0)?.cast_unsigned(),
            next_receipt: numbers.try_get_by_index::<i64>(1)?.cast_unsigned(),
        })
    }

    async fn commit(&self, writes: &[CommandWrite]) -> Result<(), CommandsError> {
        let runs = runs(writes);
        let write = self.database.write(&runs, |transaction, runs| {
            Box::pin(async move {
                for run in runs {
                    write(transaction, run).await?;
                }
                Ok(())
            })
        });
        Ok(write.await?)
    }

    async fn contents(&self, commands: &[CommandId]) -> Result<Vec<(CommandId, Bytes)>, CommandsError> {
        let mut contents = Vec::with_capacity(commands.len());
        for piece in pieces(commands) {
            let ids = piece.iter().map(|id| id.0.cast_signed());
            let rows = content::Entity::find().filter(content::Column::CommandId.is_in(ids)).all(self.database.readers()).await?;
            contents.extend(rows.into_iter().map(|row| (CommandId(row.command_id.cast_unsigned()), row.content.into())));
        }
        Ok(contents)
    }

    async fn command(&self, id: CommandId) -> Result<Option<Command>, CommandsError> {
        let mut rows = self.rows(&command::Entity::find_by_id(id.0.cast_signed()), command::from_row).await?;
        rows.pop().map(|(_, command)| command).transpose()
    }

    async fn history(&self, id: CommandId) -> Result<Option<(Command, Vec<Step>)>, CommandsError> {
        let connection = self.database.readers();
        let statement = Statement::from_sql_and_values(connection.get_database_backend(), HISTORY, [id.0.cast_signed().into()]);
        let rows = connection.query_all_raw(statement).await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let (_, command) = command::from_row(first)?;
        let steps = rows.iter().filter_map(|row| command_step::from_row(row, id).transpose());
        Ok(Some((command?, steps.collect::<Result<_, _>>()?)))
    }

    async fn list(&self, query: &CommandQuery) -> Result<Vec<Command>, CommandsError> {
        let mut rest = query.clone();
        let mut commands = Vec::new();
        loop {
            let rows = self.newest(&rest).await?;
            let is_last = rows.len() < rest.limit;
            rest.before = rows.last().map(|(last, _)| CommandId(last.cast_unsigned()));
            commands.extend(rows.into_iter().filter_map(|(_, command)| self.readable(command)));
            // Others take the places of those that can't be read: a short page is the last one.
            rest.limit = query.limit - commands.len();
            if is_last || rest.limit == 0 {
                return Ok(commands);
            }
        }
    }

    async fn prune(&self, ended_before: UnixMillis, limit: usize) -> Result<usize, CommandsError> {
        let input = (ended_before, limit);
        let prune = self.database.write(&input, |transaction, (ended_before, limit)| Box::pin(prune(transaction, *ended_before, *limit)));
        Ok(prune.await?)
    }
}

impl SqlCommands {
    async fn pending_commands(&self) -> Result<Vec<Command>, CommandsError> {
        use command::Column;
        let all = command::Entity::find().filter(Column::EndedTime.is_null()).order_by_asc(Column::CommandId).limit(LOAD_PAGE_ROWS);
        let mut commands: Vec<Command> = Vec::new();
        let mut page = all.clone();
        loop {
            let rows = self.rows(&page, command::from_row).await?;
            let Some((last, _)) = rows.last() else { return Ok(commands) };
            page = all.clone().filter(Column::CommandId.gt(*last));
            commands.reserve(rows.len());
            commands.extend(rows.into_iter().filter_map(|(_, command)| self.readable(command)));
        }
    }

    async fn receipts(&self) -> Result<Vec<Receipt>, CommandsError> {
        use receipt::Column;
        let all = receipt::Entity::find().order_by_asc(Column::ReceiptId).limit(LOAD_PAGE_ROWS);
        let mut receipts: Vec<Receipt> = Vec::new();
        let mut page = all.clone();
        loop {
            let rows = self.rows(&page, receipt::from_row).await?;
            let Some((last, _)) = rows.last() else { return Ok(receipts) };
            page = all.clone().filter(Column::ReceiptId.gt(*last));
            receipts.reserve(rows.len());
            receipts.extend(rows.into_iter().filter_map(|(_, receipt)| self.readable(receipt)));
        }
    }

    /// The newest rows that the query is about, newest first.
    async fn newest(&self, query: &CommandQuery) -> Result<Vec<Row<Command>>, CommandsError> {
        let mut rows = Vec::new();
        for listing in listings(query) {
            rows.extend(self.rows(&listing, command::from_row).await?);
        }
        // Each listing has at most as many as are wanted, newest first.
        rows.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        rows.truncate(query.limit);
        Ok(rows)
    }

    async fn rows<E: EntityTrait, T>(
        &self,
        select: &Select<E>,
        from_row: impl Fn(&QueryResult) -> Result<Row<T>, DbErr>,
    ) -> Result<Vec<Row<T>>, CommandsError> {
        let connection = self.database.readers();
        let rows = connection.query_all_raw(select.build(connection.get_database_backend())).await?;
        Ok(rows.iter().map(from_row).collect::<Result<_, DbErr>>()?)
    }

    /// What a row holds, or nothing; the log names each damaged one once.
    fn readable<T>(&self, read: Result<T, CommandsError>) -> Option<T> {
        let error = match read {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        if let CommandsError::Damaged { command, reason } = error {
            let mut named = self.named.lock().expect("nothing panics while it holds this lock");
            if !named.contains(&command) {
                tracing::error!(%command, reason, "the row of command {command} is damaged, it is passed over: {reason}");
                if named.len() < NAMED_ROWS_MAX {
                    named.insert(command);
                }
            }
        }
        None
    }
}

/// What must be read for the query, each from one index and newest first.
fn listings(query: &CommandQuery) -> Vec<Select<command::Entity>> {
    use command::Column;
    let mut all = command::Entity::find().order_by_desc(Column::CommandId).limit(query.limit as u64);
    if let Some(before) = query.before {
        all = all.filter(Column::CommandId.lt(before.0.cast_signed()));
    }
    if let Some(device) = &query.device {
        all = all.filter(Column::DeviceId.eq(device.as_str()));
        // A device has few commands, so they are looked through. Nothing here must tempt a database to another index.
        return match &query.state {
            CommandFilter::Any => vec![all],
            CommandFilter::Pending => vec![all.filter(Column::Outcome.is_null())],
            CommandFilter::Ended(outcomes) => vec![all.filter(Column::Outcome.is_in(outcomes.iter().map(|outcome| outcome.name())))],
        };
    }
    match &query.state {
        CommandFilter::Any => vec![all],
        CommandFilter::Pending => vec![all.filter(Column::EndedTime.is_null())],
        // One outcome a listing: no index has several of them by id.
        CommandFilter::Ended(outcomes) => outcomes.iter().map(|outcome| with_outcome(all.clone(), *outcome)).collect(),
    }
}

fn with_outcome(all: Select<command::Entity>, outcome: Outcome) -> Select<command::Entity> {
    let these = all.filter(command::Column::Outcome.eq(outcome.name()));
    match outcome {
        // Nearly all.
        Outcome::Completed => these,
        // In the words of the index `command_dead_lettered`, so that the database sees that it may be used.
        Outcome::Expired | Outcome::DeliveryCountExceeded | Outcome::Rejected | Outcome::Purged | Outcome::DeviceDeleted => {
            these.filter(Expr::cust("outcome <> 'Completed'"))
        }
    }
}

/// Writes a run, kind by kind: [`Run`] says why that may be.
async fn write(transaction: &DatabaseTransaction, run: &Run<'_>) -> Result<(), DbErr> {
    let first_step = take_numbers(transaction, run).await?;
    rows::execute(transaction, command::INSERT, &run.enqueued, |(command, _)| command::inserted(command)).await?;
    let content = |(command, content): &(&Command, &Bytes)| [command.id.0.cast_signed().into(), content.to_vec().into()];
    rows::execute(transaction, INSERT_CONTENT, &run.enqueued, content).await?;

    let counts: Vec<(CommandId, u32)> = run.delivery_counts.iter().map(|(id, count)| (*id, *count)).collect();
    let count = |(id, count): &(CommandId, u32)| [id.0.cast_signed().into(), i64::from(*count).into()];
    rows::execute(transaction, SET_DELIVERY_COUNT, &counts, count).await?;

    write_ends(transaction, run).await?;

    let steps: Vec<(i64, CommandId, &Step)> = (first_step..).zip(&run.steps).map(|(number, (id, step))| (number, *id, *step)).collect();
    rows::execute(transaction, command_step::INSERT, &steps, |(number, id, step)| command_step::inserted(*id, *number, step)).await?;

    write_receipts(transaction, run).await
}

/// Takes the numbers that the run uses up; returns the first one for its steps. The row that it locks makes commits of several hubs wait
/// for each other.
async fn take_numbers(transaction: &DatabaseTransaction, run: &Run<'_>) -> Result<i64, DbErr> {
    let next_command = run.enqueued.iter().map(|(command, _)| command.id.0 + 1).max().unwrap_or(0);
    let next_receipt = run.receipts.values().map(|receipt| receipt.id.0 + 1).max().unwrap_or(0);
    let steps = i64::try_from(run.steps.len()).map_err(|error| DbErr::Custom(error.to_string()))?;
    let values = [next_command.cast_signed().into(), next_receipt.cast_signed().into(), steps.into()];
    let statement = Statement::from_sql_and_values(transaction.get_database_backend(), TAKE_NUMBERS, values);
    let row = transaction.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("the table command_sequence has no row".to_owned()))?;
    Ok(row.try_get_by_index::<i64>(0)? - steps)
}

async fn write_ends(transaction: &DatabaseTransaction, run: &Run<'_>) -> Result<(), DbErr> {
    let ended: Vec<(CommandId, Outcome, UnixMillis)> = run.ended.iter().map(|(id, (outcome, time))| (*id, *outcome, *time)).collect();
    let end = |(id, outcome, time): &(CommandId, Outcome, UnixMillis)| [id.0.cast_signed().into(), outcome.name().into(), time.0.into()];
    rows::execute(transaction, END, &ended, end).await?;
    let without_content: Vec<(CommandId, Outcome)> =
        ended.iter().filter(|(_, outcome, _)| !outcome.keeps_content()).map(|(id, outcome, _)| (*id, *outcome)).collect();
    let content = |(id, outcome): &(CommandId, Outcome)| [id.0.cast_signed().into(), outcome.name().into()];
    rows::execute(transaction, DELETE_CONTENT, &without_content, content).await
}

async fn write_receipts(transaction: &DatabaseTransaction, run: &Run<'_>) -> Result<(), DbErr> {
    let receipts: Vec<&Receipt> = run.receipts.values().copied().collect();
    let mark = |receipt: &&Receipt| [receipt.command.0.cast_signed().into(), receipt.id.0.cast_signed().into()];
    rows::execute(transaction, receipt::MARK, &receipts, mark).await?;
    rows::execute(transaction, receipt::INSERT, &receipts, |receipt| receipt::inserted(receipt)).await?;

    let counts: Vec<(ReceiptId, u32)> = run.receipt_delivery_counts.iter().map(|(id, count)| (*id, *count)).collect();
    let count = |(id, count): &(ReceiptId, u32)| [id.0.cast_signed().into(), i64::from(*count).into()];
    rows::execute(transaction, SET_RECEIPT_DELIVERY_COUNT, &counts, count).await?;

    let removed: Vec<ReceiptId> = run.removed_receipts.iter().copied().collect();
    rows::execute(transaction, DELETE_RECEIPTS, &removed, |id| [id.0.cast_signed().into()]).await
}

async fn prune(transaction: &DatabaseTransaction, ended_before: UnixMillis, limit: usize) -> Result<usize, DbErr> {
    use command::Column;
    let old = command::Entity::find().select_only().column(Column::CommandId).filter(Column::EndedTime.lt(ended_before.0));
    let old = old.order_by_asc(Column::EndedTime).limit(limit as u64);
    let old: Vec<i64> = old.into_tuple().all(transaction).await?;
    for table in ["command_step", "command_content", "command"] {
        let text = format!("DELETE FROM {table} WHERE command_id IN (VALUES {{rows}})");
        rows::execute(transaction, &text, &old, |id| [(*id).into()]).await?;
    }
    Ok(old.len())
}

#[cfg(test)]
mod tests;
