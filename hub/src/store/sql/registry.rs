//! The [`Registry`] in SQL. Each write is one conditional statement, so that the database itself is the judge of who was first.

use async_trait::async_trait;
use sea_orm::sea_query::{Expr, Func, OnConflict};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use super::database::{Database, DatabaseError};
use super::device::{self, Column, Entity};
use super::{audit, rows};
use crate::core::device_id::DeviceId;
use crate::core::identity::DeviceIdentity;
use crate::core::time::UnixMillis;
use crate::store::{DeviceActivity, DeviceCount, ExpectationFailed, Expected, Registry, RegistryError, RegistryWrite};

/// Activity written in one transaction: some 25 ms of SQLite's only writer, since a device that is to be shut out must not wait behind the
/// whole fleet's times.
const ACTIVITY_BATCH: usize = 1000;

/// The identities in SQLite or PostgreSQL.
#[derive(Clone)]
pub struct SqlRegistry(Database);

impl SqlRegistry {
    /// Those in this database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self(database)
    }
}

impl From<DatabaseError> for RegistryError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Full => Self::Full,
            DatabaseError::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

impl From<DbErr> for RegistryError {
    fn from(error: DbErr) -> Self {
        DatabaseError::from(error).into()
    }
}

#[async_trait]
impl Registry for SqlRegistry {
    async fn get(&self, id: &DeviceId) -> Result<Option<DeviceIdentity>, RegistryError> {
        let row = Entity::find_by_id(id.as_str()).one(self.0.readers()).await?;
        row.map(device::from_row).transpose()
    }

    async fn list(&self, after: Option<&DeviceId>, limit: usize) -> Result<Vec<DeviceIdentity>, RegistryError> {
        let mut query = Entity::find().order_by_asc(Column::DeviceId).limit(limit as u64);
        if let Some(after) = after {
            query = query.filter(Column::DeviceId.gt(after.as_str()));
        }
        let rows = query.all(self.0.readers()).await?;
        rows.into_iter().map(device::from_row).collect()
    }

    async fn write(&self, writes: Vec<RegistryWrite>) -> Result<Vec<Result<(), ExpectationFailed>>, RegistryError> {
        let answers = self.0.write(&writes, |transaction, writes| {
            Box::pin(async move {
                let mut answers = Vec::with_capacity(writes.len());
                let mut entries = Vec::new();
                for write in writes {
                    let happened = apply(transaction, write).await?;
                    entries.extend(write.audit.iter().filter(|_| happened));
                    answers.push(if happened { Ok(()) } else { Err(ExpectationFailed) });
                }
                rows::execute(transaction, audit::WRITE, &entries, |entry| audit::written(entry)).await?;
                Ok(answers)
            })
        });
        Ok(answers.await?)
    }

    async fn record_activity(&self, mut activity: Vec<DeviceActivity>) -> Result<(), RegistryError> {
        // In the order of the table: neighbours share pages, and two hubs that flush at once can't block each other crosswise.
        activity.sort_by(|left, right| left.id.cmp(&right.id));
        for batch in activity.chunks(ACTIVITY_BATCH) {
            self.0.write(batch, |transaction, batch| Box::pin(record(transaction, batch))).await?;
        }
        Ok(())
    }

    async fn count(&self) -> Result<DeviceCount, RegistryError> {
        // One statement, so that the two numbers are of one moment; answered from the index `device_status` alone.
        let enabled = Expr::case(device::enabled(), 1);
        let counts = Entity::find().select_only().expr(Expr::cust("COUNT(*)")).expr(Func::count(enabled));
        let counts = counts.into_tuple::<(i64, i64)>().one(self.0.readers()).await?;
        let (total, enabled) = counts.unwrap_or_default();
        Ok(DeviceCount { total: total.unsigned_abs(), enabled: enabled.unsigned_abs() })
    }
}

