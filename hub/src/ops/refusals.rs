//! Who was refused lately, and why: told to the owner, never to the one refused.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::core::certificate::{CertificateRefused, Thumbprint};
use crate::core::change::Change;
use crate::core::policy::Permission;
use crate::core::sas::MalformedToken;
use crate::core::session::Protocol;
use crate::core::time::UnixMillis;
use crate::ops::changes::Changes;

use self::log_budget::{Line, LogBudget};
pub use self::peer_text::PeerText;

mod log_budget;
mod peer_text;

/// The most names remembered; a name is whatever the refused one claimed, cut. With [`REFUSALS_PER_NAME`] of them each, some 20 MB.
const NAMES_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// The last refusals remembered per name.
const REFUSALS_PER_NAME: usize = 8;

/// Why somebody was refused. What the refused one said is in it as [`PeerText`] only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusalReason {
    /// No identity of that name.
    #[error("there is no such device")]
    UnknownDevice,
    /// A name that no device can have.
    #[error("no device can have that name")]
    InvalidDeviceId,
    /// The identity is disabled.
    #[error("the device is disabled{}", .held_by.as_ref().map(|by| format!(", held by {by}")).unwrap_or_default())]
    DeviceDisabled {
        /// Who holds it, if somebody does.
        held_by: Option<String>,
    },
    /// Neither token nor certificate.
    #[error("it brought neither a token nor a certificate")]
    NoToken,
    /// The token can't be read.
    #[error(transparent)]
    MalformedToken(#[from] MalformedToken),
    /// The token ran out.
    #[error("its token expired {} s ago by the hub's clock", .0.as_secs())]
    TokenExpired(Duration),
    /// A good token for something else.
    #[error("its token is for {0:?}, not for this device and hub")]
    OtherResource(PeerText),
    /// Not the device's key.
    #[error("its token is signed with neither key of the device")]
    SignedWithNeitherKey,
    /// A device's own token, and the device proves itself by a certificate.
    #[error("it brought a token of its own, but the device authenticates by certificate")]
    HasNoKeys,
    /// A certificate, and the device proves itself by tokens.
    #[error("it brought a certificate and no token, but the device authenticates by symmetric keys")]
    HasNoCertificate,
    /// The certificate can't be read.
    #[error("its certificate can't be read")]
    UnreadableCertificate,
    /// Self-signed, and not the device's.
    #[error("its certificate has the SHA-256 thumbprint {0}, and the device has another")]
    UnknownThumbprint(Thumbprint),
    /// The certificate begins to hold later.
    #[error("its certificate is not valid before {0}")]
    CertificateNotYetValid(UnixMillis),
    /// The certificate ran out.
    #[error("its certificate expired at {0}")]
    CertificateExpired(UnixMillis),
    /// The certificate is issued to somebody else.
    #[error("its certificate's common name is {}, which is not the device's id", .0.as_ref().map_or_else(|| "missing or not the only one".to_owned(), |name| format!("{name:?}")))]
    OtherCommonName(Option<PeerText>),
    /// Nobody that the hub believes stands behind the certificate.
    #[error("no authority of this hub stands behind its certificate, which was issued by {issuer:?}")]
    UnknownAuthority {
        /// The last issuer in its chain.
        issuer: PeerText,
    },
    /// The authority may not speak for this device.
    #[error("the authority {authority} stands behind its certificate, but its id_prefix does not allow this device")]
    AuthorityNotAllowed {
        /// Its name in the configuration.
        authority: String,
    },
    /// The chain breaks a rule.
    #[error("its certificate's chain does not hold: {0}")]
    UnsoundChain(PeerText),
    /// Not the policy's key.
    #[error("its token is signed with neither key of the policy {0:?}")]
    SignedWithNeitherPolicyKey(PeerText),
    /// A key itself, and not the policy's.
    #[error("it brought a key that is neither of the policy {0:?}")]
    NeitherPolicyKey(PeerText),
    /// No such policy.
    #[error("it names the policy {0:?}, which this hub does not have")]
    UnknownPolicy(PeerText),
    /// The policy does not allow it.
    #[error("the policy {policy:?} does not allow {permission}")]
    NotAllowed {
        /// Which policy.
        policy: PeerText,
        /// What was wanted.
        permission: Permission,
    },
    /// Only a policy's token can do this.
    #[error("this needs a token of a shared access policy with {0}")]
    NeedsPolicy(Permission),
    /// It asked for a hub of another name.
    #[error("it asked for the hub {0:?}, which is not a name of this one")]
    ForeignHost(PeerText),
    /// MQTT: the client id is not the device id of the user name, or the user name can't be read.
    #[error("its MQTT client id and user name do not name one device of this hub")]
    ClientIdAndUserName,
    /// MQTT: it was let in, but its will is no message that the hub would take.
    #[error("its MQTT will can't be kept: {0}")]
    UnacceptableWill(PeerText),
}

