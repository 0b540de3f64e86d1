//! The [`ConnectionLog`] in SQL.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbErr, FromQueryResult as _, Statement, Value};

use super::connection;
use super::database::{Database, DatabaseError};
use super::rows;
use crate::core::device_id::DeviceId;
use crate::core::session::{BootId, ConnectionId, ConnectionRecord};
use crate::core::time::UnixMillis;
use crate::store::connection_log::{ConnectionLog, ConnectionLogError};

const BEGIN_BOOT: &str = "INSERT INTO boot (began_time, last_heartbeat) VALUES ($1, $1) RETURNING boot_id";

const BEAT: &str = "UPDATE boot SET last_heartbeat = $2 WHERE boot_id = $1";

/// A device's connections before one of them, latest first.
const OF_DEVICE: &str = "SELECT connection.*, boot.last_heartbeat FROM connection LEFT JOIN boot ON boot.boot_id = connection.boot_id \
    WHERE connection.device_id = $1 AND (connection.boot_id, connection.connection_id) < ($2, $3) \
    ORDER BY connection.boot_id DESC, connection.connection_id DESC LIMIT $4";

const PRUNE_ENDED: &str = "DELETE FROM connection WHERE (boot_id, connection_id) IN \
    (SELECT boot_id, connection_id FROM connection WHERE disconnected_time < $1 ORDER BY disconnected_time LIMIT $2)";

/// Of earlier boots, those without an end on record: they ended at their boot's last heartbeat, or at their own beginning if that is later.
const PRUNE_CUT_OFF: &str = "DELETE FROM connection WHERE (boot_id, connection_id) IN \
    (SELECT boot_id, connection_id FROM connection WHERE disconnected_time IS NULL AND boot_id < $3 AND connected_time < $1 \
    AND boot_id NOT IN (SELECT boot_id FROM boot WHERE last_heartbeat >= $1) LIMIT $2)";

/// Looks through all devices: for a reader, not within a write transaction. What is found once is never referred to again, because only
/// the present boot is.
const UNUSED_BOOTS: &str = "SELECT boot_id FROM boot WHERE boot_id < $1 AND last_heartbeat < $2 \
    AND NOT EXISTS (SELECT 1 FROM connection WHERE connection.boot_id = boot.boot_id) \
    AND boot_id NOT IN (SELECT connected_boot FROM device WHERE connected_boot IS NOT NULL) ORDER BY boot_id LIMIT $3";

const FORGET_BOOT: &str = "DELETE FROM boot WHERE boot_id = $1";

/// The connections in SQLite or PostgreSQL.
#[derive(Clone)]
pub struct SqlConnectionLog(Database);

impl SqlConnectionLog {
    /// Those in this database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self(database)
    }

    fn statement(&self, text: &str, values: impl IntoIterator<Item = Value>) -> Statement {
        Statement::from_sql_and_values(self.0.readers().get_database_backend(), text, values)
    }
}

impl From<DatabaseError> for ConnectionLogError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Full => Self::Full,
            DatabaseError::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

impl From<DbErr> for ConnectionLogError {
    fn from(error: DbErr) -> Self {
        DatabaseError::from(error).into()
    }
}

#[async_trait]
impl ConnectionLog for SqlConnectionLog {
    async fn begin_boot(&self, now: UnixMillis) -> Result<BootId, ConnectionLogError> {
        let begin = self.statement(BEGIN_BOOT, [now.0.into()]);
        let boot = self.0.write(&begin, |transaction, begin| {
            Box::pin(async move {
                let row = transaction.query_one_raw(begin.clone()).await?;
                let row = row.ok_or_else(|| DbErr::RecordNotFound("the boot that was just begun".to_owned()))?;
                row.try_get_by_index::<i64>(0)
            })
        });
        Ok(BootId(boot.await?.cast_unsigned()))
    }

    async fn record(&self, boot: BootId, heartbeat: UnixMillis, records: &[ConnectionRecord]) -> Result<(), ConnectionLogError> {
        // One row each: what is said last of a connection is what holds.
        let latest: BTreeMap<_, _> = records.iter().map(|record| ((record.boot, record.connection), record)).collect();
        let latest: Vec<&ConnectionRecord> = latest.into_values().collect();
        let beat = self.statement(BEAT, [boot.0.cast_signed().into(), heartbeat.0.into()]);
        let input = (beat, latest);
        let write = self.0.write(&input, |transaction, (beat, latest)| {
            Box::pin(async move {
                transaction.execute_raw(beat.clone()).await?;
                rows::execute(transaction, connection::WRITE, latest, |record| connection::written(record)).await
            })
        });
        Ok(write.await?)
    }

