//! Those who sign in with a token of the cluster that the hub runs in: the cluster says whose it is, and what its owner may do.
//!
//! A token has to be made for this hub: its audience is `mooring:<namespace>/<hub>`. One that is good for the API server is refused, because
//! whoever has it could do with it whatever its owner may do in the cluster. Owns the judgement; who asks the cluster is `serve`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::{join_all, ready};
use futures_util::{StreamExt as _, stream};
use rand::seq::SliceRandom as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::sessions::{Proof, Session, SessionEnd, SignedIn};
use super::{NAME_MAX_BYTES, SignInRefused};
use crate::core::access::{Right, Rights};
use crate::core::audit::{AuditAction, Deed, plain};
use crate::core::hub_place::HubPlace;
use crate::core::principal::{By, Door, SignInMethod};
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::ops::audit::record_done;

/// The longest token.
pub const TOKEN_MAX_BYTES: usize = 16 * 1024;

/// How many sessions are asked about at once. When as many in a row get no answer, the others are not asked about in that round.
const REVIEWS_AT_ONCE: usize = 8;

/// How many ends of sessions are written down at once.
const WRITTEN_AT_ONCE: usize = 100;

/// Somebody, as the cluster knows her.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterUser {
    /// Her name.
    pub name: String,
    /// Her uid.
    pub uid: String,
    /// Her groups.
    pub groups: Vec<String>,
    /// What else there is to know of her.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What the cluster says of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenReviewed {
    /// Whether it is good.
    pub authenticated: bool,
    /// Whose it is.
    pub user: ClusterUser,
    /// For which of the audiences that were asked for. Empty from an authenticator that knows of none: then it is for the API server.
    pub audiences: Vec<String>,
}

/// The cluster does not answer. No secret is in the text.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the cluster does not answer: {0}")]
pub struct ClusterError(pub String);

/// The cluster's word on tokens and rights.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// Asks whose the token is, for this audience alone.
    async fn review_token(&self, token: &SecretString, audience: &str) -> Result<TokenReviewed, ClusterError>;

    /// Asks whether somebody may `get` the subresource of the hub that stands for this right.
    async fn may(&self, user: &ClusterUser, hub: &HubPlace, right: Right) -> Result<bool, ClusterError>;
}

/// The door for those who come with the cluster's tokens.
pub struct ClusterDoor {
    hub: HubPlace,
    cluster: Arc<dyn Cluster>,
}

impl fmt::Debug for ClusterDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterDoor({})", self.hub.audience())
    }
}

/// What a token says of itself. Believed of one that the cluster has found good; else only told to whoever has sent it.
#[derive(Debug, Default)]
struct Claims(Map<String, Value>);

impl ClusterDoor {
    /// To this hub, with this cluster's word.
    #[must_use]
    pub fn new(hub: HubPlace, cluster: Arc<dyn Cluster>) -> Self {
        Self { hub, cluster }
    }

    /// How to make a token that is good here, for somebody who has none.
    #[must_use]
    pub fn command(&self) -> String {
        command("<service account>", &self.hub.namespace, &self.hub)
    }

    pub(super) async fn check(&self, token: SecretString) -> Result<SignedIn, SignInRefused> {
        if token.expose_secret().len() > TOKEN_MAX_BYTES {
            return Err(SignInRefused::Explained(format!("a token has at most {TOKEN_MAX_BYTES} bytes")));
        }
        let claims = claims(token.expose_secret());
        let reviewed = self.cluster.review_token(&token, &self.hub.audience()).await?;
        let user = self.judge(reviewed).filter(|_| !claims.are_for_another_than(&self.hub.audience()));
        let user = user.ok_or_else(|| SignInRefused::Explained(self.explain(&claims)))?;
        if user.name.len() > NAME_MAX_BYTES {
            return Err(SignInRefused::Explained(format!(
                "a name has at most {NAME_MAX_BYTES} bytes, and the cluster has a longer one for you"
            )));
        }
        // For people to read; the cluster is asked about the name that it has said.
        let name = plain(user.name.clone());
        let rights = self.rights(&user).await?;
        if rights.is_empty() {
            return Err(SignInRefused::NoRights(name));
        }
        let ends = claims.end().map(|seconds| UnixMillis(seconds.saturating_mul(1000)));
        Ok(SignedIn { name, method: SignInMethod::Kubernetes, rights, ends, proof: Proof::Token(token) })
    }

    /// The token's owner, when it was found good, and good for this hub.
    fn judge(&self, reviewed: TokenReviewed) -> Option<ClusterUser> {
        let TokenReviewed { authenticated, user, audiences } = reviewed;
        (authenticated && !user.name.is_empty() && audiences.contains(&self.hub.audience())).then_some(user)
    }

    /// What somebody may do here.
    async fn rights(&self, user: &ClusterUser) -> Result<Rights, ClusterError> {
        let asked = join_all(Right::ALL.map(|right| self.cluster.may(user, &self.hub, right))).await;
        let mut rights = Vec::new();
        for (right, may) in Right::ALL.into_iter().zip(asked) {
            rights.extend(may?.then_some(right));
        }
        // Who may not read, may nothing: the other rights are rights to more.
        Ok(if rights.contains(&Right::Read) { rights.into_iter().collect() } else { Rights::NONE })
    }

