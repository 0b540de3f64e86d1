use std::sync::Arc;

use sea_orm::DbBackend;

use super::*;
use crate::core::command::StepKind;
use crate::core::device_id::DeviceId;
use crate::store::contract::commands::{self as contract, command, commands_contract, receipt};
use crate::store::sql::tests::Folder;

struct Place(Folder);

impl Place {
    async fn open(&self) -> Arc<dyn Commands> {
        Arc::new(SqlCommands::new(self.0.database().await))
    }
}

async fn place() -> Place {
    Place(Folder::new())
}

commands_contract!(place);

async fn execute(database: &Database, text: &str) {
    database.write(text, |transaction, text| Box::pin(transaction.execute_unprepared(text))).await.expect("executes");
}

#[tokio::test]
async fn a_damaged_row_is_named() {
    let folder = Folder::new();
    let database = folder.database().await;
    let commands = SqlCommands::new(database.clone());
    let enqueued = Step { time: UnixMillis(1), kind: StepKind::Enqueued };
    let group = [CommandWrite::Enqueue(command(7, "a"), Bytes::new()), CommandWrite::Step(CommandId(7), enqueued)];
    commands.commit(&group).await.expect("answers");
    execute(&database, "UPDATE command SET ack = 'perhaps'").await;
    assert!(matches!(commands.command(CommandId(7)).await, Err(CommandsError::Damaged { command: CommandId(7), .. })));
    assert!(matches!(commands.history(CommandId(7)).await, Err(CommandsError::Damaged { command: CommandId(7), .. })));
    execute(&database, "UPDATE command SET ack = 'none'").await;
    execute(&database, "UPDATE command_step SET time = 'late'").await;
    assert!(matches!(commands.history(CommandId(7)).await, Err(CommandsError::Damaged { command: CommandId(7), .. })));
    execute(&database, "UPDATE command_step SET time = 1").await;
    assert!(commands.history(CommandId(7)).await.is_ok());
    execute(&database, "UPDATE command_step SET kind = 'Lost'").await;
    assert!(matches!(commands.history(CommandId(7)).await, Err(CommandsError::Damaged { command: CommandId(7), .. })));
}

#[tokio::test]
async fn damaged_rows_are_passed_over_and_left_as_they_are() {
    let folder = Folder::new();
    let database = folder.database().await;
    let commands = SqlCommands::new(database.clone());
    let group: Vec<CommandWrite> = (1..=6).map(|id| CommandWrite::Enqueue(command(id, "a"), Bytes::new())).collect();
    commands.commit(&group).await.expect("answers");
    let receipts: Vec<CommandWrite> = (1..=3).map(|id| CommandWrite::AddReceipt(receipt(id, id))).collect();
    commands.commit(&receipts).await.expect("answers");
    execute(&database, "UPDATE command SET ack = 'perhaps' WHERE command_id IN (1, 4)").await;
    // What SQLite lets happen to a column of numbers, and to text.
    execute(&database, "UPDATE command SET delivery_count = 'often' WHERE command_id = 5").await;
    execute(&database, "UPDATE command SET device_id = CAST(x'ff' AS TEXT) WHERE command_id = 6").await;
    execute(&database, "UPDATE command SET command_id = -3 WHERE command_id = 3").await;
    execute(&database, "UPDATE receipt SET outcome = 'Eaten' WHERE receipt_id IN (1, 3)").await;
    for _ in 0..2 {
        let pending = commands.load().await.expect("the others are there");
        assert_eq!(pending.commands.iter().map(|command| command.id.0).collect::<Vec<_>>(), [2]);
        assert_eq!(pending.receipts.iter().map(|receipt| receipt.id.0).collect::<Vec<_>>(), [2]);
        assert_eq!((pending.next_command, pending.next_receipt), (7, 4));
    }
    let first = CommandQuery { limit: 1, ..CommandQuery::default() };
    let listed = commands.list(&first).await.expect("answers");
    assert_eq!(listed.iter().map(|command| command.id.0).collect::<Vec<_>>(), [2], "a page is full as long as there are any");
    let all = commands.list(&CommandQuery { limit: 10, ..first }).await.expect("answers");
    assert_eq!(all.len(), 1);
    for id in [1, 4, 5, 6].map(CommandId) {
        assert!(matches!(commands.command(id).await, Err(CommandsError::Damaged { command, .. }) if command == id), "{id}");
    }
    assert_eq!(commands.named.lock().expect("no panic").len(), 6, "each is named once, whether it or its receipt is damaged");
}

#[tokio::test]
async fn listings_walk_an_index_and_sort_nothing() {
    let folder = Folder::new();
    let database = folder.database().await;
    let device = Some(DeviceId::parse("a").expect("a device id"));
    let ended = |outcomes: &[Outcome]| CommandFilter::Ended(outcomes.to_vec());
    let cases = [
        (None, CommandFilter::Any, "USING INTEGER PRIMARY KEY"),
        (None, CommandFilter::Pending, "USING INDEX command_ended"),
        (None, ended(&[Outcome::Expired]), "USING INDEX command_dead_lettered"),
        (None, ended(&[Outcome::Completed]), "USING INTEGER PRIMARY KEY"),
        (device.clone(), CommandFilter::Any, "USING INDEX command_device"),
        (device.clone(), CommandFilter::Pending, "USING INDEX command_device"),
        (device, ended(&Outcome::ALL), "USING INDEX command_device"),
    ];
    for (device, state, index) in cases {
        let query = CommandQuery { device, state, before: Some(CommandId(9)), limit: 10 };
        for listing in listings(&query) {
            let mut explain = listing.build(DbBackend::Sqlite);
            explain.sql.insert_str(0, "EXPLAIN QUERY PLAN ");
            let plan = database.readers().query_all_raw(explain).await.expect("explains");
            let plan: Vec<String> = plan.iter().map(|row| row.try_get("", "detail").expect("a text")).collect();
            assert!(plan.len() == 1 && plan[0].contains(index), "{query:?}: {plan:?}");
        }
    }
}
