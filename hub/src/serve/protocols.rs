//! Where a protocol meets what it may not know: MQTT the edge, HTTP the WebSocket's MQTT.

use std::sync::Arc;

use axum::Router;

use super::health::Health;
use super::listeners::Routers;
use crate::net::Connection;
use crate::ops::Hub;

/// Speaks MQTT with one peer until one of both has enough.
pub async fn serve_mqtt(_hub: Arc<Hub>, connection: Connection) {
    drop(connection);
}

/// The routes of the three HTTP ports.
pub fn routers(_hub: &Arc<Hub>, health: &Health) -> Routers {
    Routers { azure: Router::new(), api: Router::new().merge(health.liveness()), metrics: health.router() }
}
