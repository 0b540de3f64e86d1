//! The table of the places that consumer groups have come to.

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_query::{ColumnDef, Index, Table};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager};

use super::{in_order_of_key, text_in_byte_order};

pub(super) struct CreateConsumerGroupPosition;

impl MigrationName for CreateConsumerGroupPosition {
    fn name(&self) -> &'static str {
        "m0012_create_consumer_group_position"
    }
}

#[async_trait]
impl MigrationTrait for CreateConsumerGroupPosition {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut position = Table::create()
            .table("consumer_group_position")
            .if_not_exists()
            .col(text_in_byte_order(manager, "group_name"))
            .col(ColumnDef::new("partition_id").big_integer().not_null())
            .col(ColumnDef::new("next_sequence_number").big_integer().not_null())
            .col(ColumnDef::new("enqueued_time").big_integer())
            .col(ColumnDef::new("read_time").big_integer().not_null())
            .primary_key(Index::create().col("group_name").col("partition_id"))
            .to_owned();
        in_order_of_key(manager, &mut position);
        manager.create_table(position).await
    }
}
