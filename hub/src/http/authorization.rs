//! Where a request carries its token and where it comes from; the extractors that let in back ends and people, by what they need, and
//! devices.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;

use super::connection::HttpConnection;
use super::error::Failure;
use super::session::cookie;
use crate::core::access::Need;
use crate::core::audit::{AuditAction, Deed};
use crate::core::principal::{By, Door, Principal};
use crate::core::session::{DeviceRight, Protocol};
use crate::ops::Hub;
use crate::ops::audit::record_done;
use crate::ops::authenticate::{Origin, Proof, ServiceRight, authenticate_device, authenticate_service, authenticate_service_for_any};
use crate::ops::policies::LastingRight;
use crate::ops::sign_in::sessions::Session;

/// What `mooring-hub` on a command line calls itself. Anybody may: it is said of what a policy's key has allowed, and allows nothing itself.
pub const COMMAND_LINE_AGENT: &str = "mooring-hub/";

/// Where a request comes from. Whoever accepts connections puts the other end's address into each request's extensions.
#[must_use]
pub fn origin(parts: &Parts) -> Origin {
    let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let peer = parts.extensions.get().map_or(unknown, |ConnectInfo(peer)| *peer);
    Origin { protocol: Protocol::Https, peer }
}

/// Somebody who may do what was asked for: with a policy's token, or signed in.
#[derive(Clone, Debug)]
pub struct Caller {
    address: IpAddr,
    door: Door,
    with: With,
}

/// What somebody has proven it with.
#[derive(Clone, Debug)]
enum With {
    Policy(ServiceRight),
    Session(Session),
}

impl Caller {
    /// Who, through which door, from where: for the audit.
    #[must_use]
    pub fn by(&self) -> By {
        By { principal: self.principal(), door: self.door, address: Some(self.address) }
    }

    /// Who: for places that somebody takes who stays.
    #[must_use]
    pub fn principal(&self) -> Principal {
        match &self.with {
            With::Policy(right) => Principal::Policy(right.policy.clone()),
            With::Session(session) => session.principal(),
        }
    }

    /// The policy's name, or the person's.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.with {
            With::Policy(right) => &right.policy,
            With::Session(session) => session.name(),
        }
    }

    /// Whether it may do this too, now.
    #[must_use]
    pub fn may(&self, hub: &Hub, need: Need) -> bool {
        match &self.with {
            With::Policy(right) => hub.policies.current().get(&right.policy).is_some_and(|policy| policy.allows(need.permission())),
            With::Session(session) => session.rights().have(need.right()),
        }
    }

    /// The right to go on with these things, for somebody who stays.
    #[must_use]
    pub fn lasting(&self, hub: &Hub, needs: &[Need]) -> LastingRight {
        match &self.with {
            With::Policy(right) => LastingRight::new(hub, right),
            With::Session(session) => LastingRight::of_session(hub, session, needs.iter().map(|need| need.right()).collect()),
        }
    }
}

