//! The data folders of every format, as they were written, must stay readable.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::config;
use super::rig::Rig;
use crate::core::event::{PartitionId, SequenceNumber};
use crate::store::data_folder::DataFolder;
use crate::store::journal::JournalConfig;
use crate::store::journal::disk::Folder;

fn open(path: &Path) -> (DataFolder, Rig) {
    let folder = DataFolder::open(path).unwrap();
    // The clock is set only after the segment has been begun, which is therefore decades old: that must not complete it.
    let config = JournalConfig { segment_max_age: Duration::MAX, ..config(2) };
    let rig = Rig::open(Arc::new(Folder::open(folder.events()).unwrap()), config).unwrap();
    rig.clock.0.store(1_800_000_000_000, SeqCst);
    (folder, rig)
}

/// What `format-1` was made with: two runs, so two segments, one of them with an index.
fn fill(path: &Path) {
    for run in 0..2_u8 {
        let (_folder, mut rig) = open(path);
        rig.append(&[(0, b"first"), (1, b""), (0, &[run; 300])]);
        rig.clock.0.fetch_add(1500, SeqCst);
        rig.append(&[(1, b"later")]);
        rig.close();
    }
}

fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let events = std::fs::read_dir(path.join("events")).unwrap().map(|entry| entry.unwrap().path());
    let mut files = events.map(|file| (file.strip_prefix(path).unwrap().to_owned(), std::fs::read(&file).unwrap())).collect::<Vec<_>>();
    files.push(("FORMAT".into(), std::fs::read(path.join("FORMAT")).unwrap()));
    files.sort();
    files
}

fn events(rig: &Rig, partition: u16) -> Vec<(u64, i64, Vec<u8>)> {
    let events = rig.shared.read(PartitionId(partition), SequenceNumber(0), 100_000).unwrap();
    events.into_iter().map(|event| (event.sequence_number.0, event.enqueued_time.0 - 1_800_000_000_000, event.content.to_vec())).collect()
}

#[test]
fn format_1_stays_readable_and_is_what_is_written() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/golden/format-1");
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    if !golden.exists() {
        panic!("copy FORMAT and events from {:?} to {golden:?}", folder.keep());
    }
    assert!(files(&golden) == files(folder.path()), "the bytes have changed: that takes a new format, and format 1 must still be read");

    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("events")).unwrap();
    for (name, bytes) in files(&golden) {
        std::fs::write(copy.path().join(name), bytes).unwrap();
    }
    let (_folder, rig) = open(copy.path());
    let first = |run: u8, number, time| [(number, time, b"first".to_vec()), (number + 1, time, vec![run; 300])];
    // The second run's clock is behind the first's: its times are not.
    assert_eq!(events(&rig, 0), [first(0, 0, 0), first(1, 2, 0)].concat());
    let second = |number, time| [(number, time, Vec::new()), (number + 1, 1500, b"later".to_vec())];
    assert_eq!(events(&rig, 1), [second(0, 0), second(2, 1500)].concat());
    assert_eq!(rig.stats().holes, 0);
}
