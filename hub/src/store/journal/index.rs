//! Where in a segment a partition's events are: sequence number and time → offset, sparse.
//!
//! Owns the index of one segment, and the file that keeps it when the segment is complete. That file is not synced:
//! it is rebuilt from the segment when it is missing or damaged. Never holds an event.

use std::io::{self, IoSlice};

use super::disk::{self, Disk};
use super::layout::{BlockHeader, MAX_PARTITIONS, Progress, VERSION, time_at, u32_at, u64_at};
use crate::core::time::UnixMillis;

/// A partition has at most one entry in this much of a segment: looking an event up reads no more than this and a block,
/// and an index is below a third of a per cent of its segment even with 32 partitions.
pub const SPACING_BYTES: u64 = 256 * 1024;

const MAGIC: u64 = u64::from_le_bytes(*b"MOORIDX\n");
const FIXED_BYTES: usize = 48;
const PARTITION_BYTES: usize = 40;
const ENTRY_BYTES: usize = 24;

/// A block that can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    first: u64,
    time: UnixMillis,
    offset: u64,
}

/// The index of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    partitions: Vec<Vec<Entry>>,
}

impl Index {
    /// Of a segment without events.
    #[must_use]
    pub fn new(partitions: usize) -> Self {
        Self { partitions: vec![Vec::new(); partitions] }
    }

    /// Takes the block at `offset` in, when the one before is far enough away. Blocks come in the order of their offsets.
    pub fn add(&mut self, block: &BlockHeader, offset: u64) {
        let entries = &mut self.partitions[usize::from(block.partition)];
        if entries.last().is_none_or(|last| last.offset + SPACING_BYTES <= offset) {
            entries.push(Entry { first: block.first, time: block.first_time, offset });
        }
    }

    /// When the first event was enqueued; a partition's first block always has an entry.
    #[must_use]
    pub fn first_time(&self) -> Option<UnixMillis> {
        self.partitions.iter().filter_map(|entries| entries.first()).map(|entry| entry.time).min()
    }

    /// Where to begin to look for an event; `None`: the partition has none before it here, nor it.
    #[must_use]
    pub fn offset_of_number(&self, partition: usize, number: u64) -> Option<u64> {
        let entries = &self.partitions[partition];
        let after = entries.partition_point(|entry| entry.first <= number);
        entries.get(after.saturating_sub(1)).map(|entry| entry.offset)
    }

    /// Where to begin to look for the first event of `time` or later.
    #[must_use]
    pub fn offset_of_time(&self, partition: usize, time: UnixMillis) -> Option<u64> {
        let entries = &self.partitions[partition];
        let not_before = entries.partition_point(|entry| entry.time < time);
        entries.get(not_before.saturating_sub(1)).map(|entry| entry.offset)
    }
}

/// What is to be known about a complete segment without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The segment's number.
    pub segment: u64,
    /// When it was begun.
    pub created: UnixMillis,
    /// Where its content ends.
    pub end: u64,
    /// How far the partitions had come before it.
    pub starts: Vec<Progress>,
    /// How far they had come after it.
    pub ends: Vec<Progress>,
}

impl Summary {
    /// Whether the segment holds no event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.iter().zip(&self.ends).all(|(start, end)| start.next >= end.next)
    }

    /// When the segment's last event was enqueued; when it was begun, if it has none.
    #[must_use]
    pub fn last_time(&self) -> UnixMillis {
        self.ends.iter().map(|end| end.last_time).max().filter(|_| !self.is_empty()).unwrap_or(self.created)
    }
}

/// The name of a segment's index file.
#[must_use]
pub fn file_name(segment: u64) -> String {
    format!("{segment:020}.index")
}

