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

/// How many readers' places are remembered: a few for each partition, for as many consumers.
const MAX_BOOKMARKS: usize = 128;

/// Where readers have stopped, the last one last. A reader that goes on there need not search from the index's entry, which may be
/// a quarter of a megabyte before.
#[derive(Default)]
pub struct Bookmarks(Mutex<Vec<Bookmark>>);

/// The frame to go on with.
#[derive(Clone, Copy)]
struct Bookmark {
    partition: usize,
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
                shared.bookmarks.put(Bookmark { partition, number, segment: find.segment, offset });
            }
        }
        from = find.until;
    }
    Ok(batch.events)
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
        let at = bookmarks.iter().position(|mark| (mark.partition, mark.number, mark.segment) == (partition, number, segment))?;
        Some(bookmarks.remove(at).offset)
    }

    fn put(&self, bookmark: Bookmark) {
        let mut bookmarks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bookmarks.len() >= MAX_BOOKMARKS {
            bookmarks.remove(0);
        }
        bookmarks.push(bookmark);
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
