//! The folder of manifests: which files it has, and what each said when it last made sense.
//!
//! Owns the reading. A file counts whole or not at all: one that can't be understood keeps its last good content, and one that was
//! written a moment ago is read when it has settled; until then the folder is not complete. What is no regular file is never read, since
//! a pipe would be waited for. Decides nothing about devices.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};

use super::text::{self, Contents, Syntax};
use crate::core::time::UnixMillis;

/// The largest file, so that a wrong path does not fill the memory: some two thousand manifests.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// The most files that are looked at: one for each of the most devices.
const FILES_MAX: usize = 100_000;

/// A file that was written less than this ago may be half-written. Editors take milliseconds, `cp` of a megabyte does too.
pub const SETTLE_TIME: Duration = Duration::from_millis(200);

/// The folder, and what is known of its files.
#[derive(Debug)]
pub struct ManifestFolder {
    path: PathBuf,
    files: BTreeMap<String, KnownFile>,
}

#[derive(Debug, Default)]
struct KnownFile {
    /// As which it was read; `None` makes it be read again.
    stamp: Option<Stamp>,
    /// What it said when it last made sense.
    good: Option<Contents>,
    /// Why what it says now is not taken.
    problem: Option<String>,
    /// It is being written, and may say something else than is known.
    unsettled: bool,
}

/// Two files with the same stamp are the same file with the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether it was written a moment ago. A time in the future, on another machine's clock, says nothing.
    fn is_fresh(self, now: UnixMillis) -> bool {
        let age_ns = i128::from(now.0) * 1_000_000 - self.modified_ns;
        (0..i128::try_from(SETTLE_TIME.as_nanos()).unwrap_or(0)).contains(&age_ns)
    }
}

/// What a look has found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Something is different from the look before.
    pub changed: bool,
    /// A file is being written: look again soon.
    pub unsettled: bool,
}

/// The folder can't be looked at. What is known of its files stays.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The operating system says no.
    #[error("the folder of manifests {path} can't be read")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// More files than anybody has devices.
    #[error("the folder of manifests {0} has more than {FILES_MAX} files")]
    TooMany(PathBuf),
}

impl ManifestFolder {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), files: BTreeMap::new() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which folder it is: another one may be mounted there later.
    #[must_use]
    pub fn identity(&self) -> Option<(u64, u64)> {
        fs::metadata(&self.path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// Looks at the folder, and reads what has changed. Waits for the disk.
    pub fn look(&mut self, now: UnixMillis) -> Result<Look, FolderError> {
        let names = self.names()?;
        let before = self.files.len();
        self.files.retain(|name, _| names.contains(name));
        let mut look = Look { changed: self.files.len() != before, unsettled: false };
        for name in names {
            let path = self.path.join(&name);
            let file = self.files.entry(name).or_insert_with(|| {
                look.changed = true;
                KnownFile::default()
            });
            let found = file.look(&path, now);
            file.unsettled = matches!(found, FileLook::Unsettled);
            match found {
                FileLook::Same => {}
                FileLook::Changed => look.changed = true,
                FileLook::Unsettled => look.unsettled = true,
            }
        }
        Ok(look)
    }

    /// The names of files that may hold manifests. Hidden ones are editors', and those of a mounted ConfigMap.
    fn names(&self) -> Result<BTreeSet<String>, FolderError> {
        let failed = |source| FolderError::Read { path: self.path.clone(), source };
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let Ok(name) = entry.map_err(failed)?.file_name().into_string() else { continue };
            if !name.starts_with('.') && syntax_of(&name).is_some() && !self.path.join(&name).is_dir() {
                names.insert(name);
            }
            if names.len() > FILES_MAX {
                return Err(FolderError::TooMany(self.path.clone()));
            }
        }
        Ok(names)
    }

    /// What each file said when it last made sense, by name.
    pub fn good(&self) -> impl Iterator<Item = (&str, &Contents)> {
        self.files.iter().filter_map(|(name, file)| Some((name.as_str(), file.good.as_ref()?)))
    }

    /// What is wrong, by name.
    pub fn problems(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(name, file)| Some((name.as_str(), file.problem.as_deref()?)))
    }

    /// Whether it is known what every file says now. Only then what is not said has been taken away.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.files.values().all(|file| file.good.is_some() && file.problem.is_none() && !file.unsettled)
    }
}

