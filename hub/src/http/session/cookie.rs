//! The cookie of a session, and what a request has to say beside it, so that no other page can have made it.
//!
//! A browser sends the cookie with whatever asks this hub, from whichever page. `SameSite=Strict` keeps other sites' pages out; `Origin`, or
//! `Sec-Fetch-Site` where browsers send no `Origin`, keeps out those of other ports of this host; a change needs a text that only our own page
//! can have read.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use subtle::ConstantTimeEq as _;

use crate::http::authorization::tell_authenticated;
use crate::http::body;
use crate::http::error::Failure;
use crate::ops::Hub;
use crate::ops::sign_in::sessions::Session;

/// Its name: browsers take one of this form only with `Secure`, for `/` and for this host alone.
const NAME: &str = "__Host-mooring";

/// The header with the text that changes need.
pub const CSRF: HeaderName = HeaderName::from_static("mooring-csrf");

/// The largest body that is read so early: that of an action on a thousand devices.
const READ_FIRST_MAX_BYTES: usize = 256 * 1024;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Marks requests in which a session is good.
#[derive(Clone, Copy, Debug)]
struct Welcome;

/// Sessions are good behind this layer: for our own API, and never for Azure's, which shows keys.
///
/// What somebody who is signed in sends is read before it is looked at whether she may: a refusal that comes while a body is on its way is
/// lost to many a client that speaks HTTP/2.
pub async fn welcome(State(hub): State<Arc<Hub>>, request: Request, next: Next) -> Response {
    let (mut parts, mut body) = request.into_parts();
    parts.extensions.insert(Welcome);
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0);
    if (1..=READ_FIRST_MAX_BYTES).contains(&length) && is_somebodys(&parts, &hub) {
        // Or the connection would have a stranger's time for it, and a stranger's room.
        tell_authenticated(&parts);
        match body::read(body, READ_FIRST_MAX_BYTES).await {
            Ok(bytes) => body = Body::from(bytes),
            Err(failure) => return failure.into_response(),
        }
    }
    next.run(Request::from_parts(parts, body)).await
}

/// Whether the request comes from our page in a session that lasts.
fn is_somebodys(parts: &Parts, hub: &Hub) -> bool {
    let session = || secret(&parts.headers).and_then(|secret| hub.sign_in.sessions.find(secret, hub.now()));
    comes_from_our_page(parts).is_ok() && session().is_some()
}

/// The session that the request is made in; `None` without one.
pub fn session(parts: &Parts, hub: &Arc<Hub>) -> Result<Option<Session>, Failure> {
    if parts.extensions.get::<Welcome>().is_none() {
        return Ok(None);
    }
    let Some(secret) = secret(&parts.headers) else { return Ok(None) };
    comes_from_our_page(parts)?;
    let session = hub.sign_in.sessions.find(secret, hub.now()).ok_or_else(ended)?;
    let changes = !matches!(parts.method, Method::GET | Method::HEAD);
    let said = || parts.headers.get(&CSRF).map(HeaderValue::as_bytes).unwrap_or_default();
    if changes && !bool::from(said().ct_eq(session.csrf().as_bytes())) {
        let text = format!("a change needs the header {CSRF} with the csrf of GET /api/v1/session");
        return Err(Failure::new(StatusCode::FORBIDDEN, "MissingCsrf", text));
    }
    Ok(Some(session))
}

/// The text of the cookie.
#[must_use]
pub fn secret(headers: &HeaderMap) -> Option<&str> {
    named(headers, NAME)
}

/// The text of the cookie of this name.
#[must_use]
pub fn named<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let texts = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(found, _)| *found == name).map(|(_, value)| value).next()
}

/// The header that sets it.
#[must_use]
pub fn set(secret: &str) -> HeaderValue {
    let text = format!("{NAME}={secret}; Path=/; Secure; HttpOnly; SameSite=Strict");
    HeaderValue::try_from(text).expect("what the hub makes for it is visible ASCII")
}

/// The header that takes it away.
pub const GONE: HeaderValue = HeaderValue::from_static("__Host-mooring=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");