/// Writes the index file.
///
/// # Errors
/// The disk's; the index can be rebuilt.
pub fn save(disk: &dyn Disk, summary: &Summary, index: &Index) -> io::Result<()> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&MAGIC.to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&summary.segment.to_le_bytes());
    bytes.extend_from_slice(&summary.created.0.to_le_bytes());
    bytes.extend_from_slice(&summary.end.to_le_bytes());
    bytes.extend_from_slice(&u32::from(u16::try_from(summary.starts.len()).expect("at most 32")).to_le_bytes());
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    for ((start, end), entries) in summary.starts.iter().zip(&summary.ends).zip(&index.partitions) {
        for number in [start.next.to_le_bytes(), start.last_time.0.to_le_bytes(), end.next.to_le_bytes(), end.last_time.0.to_le_bytes()] {
            bytes.extend_from_slice(&number);
        }
        bytes.extend_from_slice(&(entries.len() as u64).to_le_bytes());
    }
    let summary_crc = crc32c::crc32c(&bytes[16..]);
    let summary_length = bytes.len();
    for entry in index.partitions.iter().flatten() {
        for number in [entry.first.to_le_bytes(), entry.time.0.to_le_bytes(), entry.offset.to_le_bytes()] {
            bytes.extend_from_slice(&number);
        }
    }
    let entries_crc = crc32c::crc32c(&bytes[summary_length..]);
    bytes[8..12].copy_from_slice(&summary_crc.to_le_bytes());
    bytes[12..16].copy_from_slice(&entries_crc.to_le_bytes());
    let file = disk.create(&file_name(summary.segment), 0)?;
    disk::write_all(&*file, &mut [IoSlice::new(&bytes)], 0)
}

/// Reads the summary alone; `None` when the file is missing, damaged, or of another number of partitions.
///
/// # Errors
/// The disk's.
pub fn load_summary(disk: &dyn Disk, segment: u64, partitions: usize) -> io::Result<Option<Summary>> {
    Ok(read_head(disk, segment, partitions)?.map(|(_, head)| decode_summary(&head, partitions)))
}

/// Reads the index; `None` as for [`load_summary`].
///
/// # Errors
/// The disk's.
pub fn load(disk: &dyn Disk, segment: u64, partitions: usize) -> io::Result<Option<Index>> {
    let Some((file, head)) = read_head(disk, segment, partitions)? else { return Ok(None) };
    let counts = head[FIXED_BYTES..].chunks_exact(PARTITION_BYTES).map(|bytes| u64_at(bytes, 32)).collect::<Vec<_>>();
    let length = usize::try_from(file.length()?).unwrap_or(usize::MAX).saturating_sub(head.len());
    if counts.iter().map(|&count| u128::from(count)).sum::<u128>() * ENTRY_BYTES as u128 != length as u128 {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    let read = disk::read_full(&*file, &mut bytes, head.len() as u64)?;
    if read < length || crc32c::crc32c(&bytes) != u32_at(&head, 12) {
        return Ok(None);
    }
    let mut entries =
        bytes.chunks_exact(ENTRY_BYTES).map(|entry| Entry { first: u64_at(entry, 0), time: time_at(entry, 8), offset: u64_at(entry, 16) });
    let partitions =
        counts.iter().map(|&count| entries.by_ref().take(usize::try_from(count).expect("checked against the length")).collect()).collect();
    Ok(Some(Index { partitions }))
}

type Head = (std::sync::Arc<dyn disk::DiskFile>, Vec<u8>);

fn read_head(disk: &dyn Disk, segment: u64, partitions: usize) -> io::Result<Option<Head>> {
    debug_assert!(partitions <= usize::from(MAX_PARTITIONS));
    let file = match disk.open(&file_name(segment)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut head = vec![0; FIXED_BYTES + PARTITION_BYTES * partitions];
    let whole = disk::read_full(&*file, &mut head, 0)? == head.len()
        && u64_at(&head, 0) == MAGIC
        && u32_at(&head, 8) == crc32c::crc32c(&head[16..])
        && u64_at(&head, 16) == segment
        && u32_at(&head, 40) as usize == partitions
        && u32_at(&head, 44) == VERSION;
    Ok(whole.then_some((file, head)))
}

fn decode_summary(head: &[u8], partitions: usize) -> Summary {
    let progress = |at: usize| {
        let of = |partition: usize| FIXED_BYTES + partition * PARTITION_BYTES + at;
        (0..partitions)
            .map(|partition| Progress { next: u64_at(head, of(partition)), last_time: time_at(head, of(partition) + 8) })
            .collect()
    };
    Summary { segment: u64_at(head, 16), created: time_at(head, 24), end: u64_at(head, 32), starts: progress(0), ends: progress(16) }
}
