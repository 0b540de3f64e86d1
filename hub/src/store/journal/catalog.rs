//! Which segments there are, and what of them may be read.
//!
//! Owns the durable state that readers see. It changes once per group, when the group is on disk. Never touches the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use super::disk::DiskFile;
use super::index::{Index, Summary};
use super::layout::{BlockHeader, HEADER_BYTES, Progress};
use crate::core::event::{PartitionInfo, SequenceNumber};
use crate::core::time::UnixMillis;

/// All segments.
#[derive(Debug)]
pub struct Catalog {
    complete: VecDeque<Complete>,
    active: Active,
}

/// A segment that nothing is added to.
#[derive(Clone, Debug)]
pub struct Complete {
    /// What is known of it.
    pub summary: Summary,
    /// What it takes on disk.
    pub bytes: u64,
}

/// The segment that groups are added to.
pub struct Active {
    /// Number, beginning, and how far the partitions have come.
    pub summary: Summary,
    /// Its file.
    pub file: Arc<dyn DiskFile>,
    /// Where its events are.
    pub index: Index,
    /// What it takes on disk.
    pub bytes: u64,
}

impl std::fmt::Debug for Active {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Active").field("summary", &self.summary).finish_non_exhaustive()
    }
}

/// Where to look for an event.
pub struct Find {
    /// In which segment.
    pub segment: u64,
    /// The file and the offset to begin at (none: nothing is left there), when the segment is the active one. The files and indexes
    /// of the others are opened on demand.
    pub active: Option<(Arc<dyn DiskFile>, Option<u64>)>,
    /// Where the segment's content ends.
    pub end: u64,
    /// The first number of the partition that is not in the segment.
    pub until: u64,
}

impl Active {
    /// A segment that has a header and no group.
    #[must_use]
    pub fn new(segment: u64, created: UnixMillis, progress: Vec<Progress>, file: Arc<dyn DiskFile>, bytes: u64) -> Self {
        let index = Index::new(progress.len());
        Self { summary: Summary { segment, created, end: HEADER_BYTES, starts: progress.clone(), ends: progress }, file, index, bytes }
    }
}

impl Catalog {
    /// What recovery found, and the new active segment.
    #[must_use]
    pub fn new(complete: Vec<Complete>, active: Active) -> Self {
        Self { complete: complete.into(), active }
    }

    /// A group is durable: its blocks and their offsets, the new progress of the partitions, and where the content ends now.
    pub fn publish(&mut self, blocks: &[(BlockHeader, u64)], progress: &[Progress], end: u64) {
        for (block, offset) in blocks {
            self.active.index.add(block, *offset);
        }
        self.active.summary.ends.copy_from_slice(progress);
        self.active.summary.end = end;
        self.active.bytes = self.active.bytes.max(end);
    }

    /// The active segment is complete and takes `bytes` on disk; `next` is the active one. Returns the complete one and its index.
    pub fn roll(&mut self, next: Active, bytes: u64) -> (Summary, Index) {
        let last = std::mem::replace(&mut self.active, next);
        self.complete.push_back(Complete { summary: last.summary.clone(), bytes });
        (last.summary, last.index)
    }

    /// The oldest segment with events: number, end, and when its first event was enqueued, where that is known without opening it.
    #[must_use]
    pub fn oldest_filled(&self) -> Option<(u64, u64, Option<UnixMillis>)> {
        let complete = self.complete.iter().map(|segment| (&segment.summary, None));
        let active = (&self.active.summary, self.active.index.first_time());
        let (summary, time) = complete.chain([active]).find(|(summary, _)| !summary.is_empty())?;
        Some((summary.segment, summary.end, time))
    }

    /// The oldest complete segment.
    #[must_use]
    pub fn oldest(&self) -> Option<&Complete> {
        self.complete.front()
    }

    /// Forgets the oldest complete segment.
    pub fn drop_oldest(&mut self) {
        self.complete.pop_front();
    }

    /// The active segment.
    #[must_use]
    pub fn active(&self) -> &Summary {
        &self.active.summary
    }

    /// How many segments.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.complete.len() + 1
    }

    /// What all segments take on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.complete.iter().map(|segment| segment.bytes).sum::<u64>() + self.active.bytes
    }

    /// What a partition holds.
    #[must_use]
    pub fn partition(&self, partition: usize) -> Option<PartitionInfo> {
        let progress = self.active.summary.ends.get(partition)?;
        Some(PartitionInfo {
            begin_sequence_number: SequenceNumber(self.begin(partition)),
            next_sequence_number: SequenceNumber(progress.next),
            last_enqueued_time: (progress.last_time != Progress::NO_TIME).then_some(progress.last_time),
        })
    }

    /// Where to look for the event `number` or the first one after it; `None` at the end.
    #[must_use]
    pub fn find_number(&self, partition: usize, number: u64) -> Option<Find> {
        let at = self.complete.partition_point(|segment| segment.summary.ends[partition].next <= number);
        if at == self.complete.len() && self.active.summary.ends[partition].next <= number {
            return None;
        }
        Some(self.find(at, partition, |index| index.offset_of_number(partition, number)))
    }

    /// Where to look for the first event enqueued at `time` or later; `None` when there is none.
    #[must_use]
    pub fn find_time(&self, partition: usize, time: UnixMillis) -> Option<Find> {
        let at = self.complete.partition_point(|segment| segment.summary.ends[partition].last_time < time);
        if at == self.complete.len() && self.active.summary.ends[partition].last_time < time {
            return None;
        }
        Some(self.find(at, partition, |index| index.offset_of_time(partition, time)))
    }

    fn find(&self, at: usize, partition: usize, offset: impl FnOnce(&Index) -> Option<u64>) -> Find {
        let summary = self.complete.get(at).map_or(&self.active.summary, |segment| &segment.summary);
        let active = (at == self.complete.len()).then(|| (self.active.file.clone(), offset(&self.active.index)));
        Find { segment: summary.segment, active, end: summary.end, until: summary.ends[partition].next }
    }

    fn begin(&self, partition: usize) -> u64 {
        self.complete.front().map_or(&self.active.summary, |segment| &segment.summary).starts[partition].next
    }
}
