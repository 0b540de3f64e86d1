//! Brings groups to the disk: one write and one fdatasync each.
//!
//! Owns the active segment, its end, the numbers of the events, and what happens when the disk fails or is full. Runs on one thread
//! and is the only one to write. Never acknowledges what is not durable.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::catalog::Active;
use super::disk::{self, DiskFile};
use super::index;
use super::layout::{BLOCK_HEADER_BYTES, BlockHeader, GroupMarker, HEADER_BYTES, Place, Progress, SegmentHeader, seal_record};
use super::queue::{Group, Work};
use super::scan::{Found, Walk};
use super::segment::{self, SPARE, segment_name};
use super::{JournalConfig, Shared};
use crate::core::time::{Clock, UnixMillis};
use crate::store::AppendError;

/// How long after a failure the writer tries again, and asks senders to come back: long enough for a disk to be freed or a volume
/// to return, short against any device's patience.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long nothing comes before the last group is sealed, and how often the writer looks after the ballast, retention and segments
/// that have become too old, whether something comes or not. Both are far finer than what they serve: ages of an hour and more.
const TICK: Duration = Duration::from_secs(1);

/// The writer.
pub struct Writer {
    shared: Arc<Shared>,
    config: JournalConfig,
    clock: Arc<dyn Clock>,
    segment: u64,
    file: Arc<dyn DiskFile>,
    created: UnixMillis,
    /// Where the next group goes; everything below is durable.
    end: u64,
    progress: Vec<Progress>,
    next_segment: u64,
    spare: Option<Arc<dyn DiskFile>>,
    /// Whether allocating ahead has failed in this segment: then it is tried again at the next tick, not at each group.
    spare_failed: bool,
    /// Whether the last group is followed by a marker that proves its acknowledgement.
    sealed: bool,
    /// When the writer last looked after what is not the events themselves.
    last_upkeep: UnixMillis,
    health: Health,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// The disk is full: a new segment is all that is missing.
    Full,
    /// A write or fdatasync failed: what the active segment holds must be verified.
    Failed,
}

impl Writer {
    /// A writer that goes on in the active segment, which has no group yet.
    #[must_use]
    pub fn new(shared: Arc<Shared>, config: JournalConfig, clock: Arc<dyn Clock>, file: Arc<dyn DiskFile>) -> Self {
        let active = shared.catalog().active().clone();
        Self {
            shared,
            config,
            last_upkeep: clock.now(),
            clock,
            segment: active.segment,
            file,
            created: active.created,
            end: HEADER_BYTES,
            progress: active.starts,
            next_segment: active.segment + 1,
            spare: None,
            spare_failed: false,
            sealed: true,
            health: Health::Good,
        }
    }

    /// Works until the queue is closed and empty.
    pub fn run(mut self) {
        while self.turn(TICK) {}
    }

    /// Waits for work, at most `patience`, and does it. False: the queue is closed, and so is the log.
    pub fn turn(&mut self, patience: Duration) -> bool {
        match self.shared.queue.next(patience) {
            Work::Group(group) => {
                self.commit(group);
                // A log that always has something to write must not wait for a pause that never comes. After a failure one does come.
                if self.health == Health::Good && self.upkeep_is_due() {
                    self.upkeep();
                }
            }
            Work::Tick => self.pause(),
            Work::Close => {
                self.close();
                return false;
            }
        }
        true
    }

    fn commit(&mut self, mut group: Group) {
        let started = self.clock.now();
        match self.write(&mut group) {
            Ok(written) => {
                self.publish(&group, &written);
                let counters = &self.shared.counters;
                counters.groups.fetch_add(1, Relaxed);
                counters.records.fetch_add(group.records, Relaxed);
                counters.bytes.fetch_add(written.bytes, Relaxed);
                let took = u64::try_from(self.clock.now().since(started).as_millis()).unwrap_or(u64::MAX);
                counters.sync_ms.fetch_add(took, Relaxed);
            }
            Err(error) => self.fail(&error),
        }
        self.shared.queue.give_back(group);
        if self.health == Health::Good && self.end > self.config.segment_bytes / 2 && !self.spare_failed {
            self.allocate_ahead();
        }
    }

    /// Writes a group and waits until it is durable.
    fn write(&mut self, group: &mut Group) -> io::Result<Written> {
        let marker_bytes = GroupMarker::bytes(self.progress.len());
        // A marker's room is kept for the seal. A group larger than a segment gets one of its own, which then grows.
        let needed = (2 * marker_bytes + group.bytes()) as u64;
        if self.end + needed > self.config.segment_bytes && self.end > HEADER_BYTES {
            self.roll()?;
        }
        let written = self.place(group);
        let mut marker = Vec::with_capacity(marker_bytes);
        self.marker(group.bytes() as u64).encode(self.here(), &mut marker);
        let filled = group.partitions.iter().filter(|partition| !partition.bytes.is_empty());
        let mut parts =
            std::iter::once(&marker).chain(filled.map(|partition| &partition.bytes)).map(|part| IoSlice::new(part)).collect::<Vec<_>>();
        disk::write_all(&*self.file, &mut parts, self.end)?;
        self.file.sync_data()?;
        Ok(written)
    }