impl RefusalReason {
    /// Every [`Self::name`].
    pub const NAMES: [&str; 26] = [
        "UnknownDevice",
        "InvalidDeviceId",
        "DeviceDisabled",
        "NoToken",
        "MalformedToken",
        "TokenExpired",
        "OtherResource",
        "SignedWithNeitherKey",
        "HasNoKeys",
        "HasNoCertificate",
        "UnreadableCertificate",
        "UnknownThumbprint",
        "CertificateNotYetValid",
        "CertificateExpired",
        "OtherCommonName",
        "UnknownAuthority",
        "AuthorityNotAllowed",
        "UnsoundChain",
        "SignedWithNeitherPolicyKey",
        "NeitherPolicyKey",
        "UnknownPolicy",
        "NotAllowed",
        "NeedsPolicy",
        "ForeignHost",
        "ClientIdAndUserName",
        "UnacceptableWill",
    ];

    /// The variant's name: a label for metrics and answers.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::UnknownDevice => "UnknownDevice",
            Self::InvalidDeviceId => "InvalidDeviceId",
            Self::DeviceDisabled { .. } => "DeviceDisabled",
            Self::NoToken => "NoToken",
            Self::MalformedToken(_) => "MalformedToken",
            Self::TokenExpired(_) => "TokenExpired",
            Self::OtherResource(_) => "OtherResource",
            Self::SignedWithNeitherKey => "SignedWithNeitherKey",
            Self::HasNoKeys => "HasNoKeys",
            Self::HasNoCertificate => "HasNoCertificate",
            Self::UnreadableCertificate => "UnreadableCertificate",
            Self::UnknownThumbprint(_) => "UnknownThumbprint",
            Self::CertificateNotYetValid(_) => "CertificateNotYetValid",
            Self::CertificateExpired(_) => "CertificateExpired",
            Self::OtherCommonName(_) => "OtherCommonName",
            Self::UnknownAuthority { .. } => "UnknownAuthority",
            Self::AuthorityNotAllowed { .. } => "AuthorityNotAllowed",
            Self::UnsoundChain(_) => "UnsoundChain",
            Self::SignedWithNeitherPolicyKey(_) => "SignedWithNeitherPolicyKey",
            Self::NeitherPolicyKey(_) => "NeitherPolicyKey",
            Self::UnknownPolicy(_) => "UnknownPolicy",
            Self::NotAllowed { .. } => "NotAllowed",
            Self::NeedsPolicy(_) => "NeedsPolicy",
            Self::ForeignHost(_) => "ForeignHost",
            Self::ClientIdAndUserName => "ClientIdAndUserName",
            Self::UnacceptableWill(_) => "UnacceptableWill",
        }
    }
}

impl From<CertificateRefused> for RefusalReason {
    fn from(refused: CertificateRefused) -> Self {
        match refused {
            CertificateRefused::Unreadable => Self::UnreadableCertificate,
            CertificateRefused::UnknownThumbprint(thumbprint) => Self::UnknownThumbprint(thumbprint),
            CertificateRefused::NotYetValid(from) => Self::CertificateNotYetValid(from),
            CertificateRefused::Expired(at) => Self::CertificateExpired(at),
            CertificateRefused::OtherCommonName(name) => Self::OtherCommonName(name.as_deref().map(PeerText::from)),
            CertificateRefused::UnknownAuthority { issuer } => Self::UnknownAuthority { issuer: issuer.as_str().into() },
            CertificateRefused::NameNotAllowed { authority } => Self::AuthorityNotAllowed { authority },
            CertificateRefused::Unsound(why) => Self::UnsoundChain(why.as_str().into()),
        }
    }
}

