//! How the journal's bytes lie in a segment file.
//!
//! Owns the encoding and the checksums, as pure functions. Never does I/O, and never decides what a damaged byte means.
//!
//! ```text
//! segment  header (4096 bytes) · group · group · …               all frames start at a multiple of 8; integers are little-endian
//! group    marker · block · block · …                            one write, one fdatasync
//! marker   "MGRP" crc · segment · offset · durable · length · partitions · next sequence number of each partition
//! block    "MBLK" crc · segment · offset · partition, records · length · first number · first and last time · record · record · …
//! record   crc · length · index in the block · milliseconds since the block's first time · content · padding to 8
//! ```
//!
//! Markers and block headers hold their own segment and offset, and a record's checksum is seeded with partition, sequence number,
//! segment and offset: bytes that were written for another place can't pass here.

use crate::core::time::UnixMillis;

/// The layout's version, in every segment's header.
pub const VERSION: u32 = 1;
/// A segment's header: one page, so that the first group's write does not touch the page that holds it.
pub const HEADER_BYTES: u64 = 4096;
/// Azure's largest hub has 32 partitions; all their numbers fit the header's page and cost a group 256 bytes.
pub const MAX_PARTITIONS: u16 = 32;
/// A block's header.
pub const BLOCK_HEADER_BYTES: usize = 64;
/// A record's header.
pub const RECORD_HEADER_BYTES: usize = 16;
/// All frames and records start at a multiple of this, so that a search for the next good one has few places to look at.
pub const ALIGNMENT: usize = 8;

const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"MOORING\n");
const GROUP_MAGIC: u32 = u32::from_le_bytes(*b"MGRP");
const BLOCK_MAGIC: u32 = u32::from_le_bytes(*b"MBLK");
const NO_SEGMENT: u64 = u64::MAX;
const MARKER_FIXED_BYTES: usize = 48;
const HEADER_FIXED_BYTES: usize = 64;

/// How far a partition has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The number that its next event gets.
    pub next: u64,
    /// When its last event was enqueued; [`Progress::NO_TIME`] when there was none.
    pub last_time: UnixMillis,
}

impl Progress {
    /// Before all times.
    pub const NO_TIME: UnixMillis = UnixMillis(i64::MIN);
    /// A partition that never had an event.
    pub const NONE: Self = Self { next: 0, last_time: Self::NO_TIME };
}

/// What opens a segment. It carries all that later segments need to know about earlier ones, so that any of those may be dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The segment's number; grows, with gaps.
    pub segment: u64,
    /// When it was begun.
    pub created: UnixMillis,
    /// The segment before, and where its durable content ends: what lies beyond was never acknowledged.
    pub previous: Option<(u64, u64)>,
    /// How far each partition had come.
    pub starts: Vec<Progress>,
}

/// Why a header can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// It does not hold what was written.
    Damaged,
    /// A later version of this program wrote it.
    Newer(u32),
}

/// What opens a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMarker {
    /// Everything in this segment below this offset was durable before the group was written.
    pub durable: u64,
    /// Length of the group's blocks.
    pub length: u64,
    /// The number that each partition's next event has, from this group on.
    pub next: Vec<u64>,
}

/// What opens a block: consecutive events of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Whose events.
    pub partition: u16,
    /// How many.
    pub records: u32,
    /// Length of the records.
    pub length: u64,
    /// The first event's number.
    pub first: u64,
    /// When the first event was enqueued.
    pub first_time: UnixMillis,
    /// When the last event was enqueued.
    pub last_time: UnixMillis,
}

/// One of the two kinds of frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A group begins.
    Group(GroupMarker),
    /// A block of the group.
    Block(BlockHeader),
}

/// Where a frame or record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The segment's number.
    pub segment: u64,
    /// The offset in its file.
    pub offset: u64,
}