    /// Fills in what depends on the place: block headers, numbers, checksums.
    fn place(&self, group: &mut Group) -> Written {
        let mut offset = self.end + GroupMarker::bytes(self.progress.len()) as u64;
        let mut written = Written { blocks: Vec::new(), progress: self.progress.clone(), bytes: 0 };
        for (partition, pending) in (0u16..).zip(&mut group.partitions) {
            let progress = &mut written.progress[usize::from(partition)];
            let length = pending.bytes.len();
            let ends = pending.blocks.iter().skip(1).map(|block| block.start).chain([length]);
            for (block, end) in pending.blocks.iter().zip(ends) {
                let bytes = &mut pending.bytes[block.start..end];
                let header = BlockHeader {
                    partition,
                    records: block.records,
                    length: (bytes.len() - BLOCK_HEADER_BYTES) as u64,
                    first: progress.next,
                    first_time: block.first_time,
                    last_time: block.last_time,
                };
                let start = Place { segment: self.segment, offset: offset + block.start as u64 };
                header.encode(start, bytes);
                let mut at = BLOCK_HEADER_BYTES;
                for number in header.first..header.end() {
                    let place = Place { offset: start.offset + at as u64, ..start };
                    at += seal_record(&mut bytes[at..], partition, number, place);
                }
                written.blocks.push((header, start.offset));
                *progress = Progress { next: header.end(), last_time: block.last_time };
            }
            offset += length as u64;
        }
        written.bytes = offset - self.end;
        written
    }

    fn publish(&mut self, group: &Group, written: &Written) {
        self.end += written.bytes;
        self.progress.copy_from_slice(&written.progress);
        self.sealed = false;
        self.shared.catalog_mut().publish(&written.blocks, &self.progress, self.end);
        self.shared.watermark.send_modify(|watermark| watermark.ordinal = group.ordinal);
    }

    /// The durable watermark, as a marker.
    fn marker(&self, length: u64) -> GroupMarker {
        GroupMarker { durable: self.end, length, next: self.progress.iter().map(|progress| progress.next).collect() }
    }

    fn here(&self) -> Place {
        Place { segment: self.segment, offset: self.end }
    }

    /// Follows the last group by a marker, so that recovery knows it as acknowledged.
    fn seal(&mut self) -> io::Result<()> {
        if self.sealed {
            return Ok(());
        }
        let mut marker = Vec::new();
        self.marker(0).encode(self.here(), &mut marker);
        disk::write_all(&*self.file, &mut [IoSlice::new(&marker)], self.end)?;
        self.file.sync_data()?;
        self.end += marker.len() as u64;
        self.sealed = true;
        let mut catalog = self.shared.catalog_mut();
        catalog.publish(&[], &self.progress, self.end);
        Ok(())
    }

    /// Ends the epoch: nothing that is not durable yet will ever be acknowledged. A failed fdatasync is not repeated: the kernel may
    /// have thrown the data away and would report success.
    pub fn fail(&mut self, error: &io::Error) {
        let full = disk::is_full(error);
        self.health = if full { Health::Full } else { Health::Failed };
        self.shared.counters.failures.fetch_add(1, Relaxed);
        if full {
            tracing::error!(%error, "the journal's disk is full: events are refused until there is space");
        } else {
            tracing::error!(%error, "the journal can't be written: events are refused until it has been verified: {error}");
        }
        let refusal =
            if full { AppendError::DiskFull { retry_after: RETRY_AFTER } } else { AppendError::Unavailable { retry_after: RETRY_AFTER } };
        let epoch = self.shared.queue.fail(refusal);
        self.shared.watermark.send_modify(|watermark| watermark.epoch = epoch);
    }

    /// What is to be done when nothing comes: the seal, which while events come is the next group's marker, and the upkeep.
    fn pause(&mut self) {
        if self.health == Health::Good
            && let Err(error) = self.seal()
        {
            return self.fail(&error);
        }
        self.upkeep();
    }

    /// Whether it was last done a while ago. A clock set back makes it due as well, or it would wait until the old time is reached.
    fn upkeep_is_due(&self) -> bool {
        let now = self.clock.now();
        now < self.last_upkeep || now.since(self.last_upkeep) >= TICK
    }

    /// What is to be done now and then: takes the ballast again, drops what has expired, and completes a segment that is old enough.
    fn upkeep(&mut self) {
        let now = self.clock.now();
        self.last_upkeep = now;
        if let Some(ballast) = &self.config.ballast {
            // Not yet: then segments are not allocated either.
            let _ = ballast.restore();
        }
        self.expire();
        if self.health != Health::Good {
            return self.repair();
        }
        self.spare_failed = false;
        let old = self.end > HEADER_BYTES && now.since(self.created) >= self.config.segment_max_age;
        match if old { self.roll() } else { Ok(()) } {
            Ok(()) => {}
            // The present segment may have room, which is no reason to refuse events.
            Err(error) if disk::is_full(&error) => tracing::debug!(%error, "an old journal segment goes on for want of space: {error}"),
            Err(error) => self.fail(&error),
        }
    }

