//! The [`AuditLog`] in SQL.

use async_trait::async_trait;
use sea_orm::{ConnectionTrait as _, DbErr, FromQueryResult as _, Statement, Value};

use super::database::{Database, DatabaseError};
use super::{audit, rows};
use crate::core::audit::{AuditEntry, AuditId};
use crate::core::principal::Principal;
use crate::store::audit::{AuditLog, AuditLogError, AuditQuery, Authors};

const LAST: &str = "SELECT MAX(audit_id) FROM audit";

/// The audit in SQLite or PostgreSQL.
#[derive(Clone)]
pub struct SqlAuditLog(Database);

impl SqlAuditLog {
    /// The one in this database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self(database)
    }

    fn statement(&self, text: &str, values: impl IntoIterator<Item = Value>) -> Statement {
        Statement::from_sql_and_values(self.0.readers().get_database_backend(), text, values)
    }

    /// The number in the first column of the one row that `text` finds, if it finds one.
    async fn number(&self, text: &str, values: impl IntoIterator<Item = Value>) -> Result<Option<AuditId>, DbErr> {
        let row = self.0.readers().query_one_raw(self.statement(text, values)).await?;
        let number = row.map(|row| row.try_get_by_index::<Option<i64>>(0)).transpose()?.flatten();
        Ok(number.map(|number| AuditId(number.cast_unsigned())))
    }
}

impl From<DatabaseError> for AuditLogError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Full => Self::Full,
            DatabaseError::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

impl From<DbErr> for AuditLogError {
    fn from(error: DbErr) -> Self {
        DatabaseError::from(error).into()
    }
}

#[async_trait]
impl AuditLog for SqlAuditLog {
    async fn append(&self, entries: &[AuditEntry]) -> Result<(), AuditLogError> {
        let write =
            self.0.write(entries, |transaction, entries| Box::pin(rows::execute(transaction, audit::WRITE, entries, audit::written)));
        Ok(write.await?)
    }

    async fn entries(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, AuditLogError> {
        let AuditQuery { before, device, who, without, limit } = query;
        let before = before.map_or(i64::MAX, |before| before.min(AuditId::MAX).0.cast_signed());
        let mut values: Vec<Value> = vec![before.into(), i64::try_from(*limit).unwrap_or(i64::MAX).into()];
        let mut text = "SELECT * FROM audit WHERE audit_id < $1".to_owned();
        for (column, wanted) in [("device_id", device), ("principal", who)] {
            if let Some(wanted) = wanted {
                values.push(wanted.as_str().into());
                text.push_str(&format!(" AND {column} = ${}", values.len()));
            }
        }
        for action in without {
            values.push(action.name().into());
            text.push_str(&format!(" AND action <> ${}", values.len()));
        }
        text.push_str(" ORDER BY audit_id DESC LIMIT $2");
        let rows = self.0.readers().query_all_raw(self.statement(&text, values)).await?;
        let entry = |row| {
            let damaged = |reason| AuditLogError::Unavailable(format!("a row of the audit is damaged: {reason}"));
            audit::from_row(audit::Row::from_query_result(row, "")?).map_err(damaged)
        };
        rows.iter().map(entry).collect()
    }

    async fn last(&self) -> Result<Option<AuditId>, AuditLogError> {
        Ok(self.number(LAST, []).await?)
    }

    async fn count(&self, of: Authors) -> Result<usize, AuditLogError> {
        let (of, kinds) = are(of, 1);
        let count = self.number(&format!("SELECT COUNT(*) FROM audit WHERE {of}"), kinds).await?;
        Ok(count.map_or(0, |count| usize::try_from(count.0).unwrap_or(usize::MAX)))
    }

    async fn prune(&self, of: Authors, before: AuditId, limit: usize) -> Result<usize, AuditLogError> {
        let before = before.min(AuditId::MAX).0.cast_signed();
        let (of, kinds) = are(of, 3);
        let oldest = format!("SELECT audit_id FROM audit WHERE audit_id < $1 AND {of} ORDER BY audit_id LIMIT $2");
        let values = [before.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()].into_iter().chain(kinds);
        let prune = self.statement(&format!("DELETE FROM audit WHERE audit_id IN ({oldest})"), values);
        let pruned = self
            .0
            .write(&prune, |transaction, prune| Box::pin(async move { Ok(transaction.execute_raw(prune.clone()).await?.rows_affected()) }));
        Ok(usize::try_from(pruned.await?).unwrap_or(usize::MAX))
    }
}

/// The condition that an entry is of these, and its values, the first of which is the statement's value number `first`.
fn are(of: Authors, first: usize) -> (String, Vec<Value>) {
    let not = match of {
        Authors::All => return ("TRUE".to_owned(), Vec::new()),
        Authors::Programs => "",
        Authors::Others => "NOT ",
    };
    let places: Vec<String> = (first..first + Principal::PROGRAMS.len()).map(|place| format!("${place}")).collect();
    (format!("principal_kind {not}IN ({})", places.join(", ")), Principal::PROGRAMS.map(Value::from).to_vec())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::Registry;
    use crate::store::contract::audit::{self as contract, audit_contract};
    use crate::store::sql::SqlRegistry;
    use crate::store::sql::tests::Folder;

    struct Place(Folder);

    impl Place {
        async fn open(&self) -> (Arc<dyn AuditLog>, Arc<dyn Registry>) {
            let database = self.0.database().await;
            (Arc::new(SqlAuditLog::new(database.clone())), Arc::new(SqlRegistry::new(database)))
        }
    }

    async fn place() -> Place {
        Place(Folder::new())
    }

    audit_contract!(place);
}
