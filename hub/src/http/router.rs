//! Every route, on one page. Azure's are written in lower case here, because they are compared without it ([`path_case`]).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state, map_request, map_response};
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum::{Extension, Router};

use super::device_bound::polls::Polls;
use super::error::Failure;
use super::websocket::Subprotocols;
use super::{
    audit, changes, commands, connections, consumer_groups, dashboard, device_bound, device_messaging, devices, events, feedback, fleet,
    host, hub, live, openapi, path_case, rates, refusals, registry, session, timeline, websocket,
};
use crate::ops::Hub;

/// Port 443: devices, back ends and WebSockets, as Azure has them.
pub fn azure(hub: Arc<Hub>, subprotocols: Subprotocols) -> Router {
    let routes = service().merge(device()).merge(websocket(subprotocols));
    whole(routes, hub)
}

/// Port 8443: our own API and the dashboard, and the back ends' once more for a machine where 443 can't be bound.
pub fn api(hub: Arc<Hub>) -> Router {
    let routes = service().merge(own(&hub)).merge(dashboard::routes());
    whole(routes, hub)
}

/// With answers to what has no route, and refusals of what is for another hub; all of them counted.
fn whole(routes: Router<Arc<Hub>>, hub: Arc<Hub>) -> Router {
    let ours = from_fn_with_state(Arc::clone(&hub), host::only_ours);
    let counted = from_fn_with_state(Arc::clone(&hub), count);
    let whole = routes.method_not_allowed_fallback(no_method).fallback(no_route).layer(ours).layer(counted).with_state(hub);
    // A layer of a router comes behind its choice of a route, so this one is another router's.
    Router::new().fallback_service(whole).layer(map_request(async |request| path_case::without_case(request)))
}

async fn count(State(hub): State<Arc<Hub>>, request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    hub.metrics.http_answered(answer.status().as_u16());
    answer
}

/// What devices call. Facts §7.2.
fn device() -> Router<Arc<Hub>> {
    Router::new()
        .route("/devices/{id}/messages/events", post(device_messaging::post_events))
        .route("/devices/{id}/messages/devicebound", get(device_bound::receive))
        .route("/devices/{id}/messages/devicebound/{token}", delete(device_bound::complete_or_reject))
        .route("/devices/{id}/messages/devicebound/{token}/abandon", post(device_bound::abandon))
        .layer(Extension(Arc::<Polls>::default()))
}

/// Where clients go whose network lets HTTPS through alone. Readers of events know the second address, and so does Python's service client,
/// with a slash behind it.
fn websocket(subprotocols: Subprotocols) -> Router<Arc<Hub>> {
    Router::new()
        .route("/$iothub/websocket", get(websocket::upgrade))
        .route("/$servicebus/websocket", get(websocket::upgrade))
        .route("/$servicebus/websocket/", get(websocket::upgrade))
        .layer(Extension(subprotocols))
}

/// Our own. docs/api.md, and described for programs in [`openapi`].
fn own(hub: &Arc<Hub>) -> Router<Arc<Hub>> {
    Router::new()
        .route("/openapi.json", get(openapi::get_document))
        .route("/api/v1/changes", get(changes::get_changes))
        .route("/api/v1/connections", get(connections::list_connections))
        .route("/api/v1/devices/{id}/connections", get(connections::list_device_connections))
        .route("/api/v1/commands", get(commands::list))
        .route("/api/v1/commands/{id}", get(commands::get))
        .route("/api/v1/commands/{id}/content", get(commands::get_content))
        .route("/api/v1/commands/{id}/send-again", post(commands::again))
        .route("/api/v1/audit", get(audit::list))
        .route("/api/v1/devices", get(fleet::list))
        .route("/api/v1/devices/actions", post(devices::act))
        .route("/api/v1/devices/{id}", get(devices::get))
        .route("/api/v1/devices/{id}/timeline", get(timeline::get))
        .route("/api/v1/devices/{id}/rates", get(rates::get_device_rates))
        .route("/api/v1/devices/{id}/secrets", post(devices::show_secrets_of))
        .route("/api/v1/devices/{id}/commands", get(commands::list_of_device).post(commands::send).delete(commands::purge_own))
        .route("/api/v1/consumer-groups", get(consumer_groups::list_consumer_groups))
        .route("/api/v1/events", get(events::get_events))
        .route("/api/v1/hub", get(hub::get_hub))
        .route("/api/v1/live", get(live::get_live))
        .route("/api/v1/presence", get(connections::get_presence))
        .route("/api/v1/rates", get(rates::get_rates))
        .route("/api/v1/refusals", get(refusals::list_refusals))
        .route("/api/v1/devices/{id}/refusals", get(refusals::list_device_refusals))
        .route("/api/v1/session/openid", get(session::openid::begin))
        .route("/api/v1/session/openid/back", get(session::openid::come_back))
        .route("/api/v1/session", get(session::get).post(session::post).delete(session::delete))
        .layer(from_fn_with_state(Arc::clone(hub), session::cookie::welcome))
        .layer(map_response(async |answer| not_to_be_kept(answer)))
}

