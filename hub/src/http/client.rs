//! A client of both ports of a hub on stores in memory, for tests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::router;
use super::websocket::Subprotocols;
use crate::ops::world::{World, device_token, policy_token};

/// The hub, and the ways to it.
pub struct Client {
    pub world: World,
    azure: Router,
    api: Router,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Client {
    /// Of a hub with the device `D`, whose clock goes with tokio's.
    pub async fn new() -> Self {
        let world = World::with_device("D").await;
        let clock = Arc::clone(&world.clock);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                clock.0.fetch_add(10, Ordering::Relaxed);
            }
        });
        let azure = router::azure(Arc::clone(&world.hub), Subprotocols::default());
        Self { azure, api: router::api(Arc::clone(&world.hub)), world }
    }

    /// As the device `D`, on port 443.
    pub async fn device(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        ask(&self.azure, &device_token("D", 1), method, target, headers, Body::empty()).await
    }

    /// As the device `D`: what waits for it.
    pub async fn receive(&self) -> Answer {
        self.device("GET", "/devices/D/messages/deviceBound?api-version=2021-04-12", &[]).await
    }

    /// As the policy `service`, on port 8443.
    pub async fn service(&self, method: &str, target: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        self.policy("service", method, target, headers, body).await
    }

    /// As any policy, on port 8443.
    pub async fn policy(&self, policy: &str, method: &str, target: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        ask(&self.api, &policy_token("hub.example", policy), method, target, headers, body.into()).await
    }

    /// Sends `D` a command, and says its id.
    pub async fn send(&self, headers: &[(&str, &str)], body: impl Into<Body>) -> String {
        let answer = self.service("POST", "/api/v1/devices/D/commands", headers, body).await.expect(201);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// What our own API says at this address.
    pub async fn get(&self, target: &str) -> Value {
        self.service("GET", target, &[], Body::empty()).await.expect(200).json()
    }
}

async fn ask(router: &Router, token: &str, method: &str, target: &str, headers: &[(&str, &str)], body: Body) -> Answer {
    let mut request = Request::builder().method(method).uri(target).header("host", "hub.example").header("authorization", token);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(body).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4711))));
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
}

impl Answer {
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// That it is an error of Azure's with this code, whose text has these words.
    pub fn refused(&self, status: u16, code: &str, words: &str) {
        assert_eq!((self.status.as_u16(), self.header("iothub-errorcode")), (status, code), "{}", String::from_utf8_lossy(&self.body));
        let message = self.json()["Message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(&format!("ErrorCode:{code};")) && message.contains(words), "{message}");
    }

    /// Empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| str::from_utf8(value.as_bytes()).unwrap())
    }

    /// Without its quotes, as Node takes it.
    pub fn lock_token(&self) -> &str {
        self.header("etag").strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).expect("a lock token is quoted")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
