//! The registry's REST API and the device API, as any HTTP client sees them.

use anyhow::{Context, Result, ensure};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::connection_string::ConnectionString;
use crate::hub::Ready;
use crate::patience::within;
use crate::tls;

/// What api-version every call names.
const API_VERSION: &str = "2021-04-12";

/// A client of one hub with one credential.
#[derive(Clone)]
pub struct Rest {
    client: Client,
    base: String,
    credential: ConnectionString,
}

/// An answer, whatever it says.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is something else.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// A header's text; empty when it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The same answer, when its status is the expected one.
    ///
    /// # Errors
    /// When it is another one.
    pub fn expect(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "{} instead of {status}: {}", self.status, String::from_utf8_lossy(&self.body));
        Ok(self)
    }
}

/// An HTTP client that trusts the hub's CA.
///
/// # Errors
/// When there is no CA.
pub fn client(hub: &Ready) -> Result<Client> {
    let config = tls::trusting(hub.ca_file())?;
    Client::builder().use_preconfigured_tls(config).no_proxy().build().context("no HTTP client")
}

impl Rest {
    /// With a credential of the story's choice.
    ///
    /// # Errors
    /// When there is no CA.
    pub fn new(hub: &Ready, credential: ConnectionString) -> Result<Self> {
        let base = hub.endpoints.https.clone().unwrap_or_else(|| hub.endpoints.api.clone());
        Ok(Self { client: client(hub)?, base, credential })
    }

    /// The same on the port of the hub's own API.
    ///
    /// # Errors
    /// When there is no CA.
    pub fn api(hub: &Ready, credential: ConnectionString) -> Result<Self> {
        Ok(Self { client: client(hub)?, base: hub.endpoints.api.clone(), credential })
    }

    /// As the owner of the hub.
    ///
    /// # Errors
    /// When the hub has no owner's policy.
    pub fn owner(hub: &Ready) -> Result<Self> {
        Self::new(hub, hub.policy("iothubowner")?)
    }

    /// Sends a request with the credential's token, and headers and body of the story's choice.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Answer> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let url = format!("{}{path}{separator}api-version={API_VERSION}", self.base);
        let mut request = self.client.request(method.clone(), url).header("Authorization", self.credential.token()).body(body);
        for (name, value) in headers {
            // Values are UTF-8, which reqwest's own conversion would not take.
            request = request.header(*name, HeaderValue::from_bytes(value.as_bytes())?);
        }
        let what = format!("the answer to {method} {path}");
        let response = within(&what, request.send()).await?.with_context(|| what.clone())?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = within(&what, response.bytes()).await??.to_vec();
        Ok(Answer { status, headers, body })
    }

    /// Sends telemetry as the device whose credential this is.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn send(&self, body: &[u8]) -> Result<Answer> {
        let path = format!("/devices/{}/messages/events", self.credential.device());
        self.call(Method::POST, &path, &[], body.to_vec()).await
    }

    /// Reads an identity.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn device(&self, id: &str) -> Result<Value> {
        self.call(Method::GET, &format!("/devices/{id}"), &[], Vec::new()).await?.expect(200)?.json()
    }

    /// Changes an identity: reads it, lets `change` work on it, and writes it whatever its ETag is.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn change(&self, id: &str, change: impl FnOnce(&mut Value)) -> Result<Value> {
        let mut identity = self.device(id).await?;
        change(&mut identity);
        let headers = [("If-Match", "\"*\""), ("Content-Type", "application/json; charset=utf-8")];
        self.call(Method::PUT, &format!("/devices/{id}"), &headers, identity.to_string().into_bytes()).await?.expect(200)?.json()
    }

    /// Shuts a device out.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn disable(&self, id: &str) -> Result<Value> {
        self.change(id, |identity| identity["status"] = json!("disabled")).await
    }
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rest").field("base", &self.base).finish_non_exhaustive()
    }
}

/// JSON bytes for a request's body.
#[must_use]
pub fn json_body(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}
