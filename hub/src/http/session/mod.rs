//! `/api/v1/session`: who is signed in, and how to sign in and out. docs/sign-in.md.

pub mod cookie;
pub mod openid;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::authorization::{origin, tell_authenticated};
use super::body;
use super::error::{ErrorDocument, Failure};
use crate::core::principal::SignInMethod;
use crate::ops::Hub;
use crate::ops::sign_in::kubernetes::TOKEN_MAX_BYTES;
use crate::ops::sign_in::sessions::Session;
use crate::ops::sign_in::{Credentials, SignInRefused, sign_in, sign_out};

/// The largest body: a token, and some words around it.
const BODY_MAX_BYTES: usize = TOKEN_MAX_BYTES + 4 * 1024;

/// When to come again if something that signing in needs does not answer.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Who is signed in, and how to.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionDocument {
    /// Whether the request was made in a session.
    signed_in: bool,
    /// Who that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// How it was proven: `link`, `password`, `kubernetes` or `openid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'static str>,
    /// Of `Read`, `Bodies`, `Commands`, `Devices` and `Secrets`, those that the person has.
    rights: Vec<&'static str>,
    /// What a request that changes something has to have in its header `mooring-csrf`.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf: Option<String>,
    /// When the session began.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    began_time: Option<String>,
    /// When it ends at the latest.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_time: Option<String>,
    /// How people can sign in here.
    methods: Vec<MethodDocument>,
}

/// A way to sign in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MethodDocument {
    /// `link`, `password` or `kubernetes`: what the body of a POST says as `method`; or `openid`.
    method: &'static str,
    /// Of `openid`: where a browser goes instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<&'static str>,
    /// Of `openid`: who knows people.
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    /// Of `kubernetes`: the command that makes a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
}

/// What somebody brings. No `Debug`: there are secrets in it.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "method", rename_all = "camelCase", deny_unknown_fields)]
pub enum CredentialsDocument {
    /// By the link that `mooring-hub dev` prints.
    Link {
        /// What is behind `#` in it, without `link=`.
        #[schema(value_type = String)]
        code: SecretString,
    },
    /// By name and password.
    Password {
        /// The name.
        name: String,
        /// The password.
        #[schema(value_type = String)]
        password: SecretString,
    },
    /// By a token of the cluster, made for this hub.
    Kubernetes {
        /// The token.
        #[schema(value_type = String)]
        token: SecretString,
    },
}

impl From<CredentialsDocument> for Credentials {
    fn from(document: CredentialsDocument) -> Self {
        match document {
            CredentialsDocument::Link { code } => Self::Link(code),
            CredentialsDocument::Password { name, password } => Self::Password { name, password },
            CredentialsDocument::Kubernetes { token } => Self::Kubernetes(token),
        }
    }
}

impl SessionDocument {
    fn of(hub: &Hub, session: Option<&Session>) -> Self {
        let (cluster, issuer) = (hub.sign_in.cluster.get(), hub.sign_in.openid.get());
        let methods = hub.sign_in.methods(hub.now()).into_iter().map(|method| MethodDocument {
            method: method.name(),
            command: cluster.filter(|_| method == SignInMethod::Kubernetes).map(|cluster| cluster.command()),
            start: (method == SignInMethod::OpenId).then_some(openid::START),
            issuer: issuer.filter(|_| method == SignInMethod::OpenId).map(|door| door.issuer().to_owned()),
        });
        Self {
            signed_in: session.is_some(),
            name: session.map(|session| session.name().to_owned()),
            method: session.map(|session| session.method().name()),
            rights: session.map(|session| session.rights().iter().map(|right| right.name()).collect()).unwrap_or_default(),
            csrf: session.map(|session| session.csrf().to_owned()),
            began_time: session.map(|session| session.began().to_string()),
            expiry_time: session.map(|session| session.ends().to_string()),
            methods: methods.collect(),
        }
    }
}

/// The session that a request is made in, if it is made in one.
#[derive(Debug)]
pub struct Asking(Option<Session>);

impl FromRequestParts<Arc<Hub>> for Asking {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Failure> {
        match cookie::session(parts, hub) {
            Ok(session) => {
                session.iter().for_each(|_| tell_authenticated(parts));
                Ok(Self(session))
            }
            // Whoever asks whether she is signed in gets an answer.
            Err(failure) if failure.status() == StatusCode::UNAUTHORIZED => Ok(Self(None)),
            Err(failure) => Err(failure),
        }
    }
}

