//! Where the keys of shared access policies come from: from files that the configuration names, or made once and kept in the data folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rand::RngCore as _;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

use super::private_file::write_private;
use crate::config::settings::PolicySettings;
use crate::core::identity::{InvalidKey, SymmetricKey};
use crate::core::policy::{BUILT_IN_POLICIES, Permission, Policies, Policy};

/// The file of generated keys, in the data folder.
pub const GENERATED_KEYS_FILE: &str = "policies.json";

/// The length of a generated key, as Azure's are.
const KEY_BYTES: usize = 32;

/// The policies' keys can't be had.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A file that can't be read.
    #[error("the key file {path} can't be read")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that can't be written.
    #[error("{path} can't be written")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file whose text is no key.
    #[error("the key file {path} holds no key")]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        source: InvalidKey,
    },
    /// The file of generated keys was changed by somebody else.
    #[error("{path} is damaged: restore it, or remove it to have new keys made")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GeneratedKeys {
    primary_key: String,
    secondary_key: String,
}

/// Every policy of the hub: the configured ones, and the built-in ones that are not configured, with keys that stay the same from run to
/// run.
pub fn load(data: &Path, configured: &BTreeMap<String, PolicySettings>) -> Result<Policies, PolicyError> {
    let from_files = configured.iter().map(|(name, settings)| from_files(name, settings)).collect::<Result<Vec<_>, _>>()?;
    let wanted: Vec<_> = BUILT_IN_POLICIES.into_iter().filter(|(name, _)| !configured.contains_key(*name)).collect();
    Ok(from_files.into_iter().chain(generated(data, &wanted)?).collect())
}

/// Whether a configured policy's keys can be read.
pub fn check(name: &str, settings: &PolicySettings) -> Result<(), PolicyError> {
    from_files(name, settings).map(|_| ())
}

fn from_files(name: &str, settings: &PolicySettings) -> Result<Policy, PolicyError> {
    let built_in = BUILT_IN_POLICIES.iter().find(|(built_in, _)| *built_in == name);
    Ok(Policy {
        name: name.to_owned(),
        primary: read_key(&settings.primary_key_file)?,
        secondary: read_key(&settings.secondary_key_file)?,
        permissions: built_in.map_or_else(|| settings.permissions.clone(), |(_, permissions)| permissions.to_vec()),
    })
}

fn read_key(path: &Path) -> Result<SymmetricKey, PolicyError> {
    let text = fs::read_to_string(path).map_err(|source| PolicyError::Read { path: path.to_path_buf(), source })?;
    SymmetricKey::from_base64(Zeroizing::new(text).trim()).map_err(|source| PolicyError::Key { path: path.to_path_buf(), source })
}

/// The keys in the data folder for these policies; those that are missing are made.
fn generated(data: &Path, wanted: &[(&str, &[Permission])]) -> Result<Vec<Policy>, PolicyError> {
    let path = data.join(GENERATED_KEYS_FILE);
    let mut keys: BTreeMap<String, GeneratedKeys> = match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|source| PolicyError::Damaged { path: path.clone(), source })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(source) => return Err(PolicyError::Read { path, source }),
    };
    let before = keys.len();
    for (name, _) in wanted {
        keys.entry((*name).to_owned())
            .or_insert_with(|| GeneratedKeys { primary_key: new_key().expose_base64(), secondary_key: new_key().expose_base64() });
    }
    if keys.len() > before {
        let text = Zeroizing::new(serde_json::to_vec_pretty(&keys).expect("texts are JSON"));
        write_private(&path, &text).map_err(|source| PolicyError::Write { path: path.clone(), source })?;
    }
    let policy = |(name, permissions): &(&str, &[Permission])| {
        let kept = &keys[*name];
        let key = |text: &str| SymmetricKey::from_base64(text).map_err(|source| PolicyError::Key { path: path.clone(), source });
        let (primary, secondary) = (key(&kept.primary_key)?, key(&kept.secondary_key)?);
        Ok(Policy { name: (*name).to_owned(), primary, secondary, permissions: permissions.to_vec() })
    };
    wanted.iter().map(policy).collect()
}

/// A new key from the system's randomness.
#[must_use]
pub fn new_key() -> SymmetricKey {
    let mut bytes = vec![0; KEY_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    SymmetricKey::from_bytes(bytes).expect("32 bytes are a key")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn generated_keys_stay_the_same_and_are_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = load(folder.path(), &BTreeMap::new()).unwrap();
        let second = load(folder.path(), &BTreeMap::new()).unwrap();
        assert_eq!(first.iter().count(), 5);
        for policy in first.iter() {
            let again = second.get(&policy.name).unwrap();
            assert!(again.primary == policy.primary && again.secondary == policy.secondary && policy.primary != policy.secondary);
        }
        let mode = fs::metadata(folder.path().join(GENERATED_KEYS_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn configured_policies_have_their_own_keys() {
        let folder = tempfile::tempdir().unwrap();
        let key = new_key();
        let path = folder.path().join("key");
        fs::write(&path, format!("{}\n", key.expose_base64())).unwrap();
        let settings = |permissions: &[Permission]| PolicySettings {
            permissions: permissions.to_vec(),
            primary_key_file: path.clone(),
            secondary_key_file: path.clone(),
        };
        let configured = [("service".to_owned(), settings(&[])), ("reader".to_owned(), settings(&[Permission::RegistryRead]))].into();
        let policies = load(folder.path(), &configured).unwrap();
        assert_eq!(policies.iter().count(), 6);
        assert!(policies.get("service").unwrap().primary == key);
        assert!(policies.get("service").unwrap().allows(Permission::ServiceConnect));
        assert_eq!(policies.get("reader").unwrap().permissions, [Permission::RegistryRead]);
        let kept = fs::read_to_string(folder.path().join(GENERATED_KEYS_FILE)).unwrap();
        assert!(!kept.contains("\"service\""), "no key is made for a policy that has one");
    }

    #[test]
    fn a_file_without_a_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "short").unwrap();
        let settings = PolicySettings { permissions: vec![], primary_key_file: path.clone(), secondary_key_file: path.clone() };
        let error = load(folder.path(), &[("service".to_owned(), settings)].into()).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        fs::write(folder.path().join(GENERATED_KEYS_FILE), "{").unwrap();
        assert!(matches!(load(folder.path(), &BTreeMap::new()), Err(PolicyError::Damaged { .. })));
    }
}
