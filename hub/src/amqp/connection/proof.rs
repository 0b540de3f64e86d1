//! How somebody proves something: by SASL before the connection is open, and by tokens to `$cbs` as often as they like.

use std::borrow::Cow;

use tokio::time::{Instant, sleep_until};

use super::access::TooManyTokens;
use super::answers::AnswerReceiver;
use super::{Conversation, conditions};
use crate::amqp::cbs::{PutToken, answer, device_of};
use crate::amqp::engine::{Delivery, SaslInit, SaslOutcome};
use crate::amqp::message;
use crate::amqp::sasl::{Password, Plain, User};
use crate::core::device_id::DeviceId;
use crate::core::policy::Permission;
use crate::core::sas::SasToken;
use crate::core::session::Credential;
use crate::ops::RegistryError;
use crate::ops::authenticate::{
    AuthenticateError, NotLetIn, Proof, authenticate_service_by_key, device_right, refuse, service_right_for_any,
};
use crate::ops::refusals::RefusalReason;

/// What a policy's token may be good for.
const PERMISSIONS: [Permission; 4] =
    [Permission::DeviceConnect, Permission::ServiceConnect, Permission::RegistryRead, Permission::RegistryWrite];

/// Why a token is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenRefused {
    #[error(transparent)]
    NotLetIn(#[from] NotLetIn),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    TooMany(#[from] TooManyTokens),
}

impl TokenRefused {
    /// When it may be told, if that is not at once.
    pub(super) fn not_before(&self) -> Option<Instant> {
        match self {
            Self::NotLetIn(NotLetIn { not_before, .. }) => Some(*not_before),
            Self::Registry(_) | Self::TooMany(_) => None,
        }
    }

    /// Whether it can't be said now whether the token is good.
    fn is_undecided(&self) -> bool {
        matches!(self, Self::Registry(_) | Self::NotLetIn(NotLetIn { why: AuthenticateError::Registry(_), .. }))
    }
}

