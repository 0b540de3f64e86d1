//! What a hub can't know of itself: its door, its certificate's authority, its disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::net::{Admissions, Refusal, ReloadingCertificate};
use crate::ops::describe_hub::{Storage, Surroundings};
use crate::store::journal::Journal;

/// What is around a hub that listens.
pub(super) struct AroundTheHub {
    pub admissions: Arc<Admissions>,
    pub certificate: Arc<ReloadingCertificate>,
    pub journal: Arc<Journal>,
    /// The folder with the hub's data.
    pub data: PathBuf,
    /// What events may take, in bytes.
    pub retention_bytes: u64,
    /// How long they are kept.
    pub retention: Duration,
}

/// Because there were too many of them; others were turned away for what they did.
const TOO_MANY: [Refusal; 4] =
    [Refusal::TooManyConnections, Refusal::TooManyUnfinished, Refusal::TooManyUnfinishedOfAddress, Refusal::TooManyFailedOfAddress];

impl Surroundings for AroundTheHub {
    fn turned_away(&self) -> u64 {
        TOO_MANY.iter().map(|reason| self.admissions.refusals().of(*reason)).sum()
    }

    fn authority(&self) -> Option<String> {
        self.certificate.authority()
    }

    fn storage(&self) -> Option<Storage> {
        let stats = self.journal.stats();
        let disk = rustix::fs::statvfs(&self.data).ok();
        Some(Storage {
            events_bytes: stats.bytes_on_disk,
            retention_bytes: self.retention_bytes,
            retention: self.retention,
            oldest_event_time: stats.oldest_event_time,
            full: stats.disk_full,
            disk: disk.map(|disk| (disk.f_blocks.saturating_mul(disk.f_frsize), disk.f_bavail.saturating_mul(disk.f_frsize))),
        })
    }
}
