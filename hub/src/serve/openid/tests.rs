//! Against an issuer on this machine, whose tokens are made by hand, so that they can be wrong in every way.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use openidconnect::core::CoreEdDsaPrivateSigningKey;
use openidconnect::{JsonWebKeyId, PrivateSigningKey as _};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use super::*;
use crate::core::time::Clock as _;
use crate::serve::clock::SystemClock;

const KEY: &str =
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n-----END PRIVATE KEY-----\n";
const OTHER_KEY: &str =
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g\n-----END PRIVATE KEY-----\n";
const NEW_KEY: &str =
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh\n-----END PRIVATE KEY-----\n";
const BACK: &str = "https://hub.example:8443/api/v1/session/openid/back";

/// An issuer that gives a token for the code `good`.
struct Pretended {
    url: String,
    /// What is to be in the next token, over what belongs there.
    claims: std::sync::Mutex<Map<String, Value>>,
    key: std::sync::Mutex<&'static str>,
    /// The key that it says it has.
    shown: std::sync::Mutex<&'static str>,
    /// How it wants to be told the client's secret.
    ways: std::sync::Mutex<&'static str>,
    /// Whom it expects: the challenge.
    challenge: std::sync::Mutex<String>,
}

fn signing(pem: &str) -> CoreEdDsaPrivateSigningKey {
    CoreEdDsaPrivateSigningKey::from_ed25519_pem(pem, Some(JsonWebKeyId::new(name(pem).to_owned()))).unwrap()
}

/// What a key is called.
fn name(pem: &str) -> &'static str {
    if pem == NEW_KEY { "new" } else { "k" }
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

async fn describe(State(issuer): State<Arc<Pretended>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", issuer.url);
    Json(json!({
        "issuer": issuer.url, "authorization_endpoint": at("/in"), "token_endpoint": at("/token"), "jwks_uri": at("/keys"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["EdDSA", "HS256", "none"],
        "token_endpoint_auth_methods_supported": [*issuer.ways.lock().unwrap()],
    }))
}

async fn keys(State(issuer): State<Arc<Pretended>>) -> Json<Value> {
    Json(json!({ "keys": [signing(*issuer.shown.lock().unwrap()).as_verification_key()] }))
}

async fn exchange(State(issuer): State<Arc<Pretended>>, headers: HeaderMap, body: String) -> Response {
    let form: HashMap<String, String> = openidconnect::url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let proven = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"])) == *issuer.challenge.lock().unwrap();
    let client = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("mooring:s3cret"));
    let known = match *issuer.ways.lock().unwrap() {
        "client_secret_post" => form["client_secret"] == "s3cret" && !headers.contains_key("authorization"),
        _ => headers["authorization"] == client.as_str() && !form.contains_key("client_secret"),
    };
    if form["code"] != "good" || form["redirect_uri"] != BACK || !known || !proven {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant", "error_description": "s3cret" }))).into_response();
    }
    let token = |alg: &str| {
        let kid = name(*issuer.key.lock().unwrap());
        format!("{}.{}", encoded(&json!({ "alg": alg, "kid": kid })), encoded(&Value::Object(issuer.claims.lock().unwrap().clone())))
    };
    let key = *issuer.key.lock().unwrap();
    let token = match key {
        "none" => format!("{}.", token("none")),
        pem => {
            let text = token("EdDSA");
            let signature = signing(pem).sign(&CoreJwsSigningAlgorithm::EdDsa, text.as_bytes()).unwrap();
            format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
        }
    };
    Json(json!({ "access_token": "a", "token_type": "Bearer", "expires_in": 3600, "id_token": token })).into_response()
}

async fn pretended() -> (Arc<Pretended>, HttpsIssuer, tempfile::TempDir) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (claims, challenge) = Default::default();
    let (key, shown, ways) = (KEY.into(), KEY.into(), "client_secret_basic".into());
    let issuer = Arc::new(Pretended { url: url.clone(), claims, key, shown, ways, challenge });
    let routes = Router::new().route("/.well-known/openid-configuration", get(describe)).route("/keys", get(keys));
    let routes = routes.route("/token", post(exchange)).with_state(Arc::clone(&issuer));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "s3cret\n").unwrap();
    let settings = OpenIdSettings {
        issuer: url,
        client_id: "mooring".to_owned(),
        client_secret_file: Some(folder.path().join("secret")),
        scopes: vec!["email".to_owned()],
        name_claim: "email".to_owned(),
        groups_claim: "groups".to_owned(),
        groups: BTreeMap::new(),
        authority_file: None,
    };
    // Whom it would trust does not matter: it is spoken with in the clear.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let http = client().use_preconfigured_tls(tls).build().unwrap();
    (issuer, HttpsIssuer::new(&settings, http).unwrap(), folder)
}

