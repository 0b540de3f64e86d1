//! Retention, indexes, sealing, and what a folder may not be opened with.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::config;
use super::disks::{Faults, FaultyDisk, MemoryDisk};
use super::rig::Rig;
use crate::core::event::{PartitionId, SequenceNumber};
use crate::core::time::UnixMillis;
use crate::store::ballast::Ballast;
use crate::store::journal::JournalConfig;
use crate::store::journal::JournalError;
use crate::store::journal::layout::HEADER_BYTES;
use crate::store::journal::segment::segment_name;

fn numbers(rig: &Rig) -> Vec<u64> {
    rig.read(0, 0).into_iter().map(|event| event.0).collect()
}

#[test]
fn retention_by_time_drops_whole_segments_and_never_reuses_a_number() {
    let disk = MemoryDisk::default();
    let config = JournalConfig { retention_time: Duration::from_secs(10), segment_max_age: Duration::from_secs(2), ..config(2) };
    let mut rig = Rig::open(Arc::new(disk.clone()), config.clone()).unwrap();
    for _ in 0..30 {
        rig.append(&[(0, b"x")]);
        rig.clock.0.fetch_add(1000, SeqCst);
        rig.turn();
    }
    let kept = numbers(&rig);
    assert!((10..=13).contains(&kept.len()) && kept.last() == Some(&29), "{kept:?}");
    assert_eq!(rig.partition(0).begin_sequence_number.0, kept[0]);
    rig.clock.0.fetch_add(3_600_000, SeqCst);
    // The first tick completes the active segment, and with it it expires.
    rig.turn();
    assert_eq!(numbers(&rig), [0; 0]);
    let info = rig.partition(0);
    assert_eq!((info.begin_sequence_number.0, info.next_sequence_number.0, info.last_enqueued_time), (30, 30, Some(UnixMillis(1_029_000))));
    let now = rig.clock.0.load(SeqCst);
    rig.close();
    for _ in 0..3 {
        let rig = Rig::open(Arc::new(disk.clone()), config.clone()).unwrap();
        rig.clock.0.store(now, SeqCst);
        assert_eq!((rig.next(0), rig.partition(0).last_enqueued_time), (30, Some(UnixMillis(1_029_000))));
        assert_eq!(rig.stats().segments, 1, "starts don't pile up segments");
        drop(rig);
    }
    let mut rig = Rig::open(Arc::new(disk), config).unwrap();
    rig.append(&[(0, b"x")]);
    assert_eq!(numbers(&rig), [30]);
}

#[test]
fn upkeep_does_not_wait_for_a_pause() {
    let folder = tempfile::tempdir().unwrap();
    let ballast = Arc::new(Ballast::open(folder.path().join("ballast"), 4096).unwrap());
    let config = JournalConfig {
        segment_bytes: 1024 * 1024,
        segment_max_age: Duration::from_secs(2),
        retention_time: Duration::from_secs(10),
        ballast: Some(ballast.clone()),
        ..config(1)
    };
    let mut rig = Rig::open(Arc::new(MemoryDisk::default()), config).unwrap();
    assert!(ballast.release());
    for number in 0..300 {
        rig.clock.0.fetch_add(100, SeqCst);
        rig.append(&[(0, b"x")]);
        assert_eq!(rig.stats().ballast_held, Some(number >= 9), "it is taken again within a second: {number}");
    }
    // Ten seconds' events, and those of one segment that is as old as its last.
    let kept = numbers(&rig);
    assert!((100..=130).contains(&kept.len()) && kept.last() == Some(&299), "{kept:?}");
    assert!((5..=7).contains(&rig.stats().segments), "{:?}", rig.stats());
}

#[test]
fn upkeep_goes_on_when_the_clock_is_set_back() {
    let config = JournalConfig { segment_max_age: Duration::from_secs(2), ..config(1) };
    let mut rig = Rig::open(Arc::new(MemoryDisk::default()), config).unwrap();
    rig.clock.0.fetch_sub(600_000, SeqCst);
    // The first segment is from the future; it is as old as it looks when another is begun.
    for _ in 0..6050 {
        rig.clock.0.fetch_add(100, SeqCst);
        rig.append(&[(0, b"")]);
    }
    assert!(rig.stats().segments > 1);
}

#[test]
fn an_old_segment_goes_on_while_there_is_no_space_for_another() {
    let faults = Arc::new(Faults::default());
    let disk = FaultyDisk { disk: Arc::new(MemoryDisk::default()), faults: faults.clone() };
    let mut rig = Rig::open(Arc::new(disk), config(1)).unwrap();
    faults.full.store(true, SeqCst);
    for _ in 0..3 {
        rig.clock.0.fetch_add(2 * 60 * 60 * 1000, SeqCst);
        rig.append(&[(0, b"x")]);
    }
    assert_eq!((rig.stats().segments, rig.stats().refusing), (1, false));
    faults.full.store(false, SeqCst);
    rig.clock.0.fetch_add(1000, SeqCst);
    rig.append(&[(0, b"x")]);
    assert_eq!((rig.stats().segments, numbers(&rig)), (2, vec![0, 1, 2, 3]));
}

#[test]
fn the_oldest_event_is_known_by_its_time() {
    let disk = Arc::new(MemoryDisk::default());
    let mut rig = Rig::open(disk.clone(), JournalConfig { retention_bytes: 64 * 1024, ..config(2) }).unwrap();
    assert_eq!((rig.stats().oldest_event_time, rig.stats().ballast_held), (None, None));
    for number in 0..100 {
        rig.clock.0.fetch_add(10, SeqCst);
        rig.append(&[(1, &[1; 1000])]);
        // Enqueued 10 ms apart, from the clock's start on.
        let oldest = rig.partition(1).begin_sequence_number.0;
        let time = 1_000_010 + 10 * i64::try_from(oldest).unwrap();
        assert_eq!(rig.stats().oldest_event_time, Some(UnixMillis(time)), "after event {number}");
    }
    assert!(rig.partition(1).begin_sequence_number.0 > 0);
    let oldest = rig.stats().oldest_event_time;
    rig.close();
    assert_eq!(Rig::open(disk, config(2)).unwrap().stats().oldest_event_time, oldest);
}

