//! Those who sign in at an OpenID Connect issuer: the code flow with PKCE, a state and a nonce, in the browser that began it and in no other.
//!
//! Owns who is under way, and what an issuer's word makes of somebody. Who talks to the issuer is `serve`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use lru::LruCache;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::attempts::TooOften;
use super::secret::{Digest, digest, fresh};
use super::sessions::{Proof, SignedIn};
use super::{NAME_MAX_BYTES, SignInRefused};
use crate::core::access::{Right, Rights};
use crate::core::audit::plain;
use crate::core::principal::SignInMethod;
use crate::core::time::UnixMillis;
use crate::ops::Hub;

/// How long somebody may take at the issuer: to find a second factor, say.
const UNDER_WAY_MAX: Duration = Duration::from_secs(10 * 60);

/// How many may be under way; the one that is longest makes room.
const UNDER_WAY_AT_ONCE: NonZeroUsize = NonZeroUsize::new(10_000).expect("not 0");

/// The longest code.
const CODE_MAX_BYTES: usize = 8 * 1024;

/// Where to send somebody, and what has to be remembered until she is back.
pub struct Begun {
    /// The page of the issuer.
    pub url: String,
    /// What she brings back.
    pub state: String,
    /// What nobody but this hub knows.
    pub kept: Kept,
}

/// What this hub alone knows of somebody who is under way.
pub struct Kept {
    /// What the issuer puts into the token.
    pub nonce: SecretString,
    /// What the code is good for nothing without.
    pub verifier: SecretString,
}

/// What a token says whose signature, issuer, audience, time and nonce are right.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// When it was made.
    pub issued: UnixMillis,
    /// Its end.
    pub ends: UnixMillis,
    /// All of it.
    pub all: Map<String, Value>,
}

/// The issuer does not help. No secret is in the text.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IssuerError {
    /// It can't be reached, or says nothing of use.
    #[error("the OpenID Connect issuer does not answer: {0}")]
    Unavailable(String),
    /// It has refused the code, or its token is not good.
    #[error("{0}")]
    Refused(String),
}

/// Somebody who knows people.
#[async_trait]
pub trait Issuer: Send + Sync + 'static {
    /// Its name.
    fn name(&self) -> &str;

    /// Where to send a browser that is to come back to `redirect`.
    async fn begin(&self, redirect: &str) -> Result<Begun, IssuerError>;

    /// Takes the code that a browser has brought back, and judges the token that there is for it.
    async fn finish(&self, redirect: &str, code: SecretString, kept: &Kept) -> Result<Claims, IssuerError>;
}

/// How claims become a name and rights.
#[derive(Clone, Debug)]
pub struct ClaimRules {
    /// The claim that somebody is called by.
    pub name_claim: String,
    /// The claim with her groups: a text, or a list of texts.
    pub groups_claim: String,
    /// What each group may do.
    pub rights: BTreeMap<String, Rights>,
}

/// The door for those who come from an issuer.
pub struct OpenIdDoor {
    issuer: Arc<dyn Issuer>,
    rules: ClaimRules,
    under_way: Mutex<LruCache<Digest, UnderWay>>,
}

struct UnderWay {
    browser: Digest,
    redirect: String,
    kept: Kept,
    ends: UnixMillis,
}

/// What a browser brings back.
#[derive(Clone, Debug)]
pub struct BroughtBack {
    /// The code, or what the issuer says instead of one.
    pub code: Result<SecretString, String>,
    /// The state.
    pub state: String,
    /// What the browser was given when it began.
    pub browser: SecretString,
}

impl fmt::Debug for OpenIdDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenIdDoor({})", self.issuer.name())
    }
}

impl OpenIdDoor {
    /// To those whom this issuer knows, with what these rules give them.
    #[must_use]
    pub fn new(issuer: Arc<dyn Issuer>, rules: ClaimRules) -> Self {
        Self { issuer, rules, under_way: Mutex::new(LruCache::new(UNDER_WAY_AT_ONCE)) }
    }

