//! People who sign in: their passwords' hashes, from files that are followed; and the upkeep of sessions and of the audit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use tokio::time;
use tracing::warn;

use super::settling::Settling;
use super::stores::Stores;
use crate::config::Config;
use crate::config::settings::PersonSettings;
use crate::ops::Hub;
use crate::ops::audit::{Audit, AuditLimits, prune_audit};
use crate::ops::sign_in::SignIn;
use crate::ops::sign_in::kubernetes::{end_old_sessions, review_cluster_sessions};
use crate::ops::sign_in::password::{InvalidPasswordHash, PasswordHashText, People, PersonAccount};
use crate::ops::sign_in::sessions::SessionTimes;

/// The largest file taken: a hash has some hundred characters.
const HASH_FILE_MAX_BYTES: u64 = 4 * 1024;

/// How often sessions are looked for whose time is over: how late an open page is told.
const SESSIONS_ENDED_EVERY: Duration = Duration::from_secs(5);

/// How often the cluster is asked about the tokens that sessions came from.
const TOKENS_REVIEWED_EVERY: Duration = Duration::from_secs(60);

/// How often entries of the audit are looked for that have been kept long enough.
const AUDIT_PRUNED_EVERY: Duration = Duration::from_secs(60);

/// A person's password can't be had.
#[derive(Debug, thiserror::Error)]
pub enum PersonError {
    /// A file that can't be read.
    #[error("the password hash file {path} can't be read")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is no hash at all.
    #[error("the password hash file {path} is too large")]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// A file whose text is no hash.
    #[error("the file {path} holds no password hash that the hub takes")]
    Hash {
        /// Which.
        path: PathBuf,
        /// Why.
        source: InvalidPasswordHash,
    },
}

/// The way to the audit that a configuration wants.
#[must_use]
pub fn audit(config: &Config, stores: &Stores) -> Audit {
    let (log, last) = &stores.audit;
    let entries_max = usize::try_from(config.audit.entries_max.get()).unwrap_or(usize::MAX);
    Audit::new(Arc::clone(log), *last, AuditLimits { kept_for: config.audit.retention_time.get(), entries_max })
}

/// Signing in, as a configuration wants it, before anybody can.
#[must_use]
pub fn sign_in(config: &Config) -> SignIn {
    SignIn::new(SessionTimes { idle: config.sign_in.idle_time.get(), whole: config.sign_in.session_time.get() })
}

/// What a person's file has to hold for this password. Takes some tenths of a second.
#[must_use]
pub fn password_hash(password: &SecretString) -> String {
    PasswordHashText::of(password).as_str().to_owned()
}

/// Ends sessions in time.
pub async fn keep_sessions(hub: Arc<Hub>) {
    loop {
        time::sleep(SESSIONS_ENDED_EVERY).await;
        end_old_sessions(&hub).await;
    }
}

/// Asks the cluster about the sessions that came from its tokens. Apart from what ends them, which must not wait for the cluster.
pub async fn review_sessions(hub: Arc<Hub>) {
    let mut rounds = time::interval_at(time::Instant::now() + TOKENS_REVIEWED_EVERY, TOKENS_REVIEWED_EVERY);
    rounds.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        review_cluster_sessions(&hub).await;
    }
}

/// Forgets what has been in the audit long enough.
pub async fn keep_audit(hub: Arc<Hub>) {
    loop {
        if let Err(error) = prune_audit(&hub).await {
            warn!(%error, "old entries of the audit can't be removed: {error}");
        }
        time::sleep(AUDIT_PRUNED_EVERY).await;
    }
}

/// Everybody with a password, as the files were read last.
#[derive(Debug, Default)]
pub struct FollowedPeople(Vec<Followed>);

/// What a look at the files has found.
#[derive(Debug, Default)]
pub struct Found {
    /// Those who have another password from now on.
    pub changed: Vec<String>,
    /// What is wrong with the files of others, who keep theirs; each is named once.
    pub broken: Vec<PersonError>,
    /// Whether some files have just changed: they count once they look the same twice, so that half of a file never does.
    pub unsettled: bool,
}