#[test]
fn retention_by_size_drops_the_oldest() {
    let disk = MemoryDisk::default();
    let mut rig = Rig::open(Arc::new(disk), JournalConfig { retention_bytes: 64 * 1024, ..config(1) }).unwrap();
    for _ in 0..200 {
        rig.append(&[(0, &[1; 1000])]);
        assert!(rig.stats().bytes_on_disk <= 80 * 1024);
    }
    let kept = numbers(&rig);
    assert!(kept.len() > 20 && kept.last() == Some(&199));
    assert_eq!(kept[0], rig.partition(0).begin_sequence_number.0);
}

#[test]
fn a_missing_or_damaged_index_is_rebuilt() {
    let disk = MemoryDisk::default();
    let mut rig = Rig::open(Arc::new(disk.clone()), config(2)).unwrap();
    for number in 0..100_u8 {
        rig.append(&[(u16::from(number % 2), &[number; 1000])]);
    }
    let expected = [rig.read(0, 0), rig.read(1, 0)];
    rig.close();
    let indexes = disk.names().into_iter().filter(|name| name.ends_with(".index")).collect::<Vec<_>>();
    assert!(indexes.len() >= 5);
    for damage in 0..3 {
        for name in &indexes {
            match damage {
                0 => drop(disk.0.lock().unwrap().remove(name)),
                1 => disk.change(name, |bytes| *bytes.last_mut().unwrap() ^= 1),
                _ => disk.change(name, |bytes| bytes.truncate(50)),
            }
        }
        let rig = Rig::open(Arc::new(disk.clone()), config(2)).unwrap();
        assert_eq!([rig.read(0, 0), rig.read(1, 0)], expected);
        assert_eq!(rig.stats().holes, 0);
        assert!(indexes.iter().all(|name| disk.names().contains(name)), "and kept");
    }
}

#[test]
fn an_idle_log_is_sealed_once() {
    let disk = MemoryDisk::default();
    let mut rig = Rig::open(Arc::new(disk.clone()), config(1)).unwrap();
    rig.append(&[(0, b"x")]);
    let before = rig.shared.catalog().active().end;
    rig.turn();
    let sealed = rig.shared.catalog().active().end;
    assert!(sealed > before);
    rig.turn();
    assert_eq!(rig.shared.catalog().active().end, sealed);
    // Without the seal, this damage would be a torn tail.
    disk.change(&segment_name(0), |bytes| bytes[usize::try_from(before).unwrap() - 8] ^= 1);
    let rig = Rig::open(Arc::new(disk), config(1)).unwrap();
    assert_eq!((rig.next(0), numbers(&rig), rig.stats().holes), (1, vec![], 1));
}

#[test]
fn the_number_of_partitions_is_fixed() {
    let disk = MemoryDisk::default();
    Rig::open(Arc::new(disk.clone()), config(4)).unwrap().close();
    let refused = Rig::open(Arc::new(disk.clone()), config(2)).err().unwrap();
    assert!(matches!(refused, JournalError::PartitionCount { stored: 4, configured: 2 }));
    assert!(matches!(Rig::open(Arc::new(disk), config(33)).err().unwrap(), JournalError::TooManyPartitions(33)));
}

#[test]
fn a_newer_segment_is_refused() {
    let disk = MemoryDisk::default();
    Rig::open(Arc::new(disk.clone()), config(1)).unwrap().close();
    disk.change(&segment_name(0), |bytes| {
        bytes[12] = 9;
        let crc = crc32c::crc32c(&bytes[12..usize::try_from(HEADER_BYTES).unwrap()]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    });
    assert!(matches!(Rig::open(Arc::new(disk), config(1)).err().unwrap(), JournalError::NewerVersion { segment: 0, version: 9 }));
}

#[test]
fn a_clock_set_back_keeps_the_order_of_times() {
    let disk = MemoryDisk::default();
    let mut rig = Rig::open(Arc::new(disk.clone()), config(1)).unwrap();
    rig.append(&[(0, b"x")]);
    let time = rig.partition(0).last_enqueued_time;
    rig.close();
    let mut rig = Rig::open(Arc::new(disk), config(1)).unwrap();
    rig.clock.0.store(5, SeqCst);
    rig.append(&[(0, b"y")]);
    assert_eq!(rig.partition(0).last_enqueued_time, time);
}

#[test]
fn a_reader_goes_on_where_it_stopped() {
    let disk = MemoryDisk::default();
    let mut rig = Rig::open(Arc::new(disk), config(2)).unwrap();
    for number in 0..200_u8 {
        rig.append(&[(0, &[number; 500]), (1, b"other"), (0, &[number])]);
    }
    let whole = rig.read(0, 0);
    assert_eq!(whole.len(), 400);
    for room in [0, 1, 501, 502, 5000] {
        let (mut events, mut from) = (Vec::new(), SequenceNumber(0));
        loop {
            let some = rig.shared.read(PartitionId(0), from, room).unwrap();
            let Some(last) = some.last() else { break };
            from = last.sequence_number.next();
            events.extend(some.into_iter().map(|event| (event.sequence_number.0, event.content.to_vec())));
        }
        assert!(events == whole, "{room} bytes at a time");
    }
}
