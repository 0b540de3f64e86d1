//! The dashboard's page on port 8443: every address of the page answers the same document, and its files are named by what they say.
//!
//! Nothing here is secret, and nobody is asked who they are: what the page shows it gets from the API, which does ask.

pub mod assets;
mod page;

#[cfg(test)]
mod tests;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use assets::{BUNDLE, Bundle};

/// What the page may do: run what comes from here, speak to this hub, and nothing else. WebAssembly is compiled from a file of ours. No
/// inline script and no inline style, so that text which becomes markup by a mistake stays without effect.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What goes with every answer.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    // An address may have a device's id in it.
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// In one form alone: whatever runs WebAssembly understands it over TLS.
const BROTLI: (HeaderName, HeaderValue) = (header::CONTENT_ENCODING, HeaderValue::from_static("br"));

/// For files whose names change with them.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// For what names them: asked for anew each time.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// The page's routes, for a router of any state.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    of(BUNDLE)
}

fn of<S: Clone + Send + Sync + 'static>(bundle: Option<Bundle>) -> Router<S> {
    let index = move || async move { index(bundle) };
    Router::new()
        .route("/", get(to_the_page))
        // What a link to sign in with says; a browser keeps what stands behind its `#`.
        .route("/sign-in", get(to_the_page))
        .route("/dashboard", get(index))
        .route("/dashboard/", get(index))
        // Which of them are pages is for the page to say: it has words for those that are not.
        .route("/dashboard/{*rest}", get(index))
        .route("/assets/{name}", get(move |Path(name): Path<String>| async move { asset(bundle, &name) }))
}

async fn to_the_page() -> Response {
    (HEADERS, Redirect::temporary("/dashboard/")).into_response()
}

fn index(bundle: Option<Bundle>) -> Response {
    let html = (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    match bundle {
        Some(bundle) => (HEADERS, [html, (header::CACHE_CONTROL, ASK_AGAIN), BROTLI], bundle.index).into_response(),
        None => (StatusCode::NOT_FOUND, HEADERS, [html, (header::CACHE_CONTROL, ASK_AGAIN)], page::NOT_MADE).into_response(),
    }
}

fn asset(bundle: Option<Bundle>, name: &str) -> Response {
    let Some((asset, kind)) = bundle.and_then(|bundle| bundle.find(name)) else {
        return (StatusCode::NOT_FOUND, HEADERS, [(header::CACHE_CONTROL, ASK_AGAIN)]).into_response();
    };
    let about = [(header::CONTENT_TYPE, HeaderValue::from_static(kind)), BROTLI, (header::CACHE_CONTROL, FOR_EVER)];
    (HEADERS, about, asset.packed).into_response()
}