/// Bodies, keys and who is signed in are for whoever asked, and for no cache on her disk.
fn not_to_be_kept(mut answer: Response) -> Response {
    answer.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// What back ends call. Facts §7.4.
fn service() -> Router<Arc<Hub>> {
    Router::new()
        .route("/devices", get(registry::list_devices).post(registry::bulk::change_devices))
        .route("/devices/", get(registry::list_devices))
        .route("/devices/{id}", get(registry::get_device).put(registry::put_device).delete(registry::delete_device))
        .route("/devices/{id}/commands", delete(commands::purge))
        .route("/messages/servicebound/feedback", get(feedback::receive))
        .route("/messages/servicebound/feedback/{token}", delete(feedback::complete))
        .route("/messages/servicebound/feedback/{token}/abandon", post(feedback::abandon))
        .route("/statistics/devices", get(registry::device_statistics))
        .route("/statistics/service", get(registry::service_statistics))
}

async fn no_route(request: Request) -> Failure {
    let text = format!("this hub has no {} {}", request.method(), request.uri().path());
    Failure::new(StatusCode::NOT_FOUND, "InvalidOperation", text)
}

async fn no_method(request: Request) -> Failure {
    let text = format!("this hub has no {} {}", request.method(), request.uri().path());
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "InvalidOperation", text)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::http::client::Client;
    use crate::ops::world::{World, policy_token};

    #[tokio::test(start_paused = true)]
    async fn no_cache_keeps_what_the_api_answers() {
        let client = Client::new().await;
        for (method, target) in [
            ("GET", "/api/v1/devices/D"),
            ("POST", "/api/v1/devices/D/secrets"),
            ("GET", "/api/v1/commands"),
            ("GET", "/api/v1/commands/7/content"),
            ("GET", "/api/v1/events?follow=false"),
        ] {
            let answer = client.policy("iothubowner", method, target, &[], Body::empty()).await;
            assert_eq!(answer.header("cache-control"), "no-store", "{method} {target}");
        }
    }

    /// Strangers learn nothing of what they asked wrongly; whoever may ask is told in the form that SDKs can read.
    #[tokio::test(start_paused = true)]
    async fn what_can_not_be_read_is_refused_first_and_explained_in_azures_form() {
        let world = World::new();
        for target in ["/api/v1/events?partition=1&partition=2", "/api/v1/devices/%ff/refusals", "/devices/%ff"] {
            for (token, status, code) in [
                (String::new(), StatusCode::UNAUTHORIZED, "IotHubUnauthorizedAccess"),
                (policy_token("hub.example", "iothubowner"), StatusCode::BAD_REQUEST, "ArgumentInvalid"),
            ] {
                let request = Request::get(target).header("host", "hub.example").header("authorization", token);
                let mut request = request.body(Body::empty()).unwrap();
                request.extensions_mut().insert(axum::extract::ConnectInfo(std::net::SocketAddr::from(([192, 0, 2, 1], 4711))));
                let response = api(Arc::clone(&world.hub)).oneshot(request).await.unwrap();
                assert_eq!((response.status(), &response.headers()["iothub-errorcode"]), (status, &code.parse().unwrap()), "{target}");
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert!(serde_json::from_slice::<serde_json::Value>(&body).unwrap()["Message"].is_string());
            }
        }
    }
}
