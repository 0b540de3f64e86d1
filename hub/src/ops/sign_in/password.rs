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

    /// What decides how long a check takes: memory, passes, lanes, and how long the hash is.
    fn dearness(&self) -> Dearness {
        let hash = PasswordHash::new(&self.0).expect("it was read before");
        let params = Params::try_from(&hash).expect("it was read before");
        (params.m_cost(), params.t_cost(), params.p_cost(), hash.hash.map_or(0, |output| output.len()))
    }

    fn digest(&self) -> Digest {
        digest(&self.0)
    }
}

type Dearness = (u32, u32, u32, usize);

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

/// A hash of each dearness that there is among these people.
fn dearnesses(people: &People) -> BTreeMap<Dearness, &PasswordHashText> {
    people.values().map(|account| (account.hash.dearness(), &account.hash)).collect()
}

/// The people of the configuration, whose passwords can be replaced while the hub runs.
#[derive(Debug)]
pub struct Passwords {
    people: watch::Sender<Arc<People>>,
    checks: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// Too many people sign in at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked already; try again")]
pub struct TooManyChecks;

impl Default for Passwords {
    fn default() -> Self {
        let [checks, waiting] = [CHECKS_AT_ONCE, CHECKS_WAITING_MAX].map(|places| Arc::new(Semaphore::new(places)));
        Self { people: watch::Sender::default(), checks, waiting }
    }
}

impl Passwords {
    /// Those that there are now.
    #[must_use]
    pub fn current(&self) -> Arc<People> {
        Arc::clone(&self.people.borrow())
    }

    /// The person of that name and password. One hash of each dearness is computed, whoever is named, so that a name that nobody has takes as
    /// long as one that somebody has.
    pub(super) async fn check(&self, name: String, password: SecretString) -> Result<Option<SignedIn>, TooManyChecks> {
        let people = self.current();
        if people.is_empty() {
            return Ok(None);
        }
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| TooManyChecks)?;
        let turn = Arc::clone(&self.checks).acquire_owned().await.map_err(|_| TooManyChecks)?;
        // The work goes on when whoever asked for it has gone, and so it keeps its place.
        let check = move || {
            let _kept = (place, turn);
            check_now(&people, name, &password)
        };
        Ok(tokio::task::spawn_blocking(check).await.ok().flatten())
    }

    /// Whether the session came from another way in, or from a password that is still its owner's; and what she may do then.
    fn review(&self, session: &Session) -> Reviewed {
        let Proof::Password(digest) = session.proof() else { return Reviewed::NotOurs };
        let people = self.people.borrow();
        let account = people.get(session.name()).filter(|account| account.hash.digest() == *digest);
        account.map_or(Reviewed::Gone, |account| Reviewed::Good(account.rights))
    }

    /// Whether the session came from a password that is none any more.
    pub(super) fn revokes(&self, session: &Session) -> bool {
        matches!(self.review(session), Reviewed::Gone)
    }
}

/// What is to become of a session.
enum Reviewed {
    NotOurs,
    Good(Rights),
    Gone,
}

/// Takes memory and time.
fn check_now(people: &People, name: String, password: &SecretString) -> Option<SignedIn> {
    let account = people.get(&name);
    let own = account.map(|account| account.hash.dearness());
    for (dearness, hash) in dearnesses(people) {
        if own != Some(dearness) {
            std::hint::black_box(hash.is_of(password));
        }
    }
    let account = account.filter(|account| account.hash.is_of(password))?;
    let proof = Proof::Password(account.hash.digest());
    Some(SignedIn { name, method: SignInMethod::Password, rights: account.rights, ends: None, proof })
}

/// Takes these people from now on, and no others. When this returns, the sessions have ended of those who are gone or have another password,
/// and the others have the rights that they are to have.
pub fn replace_people(hub: &Hub, people: People) {
    let passwords = &hub.sign_in.passwords;
    let kinds = dearnesses(&people).len();
    if kinds > 1 {
        tracing::warn!("people's password hashes have {kinds} different costs: each sign-in computes one of each; make them alike");
    }
    passwords.people.send_replace(Arc::new(people));
    for session in hub.sign_in.sessions.all() {
        match passwords.review(&session) {
            Reviewed::Gone => hub.sign_in.sessions.end(&session, SessionEnd::Revoked),
            Reviewed::Good(rights) => drop(session.is_proven(rights, hub.now())),
            // Whoever else stands for it may know better than we do at this moment.
            Reviewed::NotOurs => {}
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
    fn hashes_are_as_dear_as_their_parameters() {
        let [cheap, dearer] = [HASH, &HASH.replace("t=1", "t=2")].map(|text| PasswordHashText::parse(text).unwrap());
        let account = |hash: &PasswordHashText| PersonAccount { hash: hash.clone(), rights: Rights::NONE };
        let people = [("ada", &cheap), ("bob", &dearer), ("eve", &cheap)].map(|(name, hash)| (name.to_owned(), account(hash)));
        let kinds: Vec<Dearness> = dearnesses(&people.into()).into_keys().collect();
        assert_eq!(kinds, [(8, 1, 1, 32), (8, 2, 1, 32)]);
        assert_eq!(PasswordHashText::of(&"a".into()).dearness(), PasswordHashText::of(&"b".into()).dearness());
    }

    /// Whoever asks and goes away at once must not get more memory taken than whoever waits.
    #[test]
    fn a_check_that_nobody_waits_for_keeps_its_place_until_it_is_done() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let passwords = Passwords::default();
            let account = PersonAccount { hash: PasswordHashText::parse(HASH).unwrap(), rights: Rights::NONE };
            passwords.people.send_replace(Arc::new([("ada".to_owned(), account)].into()));
            let (let_go, held) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || held.recv());
            let gone = Box::pin(passwords.check("ada".into(), "guess".into()));
            assert!(futures_util::poll!(gone).is_pending());
            let free = || (passwords.checks.available_permits(), passwords.waiting.available_permits());
            assert_eq!(free(), (CHECKS_AT_ONCE - 1, CHECKS_WAITING_MAX - 1));
            let_go.send(()).unwrap();
            busy.await.unwrap().unwrap();
            assert!(passwords.check("ada".into(), "guess".into()).await.unwrap().is_none());
            assert_eq!(free(), (CHECKS_AT_ONCE, CHECKS_WAITING_MAX));
        });
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
