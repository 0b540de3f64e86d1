//! Reads durable events.
//!
//! Owns the readers' way through catalog, index and segment. It takes the catalog's lock for a look-up only and reads outside of it,
//! so that a slow reader never slows ingestion. Never sees an event that is not durable.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::Shared;
use super::catalog::Find;
use super::disk::DiskFile;
use super::index::{self, Index};
use super::layout::{BlockHeader, HEADER_BYTES};
use super::scan::{Found, Stretch, Walk};
use super::segment::segment_name;
use crate::core::event::SequenceNumber;
use crate::core::time::UnixMillis;
use crate::store::StoredEvent;

/// Complete segments that stay open with their indexes: an index is below 200 KiB even with 32 partitions, so this is a few megabytes.
const MAX_OPEN_SEGMENTS: usize = 32;

/// How many readers' places are remembered for each partition: the hundred of twenty consumer groups with five readers each, and some that
/// no group has. At 24 bytes a place, 32 partitions have less than 100 KiB of them.
const BOOKMARKS_PER_PARTITION: usize = 128;

/// Where readers have stopped, partition by partition, the last one last. A reader that goes on there need not search from the index's entry,
/// which may be a quarter of a megabyte before.
#[derive(Default)]
pub struct Bookmarks(Mutex<Vec<Vec<Bookmark>>>);

/// The frame to go on with.
#[derive(Clone, Copy)]
struct Bookmark {
    number: u64,
    segment: u64,
    offset: u64,
}

/// A complete segment that readers use.
struct OpenSegment {
    segment: u64,
    file: Arc<dyn DiskFile>,
    index: Index,
}

/// The complete segments that readers used last; the last one last.
#[derive(Default)]
pub struct OpenSegments(Mutex<Vec<Arc<OpenSegment>>>);

/// See [`crate::store::EventLog::read`].
///
/// # Errors
/// The disk's.
pub fn read(shared: &Shared, partition: usize, from: u64, max_bytes: usize) -> io::Result<Vec<StoredEvent>> {
    let mut batch = Batch { events: Vec::new(), room: max_bytes, full: false };
    let mut from = from;
    while !batch.full {
        let Some(find) = shared.catalog().find_number(partition, from) else { break };
        let bookmark = shared.bookmarks.take(partition, from, find.segment);
        if let Some(mut walk) = start(shared, &find, bookmark, |index| index.offset_of_number(partition, from))? {
            let wanted = |block: &BlockHeader| usize::from(block.partition) == partition && block.end() > from;
            let offset = each_event(shared, &mut walk, find.segment, wanted, |number, time, content| {
                number < from || (number < find.until && batch.push(number, time, content))
            })?;
            if let Some(last) = batch.events.last() {
                let number = last.sequence_number.next().0;
                shared.bookmarks.put(partition, Bookmark { number, segment: find.segment, offset });
            }
        }
        from = find.until;
    }
    Ok(batch.events)
}

/// See [`crate::store::EventLog::enqueued_time`]. Readers' bookmarks stay where they are.
///
/// # Errors
/// The disk's.
pub fn enqueued_time(shared: &Shared, partition: usize, from: u64) -> io::Result<Option<UnixMillis>> {
    let mut from = from;
    let mut time = None;
    while time.is_none() {
        let Some(find) = shared.catalog().find_number(partition, from) else { break };
        if let Some(mut walk) = start(shared, &find, None, |index| index.offset_of_number(partition, from))? {
            let wanted = |block: &BlockHeader| usize::from(block.partition) == partition && block.end() > from;
            each_event(shared, &mut walk, find.segment, wanted, |number, enqueued, _| {
                if (from..find.until).contains(&number) {
                    time = Some(enqueued);
                }
                number < from
            })?;
        }
        from = find.until;
    }
    Ok(time)
}