/// Refuses what another page has asked for, or may have. Browsers send `Origin` with everything but plain reads of the same origin, and with
/// those they say in `Sec-Fetch-Site` where they come from.
pub fn comes_from_our_page(parts: &Parts) -> Result<(), Failure> {
    let mut origins = parts.headers.get_all(header::ORIGIN).into_iter();
    let reads = matches!(parts.method, Method::GET | Method::HEAD) && !parts.headers.contains_key(header::UPGRADE);
    match (origins.next(), origins.next()) {
        (Some(origin), None) if is_ours(origin, parts) => Ok(()),
        (None, _) if reads && parts.headers.get(&FETCH_SITE).is_some_and(|site| site == "same-origin" || site == "none") => Ok(()),
        (None, _) => Err(forbidden("a request with a session's cookie needs the header Origin, of this hub's own page")),
        (Some(_), _) => Err(forbidden("this request comes from another page than this hub's own")),
    }
}

/// Whether the origin is the one that was asked, which is one of this hub's names by then.
fn is_ours(origin: &HeaderValue, parts: &Parts) -> bool {
    let plain = |host: &str| host.strip_suffix(":443").unwrap_or(host).to_ascii_lowercase();
    let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("https://"));
    matches!((origin, asked(parts)), (Some(origin), Some(asked)) if plain(origin) == plain(asked))
}

/// The host and port that were asked.
#[must_use]
pub fn asked(parts: &Parts) -> Option<&str> {
    match parts.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()),
    }
}

fn ended() -> Failure {
    Failure::new(StatusCode::UNAUTHORIZED, "SessionEnded", "the session has ended; sign in again")
}

fn forbidden(text: &str) -> Failure {
    Failure::new(StatusCode::FORBIDDEN, "OtherOrigin", text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(method: &str, headers: &[(&str, &str)]) -> Parts {
        let request =
            headers.iter().fold(Request::builder().method(method).uri("/api/v1/x"), |request, (name, value)| request.header(*name, *value));
        request.body(Body::empty()).unwrap().into_parts().0
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = |cookies: &[&str]| {
            let headers: Vec<_> = cookies.iter().map(|cookie| ("cookie", *cookie)).collect();
            secret(&parts("GET", &headers).headers).map(str::to_owned)
        };
        assert_eq!(found(&["a=b; __Host-mooring=x-_1;c=d"]).as_deref(), Some("x-_1"));
        assert_eq!(found(&["a=b", "__Host-mooring=x"]).as_deref(), Some("x"));
        assert_eq!(found(&["mooring=x; X__Host-mooring=y; __host-mooring=z"]), None);
    }

    #[test]
    fn the_cookie_is_for_this_host_alone_and_out_of_reach_of_scripts() {
        let set = set("abc");
        for attribute in ["__Host-mooring=abc", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
            assert!(set.to_str().unwrap().split("; ").any(|part| part == attribute), "{attribute}");
        }
        assert!(!set.to_str().unwrap().contains("Domain"));
    }

    #[test]
    fn only_our_own_page_may_ask() {
        let host = ("host", "hub.example:8443");
        let asks = |method: &str, headers: &[(&'static str, &'static str)]| {
            comes_from_our_page(&parts(method, &[&[host][..], headers].concat())).is_ok()
        };
        assert!(asks("POST", &[("origin", "https://hub.example:8443")]) && asks("GET", &[("origin", "https://HUB.example:8443")]));
        assert!(asks("GET", &[("sec-fetch-site", "same-origin")]) && asks("GET", &[("sec-fetch-site", "none")]));
        for others in ["https://hub.example", "http://hub.example:8443", "https://hub.example:8443.evil", "null", "https://evil"] {
            assert!(!asks("GET", &[("origin", others), ("sec-fetch-site", "same-origin")]), "{others}");
        }
        assert!(!asks("GET", &[]) && !asks("GET", &[("sec-fetch-site", "same-site")]) && !asks("GET", &[("sec-fetch-site", "cross-site")]));
        assert!(!asks("POST", &[("sec-fetch-site", "same-origin")]), "a change always has an Origin");
        assert!(!asks("GET", &[("sec-fetch-site", "same-origin"), ("upgrade", "websocket")]), "and so has a WebSocket");
        assert!(!asks("GET", &[("origin", "https://hub.example:8443"), ("origin", "https://evil")]));
        let default_port = parts("POST", &[("host", "hub.example:443"), ("origin", "https://hub.example")]);
        assert!(comes_from_our_page(&default_port).is_ok());
    }

    proptest! {
        #[test]
        fn no_other_origin_is_ours(origin in "[ -~]{0,40}") {
            let ours = comes_from_our_page(&parts("POST", &[("host", "h:1"), ("origin", &origin)])).is_ok();
            prop_assert_eq!(ours, origin == "https://h:1" || origin == "https://H:1");
        }
    }
}
