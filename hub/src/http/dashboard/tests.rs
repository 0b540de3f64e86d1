use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::assets::Asset;
use super::*;
use crate::http::client::Client;

const MADE: Bundle = Bundle {
    index: b"<!doctype html>the page",
    assets: &[
        Asset { name: "dashboard-0011223344ff.wasm", packed: b"packed" },
        Asset { name: "boot-0011223344ff.js", packed: b"packed" },
        Asset { name: "style-0011223344ff.css", packed: b"packed" },
        Asset { name: "mark-0011223344ff.svg", packed: b"packed" },
    ],
};

async fn ask(bundle: Option<Bundle>, method: Method, target: &str) -> (StatusCode, HeaderMap, Bytes) {
    let request = Request::builder().method(method).uri(target).body(Body::empty()).unwrap();
    let (parts, body) = of::<()>(bundle).oneshot(request).await.unwrap().into_parts();
    (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
}

async fn get_of(bundle: Option<Bundle>, target: &str) -> (StatusCode, HeaderMap, Bytes) {
    ask(bundle, Method::GET, target).await
}

#[tokio::test]
async fn every_address_of_the_page_answers_the_page() {
    for target in ["/dashboard", "/dashboard/", "/dashboard/devices", "/dashboard/devices/Pump%2F1?span=1h", "/dashboard/no/such/page"] {
        let (status, headers, body) = get_of(Some(MADE), target).await;
        assert_eq!((status, &headers["content-type"], &headers["cache-control"]), (StatusCode::OK, &html(), &ASK_AGAIN), "{target}");
        assert_eq!((&headers["content-encoding"], body.as_ref()), (&BROTLI.1, MADE.index));
    }
    for target in ["/", "/sign-in"] {
        let (status, headers, _) = get_of(Some(MADE), target).await;
        assert_eq!((status, &headers["location"]), (StatusCode::TEMPORARY_REDIRECT, &HeaderValue::from_static("/dashboard/")), "{target}");
    }
}

#[tokio::test]
async fn files_have_their_types_and_are_kept() {
    for (name, kind) in [
        ("dashboard-0011223344ff.wasm", "application/wasm"),
        ("boot-0011223344ff.js", "text/javascript; charset=utf-8"),
        ("style-0011223344ff.css", "text/css; charset=utf-8"),
        ("mark-0011223344ff.svg", "image/svg+xml"),
    ] {
        let (status, headers, body) = get_of(Some(MADE), &format!("/assets/{name}")).await;
        assert_eq!(
            (status, &headers["content-type"], &headers["content-encoding"]),
            (StatusCode::OK, &kind.parse().unwrap(), &"br".parse().unwrap())
        );
        assert_eq!((&headers["cache-control"], body.as_ref()), (&FOR_EVER, &b"packed"[..]));
    }
    for target in ["/assets/dashboard-ffffffffffff.wasm", "/assets/..%2Findex.html", "/assets/"] {
        assert_eq!(get_of(Some(MADE), target).await.0, StatusCode::NOT_FOUND, "{target}");
    }
}

#[tokio::test]
async fn nothing_but_our_own_files_may_run_and_nobody_may_frame_the_page() {
    for (bundle, target) in [
        (Some(MADE), "/dashboard/"),
        (Some(MADE), "/assets/boot-0011223344ff.js"),
        (Some(MADE), "/assets/none"),
        (None, "/dashboard/"),
        (None, "/sign-in"),
    ] {
        let (_, headers, _) = get_of(bundle, target).await;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';") && policy.contains("frame-ancestors 'none'")
        );
        assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"), "{policy}");
        for (name, value) in [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY"), ("referrer-policy", "no-referrer")] {
            assert_eq!(headers[name], value, "{target}");
        }
    }
}

#[tokio::test]
async fn a_hub_without_the_page_says_how_to_make_it() {
    let (status, headers, body) = get_of(None, "/dashboard/devices").await;
    assert_eq!((status, &headers["content-type"]), (StatusCode::NOT_FOUND, &html()));
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains("cargo xtask dashboard") && !text.contains("<script") && !text.contains("style="));
    assert_eq!(get_of(None, "/assets/boot-0011223344ff.js").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nothing_is_changed_there() {
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        assert_eq!(ask(Some(MADE), method, "/dashboard/").await.0, StatusCode::METHOD_NOT_ALLOWED);
    }
}

/// The binary that these tests are part of has the page or has not: both must be sound.
#[test]
fn what_is_embedded_is_whole() {
    let Some(bundle) = BUNDLE else { return };
    let mut index = Vec::new();
    brotli::BrotliDecompress(&mut &bundle.index[..], &mut index).unwrap();
    let index = String::from_utf8(index).unwrap();
    let named: Vec<_> = index.split("/assets/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(named.len() >= 4, "{index}");
    assert!(named.iter().all(|name| bundle.find(name).is_some()), "{named:?}");
    assert!(!index.contains("<script>") && !index.contains("style="), "the policy forbids what is inline");
}

#[tokio::test(start_paused = true)]
async fn it_is_on_our_own_port_and_asks_nobody_who_they_are() {
    let client = Client::new().await;
    let answer = client.policy("nobody", "GET", "/dashboard/devices/D", &[], Body::empty()).await;
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(client.device("GET", "/dashboard/", &[]).await.status, StatusCode::NOT_FOUND, "port 443 is Azure's");
}

fn html() -> HeaderValue {
    HeaderValue::from_static("text/html; charset=utf-8")
}