/// Handles `GET /api/v1/session`: who is signed in, and how to sign in here. Needs neither a token nor a session.
#[utoipa::path(
    get,
    path = "/api/v1/session",
    operation_id = "get_session",
    tag = "session",
    security(()),
    responses(
        (status = 200, description = "Who is signed in, if anybody is.", body = SessionDocument),
        (status = 403, description = "OtherOrigin: with a session's cookie, from another page.", body = ErrorDocument),
    ),
)]
pub async fn get(State(hub): State<Arc<Hub>>, Asking(session): Asking) -> Response {
    with_no_store(body::json(StatusCode::OK, &SessionDocument::of(&hub, session.as_ref())))
}

/// Handles `POST /api/v1/session`: signs somebody in. A session that the same browser had ends.
#[utoipa::path(
    post,
    path = "/api/v1/session",
    operation_id = "sign_in",
    tag = "session",
    security(()),
    request_body = CredentialsDocument,
    responses(
        (
            status = 201,
            description = "Signed in.",
            body = SessionDocument,
            headers(("Set-Cookie" = String, description = "The session.")),
        ),
        (status = 400, description = "ArgumentInvalid: the body is no such document.", body = ErrorDocument),
        (status = 403, description = "SignInRefused: the text says as much as may be known. OtherOrigin: from another page.", body = ErrorDocument),
        (status = 429, description = "ThrottlingException: too many attempts; the header Retry-After says when to come again.", body = ErrorDocument),
        (status = 503, description = "ServiceUnavailable: not now.", body = ErrorDocument),
    ),
)]
pub async fn post(State(hub): State<Arc<Hub>>, request: axum::extract::Request) -> Result<Response, Failure> {
    let (parts, request_body) = request.into_parts();
    // A page of somebody else's must not sign anybody in either, as its own author, say. What is no browser has no origin.
    if parts.headers.contains_key(header::ORIGIN) || cookie::secret(&parts.headers).is_some() {
        cookie::comes_from_our_page(&parts)?;
    }
    // Forms of other pages can't have this type.
    let is_json = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !is_json {
        return Err(Failure::argument_invalid("the body is JSON, with the header Content-Type: application/json"));
    }
    let bytes = body::read(request_body, BODY_MAX_BYTES).await?;
    // What serde says of it could quote a secret.
    let document: CredentialsDocument = serde_json::from_slice(&bytes).map_err(|_| {
        Failure::argument_invalid(
            "the body is {\"method\":\"link\",\"code\":…}, or password with name and password, or kubernetes with token",
        )
    })?;
    let former = cookie::secret(&parts.headers);
    let (session, secret) = sign_in(&hub, document.into(), origin(&parts).peer.ip(), former).await?;
    tell_authenticated(&parts);
    let mut response = body::json(StatusCode::CREATED, &SessionDocument::of(&hub, Some(&session)));
    response.headers_mut().insert(header::SET_COOKIE, cookie::set(&secret));
    Ok(with_no_store(response))
}

/// Handles `DELETE /api/v1/session`: signs out. What is open on the session ends.
#[utoipa::path(
    delete,
    path = "/api/v1/session",
    operation_id = "sign_out",
    tag = "session",
    security(()),
    responses(
        (status = 204, description = "Signed out, or was not signed in."),
        (status = 403, description = "OtherOrigin: from another page. MissingCsrf: without the header mooring-csrf.", body = ErrorDocument),
    ),
)]
pub async fn delete(State(hub): State<Arc<Hub>>, Asking(session): Asking, parts: Parts) -> Response {
    if let Some(session) = session {
        sign_out(&hub, &session, origin(&parts).peer.ip()).await;
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::SET_COOKIE, cookie::GONE);
    (StatusCode::NO_CONTENT, headers, Body::empty()).into_response()
}

fn with_no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl From<SignInRefused> for Failure {
    fn from(refused: SignInRefused) -> Self {
        let text = refused.to_string();
        match refused {
            SignInRefused::TooOften(wait) => Self::throttled(text, wait),
            SignInRefused::Link | SignInRefused::Password | SignInRefused::Explained(_) | SignInRefused::NoRights(_) => {
                Self::new(StatusCode::FORBIDDEN, "SignInRefused", text)
            }
            SignInRefused::Unavailable(_) => Self::unavailable(text, RETRY_AFTER),
        }
    }
}

#[cfg(test)]
mod tests;