#[derive(Debug)]
struct Followed {
    name: String,
    file: PathBuf,
    current: PersonAccount,
    settling: Settling,
}

impl FollowedPeople {
    /// Reads every file.
    pub fn load(configured: &BTreeMap<String, PersonSettings>) -> Result<Self, PersonError> {
        let read = |(name, settings): (&String, &PersonSettings)| {
            let text = read_text(&settings.password_hash_file)?;
            let hash = parse(&text, &settings.password_hash_file)?;
            let current = PersonAccount { hash, rights: settings.rights.iter().copied().collect() };
            let file = settings.password_hash_file.clone();
            Ok(Followed { name: name.clone(), file, current, settling: Settling::new(Some(digest(&text))) })
        };
        configured.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// All of them, as they are in use.
    #[must_use]
    pub fn current(&self) -> People {
        self.0.iter().map(|followed| (followed.name.clone(), followed.current.clone())).collect()
    }

    /// Looks at the files. Blocks on the disk.
    pub fn look(&mut self) -> Found {
        let mut found = Found::default();
        for followed in &mut self.0 {
            match followed.look() {
                Ok(true) => found.changed.push(followed.name.clone()),
                Ok(false) => found.unsettled |= followed.settling.is_unsettled(),
                Err(error) => found.broken.push(error),
            }
        }
        found
    }
}

impl Followed {
    /// Says whether there is another hash now.
    fn look(&mut self) -> Result<bool, PersonError> {
        let read = read_text(&self.file);
        if !self.settling.have_changed(read.as_deref().ok().map(digest)) {
            return Ok(false);
        }
        let hash = parse(&read?, &self.file)?;
        let changed = hash != self.current.hash;
        self.current.hash = hash;
        Ok(changed)
    }
}

fn parse(text: &str, path: &Path) -> Result<PasswordHashText, PersonError> {
    PasswordHashText::parse(text.trim()).map_err(|source| PersonError::Hash { path: path.to_path_buf(), source })
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn read_text(path: &Path) -> Result<String, PersonError> {
    let failed = |source| PersonError::Read { path: path.to_path_buf(), source };
    if fs::metadata(path).map_err(failed)?.len() > HASH_FILE_MAX_BYTES {
        return Err(PersonError::TooLarge { path: path.to_path_buf() });
    }
    fs::read_to_string(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::access::Right;

    #[test]
    fn a_new_password_counts_once_it_is_whole_and_a_broken_one_never() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ada");
        let hashes = [password_hash(&"one".into()), password_hash(&"two".into())];
        fs::write(&path, format!("{}\n", hashes[0])).unwrap();
        let settings = PersonSettings { password_hash_file: path.clone(), rights: vec![Right::Devices] };
        let mut people = FollowedPeople::load(&[("ada".to_owned(), settings.clone())].into()).unwrap();
        let in_use = |people: &FollowedPeople| people.current()["ada"].hash.as_str().to_owned();
        assert_eq!((in_use(&people), people.current()["ada"].rights.to_string()), (hashes[0].clone(), "Read, Devices".to_owned()));

        fs::write(&path, &hashes[1]).unwrap();
        assert!(people.look().unsettled && in_use(&people) == hashes[0]);
        assert_eq!(people.look().changed, ["ada"]);
        assert_eq!(in_use(&people), hashes[1]);

        fs::write(&path, "plain text").unwrap();
        people.look();
        let broken: Vec<String> = people.look().broken.iter().map(ToString::to_string).collect();
        assert!(broken[0].contains("holds no password hash") && !broken[0].contains("plain text"), "{broken:?}");
        assert!(people.look().broken.is_empty() && in_use(&people) == hashes[1], "said once, and the old one stays");
        fs::remove_file(&path).unwrap();
        assert!(FollowedPeople::load(&[("ada".to_owned(), settings)].into()).is_err());
    }
}
