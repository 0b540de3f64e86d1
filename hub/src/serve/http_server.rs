//! Carries a router over an encrypted connection: HTTP/1.1 or HTTP/2, with bounds on everything that a stranger can stretch.
//!
//! Owns the connection until it ends. Never looks into a request.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::debug;

use crate::http::connection::HttpConnection;
use crate::http::header_case::{Observed, Spellings};
use crate::net::{Admission, Connection};

/// The largest request header, all lines together. Azure's own bound is 16 KiB, and a header of every allowed property is 8 KiB more.
const HEADER_MAX_BYTES: usize = 32 * 1024;

/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;

/// What an HTTP/2 client may send before the hub has taken it: the least that the protocol allows, so that nobody who has not
/// authenticated fills more memory than that, and still 10 Mbit/s at 50 ms.
const WINDOW_BYTES: u32 = 65_535;

/// How often an HTTP/2 client without a request is asked whether it is there, and how long it has to answer.
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_ANSWER_TIME: Duration = Duration::from_secs(20);

/// For requests that are being answered when the hub stops. Streams of events, which never end by themselves, are cut.
const FAREWELL_TIME: Duration = Duration::from_secs(2);

/// How long clients may take.
#[derive(Clone, Copy, Debug)]
pub struct HttpTimes {
    /// For a request's header, and between two requests.
    pub header: Duration,
    /// For the first good token on a connection, from the end of TLS; `None` where nobody has one.
    pub authentication: Option<Duration>,
}

/// Serves HTTP connections, all with the same bounds.
#[derive(Clone)]
pub struct HttpServer {
    builder: auto::Builder<TokioExecutor>,
    authentication_time: Option<Duration>,
    stop: CancellationToken,
}

impl HttpServer {
    /// Both versions of HTTP, until `stop`.
    #[must_use]
    pub fn new(times: HttpTimes, stop: CancellationToken) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(times.header).max_buf_size(HEADER_MAX_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_ANSWER_TIME)
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_header_list_size(HEADER_MAX_BYTES as u32);
        Self { builder, authentication_time: times.authentication, stop }
    }

    /// HTTP/1.1 alone, also for a client that speaks HTTP/2 without having agreed on it.
    #[must_use]
    pub fn http1_only(self) -> Self {
        Self { builder: self.builder.http1_only(), ..self }
    }

    /// Serves one connection until it ends, or the hub does; also what follows an upgrade.
    pub fn serve(self, connection: Connection, router: Router) -> impl Future<Output = ()> + Send {
        // Boxed, so that a WebSocket does not keep what only HTTP needed.
        let http = Box::pin(self.serve_http(connection, router));
        async move {
            let sequel = http.await;
            if let Some(sequel) = sequel {
                sequel.await;
            }
        }
    }

    async fn serve_http(self, connection: Connection, router: Router) -> Option<BoxFuture<'static, ()>> {
        let Connection { stream, peer, admission } = connection;
        let watched = admission.clone();
        let spellings = Spellings::default();
        let stream = Observed::new(stream, spellings.clone());
        let handle = HttpConnection::new(move || admission.authenticated());
        let given = handle.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(spellings.clone());
            request.extensions_mut().insert(ConnectInfo::<SocketAddr>(peer));
            request.extensions_mut().insert(given.clone());
            router.clone().oneshot(request)
        });
        let serving = self.builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut serving = pin!(serving);
        let outcome = tokio::select! {
            outcome = &mut serving => outcome,
            () = self.last_call(&watched) => {
                serving.as_mut().graceful_shutdown();
                time::timeout(FAREWELL_TIME, serving).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = outcome {
            debug!(%peer, %error, "an HTTP connection of {peer} broke: {error}");
        }
        handle.sequel()
    }

    /// Returns when the hub stops, or when nobody has authenticated in the time for it.
    async fn last_call(&self, admission: &Admission) {
        if let Some(authentication_time) = self.authentication_time {
            let stopped = time::timeout(authentication_time, self.stop.cancelled()).await.is_ok();
            if !stopped && !admission.is_authenticated() {
                return;
            }
        }
        self.stop.cancelled().await;
    }
}