/// The number of the first event enqueued at `time` or later, or of the next event to come.
///
/// # Errors
/// The disk's.
pub fn locate_time(shared: &Shared, partition: usize, time: UnixMillis) -> io::Result<u64> {
    let (find, next) = {
        let catalog = shared.catalog();
        (catalog.find_time(partition, time), catalog.partition(partition).map_or(0, |info| info.next_sequence_number.0))
    };
    let Some(find) = find else { return Ok(next) };
    let mut located = find.until;
    if let Some(mut walk) = start(shared, &find, None, |index| index.offset_of_time(partition, time))? {
        let wanted = |block: &BlockHeader| usize::from(block.partition) == partition && block.last_time >= time;
        each_event(shared, &mut walk, find.segment, wanted, |number, enqueued, _| {
            let found = enqueued >= time && number < find.until;
            if found {
                located = number;
            }
            !found
        })?;
    }
    Ok(located)
}

/// When the oldest event was enqueued; `None`: there is none, or the disk does not say.
pub fn oldest_event_time(shared: &Shared) -> Option<UnixMillis> {
    let (segment, end, time) = shared.catalog().oldest_filled()?;
    time.or_else(|| shared.open_segments.get(shared, segment, end).ok().flatten()?.index.first_time())
}

struct Batch {
    events: Vec<StoredEvent>,
    room: usize,
    full: bool,
}

impl Batch {
    /// Takes an event if there is room or it is the first; answers whether to go on.
    fn push(&mut self, number: u64, time: UnixMillis, content: &[u8]) -> bool {
        self.full = content.len() > self.room && !self.events.is_empty();
        if self.full {
            return false;
        }
        self.room = self.room.saturating_sub(content.len());
        self.full = self.room == 0;
        let content = Bytes::copy_from_slice(content);
        self.events.push(StoredEvent { sequence_number: SequenceNumber(number), enqueued_time: time, content });
        !self.full
    }
}

/// A walk that begins where the index says. `None`: nothing is there any more.
fn start(shared: &Shared, find: &Find, bookmark: Option<u64>, offset: impl FnOnce(&Index) -> Option<u64>) -> io::Result<Option<Walk>> {
    let (file, offset) = match &find.active {
        Some((file, offset)) => (file.clone(), *offset),
        None => match shared.open_segments.get(shared, find.segment, find.end)? {
            Some(open) => (open.file.clone(), offset(&open.index)),
            None => return Ok(None),
        },
    };
    Ok(bookmark.or(offset).map(|offset| Walk::new(file, find.segment, shared.partitions(), offset, find.end)))
}

/// Calls `each` with number, time and content of the events in the wanted blocks, until it answers false. Returns the offset of the
/// frame to go on with.
fn each_event(
    shared: &Shared,
    walk: &mut Walk,
    segment: u64,
    wanted: impl Fn(&BlockHeader) -> bool,
    mut each: impl FnMut(u64, UnixMillis, &[u8]) -> bool,
) -> io::Result<u64> {
    let mut go_on = true;
    while go_on && let Some(found) = walk.next()? {
        match found {
            Found::Block(stretch, block) if wanted(&block) => {
                let damage = walk.records(stretch, &block, |record| {
                    let time = UnixMillis(block.first_time.0 + i64::from(record.delta_ms));
                    go_on = each(block.first + u64::from(record.index), time, record.content);
                    go_on
                })?;
                damage.into_iter().for_each(|stretch| shared.holes.note(segment, stretch));
                if !go_on {
                    return Ok(stretch.from);
                }
            }
            Found::Damage(stretch) => shared.holes.note(segment, stretch),
            Found::Block(..) | Found::Group(..) => {}
        }
    }
    Ok(walk.position())
}

impl Bookmarks {
    /// The frame in `segment` to go on with for the event `number`, if a reader stopped before it. The bookmark moves on with the reader.
    fn take(&self, partition: usize, number: u64, segment: u64) -> Option<u64> {
        let mut bookmarks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_partition = bookmarks.get_mut(partition)?;
        let at = of_partition.iter().position(|mark| (mark.number, mark.segment) == (number, segment))?;
        Some(of_partition.remove(at).offset)
    }

    fn put(&self, partition: usize, bookmark: Bookmark) {
        let mut bookmarks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bookmarks.len() <= partition {
            bookmarks.resize_with(partition + 1, Vec::new);
        }
        let of_partition = &mut bookmarks[partition];
        if of_partition.len() >= BOOKMARKS_PER_PARTITION {
            of_partition.remove(0);
        }
        of_partition.push(bookmark);
    }
}