impl SegmentHeader {
    /// The header's page.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(usize::try_from(HEADER_BYTES).expect("a page fits usize"));
        let (previous, previous_end) = self.previous.unwrap_or((NO_SEGMENT, 0));
        page.extend_from_slice(&SEGMENT_MAGIC.to_le_bytes());
        page.extend_from_slice(&[0; 4]);
        page.extend_from_slice(&VERSION.to_le_bytes());
        page.extend_from_slice(&self.segment.to_le_bytes());
        page.extend_from_slice(&self.created.0.to_le_bytes());
        page.extend_from_slice(&previous.to_le_bytes());
        page.extend_from_slice(&previous_end.to_le_bytes());
        page.extend_from_slice(&(self.starts.len() as u64).to_le_bytes());
        page.resize(HEADER_FIXED_BYTES, 0);
        for start in &self.starts {
            page.extend_from_slice(&start.next.to_le_bytes());
            page.extend_from_slice(&start.last_time.0.to_le_bytes());
        }
        page.resize(page.capacity(), 0);
        let crc = crc32c::crc32c(&page[12..]);
        page[8..12].copy_from_slice(&crc.to_le_bytes());
        page
    }

    /// Reads the header of segment `segment`.
    ///
    /// # Errors
    /// [`HeaderFault`].
    pub fn decode(page: &[u8], segment: u64) -> Result<Self, HeaderFault> {
        if page.len() as u64 != HEADER_BYTES || u64_at(page, 0) != SEGMENT_MAGIC || u32_at(page, 8) != crc32c::crc32c(&page[12..]) {
            return Err(HeaderFault::Damaged);
        }
        let version = u32_at(page, 12);
        if version > VERSION {
            return Err(HeaderFault::Newer(version));
        }
        let partitions = u64_at(page, 48);
        if u64_at(page, 16) != segment || partitions > u64::from(MAX_PARTITIONS) {
            return Err(HeaderFault::Damaged);
        }
        let previous = u64_at(page, 32);
        let starts = page[HEADER_FIXED_BYTES..].chunks_exact(16).take(usize::try_from(partitions).expect("at most 32"));
        Ok(Self {
            segment,
            created: time_at(page, 24),
            previous: (previous != NO_SEGMENT).then(|| (previous, u64_at(page, 40))),
            starts: starts.map(|start| Progress { next: u64_at(start, 0), last_time: time_at(start, 8) }).collect(),
        })
    }
}

impl GroupMarker {
    /// Length of a marker.
    #[must_use]
    pub const fn bytes(partitions: usize) -> usize {
        MARKER_FIXED_BYTES + 8 * partitions
    }

    /// Appends the marker to `out`, for this place.
    pub fn encode(&self, place: Place, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&GROUP_MAGIC.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&place.segment.to_le_bytes());
        out.extend_from_slice(&place.offset.to_le_bytes());
        out.extend_from_slice(&self.durable.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&(self.next.len() as u64).to_le_bytes());
        for next in &self.next {
            out.extend_from_slice(&next.to_le_bytes());
        }
        seal_frame(&mut out[start..]);
    }
}

impl BlockHeader {
    /// Writes the header for this place to `out`, which has [`BLOCK_HEADER_BYTES`].
    pub fn encode(&self, place: Place, out: &mut [u8]) {
        out[0..4].copy_from_slice(&BLOCK_MAGIC.to_le_bytes());
        out[8..16].copy_from_slice(&place.segment.to_le_bytes());
        out[16..24].copy_from_slice(&place.offset.to_le_bytes());
        out[24..28].copy_from_slice(&u32::from(self.partition).to_le_bytes());
        out[28..32].copy_from_slice(&self.records.to_le_bytes());
        out[32..40].copy_from_slice(&self.length.to_le_bytes());
        out[40..48].copy_from_slice(&self.first.to_le_bytes());
        out[48..56].copy_from_slice(&self.first_time.0.to_le_bytes());
        out[56..64].copy_from_slice(&self.last_time.0.to_le_bytes());
        seal_frame(&mut out[..BLOCK_HEADER_BYTES]);
    }

    /// The number after the block's last.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + u64::from(self.records)
    }
}

impl Frame {
    /// The longest frame header for this many partitions.
    #[must_use]
    pub fn max_header_bytes(partitions: usize) -> usize {
        GroupMarker::bytes(partitions).max(BLOCK_HEADER_BYTES)
    }

