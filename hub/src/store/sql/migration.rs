//! The tables, step by step. A step that has been released is never changed: the next one changes what it made.
//!
//! SQLite commits each statement of a step on its own, so every statement can be run twice.

use sea_orm::DbBackend;
use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_query::{ColumnDef, Index, Table, TableCreateStatement};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, MigratorTrait, SchemaManager};

use super::device;

mod audit;
mod commands;
mod connections;
mod group_positions;

/// All steps, oldest first. A database with a step that is not here was made by a newer version and is refused.
pub(super) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(CreateDevice),
            Box::new(AddConnectedBoot),
            Box::new(commands::CreateCommand),
            Box::new(connections::CreateConnection),
            Box::new(AddThumbprints),
            Box::new(AddMonitoringAndRotation),
            Box::new(group_positions::CreateConsumerGroupPosition),
            Box::new(audit::CreateAudit),
        ]
    }
}

struct CreateDevice;

impl MigrationName for CreateDevice {
    fn name(&self) -> &'static str {
        "m0001_create_device"
    }
}

#[async_trait]
impl MigrationTrait for CreateDevice {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        use device::Column;
        let table = Table::create()
            .table(device::Entity)
            .if_not_exists()
            .col(device_id(manager).primary_key())
            .col(ColumnDef::new(Column::GenerationId).text().not_null())
            .col(ColumnDef::new(Column::Version).big_integer().not_null())
            .col(ColumnDef::new(Column::WantedStatus).text().not_null())
            .col(ColumnDef::new(Column::StatusReason).text())
            .col(ColumnDef::new(Column::StatusUpdatedTime).big_integer())
            .col(ColumnDef::new(Column::AuthenticationType).text().not_null())
            .col(ColumnDef::new(Column::PrimaryKey).blob())
            .col(ColumnDef::new(Column::SecondaryKey).blob())
            .col(ColumnDef::new(Column::Tags).text())
            .col(ColumnDef::new(Column::ManagedByKind).text())
            .col(ColumnDef::new(Column::ManagedByNamespace).text())
            .col(ColumnDef::new(Column::ManagedByName).text())
            .col(ColumnDef::new(Column::ManagedByUid).text())
            .col(ColumnDef::new(Column::HoldBy).text())
            .col(ColumnDef::new(Column::HoldSince).big_integer())
            .col(ColumnDef::new(Column::ConnectionStateUpdatedTime).big_integer())
            .col(ColumnDef::new(Column::LastActivityTime).big_integer())
            .to_owned();
        manager.create_table(table).await?;
        // Statistics are counted from this index alone, without touching rows that are up to 8 KiB each.
        let index = Index::create()
            .name("device_status")
            .if_not_exists()
            .table(device::Entity)
            .col(Column::WantedStatus)
            .col(Column::HoldSince)
            .to_owned();
        manager.create_index(index).await
    }
}

/// The column of a device's id.
fn device_id(manager: &SchemaManager<'_>) -> ColumnDef {
    text_in_byte_order(manager, "device_id")
}

/// A column of names that are listed in byte order everywhere; a locale's order would be another one on every server.
fn text_in_byte_order(manager: &SchemaManager<'_>, name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name).text().not_null().to_owned();
    if manager.get_database_backend() == DbBackend::Postgres {
        column.extra("COLLATE \"C\"");
    }
    column
}

/// Lays the rows of a new table out by its key of several columns, in one tree rather than in two. PostgreSQL has no such tables.
fn in_order_of_key(manager: &SchemaManager<'_>, table: &mut TableCreateStatement) {
    if manager.get_database_backend() == DbBackend::Sqlite {
        table.extra("WITHOUT ROWID");
    }
}

struct AddConnectedBoot;

impl MigrationName for AddConnectedBoot {
    fn name(&self) -> &'static str {
        "m0002_add_connected_boot"
    }
}

#[async_trait]
impl MigrationTrait for AddConnectedBoot {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        add_columns(manager, [("connected_boot", ColumnDef::new(device::Column::ConnectedBoot).big_integer().to_owned())]).await
    }
}

struct AddThumbprints;

impl MigrationName for AddThumbprints {
    fn name(&self) -> &'static str {
        "m0010_x509_add_thumbprints"
    }
}

#[async_trait]
impl MigrationTrait for AddThumbprints {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        use device::Column;
        let primary = ("primary_thumbprint", ColumnDef::new(Column::PrimaryThumbprint).text().to_owned());
        let secondary = ("secondary_thumbprint", ColumnDef::new(Column::SecondaryThumbprint).text().to_owned());
        add_columns(manager, [primary, secondary]).await
    }
}

struct AddMonitoringAndRotation;

impl MigrationName for AddMonitoringAndRotation {
    fn name(&self) -> &'static str {
        "m0011_add_monitoring_and_rotation"
    }
}

#[async_trait]
impl MigrationTrait for AddMonitoringAndRotation {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        use device::Column;
        let columns = [
            ("offline_after_ns", ColumnDef::new(Column::OfflineAfterNs).big_integer().to_owned()),
            ("per_device_metrics", ColumnDef::new(Column::PerDeviceMetrics).boolean().not_null().default(false).to_owned()),
            ("rotation_requested_at", ColumnDef::new(Column::RotationRequestedAt).text().to_owned()),
            ("rotation_begun_at", ColumnDef::new(Column::RotationBegunAt).text().to_owned()),
        ];
        add_columns(manager, columns).await
    }
}

/// Adds those to `device` that are not there yet: SQLite knows no ADD COLUMN IF NOT EXISTS, and adds one column at a time.
async fn add_columns<const N: usize>(manager: &SchemaManager<'_>, columns: [(&str, ColumnDef); N]) -> Result<(), DbErr> {
    for (name, column) in columns {
        if !manager.has_column("device", name).await? {
            manager.alter_table(Table::alter().table(device::Entity).add_column(column).to_owned()).await?;
        }
    }
    Ok(())
}
