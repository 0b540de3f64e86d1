//! Disks that fail, fill up, and stutter.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::config;
use super::disks::{Faults, FaultyDisk, MemoryDisk};
use super::rig::Rig;
use crate::store::ballast::Ballast;
use crate::store::journal::JournalConfig;
use crate::store::journal::writer::RETRY_AFTER;
use crate::store::{AppendError, Fate};

fn rig(config: JournalConfig) -> (Rig, MemoryDisk, Arc<Faults>) {
    let (disk, faults) = (MemoryDisk::default(), Arc::new(Faults::default()));
    let faulty = FaultyDisk { disk: Arc::new(disk.clone()), faults: faults.clone() };
    (Rig::open(Arc::new(faulty), config).unwrap(), disk, faults)
}

#[test]
fn a_failed_write_or_fdatasync_is_final() {
    for write in [false, true] {
        let (mut rig, disk, faults) = rig(config(2));
        rig.append(&[(0, b"before"), (1, b"before")]);
        let counter = if write { &faults.failing_writes } else { &faults.failing_syncs };
        counter.store(1, SeqCst);
        let failed = rig.offer(&[(0, b"failed")]).unwrap();
        rig.turn();
        assert_eq!(rig.fate(failed), Fate::Failed);
        assert_eq!(rig.offer(&[(0, b"refused")]), Err(AppendError::Unavailable { retry_after: RETRY_AFTER }));
        assert_eq!(rig.read(0, 0).len(), 1, "readers never see what failed");
        rig.turn();
        assert_eq!(rig.fate(failed), Fate::Failed, "for ever");
        rig.append(&[(0, b"after")]);
        assert_eq!(rig.read(0, 0), [(0, b"before".to_vec()), (1, b"after".to_vec())]);
        assert_eq!((rig.stats().failures, rig.stats().holes, rig.stats().refusing), (1, 0, false));
        drop(rig);
        let rig = Rig::open(Arc::new(disk), config(2)).unwrap();
        assert_eq!(rig.read(0, 0), [(0, b"before".to_vec()), (1, b"after".to_vec())]);
        assert_eq!(rig.stats().holes, 0);
    }
}

#[test]
fn what_waits_behind_a_failed_group_fails_with_it() {
    let (mut rig, _, faults) = rig(config(1));
    faults.failing_syncs.store(3, SeqCst);
    let tickets = [rig.offer(&[(0, b"a")]).unwrap(), rig.offer(&[(0, b"b")]).unwrap()];
    rig.turn();
    assert_eq!(tickets.map(|ticket| rig.fate(ticket)), [Fate::Failed; 2]);
    rig.turn();
    assert!(rig.offer(&[(0, b"c")]).is_err(), "verification needs the disk too");
    rig.turn();
    rig.turn();
    rig.append(&[(0, b"d")]);
    assert_eq!(rig.read(0, 0), [(0, b"d".to_vec())]);
}

#[test]
fn events_damaged_while_the_disk_failed_are_found() {
    let (mut rig, disk, faults) = rig(config(1));
    rig.append(&[(0, b"before")]);
    faults.failing_syncs.store(1, SeqCst);
    rig.offer(&[(0, b"failed")]).unwrap();
    rig.turn();
    disk.change("00000000000000000000.segment", |bytes| {
        let at = bytes.windows(6).position(|window| window == b"before").unwrap();
        bytes[at] = b'x';
    });
    rig.turn();
    assert_eq!(rig.stats().holes, 1);
    rig.append(&[(0, b"after")]);
    assert_eq!(rig.read(0, 0), [(1, b"after".to_vec())]);
    assert_eq!(rig.stats().holes, 1, "a hole is counted once");
}