    /// Reads the frame that starts with `bytes` and was written for `place`; `None` when there is none or it is damaged.
    #[must_use]
    pub fn decode(bytes: &[u8], place: Place, partitions: usize) -> Option<Self> {
        let header = match (bytes.len() >= BLOCK_HEADER_BYTES.min(GroupMarker::bytes(partitions))).then(|| u32_at(bytes, 0))? {
            GROUP_MAGIC => bytes.get(..GroupMarker::bytes(partitions))?,
            BLOCK_MAGIC => bytes.get(..BLOCK_HEADER_BYTES)?,
            _ => return None,
        };
        if u64_at(header, 8) != place.segment || u64_at(header, 16) != place.offset || u32_at(header, 4) != crc32c::crc32c(&header[8..]) {
            return None;
        }
        if u32_at(header, 0) == BLOCK_MAGIC {
            let partition = u16::try_from(u32_at(header, 24)).ok().filter(|&partition| usize::from(partition) < partitions)?;
            return Some(Self::Block(BlockHeader {
                partition,
                records: u32_at(header, 28),
                length: u64_at(header, 32),
                first: u64_at(header, 40),
                first_time: time_at(header, 48),
                last_time: time_at(header, 56),
            }));
        }
        (u64_at(header, 40) == partitions as u64).then(|| {
            let next = header[MARKER_FIXED_BYTES..].chunks_exact(8).map(|bytes| u64_at(bytes, 0)).collect();
            Self::Group(GroupMarker { durable: u64_at(header, 24), length: u64_at(header, 32), next })
        })
    }

    /// Whether a frame might start here: what a search looks at before it computes a checksum.
    #[must_use]
    pub fn may_start(bytes: &[u8]) -> bool {
        bytes.len() >= 4 && matches!(u32_at(bytes, 0), GROUP_MAGIC | BLOCK_MAGIC)
    }
}

/// The length that a content of `length` bytes takes in a block.
#[must_use]
pub const fn record_bytes(length: usize) -> usize {
    RECORD_HEADER_BYTES + length.next_multiple_of(ALIGNMENT)
}

/// Appends a record without its checksum, which needs its place: see [`seal_record`].
pub fn push_record(out: &mut Vec<u8>, index: u32, delta_ms: u32, content: &[u8]) {
    let length = u32::try_from(content.len()).expect("a message is far below 4 GiB");
    let end = out.len() + record_bytes(content.len());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(&delta_ms.to_le_bytes());
    out.extend_from_slice(content);
    out.resize(end, 0);
}

/// Writes the checksum of the record that starts with `bytes`; returns the record's length with its padding.
pub fn seal_record(bytes: &mut [u8], partition: u16, sequence: u64, place: Place) -> usize {
    let length = u32_at(bytes, 4) as usize;
    let crc = record_crc(&bytes[4..RECORD_HEADER_BYTES + length], partition, sequence, place);
    bytes[0..4].copy_from_slice(&crc.to_le_bytes());
    record_bytes(length)
}

/// A record, found whole.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its number in the block, from 0.
    pub index: u32,
    /// Milliseconds after the block's first time.
    pub delta_ms: u32,
    /// The content.
    pub content: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the record that starts with `bytes`, in `block`, written for `place`; `None` when it is damaged.
    #[must_use]
    pub fn decode(bytes: &'a [u8], block: &BlockHeader, place: Place) -> Option<Self> {
        let header = bytes.get(..RECORD_HEADER_BYTES)?;
        let (length, index, delta_ms) = (u32_at(header, 4) as usize, u32_at(header, 8), u32_at(header, 12));
        let content = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES.checked_add(length)?)?;
        if index >= block.records || bytes.len() < record_bytes(length) {
            return None;
        }
        let crc = record_crc(&bytes[4..RECORD_HEADER_BYTES + length], block.partition, block.first + u64::from(index), place);
        (crc == u32_at(header, 0)).then_some(Self { index, delta_ms, content })
    }
}

fn record_crc(bytes: &[u8], partition: u16, sequence: u64, place: Place) -> u32 {
    let mut seed = [0; 32];
    seed[0..8].copy_from_slice(&u64::from(partition).to_le_bytes());
    seed[8..16].copy_from_slice(&sequence.to_le_bytes());
    seed[16..24].copy_from_slice(&place.segment.to_le_bytes());
    seed[24..32].copy_from_slice(&place.offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&seed), bytes)
}

fn seal_frame(frame: &mut [u8]) {
    let crc = crc32c::crc32c(&frame[8..]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// The integer at `at`, which is inside `bytes`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The integer at `at`, which is inside `bytes`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The time at `at`, which is inside `bytes`.
pub(super) fn time_at(bytes: &[u8], at: usize) -> UnixMillis {
    UnixMillis(i64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")))
}