impl OpenSegments {
    /// The segment, opened if need be; `None` when retention has dropped it meanwhile.
    fn get(&self, shared: &Shared, segment: u64, end: u64) -> io::Result<Option<Arc<OpenSegment>>> {
        if let Some(open) = self.touch(segment) {
            return Ok(Some(open));
        }
        let file = match shared.disk.open(&segment_name(segment)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let index = match index::load(&*shared.disk, segment, shared.partitions())? {
            Some(index) => index,
            None => rebuild(shared, &file, segment, end)?,
        };
        let open = Arc::new(OpenSegment { segment, file, index });
        let mut segments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if segments.len() >= MAX_OPEN_SEGMENTS {
            segments.remove(0);
        }
        segments.push(open.clone());
        Ok(Some(open))
    }

    /// Closes a segment that retention drops, so that its space comes back.
    pub fn close(&self, segment: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|open| open.segment != segment);
    }

    fn touch(&self, segment: u64) -> Option<Arc<OpenSegment>> {
        let mut segments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = segments.iter().position(|open| open.segment == segment)?;
        let open = segments.remove(at);
        segments.push(open.clone());
        Some(open)
    }
}

/// The index of a complete segment whose index file has gone since the start.
fn rebuild(shared: &Shared, file: &Arc<dyn DiskFile>, segment: u64, end: u64) -> io::Result<Index> {
    let mut walk = Walk::new(file.clone(), segment, shared.partitions(), HEADER_BYTES, end);
    let mut index = Index::new(shared.partitions());
    while let Some(found) = walk.next()? {
        match found {
            Found::Block(Stretch { from, .. }, block) => index.add(&block, from),
            Found::Damage(stretch) => shared.holes.note(segment, stretch),
            Found::Group(..) => {}
        }
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::super::tests::disks::MemoryDisk;
    use super::super::tests::rig::Rig;
    use super::*;
    use crate::core::event::PartitionId;

    fn places(bookmarks: &Bookmarks, partition: usize) -> Vec<u64> {
        bookmarks.0.lock().unwrap().get(partition).map_or_else(Vec::new, |marks| marks.iter().map(|mark| mark.number).collect())
    }

    #[test]
    fn all_who_can_sit_on_a_partition_keep_their_places_and_other_partitions_do_not_take_them() {
        let bookmarks = Bookmarks::default();
        let mark = |number| Bookmark { number, segment: 0, offset: 10 * number };
        for partition in 0..32 {
            (0..100).for_each(|reader| bookmarks.put(partition, mark(reader)));
        }
        for (partition, number) in (0..32).flat_map(|partition| (0..100).map(move |number| (partition, number))) {
            assert_eq!(bookmarks.take(partition, number, 0), Some(10 * number), "reader {number} of partition {partition}");
        }
        (0..1000).for_each(|reader| bookmarks.put(3, mark(reader)));
        assert_eq!(places(&bookmarks, 3), (1000 - BOOKMARKS_PER_PARTITION as u64..1000).collect::<Vec<_>>());
        assert_eq!((bookmarks.take(3, 0, 0), bookmarks.take(99, 0, 0)), (None, None));
    }

    #[test]
    fn who_looks_up_a_time_takes_no_readers_place() {
        let mut rig = Rig::open(Arc::new(MemoryDisk::default()), config(1)).unwrap();
        for _ in 0..20 {
            rig.append(&[(0, &[7; 100])]);
        }
        let read = rig.shared.read(PartitionId(0), SequenceNumber(0), 500).unwrap();
        assert_eq!((read.len(), places(&rig.shared.bookmarks, 0)), (5, vec![5]));
        for number in 0..20 {
            assert!(rig.shared.enqueued_time(PartitionId(0), SequenceNumber(number)).unwrap().is_some());
        }
        assert_eq!(rig.shared.enqueued_time(PartitionId(0), SequenceNumber(20)).unwrap(), None);
        assert_eq!(places(&rig.shared.bookmarks, 0), [5]);
    }
}
