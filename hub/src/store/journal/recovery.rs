//! Finds out what the segments hold after the process ended, however it ended.
//!
//! Owns the difference between a torn tail, which was never acknowledged and is cut, and a hole, which was and is stepped over.
//!
//! A group is written when everything before it is durable, and its marker says so: all that lies below the highest watermark of a
//! segment's markers was acknowledged. Above it lies at most one group. If that is whole it is kept, since it may have been
//! acknowledged; if not, the crash came before its acknowledgement, or, when the log was idle for too short a time to seal it,
//! the disk has damaged just it: both look the same, and it is cut.

use std::io;
use std::sync::Arc;

use super::JournalError;
use super::catalog::Complete;
use super::disk::{self, Disk, DiskFile};
use super::index::{self, Index, Summary};
use super::layout::{BlockHeader, GroupMarker, HEADER_BYTES, HeaderFault, Progress, SegmentHeader};
use super::scan::{Found, Stretch, Walk};
use super::segment::segment_name;
use super::stats::Holes;
use crate::core::time::UnixMillis;

/// What was found.
#[derive(Debug)]
pub struct Recovered {
    /// The segments that hold events, or lie between such, oldest first.
    pub complete: Vec<Complete>,
    /// Segments without events at the end; to be removed when the new segment, which says all that they say, is durable.
    pub surplus: Vec<u64>,
    /// How far the partitions have come.
    pub progress: Vec<Progress>,
    /// The number of the next segment.
    pub next_segment: u64,
}

/// Reads the folder, cuts the torn tail, rebuilds missing indexes, and removes what is no part of the log.
///
/// # Errors
/// [`JournalError`]; the folder can be tried again.
pub fn recover(disk: &dyn Disk, partitions: usize, holes: &Holes) -> Result<Recovered, JournalError> {
    let numbers = tidy(disk)?;
    let segments = numbers.iter().map(|&number| open(disk, number, partitions)).collect::<Result<Vec<_>, _>>()?;
    let mut progress = vec![Progress::NONE; partitions];
    let mut complete: Vec<Complete> = Vec::new();
    for (position, segment) in segments.iter().enumerate() {
        let followers = || segments[position + 1..].iter().filter_map(|follower| follower.header.as_ref());
        let end = followers().find_map(|header| header.previous.filter(|(number, _)| *number == segment.number)).map(|(_, end)| end);
        let known = index::load_summary(disk, segment.number, partitions)
            .map_err(JournalError::io("read", index::file_name(segment.number)))?
            .filter(|summary| end.is_none_or(|end| end == summary.end));
        let mut summary = match known {
            Some(summary) => summary,
            None => {
                segment.rebuild(disk, progress.clone(), end, holes).map_err(JournalError::io("recover", segment_name(segment.number)))?
            }
        };
        // Numbers that a later segment begins with belong to it: what else carries them was never acknowledged.
        if let Some(next) = followers().next() {
            for (end, start) in summary.ends.iter_mut().zip(&next.starts) {
                end.next = end.next.min(start.next);
            }
        }
        progress.clone_from(&summary.ends);
        let bytes = segment.file.length().map_err(JournalError::io("measure", segment_name(segment.number)))?;
        complete.push(Complete { summary, bytes });
    }
    let filled = complete.iter().rposition(|segment| !segment.summary.is_empty()).map_or(0, |last| last + 1);
    let surplus = complete.drain(filled..).map(|segment| segment.summary.segment).collect();
    Ok(Recovered { complete, surplus, progress, next_segment: numbers.last().map_or(0, |last| last + 1) })
}

/// Removes indexes without segments; returns the segments' numbers, in order.
fn tidy(disk: &dyn Disk) -> Result<Vec<u64>, JournalError> {
    let names = disk.list().map_err(JournalError::io("list", String::new()))?;
    let number_of = |name: &str, suffix: &str| name.strip_suffix(suffix).filter(|stem| stem.len() == 20).and_then(|stem| stem.parse().ok());
    let mut numbers = names.iter().filter_map(|name| number_of(name, ".segment")).collect::<Vec<u64>>();
    numbers.sort_unstable();
    for name in names {
        // A spare file stays: it becomes the new segment's.
        if number_of(&name, ".index").is_some_and(|number| numbers.binary_search(&number).is_err()) {
            disk.remove(&name).map_err(JournalError::io("remove", name))?;
        }
    }
    Ok(numbers)
}

struct Segment {
    number: u64,
    file: Arc<dyn DiskFile>,
    /// `None`: damaged.
    header: Option<SegmentHeader>,
    partitions: usize,
}

fn open(disk: &dyn Disk, number: u64, partitions: usize) -> Result<Segment, JournalError> {
    let name = segment_name(number);
    let file = disk.open(&name).map_err(JournalError::io("open", name.clone()))?;
    let mut page = vec![0; usize::try_from(HEADER_BYTES).expect("a page fits usize")];
    let read = disk::read_full(&*file, &mut page, 0).map_err(JournalError::io("read", name))?;
    let header = match SegmentHeader::decode(&page[..read], number) {
        Ok(header) if header.starts.len() != partitions => {
            return Err(JournalError::PartitionCount { stored: header.starts.len(), configured: partitions });
        }
        Ok(header) => Some(header),
        Err(HeaderFault::Newer(version)) => return Err(JournalError::NewerVersion { segment: number, version }),
        Err(HeaderFault::Damaged) => {
            tracing::warn!(segment = number, "the header of journal segment {number} is damaged; its groups are still read");
            None
        }
    };
    Ok(Segment { number, file, header, partitions })
}