enum FileLook {
    Same,
    Changed,
    Unsettled,
}

impl KnownFile {
    fn look(&mut self, path: &Path, now: UnixMillis) -> FileLook {
        let read = match fs::metadata(path).map(|metadata| (Stamp::of(&metadata), metadata.is_file())) {
            Ok((stamp, _)) if self.stamp == Some(stamp) => return FileLook::Same,
            Ok((stamp, false)) => Ok((stamp, Err(NO_FILE.to_owned()))),
            Ok((stamp, true)) if stamp.is_fresh(now) => return FileLook::Unsettled,
            Ok((stamp, true)) if stamp.size > FILE_MAX_BYTES => Ok((stamp, Err(too_large()))),
            Ok((stamp, true)) => read_bounded(path).and_then(|bytes| {
                let after = Stamp::of(&fs::metadata(path)?);
                Ok((after, if after == stamp { Ok(bytes) } else { Err(String::new()) }))
            }),
            Err(error) => Err(error),
        };
        let (stamp, outcome) = match read {
            // It was written while it was read.
            Ok((_, Err(nothing))) if nothing.is_empty() => return FileLook::Unsettled,
            Ok((stamp, bytes)) => (Some(stamp), bytes.and_then(|bytes| self.understand(path, &bytes))),
            Err(error) => (None, Err(format!("it can't be read: {error}"))),
        };
        let before = std::mem::replace(&mut self.stamp, stamp);
        match outcome {
            Ok(contents) => {
                (self.good, self.problem) = (Some(contents), None);
                FileLook::Changed
            }
            Err(problem) => {
                let said = self.problem.replace(problem);
                if before == stamp && said == self.problem { FileLook::Same } else { FileLook::Changed }
            }
        }
    }

    fn understand(&self, path: &Path, bytes: &[u8]) -> Result<Contents, String> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let syntax = syntax_of(&name).unwrap_or(Syntax::Yaml);
        text::read(bytes, syntax).map_err(|problem| match self.good {
            Some(_) => format!("{problem}; what it said before still holds"),
            None => problem.to_string(),
        })
    }
}

fn syntax_of(name: &str) -> Option<Syntax> {
    match name.rsplit_once('.')?.1 {
        "yaml" | "yml" => Some(Syntax::Yaml),
        "json" => Some(Syntax::Json),
        _ => None,
    }
}

fn too_large() -> String {
    format!("it is larger than {} KiB", FILE_MAX_BYTES >> 10)
}

/// What is wrong with a pipe, a socket or a device.
const NO_FILE: &str = "it is no file";

