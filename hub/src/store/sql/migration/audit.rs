//! The table of the audit.

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_query::{ColumnDef, Index, Table};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager};

pub(super) struct CreateAudit;

impl MigrationName for CreateAudit {
    fn name(&self) -> &'static str {
        "m0020_create_audit"
    }
}

#[async_trait]
impl MigrationTrait for CreateAudit {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let audit = Table::create()
            .table("audit")
            .if_not_exists()
            // Made by the hub, and rising with time: what is oldest is what is first.
            .col(ColumnDef::new("audit_id").big_integer().not_null().primary_key())
            .col(ColumnDef::new("time").big_integer().not_null())
            .col(ColumnDef::new("principal_kind").text().not_null())
            .col(ColumnDef::new("principal").text().not_null())
            .col(ColumnDef::new("door").text().not_null())
            .col(ColumnDef::new("address").text())
            .col(ColumnDef::new("action").text().not_null())
            // Also of devices that are gone, and of names that never were devices.
            .col(ColumnDef::new("device_id").text())
            .col(ColumnDef::new("detail").text())
            .col(ColumnDef::new("refused").text())
            .to_owned();
        manager.create_table(audit).await?;
        for (name, column) in [("audit_device", "device_id"), ("audit_principal", "principal")] {
            let index = Index::create().name(name).if_not_exists().table("audit").col(column).col("audit_id").to_owned();
            manager.create_index(index).await?;
        }
        Ok(())
    }
}