#[test]
fn a_full_disk_refuses_events_until_there_is_space() {
    let (mut rig, _, faults) = rig(config(1));
    faults.full.store(true, SeqCst);
    let mut written = 0;
    let failed = loop {
        let ticket = rig.offer(&[(0, &[1; 1000])]).unwrap();
        rig.turn();
        match rig.fate(ticket) {
            Fate::Durable => written += 1,
            fate => break fate,
        }
    };
    assert_eq!(failed, Fate::Failed);
    assert!(written > 5, "what is allocated is used");
    assert_eq!(rig.offer(&[(0, b"x")]), Err(AppendError::DiskFull { retry_after: RETRY_AFTER }));
    assert!(rig.stats().disk_full);
    rig.turn();
    assert!(rig.offer(&[(0, b"x")]).is_err());
    assert_eq!(rig.read(0, 0).len(), written, "events can be read all the same");
    faults.full.store(false, SeqCst);
    rig.turn();
    rig.append(&[(0, b"x")]);
    assert_eq!(rig.read(0, 0).len(), written + 1);
    assert!(!rig.stats().disk_full);
}

#[test]
fn a_journal_opens_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, disk, faults) = rig(config(1));
    first.append(&[(0, b"before")]);
    first.close();
    faults.full.store(true, SeqCst);
    let open = |ballast| {
        let faulty = FaultyDisk { disk: Arc::new(disk.clone()), faults: faults.clone() };
        Rig::open(Arc::new(faulty), JournalConfig { ballast, ..config(1) })
    };
    let mut rig = open(None).unwrap();
    assert_eq!(rig.offer(&[(0, b"x")]), Err(AppendError::DiskFull { retry_after: RETRY_AFTER }));
    assert_eq!(rig.read(0, 0).len(), 1);
    faults.full.store(false, SeqCst);
    rig.turn();
    rig.append(&[(0, b"after")]);
    rig.close();

    let ballast = Arc::new(Ballast::open(folder.path().join("ballast"), 1000).unwrap());
    ballast.release();
    let mut rig = open(Some(ballast)).unwrap();
    assert!(rig.stats().disk_full, "the space of the ballast is not the journal's");
    rig.turn();
    rig.append(&[(0, b"at last")]);
    assert_eq!(rig.read(0, 0).len(), 3);
}

#[test]
fn nothing_is_allocated_while_the_ballast_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let ballast = Arc::new(Ballast::open(folder.path().join("ballast"), 1000).unwrap());
    let (mut rig, disk, _) = rig(JournalConfig { ballast: Some(ballast.clone()), ..config(1) });
    assert!(ballast.release());
    let files = disk.names();
    let failed = loop {
        let ticket = rig.offer(&[(0, &[1; 1000])]).unwrap();
        rig.turn();
        if rig.fate(ticket) != Fate::Durable {
            break ticket;
        }
    };
    assert_eq!(rig.fate(failed), Fate::Failed);
    assert_eq!(disk.names(), files);
    rig.turn();
    assert!(ballast.is_held(), "taken again when there is space");
    rig.append(&[(0, b"x")]);
}

#[test]
fn short_and_interrupted_writes_are_continued() {
    let (mut rig, disk, faults) = rig(config(3));
    faults.short_writes.store(true, SeqCst);
    for number in 0..50_u8 {
        rig.append(&[(0, &[number; 700]), (2, &[number; 3])]);
    }
    drop(rig);
    let rig = Rig::open(Arc::new(disk), config(3)).unwrap();
    let expected = (0..50_u8).map(|number| (u64::from(number), vec![number; 700])).collect::<Vec<_>>();
    assert_eq!(rig.read(0, 0), expected);
}

#[test]
fn the_queue_is_bounded_and_takes_one_large_batch_all_the_same() {
    let (mut rig, _, _) = rig(JournalConfig { queue_bytes: 10_000, ..config(1) });
    let large = rig.offer(&[(0, &[1; 100_000])]).unwrap();
    assert_eq!(rig.offer(&[(0, b"x")]), Err(AppendError::Busy));
    rig.turn();
    assert_eq!(rig.fate(large), Fate::Durable, "a group larger than a segment gets one of its own");
    assert!(rig.offer(&[(0, b"x")]).is_ok());
    assert!(rig.writer.turn(Duration::ZERO));
    assert_eq!(rig.read(0, 0).len(), 2);
}