    /// Who knows people.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.issuer.name()
    }

    /// Whether somebody who brings this back is under way.
    pub(super) fn expects(&self, brought: &BroughtBack, now: UnixMillis) -> bool {
        self.under_way().peek(&digest(&brought.state)).is_some_and(|begun| begun.is_of(brought, now))
    }

    pub(super) async fn check(&self, brought: BroughtBack, now: UnixMillis) -> Result<SignedIn, SignInRefused> {
        // Good once, whatever becomes of it.
        let begun = self.under_way().pop(&digest(&brought.state)).filter(|begun| begun.is_of(&brought, now));
        let Some(UnderWay { redirect, kept, .. }) = begun else {
            return Err(SignInRefused::Explained("signing in has taken too long, or was begun in another browser; begin again".to_owned()));
        };
        let code = brought.code.map_err(|said| SignInRefused::Explained(format!("the issuer has let nobody in: {said}")))?;
        if code.expose_secret().len() > CODE_MAX_BYTES {
            return Err(SignInRefused::Explained(format!("a code has at most {CODE_MAX_BYTES} bytes")));
        }
        let claims = self.issuer.finish(&redirect, code, &kept).await?;
        self.rules.judge(&claims, now)
    }

    fn under_way(&self) -> MutexGuard<'_, LruCache<Digest, UnderWay>> {
        self.under_way.lock().expect("nothing panics while it holds this lock")
    }
}

impl UnderWay {
    fn is_of(&self, brought: &BroughtBack, now: UnixMillis) -> bool {
        now < self.ends && self.browser == digest(brought.browser.expose_secret())
    }
}

impl ClaimRules {
    fn judge(&self, claims: &Claims, now: UnixMillis) -> Result<SignedIn, SignInRefused> {
        let name = claims.all.get(&self.name_claim).and_then(Value::as_str).filter(|name| (1..=NAME_MAX_BYTES).contains(&name.len()));
        let name = name.map(|name| plain(name.to_owned())).ok_or_else(|| {
            SignInRefused::Explained(format!("the issuer's token does not say who you are: it has no claim {}", self.name_claim))
        })?;
        // Some issuers let people write down whichever address they like, and some of these say nothing of it.
        let is_true = |verified: &Value| *verified == true || verified == "true";
        if self.name_claim == "email" && !claims.all.get("email_verified").is_some_and(is_true) {
            return Err(SignInRefused::Explained(format!("the issuer does not say that {name} is your address (email_verified)")));
        }
        let rights = self.rights(claims.all.get(&self.groups_claim));
        if rights.is_empty() {
            return Err(SignInRefused::NoRights(name));
        }
        // Nor longer than the token lasts by the issuer's clock, where the hub's is behind.
        let ends = claims.ends.min(now.plus(claims.ends.since(claims.issued)));
        Ok(SignedIn { name, method: SignInMethod::OpenId, rights, ends: Some(ends), proof: Proof::Once })
    }

    fn rights(&self, groups: Option<&Value>) -> Rights {
        let texts = match groups {
            Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(group)) => vec![group.as_str()],
            _ => Vec::new(),
        };
        let rights: Vec<Right> = texts.iter().filter_map(|group| self.rights.get(*group)).flat_map(|rights| rights.iter()).collect();
        rights.into_iter().collect()
    }
}

/// Sends somebody to the issuer, from where she is to come back to `redirect`. Answers with the issuer's page, and with what her browser has
/// to bring back beside what the issuer gives it.
pub async fn begin_openid(hub: &Hub, redirect: String, address: IpAddr) -> Result<(String, String), SignInRefused> {
    let door = hub.sign_in.openid.get().ok_or_else(no_issuer)?;
    hub.sign_in.attempts.take(address, "", hub.now()).map_err(|TooOften(wait)| SignInRefused::TooOften(wait))?;
    let Begun { url, state, kept } = door.issuer.begin(&redirect).await?;
    let browser = fresh();
    let begun = UnderWay { browser: digest(&browser), redirect, kept, ends: hub.now().plus(UNDER_WAY_MAX) };
    door.under_way().put(digest(&state), begun);
    Ok((url, browser))
}

pub(super) fn no_issuer() -> SignInRefused {
    SignInRefused::Explained("this hub does not take an OpenID Connect issuer's word".to_owned())
}

impl From<IssuerError> for SignInRefused {
    fn from(error: IssuerError) -> Self {
        match error {
            IssuerError::Unavailable(_) => {
                tracing::warn!(%error, "somebody could not be signed in: {error}");
                // What the issuer has said is for the owner.
                Self::Unavailable("the OpenID Connect issuer does not answer; try again".to_owned())
            }
            IssuerError::Refused(said) => Self::Explained(said),
        }
    }
}
