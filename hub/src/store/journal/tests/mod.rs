//! The journal against its contract, its model, and a disk that does its worst.

mod damage;
pub mod disks;
mod faults;
mod golden;
pub mod rig;
mod simulated;
mod upkeep;

use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use super::*;
use crate::store::contract::event_log;

/// A clock that stands still until it is set.
pub struct TestClock(pub AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(SeqCst))
    }
}

pub fn clock() -> Arc<TestClock> {
    Arc::new(TestClock(AtomicI64::new(1_000_000)))
}

/// Segments of 16 KiB, so that they roll.
pub fn config(partitions: u16) -> JournalConfig {
    JournalConfig { segment_bytes: 16 * 1024, ..JournalConfig::new(NonZeroU16::new(partitions).unwrap()) }
}

fn open(folder: &Path, partitions: u16) -> Result<Journal, JournalError> {
    Journal::open(folder.to_owned(), config(partitions), clock())
}

#[tokio::test]
async fn keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let made = std::cell::Cell::new(0);
    event_log::suite(|partitions| {
        made.set(made.get() + 1);
        open(&folder.path().join(made.get().to_string()), partitions.get()).unwrap()
    })
    .await;
}

#[tokio::test]
async fn keeps_the_contract_of_retention() {
    let folder = tempfile::tempdir().unwrap();
    let config = JournalConfig { retention_bytes: 64 * 1024, ..config(1) };
    let log = Journal::open(folder.path().to_owned(), config, clock()).unwrap();
    event_log::retention(&log, |_| ()).await;
}

#[tokio::test]
async fn keeps_events_numbers_and_times_when_reopened() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..5_u64 {
        let log = open(folder.path(), 2).unwrap();
        assert_eq!(event_log::all(&log, 0).await.len() as u64, round * 40);
        for number in 0..40 {
            event_log::append(&log, 1000 * i64::try_from(round).unwrap() + number, &[(0, &[7; 900]), (1, b"x")]).await;
        }
        log.close();
        assert_eq!(log.try_append(&mut event_log::batch(1, &[(0, b"late")])), Err(AppendError::Unavailable { retry_after: RETRY_AFTER }));
    }
    let log = open(folder.path(), 2).unwrap();
    let numbers = event_log::all(&log, 0).await.iter().map(|event| event.0).collect::<Vec<_>>();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    assert_eq!(log.stats().holes, 0);
    assert_eq!(log.partition(PartitionId(1)).unwrap().last_enqueued_time, Some(UnixMillis(4039)));
}