/// One refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// When.
    pub time: UnixMillis,
    /// Over what.
    pub protocol: Protocol,
    /// From where.
    pub peer: SocketAddr,
    /// Why.
    pub reason: RefusalReason,
}

impl Refusal {
    fn change(&self, claimed: &PeerText) -> Change {
        Change::Refused {
            claimed: claimed.as_str().into(),
            time: self.time,
            protocol: self.protocol,
            address: self.peer.ip(),
            reason: (self.reason.name(), self.reason.to_string().into()),
        }
    }
}

/// The refusals remembered, by the name that was claimed.
pub struct Refusals {
    by_name: Mutex<LruCache<PeerText, VecDeque<Refusal>>>,
    log_budget: Arc<LogBudget>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { by_name: Mutex::new(LruCache::new(NAMES_MAX)), log_budget: Arc::default() }
    }
}

impl Refusals {
    /// Remembers one, and tells the log and those who watch as far as they bear it.
    pub fn tell(&self, claimed: &str, refusal: Refusal, now: Instant, changes: &Changes) {
        let name = PeerText::from(claimed);
        match self.log_budget.line(now) {
            Line::Written => {
                log(&name, &refusal);
                changes.publish(refusal.time, refusal.change(&name));
            }
            Line::FirstLeftOut => drop(tokio::spawn(log_left_out(Arc::clone(&self.log_budget)))),
            Line::LeftOut => {}
        }
        self.remember(name, refusal);
    }

    fn remember(&self, name: PeerText, refusal: Refusal) {
        let mut refusals = self.lock();
        let of_name = refusals.get_or_insert_mut(name, VecDeque::new);
        if of_name.len() == REFUSALS_PER_NAME {
            of_name.pop_front();
        }
        of_name.push_back(refusal);
    }

    /// Those of one name, oldest first.
    pub fn of(&self, name: &str) -> Vec<Refusal> {
        self.lock().peek(&PeerText::from(name)).map(|refusals| refusals.iter().cloned().collect()).unwrap_or_default()
    }

    /// The latest of each name, the latest first, at most `limit`.
    pub fn latest(&self, limit: usize) -> Vec<(String, Refusal)> {
        self.lock().iter().filter_map(|(name, of_name)| Some((name.to_string(), of_name.back()?.clone()))).take(limit).collect()
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<PeerText, VecDeque<Refusal>>> {
        self.by_name.lock().expect("nothing panics while it holds this lock")
    }
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refusals({} names)", self.lock().len())
    }
}

fn log(name: &PeerText, refusal: &Refusal) {
    let Refusal { protocol, peer, reason, .. } = refusal;
    tracing::info!(claimed = name.as_str(), %peer, protocol = protocol.name(), reason = reason.name(), "refused {name:?}: {reason}");
}

/// Says how many lines were left out, a period after the first of them.
async fn log_left_out(budget: Arc<LogBudget>) {
    tokio::time::sleep(log_budget::PERIOD).await;
    let count = budget.take_left_out();
    tracing::info!(count, "and {count} more were refused");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_among_the_names() {
        for reason in [
            RefusalReason::UnknownDevice,
            RefusalReason::InvalidDeviceId,
            RefusalReason::DeviceDisabled { held_by: None },
            RefusalReason::NoToken,
            RefusalReason::TokenExpired(Duration::ZERO),
            RefusalReason::SignedWithNeitherKey,
            RefusalReason::NeedsPolicy(Permission::RegistryRead),
            RefusalReason::ClientIdAndUserName,
        ] {
            assert!(RefusalReason::NAMES.contains(&reason.name()), "{}", reason.name());
        }
    }
}
