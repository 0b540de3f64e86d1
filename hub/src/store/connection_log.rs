//! The seam behind which the devices' connections are kept, for those who ask later who was there and why they went.
//!
//! Never on the way of a connect: records come in batches, when they come.

use async_trait::async_trait;

use crate::core::device_id::DeviceId;
use crate::core::session::{BootId, ConnectionId, ConnectionRecord};
use crate::core::time::UnixMillis;

/// The devices' connections of the last days.
#[async_trait]
pub trait ConnectionLog: Send + Sync + 'static {
    /// Begins a life of the hub at `now`, and says which it is. Its first heartbeat is `now`.
    async fn begin_boot(&self, now: UnixMillis) -> Result<BootId, ConnectionLogError>;

    /// Writes the records, each over an earlier one of the same boot and connection, and notes that `boot` lived at `heartbeat`: one
    /// transaction.
    async fn record(&self, boot: BootId, heartbeat: UnixMillis, records: &[ConnectionRecord]) -> Result<(), ConnectionLogError>;

    /// A device's connections, the latest first: those before `before`, at most `limit` (1 to 1000). One of an earlier boot that has no
    /// end on record ended at that boot's last heartbeat, or at its own beginning if that is later, because the hub was restarted.
    async fn connections(
        &self,
        current: BootId,
        device: &DeviceId,
        before: Option<(BootId, ConnectionId)>,
        limit: usize,
    ) -> Result<Vec<ConnectionRecord>, ConnectionLogError>;

    /// The last heartbeats of boots, for those who find something that began in one and has no end.
    async fn last_heartbeats(&self) -> Result<Vec<(BootId, UnixMillis)>, ConnectionLogError>;

    /// Forgets at most `limit` records that ended before `before`, by the ends that [`Self::connections`] shows, and says how many it
    /// forgot.
    async fn prune(&self, current: BootId, before: UnixMillis, limit: usize) -> Result<usize, ConnectionLogError>;

    /// Forgets at most `limit` boots earlier than `current` whose last heartbeat was before `before`, and to which nothing that is stored
    /// beside them refers, neither a connection nor a device. Says how many it forgot.
    async fn forget_boots(&self, current: BootId, before: UnixMillis, limit: usize) -> Result<usize, ConnectionLogError>;
}

/// Connections can't be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectionLogError {
    /// No space.
    #[error("the disk for the connections' log is full")]
    Full,
    /// Anything else, in the store's words.
    #[error("the connections' log does not answer: {0}")]
    Unavailable(String),
}
