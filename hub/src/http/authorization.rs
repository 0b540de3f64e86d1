//! Where a request carries its token and where it comes from; the extractors that let in back ends, by permission, and devices.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use percent_encoding::percent_decode_str;

use super::connection::HttpConnection;
use super::error::Failure;
use crate::core::policy::Permission;
use crate::core::session::{DeviceRight, Protocol};
use crate::ops::Hub;
use crate::ops::authenticate::{Origin, Proof, authenticate_device, authenticate_service};

/// Where a request comes from. Whoever accepts connections puts the other end's address into each request's extensions.
#[must_use]
pub fn origin(parts: &Parts) -> Origin {
    let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let peer = parts.extensions.get().map_or(unknown, |ConnectInfo(peer)| *peer);
    Origin { protocol: Protocol::Https, peer }
}

/// Somebody who may read identities. Comes before the body among a handler's arguments, so that no stranger's body is read.
#[derive(Debug)]
pub struct RegistryReader;

/// Somebody who may write identities.
#[derive(Debug)]
pub struct RegistryWriter {
    /// Their policy.
    pub policy: String,
}

/// Somebody who may send commands, and read what became of them.
#[derive(Debug)]
pub struct BackEnd {
    /// Their policy.
    pub policy: String,
}

/// The device that the path's `id` names, or somebody who may speak for it.
#[derive(Debug)]
pub struct Device {
    /// What it proved.
    pub right: DeviceRight,
    /// Where it is.
    pub origin: Origin,
}

impl FromRequestParts<Arc<Hub>> for RegistryReader {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Failure> {
        authorize(parts, hub, Permission::RegistryRead).await.map(|_| Self)
    }
}

impl FromRequestParts<Arc<Hub>> for RegistryWriter {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Failure> {
        authorize(parts, hub, Permission::RegistryWrite).await.map(|policy| Self { policy })
    }
}

impl FromRequestParts<Arc<Hub>> for BackEnd {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Failure> {
        authorize(parts, hub, Permission::ServiceConnect).await.map(|policy| Self { policy })
    }
}

impl FromRequestParts<Arc<Hub>> for Device {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Failure> {
        // What is not UTF-8 is nobody's name, and is refused as that.
        let path = RawPathParams::from_request_parts(parts, hub).await.ok();
        let claimed = path.iter().flatten().find(|(name, _)| *name == "id").map_or_else(String::new, |(_, id)| id.to_owned());
        let (token, origin) = (token(&parts.headers, &parts.uri), origin(parts));
        let certificate = parts.extensions.get().and_then(HttpConnection::certificate);
        let proof = Proof { token: token.as_deref(), certificate: certificate.as_ref() };
        let right = authenticate_device(hub, &claimed, proof, origin).await?;
        tell_authenticated(parts);
        Ok(Self { right, origin })
    }
}

/// The policy that lets the request in.
async fn authorize(parts: &Parts, hub: &Hub, permission: Permission) -> Result<String, Failure> {
    let token = token(&parts.headers, &parts.uri);
    let path = percent_decode_str(parts.uri.path()).decode_utf8_lossy();
    let policy = authenticate_service(hub, token.as_deref(), permission, &path, origin(parts)).await?.policy;
    tell_authenticated(parts);
    Ok(policy)
}

fn tell_authenticated(parts: &Parts) {
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
