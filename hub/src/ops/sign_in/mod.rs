//! People sign in, by one of the ways that this hub has, and get a session.
//!
//! Whoever is refused learns nothing that she does not know: an unknown name and a wrong password are answered the same, after the same work.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use self::attempts::{Attempts, TooOften};
use self::kubernetes::{ClusterDoor, ClusterError};
use self::one_time_link::{LINK_NAME, OneTimeLinks};
use self::openid::{BroughtBack, OpenIdDoor};
use self::password::{Passwords, TooManyChecks};
use self::sessions::{Proof, Session, SessionEnd, SessionTimes, Sessions, SignedIn};
use crate::core::access::Rights;
use crate::core::audit::{AuditAction, Deed};
use crate::core::principal::{By, Door, Principal, SignInMethod};
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::ops::audit::{record, record_done};

mod attempts;
pub mod kubernetes;
pub mod one_time_link;
pub mod openid;
pub mod password;
mod secret;
pub mod sessions;
#[cfg(test)]
mod tests;

/// The longest name of a person, in bytes.
pub const NAME_MAX_BYTES: usize = 256;

/// The ways in, and those who are in.
#[derive(Default)]
pub struct SignIn {
    /// Those who are in.
    pub sessions: Sessions,
    /// The links that wait.
    pub links: OneTimeLinks,
    /// Those with passwords.
    pub passwords: Passwords,
    /// Those whom the cluster knows, if the hub is in one and asks it.
    pub cluster: OnceLock<ClusterDoor>,
    /// Those whom an OpenID Connect issuer knows, if the hub takes its word.
    pub openid: OnceLock<OpenIdDoor>,
    attempts: Attempts,
}

impl SignIn {
    /// With sessions that last so long.
    #[must_use]
    pub fn new(times: SessionTimes) -> Self {
        Self { sessions: Sessions::new(times), ..Self::default() }
    }

    /// Whether one more thing may be written into the audit for which this person lacks the right: so many a day, whatever others do.
    pub fn person_may_be_audited(&self, person: &Principal, now: UnixMillis) -> bool {
        self.attempts.person_may_be_audited(person, now)
    }

    /// The ways that there are now.
    #[must_use]
    pub fn methods(&self, now: UnixMillis) -> Vec<SignInMethod> {
        let there = |method: &SignInMethod| match method {
            SignInMethod::Link => self.links.any(now),
            SignInMethod::Password => !self.passwords.current().is_empty(),
            SignInMethod::Kubernetes => self.cluster.get().is_some(),
            SignInMethod::OpenId => self.openid.get().is_some(),
        };
        SignInMethod::ALL.into_iter().filter(there).collect()
    }
}

/// What somebody brings to sign in.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// The code of a link.
    Link(SecretString),
    /// A name and a password.
    Password {
        /// The name.
        name: String,
        /// The password.
        password: SecretString,
    },
    /// A token of the cluster.
    Kubernetes(SecretString),
    /// What somebody brings back from an OpenID Connect issuer.
    OpenId(BroughtBack),
}

impl Credentials {
    fn method(&self) -> SignInMethod {
        match self {
            Self::Link(_) => SignInMethod::Link,
            Self::Password { .. } => SignInMethod::Password,
            Self::Kubernetes(_) => SignInMethod::Kubernetes,
            Self::OpenId(_) => SignInMethod::OpenId,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Link(_) | Self::Kubernetes(_) | Self::OpenId(_) => "",
            Self::Password { name, .. } => name,
        }
    }
}

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInRefused {
    /// Too often.
    #[error("there were too many attempts to sign in; come again in {} s", .0.as_secs().max(1))]
    TooOften(Duration),
    /// The link has been used, or is too old, or is none.
    #[error("the link is not good: it is good once, and for ten minutes after the hub has begun. Start the hub again for a new one")]
    Link,
    /// The name or the password.
    #[error("the name or the password is not right")]
    Password,
    /// Something that only whoever sent it can know, and may be told of.
    #[error("{0}")]
    Explained(String),
    /// Known, but without any right here.
    #[error("{0} may not do anything here: the right to read is missing")]
    NoRights(String),
    /// Not now.
    #[error("{0}")]
    Unavailable(String),
}

impl From<TooManyChecks> for SignInRefused {
    fn from(busy: TooManyChecks) -> Self {
        Self::Unavailable(busy.to_string())
    }
}

