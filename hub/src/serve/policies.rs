//! Where the keys of shared access policies come from: from files that the configuration names and that are followed, or made once and kept
//! in the data folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::private_file::write_private;
use super::settling::Settling;
use crate::config::settings::PolicySettings;
use crate::core::identity::{InvalidKey, SymmetricKey};
use crate::core::policy::{BUILT_IN_POLICIES, Permission, Policies, Policy};
use crate::ops::new_key::new_key;

/// The file of generated keys, in the data folder.
pub const GENERATED_KEYS_FILE: &str = "policies.json";

/// The largest key file taken: 64 bytes are 88 characters in Base64.
const KEY_FILE_MAX_BYTES: u64 = 4 * 1024;

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
    /// A file that is no key at all.
    #[error("the key file {path} is too large")]
    TooLarge {
        /// Which.
        path: PathBuf,
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

/// Whether a configured policy's keys can be read.
pub fn check(name: &str, settings: &PolicySettings) -> Result<(), PolicyError> {
    KeyTexts::read(settings)?.parse(name, settings).map(|_| ())
}

/// Every policy of the hub, as its keys were read last: the configured ones, whose files are looked at again, and the built-in ones that are
/// not configured, with keys that stay the same from run to run.
#[derive(Debug)]
pub struct FollowedPolicies {
    followed: Vec<Followed>,
    generated: Vec<Policy>,
}

/// What a look at the files has found.
#[derive(Debug, Default)]
pub struct Found {
    /// The policies that have other keys from now on.
    pub changed: Vec<String>,
    /// What is wrong with the files of others, which keep their keys; each is named once.
    pub broken: Vec<PolicyError>,
    /// Whether some files have just changed: they count once they look the same twice, so that the first half of a new pair never does.
    pub unsettled: bool,
}

#[derive(Debug)]
struct Followed {
    settings: PolicySettings,
    current: Policy,
    settling: Settling,
}

impl FollowedPolicies {
    /// Reads every file; keys that nobody brings are made.
    pub fn load(data: &Path, configured: &BTreeMap<String, PolicySettings>) -> Result<Self, PolicyError> {
        let read = |(name, settings): (&String, &PolicySettings)| {
            let texts = KeyTexts::read(settings)?;
            let current = texts.parse(name, settings)?;
            Ok(Followed { settings: settings.clone(), current, settling: Settling::new(Some(texts.digest())) })
        };
        let followed = configured.iter().map(read).collect::<Result<_, _>>()?;
        let wanted: Vec<_> = BUILT_IN_POLICIES.into_iter().filter(|(name, _)| !configured.contains_key(*name)).collect();
        Ok(Self { followed, generated: generated(data, &wanted)? })
    }

    /// All of them, as they are in use.
    #[must_use]
    pub fn current(&self) -> Policies {
        self.followed.iter().map(|followed| &followed.current).chain(&self.generated).cloned().collect()
    }

    /// Looks at the files. Blocks on the disk.
    pub fn look(&mut self) -> Found {
        let mut found = Found::default();
        for followed in &mut self.followed {
            match followed.look() {
                Ok(true) => found.changed.push(followed.current.name.clone()),
                Ok(false) => found.unsettled |= followed.settling.is_unsettled(),
                Err(error) => found.broken.push(error),
            }
        }
        found
    }
}

impl Followed {
    /// Says whether there are other keys now.
    fn look(&mut self) -> Result<bool, PolicyError> {
        let read = KeyTexts::read(&self.settings);
        let contents = read.as_ref().ok().map(KeyTexts::digest);
        // Two files are never replaced in one moment: neither by people, nor for who reads one before and one after Kubernetes swaps a volume.
        if !self.settling.have_changed(contents) {
            return Ok(false);
        }
        let policy = read?.parse(&self.current.name, &self.settings)?;
        let changed = policy.primary != self.current.primary || policy.secondary != self.current.secondary;
        self.current = policy;
        Ok(changed)
    }
}

/// What a policy's files hold.
struct KeyTexts {
    primary: Zeroizing<String>,
    secondary: Zeroizing<String>,
}

impl KeyTexts {
    fn read(settings: &PolicySettings) -> Result<Self, PolicyError> {
        Ok(Self { primary: read_text(&settings.primary_key_file)?, secondary: read_text(&settings.secondary_key_file)? })
    }

    fn digest(&self) -> [u8; 32] {
        // No Base64 has the byte between the two.
        Sha256::new().chain_update(self.primary.as_bytes()).chain_update([0]).chain_update(self.secondary.as_bytes()).finalize().into()
    }

    fn parse(&self, name: &str, settings: &PolicySettings) -> Result<Policy, PolicyError> {
        let key = |text: &str, path: &Path| {
            SymmetricKey::from_base64(text.trim()).map_err(|source| PolicyError::Key { path: path.to_path_buf(), source })
        };
        let built_in = BUILT_IN_POLICIES.iter().find(|(built_in, _)| *built_in == name);
        Ok(Policy {
            name: name.to_owned(),
            primary: key(&self.primary, &settings.primary_key_file)?,
            secondary: key(&self.secondary, &settings.secondary_key_file)?,
            permissions: built_in.map_or_else(|| settings.permissions.clone(), |(_, permissions)| permissions.to_vec()),
        })
    }
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, PolicyError> {
    let failed = |source| PolicyError::Read { path: path.to_path_buf(), source };
    if fs::metadata(path).map_err(failed)?.len() > KEY_FILE_MAX_BYTES {
        return Err(PolicyError::TooLarge { path: path.to_path_buf() });
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(failed)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn generated_keys_stay_the_same_and_are_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = FollowedPolicies::load(folder.path(), &BTreeMap::new()).unwrap().current();
        let second = FollowedPolicies::load(folder.path(), &BTreeMap::new()).unwrap().current();
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
        let policies = FollowedPolicies::load(folder.path(), &configured).unwrap().current();
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
        let error = FollowedPolicies::load(folder.path(), &[("service".to_owned(), settings)].into()).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        fs::write(folder.path().join(GENERATED_KEYS_FILE), "{").unwrap();
        assert!(matches!(FollowedPolicies::load(folder.path(), &BTreeMap::new()), Err(PolicyError::Damaged { .. })));
    }
    struct Files {
        folder: tempfile::TempDir,
        settings: PolicySettings,
    }

    impl Files {
        fn new(primary: &SymmetricKey, secondary: &SymmetricKey) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join(name);
            let settings = PolicySettings { permissions: vec![], primary_key_file: path("primary"), secondary_key_file: path("secondary") };
            let files = Self { folder, settings };
            files.write(primary, secondary);
            files
        }

        fn write(&self, primary: &SymmetricKey, secondary: &SymmetricKey) {
            fs::write(&self.settings.primary_key_file, primary.expose_base64()).unwrap();
            fs::write(&self.settings.secondary_key_file, secondary.expose_base64()).unwrap();
        }

        fn follow(&self) -> FollowedPolicies {
            FollowedPolicies::load(self.folder.path(), &[("service".to_owned(), self.settings.clone())].into()).unwrap()
        }
    }

    /// Whether the policy has these keys.
    fn has(followed: &FollowedPolicies, primary: &SymmetricKey, secondary: &SymmetricKey) -> bool {
        let policies = followed.current();
        let policy = policies.get("service").unwrap();
        policy.primary == *primary && policy.secondary == *secondary
    }

    fn nothing(found: &Found) -> bool {
        found.changed.is_empty() && found.broken.is_empty() && !found.unsettled
    }

    #[test]
    fn a_new_pair_is_taken_once_it_looks_the_same_twice() {
        let [first, second, third] = [new_key(), new_key(), new_key()];
        let files = Files::new(&first, &second);
        let mut followed = files.follow();
        assert!(nothing(&followed.look()) && has(&followed, &first, &second));

        // Half a swap: the secondary key moves to the front, and its slot is still its own.
        fs::write(&files.settings.primary_key_file, second.expose_base64()).unwrap();
        assert!(followed.look().unsettled && has(&followed, &first, &second));
        files.write(&second, &third);
        assert!(followed.look().unsettled && has(&followed, &first, &second), "it has changed again");
        let found = followed.look();
        assert!(found.changed == ["service"] && !found.unsettled && has(&followed, &second, &third));
        assert!(nothing(&followed.look()));

        files.write(&first, &third);
        assert!(followed.look().unsettled);
        files.write(&second, &third);
        assert!(nothing(&followed.look()), "somebody thought better of it");
        fs::write(&files.settings.primary_key_file, format!("{}\n", second.expose_base64())).unwrap();
        followed.look();
        assert!(nothing(&followed.look()), "the same key with another end of line");
        assert_eq!(followed.current().iter().count(), 5, "those without files stay");
    }

    #[test]
    fn broken_files_keep_the_last_good_keys_and_are_named_once() {
        let [first, second, third] = [new_key(), new_key(), new_key()];
        let files = Files::new(&first, &second);
        let mut followed = files.follow();
        let path = &files.settings.secondary_key_file;
        let large = "A".repeat(5000);
        for broken in [Some("no key"), None, Some(&*large)] {
            match broken {
                Some(text) => fs::write(path, text).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
            assert!(followed.look().broken.is_empty(), "it may be about to be written");
            let found = followed.look();
            // What can't be read looks the same whyever it can't.
            assert!(found.changed.is_empty() && !found.unsettled && (broken == Some(&*large) || found.broken.len() == 1));
            assert!(nothing(&followed.look()) && has(&followed, &first, &second));
        }
        files.write(&third, &second);
        followed.look();
        assert!(followed.look().changed == ["service"] && has(&followed, &third, &second));
    }
}
