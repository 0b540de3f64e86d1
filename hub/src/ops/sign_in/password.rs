//! People whose passwords' hashes are in the configuration. Hashes are Argon2id, as PHC strings; nobody here ever keeps a password.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Semaphore, watch};

use super::secret::{Digest, digest};
use super::sessions::{Proof, Session, SessionEnd, SignedIn};
use crate::core::access::Rights;
use crate::core::principal::SignInMethod;
use crate::ops::Hub;

/// The most memory that the check of one password may take: Argon2's own advice for a server is 46 MiB and less.
const MEMORY_MAX_KIB: u32 = 256 * 1024;

/// The most passes over it.
const PASSES_MAX: u32 = 16;

/// The most lanes.
const LANES_MAX: u32 = 16;

/// How many passwords are checked at once: each takes its memory, and a core.
const CHECKS_AT_ONCE: usize = 2;

/// How many may wait for their turn: some seconds of it.
const CHECKS_WAITING_MAX: usize = 64;

/// The longest password, in bytes.
pub const PASSWORD_MAX_BYTES: usize = 1024;

/// What new hashes are made with: OWASP's first choice for Argon2id, 19 MiB and two passes.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A text that is no hash of a password that the hub takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPasswordHash {
    /// Not one at all.
    #[error("it is not a PHC string such as `mooring-hub password-hash` prints")]
    NotPhc,
    /// Of another kind.
    #[error("it is not of Argon2id, version 19")]
    NotArgon2id,
    /// A check would take too much.
    #[error("it asks for more than 256 MiB of memory, 16 passes or 16 lanes")]
    TooDear,
}

/// The hash of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHashText(String);

impl PasswordHashText {
    /// From a PHC string.
    pub fn parse(text: &str) -> Result<Self, InvalidPasswordHash> {
        let hash = PasswordHash::new(text).map_err(|_| InvalidPasswordHash::NotPhc)?;
        if hash.algorithm != Algorithm::Argon2id.ident() || hash.version != Some(Version::V0x13.into()) {
            return Err(InvalidPasswordHash::NotArgon2id);
        }
        let params = Params::try_from(&hash).map_err(|_| InvalidPasswordHash::NotPhc)?;
        if params.m_cost() > MEMORY_MAX_KIB || params.t_cost() > PASSES_MAX || params.p_cost() > LANES_MAX {
            return Err(InvalidPasswordHash::TooDear);
        }
        if hash.hash.is_none() || hash.salt.is_none() {
            return Err(InvalidPasswordHash::NotPhc);
        }
        Ok(Self(text.to_owned()))
    }

    /// A new one of `password`.
    #[must_use]
    pub fn of(password: &SecretString) -> Self {
        let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).expect("16 bytes are a salt");
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("these are in range");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = argon2.hash_password(password.expose_secret().as_bytes(), &salt).expect("a password of any length has a hash");
        Self(hash.to_string())
    }

    /// As it is written down.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes memory and time.
    fn is_of(&self, password: &SecretString) -> bool {
        let hash = PasswordHash::new(&self.0).expect("it was read before");
        Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash).is_ok()
    }

    fn digest(&self) -> Digest {
        digest(&self.0)
    }
}

/// A hash can be guessed at, and so is not shown either.
impl fmt::Debug for PasswordHashText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHashText(secret)")
    }
}

/// Somebody who signs in with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonAccount {
    /// The hash of the password.
    pub hash: PasswordHashText,
    /// What she may do.
    pub rights: Rights,
}

/// Everybody who does, by name.
pub type People = BTreeMap<String, PersonAccount>;

/// The people of the configuration, whose passwords can be replaced while the hub runs.
#[derive(Debug)]
pub struct Passwords {
    people: watch::Sender<Arc<People>>,
    checks: Semaphore,
    waiting: Semaphore,
}

/// Too many people sign in at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked already; try again")]
pub struct TooManyChecks;

impl Default for Passwords {
    fn default() -> Self {
        let (checks, waiting) = (Semaphore::new(CHECKS_AT_ONCE), Semaphore::new(CHECKS_WAITING_MAX));
        Self { people: watch::Sender::default(), checks, waiting }
    }
}

impl Passwords {
    /// Those that there are now.
    #[must_use]
    pub fn current(&self) -> Arc<People> {
        Arc::clone(&self.people.borrow())
    }

    /// The person of that name and password. Somebody's hash is always computed, so that a name that nobody has takes as long.
    pub(super) async fn check(&self, name: String, password: SecretString) -> Result<Option<SignedIn>, TooManyChecks> {
        let people = self.current();
        let Some(account) = people.get(&name).or_else(|| people.values().next()).cloned() else { return Ok(None) };
        let known = people.contains_key(&name);
        let _place = self.waiting.try_acquire().map_err(|_| TooManyChecks)?;
        let _turn = self.checks.acquire().await.map_err(|_| TooManyChecks)?;
        let hash = account.hash.clone();
        let right = tokio::task::spawn_blocking(move || hash.is_of(&password)).await.unwrap_or(false);
        let proof = Proof::Password(account.hash.digest());
        let person = SignedIn { name, method: SignInMethod::Password, rights: account.rights, ends: None, proof };
        Ok((known && right).then_some(person))
    }

    /// What somebody may do who is signed in there; `None` when the password that she came with is none any more.
    pub(super) fn review(&self, session: &Session) -> Option<Rights> {
        let Proof::Password(digest) = session.proof() else { return Some(session.rights()) };
        let people = self.people.borrow();
        people.get(session.name()).filter(|account| account.hash.digest() == *digest).map(|account| account.rights)
    }
}

/// Takes these people from now on, and no others. When this returns, the sessions have ended of those who are gone or have another password,
/// and the others have the rights that they are to have.
pub fn replace_people(hub: &Hub, people: People) {
    let passwords = &hub.sign_in.passwords;
    passwords.people.send_replace(Arc::new(people));
    for session in hub.sign_in.sessions.all() {
        match passwords.review(&session) {
            None => hub.sign_in.sessions.end(&session, SessionEnd::Revoked),
            Some(rights) => drop(session.is_proven(rights, hub.now())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cheap to check.
    pub const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$Hv7JOmp0+FVpHhTpmYYCt6tMbGjZ8bdGSnFSjV4eDe4";

    #[test]
    fn a_hash_that_the_hub_makes_is_one_that_it_takes() {
        let made = PasswordHashText::of(&"correct horse".into());
        assert_eq!(PasswordHashText::parse(made.as_str()), Ok(made.clone()));
        assert!(made.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && made != PasswordHashText::of(&"correct horse".into()));
        assert!(made.is_of(&"correct horse".into()) && !made.is_of(&"correct Horse".into()) && !made.is_of(&"".into()));
        assert!(!format!("{made:?}").contains("argon2id"));
    }

    #[test]
    fn other_hashes_are_refused() {
        assert!(PasswordHashText::parse(HASH).is_ok());
        for (text, why) in [
            ("", InvalidPasswordHash::NotPhc),
            ("secret", InvalidPasswordHash::NotPhc),
            ("$argon2id$v=19$m=8,t=1,p=1", InvalidPasswordHash::NotPhc),
            (&HASH.replace("argon2id", "argon2i"), InvalidPasswordHash::NotArgon2id),
            (&HASH.replace("v=19", "v=16"), InvalidPasswordHash::NotArgon2id),
            (&HASH.replace("m=8", "m=1048576"), InvalidPasswordHash::TooDear),
            (&HASH.replace("t=1", "t=99"), InvalidPasswordHash::TooDear),
        ] {
            assert_eq!(PasswordHashText::parse(text), Err(why), "{text}");
        }
    }
}
