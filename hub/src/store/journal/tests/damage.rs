//! Flipped and torn bytes, each at every place.

use std::sync::Arc;

use super::config;
use super::disks::MemoryDisk;
use super::rig::Rig;
use crate::store::journal::layout::{BLOCK_HEADER_BYTES, BlockHeader, GroupMarker, HEADER_BYTES};
use crate::store::journal::scan::{Found, Walk};
use crate::store::journal::segment::segment_name;

type Events = Vec<(u64, Vec<u8>)>;

/// A log of three groups in segment 0.
struct Sample {
    disk: MemoryDisk,
    events: [Events; 2],
    frames: Vec<(usize, usize, Option<BlockHeader>)>,
}

fn sample(sealed: bool) -> Sample {
    let disk = MemoryDisk::default();
    let mut rig = Rig::open(Arc::new(disk.clone()), config(2)).unwrap();
    rig.append(&[(0, b"first"), (1, b""), (0, b"second, which is a little longer")]);
    rig.append(&[(1, b"third"), (0, b"fourth"), (0, b"fifth"), (0, b"sixth")]);
    rig.append(&[(1, b"seventh"), (1, b"eighth"), (0, b"ninth")]);
    let events = [rig.read(0, 0), rig.read(1, 0)];
    let end = rig.shared.catalog().active().end;
    if sealed {
        rig.close();
    }
    let mut walk = Walk::new(disk.0.lock().unwrap()[&segment_name(0)].clone(), 0, 2, HEADER_BYTES, end);
    let mut frames = Vec::new();
    while let Some(found) = walk.next().unwrap() {
        let at = |offset: u64| usize::try_from(offset).unwrap();
        match found {
            Found::Group(stretch, _) => frames.push((at(stretch.from), at(stretch.to), None)),
            Found::Block(stretch, block) => frames.push((at(stretch.from), at(stretch.to), Some(block))),
            Found::Damage(stretch) => panic!("{stretch:?}"),
        }
    }
    Sample { disk, events, frames }
}

/// Opens, and checks that what is there is the sample's; then goes on and opens again.
fn check(disk: &MemoryDisk, sample: &Sample, what: &str) -> ([Events; 2], [u64; 2], u64) {
    let mut rig = Rig::open(Arc::new(disk.clone()), config(2)).unwrap();
    let events = [rig.read(0, 0), rig.read(1, 0)];
    for (found, written) in events.iter().zip(&sample.events) {
        assert!(found.iter().all(|event| written.contains(event)), "{what}: only what was written is read: {found:?}");
        assert!(found.is_sorted_by_key(|event| event.0), "{what}: in order");
    }
    let next = [rig.next(0), rig.next(1)];
    let holes = rig.stats().holes;
    rig.append(&[(0, b"more"), (1, b"more")]);
    drop(rig);
    let rig = Rig::open(Arc::new(disk.clone()), config(2)).unwrap();
    for partition in 0..2 {
        let mut expected = events[usize::from(partition)].clone();
        expected.push((next[usize::from(partition)], b"more".to_vec()));
        assert_eq!(rig.read(partition, 0), expected, "{what}: nothing changes by going on");
    }
    (events, next, holes)
}

#[test]
fn a_flipped_byte_below_the_watermark_costs_its_record_and_shifts_no_number() {
    let sample = sample(true);
    let mut costs = std::collections::BTreeSet::new();
    for &(from, to, block) in &sample.frames {
        for at in from..to {
            let disk = sample.disk.fork();
            disk.change(&segment_name(0), |bytes| bytes[at] ^= 0x10);
            let what = format!("byte {at}");
            let (events, next, holes) = check(&disk, &sample, &what);
            assert_eq!(next, [6, 4], "{what}: the numbers go on");
            let lost = 10 - events[0].len() - events[1].len();
            let worst = match block {
                None => 0,
                Some(block) if at < from + BLOCK_HEADER_BYTES => block.records as usize,
                Some(_) => 1,
            };
            assert!(lost == worst || (lost == 0 && holes == 0 && worst == 1), "{what}: {lost} lost of {worst}, {holes} holes");
            assert!(lost == 0 || holes == 1, "{what}: what is lost is counted");
            costs.insert((block.is_none(), lost));
        }
    }
    assert!(costs.contains(&(true, 0)) && costs.contains(&(false, 0)) && costs.contains(&(false, 1)), "padding and records: {costs:?}");
}

