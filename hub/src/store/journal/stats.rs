//! What the journal counts.
//!
//! Owns the counters and the list of known holes. Never knows how they are shown.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::scan::Stretch;
use crate::core::time::UnixMillis;

/// Holes beyond these are counted again each time that a reader meets them.
const MAX_KNOWN_HOLES: usize = 10_000;

/// The journal's state in numbers; counters are since the start of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalStats {
    /// Groups made durable.
    pub groups: u64,
    /// Events made durable.
    pub records: u64,
    /// Bytes written for them.
    pub bytes: u64,
    /// How long all groups together took from the write to the end of fdatasync.
    pub sync_time: Duration,
    /// Times that a write or fdatasync failed.
    pub failures: u64,
    /// Damaged stretches of acknowledged content.
    pub holes: u64,
    /// Segment files in use.
    pub segments: u64,
    /// What the segments take on disk.
    pub bytes_on_disk: u64,
    /// When the oldest event that is kept was enqueued, if there is one.
    pub oldest_event_time: Option<UnixMillis>,
    /// Whether the space for the registry is held, if the journal was given such a ballast.
    pub ballast_held: Option<bool>,
    /// Whether events are refused because the disk is full.
    pub disk_full: bool,
    /// Whether events are refused for any reason.
    pub refusing: bool,
}

/// Counters of the writer.
#[derive(Debug, Default)]
pub struct Counters {
    /// See [`JournalStats::groups`].
    pub groups: AtomicU64,
    /// See [`JournalStats::records`].
    pub records: AtomicU64,
    /// See [`JournalStats::bytes`].
    pub bytes: AtomicU64,
    /// See [`JournalStats::sync_time`]. The clock has milliseconds only, but the sum of many rounded differences is right on average.
    pub sync_ms: AtomicU64,
    /// See [`JournalStats::failures`].
    pub failures: AtomicU64,
}

/// The damaged stretches met so far.
#[derive(Debug, Default)]
pub struct Holes {
    known: Mutex<BTreeSet<(u64, Stretch)>>,
    count: AtomicU64,
}

impl Holes {
    /// Counts and logs a hole, once.
    pub fn note(&self, segment: u64, stretch: Stretch) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&(segment, stretch)) {
            return;
        }
        if known.len() < MAX_KNOWN_HOLES {
            known.insert((segment, stretch));
        }
        drop(known);
        self.count.fetch_add(1, Relaxed);
        let Stretch { from, to } = stretch;
        tracing::error!(segment, from, to, "journal segment {segment} is damaged from byte {from} to {to}; the events there are skipped");
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }
}
