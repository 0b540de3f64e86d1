//! The tables of commands, their contents and timelines, and of receipts.

use sea_orm::ConnectionTrait as _;
use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_query::{ColumnDef, ConditionalStatement as _, Expr, ExprTrait as _, Index, Table};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager};

use super::{device_id, in_order_of_key};

pub(super) struct CreateCommand;

impl MigrationName for CreateCommand {
    fn name(&self) -> &'static str {
        "m0003_create_command"
    }
}

#[async_trait]
impl MigrationTrait for CreateCommand {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_command(manager).await?;
        create_content_and_steps(manager).await?;
        create_receipt(manager).await?;
        create_sequence(manager).await
    }
}

async fn create_command(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("command")
        .if_not_exists()
        .col(ColumnDef::new("command_id").big_integer().not_null().primary_key())
        .col(device_id(manager))
        .col(ColumnDef::new("generation_id").text().not_null())
        .col(ColumnDef::new("message_id").text())
        .col(ColumnDef::new("ack").text().not_null())
        .col(ColumnDef::new("sent_by").text().not_null())
        .col(ColumnDef::new("again_of").big_integer())
        .col(ColumnDef::new("size_bytes").big_integer().not_null())
        .col(ColumnDef::new("enqueued_time").big_integer().not_null())
        .col(ColumnDef::new("expiry_time").big_integer().not_null())
        .col(ColumnDef::new("delivery_count").big_integer().not_null())
        .col(ColumnDef::new("outcome").text())
        .col(ColumnDef::new("ended_time").big_integer())
        .col(ColumnDef::new("receipt_id").big_integer())
        .to_owned();
    manager.create_table(table).await?;
    // A device's commands, newest first.
    let of_device = Index::create().name("command_device").if_not_exists().table("command").col("device_id").col("command_id").to_owned();
    manager.create_index(of_device).await?;
    // Those that wait (no time), by id, and those that ended long ago.
    let ended = Index::create().name("command_ended").if_not_exists().table("command").col("ended_time").col("command_id").to_owned();
    manager.create_index(ended).await?;
    // The rare ones that somebody looks for. A command that completes, as nearly all do, never enters this index.
    let dead_lettered = Index::create()
        .name("command_dead_lettered")
        .if_not_exists()
        .table("command")
        .col("outcome")
        .col("command_id")
        .and_where(Expr::col("outcome").ne("Completed"))
        .to_owned();
    manager.create_index(dead_lettered).await
}

/// Contents come and go with their commands' lives, while commands are kept for days: apart, both tables stay dense. Neither refers to
/// `command` by a foreign key, whose checks would cost more than the writes.
async fn create_content_and_steps(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let content = Table::create()
        .table("command_content")
        .if_not_exists()
        .col(ColumnDef::new("command_id").big_integer().not_null().primary_key())
        .col(ColumnDef::new("content").blob().not_null())
        .to_owned();
    manager.create_table(content).await?;
    let mut steps = Table::create()
        .table("command_step")
        .if_not_exists()
        .col(ColumnDef::new("command_id").big_integer().not_null())
        .col(ColumnDef::new("step").big_integer().not_null())
        .col(ColumnDef::new("time").big_integer().not_null())
        .col(ColumnDef::new("kind").text().not_null())
        .col(ColumnDef::new("reason").text())
        .col(ColumnDef::new("protocol").text())
        .col(ColumnDef::new("connection_id").big_integer())
        .col(ColumnDef::new("delivery_count").big_integer())
        .col(ColumnDef::new("sent_again_as").big_integer())
        .primary_key(Index::create().col("command_id").col("step"))
        .to_owned();
    in_order_of_key(manager, &mut steps);
    manager.create_table(steps).await
}

async fn create_receipt(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("receipt")
        .if_not_exists()
        .col(ColumnDef::new("receipt_id").big_integer().not_null().primary_key())
        .col(ColumnDef::new("command_id").big_integer().not_null())
        .col(ColumnDef::new("original_message_id").text().not_null())
        .col(device_id(manager))
        .col(ColumnDef::new("generation_id").text().not_null())
        .col(ColumnDef::new("outcome").text().not_null())
        .col(ColumnDef::new("time").big_integer().not_null())
        .col(ColumnDef::new("expiry_time").big_integer().not_null())
        .col(ColumnDef::new("delivery_count").big_integer().not_null())
        .to_owned();
    manager.create_table(table).await
}

/// One row: the numbers that nothing has had yet, so that none comes again after everything that had one is forgotten.
async fn create_sequence(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("command_sequence")
        .if_not_exists()
        .col(ColumnDef::new("id").big_integer().not_null().primary_key())
        .col(ColumnDef::new("next_command").big_integer().not_null())
        .col(ColumnDef::new("next_receipt").big_integer().not_null())
        .col(ColumnDef::new("next_step").big_integer().not_null())
        .to_owned();
    manager.create_table(table).await?;
    let first = "INSERT INTO command_sequence (id, next_command, next_receipt, next_step) VALUES (1, 0, 0, 0) ON CONFLICT DO NOTHING";
    manager.get_connection().execute_unprepared(first).await.map(drop)
}
