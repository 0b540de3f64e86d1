//! What the hub is: its names, its life, its certificate, and how many devices it has.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::core::session::BootId;
use crate::core::time::UnixMillis;
use crate::ops::registry_statistics::{connected_count, device_count};
use crate::ops::{DeviceCount, Hub, RegistryError};

/// Tells when the certificate ends that clients are shown now; `None` when there is none, or it does not say.
#[derive(Clone)]
pub struct CertificateExpiry(Arc<dyn Fn() -> Option<UnixMillis> + Send + Sync>);

impl CertificateExpiry {
    /// By asking whoever shows it, each time anew: it may have been replaced.
    pub fn told_by(tell: impl Fn() -> Option<UnixMillis> + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// When it ends.
    #[must_use]
    pub fn get(&self) -> Option<UnixMillis> {
        (self.0)()
    }
}

impl fmt::Debug for CertificateExpiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CertificateExpiry").field(&self.get()).finish()
    }
}

/// What the hub can't know of itself: told by whoever runs it, each time anew.
pub trait Surroundings: Send + Sync + 'static {
    /// How many connections were turned away at the edge for being too many, since the start.
    fn turned_away(&self) -> u64;

    /// The certificate of the authority that clients have to trust, as PEM; `None` when it is not known.
    fn authority(&self) -> Option<String>;

    /// Where events are kept; `None` when they are not on a disk. Blocks on it.
    fn storage(&self) -> Option<Storage>;
}

/// How much is kept, and how much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// What events take, in bytes.
    pub events_bytes: u64,
    /// What they may take.
    pub retention_bytes: u64,
    /// How long they are kept.
    pub retention: Duration,
    /// When the oldest that is kept was enqueued.
    pub oldest_event_time: Option<UnixMillis>,
    /// Whether events are refused because the disk is full.
    pub full: bool,
    /// How large the disk is, and what is free there for the hub, in bytes; `None` when it does not say.
    pub disk: Option<(u64, u64)>,
}

/// A hub with nothing around it.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Surroundings for Alone {
    fn turned_away(&self) -> u64 {
        0
    }

    fn authority(&self) -> Option<String> {
        None
    }

    fn storage(&self) -> Option<Storage> {
        None
    }
}

/// What the hub is.
#[derive(Clone, Debug)]
pub struct HubDescription {
    /// All its names, the one in connection strings first.
    pub host_names: Vec<String>,
    /// Which life of its data this is.
    pub boot: BootId,
    /// When that began.
    pub started_time: UnixMillis,
    /// When the certificate ends that is shown now.
    pub certificate_expiry_time: Option<UnixMillis>,
    /// How many partitions its events have.
    pub partitions: u16,
    /// How many identities it has.
    pub devices: DeviceCount,
    /// How many of their devices are connected.
    pub connected: usize,
    /// The authority that clients have to trust, as PEM.
    pub authority: Option<String>,
    /// Where events are kept.
    pub storage: Option<Storage>,
}

/// Describes the hub as it is now.
pub async fn describe_hub(hub: &Hub) -> Result<HubDescription, RegistryError> {
    let surroundings = Arc::clone(&hub.surroundings);
    Ok(HubDescription {
        devices: device_count(hub).await?,
        connected: connected_count(hub),
        host_names: hub.names.all().map(str::to_owned).collect(),
        boot: hub.boot,
        started_time: hub.started_time,
        certificate_expiry_time: hub.certificate_expiry.get(),
        partitions: hub.events.partition_count().get(),
        authority: hub.surroundings.authority(),
        storage: tokio::task::spawn_blocking(move || surroundings.storage()).await.ok().flatten(),
    })
}
