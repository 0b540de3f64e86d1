//! The sessions of those who are signed in: kept here, in memory, bounded; a browser has nothing but a random text.
//!
//! A session ends by its owner's word, by idleness, by age, with the token that it came from, or with the account; whoever stays on it (an
//! event stream, a WebSocket) is told at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;

use super::secret::{Digest, digest, fresh};
use crate::core::access::Rights;
use crate::core::principal::{Principal, SignInMethod};
use crate::core::time::UnixMillis;

/// The most sessions of one person: some browsers, some of which were forgotten. The one that was idle longest makes room.
const PER_PERSON_MAX: usize = 16;

/// The most in all.
const SESSIONS_MAX: usize = 2000;

/// How long a session stays whose token can't be asked about because the cluster does not answer.
const UNPROVEN_MAX: Duration = Duration::from_secs(5 * 60);

/// How long sessions last.
#[derive(Clone, Copy, Debug)]
pub struct SessionTimes {
    /// Without a request, and without an open stream.
    pub idle: Duration,
    /// At most, and never longer than the token that the session came from.
    pub whole: Duration,
}

/// As the settings have it.
impl Default for SessionTimes {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60 * 60), whole: Duration::from_secs(12 * 60 * 60) }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionEnd {
    /// Its owner ended it, or signed in anew in the same browser.
    #[error("you have signed out")]
    SignedOut,
    /// Nothing came for too long.
    #[error("the session has ended because nothing was done for so long")]
    Idle,
    /// It was as old as it may be, or its token was.
    #[error("the session has reached its end")]
    Expired,
    /// Its owner has too many others.
    #[error("the session has made room for newer ones")]
    Displaced,
    /// The account is gone, or has another password, or its token is no good any more.
    #[error("the account or its token is not valid any more")]
    Revoked,
    /// Whether its token is still good could not be found out for too long.
    #[error("the cluster has not said for so long that the token is still valid")]
    Unproven,
}

/// Somebody who has proven who she is.
pub struct SignedIn {
    /// Who.
    pub name: String,
    /// How.
    pub method: SignInMethod,
    /// What she may do.
    pub rights: Rights,
    /// When her proof ends.
    pub ends: Option<UnixMillis>,
    /// What is asked again whether it still holds.
    pub proof: Proof,
}

/// What a session rests on.
pub enum Proof {
    /// On nothing that could change.
    Once,
    /// On a password, by the digest of its hash.
    Password(Digest),
    /// On a token of the cluster.
    Token(SecretString),
}

/// A session. Clones are the same one.
#[derive(Clone)]
pub struct Session(Arc<State>);

struct State {
    key: Digest,
    name: String,
    method: SignInMethod,
    csrf: String,
    began: UnixMillis,
    ends: UnixMillis,
    proof: Proof,
    /// When something was done last.
    used: AtomicI64,
    /// How many streams are open on it.
    open: AtomicUsize,
    /// When its proof was last found good.
    proven: AtomicI64,
    standing: watch::Sender<Standing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    rights: Rights,
    ended: Option<SessionEnd>,
}

/// An open stream on a session, which is not idle while there is one.
pub struct OpenStream(Session);

/// All sessions.
#[derive(Default)]
pub struct Sessions {
    by_key: Mutex<HashMap<Digest, Session>>,
    times: SessionTimes,
}

impl Sessions {
    /// None yet, to last so long.
    #[must_use]
    pub fn new(times: SessionTimes) -> Self {
        Self { times, ..Self::default() }
    }

