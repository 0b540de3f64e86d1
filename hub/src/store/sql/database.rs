//! The connections, and how a write transaction is carried through. Owns the database's settings; knows no table.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sea_orm::sqlx::{self, ConnectOptions as _};
use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbErr, RuntimeErr, SqliteTransactionMode, TransactionOptions, TransactionTrait as _,
};
use sea_orm_migration::MigratorTrait as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::migration::Migrator;

/// Called when the disk is full: frees the ballast, and says whether that made a difference.
pub type MakeRoom = Arc<dyn Fn() -> bool + Send + Sync>;

/// What is done inside a transaction with an input. A plain function, because it may run more than once.
pub(super) type Work<I, T> = for<'t> fn(&'t DatabaseTransaction, &'t I) -> BoxFuture<'t, Result<T, DbErr>>;

/// How long a statement waits for another process's lock on the file (a backup, a person's `sqlite3`).
const SQLITE_BUSY_TIMEOUT_SECONDS: u64 = 5;

/// Reads in parallel with the writer. A read takes microseconds, and each connection is a thread with a page cache of 2 MB.
const SQLITE_READ_CONNECTIONS: u32 = 4;

/// The write-ahead log is cut back to this after a checkpoint, so that one burst doesn't keep the disk for ever.
const SQLITE_WAL_KEPT_BYTES: u64 = 16 * 1024 * 1024;

/// Enough for one hub; a PostgreSQL with default settings takes 100 from everybody together.
const POSTGRES_CONNECTIONS: u32 = 8;

/// How long a request waits for a connection before it is told that the store does not answer.
const ACQUIRE_TIMEOUT_SECONDS: u64 = 10;

/// How often a transaction that PostgreSQL broke off (deadlock, serialization) is begun anew. Two writers of the same rows in opposite
/// order need one more attempt; more than a handful means that something else is wrong.
const TRANSACTION_ATTEMPTS: usize = 5;

/// The database can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file can't be made.
    #[error("the database {path} can't be opened")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The URL is none. It holds a password, so it is not shown.
    #[error("the PostgreSQL URL is not valid")]
    Url(#[source] sqlx::Error),
    /// The database does not let us in.
    #[error("the database can't be reached")]
    Connect(#[source] sqlx::Error),
    /// The tables are not what this version expects, or are a newer version's.
    #[error("the database's tables can't be brought up to date")]
    Migrate(#[source] DbErr),
}

/// The database did not do what it was asked to.
#[derive(Debug)]
pub(super) enum DatabaseError {
    /// No space, even after room was made.
    Full,
    /// Anything else, in the database's words.
    Unavailable(String),
}

impl From<DbErr> for DatabaseError {
    fn from(error: DbErr) -> Self {
        match Failure::of(&error) {
            Failure::Full => Self::Full,
            Failure::BrokenOff | Failure::Other => Self::Unavailable(error.to_string()),
        }
    }
}

/// A database with up-to-date tables. Clones are the same one.
#[derive(Clone)]
pub struct Database {
    /// SQLite has one writer at a time: a single connection is its queue, and no transaction ever waits in `BEGIN`.
    writer: DatabaseConnection,
    readers: DatabaseConnection,
    make_room: Option<MakeRoom>,
}

impl Database {
    /// Opens the file, or makes it, readable by its owner alone: it holds the devices' keys. When the disk is full, `make_room` is called,
    /// and the write tried once more.
    pub async fn open_sqlite(path: &Path, make_room: Option<MakeRoom>) -> Result<Self, OpenError> {
        // SQLite gives its -wal and -shm files the mode of the database file.
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        let shared = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(SQLITE_BUSY_TIMEOUT_SECONDS))
            .disable_statement_logging();
        let write = shared
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            // In WAL mode only FULL has every commit on disk when it returns.
            .synchronous(SqliteSynchronous::Full)
            .pragma("journal_size_limit", SQLITE_WAL_KEPT_BYTES.to_string());
        let writer = sqlite_pool(1).connect_with(write).await.map_err(OpenError::Connect)?;
        let writer = DatabaseConnection::from(writer);
        Migrator::up(&writer, None).await.map_err(OpenError::Migrate)?;
        let readers = sqlite_pool(SQLITE_READ_CONNECTIONS).connect_with(shared.read_only(true)).await.map_err(OpenError::Connect)?;
        Ok(Self { writer, readers: readers.into(), make_room })
    }

    /// Connects to `postgres://user:password@host/database` and brings the tables of the URL's database up to date.
    pub async fn open_postgres(url: &SecretString) -> Result<Self, OpenError> {
        let options: PgConnectOptions = url.expose_secret().parse().map_err(OpenError::Url)?;
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(Duration::from_secs(ACQUIRE_TIMEOUT_SECONDS))
            .connect_with(options.disable_statement_logging())
            .await
            .map_err(OpenError::Connect)?;
        let connection = DatabaseConnection::from(pool);
        Migrator::up(&connection, None).await.map_err(OpenError::Migrate)?;
        Ok(Self { writer: connection.clone(), readers: connection, make_room: None })
    }

    /// Waits until nobody uses a connection, and closes them. SQLite's write-ahead log is folded into its file by the last one, which
    /// must be one that may write.
    pub async fn close(self) {
        for connections in [self.readers, self.writer] {
            if let Err(error) = connections.close().await {
                tracing::warn!(%error, "could not close the database: {error}");
            }
        }
    }

    /// For reads. Each sees everything that was committed before it began.
    pub(super) fn readers(&self) -> &DatabaseConnection {
        &self.readers
    }

    /// Runs `work` in one transaction and commits it: all of it is on disk when this returns `Ok`. Begins anew, a bounded number of times,
    /// when the database broke the transaction off, and once when the disk was full and room could be made.
    pub(super) async fn write<I: Sync + ?Sized, T>(&self, input: &I, work: Work<I, T>) -> Result<T, DatabaseError> {
        let mut room_made = false;
        for _ in 0..TRANSACTION_ATTEMPTS {
            let error = match self.try_write(input, work).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            match Failure::of(&error) {
                Failure::Full if !room_made => {
                    room_made = true;
                    if !self.make_room.as_ref().is_some_and(|make_room| make_room()) {
                        return Err(DatabaseError::Full);
                    }
                }
                Failure::Full => return Err(DatabaseError::Full),
                Failure::BrokenOff => {}
                Failure::Other => return Err(error.into()),
            }
        }
        Err(DatabaseError::Unavailable("other transactions were always faster".to_owned()))
    }

    async fn try_write<I: Sync + ?Sized, T>(&self, input: &I, work: Work<I, T>) -> Result<T, DbErr> {
        // IMMEDIATE, so that another process's lock is waited for at the start, where waiting helps, and not in the middle.
        let options =
            TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..TransactionOptions::default() };
        let transaction = self.writer.begin_with_options(options).await?;
        match work(&transaction, input).await {
            Ok(value) => {
                transaction.commit().await?;
                Ok(value)
            }
            Err(error) => {
                // SQLite has already rolled back after some errors (a full disk is one), and then answers that there is no transaction.
                let _ = transaction.rollback().await;
                Err(error)
            }
        }
    }
}

