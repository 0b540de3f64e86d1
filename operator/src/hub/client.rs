//! Requests to one hub's REST API: typed, each with an end in time, signed.
//!
//! Connections go to the address that the endpoint names, under the hub's name; the name is never looked up, and a certificate that is
//! not for it, or that none of the hub's roots stands behind, is refused.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderValue, IF_MATCH};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::identity::{Identity, ManagedBy};
use super::token::{InvalidKey, Signer};
use super::{Endpoint, HubInfo, Instruments, roots};

/// How long it may take until there is a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request may take, connection and answer included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Connections kept without anything to do.
const IDLE_CONNECTIONS_MAX: usize = 16;

/// The largest answer: a hundred identities with tags of 8 KiB, generously escaped.
const ANSWER_MAX_BYTES: usize = 4 * 1024 * 1024;

/// The API's version that is asked for.
const API_VERSION: &str = "2021-04-12";

/// What ids in paths leave as it is.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A hub did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HubError {
    /// There is no way to speak to it.
    #[error("the hub can't be spoken to: {0}")]
    Endpoint(String),
    /// Nothing came back, or not in time.
    #[error("the hub can't be reached: {0}")]
    Unreachable(String),
    /// What came back is no answer.
    #[error("the hub's answer can't be read: {0}")]
    Unreadable(String),
    /// It said no.
    #[error("the hub says {code}: {text}")]
    Refused {
        /// The answer's status; 0 for a row of a bulk request.
        status: u16,
        /// Azure's word.
        code: String,
        /// A sentence.
        text: String,
    },
    /// More waits for the hub than is kept.
    #[error("too many changes wait for the hub; it is tried again")]
    Busy,
}

impl HubError {
    /// Whether the same may go well later without anybody's doing.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Busy => true,
            Self::Endpoint(_) | Self::Unreadable(_) => false,
            Self::Refused { status, code, .. } => {
                *status >= 500
                    || matches!(*status, 401 | 408 | 429)
                    || matches!(code.as_str(), "ServiceUnavailable" | "ThrottlingException")
            }
        }
    }

    /// Whether what was looked at has changed meanwhile: look again.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if matches!(code.as_str(), "PreconditionFailed" | "DeviceNotFound" | "DeviceAlreadyExists"))
    }
}

/// In whose name a request comes.
#[derive(Clone, Copy, Debug)]
pub enum Author<'a> {
    /// Nobody's manifest: a disable is a hold.
    Operator,
    /// A Device's.
    Device(&'a ManagedBy),
}

/// What becomes of who manages an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It stays.
    Keep,
    /// Nobody does any more.
    Release,
}

/// A client of one hub.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    signer: Signer,
    instruments: Instruments,
}

/// What a request is for, as metrics name it.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Info,
    Read,
    Change,
    Delete,
    Bulk,
    Follow,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Read => "read",
            Self::Change => "change",
            Self::Delete => "delete",
            Self::Bulk => "bulk",
            Self::Follow => "follow",
        }
    }
}

impl Client {
    /// With connections of its own. Connects to nothing yet.
    pub fn new(endpoint: &Endpoint, instruments: &Instruments) -> Result<Self, HubError> {
        let tls = roots::client_config(&endpoint.roots_pem).map_err(|error| HubError::Endpoint(error.to_string()))?;
        let http = reqwest::Client::builder()
            .use_preconfigured_tls(tls)
            .https_only(true)
            // Over one HTTP/2 connection whatever is slow would stand before whatever is urgent.
            .http1_only()
            .no_proxy()
            .resolve(&endpoint.host_name, endpoint.address);
        Self::with(http, format!("https://{}:{}", endpoint.host_name, endpoint.address.port()), endpoint, instruments)
    }

    /// Without TLS, to a hub that a test plays.
    #[cfg(test)]
    pub fn plain(endpoint: &Endpoint, instruments: &Instruments) -> Result<Self, HubError> {
        let http = reqwest::Client::builder().no_proxy().http1_only();
        Self::with(http, format!("http://{}", endpoint.address), endpoint, instruments)
    }

