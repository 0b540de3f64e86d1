//! How a segment begins.
//!
//! Owns the names of the segments' files and the order in which a new one becomes durable. Never writes a group.

use std::io::{self, IoSlice};

use super::JournalConfig;
use super::catalog::Active;
use super::disk::{self, Disk, DiskFile};
use super::layout::{HEADER_BYTES, SegmentHeader};
use super::recovery::Recovered;
use crate::core::time::UnixMillis;

/// The name of the segment file that is allocated ahead.
pub const SPARE: &str = "spare";

/// The name of a segment's file.
#[must_use]
pub fn segment_name(segment: u64) -> String {
    format!("{segment:020}.segment")
}

/// Makes the new active segment after recovery, whose `previous` is the last one with events. When the disk is full it is a mere
/// header, and the error says so: the hub starts all the same, since devices must be disabled even then.
///
/// # Errors
/// The disk's, other than that it is full.
pub fn first(
    disk: &dyn Disk,
    config: &JournalConfig,
    recovered: &Recovered,
    created: UnixMillis,
) -> io::Result<(Active, Option<io::Error>)> {
    let previous = recovered.complete.last().map(|segment| (segment.summary.segment, segment.summary.end));
    let segment = recovered.next_segment;
    let header = SegmentHeader { segment, created, previous, starts: recovered.progress.clone() };
    let empty = |bytes| {
        let file = disk.create(SPARE, bytes)?;
        begin(disk, &*file, &header)?;
        Ok(Active::new(segment, created, recovered.progress.clone(), file, bytes))
    };
    match space_is_ours(config).and_then(|()| empty(config.segment_bytes)) {
        Ok(active) => Ok((active, None)),
        Err(full) if disk::is_full(&full) => {
            let active = empty(HEADER_BYTES).or_else(|error| {
                // A page is a small part of what the registry gets with it.
                let released = disk::is_full(&error) && config.ballast.as_ref().is_some_and(|ballast| ballast.release());
                if released { empty(HEADER_BYTES) } else { Err(error) }
            })?;
            Ok((active, Some(full)))
        }
        Err(error) => Err(error),
    }
}

/// While the ballast is gone, what space there is belongs to the registry.
///
/// # Errors
/// That the disk is full, then.
pub fn space_is_ours(config: &JournalConfig) -> io::Result<()> {
    if config.ballast.as_ref().is_some_and(|ballast| !ballast.is_held()) {
        return Err(io::Error::new(io::ErrorKind::StorageFull, "the ballast has been let go"));
    }
    Ok(())
}

/// Makes a segment of the spare file: the header is durable before the name is, so that a segment without a header is a damaged one.
///
/// # Errors
/// The disk's; the name may be there all the same.
pub fn begin(disk: &dyn Disk, spare: &dyn DiskFile, header: &SegmentHeader) -> io::Result<()> {
    disk::write_all(spare, &mut [IoSlice::new(&header.encode())], 0)?;
    spare.sync_data()?;
    disk.rename(SPARE, &segment_name(header.segment))?;
    disk.sync()
}
