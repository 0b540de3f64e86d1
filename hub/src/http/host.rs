//! Which hub a request is for: one that asks for another hub is refused here, before anything else is looked at.
//!
//! TLS has looked at the name already, where the client gave one there. It need not have, and may ask for another one here.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::authorization::{origin, token};
use super::error::Failure;
use crate::core::host::HubNames;
use crate::core::sas::SasToken;
use crate::ops::Hub;
use crate::ops::authenticate::refuse;
use crate::ops::refusals::RefusalReason;

/// What is remembered of a foreign name: names have no more (RFC 1035 §2.3.4).
const HOST_NAME_MAX_BYTES: usize = 255;

/// Passes on what is for this hub. Anything else is refused as whoever has a bad token is, which is what SDKs can tell their programs;
/// they do not know 421.
pub async fn only_ours(State(hub): State<Arc<Hub>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let asked = asked_for(&parts);
    if asked.as_deref().is_some_and(|host| is_ours(&hub.names, host)) {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let reason = RefusalReason::ForeignHost(asked.as_deref().unwrap_or_default().into());
    Failure::from(refuse(&hub, &claimed(&parts), reason, origin(&parts)).await).into_response()
}

/// The host that the request names, without its port: by an absolute target (RFC 9112 §3.2.2; Java's SDK sends one) or `:authority`
/// (RFC 9113 §8.3.1), or else by `Host`, which has to be there once.
fn asked_for(parts: &Parts) -> Option<String> {
    let authority = match parts.uri.authority() {
        Some(authority) => authority.clone(),
        None => {
            let mut hosts = parts.headers.get_all(header::HOST).into_iter();
            let (host, None) = (hosts.next()?, hosts.next()) else { return None };
            Authority::try_from(host.as_bytes()).ok()?
        }
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches([']', '.']);
    Some(host.chars().take(HOST_NAME_MAX_BYTES).collect())
}

/// A hub called localhost, as on a laptop, is reached by the addresses of that name as well.
fn is_ours(names: &HubNames, host: &str) -> bool {
    let loopback = || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    names.include(host) || (names.include("localhost") && loopback())
}

/// Who the owner is told that it was: the policy that the token names, or the device that the path does.
fn claimed(parts: &Parts) -> String {
    let token = token(&parts.headers, &parts.uri).unwrap_or_default();
    let policy = SasToken::parse(&token).ok().and_then(|token| token.policy.as_deref().map(str::to_owned));
    let device = || parts.uri.path().strip_prefix("/devices/")?.split('/').next().map(str::to_owned);
    policy.or_else(device).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::ops::world::{World, policy_token};

    #[test]
    fn the_target_counts_more_than_the_header() {
        let asked = |target: &str, hosts: &[&str]| {
            let request = hosts.iter().fold(Request::get(target), |request, host| request.header("host", *host));
            asked_for(&request.body(Body::empty()).unwrap().into_parts().0)
        };
        assert_eq!(asked("/x", &["Hub.Example:443"]).as_deref(), Some("Hub.Example"));
        assert_eq!(asked("https://hub.example/x", &["other.example"]).as_deref(), Some("hub.example"));
        assert_eq!(asked("/x", &["[::1]:8443"]).as_deref(), Some("::1"));
        assert_eq!(asked("/x", &["hub.example."]).as_deref(), Some("hub.example"));
        for hosts in [&[][..], &["hub.example", "hub.example"], &["a b"], &[""]] {
            assert_eq!(asked("/x", hosts), None, "{hosts:?}");
        }
    }

    #[test]
    fn addresses_are_names_of_localhost_alone() {
        let (laptop, server) = (HubNames::new("hub.example", &["localhost".to_owned()]), HubNames::new("hub.example", &[]));
        for host in ["localhost", "127.0.0.1", "::1"] {
            assert!(is_ours(&laptop, host) && !is_ours(&server, host), "{host}");
        }
        assert!(is_ours(&laptop, "HUB.example") && !is_ours(&laptop, "192.0.2.1") && !is_ours(&laptop, "other.example"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_another_hub_is_refused_and_remembered() {
        let world = World::with_device("D").await;
        let layer = axum::middleware::from_fn_with_state(Arc::clone(&world.hub), only_ours);
        let app = Router::new().fallback(get(async || "here")).layer(layer);
        let ask = async |path: &str, host: &str, token: &str| {
            let request = Request::get(path).header("host", host).header("authorization", token).body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes())
        };
        assert_eq!(ask("/devices/D", "hub.example:443", "").await.0, 200);
        let (status, body) = ask("/devices/D/messages/events", "other.example", "").await;
        assert_eq!(status, 401);
        assert!(body.starts_with(br#"{"ExceptionMessage":"","Message":"ErrorCode:IotHubUnauthorizedAccess;"#), "{body:?}");
        assert!(world.last_reason("D").contains("\"other.example\""));
        assert_eq!(ask("/devices/D", "other.example", &policy_token("hub.example", "service")).await, (401, body));
        assert!(world.last_reason("service").contains("other.example"));
    }
}
