//! Which stores a hub has, how they are opened, and how they are closed.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use tokio::task::spawn_blocking;

use crate::config::Config;
use crate::core::audit::AuditId;
use crate::core::session::BootId;
use crate::core::time::Clock;
use crate::store::Registry;
use crate::store::audit::{AuditLog, AuditLogError};
use crate::store::ballast::{Ballast, DEFAULT_BALLAST_BYTES};
use crate::store::commands::Commands;
use crate::store::connection_log::{ConnectionLog, ConnectionLogError};
use crate::store::data_folder::{DataFolder, DataFolderError};
use crate::store::group_positions::GroupPositions;
use crate::store::journal::{Journal, JournalConfig, JournalError};
use crate::store::sql::{Database, OpenError, SqlAuditLog, SqlCommands, SqlConnectionLog, SqlGroupPositions, SqlRegistry};

/// The stores can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    /// The ballast.
    #[error("the ballast {path} can't be taken")]
    Ballast {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The events.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Everything that is in SQL.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The connections' log.
    #[error(transparent)]
    ConnectionLog(#[from] ConnectionLogError),
    /// The audit.
    #[error(transparent)]
    Audit(#[from] AuditLogError),
    /// The file with the registry's URL.
    #[error("the registry's URL can't be read from {path}")]
    RegistryUrl {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A hub's stores, open.
pub struct Stores {
    /// The identities.
    pub registry: Arc<dyn Registry>,
    /// The events.
    pub journal: Arc<Journal>,
    /// The commands.
    pub commands: Arc<dyn Commands>,
    /// The devices' connections.
    pub connection_log: Arc<dyn ConnectionLog>,
    /// The audit, and its last entry.
    pub audit: (Arc<dyn AuditLog>, Option<AuditId>),
    /// Where the consumer groups stood.
    pub group_positions: Arc<dyn GroupPositions>,
    /// Which life of the data this is.
    pub boot: BootId,
    /// What all of these but the events are kept in.
    database: Database,
    /// Locked until everything in it is closed.
    folder: DataFolder,
}

impl Stores {
    /// Opens everything in the data folder, which is this process's alone from then on.
    pub async fn open(config: &Config, clock: &Arc<dyn Clock>) -> Result<Self, StoreError> {
        let folder = DataFolder::open(&config.data)?;
        // A disk that is full when the hub starts must not keep the registry from being opened: the ballast comes before the journal,
        // which allocates nothing while it is not held.
        let path = folder.ballast();
        let ballast = Ballast::open(path.clone(), DEFAULT_BALLAST_BYTES).map_err(|source| StoreError::Ballast { path, source })?;
        let ballast = Arc::new(ballast);
        let journal = open_journal(&folder, config, &ballast, Arc::clone(clock)).await?;
        let database = open_database(&folder, config.registry_url_file.as_deref(), ballast).await?;
        let connection_log = SqlConnectionLog::new(database.clone());
        let boot = connection_log.begin_boot(clock.now()).await?;
        let audit = SqlAuditLog::new(database.clone());
        let last_audited = audit.last().await?;
        Ok(Self {
            registry: Arc::new(SqlRegistry::new(database.clone())),
            journal: Arc::new(journal),
            commands: Arc::new(SqlCommands::new(database.clone())),
            connection_log: Arc::new(connection_log),
            group_positions: Arc::new(SqlGroupPositions::new(database.clone())),
            audit: (Arc::new(audit), last_audited),
            boot,
            database,
            folder,
        })
    }

    /// Waits until what was taken is on disk, and gives everything back.
    pub async fn close(self) {
        let Self { registry, journal, commands, connection_log, group_positions, audit, boot: _, database, folder } = self;
        drop((registry, commands, connection_log, group_positions, audit));
        database.close().await;
        // A panic in there has been logged by the journal.
        let _ = spawn_blocking(move || journal.close()).await;
        drop(folder);
    }
}

async fn open_journal(
    folder: &DataFolder,
    config: &Config,
    ballast: &Arc<Ballast>,
    clock: Arc<dyn Clock>,
) -> Result<Journal, JournalError> {
    let partitions = u16::try_from(config.events.partitions.get()).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN);
    let journal = JournalConfig {
        retention_time: config.events.retention_time.get(),
        retention_bytes: config.events.retention_size.get(),
        ballast: Some(Arc::clone(ballast)),
        ..JournalConfig::new(partitions)
    };
    let events = folder.events();
    // Recovery reads from the disk for as long as it takes.
    match spawn_blocking(move || Journal::open(events, journal, clock)).await {
        Ok(opened) => opened,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

async fn open_database(folder: &DataFolder, url_file: Option<&Path>, ballast: Arc<Ballast>) -> Result<Database, StoreError> {
    Ok(match url_file {
        None => Database::open_sqlite(&folder.registry(), Some(Arc::new(move || ballast.release()))).await?,
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|source| StoreError::RegistryUrl { path: path.to_path_buf(), source })?;
            Database::open_postgres(&SecretString::from(Zeroizing::new(text).trim())).await?
        }
    })
}
