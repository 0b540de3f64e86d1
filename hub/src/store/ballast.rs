//! Space that is kept for the registry: a file that is let go when the disk is full, so that a device can still be disabled when
//! events have filled the disk.
//!
//! Owns the file. Never decides when it is needed: whoever writes the registry and meets a full disk calls [`Ballast::release`];
//! the journal allocates nothing until [`Ballast::restore`] has succeeded, so it can't take the space.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::journal::disk::allocate;
use super::modes;

/// What the registry of a small hub can grow by while the disk is full: some ten thousand changes with SQLite's log and its copies.
pub const DEFAULT_BALLAST_BYTES: u64 = 64 * 1024 * 1024;

/// The ballast.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    bytes: u64,
    held: Mutex<bool>,
}

impl Ballast {
    /// Takes the ballast in the file at `path`. When the disk is too full for it, it counts as let go.
    ///
    /// # Errors
    /// When the file can't be made for another reason.
    pub fn open(path: PathBuf, bytes: u64) -> io::Result<Self> {
        let ballast = Self { path, bytes, held: Mutex::new(false) };
        match ballast.take(bytes) {
            Ok(()) => *ballast.lock() = true,
            Err(error) if super::journal::disk::is_full(&error) => {
                tracing::warn!("there is no space for the ballast: events are refused until there is");
            }
            Err(error) => return Err(error),
        }
        Ok(ballast)
    }

    /// Gives the space back to the disk. False: it was let go before, so trying again won't help.
    pub fn release(&self) -> bool {
        let mut held = self.lock();
        if !*held {
            return false;
        }
        // Held is false even if the file can't be removed: whatever comes next, the journal must not allocate.
        *held = false;
        match std::fs::remove_file(&self.path) {
            Ok(()) => {
                tracing::warn!(
                    "the disk is full: the ballast is let go, the registry goes on, events are refused when the last segment is full"
                );
                true
            }
            Err(error) => {
                tracing::error!(%error, "the ballast can't be removed: {error}");
                false
            }
        }
    }

    /// Takes the space again if there is at least twice as much, so that the registry has some beside it.
    ///
    /// # Errors
    /// When there is not enough, or the disk's.
    pub fn restore(&self) -> io::Result<()> {
        let mut held = self.lock();
        if *held {
            return Ok(());
        }
        self.take(self.bytes.saturating_mul(2))?;
        *held = true;
        tracing::info!("the ballast is held again");
        Ok(())
    }

    /// Whether the space is kept.
    #[must_use]
    pub fn is_held(&self) -> bool {
        *self.lock()
    }

    /// Allocates the file, if the disk has `space_bytes` free. Asked first, because an allocation that fails half-way takes everybody's
    /// space for a moment.
    fn take(&self, space_bytes: u64) -> io::Result<()> {
        let folder = self.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let file = modes::private_file().write(true).create(true).truncate(false).open(&self.path)?;
        let space = rustix::fs::statvfs(folder)?;
        let free = space.f_bavail.saturating_mul(space.f_frsize).saturating_add(allocated(&file)?);
        let taken = if free < space_bytes {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            allocate(&file, self.bytes).and_then(|()| file.sync_all())
        };
        if taken.is_err() {
            // A part of it would only be in the way.
            std::fs::remove_file(&self.path)?;
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn allocated(file: &File) -> io::Result<u64> {
    const UNIT_BYTES: u64 = 512;
    Ok(file.metadata()?.blocks().saturating_mul(UNIT_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_space_is_taken_let_go_and_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ballast");
        let ballast = Ballast::open(path.clone(), 100_000).unwrap();
        assert!(ballast.is_held());
        assert_eq!(path.metadata().unwrap().len(), 100_000);
        assert!(ballast.release());
        assert!(!ballast.is_held() && !path.exists());
        assert!(!ballast.release(), "once is all there is");
        ballast.restore().unwrap();
        assert!(ballast.is_held() && path.exists());
    }

    #[test]
    fn a_ballast_that_does_not_fit_counts_as_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ballast");
        let ballast = Ballast::open(path.clone(), 1 << 60).unwrap();
        assert!(!ballast.is_held());
        assert!(!path.exists());
        assert!(ballast.restore().is_err());
        assert!(!ballast.is_held());
    }
}