    async fn connections(
        &self,
        current: BootId,
        device: &DeviceId,
        before: Option<(BootId, ConnectionId)>,
        limit: usize,
    ) -> Result<Vec<ConnectionRecord>, ConnectionLogError> {
        let (boot, connection) =
            before.map_or((i64::MAX, i64::MAX), |(boot, connection)| (boot.0.cast_signed(), connection.0.cast_signed()));
        let values = [device.as_str().into(), boot.into(), connection.into(), (limit as u64).cast_signed().into()];
        let rows = self.0.readers().query_all_raw(self.statement(OF_DEVICE, values)).await?;
        let records = rows.iter().map(|row| {
            let damaged = |reason| ConnectionLogError::Unavailable(format!("a row of device {device} is damaged: {reason}"));
            connection::from_row(connection::Row::from_query_result(row, "")?, current).map_err(damaged)
        });
        records.collect()
    }

    async fn last_heartbeats(&self) -> Result<Vec<(BootId, UnixMillis)>, ConnectionLogError> {
        let boots = self.statement("SELECT boot_id, last_heartbeat FROM boot ORDER BY boot_id", []);
        let rows = self.0.readers().query_all_raw(boots).await?;
        let boots =
            rows.iter().map(|row| Ok((BootId(row.try_get_by_index::<i64>(0)?.cast_unsigned()), UnixMillis(row.try_get_by_index(1)?))));
        boots.collect()
    }

    async fn prune(&self, current: BootId, before: UnixMillis, limit: usize) -> Result<usize, ConnectionLogError> {
        let input = (current, before, limit);
        let prune =
            self.0.write(&input, |transaction, (current, before, limit)| Box::pin(prune(transaction, *current, *before, *limit as u64)));
        Ok(prune.await?)
    }

    async fn forget_boots(&self, current: BootId, before: UnixMillis, limit: usize) -> Result<usize, ConnectionLogError> {
        let unused = [current.0.cast_signed().into(), before.0.into(), (limit as u64).cast_signed().into()];
        let unused = self.0.readers().query_all_raw(self.statement(UNUSED_BOOTS, unused)).await?;
        let forget = unused.iter().map(|row| Ok(self.statement(FORGET_BOOT, [row.try_get_by_index::<i64>(0)?.into()])));
        let forget = forget.collect::<Result<Vec<_>, DbErr>>()?;
        if forget.is_empty() {
            return Ok(0);
        }
        let write = self.0.write(&forget, |transaction, forget| {
            Box::pin(async move {
                for boot in forget {
                    transaction.execute_raw(boot.clone()).await?;
                }
                Ok(())
            })
        });
        write.await?;
        Ok(forget.len())
    }
}

async fn prune(transaction: &DatabaseTransaction, current: BootId, before: UnixMillis, limit: u64) -> Result<usize, DbErr> {
    let backend = transaction.get_database_backend();
    let ended = [before.0.into(), limit.cast_signed().into()];
    let ended = transaction.execute_raw(Statement::from_sql_and_values(backend, PRUNE_ENDED, ended)).await?.rows_affected();
    let cut_off = [before.0.into(), (limit - ended).cast_signed().into(), current.0.cast_signed().into()];
    let cut_off = transaction.execute_raw(Statement::from_sql_and_values(backend, PRUNE_CUT_OFF, cut_off)).await?.rows_affected();
    usize::try_from(ended + cut_off).map_err(|error| DbErr::Custom(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::contract::connection_log::{self as contract, connection_log_contract};
    use crate::store::sql::tests::Folder;

    struct Place(Folder);

    impl Place {
        async fn open(&self) -> Arc<dyn ConnectionLog> {
            Arc::new(SqlConnectionLog::new(self.0.database().await))
        }
    }

    async fn place() -> Place {
        Place(Folder::new())
    }

    connection_log_contract!(place);
}
