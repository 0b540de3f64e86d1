//! Commands in memory: the model.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;

use crate::core::command::{Command, CommandId, Outcome, Receipt, ReceiptId, Step};
use crate::core::time::UnixMillis;
use crate::store::commands::{CommandFilter, CommandQuery, CommandWrite, Commands, CommandsError, Pending};

/// Commands as plain values. What was committed survives as long as the model; a "restart" is a second hub on it.
#[derive(Debug, Default)]
pub struct MemoryCommands {
    tables: Mutex<Tables>,
    /// Whoever commits goes through it.
    door: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Tables {
    commands: BTreeMap<CommandId, Row>,
    receipts: BTreeMap<ReceiptId, Receipt>,
    next_command: u64,
    next_receipt: u64,
    failing: bool,
    reads_failing: bool,
    unreadable: Option<CommandId>,
}

#[derive(Debug)]
struct Row {
    command: Command,
    content: Option<Bytes>,
    steps: Vec<Step>,
    has_had_receipt: bool,
}

impl MemoryCommands {
    /// From now on every call fails, or works again.
    pub fn set_failing(&self, failing: bool) {
        self.locked().failing = failing;
    }

    /// From now on nothing that is asked of single commands is answered, or is again; the rest works.
    pub fn set_reads_failing(&self, failing: bool) {
        self.locked().reads_failing = failing;
    }

    /// From now on no read of contents succeeds that this command's is among.
    pub fn set_unreadable(&self, command: CommandId) {
        self.locked().unreadable = Some(command);
    }

    /// Nothing is committed before what this gives is dropped.
    pub async fn hold_commits(&self) -> impl Drop + Send + '_ {
        self.door.lock().await
    }

    fn locked(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().expect("nothing panics while it holds this lock")
    }

    fn readable(&self) -> Result<MutexGuard<'_, Tables>, CommandsError> {
        let tables = self.tables()?;
        if tables.reads_failing { Err(CommandsError::Unavailable("told not to read".to_owned())) } else { Ok(tables) }
    }

    fn tables(&self) -> Result<MutexGuard<'_, Tables>, CommandsError> {
        let tables = self.locked();
        if tables.failing { Err(CommandsError::Unavailable("told to fail".to_owned())) } else { Ok(tables) }
    }
}

#[async_trait]
impl Commands for MemoryCommands {
    async fn load(&self) -> Result<Pending, CommandsError> {
        let tables = self.tables()?;
        Ok(Pending {
            commands: tables.commands.values().filter(|row| row.command.ended.is_none()).map(|row| row.command.clone()).collect(),
            receipts: tables.receipts.values().cloned().collect(),
            next_command: tables.next_command,
            next_receipt: tables.next_receipt,
        })
    }

    async fn commit(&self, writes: &[CommandWrite]) -> Result<(), CommandsError> {
        let _through = self.door.lock().await;
        let mut tables = self.tables()?;
        for write in writes {
            tables.write(write);
        }
        Ok(())
    }

    async fn contents(&self, commands: &[CommandId]) -> Result<Vec<(CommandId, Bytes)>, CommandsError> {
        let tables = self.readable()?;
        if tables.unreadable.is_some_and(|unreadable| commands.contains(&unreadable)) {
            return Err(CommandsError::Unavailable("a content can't be read".to_owned()));
        }
        Ok(commands.iter().filter_map(|id| Some((*id, tables.commands.get(id)?.content.clone()?))).collect())
    }

    async fn command(&self, id: CommandId) -> Result<Option<Command>, CommandsError> {
        Ok(self.readable()?.commands.get(&id).map(|row| row.command.clone()))
    }

    async fn history(&self, id: CommandId) -> Result<Option<(Command, Vec<Step>)>, CommandsError> {
        Ok(self.readable()?.commands.get(&id).map(|row| (row.command.clone(), row.steps.clone())))
    }

    async fn list(&self, query: &CommandQuery) -> Result<Vec<Command>, CommandsError> {
        let tables = self.tables()?;
        let newest_first = tables.commands.values().rev().map(|row| &row.command);
        let wanted = newest_first.filter(|command| {
            query.before.is_none_or(|before| command.id < before)
                && query.device.as_ref().is_none_or(|device| command.device_id == *device)
                && is_wanted(&query.state, command.ended.map(|(outcome, _)| outcome))
        });
        Ok(wanted.take(query.limit).cloned().collect())
    }

    async fn prune(&self, ended_before: UnixMillis, limit: usize) -> Result<usize, CommandsError> {
        let mut tables = self.tables()?;
        let old = tables.commands.values().filter(|row| row.command.ended.is_some_and(|(_, time)| time < ended_before));
        let old: Vec<CommandId> = old.map(|row| row.command.id).take(limit).collect();
        for id in &old {
            tables.commands.remove(id);
        }
        Ok(old.len())
    }
}

impl Tables {
    fn write(&mut self, write: &CommandWrite) {
        match write {
            CommandWrite::Enqueue(command, content) => {
                self.next_command = self.next_command.max(command.id.0 + 1);
                let row = Row { command: command.clone(), content: Some(content.clone()), steps: Vec::new(), has_had_receipt: false };
                self.commands.insert(command.id, row);
            }
            CommandWrite::DeliveryCount(id, count) => {
                if let Some(row) = self.commands.get_mut(id) {
                    row.command.delivery_count = *count;
                }
            }
            CommandWrite::End { command, outcome, time } => {
                if let Some(row) = self.commands.get_mut(command).filter(|row| row.command.ended.is_none()) {
                    row.command.ended = Some((*outcome, *time));
                    row.content.take_if(|_| !outcome.keeps_content());
                }
            }
            CommandWrite::Step(id, step) => {
                if let Some(row) = self.commands.get_mut(id) {
                    row.steps.push(step.clone());
                }
            }
            CommandWrite::AddReceipt(receipt) => {
                self.next_receipt = self.next_receipt.max(receipt.id.0 + 1);
                let first = self.commands.get_mut(&receipt.command).is_none_or(|row| !std::mem::replace(&mut row.has_had_receipt, true));
                if first {
                    self.receipts.insert(receipt.id, receipt.clone());
                }
            }
            CommandWrite::ReceiptDeliveryCount(ids, count) => {
                for id in ids {
                    if let Some(receipt) = self.receipts.get_mut(id) {
                        receipt.delivery_count = *count;
                    }
                }
            }
            CommandWrite::RemoveReceipts(ids) => self.receipts.retain(|id, _| !ids.contains(id)),
        }
    }
}

fn is_wanted(filter: &CommandFilter, ended: Option<Outcome>) -> bool {
    match filter {
        CommandFilter::Any => true,
        CommandFilter::Pending => ended.is_none(),
        CommandFilter::Ended(outcomes) => ended.is_some_and(|outcome| outcomes.contains(&outcome)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::MemoryCommands;
    use crate::store::commands::Commands;
    use crate::store::contract::commands::{self as contract, commands_contract};

    #[derive(Default)]
    struct Place(Arc<MemoryCommands>);

    impl Place {
        async fn open(&self) -> Arc<dyn Commands> {
            Arc::<MemoryCommands>::clone(&self.0)
        }
    }

    async fn place() -> Place {
        Place::default()
    }

    commands_contract!(place);
}
