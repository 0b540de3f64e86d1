//! Sessions over the router: who gets in, what a session is good for, and what no other page can do with it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::ConnectInfo;
use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::core::access::{Right, Rights};
use crate::core::principal::SignInMethod;
use crate::http::router;
use crate::http::websocket::Subprotocols;
use crate::ops::AuditQuery;
use crate::ops::audit::read_audit;
use crate::ops::sign_in::openid::{Begun, ClaimRules, Claims, Issuer, IssuerError, Kept, OpenIdDoor};
use crate::ops::sign_in::sessions::{Proof, SignedIn};
use crate::ops::world::{NOW, World, policy_token};

const OURS: &str = "https://hub.example:8443";

/// A browser, more or less.
struct Browser<'a> {
    world: &'a World,
    cookie: String,
    csrf: String,
    origin: &'static str,
}

impl<'a> Browser<'a> {
    /// In which somebody with these rights is signed in.
    fn with(world: &'a World, rights: &[Right]) -> Self {
        let rights: Rights = rights.iter().copied().collect();
        let person = SignedIn { name: "ada".into(), method: SignInMethod::Password, rights, ends: None, proof: Proof::Once };
        let (session, secret) = world.hub.sign_in.sessions.open(person, None, NOW);
        Self { world, cookie: format!("__Host-mooring={secret}"), csrf: session.csrf().to_owned(), origin: OURS }
    }

    async fn ask(&self, method: Method, target: &str, body: Value) -> (u16, HeaderMap, Value) {
        let mut request = Request::builder().method(method).uri(target).header("host", "hub.example:8443");
        for (name, value) in [("cookie", &self.cookie), ("mooring-csrf", &self.csrf), ("origin", &self.origin.to_owned())] {
            if !value.is_empty() {
                request = request.header(name, value);
            }
        }
        let request = request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap();
        self.send(request, router::api(Arc::clone(&self.world.hub))).await
    }

    async fn send(&self, mut request: Request<Body>, router: axum::Router) -> (u16, HeaderMap, Value) {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4711))));
        let response = router.oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, headers, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn status(&self, method: Method, target: &str) -> u16 {
        self.ask(method, target, json!({})).await.0
    }
}