/// What an issuer's page is asked for.
fn query(url: &str) -> HashMap<String, String> {
    openidconnect::url::Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

/// Somebody goes to the issuer, which puts `claims` over what belongs into its token, and comes back with `code`.
async fn come_back(issuer: &Pretended, hub: &HttpsIssuer, claims: Value, code: &str) -> Result<Claims, String> {
    let begun = hub.begin(BACK).await.unwrap();
    let asked = query(&begun.url);
    *issuer.challenge.lock().unwrap() = asked["code_challenge"].clone();
    let now = SystemClock.now().0 / 1000;
    let all = json!({
        "iss": issuer.url, "aud": "mooring", "sub": "1", "iat": now, "exp": now + 600, "nonce": asked["nonce"], "email": "ada@example.com",
        "groups": ["operators"],
    });
    let mut all = all.as_object().unwrap().clone();
    all.extend(claims.as_object().unwrap().clone());
    *issuer.claims.lock().unwrap() = all;
    hub.finish(BACK, code.into(), &begun.kept).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn somebody_goes_to_the_issuer_and_comes_back() {
    let (issuer, hub, _folder) = pretended().await;
    let begun = hub.begin(BACK).await.unwrap();
    let asked = query(&begun.url);
    assert!(begun.url.starts_with(&format!("{}/in?", issuer.url)), "{}", begun.url);
    assert_eq!(
        [&asked["response_type"], &asked["client_id"], &asked["redirect_uri"], &asked["scope"]],
        ["code", "mooring", BACK, "openid email"]
    );
    assert_eq!((&asked["state"], asked["code_challenge_method"].as_str()), (&begun.state, "S256"));
    // As some issuers say it.
    let odd = json!({ "email_verified": "true", "updated_at": "2026-11-23T10:00:00.000Z" });
    let claims = come_back(&issuer, &hub, odd, "good").await.unwrap();
    assert_eq!((&claims.all["email"], &claims.all["groups"]), (&json!("ada@example.com"), &json!(["operators"])));
    assert_eq!(Some(claims.ends.0 / 1000), claims.all["exp"].as_i64());
}

#[tokio::test]
async fn a_token_that_is_wrong_in_any_way_is_none() {
    let (issuer, hub, _folder) = pretended().await;
    let long_ago = SystemClock.now().0 / 1000 - 3600;
    for (wrong, said) in [
        (json!({ "aud": "another" }), "audience"),
        (json!({ "aud": ["mooring", "another"] }), "audience"),
        (json!({ "iss": "https://another.example" }), "issuer"),
        (json!({ "azp": "another" }), "audience"),
        (json!({ "nonce": "another" }), "nonce"),
        (json!({ "nonce": null }), "nonce"),
        (json!({ "exp": long_ago }), "expired"),
    ] {
        let refused = come_back(&issuer, &hub, wrong.clone(), "good").await.unwrap_err();
        assert!(refused.contains("not good here") && refused.to_lowercase().contains(said), "{wrong}: {refused}");
    }
    for key in [OTHER_KEY, "none"] {
        *issuer.key.lock().unwrap() = key;
        assert!(come_back(&issuer, &hub, json!({}), "good").await.unwrap_err().contains("not good here"), "{key}");
    }
    *issuer.key.lock().unwrap() = KEY;
    let refused = come_back(&issuer, &hub, json!({}), "bad").await.unwrap_err();
    assert!(refused.contains("has refused the code: invalid_grant") && !refused.contains("s3cret"), "{refused}");
    assert!(come_back(&issuer, &hub, json!({}), "good").await.is_ok());
}

#[tokio::test]
async fn a_new_key_of_the_issuer_is_looked_for() {
    let (issuer, mut hub, _folder) = pretended().await;
    assert!(come_back(&issuer, &hub, json!({}), "good").await.is_ok());
    *issuer.key.lock().unwrap() = NEW_KEY;
    *issuer.shown.lock().unwrap() = NEW_KEY;
    let refused = come_back(&issuer, &hub, json!({}), "good").await.unwrap_err();
    assert!(refused.contains("not good here"), "its keys were read a moment ago: {refused}");
    hub.keys_min_age = Duration::ZERO;
    assert!(come_back(&issuer, &hub, json!({}), "good").await.is_ok());
    *issuer.key.lock().unwrap() = OTHER_KEY;
    assert!(come_back(&issuer, &hub, json!({}), "good").await.is_err(), "one that it does not show is none of its own");
}

#[tokio::test]
async fn an_issuer_is_told_the_secret_as_it_wants_to_be() {
    let (issuer, hub, _folder) = pretended().await;
    *issuer.ways.lock().unwrap() = "client_secret_post";
    assert!(come_back(&issuer, &hub, json!({}), "good").await.is_ok());
}

#[tokio::test]
async fn an_issuer_that_says_too_much_or_is_another_is_not_believed() {
    for (description, said) in [
        (" ".repeat(ANSWER_MAX_BYTES + 1), "too large"),
        (json!({ "issuer": "https://another.example" }).to_string(), "description"),
        ("<html>".to_owned(), "description"),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(move || std::future::ready(([("content-type", "application/json")], description)));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let (_, hub, _folder) = pretended().await;
        let hub = HttpsIssuer { url: IssuerUrl::new(url).unwrap(), ..hub };
        let refused = hub.begin(BACK).await.err().unwrap();
        assert!(matches!(&refused, IssuerError::Unavailable(text) if text.contains(said)), "{refused}");
    }
}

#[tokio::test]
async fn an_issuer_that_is_not_there_is_said_to_be_so() {
    let (_, hub, _folder) = pretended().await;
    let gone = HttpsIssuer { url: IssuerUrl::new("http://127.0.0.1:9".to_owned()).unwrap(), ..hub };
    assert!(matches!(gone.begin(BACK).await, Err(IssuerError::Unavailable(_))));
}
