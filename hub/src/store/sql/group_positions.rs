//! The [`GroupPositions`] in SQL: the table `consumer_group_position`, a row for each partition that a group has been read in.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sea_orm::{ConnectionTrait as _, DbErr, QueryResult, Statement, Value};

use super::database::{Database, DatabaseError};
use super::rows;
use crate::core::consumer_group::ConsumerGroup;
use crate::core::event::{PartitionId, SequenceNumber};
use crate::core::reader_position::ReaderPosition;
use crate::core::time::UnixMillis;
use crate::store::group_positions::{GroupPlace, GroupPosition, GroupPositions, GroupPositionsError};

const LOAD: &str = "SELECT group_name, partition_id, next_sequence_number, enqueued_time, read_time FROM consumer_group_position \
    ORDER BY group_name, partition_id";

const FORGET: &str = "DELETE FROM consumer_group_position WHERE group_name = $1 AND partition_id = $2";

const WRITE: &str = "INSERT INTO consumer_group_position (group_name, partition_id, next_sequence_number, enqueued_time, read_time) \
    VALUES {rows} ON CONFLICT (group_name, partition_id) DO UPDATE SET next_sequence_number = excluded.next_sequence_number, \
    enqueued_time = excluded.enqueued_time, read_time = excluded.read_time";

/// The groups' positions in SQLite or PostgreSQL.
#[derive(Clone)]
pub struct SqlGroupPositions(Database);

impl SqlGroupPositions {
    /// Those in this database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self(database)
    }

    fn statement(&self, text: &str, values: impl IntoIterator<Item = Value>) -> Statement {
        Statement::from_sql_and_values(self.0.readers().get_database_backend(), text, values)
    }
}

impl From<DatabaseError> for GroupPositionsError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Full => Self::Full,
            DatabaseError::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

impl From<DbErr> for GroupPositionsError {
    fn from(error: DbErr) -> Self {
        DatabaseError::from(error).into()
    }
}

#[async_trait]
impl GroupPositions for SqlGroupPositions {
    async fn load(&self) -> Result<Vec<GroupPosition>, GroupPositionsError> {
        let rows = self.0.readers().query_all_raw(self.statement(LOAD, [])).await?;
        let readable = (1..).zip(&rows).filter_map(|(number, row)| match from_row(row) {
            Ok(position) => Some(position),
            Err(reason) => {
                let place = place_of(row);
                tracing::warn!(
                    number,
                    place,
                    reason,
                    "row {number} of the consumer groups' positions, {place}, is damaged and passed over: {reason}"
                );
                None
            }
        });
        Ok(readable.collect())
    }

    async fn keep(&self, gone: &[GroupPlace], moved: &[GroupPosition]) -> Result<(), GroupPositionsError> {
        let forget = gone.iter().map(|(group, partition)| self.statement(FORGET, [group.folded().into(), i64::from(partition.0).into()]));
        // One row each: no statement may say two things of one place.
        let latest: BTreeMap<_, _> = moved.iter().map(|moved| ((moved.group.clone(), moved.partition), moved)).collect();
        let input = (forget.collect::<Vec<_>>(), latest.into_values().collect::<Vec<_>>());
        let write = self.0.write(&input, |transaction, (forget, latest)| {
            Box::pin(async move {
                for place in forget {
                    transaction.execute_raw(place.clone()).await?;
                }
                rows::execute(transaction, WRITE, latest, |moved| written(moved)).await
            })
        });
        Ok(write.await?)
    }
}

/// The values of a position, as [`WRITE`] takes them.
fn written(moved: &GroupPosition) -> [Value; 5] {
    let GroupPosition { group, partition, position } = moved;
    [
        group.folded().into(),
        i64::from(partition.0).into(),
        position.next.0.cast_signed().into(),
        position.enqueued_time.map(|time| time.0).into(),
        position.time.0.into(),
    ]
}

/// Whose row it is, as far as it says.
fn place_of(row: &QueryResult) -> String {
    let name = row.try_get_by_index::<String>(0).unwrap_or_else(|_| "?".to_owned());
    let partition = row.try_get_by_index::<i64>(1).map_or_else(|_| "?".to_owned(), |partition| partition.to_string());
    format!("group {name:?} and partition {partition}")
}

/// What a row says, or what is wrong with it: one that can't be read must not take the others away.
fn from_row(row: &QueryResult) -> Result<GroupPosition, String> {
    let number = |at| row.try_get_by_index::<i64>(at).map_err(|error| error.to_string());
    let name: String = row.try_get_by_index(0).map_err(|error| error.to_string())?;
    let enqueued: Option<i64> = row.try_get_by_index(3).map_err(|error| error.to_string())?;
    Ok(GroupPosition {
        group: ConsumerGroup::parse(&name).map_err(|error| error.to_string())?,
        partition: PartitionId(u16::try_from(number(1)?).map_err(|_| "there is no such partition".to_owned())?),
        position: ReaderPosition {
            next: SequenceNumber(number(2)?.cast_unsigned()),
            enqueued_time: enqueued.map(UnixMillis),
            time: UnixMillis(number(4)?),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::contract::group_positions::{self as contract, group_positions_contract};
    use crate::store::sql::tests::Folder;

    struct Place(Folder);

    impl Place {
        async fn open(&self) -> Arc<dyn GroupPositions> {
            Arc::new(SqlGroupPositions::new(self.0.database().await))
        }
    }

    async fn place() -> Place {
        Place(Folder::new())
    }

    group_positions_contract!(place);

    #[tokio::test]
    async fn a_damaged_row_takes_no_other_away() {
        let folder = Folder::new();
        let database = folder.database().await;
        let positions = SqlGroupPositions::new(database.clone());
        let at = |partition| GroupPosition {
            group: ConsumerGroup::parse("alerts").unwrap(),
            partition: PartitionId(partition),
            position: ReaderPosition::at_beginning(SequenceNumber(7), UnixMillis(1)),
        };
        let all: Vec<_> = (0..6).map(at).collect();
        positions.keep(&[], &all).await.unwrap();
        for damage in [
            "group_name = 'no such name!' WHERE partition_id = 0",
            // What SQLite lets happen to a column of numbers, and to text.
            "next_sequence_number = 'many' WHERE partition_id = 1",
            "group_name = CAST(x'ff' AS TEXT) WHERE partition_id = 2",
            "partition_id = -3 WHERE partition_id = 3",
            "read_time = 'late' WHERE partition_id = 4",
        ] {
            let text = format!("UPDATE consumer_group_position SET {damage}");
            database.write(&text, |transaction, text| Box::pin(transaction.execute_unprepared(text))).await.unwrap();
        }
        assert_eq!(positions.load().await.unwrap(), [at(5)]);
        positions.keep(&[], &[at(4)]).await.unwrap();
        assert_eq!(positions.load().await.unwrap(), [at(4), at(5)], "a reader that comes again mends its row");
    }
}
