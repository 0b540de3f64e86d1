//! The hub's data folder: its format and its lock.
//!
//! Owns the files `FORMAT` and `lock`, and the names of the rest. Never reads what the stores keep there.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::modes;

/// The format that this version writes. Older ones are read.
pub const FORMAT: u32 = 1;

/// What lies in the folder itself and is nobody else's business: it holds the devices' keys, the policies' keys, and what goes with them.
const PRIVATE_FILES: [&str; 9] = [
    "FORMAT",
    "lock",
    "ballast",
    "registry.sqlite",
    "registry.sqlite-wal",
    "registry.sqlite-shm",
    "policies.json",
    "manifests.json",
    "hub.json",
];

/// A data folder, locked for this process for as long as this lives.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

/// The data folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// The operating system refused something.
    #[error("can't {doing} {path:?}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another hub uses it.
    #[error("another hub uses the data folder {0:?}")]
    Locked(PathBuf),
    /// A later version wrote it.
    #[error("the data folder {path:?} has format {found}; this version reads formats up to {FORMAT}: use a later version of the hub")]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It holds data and no readable `FORMAT`.
    #[error("{0:?} holds a hub's data but no readable FORMAT file: it is no data folder, or a damaged one")]
    Unrecognized(PathBuf),
}

impl DataFolder {
    /// Opens the folder, which is made if need be, readable by its owner only.
    ///
    /// # Errors
    /// [`DataFolderError`].
    pub fn open(path: &Path) -> Result<Self, DataFolderError> {
        let failed = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| DataFolderError::Io { doing, path, source }
        };
        modes::make_private_folder(path).map_err(failed("make", path))?;
        let lock_path = path.join("lock");
        let lock = modes::private_file().write(true).create(true).truncate(false).open(&lock_path).map_err(failed("open", &lock_path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(DataFolderError::Locked(path.to_owned())),
            Err(error) => return Err(failed("lock", &lock_path)(error.into())),
        }
        let folder = Self { path: path.to_owned(), _lock: lock };
        folder.check_format()?;
        folder.close_to_others();
        Ok(folder)
    }

    /// Files of earlier versions, and copies from elsewhere, may be open to others. The folder itself stays as somebody made it.
    fn close_to_others(&self) {
        for name in PRIVATE_FILES {
            modes::close_to_others(&self.path.join(name));
        }
        if modes::is_open_to_all(&self.path).unwrap_or(false) {
            let path = self.path.display();
            tracing::warn!(%path, "every user of this machine may look into the data folder {path}; `chmod 700` closes it");
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The journal's folder.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.path.join("events")
    }

    /// The registry's database.
    #[must_use]
    pub fn registry(&self) -> PathBuf {
        self.path.join("registry.sqlite")
    }

    /// The ballast's file.
    #[must_use]
    pub fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    fn check_format(&self) -> Result<(), DataFolderError> {
        let path = self.path.join("FORMAT");
        let failed = |doing| {
            let path = path.clone();
            move |source| DataFolderError::Io { doing, path, source }
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse::<u32>() {
                Ok(found) if found > FORMAT => Err(DataFolderError::Newer { path: self.path.clone(), found }),
                Ok(_) => Ok(()),
                Err(_) => Err(DataFolderError::Unrecognized(self.path.clone())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A new volume is not empty (lost+found), so only our own files tell that something is wrong.
                if self.events().exists() || self.registry().exists() {
                    return Err(DataFolderError::Unrecognized(self.path.clone()));
                }
                self.write_format().map_err(failed("write"))
            }
            Err(error) => Err(failed("read")(error)),
        }
    }

    /// Written aside and renamed, so that a crash leaves all of it or nothing.
    fn write_format(&self) -> io::Result<()> {
        let draft = self.path.join("FORMAT.new");
        let mut file = modes::private_file().write(true).create(true).truncate(true).open(&draft)?;
        writeln!(file, "{FORMAT}")?;
        file.sync_all()?;
        std::fs::rename(&draft, self.path.join("FORMAT"))?;
        File::open(&self.path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::store::ballast::Ballast;
    use crate::store::journal::disk::{Disk as _, Folder};

    #[test]
    fn a_folder_is_locked_while_it_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let first = DataFolder::open(&path).unwrap();
        assert!(matches!(DataFolder::open(&path), Err(DataFolderError::Locked(_))));
        drop(first);
        let again = DataFolder::open(&path).unwrap();
        assert_eq!(std::fs::read_to_string(again.path().join("FORMAT")).unwrap(), "1\n");
    }

    #[test]
    fn what_is_in_an_open_folder_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let set_mode = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        set_mode(folder.path(), 0o755);
        let open = || {
            let data = DataFolder::open(folder.path()).unwrap();
            drop(Ballast::open(data.ballast(), 4096).unwrap());
            drop(Folder::open(data.events()).unwrap().create("spare", 10).unwrap());
            data
        };
        let data = open();
        let files = ["FORMAT", "lock", "ballast", "events/spare"].map(|name| folder.path().join(name));
        for path in &files {
            assert_eq!(mode(path), 0o600, "{path:?}");
        }
        assert_eq!(mode(&data.events()), 0o700);
        drop(data);
        // As earlier versions left them.
        files.iter().for_each(|path| set_mode(path, 0o644));
        set_mode(&folder.path().join("events"), 0o755);
        drop(open());
        for path in &files {
            assert_eq!(mode(path), 0o600, "{path:?}");
        }
        assert_eq!(mode(&folder.path().join("events")), 0o700);
        assert_eq!(mode(folder.path()), 0o755, "somebody wants it so");
    }

    #[test]
    fn a_newer_or_unreadable_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("lost+found")).unwrap();
        drop(DataFolder::open(folder.path()).unwrap());
        let format = folder.path().join("FORMAT");
        std::fs::write(&format, "2\n").unwrap();
        assert!(matches!(DataFolder::open(folder.path()), Err(DataFolderError::Newer { found: 2, .. })));
        std::fs::write(&format, "what?").unwrap();
        assert!(matches!(DataFolder::open(folder.path()), Err(DataFolderError::Unrecognized(_))));
        std::fs::remove_file(&format).unwrap();
        std::fs::create_dir(folder.path().join("events")).unwrap();
        assert!(matches!(DataFolder::open(folder.path()), Err(DataFolderError::Unrecognized(_))));
    }
}