/// Makes an extractor of a [`Caller`] who has what a [`Need`] asks for. They come before the body among a handler's arguments, so that no
/// stranger's body is read.
macro_rules! callers {
    ($( $(#[doc = $about:literal])+ $name:ident: $need:ident; )+) => { $(
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        pub struct $name(pub Caller);

        impl FromRequestParts<Arc<Hub>> for $name {
            type Rejection = Failure;

            async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Failure> {
                authorize(parts, hub, Need::$need).await.map(Self)
            }
        }
    )+ };
}

callers! {
    /// Somebody who may read identities.
    RegistryReader: SeeFleet;
    /// Somebody who may write identities.
    RegistryWriter: ChangeDevices;
    /// Somebody who may see commands, without their bodies.
    CommandReader: SeeCommands;
    /// Somebody who may read bodies.
    BodyReader: ReadBodies;
    /// Somebody who may send commands, and read what became of them.
    BackEnd: SendCommands;
    /// Somebody who may be shown keys.
    SecretsReader: SeeSecrets;
}

/// The device that the path's `id` names, or somebody who may speak for it.
#[derive(Debug)]
pub struct Device {
    /// What it proved.
    pub right: DeviceRight,
    /// Where it is.
    pub origin: Origin,
}

impl FromRequestParts<Arc<Hub>> for Device {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Failure> {
        let claimed = path_id(parts, hub).await;
        let (token, origin) = (token(&parts.headers, &parts.uri), origin(parts));
        let certificate = parts.extensions.get().and_then(HttpConnection::certificate);
        let proof = Proof { token: token.as_deref(), certificate: certificate.as_ref() };
        let right = authenticate_device(hub, &claimed, proof, origin).await?;
        tell_authenticated(parts);
        Ok(Self { right, origin })
    }
}

/// What the path has for its `id`. What is not UTF-8 is nobody's name, and is refused as that.
async fn path_id(parts: &mut Parts, hub: &Arc<Hub>) -> String {
    let path = RawPathParams::from_request_parts(parts, hub).await.ok();
    path.iter().flatten().find(|(name, _)| *name == "id").map_or_else(String::new, |(_, id)| id.to_owned())
}

/// Somebody who has what `need` asks for: by a token, or else, where sessions are good, by being signed in.
pub async fn authorize(parts: &mut Parts, hub: &Arc<Hub>, need: Need) -> Result<Caller, Failure> {
    let path = percent_decode_str(parts.uri.path()).decode_utf8_lossy().into_owned();
    authorize_for(parts, hub, need, &path).await
}

/// The same, with a token that has to be for `path` in this hub.
pub async fn authorize_for(parts: &mut Parts, hub: &Arc<Hub>, need: Need, path: &str) -> Result<Caller, Failure> {
    let token = token(&parts.headers, &parts.uri);
    let origin = origin(parts);
    if token.is_none()
        && let Some(session) = cookie::session(parts, hub)?
    {
        let caller = signed_in(parts, session, origin);
        if caller.may(hub, need) {
            return Ok(caller);
        }
        // Elsewhere it is a command's id.
        let of_device = parts.uri.path().starts_with("/api/v1/devices/");
        let device = if of_device { path_id(parts, hub).await } else { String::new() };
        return Err(refuse_right(hub, &caller, need, &device).await);
    }
    let right = authenticate_service(hub, token.as_deref(), need.permission(), path, origin).await?;
    Ok(with_policy(parts, right, origin))
}

/// Somebody who has at least one of `needs`, and which of them.
pub async fn authorize_any(parts: &Parts, hub: &Arc<Hub>, needs: &[Need]) -> Result<(Caller, Vec<Need>), Failure> {
    let token = token(&parts.headers, &parts.uri);
    let origin = origin(parts);
    let session = if token.is_none() { cookie::session(parts, hub)? } else { None };
    let caller = match session {
        Some(session) => signed_in(parts, session, origin),
        None => {
            let permissions: Vec<_> = needs.iter().map(|need| need.permission()).collect();
            let (right, _) = authenticate_service_for_any(hub, token.as_deref(), &permissions, parts.uri.path(), origin).await?;
            with_policy(parts, right, origin)
        }
    };
    let allowed: Vec<Need> = needs.iter().copied().filter(|need| caller.may(hub, *need)).collect();
    match (allowed.is_empty(), needs.first()) {
        (true, Some(need)) => Err(refuse_right(hub, &caller, *need, "").await),
        _ => Ok((caller, allowed)),
    }
}

fn signed_in(parts: &Parts, session: Session, origin: Origin) -> Caller {
    tell_authenticated(parts);
    Caller { address: origin.peer.ip(), door: Door::Dashboard, with: With::Session(session) }
}

fn with_policy(parts: &Parts, right: ServiceRight, origin: Origin) -> Caller {
    tell_authenticated(parts);
    let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let door = if agent.starts_with(COMMAND_LINE_AGENT) { Door::CommandLine } else { Door::Rest };
    Caller { address: origin.peer.ip(), door, with: With::Policy(right) }
}

/// Says which right is missing, which whoever is signed in may know, and writes down what she wanted to do.
pub async fn refuse_right(hub: &Arc<Hub>, caller: &Caller, need: Need, device: &str) -> Failure {
    let text = format!("{} needs the right {} for this", caller.name(), need.right());
    let action = match need {
        Need::SeeFleet | Need::SeeCommands => None,
        Need::ReadBodies => Some(AuditAction::BodiesRead),
        Need::SendCommands => Some(AuditAction::CommandSent),
        Need::ChangeDevices => Some(AuditAction::DeviceChanged),
        Need::SeeSecrets => Some(AuditAction::SecretsShown),
    };
    let by = caller.by();
    if let Some(action) = action.filter(|_| hub.sign_in.person_may_be_audited(&by.principal, hub.now())) {
        let deed = Deed::refused(action, text.as_str());
        record_done(hub, &by, if device.is_empty() { deed } else { deed.to(device) }).await;
    }
    Failure::new(StatusCode::FORBIDDEN, "MissingRight", text)
}

pub(super) fn tell_authenticated(parts: &Parts) {
    if let Some(connection) = parts.extensions.get::<HttpConnection>() {
        connection.authenticated();
    }
}

/// The token: the header `Authorization`, or else the query parameter of that name, as clients of 2015 and browsers' `EventSource` send it.
#[must_use]
pub fn token(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        return Some(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("authorization")).map(|(_, value)| value).next()?;
    // Forms write a space as `+`; a plus sign inside the token is percent-encoded twice by then.
    Some(percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_counts_more_than_the_query() {
        let uri: Uri = "/x?api-version=1&Authorization=SharedAccessSignature%20sr%3Dh%26sig%3Da%252Bb&z=1".parse().unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(token(&headers, &uri).as_deref(), Some("SharedAccessSignature sr=h&sig=a%2Bb"));
        headers.insert(header::AUTHORIZATION, "SharedAccessSignature sr=other".parse().unwrap());
        assert_eq!(token(&headers, &uri).as_deref(), Some("SharedAccessSignature sr=other"));
        assert_eq!(token(&HeaderMap::new(), &"/x".parse().unwrap()), None);
    }
}