impl From<ClusterError> for SignInRefused {
    fn from(error: ClusterError) -> Self {
        tracing::warn!(%error, "somebody could not be signed in: {error}");
        // What the cluster has said is for the owner.
        Self::Unavailable("the cluster does not answer; try again".to_owned())
    }
}

/// Signs somebody in who comes from `address`, perhaps with the cookie of a `former` session, which ends. Answers with the new session and the
/// text for its cookie, once it is in the audit.
pub async fn sign_in(
    hub: &Arc<Hub>,
    credentials: Credentials,
    address: IpAddr,
    former: Option<&str>,
) -> Result<(Session, String), SignInRefused> {
    let (method, claimed) = (credentials.method(), credentials.name().to_owned());
    if !was_counted(hub, &credentials) {
        hub.sign_in.attempts.take(address, &claimed, hub.now()).map_err(|TooOften(wait)| SignInRefused::TooOften(wait))?;
    }
    let by = |name: String| By { principal: Principal::Person(name, method), door: Door::Dashboard, address: Some(address) };
    match check(hub, credentials).await {
        Ok(person) => {
            hub.sign_in.attempts.succeeded(address, &claimed);
            let name = person.name.clone();
            let entry = Deed::done(AuditAction::SignIn).saying(format!("may: {}", person.rights));
            record(hub, &by(name.clone()), entry).await.map_err(|error| {
                tracing::error!(%error, "{name} could not be signed in, because it can't be written down: {error}");
                SignInRefused::Unavailable("signing in can't be written into the audit now; try again".to_owned())
            })?;
            let (session, secret) = hub.sign_in.sessions.open(person, former, hub.now());
            // The password may have been replaced since it was looked at, and whoever replaced it has not seen this session.
            if hub.sign_in.passwords.revokes(&session) {
                hub.sign_in.sessions.end(&session, SessionEnd::Revoked);
                return Err(SignInRefused::Password);
            }
            Ok((session, secret))
        }
        Err(refused) => {
            let why = crate::core::audit::plain(refused.to_string());
            tracing::info!(method = method.name(), %address, "somebody was not signed in: {why}");
            if !matches!(refused, SignInRefused::Unavailable(_)) && hub.sign_in.attempts.stranger_may_be_audited(hub.now()) {
                let name = match &refused {
                    SignInRefused::NoRights(name) => name.clone(),
                    _ => crate::core::audit::plain(claimed),
                };
                record_done(hub, &by(name), Deed::refused(AuditAction::SignIn, why)).await;
            }
            Err(refused)
        }
    }
}

/// Whether this is the end of an attempt that was counted when it began: of somebody who comes back from an issuer.
fn was_counted(hub: &Hub, credentials: &Credentials) -> bool {
    let Credentials::OpenId(brought) = credentials else { return false };
    hub.sign_in.openid.get().is_some_and(|door| door.expects(brought, hub.now()))
}

/// Signs somebody out.
pub async fn sign_out(hub: &Arc<Hub>, session: &Session, address: IpAddr) {
    hub.sign_in.sessions.end(session, SessionEnd::SignedOut);
    let by = By { principal: session.principal(), door: Door::Dashboard, address: Some(address) };
    record_done(hub, &by, Deed::done(AuditAction::SignOut)).await;
}

async fn check(hub: &Arc<Hub>, credentials: Credentials) -> Result<SignedIn, SignInRefused> {
    match credentials {
        Credentials::Link(code) => {
            let good = hub.sign_in.links.take(code.expose_secret(), hub.now());
            let person = || SignedIn {
                name: LINK_NAME.to_owned(),
                method: SignInMethod::Link,
                rights: Rights::all(),
                ends: None,
                proof: Proof::Once,
            };
            good.then(person).ok_or(SignInRefused::Link)
        }
        Credentials::Password { name, password } => {
            let possible = name.len() <= NAME_MAX_BYTES && password.expose_secret().len() <= password::PASSWORD_MAX_BYTES;
            let person = if possible { hub.sign_in.passwords.check(name, password).await? } else { None };
            person.ok_or(SignInRefused::Password)
        }
        Credentials::Kubernetes(token) => match hub.sign_in.cluster.get() {
            Some(door) => door.check(token).await,
            None => Err(SignInRefused::Explained("this hub does not take tokens of a cluster".to_owned())),
        },
        Credentials::OpenId(brought) => match hub.sign_in.openid.get() {
            Some(door) => door.check(brought, hub.now()).await,
            None => Err(openid::no_issuer()),
        },
    }
}