#[test]
fn a_flipped_byte_is_found_when_the_index_is_there_too() {
    let sample = sample(true);
    Rig::open(Arc::new(sample.disk.clone()), config(2)).unwrap().close();
    assert!(sample.disk.names().iter().any(|name| name.ends_with("0.index")), "recovery has kept the index");
    for &(from, to, _) in &sample.frames {
        for at in (from..to).step_by(3) {
            let disk = sample.disk.fork();
            disk.change(&segment_name(0), |bytes| bytes[at] ^= 0x80);
            let (_, next, _) = check(&disk, &sample, &format!("byte {at}"));
            assert_eq!(next, [6, 4]);
        }
    }
}

#[test]
fn a_flipped_byte_in_the_last_group_without_a_seal_cuts_the_group() {
    let sample = sample(false);
    let last = sample.frames.iter().rposition(|frame| frame.2.is_none()).unwrap();
    let (start, end) = (sample.frames[last].0, sample.frames.last().unwrap().1);
    for at in start..end {
        let disk = sample.disk.fork();
        disk.change(&segment_name(0), |bytes| bytes[at] ^= 1);
        let (_, next, holes) = check(&disk, &sample, &format!("byte {at}"));
        assert!(next == [5, 2] || next == [6, 4], "all of the group or nothing: {next:?}");
        assert_eq!(holes, 0, "a torn tail is no hole");
    }
}

#[test]
fn a_group_torn_anywhere_is_cut() {
    let sample = sample(false);
    let last = sample.frames.iter().rposition(|frame| frame.2.is_none()).unwrap();
    let (start, end) = (sample.frames[last].0, sample.frames.last().unwrap().1);
    for torn in start..=end {
        let disk = sample.disk.fork();
        disk.change(&segment_name(0), |bytes| bytes[torn..].fill(0));
        let (_, next, holes) = check(&disk, &sample, &format!("torn at {torn}"));
        // The last two bytes are padding, zero in any case.
        assert_eq!(next, if torn + 2 >= end { [6, 4] } else { [5, 2] }, "torn at {torn} of {end}");
        assert_eq!(holes, 0);
        let shorter = sample.disk.fork();
        shorter.change(&segment_name(0), |bytes| bytes.truncate(torn));
        let (_, next, _) = check(&shorter, &sample, &format!("cut off at {torn}"));
        assert_eq!(next, if torn == end { [6, 4] } else { [5, 2] });
    }
}

#[test]
fn the_content_of_another_place_does_not_pass() {
    let sample = sample(true);
    let disk = sample.disk.fork();
    let first_group = GroupMarker::bytes(2) + usize::try_from(HEADER_BYTES).unwrap();
    // The second group's bytes where the first's were, and the whole segment under another number.
    let bytes = sample.disk.0.lock().unwrap()[&segment_name(0)].0.lock().unwrap().clone();
    disk.change(&segment_name(0), |old| old[first_group..][..64].copy_from_slice(&bytes[sample.frames[3].0..][..64]));
    let (events, next, holes) = check(&disk, &sample, "moved");
    assert_eq!((events[0].len(), next, holes), (4, [6, 4], 1));
    let disk = MemoryDisk::default();
    disk.0.lock().unwrap().insert(segment_name(5), Arc::new(super::disks::MemoryFile(std::sync::Mutex::new(bytes))));
    let rig = Rig::open(Arc::new(disk), config(2)).unwrap();
    assert_eq!((rig.next(0), rig.read(0, 0).len()), (0, 0));
}

#[test]
fn a_damaged_segment_header_costs_nothing() {
    let sample = sample(true);
    for at in 0..200 {
        let disk = sample.disk.fork();
        disk.change(&segment_name(0), |bytes| bytes[at] ^= 4);
        if (12..16).contains(&at) {
            continue; // The version: covered by the checksum too, but then damaged means damaged.
        }
        let (events, next, holes) = check(&disk, &sample, &format!("byte {at}"));
        assert_eq!((events[0].len(), events[1].len(), next, holes), (6, 4, [6, 4], 0));
    }
}

#[test]
fn the_next_segment_proves_that_the_last_group_was_acknowledged() {
    let disk = MemoryDisk::default();
    let mut rig = Rig::open(Arc::new(disk.clone()), config(1)).unwrap();
    while rig.shared.catalog().active().segment == 0 {
        rig.append(&[(0, &[1; 1000])]);
    }
    let (events, end) = (rig.next(0), rig.shared.catalog().oldest().unwrap().summary.end);
    disk.change(&segment_name(0), |bytes| bytes[usize::try_from(end).unwrap() - 10] ^= 1);
    disk.0.lock().unwrap().remove("00000000000000000000.index");
    let rig = Rig::open(Arc::new(disk), config(1)).unwrap();
    assert_eq!((rig.next(0), rig.read(0, 0).len() as u64, rig.stats().holes), (events, events - 1, 1));
}