    /// Opens one for somebody, and ends the one that the same browser had. Answers with the text for its cookie.
    pub fn open(&self, person: SignedIn, former: Option<&str>, now: UnixMillis) -> (Session, String) {
        let SignedIn { name, method, rights, ends, proof } = person;
        let secret = fresh();
        let whole = now.plus(self.times.whole);
        let session = Session(Arc::new(State {
            key: digest(&secret),
            name,
            method,
            csrf: fresh(),
            began: now,
            ends: ends.map_or(whole, |ends| ends.min(whole)),
            proof,
            used: now.0.into(),
            open: AtomicUsize::new(0),
            proven: now.0.into(),
            standing: watch::Sender::new(Standing { rights, ended: None }),
        }));
        let mut sessions = self.sessions();
        if let Some(former) = former.and_then(|secret| sessions.remove(&digest(secret))) {
            former.end(SessionEnd::SignedOut);
        }
        let (name, method) = (session.name(), session.method());
        make_room(&mut sessions, |other| other.name() == name && other.method() == method, PER_PERSON_MAX);
        make_room(&mut sessions, |_| true, SESSIONS_MAX);
        sessions.insert(session.0.key, session.clone());
        (session, secret)
    }

    /// The one whose cookie has this text, if it lasts; that counts as use of it.
    #[must_use]
    pub fn find(&self, secret: &str, now: UnixMillis) -> Option<Session> {
        let mut sessions = self.sessions();
        let session = sessions.get(&digest(secret))?.clone();
        match session.over(self.times.idle, now) {
            None => {}
            // Left for whoever writes that down.
            Some(SessionEnd::Unproven) => return None,
            Some(why) => {
                sessions.remove(&session.0.key);
                session.end(why);
                return None;
            }
        }
        session.0.used.fetch_max(now.0, Ordering::Relaxed);
        Some(session)
    }

    /// Ends it.
    pub fn end(&self, session: &Session, why: SessionEnd) {
        self.sessions().remove(&session.0.key);
        session.end(why);
    }

    /// Ends those whose time is over; answers with those of them whose tokens could not be asked about for too long. To be called often.
    pub fn end_old(&self, now: UnixMillis) -> Vec<Session> {
        let mut unproven = Vec::new();
        self.sessions().retain(|_, session| {
            // An open stream is use: when it ends, its session is not idle at once.
            if session.0.open.load(Ordering::Relaxed) > 0 {
                session.0.used.fetch_max(now.0, Ordering::Relaxed);
            }
            let over = session.over(self.times.idle, now).inspect(|why| session.end(*why));
            if over == Some(SessionEnd::Unproven) {
                unproven.push(session.clone());
            }
            over.is_none()
        });
        unproven
    }

    /// All that last.
    #[must_use]
    pub fn all(&self) -> Vec<Session> {
        self.sessions().values().cloned().collect()
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<Digest, Session>> {
        self.by_key.lock().expect("nothing panics while it holds this lock")
    }
}

/// Ends as many of `those`, beginning with the one that was idle longest, that there is room for one more.
fn make_room(sessions: &mut HashMap<Digest, Session>, those: impl Fn(&Session) -> bool, max: usize) {
    while sessions.values().filter(|session| those(session)).count() >= max {
        let oldest = sessions.values().filter(|session| those(session)).min_by_key(|session| session.0.used.load(Ordering::Relaxed));
        let Some(oldest) = oldest.cloned() else { return };
        sessions.remove(&oldest.0.key);
        oldest.end(SessionEnd::Displaced);
    }
}

impl Session {
    /// Whose it is.
    #[must_use]
    pub fn principal(&self) -> Principal {
        Principal::Person(self.0.name.clone(), self.0.method)
    }

    /// Whose it is, by name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How she has signed in.
    #[must_use]
    pub fn method(&self) -> SignInMethod {
        self.0.method
    }

    /// What a request that changes something has to say, so that no other page can have made it.
    #[must_use]
    pub fn csrf(&self) -> &str {
        &self.0.csrf
    }

    /// When it began.
    #[must_use]
    pub fn began(&self) -> UnixMillis {
        self.0.began
    }

    /// When it ends at the latest.
    #[must_use]
    pub fn ends(&self) -> UnixMillis {
        self.0.ends
    }

    /// What its owner may do now; nothing once it has ended.
    #[must_use]
    pub fn rights(&self) -> Rights {
        let standing = *self.0.standing.borrow();
        if standing.ended.is_some() { Rights::NONE } else { standing.rights }
    }