    fn with(http: reqwest::ClientBuilder, base: String, endpoint: &Endpoint, instruments: &Instruments) -> Result<Self, HubError> {
        let unusable = |error: &dyn std::error::Error| HubError::Endpoint(error.to_string());
        let http = http
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .tcp_keepalive(Duration::from_secs(15))
            .user_agent(concat!("mooring-operator/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| unusable(&error))?;
        let signer = Signer::new(&endpoint.host_name, &endpoint.policy, &endpoint.key).map_err(|error: InvalidKey| unusable(&error))?;
        Ok(Self { http, base, signer, instruments: instruments.clone() })
    }

    /// What the hub says about itself.
    pub async fn info(&self) -> Result<HubInfo, HubError> {
        self.ask(Operation::Info, self.request(Method::GET, "/api/v1/hub")).await
    }

    /// An identity, with its keys; `None` when there is none.
    pub async fn identity(&self, device_id: &str) -> Result<Option<Identity>, HubError> {
        match self.ask(Operation::Read, self.request(Method::GET, &device_path(device_id))).await {
            Ok(identity) => Ok(Some(identity)),
            Err(HubError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes an identity that is there; `None` when there is none.
    pub async fn change(
        &self,
        device_id: &str,
        settings: &Value,
        author: Author<'_>,
        ownership: Ownership,
        etag: Option<&str>,
    ) -> Result<Option<Identity>, HubError> {
        let mut body = settings.clone();
        body["deviceId"] = device_id.into();
        let mut request =
            signed_by(self.request(Method::PUT, &device_path(device_id)), author).header(IF_MATCH, if_match(etag)).json(&body);
        if ownership == Ownership::Release {
            request = request.header("mooring-ownership", "release");
        }
        match self.ask(Operation::Change, request).await {
            Ok(identity) => Ok(Some(identity)),
            Err(HubError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes an identity. The hub keeps one that is held, as nobody's. One that is not there is removed already.
    pub async fn delete(&self, device_id: &str, author: Author<'_>) -> Result<(), HubError> {
        let request = signed_by(self.request(Method::DELETE, &device_path(device_id)), author).header(IF_MATCH, if_match(None));
        match self.send(Operation::Delete, request.timeout(REQUEST_TIMEOUT)).await {
            Ok(_) | Err(HubError::Refused { status: 404, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Up to a hundred rows at once. An answer comes also when none of them was done.
    pub async fn bulk(&self, rows: &[Value]) -> Result<BulkAnswer, HubError> {
        let request = self.request(Method::POST, "/devices").header("Prefer", "return=representation").json(rows);
        let response = self.answer(Operation::Bulk, request.timeout(REQUEST_TIMEOUT)).await?;
        let status = response.status();
        let body = body(response).await?;
        // 400 is also the answer when some rows were not done; then its body is this document, and otherwise it is an error.
        match serde_json::from_slice(&body) {
            Ok(answer) if status == StatusCode::OK || status == StatusCode::BAD_REQUEST => Ok(answer),
            _ => Err(refused(status, &body)),
        }
    }

    /// The change stream, from behind a position, or from how things stand. Whoever reads it keeps its time.
    pub async fn changes(&self, from: Option<&str>) -> Result<Response, HubError> {
        let request = self.request(Method::GET, "/api/v1/changes").query(&[("kinds", "registry,presence")]);
        let request = if let Some(from) = from { request.query(&[("from", from)]) } else { request };
        self.send(Operation::Follow, request).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let token = self.signer.token((self.instruments.clock)());
        let mut token = HeaderValue::from_str(token.expose_secret()).expect("a token is percent-encoded");
        token.set_sensitive(true);
        self.http.request(method, format!("{}{path}", self.base)).query(&[("api-version", API_VERSION)]).header(AUTHORIZATION, token)
    }

    async fn ask<T: DeserializeOwned>(&self, operation: Operation, request: RequestBuilder) -> Result<T, HubError> {
        let response = self.send(operation, request.timeout(REQUEST_TIMEOUT)).await?;
        // The text of a serde error may quote what it found, and that may be a key.
        serde_json::from_slice(&body(response).await?).map_err(|error| {
            HubError::Unreadable(format!("it is no document of this kind (line {}, column {})", error.line(), error.column()))
        })
    }

    /// The answer to a request that went well.
    async fn send(&self, operation: Operation, request: RequestBuilder) -> Result<Response, HubError> {
        let response = self.answer(operation, request).await?;
        let status = response.status();
        if status.is_success() { Ok(response) } else { Err(refused(status, &body(response).await?)) }
    }

    /// The answer, whatever it is; every request comes by here, and is counted.
    async fn answer(&self, operation: Operation, request: RequestBuilder) -> Result<Response, HubError> {
        let answer = request.send().await.map_err(unreachable);
        let result = match &answer {
            Ok(answer) if answer.status().is_success() => "done",
            Ok(answer) if answer.status() == StatusCode::NOT_FOUND => "absent",
            Ok(_) => "refused",
            Err(_) => "unreachable",
        };
        self.instruments.metrics.hub_requested(operation.name(), result);
        answer
    }
}

/// What became of the rows of a bulk request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkAnswer {
    /// Whether all were done.
    pub is_successful: bool,
    /// Those that were not.
    #[serde(default)]
    pub errors: Vec<RowError>,
    /// The identities of those that were, as they are now.
    #[serde(default)]
    pub devices: Vec<Identity>,
}

/// A row that was not done.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RowError {
    /// Whose.
    pub device_id: String,
    /// Azure's word.
    pub error_code: String,
    /// A sentence.
    #[serde(default)]
    pub error_status: String,
}

fn device_path(device_id: &str) -> String {
    format!("/devices/{}", utf8_percent_encode(device_id, IN_PATH))
}

fn if_match(etag: Option<&str>) -> String {
    etag.map_or_else(|| "*".to_owned(), |etag| format!("\"{etag}\""))
}

fn signed_by(request: RequestBuilder, author: Author<'_>) -> RequestBuilder {
    match author {
        Author::Operator => request,
        Author::Device(device) => request.header("mooring-managed-by", managed_by(device)),
    }
}

/// How a Device says that a request is its own.
#[must_use]
pub fn managed_by(device: &ManagedBy) -> String {
    format!("kubernetes/{}/{}/{}", device.namespace, device.name, device.uid)
}

async fn body(mut response: Response) -> Result<Vec<u8>, HubError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            return Err(HubError::Unreadable(format!("it is longer than {ANSWER_MAX_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost reason says most: "connection refused", not "error sending request".
#[expect(clippy::needless_pass_by_value, reason = "what map_err hands over")]
fn unreachable(error: reqwest::Error) -> HubError {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    HubError::Unreachable(cause.to_string())
}

/// `{"Message":"ErrorCode:<code>;<text>"}`.
fn refused(status: StatusCode, body: &[u8]) -> HubError {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = document["Message"].as_str().unwrap_or_default();
    let (code, text) = message.strip_prefix("ErrorCode:").and_then(|rest| rest.split_once(';')).unwrap_or(("", message));
    let code = if code.is_empty() { status.to_string() } else { code.to_owned() };
    HubError::Refused { status: status.as_u16(), code, text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_taken_apart_and_judged() {
        let error = refused(StatusCode::CONFLICT, br#"{"Message":"ErrorCode:DeviceAlreadyExists;there is one","ExceptionMessage":""}"#);
        assert_eq!(error.to_string(), "the hub says DeviceAlreadyExists: there is one");
        assert!(error.is_outdated() && !error.is_transient());
        assert!(refused(StatusCode::BAD_GATEWAY, b"<html>").is_transient(), "somebody in between");
        assert!(refused(StatusCode::UNAUTHORIZED, b"").is_transient(), "the key has changed, and the link will");
        assert!(!refused(StatusCode::BAD_REQUEST, br#"{"Message":"ErrorCode:ArgumentInvalid;tags"}"#).is_transient());
    }

    #[test]
    fn ids_are_encoded_in_paths() {
        assert_eq!(device_path("a/b#c%?"), "/devices/a%2Fb%23c%25%3F");
    }
}
