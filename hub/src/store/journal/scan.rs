//! Walks through a segment, from frame to frame, around what is damaged.
//!
//! Owns the search for the next good frame or record. Never decides whether damage is a hole or a torn tail.

use std::io;
use std::sync::Arc;

use super::disk::{self, DiskFile};
use super::layout::{ALIGNMENT, BLOCK_HEADER_BYTES, BlockHeader, Frame, GroupMarker, Place, Record};

/// How much is read at a time: about a block, so that most blocks take one read.
const CHUNK_BYTES: usize = 64 * 1024;

/// A stretch of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stretch {
    /// Its first byte.
    pub from: u64,
    /// The byte after its last.
    pub to: u64,
}

/// What lies in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A group's marker, and where it starts and ends.
    Group(Stretch, GroupMarker),
    /// A block, and where it starts and ends, with its records.
    Block(Stretch, BlockHeader),
    /// Nothing that can be read.
    Damage(Stretch),
}

/// A walk through a segment.
pub struct Walk {
    file: Arc<dyn DiskFile>,
    segment: u64,
    partitions: usize,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_start: u64,
}

impl Walk {
    /// A walk from the frame at `from` to `end`.
    #[must_use]
    pub fn new(file: Arc<dyn DiskFile>, segment: u64, partitions: usize, from: u64, end: u64) -> Self {
        Self { file, segment, partitions, at: from, end, buffer: Vec::new(), buffer_start: 0 }
    }

    /// Where the next frame begins.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// The disk's.
    pub fn next(&mut self) -> io::Result<Option<Found>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let from = self.at;
        if let Some((frame, to)) = self.frame_at(from)? {
            self.at = to;
            let stretch = Stretch { from, to };
            return Ok(Some(match frame {
                Frame::Group(marker) => Found::Group(stretch, marker),
                Frame::Block(header) => Found::Block(stretch, header),
            }));
        }
        self.at = self.search(from + ALIGNMENT as u64)?;
        Ok(Some(Found::Damage(Stretch { from, to: self.at })))
    }

    /// Calls `each` with the whole records of the block, and returns the stretches between them that are damaged. Stops when `each` answers false.
    ///
    /// # Errors
    /// The disk's.
    pub fn records(&mut self, stretch: Stretch, block: &BlockHeader, mut each: impl FnMut(Record<'_>) -> bool) -> io::Result<Vec<Stretch>> {
        let segment = self.segment;
        let length = usize::try_from(stretch.to - stretch.from).expect("a block fits memory");
        let bytes = self.bytes_at(stretch.from, length)?;
        let (mut at, mut expected, mut damage): (usize, u32, Vec<Stretch>) = (BLOCK_HEADER_BYTES, 0, Vec::new());
        while at < length {
            let offset = stretch.from + at as u64;
            let record = bytes.get(at..).and_then(|bytes| Record::decode(bytes, block, Place { segment, offset }));
            match record.filter(|record| record.index >= expected) {
                Some(record) => {
                    at += super::layout::record_bytes(record.content.len());
                    expected = record.index + 1;
                    if !each(record) {
                        break;
                    }
                }
                None => {
                    at += ALIGNMENT;
                    let to = offset + ALIGNMENT as u64;
                    match damage.last_mut().filter(|last| last.to == offset) {
                        Some(last) => last.to = to,
                        None => damage.push(Stretch { from: offset, to }),
                    }
                }
            }
        }
        Ok(damage)
    }

    fn frame_at(&mut self, offset: u64) -> io::Result<Option<(Frame, u64)>> {
        let place = Place { segment: self.segment, offset };
        let (partitions, end) = (self.partitions, self.end);
        let Some(frame) = Frame::decode(self.bytes_at(offset, Frame::max_header_bytes(partitions))?, place, partitions) else {
            return Ok(None);
        };
        let length = match &frame {
            Frame::Group(_) => GroupMarker::bytes(partitions) as u64,
            Frame::Block(block) => block.length.saturating_add(BLOCK_HEADER_BYTES as u64),
        };
        let to = offset.saturating_add(length);
        Ok((to <= end).then_some((frame, to)))
    }

    /// The next good frame at `from` or after it, or the end.
    fn search(&mut self, from: u64) -> io::Result<u64> {
        let mut offset = from;
        while offset < self.end {
            let bytes = self.bytes_at(offset, ALIGNMENT)?;
            if bytes.is_empty() {
                break;
            }
            if Frame::may_start(bytes) && self.frame_at(offset)?.is_some() {
                return Ok(offset);
            }
            offset += ALIGNMENT as u64;
        }
        Ok(self.end)
    }

    /// `length` bytes from `offset`; fewer at the end.
    fn bytes_at(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let length = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX).min(length);
        let start = usize::try_from(offset.wrapping_sub(self.buffer_start)).unwrap_or(usize::MAX);
        if start.checked_add(length).is_some_and(|end| end <= self.buffer.len()) {
            return Ok(&self.buffer[start..start + length]);
        }
        let wanted = usize::try_from(self.end - offset).unwrap_or(usize::MAX).min(length.max(CHUNK_BYTES));
        self.buffer.resize(wanted, 0);
        let read = disk::read_full(&*self.file, &mut self.buffer, offset)?;
        self.buffer.truncate(read);
        self.buffer_start = offset;
        Ok(&self.buffer[..length.min(read)])
    }
}