    /// What it rests on.
    #[must_use]
    pub fn proof(&self) -> &Proof {
        &self.0.proof
    }

    /// When that was last found good.
    #[must_use]
    pub fn proven(&self) -> UnixMillis {
        UnixMillis(self.0.proven.load(Ordering::Relaxed))
    }

    /// It is good at `now`, for these rights. Says whether they are others than before.
    pub fn is_proven(&self, rights: Rights, now: UnixMillis) -> bool {
        // Whatever it was: a clock that was set back must not make it seem proven for long.
        self.0.proven.store(now.0, Ordering::Relaxed);
        self.0.standing.send_if_modified(|standing| std::mem::replace(&mut standing.rights, rights) != rights)
    }

    /// Something stays open on it.
    #[must_use]
    pub fn stay(&self) -> OpenStream {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        OpenStream(self.clone())
    }

    /// Waits until it has ended (`Some`), or its owner has not all of these rights any more.
    pub async fn lost(&self, wanted: Rights) -> Option<SessionEnd> {
        let mut standing = self.0.standing.subscribe();
        let lost = standing.wait_for(|standing| standing.ended.is_some() || !standing.rights.include(wanted)).await;
        // The sender is in the session that this borrows, so it is there.
        lost.map_or(Some(SessionEnd::Expired), |standing| standing.ended)
    }

    fn end(&self, why: SessionEnd) {
        self.0.standing.send_if_modified(|standing| standing.ended.is_none() && standing.ended.replace(why).is_none());
    }

    fn over(&self, idle: Duration, now: UnixMillis) -> Option<SessionEnd> {
        let used = UnixMillis(self.0.used.load(Ordering::Relaxed));
        match () {
            () if now >= self.0.ends => Some(SessionEnd::Expired),
            () if matches!(self.0.proof, Proof::Token(_)) && now.since(self.proven()) >= UNPROVEN_MAX => Some(SessionEnd::Unproven),
            () if self.0.open.load(Ordering::Relaxed) == 0 && now.since(used) >= idle => Some(SessionEnd::Idle),
            () => None,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?})", self.0.name)
    }
}

impl OpenStream {
    /// On which session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.0
    }
}

