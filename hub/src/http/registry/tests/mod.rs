//! The registry over HTTP, on stores in memory: the rig. Each file tests one side of it.

use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, Request as HttpRequest, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::core::identity::{GenerationId, SymmetricKey};
use crate::core::session::{Credential, DeviceRight, DisconnectReason, KeyFingerprint};
use crate::core::time::UnixMillis;
use crate::http::router;
use crate::http::websocket::Subprotocols;
use crate::ops::open_session::open_session;
use crate::ops::world::BrokenRegistry;
use crate::ops::{Session, world};
use crate::store::memory::registry::MemoryRegistry;
use crate::store::{Registry, RegistryError};

mod bulk;
mod documents;
mod ownership;
mod requests;

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const OTHER_KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const MANIFEST: (&str, &str) = ("mooring-managed-by", "kubernetes/plant/pump/uid-1");

/// How Azure writes that something never was.
const NEVER: &str = "0001-01-01T00:00:00";

struct World {
    hub: Arc<Hub>,
    router: Router,
}

/// An answer: status, headers, and the body as JSON (`Null` when it is empty).
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl World {
    fn new() -> Self {
        Self::on(Arc::new(MemoryRegistry::default()))
    }

    fn on(registry: Arc<dyn Registry>) -> Self {
        let hub = world::World::on(registry).hub;
        Self { router: router::azure(Arc::clone(&hub), Subprotocols::default()), hub }
    }

    async fn send(&self, mut request: HttpRequest<Body>) -> Answer {
        request.headers_mut().insert("host", "hub.example".parse().unwrap());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// As iothubowner, with these headers and this body.
    async fn ask(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        self.send(request("iothubowner", method, uri, headers, body)).await
    }

    async fn put(&self, uri: &str, headers: &[(&str, &str)], document: &Value) -> Answer {
        self.ask("PUT", uri, headers, document.to_string()).await
    }

    async fn get(&self, uri: &str) -> Answer {
        self.ask("GET", uri, &[], Body::empty()).await
    }

    async fn delete(&self, uri: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("DELETE", uri, headers, Body::empty()).await
    }

    async fn bulk(&self, rows: &Value) -> Answer {
        self.ask("POST", "/devices?api-version=2021-04-12", &[], rows.to_string()).await
    }

    async fn connect(&self, answer: &Answer) -> Session {
        let [primary, _] = answer.keys();
        let right = DeviceRight {
            device_id: DeviceId::parse(answer.body["deviceId"].as_str().unwrap()).unwrap(),
            generation_id: GenerationId(answer.body["generationId"].as_str().unwrap().to_owned()),
            credential: Credential::DeviceKey(KeyFingerprint::of(&SymmetricKey::from_base64(&primary).unwrap())),
            good_until: UnixMillis(i64::MAX),
        };
        open_session(&self.hub, right, world::origin()).await.unwrap()
    }
}

impl Answer {
    fn expect(self, status: StatusCode) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// Also checks that header and body say the same.
    fn error(&self) -> &str {
        let code = self.headers["iothub-errorcode"].to_str().unwrap();
        assert!(self.body["Message"].as_str().unwrap().starts_with(&format!("ErrorCode:{code};")), "{}", self.body);
        code
    }

    fn etag(&self) -> String {
        let etag = self.body["etag"].as_str().unwrap();
        assert_eq!(self.headers["etag"], format!("\"{etag}\""));
        etag.to_owned()
    }

    fn keys(&self) -> [String; 2] {
        ["primaryKey", "secondaryKey"].map(|slot| self.body["authentication"]["symmetricKey"][slot].as_str().unwrap().to_owned())
    }

    /// The body with what is random put to a fixed text.
    fn golden(mut self) -> String {
        for (name, text) in [("generationId", "GENERATION"), ("etag", "ETAG")] {
            if let Some(value) = self.body.get_mut(name) {
                *value = text.into();
            }
        }
        if let Some(value) = self.body.get_mut("ExceptionMessage").filter(|value| *value != "") {
            let tracking_id = value.as_str().unwrap().strip_prefix("Tracking ID:").unwrap();
            assert_eq!(tracking_id.len(), 32);
            *value = "Tracking ID:ID".into();
        }
        serde_json::to_string_pretty(&self.body).unwrap()
    }
}

fn request(policy: &str, method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> HttpRequest<Body> {
    let token = world::policy_token("hub.example", policy);
    let builder = HttpRequest::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(uri);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.header("Authorization", token).body(body.into()).unwrap()
}

fn with_keys() -> Value {
    json!({ "deviceId": "D", "authentication": { "symmetricKey": { "primaryKey": KEY, "secondaryKey": OTHER_KEY }, "type": "sas" } })
}
