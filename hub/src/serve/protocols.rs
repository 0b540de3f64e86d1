//! Where protocols meet what they may not know of: MQTT and AMQP the edge, HTTP what is spoken in its WebSockets.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::health::Health;
use super::listeners::Routers;
use crate::amqp;
use crate::core::session::Protocol;
use crate::http::router;
use crate::http::websocket::{Speak, Subprotocols};
use crate::mqtt::{self, Stranger, serve_connection};
use crate::net::{Connection, WebSocketBytes};
use crate::ops::Hub;
use crate::ops::authenticate::Origin;

/// Speaks MQTT with one peer, who says who it is within `authentication_time`, until one of both has enough.
pub fn serve_mqtt(
    hub: Arc<Hub>,
    connection: Connection,
    authentication_time: Duration,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send {
    let certificate = connection.client_certificate();
    let Connection { stream, peer, admission } = connection;
    let watched = admission.clone();
    let stranger = Stranger { origin: Origin { protocol: Protocol::Mqtt, peer }, certificate };
    // Boxed, because a future that is moved into another's state takes its space there twice, and this one holds the TLS connection.
    let served = Box::pin(serve_connection(hub, stream, stranger, authentication_time, move || admission.authenticated()));
    async move {
        tokio::select! {
            () = served => {}
            // Whoever has a session is told to end by it.
            () = async { stop.cancelled().await; if watched.is_authenticated() { pending::<()>().await } } => {}
        }
    }
}

/// Speaks AMQP with one peer, who proves something within `authentication_time`, until one of both has enough.
pub fn serve_amqp(
    hub: Arc<Hub>,
    connection: Connection,
    authentication_time: Duration,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send {
    let certificate = connection.client_certificate();
    let Connection { stream, peer, admission } = connection;
    let stranger = amqp::Stranger { origin: Origin { protocol: Protocol::Amqp, peer }, certificate };
    // Boxed for the same reason as above.
    Box::pin(amqp::serve_connection(hub, stream, stranger, authentication_time, stop, move || admission.authenticated()))
}

/// The routes of the three HTTP ports. Who speaks MQTT or AMQP over a WebSocket has `authentication_time` too; what HTTP used up of it is gone, by
/// [`super::http_server`].
pub fn routers(hub: &Arc<Hub>, health: &Health, authentication_time: Duration, stop: &CancellationToken) -> Routers {
    let api = router::api(Arc::clone(hub)).merge(health.liveness());
    Routers { azure: router::azure(Arc::clone(hub), subprotocols(hub, authentication_time, stop)), api, metrics: health.router() }
}

/// What can be spoken over a WebSocket.
fn subprotocols(hub: &Arc<Hub>, authentication_time: Duration, stop: &CancellationToken) -> Subprotocols {
    let (amqp_hub, stop) = (Arc::clone(hub), stop.clone());
    let speak_amqp: Arc<Speak> = Arc::new(move |upgraded, peer, connection| {
        let (hub, stop) = (Arc::clone(&amqp_hub), stop.clone());
        let stranger = amqp::Stranger { origin: Origin { protocol: Protocol::AmqpWs, peer }, certificate: connection.take_certificate() };
        Box::pin(async move {
            let stream = WebSocketBytes::over(upgraded).await;
            amqp::serve_connection(hub, stream, stranger, authentication_time, stop, move || connection.authenticated()).await;
        })
    });
    let hub = Arc::clone(hub);
    let speak_mqtt: Arc<Speak> = Arc::new(move |upgraded, peer, connection| {
        let hub = Arc::clone(&hub);
        let stranger = Stranger { origin: Origin { protocol: Protocol::MqttWs, peer }, certificate: connection.take_certificate() };
        Box::pin(async move {
            let stream = WebSocketBytes::over(upgraded).await;
            serve_connection(hub, stream, stranger, authentication_time, move || connection.authenticated()).await;
        })
    });
    Subprotocols::default().with(mqtt::WEB_SOCKET_SUBPROTOCOL, speak_mqtt).with(amqp::WEB_SOCKET_SUBPROTOCOL, speak_amqp)
}