impl Conversation<'_> {
    /// Answers `sasl-init`.
    pub(super) async fn sasl(&mut self, init: &SaslInit) -> SaslOutcome {
        match init.mechanism.as_str() {
            // They put it off to `$cbs`.
            "ANONYMOUS" | "MSSBCBS" => SaslOutcome::Ok,
            // Whose it is, its owner's links say.
            "EXTERNAL" if self.access.has_certificate() => SaslOutcome::Ok,
            "PLAIN" => self.plain(init.initial_response.as_deref().unwrap_or_default()).await,
            _ => {
                refuse(self.hub, "", RefusalReason::NoToken, self.origin).await;
                SaslOutcome::Auth
            }
        }
    }

    async fn plain(&mut self, response: &[u8]) -> SaslOutcome {
        let names = &self.hub.names;
        let (user, token) = match Plain::parse(response, names) {
            Ok(Plain { user, password: Password::Token(token) }) => (user, token),
            Ok(Plain { user: User::Policy(policy) | User::PolicyOrDevice(policy), password: Password::Key(key) }) => {
                return self.take_key(policy, key).await;
            }
            Ok(Plain { user: User::Device(_), password: Password::Key(_) }) | Err(_) => {
                refuse(self.hub, "", RefusalReason::NoToken, self.origin).await;
                return SaslOutcome::Auth;
            }
        };
        let of_policy = || SasToken::parse(token).is_ok_and(|token| token.policy.is_some());
        let device = match user {
            User::Device(device) => Some(device),
            User::PolicyOrDevice(device) if !of_policy() => Some(device),
            User::Policy(_) | User::PolicyOrDevice(_) => None,
        };
        let Err(refused) = self.take_token(device, token).await else { return SaslOutcome::Ok };
        // Nobody else is there yet to be kept waiting.
        if let Some(not_before) = refused.not_before() {
            sleep_until(not_before).await;
        }
        if refused.is_undecided() { SaslOutcome::SystemTemporary } else { SaslOutcome::Auth }
    }

    /// A policy's key itself, as Event Hubs' clients have always been let in: good for all that back ends do, as long as it is the policy's.
    async fn take_key(&mut self, policy: &str, key: &str) -> SaslOutcome {
        match authenticate_service_by_key(self.hub, policy, key, Permission::ServiceConnect, self.origin).await {
            Ok(right) => {
                self.access.keep_key(right);
                self.trust();
                SaslOutcome::Ok
            }
            Err(AuthenticateError::Registry(_)) => SaslOutcome::SystemTemporary,
            Err(AuthenticateError::Refused) => SaslOutcome::Auth,
        }
    }

    /// A request to `$cbs`.
    pub(super) async fn put_token(&mut self, delivery: &Delivery) {
        let request = match message::read(&delivery.payload) {
            Ok(request) => request,
            Err(no_message) => {
                let outcome = conditions::NotTaken::from(no_message).outcome();
                return self.engine.settle(delivery.link, delivery.id, outcome);
            }
        };
        let message_id = request.properties.message_id.clone();
        let mut not_before = None;
        let (code, description): (i32, Cow<'_, str>) = match PutToken::read(request) {
            Ok(put) => {
                let device =
                    put.audience.as_deref().and_then(device_of).or_else(|| device_of(&SasToken::parse(&put.token).ok()?.resource()));
                match self.take_token(device.as_deref(), &put.token).await {
                    Ok(()) => (200, "OK".into()),
                    Err(TokenRefused::TooMany(error)) => (403, error.to_string().into()),
                    Err(refused) => {
                        not_before = refused.not_before();
                        if refused.is_undecided() {
                            tracing::warn!(error = %refused, "a token can't be judged: {refused}");
                            (503, "the hub can't tell now who this is, try again later".into())
                        } else {
                            (401, "Unauthorized".into())
                        }
                    }
                }
            }
            Err(no_token) => (400, no_token.to_string().into()),
        };
        self.answer_request(delivery, not_before, AnswerReceiver::Cbs, &answer(message_id, code, &*description));
    }

    /// Judges a token that is for `device`, or for whatever a policy may do, and keeps it.
    pub(super) async fn take_token(&mut self, device: Option<&str>, token: &str) -> Result<(), TokenRefused> {
        let Some(device) = device else { return self.take_policys(token).await };
        let right = device_right(self.hub, device, Proof { token: Some(token), certificate: None }, self.origin).await?;
        self.access.keep_devices(&right.device_id, token, right.good_until, self.hub.now())?;
        self.trust();
        Ok(self.renew(right).await?)
    }

    async fn take_policys(&mut self, token: &str) -> Result<(), TokenRefused> {
        // Where the token leads is asked when it is used; now, whether it is good.
        let path = SasToken::parse(token).ok().and_then(|token| token.path(&self.hub.names)).unwrap_or_default();
        let (right, allowed) = service_right_for_any(self.hub, Some(token), &PERMISSIONS, &path, self.origin)?;
        let policy = right.policy.clone();
        self.access.keep_policys(token, right, self.hub.now())?;
        self.trust();
        if allowed.contains(&Permission::DeviceConnect) {
            self.renew_by_policy(&policy).await?;
        }
        Ok(())
    }

    /// Devices that the policy speaks for go on with its new token.
    async fn renew_by_policy(&mut self, policy: &str) -> Result<(), TokenRefused> {
        let is_its = |credential: &Credential| matches!(credential, Credential::Policy { name, .. } if name == policy);
        let devices: Vec<DeviceId> =
            self.devices.iter().filter(|(_, device)| is_its(&device.session.right().credential)).map(|(id, _)| id.clone()).collect();
        for id in devices {
            let Some(proof) = self.access.proof(&id, &self.hub.names, self.hub.now()) else { continue };
            match device_right(self.hub, id.as_str(), proof, self.origin).await {
                Ok(right) => self.renew(right).await?,
                // It goes on with what it had.
                Err(NotLetIn { why: AuthenticateError::Refused, .. }) => {}
                Err(undecided) => return Err(undecided.into()),
            }
        }
        Ok(())
    }

    /// Something has been proved: the peer is no stranger any more.
    pub(super) fn trust(&mut self) {
        self.rights_changed();
        self.engine.trust();
        if !self.is_stopping {
            self.closing = None;
        }
        if let Some(authenticated) = self.authenticated.take() {
            authenticated();
        }
    }
}