#[tokio::test]
async fn a_link_becomes_a_session_that_ends_with_its_owners_word() {
    let world = World::new();
    let mut browser = Browser { world: &world, cookie: String::new(), csrf: String::new(), origin: OURS };
    let (status, _, before) = browser.ask(Method::GET, "/api/v1/session", json!({})).await;
    assert_eq!((status, &before["signedIn"], &before["methods"]), (200, &json!(false), &json!([])));
    let code = world.hub.sign_in.links.make(NOW);
    let (status, headers, document) = browser.ask(Method::POST, "/api/v1/session", json!({"method": "link", "code": code})).await;
    assert_eq!((status, &document["rights"]), (201, &json!(["Read", "Bodies", "Commands", "Devices", "Secrets"])), "{document}");
    let set = headers["set-cookie"].to_str().unwrap();
    assert!(set.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict") && headers["cache-control"] == "no-store", "{set}");
    let again = browser.ask(Method::POST, "/api/v1/session", json!({"method": "link", "code": code})).await;
    assert_eq!((again.0, again.1.get("set-cookie")), (403, None));
    assert!(again.2["Message"].as_str().unwrap().starts_with("ErrorCode:SignInRefused;the link is not good"), "{}", again.2);

    browser.cookie = set.split(';').next().unwrap().to_owned();
    browser.csrf = document["csrf"].as_str().unwrap().to_owned();
    assert_eq!(browser.ask(Method::GET, "/api/v1/session", json!({})).await.2["name"], "dev");
    assert_eq!(browser.status(Method::GET, "/api/v1/hub").await, 200);
    let (status, headers, _) = browser.ask(Method::DELETE, "/api/v1/session", json!({})).await;
    assert!(status == 204 && headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    let (status, _, said) = browser.ask(Method::GET, "/api/v1/hub", json!({})).await;
    assert!(status == 401 && said["Message"].as_str().unwrap().contains("sign in again"), "{said}");
}

#[tokio::test]
async fn what_is_no_sign_in_is_refused_without_quoting_it() {
    let world = World::new();
    let browser = Browser { world: &world, cookie: String::new(), csrf: String::new(), origin: OURS };
    for body in
        [json!({"method": "password", "name": "a", "password": "hunter2", "more": 1}), json!("hunter2"), json!({"method": "hunter2"})]
    {
        let (status, _, said) = browser.ask(Method::POST, "/api/v1/session", body).await;
        assert!(status == 400 && !said.to_string().contains("hunter2"), "{said}");
    }
    let foreign = Browser { origin: "https://evil.example", ..browser };
    assert_eq!(foreign.status(Method::POST, "/api/v1/session").await, 403, "nobody is signed in by another page");
}

#[tokio::test]
async fn other_pages_can_do_nothing_with_it() {
    let world = World::with_device("D").await;
    let ours = Browser::with(&world, &Right::ALL);
    assert_eq!(ours.status(Method::POST, "/api/v1/devices/D/secrets").await, 200);
    for origin in ["https://evil.example", "https://hub.example", "http://hub.example:8443", "null", ""] {
        let theirs = Browser { world: &world, cookie: ours.cookie.clone(), csrf: ours.csrf.clone(), origin };
        assert_eq!(theirs.status(Method::POST, "/api/v1/devices/D/secrets").await, 403, "{origin}");
        assert_eq!(theirs.status(Method::GET, "/api/v1/hub").await, 403, "{origin}");
        assert_eq!(theirs.status(Method::DELETE, "/api/v1/session").await, 403, "{origin}");
        assert_eq!(theirs.status(Method::GET, "/api/v1/changes").await, 403, "{origin}");
    }
    for csrf in ["", "wrong"] {
        let blind = Browser { world: &world, cookie: ours.cookie.clone(), csrf: csrf.to_owned(), origin: OURS };
        assert_eq!(blind.status(Method::POST, "/api/v1/devices/D/secrets").await, 403);
        assert_eq!(blind.status(Method::GET, "/api/v1/hub").await, 200, "reading needs none");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_good_for_our_own_api_alone() {
    let world = World::with_device("D").await;
    let browser = Browser::with(&world, &Right::ALL);
    for target in ["/devices/D", "/devices?top=1", "/statistics/devices", "/messages/servicebound/feedback"] {
        assert_eq!(browser.status(Method::GET, target).await, 401, "{target}");
    }
    let request =
        Request::get("/api/v1/hub").header("host", "hub.example").header("cookie", &browser.cookie).header("origin", "https://hub.example");
    let azure = router::azure(Arc::clone(&world.hub), Subprotocols::default());
    assert_eq!(browser.send(request.body(Body::empty()).unwrap(), azure).await.0, 404, "and it is not on Azure's port");
}

#[tokio::test]
async fn each_right_opens_what_it_is_for_and_says_so_when_it_is_missing() {
    let world = World::with_device("D").await;
    let action = json!({"action": "disable", "ids": ["D"]});
    let asked = [
        (Right::Read, Method::GET, "/api/v1/devices/D", json!({})),
        (Right::Read, Method::GET, "/api/v1/commands", json!({})),
        (Right::Read, Method::GET, "/api/v1/audit", json!({})),
        (Right::Bodies, Method::GET, "/api/v1/events?follow=false&from=earliest", json!({})),
        (Right::Bodies, Method::GET, "/api/v1/commands/1/content", json!({})),
        (Right::Commands, Method::POST, "/api/v1/devices/D/commands", json!({})),
        (Right::Commands, Method::DELETE, "/api/v1/devices/D/commands", json!({})),
        (Right::Commands, Method::POST, "/api/v1/commands/99/send-again", json!({})),
        (Right::Devices, Method::POST, "/api/v1/devices/actions", action),
        (Right::Secrets, Method::POST, "/api/v1/devices/D/secrets", json!({})),
    ];
    for right in Right::ALL {
        let browser = Browser::with(&world, &[right]);
        for (needed, method, target, body) in &asked {
            let (status, _, said) = browser.ask(method.clone(), target, body.clone()).await;
            let expected = *needed == Right::Read || *needed == right;
            assert_eq!(status != 403, expected, "{right} {method} {target}: {said}");
            if !expected {
                let text = format!("ErrorCode:MissingRight;ada needs the right {needed} for this");
                assert_eq!(said["Message"], text.as_str());
            }
        }
    }
    let viewer = Browser::with(&world, &[Right::Read]);
    let (_, _, audit) = viewer.ask(Method::GET, "/api/v1/audit?device=D&limit=1000", json!({})).await;
    let entries = audit["entries"].as_array().unwrap();
    let seen = |action: &str, outcome: &str| entries.iter().any(|entry| entry["action"] == action && entry["outcome"] == outcome);
    for action in ["DeviceDisabled", "SecretsShown", "CommandSent", "CommandsPurged"] {
        assert!(seen(action, "Done"), "{action}: {audit}");
    }
    for action in ["SecretsShown", "CommandSent"] {
        assert!(seen(action, "Refused"), "{action}: {audit}");
    }
    let (_, _, of_all) = viewer.ask(Method::GET, "/api/v1/audit?limit=1000", json!({})).await;
    let mut of_all = of_all["entries"].as_array().unwrap().iter();
    assert!(
        of_all.any(|entry| entry["action"] == "DeviceChanged" && entry["outcome"] == "Refused"),
        "the right to many devices is missing"
    );
    assert!(entries.iter().all(|entry| entry["who"] == json!({"kind": "person", "name": "ada", "method": "password"})), "{audit}");
    assert!(entries.iter().all(|entry| entry["door"] == "dashboard" && entry["address"] == "192.0.2.1"), "{audit}");
}

#[tokio::test]
async fn what_somebody_sends_is_read_before_it_is_refused_and_what_a_stranger_sends_is_not() {
    let world = World::new();
    let viewer = Browser::with(&world, &[Right::Read]);
    let read = async |cookie: &str, origin: &str| {
        let seen = Arc::new(AtomicBool::new(false));
        let body = futures_util::stream::once({
            let seen = Arc::clone(&seen);
            async move {
                seen.store(true, Ordering::Relaxed);
                Ok::<_, std::io::Error>("{}")
            }
        });
        let request = Request::post("/api/v1/devices/actions").header("host", "hub.example:8443").header("content-length", "2");
        let request = request.header("cookie", cookie).header("origin", origin).header("mooring-csrf", &viewer.csrf);
        let (status, ..) = viewer.send(request.body(Body::from_stream(body)).unwrap(), router::api(Arc::clone(&world.hub))).await;
        (status, seen.load(Ordering::Relaxed))
    };
    assert_eq!(read(&viewer.cookie, OURS).await, (403, true));
    assert_eq!(read(&viewer.cookie, "https://evil.example").await, (403, false));
    assert_eq!(read("__Host-mooring=guess", OURS).await, (401, false));
}

/// An issuer that knows one code.
struct Known;

#[async_trait::async_trait]
impl Issuer for Known {
    fn name(&self) -> &str {
        "https://issuer.example"
    }

    async fn begin(&self, redirect: &str) -> Result<Begun, IssuerError> {
        let kept = Kept { nonce: "n".into(), verifier: "v".into() };
        Ok(Begun { url: format!("https://issuer.example/in?to={redirect}"), state: "s".to_owned(), kept })
    }

    async fn finish(&self, _: &str, code: SecretString, _: &Kept) -> Result<Claims, IssuerError> {
        let all = json!({ "email": "ada@example.com", "email_verified": true, "groups": ["operators"] }).as_object().unwrap().clone();
        let known = Claims { issued: NOW, ends: NOW.plus(Duration::from_secs(600)), all };
        if code.expose_secret() == "good" { Ok(known) } else { Err(IssuerError::Refused("no such code; begin again".to_owned())) }
    }
}

#[tokio::test]
async fn a_browser_goes_to_the_issuer_and_comes_back_signed_in() {
    let world = World::new();
    let mut browser = Browser { world: &world, cookie: String::new(), csrf: String::new(), origin: "" };
    let to = browser.ask(Method::GET, "/api/v1/session/openid", json!({})).await.1["location"].clone();
    assert_eq!(to, "/sign-in#problem=Refused", "without an issuer");
    let rights = [("operators".to_owned(), [Right::Devices].into_iter().collect())].into();
    let rules = ClaimRules { name_claim: "email".into(), groups_claim: "groups".into(), rights };
    world.hub.sign_in.openid.set(OpenIdDoor::new(Arc::new(Known), rules)).unwrap();
    let methods = browser.ask(Method::GET, "/api/v1/session", json!({})).await.2["methods"].clone();
    assert_eq!(methods, json!([{ "method": "openid", "start": "/api/v1/session/openid", "issuer": "https://issuer.example" }]));

    let (back, wrong) = ("/api/v1/session/openid/back?state=s&code=good", "/api/v1/session/openid/back?state=s&code=bad");
    let guessed = "/api/v1/session/openid/back?state=guess&code=good";
    let nobody = "/api/v1/session/openid/back?error=access_denied&error_description=text&state=s";
    let wanted = "/api/v1/session/openid?to=/devices/pump-1%3Fspan%3D15m";
    for (target, begins) in [(wrong, true), (back, false), (guessed, true), (nobody, true), (back, true)] {
        let (status, headers, _) = browser.ask(Method::GET, wanted, json!({})).await;
        let to = headers["location"].to_str().unwrap();
        assert_eq!((status, to), (303, "https://issuer.example/in?to=https://hub.example:8443/api/v1/session/openid/back"));
        let given = headers["set-cookie"].to_str().unwrap();
        assert!(given.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600"), "{given}");
        browser.cookie = if begins { given.split(';').next().unwrap().to_owned() } else { String::new() };
        let (status, headers, _) = browser.ask(Method::GET, target, json!({})).await;
        let to = headers["location"].to_str().unwrap();
        assert_eq!((status, &headers["referrer-policy"]), (303, &HeaderValue::from_static("no-referrer")));
        let session = headers.get_all("set-cookie").into_iter().find(|cookie| cookie.to_str().unwrap().starts_with("__Host-mooring="));
        match session {
            None => assert_eq!((to, target == back && begins), ("/sign-in#problem=Refused", false)),
            Some(session) => {
                assert_eq!((to, target, begins), ("/devices/pump-1?span=15m", back, true));
                browser.cookie = session.to_str().unwrap().split(';').next().unwrap().to_owned();
            }
        }
    }
    let query = AuditQuery { limit: 10, ..AuditQuery::default() };
    let refused: Vec<_> = read_audit(&world.hub, &query).await.unwrap().into_iter().filter_map(|entry| entry.refused).collect();
    assert_eq!(refused.iter().filter(|why| *why == "the issuer has let nobody in: access_denied: text").count(), 1, "{refused:?}");
    browser.origin = OURS;
    let document = browser.ask(Method::GET, "/api/v1/session", json!({})).await.2;
    assert_eq!((&document["name"], &document["rights"]), (&json!("ada@example.com"), &json!(["Read", "Devices"])));
}

#[tokio::test]
async fn nobody_is_sent_elsewhere_by_a_link_to_the_hub() {
    let world = World::new();
    world
        .hub
        .sign_in
        .openid
        .set(OpenIdDoor::new(
            Arc::new(Known),
            ClaimRules {
                rights: [("operators".to_owned(), [Right::Read].into_iter().collect())].into(),
                name_claim: "email".into(),
                groups_claim: "groups".into(),
            },
        ))
        .unwrap();
    let long = format!("/devices/{}", "a".repeat(2048));
    for to in [
        "https://elsewhere.example/",
        "//elsewhere.example/",
        "/%5Celsewhere.example",
        "/api/v1/hub",
        "devices",
        "/a%0Ab",
        "/%C3%A4",
        long.as_str(),
    ] {
        let mut browser = Browser { world: &world, cookie: String::new(), csrf: String::new(), origin: "" };
        let headers = browser.ask(Method::GET, &format!("/api/v1/session/openid?to={to}"), json!({})).await.1;
        browser.cookie = headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let headers = browser.ask(Method::GET, "/api/v1/session/openid/back?state=s&code=good", json!({})).await.1;
        assert_eq!(headers["location"], "/", "{to}");
    }
}

#[tokio::test]
async fn a_picture_on_anothers_page_begins_nothing() {
    let world = World::new();
    let browser = Browser { world: &world, cookie: String::new(), csrf: String::new(), origin: "" };
    for (destination, status) in [("image", 403), ("iframe", 403), ("empty", 403), ("document", 303)] {
        let request = Request::get(openid::START).header("host", "hub.example:8443").header("sec-fetch-dest", destination);
        let request = request.body(Body::empty()).unwrap();
        assert_eq!(browser.send(request, router::api(Arc::clone(&world.hub))).await.0, status, "{destination}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_counts_more_than_a_session() {
    let world = World::new();
    let browser = Browser::with(&world, &[Right::Read]);
    let ask = async |token: &str| {
        let request = Request::get("/api/v1/hub").header("host", "hub.example:8443").header("cookie", &browser.cookie);
        let request = request.header("authorization", token).body(Body::empty()).unwrap();
        browser.send(request, router::api(Arc::clone(&world.hub))).await.0
    };
    assert_eq!(ask(&policy_token("hub.example", "iothubowner")).await, 200, "without an Origin: no browser adds a token by itself");
    assert_eq!(ask("SharedAccessSignature sr=hub.example").await, 401);
}

#[tokio::test]
async fn whoever_watches_is_told_of_the_end_of_the_session() {
    let world = World::new();
    let browser = Browser::with(&world, &[Right::Read]);
    let request = Request::get("/api/v1/changes?kinds=audit").header("host", "hub.example:8443").header("cookie", &browser.cookie);
    let mut request = request.header("origin", OURS).body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4711))));
    let response = router::api(Arc::clone(&world.hub)).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let told = tokio::spawn(async move { response.into_body().collect().await.unwrap().to_bytes() });
    tokio::task::yield_now().await;
    assert_eq!(browser.status(Method::DELETE, "/api/v1/session").await, 204);
    let told = String::from_utf8(told.await.unwrap().to_vec()).unwrap();
    assert!(told.contains("event: problem") && told.contains("you have signed out"), "{told}");
}
