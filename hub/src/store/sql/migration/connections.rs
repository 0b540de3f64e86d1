//! The tables of the hub's lives and of the devices' connections.

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_query::{ColumnDef, Index, Table};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager};

use super::{device_id, in_order_of_key};

pub(super) struct CreateConnection;

impl MigrationName for CreateConnection {
    fn name(&self) -> &'static str {
        "m0004_create_connection"
    }
}

#[async_trait]
impl MigrationTrait for CreateConnection {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let boot = Table::create()
            .table("boot")
            .if_not_exists()
            // Counted by the database, which never gives a number twice, not even to two hubs that start at once.
            .col(ColumnDef::new("boot_id").big_integer().not_null().auto_increment().primary_key())
            .col(ColumnDef::new("began_time").big_integer().not_null())
            .col(ColumnDef::new("last_heartbeat").big_integer().not_null())
            .to_owned();
        manager.create_table(boot).await?;
        let mut connection = Table::create()
            .table("connection")
            .if_not_exists()
            .col(ColumnDef::new("boot_id").big_integer().not_null())
            .col(ColumnDef::new("connection_id").big_integer().not_null())
            .col(device_id(manager))
            .col(ColumnDef::new("protocol").text().not_null())
            .col(ColumnDef::new("address").text().not_null())
            .col(ColumnDef::new("connected_time").big_integer().not_null())
            .col(ColumnDef::new("disconnected_time").big_integer())
            .col(ColumnDef::new("reason").text())
            .primary_key(Index::create().col("boot_id").col("connection_id"))
            .to_owned();
        in_order_of_key(manager, &mut connection);
        manager.create_table(connection).await?;
        // A device's connections, latest first.
        let of_device = Index::create()
            .name("connection_device")
            .if_not_exists()
            .table("connection")
            .col("device_id")
            .col("boot_id")
            .col("connection_id")
            .to_owned();
        manager.create_index(of_device).await?;
        // Those that ended long ago; and those without an end on record, by boot.
        let ended = Index::create()
            .name("connection_ended")
            .if_not_exists()
            .table("connection")
            .col("disconnected_time")
            .col("boot_id")
            .col("connected_time")
            .to_owned();
        manager.create_index(ended).await
    }
}
