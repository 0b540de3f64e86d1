//! Every route, on one page.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Router};

use super::error::Failure;
use super::websocket::Subprotocols;
use super::{device_messaging, events, refusals, registry, websocket};
use crate::ops::Hub;

/// Port 443: devices, back ends and WebSockets, as Azure has them.
pub fn azure(hub: Arc<Hub>, subprotocols: Subprotocols) -> Router {
    let routes = service().merge(device()).merge(websocket(subprotocols));
    routes.method_not_allowed_fallback(no_method).fallback(no_route).with_state(hub)
}

/// Port 8443: our own API, and the back ends' once more for a machine where 443 can't be bound.
pub fn api(hub: Arc<Hub>) -> Router {
    let routes = service().merge(own());
    routes.method_not_allowed_fallback(no_method).fallback(no_route).with_state(hub)
}

/// What devices call. Facts §7.2.
fn device() -> Router<Arc<Hub>> {
    Router::new().route("/devices/{id}/messages/events", post(device_messaging::post_events))
}

/// Where devices go whose network lets HTTPS through alone. Facts §1.2.
fn websocket(subprotocols: Subprotocols) -> Router<Arc<Hub>> {
    Router::new().route("/$iothub/websocket", get(websocket::upgrade)).layer(Extension(subprotocols))
}

/// Our own. docs/api.md.
fn own() -> Router<Arc<Hub>> {
    Router::new()
        .route("/api/v1/events", get(events::get_events))
        .route("/api/v1/refusals", get(refusals::list_refusals))
        .route("/api/v1/devices/{id}/refusals", get(refusals::list_device_refusals))
}

/// What back ends call. Facts §7.4.
fn service() -> Router<Arc<Hub>> {
    Router::new()
        .route("/devices", get(registry::list_devices).post(registry::bulk::change_devices))
        .route("/devices/", get(registry::list_devices))
        .route("/devices/{id}", get(registry::get_device).put(registry::put_device).delete(registry::delete_device))
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