fn sqlite_pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .min_connections(connections)
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(ACQUIRE_TIMEOUT_SECONDS))
        // A connection to a file neither goes stale nor dies of old age.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Why a transaction failed, as far as it matters.
enum Failure {
    Full,
    BrokenOff,
    Other,
}

impl Failure {
    fn of(error: &DbErr) -> Self {
        let (DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error))) = error
        else {
            return Self::Other;
        };
        let sqlx::Error::Database(error) = &**error else { return Self::Other };
        match error.code().as_deref() {
            // SQLITE_FULL; SQLITE_IOERR_SHMSIZE, the same for the WAL's index; PostgreSQL's disk_full.
            Some("13" | "4874" | "53100") => Self::Full,
            // serialization_failure, deadlock_detected.
            Some("40001" | "40P01") => Self::BrokenOff,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use sea_orm::ConnectionTrait as _;

    use super::*;

    async fn pragma(database: &Database, statement: &str) {
        database.writer.execute_unprepared(statement).await.expect("a pragma");
    }

    async fn store_a_megabyte(database: &Database) -> Result<(), DatabaseError> {
        database
            .write(&(), |transaction, ()| {
                Box::pin(async move {
                    transaction.execute_unprepared("CREATE TABLE IF NOT EXISTS bulk (content BLOB)").await?;
                    transaction.execute_unprepared("INSERT INTO bulk VALUES (zeroblob(1000000))").await?;
                    Ok(())
                })
            })
            .await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_disk_is_tried_again_after_making_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut database = Database::open_sqlite(&folder.path().join("registry.sqlite"), None).await.expect("opens");
        // SQLite answers a reached max_page_count with the error of a full disk.
        pragma(&database, "PRAGMA max_page_count = 100").await;
        let unlimited = database.clone();
        database.make_room = Some(Arc::new(move || {
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(pragma(&unlimited, "PRAGMA max_page_count = 100000"))
            });
            true
        }));
        store_a_megabyte(&database).await.expect("fits after room was made");
    }

    #[tokio::test]
    async fn a_disk_that_stays_full_is_said_so_and_harms_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut database = Database::open_sqlite(&folder.path().join("registry.sqlite"), None).await.expect("opens");
        pragma(&database, "PRAGMA max_page_count = 100").await;
        assert!(matches!(store_a_megabyte(&database).await, Err(DatabaseError::Full)), "without ballast");

        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        database.make_room = Some(Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            true
        }));
        assert!(matches!(store_a_megabyte(&database).await, Err(DatabaseError::Full)), "ballast was not enough");
        assert_eq!(asked.load(Ordering::Relaxed), 1, "asked once");

        pragma(&database, "PRAGMA max_page_count = 100000").await;
        store_a_megabyte(&database).await.expect("works as soon as there is space");
    }

    #[tokio::test]
    async fn settings_are_those_that_durability_needs() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("registry.sqlite");
        let database = Database::open_sqlite(&path, None).await.expect("opens");
        for (pragma, expected) in [("synchronous", 2), ("foreign_keys", 1)] {
            let row =
                database.writer.query_one_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, format!("PRAGMA {pragma}")));
            let value: i32 = row.await.expect("answers").expect("a row").try_get_by_index(0).expect("a number");
            assert_eq!(value, expected, "{pragma}");
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).expect("exists").permissions());
        assert_eq!(mode & 0o777, 0o600, "keys are in it");
        assert!(folder.path().join("registry.sqlite-wal").exists(), "journal_mode is WAL");
    }
}