    /// Tries to take events again.
    fn repair(&mut self) {
        let verified = if self.health == Health::Failed { self.verify() } else { Ok(()) };
        match verified.and_then(|()| self.roll()) {
            Ok(()) => {
                self.health = Health::Good;
                self.shared.queue.accept();
                tracing::info!(segment = self.segment, "the journal takes events again, in segment {}", self.segment);
            }
            Err(error) => tracing::debug!(%error, "the journal can't take events yet: {error}"),
        }
    }

    /// Reads the active segment again, from the device if that is possible, and cuts what was never acknowledged.
    fn verify(&mut self) -> io::Result<()> {
        let file = self.shared.disk.open(&segment_name(self.segment))?;
        file.forget_cached();
        let mut walk = Walk::new(file.clone(), self.segment, self.progress.len(), HEADER_BYTES, self.end);
        while let Some(found) = walk.next()? {
            let damage = match found {
                Found::Block(stretch, block) => walk.records(stretch, &block, |_| true)?,
                Found::Damage(stretch) => vec![stretch],
                Found::Group(..) => Vec::new(),
            };
            damage.into_iter().for_each(|stretch| self.shared.holes.note(self.segment, stretch));
        }
        file.set_len(self.end)?;
        file.sync_data()?;
        self.spare = None;
        Ok(())
    }

    /// Begins the next segment.
    fn roll(&mut self) -> io::Result<()> {
        let segment = self.next_segment;
        self.next_segment += 1;
        let created = self.clock.now();
        let spare = match self.spare.take() {
            Some(spare) => spare,
            None => self.allocate()?,
        };
        let header = SegmentHeader { segment, created, previous: Some((self.segment, self.end)), starts: self.progress.clone() };
        if let Err(error) = segment::begin(&*self.shared.disk, &*spare, &header) {
            // The name may be there or not; either way nothing is in it, and the next attempt uses another.
            let _ = self.shared.disk.remove(&segment_name(segment));
            return Err(error);
        }
        let last = std::mem::replace(&mut self.file, spare.clone());
        // What was allocated and not used; it does no harm where it can't be given back.
        let bytes = last.set_len(self.end).map_or(self.config.segment_bytes, |()| self.end);
        let active = Active::new(segment, created, self.progress.clone(), spare, self.config.segment_bytes);
        let (summary, index) = self.shared.catalog_mut().roll(active, bytes);
        if let Err(error) = index::save(&*self.shared.disk, &summary, &index) {
            tracing::warn!(segment = summary.segment, %error, "the index of journal segment {} can't be kept: {error}", summary.segment);
        }
        (self.segment, self.created, self.end) = (segment, created, HEADER_BYTES);
        (self.sealed, self.spare_failed) = (true, false);
        self.expire();
        Ok(())
    }

    /// Drops the oldest segments whose events are too old, or which are too much.
    fn expire(&mut self) {
        let now = self.clock.now();
        let mut dropped = false;
        loop {
            let victim = {
                let catalog = self.shared.catalog();
                let too_much = catalog.bytes() > self.config.retention_bytes;
                catalog
                    .oldest()
                    .filter(|oldest| too_much || oldest.summary.last_time().plus(self.config.retention_time) < now)
                    .map(|oldest| oldest.summary.segment)
            };
            let Some(segment) = victim else { break };
            self.shared.catalog_mut().drop_oldest();
            self.shared.open_segments.close(segment);
            for name in [segment_name(segment), index::file_name(segment)] {
                match self.shared.disk.remove(&name) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => tracing::warn!(segment, %error, "{name} can't be removed: {error}; it is tried again at the next start"),
                }
            }
            tracing::info!(segment, "journal segment {segment} has expired");
            dropped = true;
        }
        // Not synced: a segment that comes back after a crash expires again.
        if dropped {
            self.spare_failed = false;
        }
    }

    fn allocate_ahead(&mut self) {
        if self.spare.is_some() {
            return;
        }
        match self.allocate() {
            Ok(spare) => self.spare = Some(spare),
            Err(error) => {
                self.spare_failed = true;
                tracing::warn!(%error, "the journal's next segment can't be allocated yet: {error}");
            }
        }
    }

    fn allocate(&self) -> io::Result<Arc<dyn DiskFile>> {
        segment::space_is_ours(&self.config)?;
        self.shared.disk.create(SPARE, self.config.segment_bytes)
    }

    fn close(&mut self) {
        let sealed = if self.health == Health::Good { self.seal() } else { Ok(()) };
        let cut = sealed.and_then(|()| self.file.set_len(self.end)).and_then(|()| self.file.sync_data());
        if let Err(error) = cut {
            tracing::warn!(%error, "the journal could not be closed cleanly: {error}");
        }
        if self.spare.take().is_some() {
            // A closed hub takes no more space than its events; a spare that stays is used at the next start.
            let _ = self.shared.disk.remove(SPARE).and_then(|()| self.shared.disk.sync());
        }
    }
}

/// A group with its places.
struct Written {
    blocks: Vec<(BlockHeader, u64)>,
    progress: Vec<Progress>,
    bytes: u64,
}
