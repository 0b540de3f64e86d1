//! Carries a router over an encrypted connection: HTTP/1.1 or HTTP/2, with bounds on everything that a stranger can stretch.
//!
//! Owns the connection until it ends. Never looks into a request; of an answer, only whether
//! it refuses.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::debug;

use crate::http::connection::HttpConnection;
use crate::http::header_case::{Observed, Spellings};
use crate::net::Connection;

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
    versions: Versions,
    authentication_time: Option<Duration>,
    stop: CancellationToken,
}

#[derive(Clone)]
enum Versions {
    /// HTTP/1.1, and what clients upgrade it to.
    One(http1::Builder),
    /// HTTP/1.1 or HTTP/2, as the client begins, and what clients upgrade the former to. The choice has no time limit of its own, only that for authentication.
    Both(auto::Builder<TokioExecutor>),
}

impl HttpServer {
    /// HTTP/1.1 alone, until `stop`; also for a client that speaks HTTP/2 without having agreed on it.
    #[must_use]
    pub fn http1(times: HttpTimes, stop: CancellationToken) -> Self {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(times.header).max_buf_size(HEADER_MAX_BYTES);
        Self { versions: Versions::One(builder), authentication_time: times.authentication, stop }
    }

    /// Both versions of HTTP, until `stop`.
    #[must_use]
    pub fn http1_and_2(times: HttpTimes, stop: CancellationToken) -> Self {
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
        Self { versions: Versions::Both(builder), authentication_time: times.authentication, stop }
    }

    /// Serves one connection until it ends, or the hub does; also what follows an upgrade.
    pub fn serve(self, connection: Connection, router: Router) -> impl Future<Output = ()> + Send {
        let admission = connection.admission.clone();
        let handle = HttpConnection::new(connection.client_certificate(), move || admission.authenticated());
        let patience = Patience {
            handle: handle.clone(),
            authenticated_by: self.authentication_time.map(|time| Instant::now() + time),
            stop: self.stop,
        };
        // Boxed, so that a WebSocket does not keep what only HTTP needed.
        let http = Box::pin(serve_http(self.versions, connection, router, patience.clone()));
        async move {
            http.await;
            if let Some(sequel) = handle.sequel() {
                tokio::select! {
                    () = sequel => {}
                    () = patience.with_a_sequel() => {}
                }
            }
        }
    }
}

async fn serve_http(versions: Versions, connection: Connection, router: Router, patience: Patience) {
    let Connection { stream, peer, .. } = connection;
    let spellings = Spellings::default();
    let stream = TokioIo::new(Observed::new(stream, spellings.clone()));
    let handle = patience.handle.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let version = request.version();
        request.extensions_mut().insert(spellings.clone());
        request.extensions_mut().insert(ConnectInfo::<SocketAddr>(peer));
        request.extensions_mut().insert(handle.clone());
        let (answering, handle) = (router.clone().oneshot(request), handle.clone());
        async move {
            let mut answer = answering.await?;
            if answer.status() == StatusCode::UNAUTHORIZED {
                // Whoever was refused begins again as a stranger, with a stranger's limits, whatever the connection was before.
                handle.end();
                if version < Version::HTTP_2 {
                    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let ended = match versions {
        Versions::One(builder) => {
            let connection = builder.serve_connection(stream, service).with_upgrades();
            drive(connection, |connection| connection.graceful_shutdown(), &patience).await.map_err(Into::into)
        }
        Versions::Both(builder) => {
            let connection = builder.serve_connection_with_upgrades(stream, service);
            drive(connection, |connection| connection.graceful_shutdown(), &patience).await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, error, "an HTTP connection of {peer} broke: {error}");
    }
}

/// Serves until the connection ends or patience does; `wind_up` makes it take no more requests. Answers under way get a moment then.
async fn drive<C, E>(connection: C, wind_up: impl Fn(Pin<&mut C>), patience: &Patience) -> Result<(), E>
where
    C: Future<Output = Result<(), E>>,
{
    let mut serving = pin!(connection);
    let mut last_call = pin!(patience.with_http());
    let mut told_to_end = pin!(patience.handle.told_to_end());
    let mut ending = false;
    loop {
        tokio::select! {
            outcome = &mut serving => return outcome,
            () = patience.handle.told_to_close() => return Ok(()),
            () = &mut last_call => break,
            () = &mut told_to_end, if !ending => {
                ending = true;
                wind_up(serving.as_mut());
            }
        }
    }
    wind_up(serving.as_mut());
    time::timeout(FAREWELL_TIME, serving).await.unwrap_or(Ok(()))
}

/// How long a connection is borne.
#[derive(Clone)]
struct Patience {
    handle: HttpConnection,
    /// Counts from the end of TLS, and goes on through an upgrade; `None` where nobody authenticates.
    authenticated_by: Option<Instant>,
    stop: CancellationToken,
}

impl Patience {
    /// Returns when the hub stops, or when nobody has authenticated in the time for it.
    async fn with_http(&self) {
        if let Some(by) = self.authenticated_by {
            let stopped = time::timeout_at(by, self.stop.cancelled()).await.is_ok();
            if stopped || !self.handle.is_authenticated() {
                return;
            }
        }
        self.stop.cancelled().await;
    }

    /// The same, but that whoever has a session is told to end by it when the hub stops.
    async fn with_a_sequel(&self) {
        self.with_http().await;
        if self.handle.is_authenticated() {
            pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves a connection that never ends by itself; answers after how many seconds it did.
    async fn served_for(patience: &Patience) -> u64 {
        let started = Instant::now();
        drive(pending::<Result<(), ()>>(), |_| {}, patience).await.unwrap();
        started.elapsed().as_secs()
    }

    fn patience(seconds: u64) -> Patience {
        let authenticated_by = Some(Instant::now() + Duration::from_secs(seconds));
        Patience { handle: HttpConnection::default(), authenticated_by, stop: CancellationToken::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_is_borne_for_a_while() {
        assert_eq!(served_for(&patience(30)).await, 30 + FAREWELL_TIME.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_client_takes_nothing_is_closed_at_its_time() {
        let patience = patience(30);
        patience.handle.authenticated();
        let _closing = patience.handle.close_after(time::sleep(Duration::from_secs(60)));
        assert_eq!(served_for(&patience).await, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sequel_has_the_time_that_is_left_and_stops_for_a_stranger_alone() {
        let stranger = patience(30);
        time::advance(Duration::from_secs(20)).await;
        let started = Instant::now();
        stranger.with_a_sequel().await;
        assert_eq!(started.elapsed().as_secs(), 10);

        let (stranger, device) = (patience(30), patience(30));
        device.handle.authenticated();
        for patience in [&stranger, &device] {
            patience.stop.cancel();
        }
        stranger.with_a_sequel().await;
        let waits = time::timeout(Duration::from_secs(3600), device.with_a_sequel()).await;
        assert!(waits.is_err(), "its session ends it");
    }
}
