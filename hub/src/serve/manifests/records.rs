//! What has been carried out for which device, in DATA/manifests.json: so that a manifest which vanished while the hub was away is
//! missed, with what it said about its deletion, and a rotation is carried out once over a crash.
//!
//! No key is in it. Without it nothing is deleted, since a device that no record names stays; but a manifest that asks for a rotation gets
//! another one, since nobody knows of the first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use jiff::Timestamp;
use mooring_crds::device::DeletionPolicy;
use mooring_crds::plan::RotationSeen;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::core::device_id::DeviceId;
use crate::core::identity::SymmetricKey;
use crate::serve::private_file::write_private;

/// The file in the data folder.
pub const RECORDS_FILE: &str = "manifests.json";

/// What was carried out.
#[derive(Debug, Default)]
pub struct Records {
    path: PathBuf,
    devices: BTreeMap<DeviceId, Record>,
    changed: bool,
}

/// What was carried out for one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The folder that its manifest was in. One that vanishes from another folder is nobody's business there.
    pub folder: PathBuf,
    /// What its manifest said last about its deletion.
    pub deletion_policy: DeletionPolicy,
    /// The last rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationRecord>,
}

/// A rotation, written down before it is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RotationRecord {
    /// For which `requestedAt`.
    pub requested_at: Timestamp,
    /// When the new key came; `None` once the key before is gone.
    pub begun_at: Option<Timestamp>,
    /// SHA-256 of the key that is to go, until it is known that it went: after a crash it tells which side of it the registry is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
}

/// The file's form.
#[derive(Serialize, Deserialize)]
struct Document {
    devices: BTreeMap<String, Record>,
}

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// Not readable.
    #[error("{path} can't be read")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not what this version writes.
    #[error(
        "{path} is damaged; without it, no device is deleted whose manifest vanished while the hub was away, and every device whose \
         manifest has a rotation gets another key. Remove it to go on so"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Not writable.
    #[error("{path} can't be written")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Records {
    /// Those in the data folder; none when there is no file yet.
    pub fn load(data: &Path) -> Result<Self, RecordsError> {
        let path = data.join(RECORDS_FILE);
        let document: Document = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|source| RecordsError::Damaged { path: path.clone(), source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Document { devices: BTreeMap::new() },
            Err(source) => return Err(RecordsError::Read { path, source }),
        };
        let devices = document.devices.into_iter().filter_map(|(id, record)| Some((DeviceId::parse(&id).ok()?, record))).collect();
        Ok(Self { path, devices, changed: false })
    }

    /// Writes what has changed. Waits for the disk.
    pub fn save(&mut self) -> Result<(), RecordsError> {
        if !self.changed {
            return Ok(());
        }
        let devices = self.devices.iter().map(|(id, record)| (id.to_string(), record.clone())).collect();
        let text = serde_json::to_vec(&Document { devices }).expect("texts and times are JSON");
        write_private(&self.path, &text).map_err(|source| RecordsError::Write { path: self.path.clone(), source })?;
        self.changed = false;
        Ok(())
    }

    /// Of one device.
    #[must_use]
    pub fn get(&self, id: &DeviceId) -> Option<&Record> {
        self.devices.get(id)
    }

    /// Of all.
    pub fn iter(&self) -> impl Iterator<Item = (&DeviceId, &Record)> {
        self.devices.iter()
    }

    /// Keeps one.
    pub fn set(&mut self, id: &DeviceId, record: Record) {
        if self.devices.get(id) != Some(&record) {
            self.devices.insert(id.clone(), record);
            self.changed = true;
        }
    }

    /// Forgets one.
    pub fn remove(&mut self, id: &DeviceId) {
        self.changed |= self.devices.remove(id).is_some();
    }
}

impl RotationRecord {
    /// What of it the registry, whose primary key this is, has seen.
    #[must_use]
    pub fn seen(&self, primary: &SymmetricKey) -> Option<RotationSeen> {
        let not_done = self.replaces.as_deref() == Some(&fingerprint(primary));
        (!not_done).then_some(RotationSeen { requested_at: self.requested_at, begun_at: self.begun_at })
    }
}

/// What tells two keys apart without being one.
#[must_use]
pub fn fingerprint(key: &SymmetricKey) -> String {
    Sha256::digest(key.expose()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_carried_out_is_known_after_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let id = DeviceId::parse("pump").unwrap();
        let mut records = Records::load(data.path()).unwrap();
        records.save().unwrap();
        assert!(!data.path().join(RECORDS_FILE).exists(), "nothing has changed");
        let record = Record { folder: "/devices".into(), deletion_policy: DeletionPolicy::Retain, rotation: None };
        records.set(&id, record.clone());
        records.save().unwrap();
        let mut again = Records::load(data.path()).unwrap();
        assert_eq!(again.get(&id), Some(&record));
        again.remove(&id);
        again.save().unwrap();
        assert_eq!(Records::load(data.path()).unwrap().iter().count(), 0);
        fs::write(data.path().join(RECORDS_FILE), "{").unwrap();
        let error = Records::load(data.path()).unwrap_err();
        assert!(error.to_string().contains("every device whose manifest has a rotation gets another key"), "{error}");
    }

    #[test]
    fn a_crash_in_the_middle_of_a_rotation_is_seen_for_what_it_is() {
        let key = |byte| SymmetricKey::from_bytes(vec![byte; 32]).unwrap();
        let requested_at = Timestamp::from_second(1).unwrap();
        let record = RotationRecord { requested_at, begun_at: Some(requested_at), replaces: Some(fingerprint(&key(1))) };
        assert_eq!(record.seen(&key(1)), None, "the key that is to go is still there");
        assert_eq!(record.seen(&key(2)), Some(RotationSeen { requested_at, begun_at: Some(requested_at) }));
    }
}
