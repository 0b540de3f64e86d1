//! `/api/v1/session/openid`: to the OpenID Connect issuer, and back from it. A browser goes there and comes back by itself, so what it is told
//! is another page.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::IntoParams;

use super::cookie;
use crate::http::authorization::{origin, tell_authenticated};
use crate::http::error::{ErrorDocument, Failure};
use crate::ops::Hub;
use crate::ops::sign_in::openid::{BroughtBack, begin_openid};
use crate::ops::sign_in::{Credentials, SignInRefused, sign_in};

/// Where a browser begins.
pub const START: &str = "/api/v1/session/openid";

/// Where the issuer sends browsers back to. It has to be told.
pub const BACK: &str = "/api/v1/session/openid/back";

/// Where whoever signs in goes next, and where whoever does not.
const PAGE: &str = "/";
const SIGN_IN_PAGE: &str = "/sign-in";

/// The cookie of a browser that is at the issuer.
const BROWSER: &str = "__Host-mooring-openid";

/// The longest address of the page that is gone back to, in bytes.
const ADDRESS_MAX_BYTES: usize = 2048;

/// What a browser wants an answer for.
const FETCH_DESTINATION: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Where somebody wants to go.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BeginQuery {
    /// The page's address, from `/` on, that is shown to whoever is signed in then. `/` without one, and for anything else.
    to: Option<String>,
}

/// Handles `GET /api/v1/session/openid`: sends a browser to the issuer.
#[utoipa::path(
    get,
    path = "/api/v1/session/openid",
    operation_id = "begin_openid",
    tag = "session",
    security(()),
    params(BeginQuery),
    responses(
        (
            status = 303,
            description = "To the issuer's page. Else to `/sign-in#problem=…`, as below.",
            headers(("Location" = String), ("Set-Cookie" = String)),
        ),
        (status = 403, description = "OtherOrigin: as a part of a page.", body = ErrorDocument),
    ),
)]
pub async fn begin(
    State(hub): State<Arc<Hub>>,
    query: Result<Query<BeginQuery>, QueryRejection>,
    parts: Parts,
) -> Result<Response, Failure> {
    // As a picture on somebody else's page, say, it would use up the attempts of those who look at it.
    if parts.headers.get(FETCH_DESTINATION).is_some_and(|destination| destination != "document") {
        return Err(Failure::new(StatusCode::FORBIDDEN, "OtherOrigin", "a person signs in here, by going to this address"));
    }
    let host = cookie::asked(&parts).ok_or_else(|| Failure::argument_invalid("the request names no host"))?;
    let (url, browser) = match begin_openid(&hub, format!("https://{host}{BACK}"), origin(&parts).peer.ip()).await {
        Ok(begun) => begun,
        Err(refused) => return Ok(go_to_sign_in(&refused, [])),
    };
    // It comes back from another site's page, so it can't be Strict.
    let to = query.ok().and_then(|Query(query)| query.to).filter(|to| is_of_page(to)).unwrap_or_default();
    let cookie = format!("{BROWSER}={browser}.{}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600", URL_SAFE_NO_PAD.encode(to));
    let cookie = HeaderValue::try_from(cookie).expect("what the hub makes for it is visible ASCII");
    Ok(go_on(&url, [cookie]))
}

/// What the issuer gives a browser.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BackQuery {
    /// What there is a token for.
    #[param(value_type = Option<String>)]
    code: Option<SecretString>,
    /// What the hub gave it.
    state: Option<String>,
    /// What the issuer says instead of a code.
    error: Option<String>,
    /// The same in words.
    error_description: Option<String>,
}

impl BackQuery {
    /// The code, or what the issuer says instead of one. Both are nobody's word before it is known that she was under way.
    fn code(self) -> Option<Result<SecretString, String>> {
        let Self { code, error, error_description, .. } = self;
        let said = |error: String| error_description.map_or_else(|| error.clone(), |words| format!("{error}: {words}"));
        code.map(Ok).or_else(|| error.map(said).map(Err))
    }
}

/// Handles `GET /api/v1/session/openid/back`: signs somebody in who comes back from the issuer.
#[utoipa::path(
    get,
    path = "/api/v1/session/openid/back",
    operation_id = "come_back_from_openid",
    tag = "session",
    security(()),
    params(BackQuery),
    responses(
        (
            status = 303,
            description = "Signed in: to where she wanted to go, with the session's cookie. Else to `/sign-in#problem=…`: Refused, NoRights, TooOften or Unavailable.",
            headers(("Location" = String), ("Set-Cookie" = String)),
        ),
    ),
)]
pub async fn come_back(State(hub): State<Arc<Hub>>, query: Result<Query<BackQuery>, QueryRejection>, parts: Parts) -> Response {
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let (browser, to) = cookie::named(&parts.headers, BROWSER).and_then(|cookie| cookie.split_once('.')).unzip();
    let to = to.and_then(|to| String::from_utf8(URL_SAFE_NO_PAD.decode(to).ok()?).ok()).filter(|to| is_of_page(to));
    let browser = browser.map(SecretString::from);
    let gone = HeaderValue::from_static("__Host-mooring-openid=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0");
    let state = query.state.clone();
    let signed_in = match (query.code(), state, browser) {
        (Some(code), Some(state), Some(browser)) => {
            let brought = Credentials::OpenId(BroughtBack { code, state, browser });
            sign_in(&hub, brought, origin(&parts).peer.ip(), cookie::secret(&parts.headers)).await
        }
        _ => Err(SignInRefused::Explained("the issuer has let nobody in, or this was not begun here".to_owned())),
    };
    match signed_in {
        Ok((_, secret)) => {
            tell_authenticated(&parts);
            go_on(to.as_deref().unwrap_or(PAGE), [cookie::set(&secret), gone])
        }
        Err(refused) => go_to_sign_in(&refused, [gone]),
    }
}

/// Whether it is an address of this host, and of its page: nobody is sent elsewhere by a link to here.
fn is_of_page(to: &str) -> bool {
    let elsewhere = ["//", "/\\", "/api/"].iter().any(|begin| to.starts_with(begin));
    to.starts_with('/') && !elsewhere && to.len() <= ADDRESS_MAX_BYTES && to.bytes().all(|byte| byte.is_ascii_graphic())
}

/// To where she can begin again. The address has a word for why, which the page knows, and no text: anybody could write one into a link, and
/// the page would say it as its own.
fn go_to_sign_in<const N: usize>(refused: &SignInRefused, cookies: [HeaderValue; N]) -> Response {
    let problem = match refused {
        SignInRefused::TooOften(_) => "TooOften",
        SignInRefused::NoRights(_) => "NoRights",
        SignInRefused::Unavailable(_) => "Unavailable",
        SignInRefused::Link | SignInRefused::Password | SignInRefused::Explained(_) => "Refused",
    };
    go_on(&format!("{SIGN_IN_PAGE}#problem={problem}"), cookies)
}

/// To another page, which is not told where the browser has been: the code is in that address.
fn go_on<const N: usize>(url: &str, cookies: [HeaderValue; N]) -> Response {
    let mut headers = HeaderMap::new();
    match HeaderValue::try_from(url) {
        Ok(url) => headers.insert(header::LOCATION, url),
        Err(_) => return Failure::unavailable("the issuer's address can't be gone to", super::RETRY_AFTER).into_response(),
    };
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    (StatusCode::SEE_OTHER, headers, Body::empty()).into_response()
}
