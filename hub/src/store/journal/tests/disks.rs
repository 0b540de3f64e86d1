//! Disks for tests: one in memory, one simulated by turmoil, and one that fails on command.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};

use turmoil::fs::shim::std::fs as simulated;

use crate::store::journal::disk::{Disk, DiskFile};

/// A folder in memory, for tests that change its bytes.
#[derive(Clone, Default)]
pub struct MemoryDisk(pub Arc<Mutex<BTreeMap<String, Arc<MemoryFile>>>>);

#[derive(Default)]
pub struct MemoryFile(pub Mutex<Vec<u8>>);

impl MemoryDisk {
    /// A copy that shares nothing.
    pub fn fork(&self) -> Self {
        let files = self.0.lock().unwrap();
        let copies = files.iter().map(|(name, file)| (name.clone(), Arc::new(MemoryFile(Mutex::new(file.0.lock().unwrap().clone())))));
        Self(Arc::new(Mutex::new(copies.collect())))
    }

    pub fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.0.lock().unwrap()[name].0.lock().unwrap());
    }

    pub fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.0.lock().unwrap().get(name).ok_or(io::ErrorKind::NotFound)?.clone())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = Arc::new(MemoryFile(Mutex::new(vec![0; usize::try_from(bytes).unwrap()])));
        self.0.lock().unwrap().insert(name.to_owned(), file.clone());
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().unwrap().remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let (mut bytes, mut at) = (self.0.lock().unwrap(), usize::try_from(offset).unwrap());
        for part in parts {
            let end = at + part.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[at..end].copy_from_slice(part);
            at = end;
        }
        Ok(at - usize::try_from(offset).unwrap())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.0.lock().unwrap();
        let rest = bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.lock().unwrap().resize(usize::try_from(bytes).unwrap(), 0);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn forget_cached(&self) {}
}

/// The folder `/events` of a turmoil host: a crash loses what was not synced, and each sector of an unsynced write lives or dies alone.
#[derive(Default)]
pub struct SimulatedDisk {
    /// Turmoil's handles don't follow a renaming, so files are opened by their present name for each operation.
    files: Mutex<Vec<Weak<SimulatedFile>>>,
}

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;
const FOLDER: &str = "/events";

pub struct SimulatedFile(Mutex<String>);

impl SimulatedDisk {
    /// The folder, which is made if it is missing.
    pub fn open() -> Self {
        if !simulated::exists(FOLDER) {
            simulated::create_dir(FOLDER).unwrap();
            simulated::sync_dir("/").unwrap();
        }
        Self::default()
    }

    fn file(&self, name: &str) -> Arc<SimulatedFile> {
        let file = Arc::new(SimulatedFile(Mutex::new(name.to_owned())));
        self.files.lock().unwrap().push(Arc::downgrade(&file));
        file
    }
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = simulated::read_dir(FOLDER)?.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        Ok(names.collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        simulated::OpenOptions::new().read(true).open(format!("{FOLDER}/{name}"))?;
        Ok(self.file(name))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let path = format!("{FOLDER}/{name}");
        let file = simulated::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(bytes)?;
        Ok(self.file(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        simulated::rename(format!("{FOLDER}/{from}"), format!("{FOLDER}/{to}"))?;
        for file in self.files.lock().unwrap().iter().filter_map(Weak::upgrade) {
            let mut name = file.0.lock().unwrap();
            if *name == from {
                to.clone_into(&mut name);
            }
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        simulated::remove_file(format!("{FOLDER}/{name}"))
    }

    fn sync(&self) -> io::Result<()> {
        simulated::sync_dir(FOLDER)
    }
}

impl SimulatedFile {
    fn open(&self) -> io::Result<simulated::File> {
        let path = format!("{FOLDER}/{}", self.0.lock().unwrap());
        simulated::OpenOptions::new().read(true).write(true).open(path)
    }
}

impl DiskFile for SimulatedFile {
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let bytes = parts.iter().flat_map(|part| part.to_vec()).collect::<Vec<_>>();
        let (file, mut at) = (self.open()?, 0);
        while at < bytes.len() {
            let position = offset + at as u64;
            let sector = SECTOR_BYTES - usize::try_from(position).unwrap() % SECTOR_BYTES;
            let end = bytes.len().min(at + sector);
            file.write_at(&bytes[at..end], position)?;
            at = end;
        }
        Ok(bytes.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.open()?.read_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.open()?.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.open()?.set_len(bytes)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.open()?.metadata()?.len())
    }

    fn forget_cached(&self) {}
}

/// What goes wrong.
#[derive(Default)]
pub struct Faults {
    /// How many operations that change the disk there were.
    pub barriers: AtomicU64,
    /// From this barrier on, counted from 1, nothing happens any more; 0: never.
    pub stop_at: AtomicU64,
    /// Whether it has come to that.
    pub stopped: AtomicBool,
    /// How many of the next fdatasyncs fail.
    pub failing_syncs: AtomicU64,
    /// How many of the next writes fail, after half of their bytes.
    pub failing_writes: AtomicU64,
    /// Whether there is no space for new files.
    pub full: AtomicBool,
    /// Whether writes are short and interrupted by signals.
    pub short_writes: AtomicBool,
}

/// A disk that fails on command.
pub struct FaultyDisk {
    pub disk: Arc<dyn Disk>,
    pub faults: Arc<Faults>,
}

struct FaultyFile {
    file: Arc<dyn DiskFile>,
    faults: Arc<Faults>,
}

impl Faults {
    fn barrier(&self) -> io::Result<()> {
        let barrier = self.barriers.fetch_add(1, SeqCst) + 1;
        if self.stop_at.load(SeqCst) != 0 && barrier >= self.stop_at.load(SeqCst) {
            self.stopped.store(true, SeqCst);
        }
        if self.stopped.load(SeqCst) { Err(io::Error::other("the power is gone")) } else { Ok(()) }
    }

    fn take(counter: &AtomicU64) -> bool {
        counter.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

impl Disk for FaultyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(FaultyFile { file: self.disk.open(name)?, faults: self.faults.clone() }))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.faults.barrier()?;
        // A page is left on every disk; a segment is not.
        if self.faults.full.load(SeqCst) && bytes > 4096 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(Arc::new(FaultyFile { file: self.disk.create(name, bytes)?, faults: self.faults.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.faults.barrier()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.faults.barrier()?;
        self.disk.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.barrier()?;
        self.disk.sync()
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let barrier = self.faults.barrier();
        let bytes = parts.iter().flat_map(|part| part.to_vec()).collect::<Vec<_>>();
        if barrier.is_err() || Faults::take(&self.faults.failing_writes) {
            // A write that does not return may have done any part of its work.
            self.file.write_at(&[IoSlice::new(&bytes[..bytes.len() / 2])], offset)?;
            return Err(barrier.err().unwrap_or_else(|| io::Error::other("the write failed")));
        }
        if !self.faults.short_writes.load(SeqCst) {
            return self.file.write_at(&[IoSlice::new(&bytes)], offset);
        }
        let turn = self.faults.barriers.load(SeqCst);
        if turn.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.file.write_at(&[IoSlice::new(&bytes[..bytes.len().min(1 + usize::try_from(turn).unwrap() * 37 % 200)])], offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.barrier()?;
        if Faults::take(&self.faults.failing_syncs) {
            return Err(io::Error::other("fdatasync failed"));
        }
        self.file.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.faults.barrier()?;
        self.file.set_len(bytes)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn forget_cached(&self) {}
}