/// Whether the expectation held.
async fn apply(transaction: &impl ConnectionTrait, write: &RegistryWrite) -> Result<bool, DbErr> {
    let rows = match (write.expected, &write.new) {
        (Expected::Absent, Some(new)) => {
            let insert = Entity::insert(device::to_row(new)).on_conflict(OnConflict::column(Column::DeviceId).do_nothing().to_owned());
            match insert.exec_without_returning(transaction).await {
                Err(DbErr::RecordNotInserted) => 0,
                rows => rows?,
            }
        }
        (Expected::Absent, None) => u64::from(Entity::find_by_id(write.id.as_str()).count(transaction).await? == 0),
        (Expected::Version(version), Some(new)) => {
            let update = Entity::update_many().set(device::to_replacement(new));
            let this = update.filter(Column::DeviceId.eq(write.id.as_str())).filter(Column::Version.eq(version.0));
            this.exec(transaction).await?.rows_affected
        }
        (Expected::Version(version), None) => {
            let delete = Entity::delete_many().filter(Column::DeviceId.eq(write.id.as_str())).filter(Column::Version.eq(version.0));
            delete.exec(transaction).await?.rows_affected
        }
    };
    Ok(rows > 0)
}

async fn record(transaction: &DatabaseTransaction, batch: &[DeviceActivity]) -> Result<(), DbErr> {
    for seen in batch {
        let times =
            [(Column::LastActivityTime, seen.last_activity_time), (Column::ConnectionStateUpdatedTime, seen.connection_state_updated_time)];
        let known = times.into_iter().filter_map(|(column, time)| time.map(|UnixMillis(time)| (column, time)));
        let connected =
            Entity::update_many().col_expr(Column::ConnectedBoot, Expr::value(seen.connected_boot.map(|boot| boot.0.cast_signed())));
        let update = known.fold(connected, |update, (column, time)| update.col_expr(column, Expr::value(time)));
        let this = update.filter(Column::DeviceId.eq(seen.id.as_str())).filter(Column::GenerationId.eq(seen.generation_id.0.as_str()));
        this.exec(transaction).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::registry::{self as contract, enabled_device, registry_contract};
    use crate::store::sql::OpenError;
    use crate::store::sql::tests::Folder;

    async fn open() -> (SqlRegistry, Folder) {
        let folder = Folder::new();
        (SqlRegistry::new(folder.database().await), folder)
    }

    registry_contract!(open);

    #[tokio::test]
    async fn what_was_written_is_there_after_opening_again() {
        let (registry, folder) = open().await;
        let device = enabled_device("a", 7);
        let write = RegistryWrite { id: device.device_id.clone(), expected: Expected::Absent, new: Some(device.clone()), audit: None };
        assert_eq!(registry.write(vec![write]).await.expect("writes"), vec![Ok(())]);
        // Not closed: the second one finds what a killed hub leaves behind, write-ahead log included.
        let again = SqlRegistry::new(folder.database().await);
        assert_eq!(again.get(&device.device_id).await.expect("reads"), Some(device));
    }

    #[tokio::test]
    async fn a_newer_versions_tables_are_refused() {
        let (registry, folder) = open().await;
        let unknown = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_of_tomorrow', 0)";
        registry.0.write(&unknown, |transaction, sql| Box::pin(transaction.execute_unprepared(sql))).await.expect("writes");
        let again = Database::open_sqlite(&folder.file(), None).await;
        assert!(matches!(again.err(), Some(OpenError::Migrate(_))), "refused");
    }

    #[tokio::test]
    async fn a_damaged_row_is_named() {
        let (registry, _folder) = open().await;
        let device = enabled_device("broken", 1);
        let write = RegistryWrite { id: device.device_id.clone(), expected: Expected::Absent, new: Some(device.clone()), audit: None };
        assert_eq!(registry.write(vec![write]).await.expect("writes"), vec![Ok(())]);
        let spoil = "UPDATE device SET primary_key = x'00'";
        registry.0.write(&spoil, |transaction, sql| Box::pin(transaction.execute_unprepared(sql))).await.expect("writes");
        let read = registry.get(&device.device_id).await;
        assert!(matches!(read, Err(RegistryError::Damaged { ref id, .. }) if id == "broken"), "{read:?}");
    }
}
