//! Health and metrics, for probes and scrapers. No ids and no secrets in it: nobody has to authenticate here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::time;

use crate::net::{Admissions, ReloadingCertificate};
use crate::ops::Hub;

/// How long the stores may take to say that they are there. Less than the second that Kubernetes gives a probe.
const STORE_ANSWER_TIME: Duration = Duration::from_millis(800);

/// What probes and scrapers ask about.
#[derive(Clone)]
pub struct Health {
    hub: Arc<Hub>,
    /// Listening, and not about to stop.
    open: Arc<AtomicBool>,
    metrics: Arc<Registry>,
}

impl Health {
    /// Not ready yet.
    #[must_use]
    pub fn new(hub: &Arc<Hub>, admissions: &Arc<Admissions>, certificate: &Arc<ReloadingCertificate>) -> Self {
        let mut metrics = Registry::with_prefix("mooring");
        hub.metrics.register(&mut metrics);
        let edge = Edge { hub: Arc::clone(hub), admissions: Arc::clone(admissions), certificate: Arc::clone(certificate) };
        metrics.register_collector(Box::new(edge));
        Self { hub: Arc::clone(hub), open: Arc::default(), metrics: Arc::new(metrics) }
    }

    /// From now on `/readyz` says whether the hub takes work, if `open`; or that it does not.
    pub fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
    }

    /// `/healthz` alone.
    pub fn liveness(&self) -> Router {
        Router::new().route("/healthz", get(alive))
    }

    /// `/healthz`, `/readyz` and `/metrics`.
    pub fn router(&self) -> Router {
        Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).route("/metrics", get(metrics)).with_state(self.clone())
    }
}

/// The process answers; that is all it says, so that a full disk does not make Kubernetes restart it for ever.
async fn alive() -> &'static str {
    "ok\n"
}

async fn ready(State(health): State<Health>) -> (StatusCode, String) {
    if !health.open.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting or stopping\n".to_owned());
    }
    match time::timeout(STORE_ANSWER_TIME, health.hub.registry.count()).await {
        Ok(Ok(_)) => (StatusCode::OK, "ok\n".to_owned()),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        Err(_elapsed) => (StatusCode::SERVICE_UNAVAILABLE, "the registry does not answer in time\n".to_owned()),
    }
}

async fn metrics(State(health): State<Health>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &health.metrics) {
        Ok(()) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response(),
        Err(std::fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What the edge counts, put into words when somebody asks.
#[derive(Clone)]
struct Edge {
    hub: Arc<Hub>,
    admissions: Arc<Admissions>,
    certificate: Arc<ReloadingCertificate>,
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Edge")
    }
}

impl Collector for Edge {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let mut gauge = |name: &str, help: &str, value: i64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge("connections", "Connections of all kinds", self.admissions.connections().into())?;
        gauge("connections_unfinished", "Connections on which nobody has authenticated yet", self.admissions.unfinished().into())?;
        gauge("devices_connected", "Devices with an open session", i64::try_from(self.hub.presence.connected()).unwrap_or(i64::MAX))?;
        if let Some(not_after) = self.certificate.not_after() {
            gauge("certificate_expiry_timestamp_seconds", "When the hub's certificate runs out", not_after.0.div_euclid(1000))?;
        }
        let mut refused = encoder.encode_descriptor(
            "connections_refused",
            "Connections turned away at the edge, by reason",
            None,
            MetricType::Counter,
        )?;
        for (refusal, count) in self.admissions.refusals().iter() {
            let labels = [("reason", refusal.name())];
            ConstCounter::new(count).encode(refused.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