    /// Says no more than the token's own sender knows.
    fn explain(&self, claims: &Claims) -> String {
        let audience = self.hub.audience();
        let make = match claims.service_account() {
            Some((namespace, name)) => command(name, namespace, &self.hub),
            None => self.command(),
        };
        format!("the token is not good for this hub, which takes tokens with the audience {audience} and no other. Make one: {make}")
    }

    /// Asks about a session's token once more. `None`: it is no good any more.
    async fn review(&self, token: &SecretString) -> Result<Option<Rights>, ClusterError> {
        let Some(user) = self.judge(self.cluster.review_token(token, &self.hub.audience()).await?) else { return Ok(None) };
        Ok(Some(self.rights(&user).await?).filter(|rights| !rights.is_empty()))
    }
}

fn command(account: &str, namespace: &str, hub: &HubPlace) -> String {
    format!("kubectl create token {account} --namespace={namespace} --audience={}", hub.audience())
}

/// Unverified. A token that is no JWT says nothing.
fn claims(token: &str) -> Claims {
    let payload = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok());
    Claims(payload.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default())
}

impl Claims {
    /// When it ends, in seconds since 1970.
    fn end(&self) -> Option<i64> {
        let end = self.0.get("exp")?;
        // JSON's numbers may have a point.
        end.as_i64().or_else(|| end.as_f64().map(|seconds| seconds as i64))
    }

    /// Whether it is good elsewhere too. The cluster says only which of the audiences that it was asked for a token has.
    fn are_for_another_than(&self, audience: &str) -> bool {
        match self.0.get("aud") {
            None => false,
            Some(Value::Array(all)) => all.iter().any(|one| one != audience),
            Some(one) => one != audience,
        }
    }

    /// The namespace and the name of the account that it is of, when they are such as there can be: what comes of them is to be put into a
    /// shell, and anybody can have written them.
    fn service_account(&self) -> Option<(&str, &str)> {
        let (namespace, name) = self.0.get("sub")?.as_str()?.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        let is_name = |part: &str| {
            let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
            (1..=253).contains(&part.len()) && part.bytes().all(known) && !part.starts_with(['-', '.'])
        };
        (is_name(namespace) && is_name(name)).then_some((namespace, name))
    }
}

/// Asks the cluster about every session that came from one of its tokens. Those end whose token is no good any more, and whose owner may not
/// read any more. A round ends soon when the cluster does not answer.
pub async fn review_cluster_sessions(hub: &Arc<Hub>) {
    let Some(door) = hub.sign_in.cluster.get() else { return };
    let mut sessions = hub.sign_in.sessions.all();
    sessions.retain(|session| matches!(session.proof(), Proof::Token(_)));
    // In another order each time, so that none is always behind those that get no answer.
    sessions.shuffle(&mut rand::rng());
    let unanswered = AtomicUsize::new(0);
    let asked = stream::iter(sessions).take_while(|_| ready(unanswered.load(Ordering::Relaxed) < REVIEWS_AT_ONCE));
    let review = |session: Session| {
        let unanswered = &unanswered;
        async move {
            if review_one(hub, door, &session).await {
                unanswered.store(0, Ordering::Relaxed);
            } else {
                unanswered.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    asked.map(review).buffer_unordered(REVIEWS_AT_ONCE).collect::<()>().await;
}

/// Ends the sessions whose time is over, and those for which the cluster has not answered for too long.
pub async fn end_old_sessions(hub: &Arc<Hub>) {
    let ended = stream::iter(hub.sign_in.sessions.end_old(hub.now()));
    // Together, so that they are written together: these may be all that there are.
    let write_down = |session: Session| async move {
        let by = By { principal: session.principal(), door: Door::Dashboard, address: None };
        record_done(hub, &by, Deed::done(AuditAction::SessionReviewed).saying("ended: the cluster does not answer")).await;
    };
    ended.for_each_concurrent(WRITTEN_AT_ONCE, write_down).await;
}

/// Says whether the cluster has answered.
async fn review_one(hub: &Arc<Hub>, door: &ClusterDoor, session: &Session) -> bool {
    let Proof::Token(token) = session.proof() else { return true };
    let by = By { principal: session.principal(), door: Door::Dashboard, address: None };
    match door.review(token).await {
        Ok(Some(rights)) => {
            if session.is_proven(rights, hub.now()) {
                record_done(hub, &by, Deed::done(AuditAction::SessionReviewed).saying(format!("may now: {rights}"))).await;
            }
            true
        }
        Ok(None) => {
            hub.sign_in.sessions.end(session, SessionEnd::Revoked);
            record_done(hub, &by, Deed::done(AuditAction::SessionReviewed).saying("ended: the token or the right to read is gone")).await;
            true
        }
        Err(error) => {
            tracing::warn!(%error, "whether {} is still to be signed in can't be asked: {error}", session.name());
            false
        }
    }
}
