//! The composition root: from the command line to controllers that run, and back. The only place that reads the clock or spawns.
//!
//! At SIGTERM nothing new is begun, what has begun ends, and then the Lease is released, so that another operator goes on at once. It is
//! renewed until then: nobody else begins while something here still ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use jiff::Timestamp;
use kube::client::{Body, ClientBuilder};
use kube::{Api, Client, Config};
use rand::RngCore as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::util::MapRequestLayer;
use tracing::{info, warn};

use crate::cli::{Options, Switch};
use crate::clock::Clock;
use crate::device;
use crate::events::Events;
use crate::hub::{Instruments, Links};
use crate::iot_hub::build::Surroundings;
use crate::iot_hub::{self, Context};
use crate::leader::Election;
use crate::observe::{Health, Metrics};
use crate::scope::Scope;

/// For everything to end when the operator is told to stop: less than the chart gives its Pod.
const SHUTDOWN_TIME: Duration = Duration::from_secs(50);

/// The operator can't run, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No cluster.
    #[error("no cluster: run the operator in a Pod, or set KUBECONFIG")]
    Kubeconfig(#[from] kube::config::InferConfigError),
    /// The cluster can't be spoken to.
    #[error("the API server can't be spoken to")]
    Client(#[from] kube::Error),
    /// The port for health and metrics.
    #[error("nothing can listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Signals.
    #[error("signals can't be waited for")]
    Signals(#[source] io::Error),
    /// Another operator may lead.
    #[error("the Lease is lost: another operator may lead, so this one ends")]
    LeaseLost,
    /// A controller is not supposed to.
    #[error("a controller has ended by itself")]
    ControllerEnded,
}

/// Runs until the process is told to stop, or must.
pub async fn run(options: Options) -> Result<(), RunError> {
    // Somebody may have chosen already; then theirs is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let clock: Clock = Timestamp::now;
    let mut told_to_stop = Signals::new().map_err(RunError::Signals)?;
    let metrics = Metrics::default();
    let config = Config::infer().await?;
    let client = counted_client(config, &metrics)?;
    let health = Health::new(&metrics);
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(listen(options.metrics).await?, health.clone()));

    let me = identity(&options);
    let election = election(&options, &client, &me, clock);
    // One that waits is as ready as one that leads: a rollout must not wait for what waits for it.
    health.set_ready(true);
    if let Some(election) = &election {
        tokio::select! {
            () = election.won() => {}
            () = told_to_stop.any() => return Ok(()),
        }
    }
    metrics.set_leading(true);

    let stop = CancellationToken::new();
    let mut controllers = controllers(&options, &client, &me, &metrics, clock, &stop);
    let ended = tokio::select! {
        () = told_to_stop.any() => Ok(()),
        () = lost(election.as_ref()) => Err(RunError::LeaseLost),
        _ = controllers.join_next() => Err(RunError::ControllerEnded),
    };
    // Whoever leads no more ends at once: what it would finish may be another's by now.
    ended?;
    info!("stopping");
    health.set_ready(false);
    stop.cancel();
    let all = async { while controllers.join_next().await.is_some() {} };
    let in_time = tokio::select! {
        all = timeout(SHUTDOWN_TIME, all) => all.is_ok(),
        () = lost(election.as_ref()) => return Err(RunError::LeaseLost),
    };
    if !in_time {
        warn!("what is not done after {} s is left to the next operator", SHUTDOWN_TIME.as_secs());
    }
    if let Some(election) = &election
        && let Err(error) = election.release().await
    {
        warn!(%error, "the Lease is not released, and ends by itself: {error}");
    }
    Ok(())
}

/// Each request to the API server is counted, whosoever makes it.
fn counted_client(config: Config, metrics: &Metrics) -> Result<Client, kube::Error> {
    let metrics = metrics.clone();
    let count = MapRequestLayer::new(move |request: Request<Body>| {
        metrics.requested(request.method(), request.uri().path());
        request
    });
    Ok(ClientBuilder::try_from(config)?.with_layer(&count).build())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })
}

async fn serve(listener: TcpListener, health: Health) {
    if let Err(error) = axum::serve(listener, health.router()).await {
        warn!(%error, "health and metrics are not served any more: {error}");
    }
}

/// Never the same for two processes, even on one machine.
fn identity(options: &Options) -> String {
    let name = options.identity.clone().or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_else(|| "mooring-operator".to_owned());
    format!("{name}_{:08x}", rand::rng().next_u32())
}

fn election(options: &Options, client: &Client, me: &str, clock: Clock) -> Option<Election> {
    if options.leader_election == Switch::Off {
        return None;
    }
    let namespace = options.lease_namespace.as_deref().or(options.namespace.as_deref()).unwrap_or(client.default_namespace());
    Some(Election::new(Api::namespaced(client.clone(), namespace), options.lease_name.clone(), me.to_owned(), clock))
}

async fn lost(election: Option<&Election>) {
    match election {
        Some(election) => election.lost().await,
        None => std::future::pending().await,
    }
}

fn controllers(options: &Options, client: &Client, me: &str, metrics: &Metrics, clock: Clock, stop: &CancellationToken) -> JoinSet<()> {
    let scope = Scope::of(options.watch_namespace.clone());
    info!(?scope, "looking after {}", describe(&scope));
    let instruments = Instruments { clock, metrics: metrics.clone() };
    let links = Links::new(instruments.clone());
    let events = Events::new(client.clone(), me.to_owned());
    let surroundings = Surroundings {
        hub_image: options.hub_image.clone(),
        cluster_domain: options.cluster_domain.clone(),
        operator_namespace: options.namespace.clone(),
    };
    let context = Context::new(client.clone(), surroundings, links.clone(), events, metrics.clone(), clock);
    let mut controllers = JoinSet::new();
    controllers.spawn(iot_hub::controller(Arc::new(context), scope.clone(), stop.clone()));
    controllers.spawn(device::controller(client.clone(), instruments, scope, links, options.namespace.clone(), stop.clone()));
    controllers
}

fn describe(scope: &Scope) -> String {
    match scope {
        Scope::Cluster => "the whole cluster".to_owned(),
        Scope::Namespaces(names) => names.join(", "),
    }
}

/// The signals that end a process in good order.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