impl Segment {
    /// Summary and index from the segment itself. `progress`: how far the partitions had come in the segments before; `end`: where
    /// the acknowledged content ends, when a later segment says so.
    fn rebuild(&self, disk: &dyn Disk, progress: Vec<Progress>, end: Option<u64>, holes: &Holes) -> io::Result<Summary> {
        let mut walk = Walk::new(self.file.clone(), self.number, self.partitions, HEADER_BYTES, end.unwrap_or(self.file.length()?));
        let mut contents = Contents::new(self.header.as_ref(), progress);
        while let Some(found) = walk.next()? {
            contents.add(found);
        }
        let acknowledged = match end {
            Some(end) => end,
            None => {
                let end = contents.durable_end(&mut walk)?;
                let torn = self.file.length()?.saturating_sub(end);
                tracing::debug!(segment = self.number, torn, "journal segment {} ends at {end}", self.number);
                // What readers are going to see must be as durable as if it had been acknowledged.
                self.file.set_len(end)?;
                self.file.sync_data()?;
                end
            }
        };
        for damage in contents.finish(acknowledged) {
            holes.note(self.number, damage);
        }
        let created = self.header.as_ref().map(|header| header.created);
        let created = created.or(contents.ends.iter().map(|end| end.last_time).max()).unwrap_or(UnixMillis(0));
        let summary = Summary { segment: self.number, created, end: acknowledged, starts: contents.starts, ends: contents.ends };
        if let Err(error) = index::save(disk, &summary, &contents.index) {
            tracing::warn!(segment = self.number, %error, "the index of journal segment {} can't be kept: {error}", self.number);
        }
        Ok(summary)
    }
}

/// What a walk through a segment has found.
struct Contents {
    starts: Vec<Progress>,
    starts_known: bool,
    ends: Vec<Progress>,
    index: Index,
    last_group: Option<(Stretch, GroupMarker)>,
    /// Blocks after the last marker: theirs is the group whose fate is open.
    open_blocks: Vec<(Stretch, BlockHeader)>,
    damage: Vec<Stretch>,
}

impl Contents {
    fn new(header: Option<&SegmentHeader>, progress: Vec<Progress>) -> Self {
        let mut starts = progress;
        for (start, known) in starts.iter_mut().zip(header.iter().flat_map(|header| &header.starts)) {
            start.next = start.next.max(known.next);
            start.last_time = start.last_time.max(known.last_time);
        }
        let index = Index::new(starts.len());
        let ends = starts.clone();
        Self { starts, starts_known: header.is_some(), ends, index, last_group: None, open_blocks: Vec::new(), damage: Vec::new() }
    }

    fn add(&mut self, found: Found) {
        match found {
            Found::Group(stretch, marker) => {
                self.close_blocks(u64::MAX);
                for (end, &next) in self.ends.iter_mut().zip(&marker.next) {
                    end.next = end.next.max(next);
                }
                if !std::mem::replace(&mut self.starts_known, true) && self.index == Index::new(self.starts.len()) {
                    self.starts.clone_from(&self.ends);
                }
                self.last_group = Some((stretch, marker));
            }
            Found::Block(stretch, block) => self.open_blocks.push((stretch, block)),
            Found::Damage(stretch) => self.damage.push(stretch),
        }
    }

    /// Where the content ends that may have been acknowledged, when no later segment says it.
    fn durable_end(&self, walk: &mut Walk) -> io::Result<u64> {
        let Some((stretch, marker)) = &self.last_group else { return Ok(HEADER_BYTES) };
        let end = stretch.to.saturating_add(marker.length);
        let mut at = stretch.to;
        for (block_stretch, block) in self.open_blocks.iter().take_while(|(block, _)| block.to <= end) {
            if block_stretch.from != at || !walk.records(*block_stretch, block, |_| true)?.is_empty() {
                break;
            }
            at = block_stretch.to;
        }
        Ok(if at == end { end } else { marker.durable.max(HEADER_BYTES) })
    }

    /// Settles the blocks after the last marker; returns the damage below `end`.
    fn finish(&mut self, end: u64) -> Vec<Stretch> {
        if self.last_group.as_ref().is_some_and(|(stretch, _)| stretch.from >= end) {
            self.open_blocks.clear();
        }
        self.close_blocks(end);
        self.damage.iter().filter(|damage| damage.from < end).map(|damage| Stretch { from: damage.from, to: damage.to.min(end) }).collect()
    }

    fn close_blocks(&mut self, end: u64) {
        for (stretch, block) in self.open_blocks.drain(..).filter(|(stretch, _)| stretch.to <= end) {
            let progress = &mut self.ends[usize::from(block.partition)];
            if block.first >= progress.next {
                self.index.add(&block, stretch.from);
                *progress = Progress { next: block.end(), last_time: block.last_time.max(progress.last_time) };
            }
        }
    }
}