/// Reads a file that may grow meanwhile, or be replaced by something that is no file: opening that must not wait for anybody.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::from(open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(NO_FILE));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long after everything was written.
    const LATER: UnixMillis = UnixMillis(i64::MAX / 2_000_000);

    fn manifest(name: &str) -> String {
        format!("apiVersion: mooring.dev/v1alpha1\nkind: Device\nmetadata:\n  name: {name}\nspec: {{}}\n")
    }

    fn ids(folder: &ManifestFolder) -> Vec<String> {
        folder.good().flat_map(|(_, contents)| &contents.devices).map(|manifest| manifest.wanted.device_id.clone()).collect()
    }

    #[test]
    fn what_does_not_make_sense_keeps_what_it_said_and_is_read_again() {
        let disk = tempfile::tempdir().unwrap();
        let mut folder = ManifestFolder::new(disk.path());
        let path = disk.path().join("a.yaml");
        fs::write(&path, manifest("a")).unwrap();
        for other in ["notes.txt", ".hidden.yaml", "a.yaml~"] {
            fs::write(disk.path().join(other), "{").unwrap();
        }
        assert_eq!(folder.look(LATER).unwrap(), Look { changed: true, unsettled: false });
        assert_eq!(folder.look(LATER).unwrap(), Look::default());
        fs::write(&path, "apiVersion: {").unwrap();
        assert!(folder.look(LATER).unwrap().changed);
        assert_eq!((ids(&folder), folder.is_complete()), (vec!["a".to_owned()], false));
        let problem = folder.problems().next().unwrap().1.to_owned();
        assert!(problem.starts_with("line 2, column") && problem.ends_with("still holds"), "{problem}");
        fs::write(&path, manifest("b")).unwrap();
        folder.look(LATER).unwrap();
        assert_eq!((ids(&folder), folder.problems().count(), folder.is_complete()), (vec!["b".to_owned()], 0, true));
        fs::write(&path, "").unwrap();
        folder.look(LATER).unwrap();
        assert_eq!((ids(&folder), folder.is_complete()), (vec!["b".to_owned()], false), "it was cut off");
    }

    #[test]
    fn a_file_that_never_made_sense_makes_the_folder_incomplete() {
        let disk = tempfile::tempdir().unwrap();
        let mut folder = ManifestFolder::new(disk.path());
        fs::write(disk.path().join("a.yaml"), manifest("a")).unwrap();
        fs::write(disk.path().join("b.json"), vec![b' '; FILE_MAX_BYTES as usize + 1]).unwrap();
        folder.look(LATER).unwrap();
        assert_eq!((ids(&folder), folder.is_complete()), (vec!["a".to_owned()], false));
        fs::remove_file(disk.path().join("b.json")).unwrap();
        folder.look(LATER).unwrap();
        assert!(folder.is_complete());
    }

    #[test]
    fn a_file_that_was_just_written_is_left_to_settle() {
        let disk = tempfile::tempdir().unwrap();
        let mut folder = ManifestFolder::new(disk.path());
        let path = disk.path().join("a.yaml");
        fs::write(&path, manifest("a")).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        let written = UnixMillis(metadata.mtime() * 1000 + metadata.mtime_nsec() / 1_000_000);
        assert!(folder.look(written.plus(Duration::from_millis(1))).unwrap().unsettled);
        assert!(ids(&folder).is_empty() && !folder.is_complete());
        assert!(!folder.look(written.plus(SETTLE_TIME * 2)).unwrap().unsettled);
        assert_eq!((ids(&folder), folder.is_complete()), (vec!["a".to_owned()], true));
        fs::write(&path, manifest("other")).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        let written = UnixMillis(metadata.mtime() * 1000 + metadata.mtime_nsec() / 1_000_000);
        assert!(folder.look(written.plus(Duration::from_millis(1))).unwrap().unsettled);
        assert_eq!((ids(&folder), folder.is_complete()), (vec!["a".to_owned()], false), "it may say something else now");
    }

    #[test]
    fn what_is_no_file_is_told_and_never_waited_for() {
        let disk = tempfile::tempdir().unwrap();
        let mut folder = ManifestFolder::new(disk.path());
        rustix::fs::mkfifoat(rustix::fs::CWD, disk.path().join("pipe.yaml"), Mode::RUSR | Mode::WUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(disk.path().join("socket.yaml")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", disk.path().join("zero.json")).unwrap();
        fs::write(disk.path().join("a.yaml"), manifest("a")).unwrap();
        folder.look(LATER).unwrap();
        let problems: Vec<(&str, &str)> = folder.problems().collect();
        assert_eq!(problems, [("pipe.yaml", NO_FILE), ("socket.yaml", NO_FILE), ("zero.json", NO_FILE)]);
        assert_eq!((ids(&folder), folder.is_complete()), (vec!["a".to_owned()], false));
        assert_eq!(folder.look(LATER).unwrap(), Look::default());
        let error = read_bounded(&disk.path().join("pipe.yaml")).unwrap_err();
        assert_eq!(error.to_string(), NO_FILE, "it took the place of a file that was looked at");
    }

    #[test]
    fn a_folder_that_vanishes_takes_nothing_with_it() {
        let disk = tempfile::tempdir().unwrap();
        let mut folder = ManifestFolder::new(&disk.path().join("devices"));
        assert!(folder.look(LATER).is_err());
        fs::create_dir(folder.path()).unwrap();
        fs::write(folder.path().join("a.yaml"), manifest("a")).unwrap();
        folder.look(LATER).unwrap();
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(folder.look(LATER).is_err());
        assert_eq!(ids(&folder), ["a"]);
    }
}
