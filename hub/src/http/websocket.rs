//! HTTP ends, and what the client asked for begins, on the same connection (RFC 6455 §4.2): `GET /$iothub/websocket`,
//! `/$servicebus/websocket`, and the change stream.
//!
//! Owns the handshake. Never speaks what follows: `serve` says who does.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequestParts as _, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::BoxFuture;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::authorization::origin;
use super::connection::HttpConnection;
use super::error::Failure;

/// A connection that HTTP has left, where it comes from, and how to say that somebody has authenticated on it.
pub type Speak = dyn Fn(TokioIo<Upgraded>, SocketAddr, HttpConnection) -> BoxFuture<'static, ()> + Send + Sync;

/// What clients can ask for, by its name in `Sec-WebSocket-Protocol`.
#[derive(Clone, Default)]
pub struct Subprotocols(Vec<(&'static str, Arc<Speak>)>);

impl Subprotocols {
    /// With one more; the first that a client asks for is taken.
    #[must_use]
    pub fn with(mut self, name: &'static str, speak: Arc<Speak>) -> Self {
        self.0.push((name, speak));
        self
    }

    /// The first of the client's choices that there is. Names are compared with case, as RFC 6455 has it.
    fn choose(&self, headers: &HeaderMap) -> Option<&(&'static str, Arc<Speak>)> {
        let wanted = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
        wanted.flat_map(|names| names.split(',')).find_map(|name| self.0.iter().find(|(known, _)| *known == name.trim()))
    }
}

impl fmt::Debug for Subprotocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Handles `GET /$iothub/websocket` and `/$servicebus/websocket`.
pub async fn upgrade(Extension(subprotocols): Extension<Subprotocols>, request: Request) -> Result<Response, Failure> {
    let (mut parts, _) = request.into_parts();
    let handshake = handshake(&mut parts)?;
    let (name, speak) = subprotocols.choose(&parts.headers).ok_or_else(|| {
        let text = format!("Sec-WebSocket-Protocol has to name one of {subprotocols:?}");
        Failure::new(StatusCode::BAD_REQUEST, "InvalidProtocolVersion", text)
    })?;
    let peer = origin(&parts).peer;
    let Ok(connection) = HttpConnection::from_request_parts(&mut parts, &()).await;
    let (speak, told) = (Arc::clone(speak), connection.clone());
    let mut switching = handshake.go_on_with(&connection, move |upgraded| speak(upgraded, peer, told));
    switching.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    Ok(switching)
}

/// A client that has asked for a WebSocket in good form.
pub struct Handshake {
    accept: String,
    upgrading: OnUpgrade,
    peer: SocketAddr,
}

/// What a client has to say that wants a WebSocket.
pub fn handshake(parts: &mut Parts) -> Result<Handshake, Failure> {
    let accept = accept_key(&parts.headers)?;
    let mut request = Request::new(axum::body::Body::empty());
    std::mem::swap(request.extensions_mut(), &mut parts.extensions);
    let upgrading = hyper::upgrade::on(&mut request);
    std::mem::swap(request.extensions_mut(), &mut parts.extensions);
    Ok(Handshake { accept, upgrading, peer: origin(parts).peer })
}

impl Handshake {
    /// The answer, after which the connection does what `speak` does with it.
    pub fn go_on_with<F>(self, connection: &HttpConnection, speak: impl FnOnce(TokioIo<Upgraded>) -> F + Send + 'static) -> Response
    where
        F: Future<Output = ()> + Send,
    {
        let Self { accept, upgrading, peer } = self;
        connection.go_on_with(Box::pin(async move {
            match upgrading.await {
                Ok(upgraded) => speak(TokioIo::new(upgraded)).await,
                Err(error) => tracing::debug!(%peer, %error, "{peer} went away during its upgrade: {error}"),
            }
        }));
        let headers = [(header::CONNECTION, "Upgrade"), (header::UPGRADE, "websocket"), (header::SEC_WEBSOCKET_ACCEPT, accept.as_str())];
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }
}

/// The answer to the client's key, when it asks for a WebSocket at all.
fn accept_key(headers: &HeaderMap) -> Result<String, Failure> {
    let names = |name: HeaderName, word: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
    };
    if !names(header::CONNECTION, "upgrade") || !names(header::UPGRADE, "websocket") {
        return Err(Failure::new(StatusCode::UPGRADE_REQUIRED, "InvalidOperation", "this is a WebSocket's address, over HTTP/1.1"));
    }
    if !names(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Failure::new(StatusCode::BAD_REQUEST, "InvalidProtocolVersion", "Sec-WebSocket-Version has to be 13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(|| Failure::argument_invalid("Sec-WebSocket-Key is missing"))?;
    Ok(derive_accept_key(key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(changes: &[(&'static str, Option<&str>)]) -> Request {
        // RFC 6455 §1.3.
        let mut headers = vec![
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "AMQPWSB10, mqtt"),
        ];
        for (name, value) in changes {
            headers.retain(|(known, _)| known != name);
            headers.extend(value.map(|value| (*name, value)));
        }
        headers.into_iter().fold(Request::builder(), |builder, (name, value)| builder.header(name, value)).body(Body::empty()).unwrap()
    }

    async fn answer(request: Request) -> Result<Response, Failure> {
        let subprotocols = Subprotocols::default().with("mqtt", Arc::new(|_, _, _| Box::pin(async {})));
        upgrade(Extension(subprotocols), request).await
    }

    #[tokio::test]
    async fn the_handshake_is_the_one_of_the_rfc() {
        let mut request = request(&[]);
        let connection = HttpConnection::default();
        request.extensions_mut().insert(connection.clone());
        let response = answer(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
        assert!(connection.sequel().is_some());
    }

    #[tokio::test]
    async fn what_is_no_handshake_is_refused() {
        for (changes, status) in [
            (("connection", Some("close")), 426),
            (("upgrade", None), 426),
            (("sec-websocket-version", Some("8")), 400),
            (("sec-websocket-key", None), 400),
            (("sec-websocket-protocol", Some("AMQPWSB10")), 400),
            (("sec-websocket-protocol", None), 400),
        ] {
            let refused = answer(request(&[changes])).await.unwrap_err().into_response();
            assert_eq!(refused.status().as_u16(), status, "{changes:?}");
        }
    }
}