impl Clone for OpenStream {
    fn clone(&self) -> Self {
        self.0.stay()
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for OpenStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenStream({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::access::Right;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn person(name: &str) -> SignedIn {
        SignedIn { name: name.to_owned(), method: SignInMethod::Password, rights: Rights::all(), ends: None, proof: Proof::Once }
    }

    fn later(seconds: u64) -> UnixMillis {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_session_is_found_by_its_text_alone() {
        let sessions = Sessions::default();
        let (session, secret) = sessions.open(person("ada"), None, NOW);
        assert_eq!(sessions.find(&secret, NOW).map(|found| found.csrf().to_owned()).as_deref(), Some(session.csrf()));
        assert!(sessions.find(session.csrf(), NOW).is_none() && sessions.find("", NOW).is_none());
        assert_ne!(session.csrf(), secret);
    }

    #[test]
    fn it_ends_idle_and_old_and_with_its_token() {
        let sessions = Sessions::default();
        let (_, idle) = sessions.open(person("a"), None, NOW);
        let (_, used) = sessions.open(person("b"), None, NOW);
        let (token, of_token) = sessions.open(SignedIn { ends: Some(later(5000)), ..person("c") }, None, NOW);
        assert!(sessions.find(&used, later(3599)).is_some() && sessions.find(&of_token, later(3599)).is_some());
        sessions.end_old(later(3600));
        assert!(sessions.find(&idle, later(3600)).is_none() && sessions.find(&used, later(3600)).is_some());
        assert!(sessions.find(&of_token, later(5000)).is_none());
        assert_eq!((token.ends(), token.rights()), (later(5000), Rights::NONE));
        let mut hour = 3600;
        while sessions.find(&used, later(hour)).is_some() {
            hour += 1800;
        }
        assert_eq!(hour, 12 * 3600, "however it is used");
    }

    #[test]
    fn a_session_whose_token_nobody_asks_about_ends_and_others_do_not() {
        let sessions = Sessions::default();
        let token = |name: &str| SignedIn { proof: Proof::Token("t".into()), ..person(name) };
        let (left, secret) = sessions.open(token("left"), None, NOW);
        let (asked, of_asked) = sessions.open(token("asked"), None, NOW);
        let (_, of_other) = sessions.open(person("other"), None, NOW);
        let _open = left.stay();
        asked.is_proven(asked.rights(), later(60));
        assert!(sessions.end_old(later(299)).is_empty() && sessions.find(&secret, later(299)).is_some());
        assert!(sessions.find(&secret, later(300)).is_none() && !left.rights().is_empty(), "whoever ends it is told which");
        let ended: Vec<String> = sessions.end_old(later(300)).iter().map(|session| session.name().to_owned()).collect();
        assert_eq!((ended, left.rights()), (vec!["left".to_owned()], Rights::NONE));
        assert!(sessions.find(&of_asked, later(300)).is_some() && sessions.find(&of_other, later(300)).is_some());
        assert_eq!(sessions.end_old(later(360)).len(), 1);
    }

    #[test]
    fn a_session_with_an_open_stream_is_not_idle() {
        let sessions = Sessions::default();
        let (session, secret) = sessions.open(person("ada"), None, NOW);
        let stream = session.stay();
        let second = stream.clone();
        drop(stream);
        sessions.end_old(later(4000));
        assert!(!session.rights().is_empty());
        drop(second);
        assert!(!session.rights().is_empty(), "nor is it at once when the stream has ended");
        sessions.end_old(later(4000 + 3600));
        assert!(sessions.find(&secret, later(4000 + 3600)).is_none());
    }

    #[test]
    fn who_signs_in_again_in_the_same_browser_has_a_new_session() {
        let sessions = Sessions::default();
        let (former, secret) = sessions.open(person("ada"), None, NOW);
        let (_, new) = sessions.open(person("ada"), Some(&secret), NOW);
        assert!(sessions.find(&secret, NOW).is_none() && sessions.find(&new, NOW).is_some() && former.rights().is_empty());
    }

    #[test]
    fn a_person_has_so_many_and_all_have_so_many() {
        let sessions = Sessions::default();
        let open = |name: &str, second| sessions.open(person(name), None, later(second)).1;
        let first = open("ada", 0);
        let others: Vec<String> = (1..PER_PERSON_MAX as u64).map(|second| open("ada", second)).collect();
        assert!(sessions.find(&first, later(20)).is_some(), "now it is not the one that was idle longest");
        open("ada", 21);
        assert!(sessions.find(&first, later(21)).is_some() && sessions.find(&others[0], later(21)).is_none());
        (0..SESSIONS_MAX).for_each(|number| drop(open(&format!("p-{number}"), 30)));
        assert_eq!(sessions.all().len(), SESSIONS_MAX);
    }

    #[tokio::test]
    async fn whoever_stays_is_told_of_the_end_and_of_lost_rights() {
        let sessions = Sessions::default();
        let (session, _) = sessions.open(person("ada"), None, NOW);
        let bodies: Rights = [Right::Bodies].into_iter().collect();
        let waiting = tokio::spawn({
            let session = session.clone();
            async move { session.lost(bodies).await }
        });
        assert!(session.is_proven([Right::Read].into_iter().collect(), NOW) && !session.is_proven(session.rights(), NOW));
        assert_eq!(waiting.await.unwrap(), None);
        sessions.end(&session, SessionEnd::SignedOut);
        sessions.end(&session, SessionEnd::Idle);
        assert_eq!(session.lost(Rights::NONE).await, Some(SessionEnd::SignedOut));
    }
}
