//! What the operator says about itself: metrics, /livez, /readyz.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// The bounds of how long a reconcile takes, in seconds.
const SECONDS: [f64; 8] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReconcile {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWrite {
    resource: String,
    verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWatch {
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfHubRequest {
    operation: &'static str,
    result: &'static str,
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Done,
    /// The manifest can't be carried out.
    Refused,
    /// It is tried again.
    Failed,
}

/// The operator's metrics. Clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    reconciles: Family<OfReconcile, Counter>,
    reconcile_seconds: Family<OfKind, Histogram>,
    api_writes: Family<OfWrite, Counter>,
    hub_requests: Family<OfHubRequest, Counter>,
    watches_refused: Family<OfWatch, Counter>,
    status_waiting: Gauge,
    leading: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            reconciles: Family::default(),
            reconcile_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            api_writes: Family::default(),
            hub_requests: Family::default(),
            watches_refused: Family::default(),
            status_waiting: Gauge::default(),
            leading: Gauge::default(),
        }
    }
}

impl Metrics {
    /// A reconcile has ended.
    pub fn reconciled(&self, kind: &'static str, outcome: Outcome, took: Duration) {
        let result = match outcome {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        };
        self.reconciles.get_or_create(&OfReconcile { kind, result }).inc();
        self.reconcile_seconds.get_or_create(&OfKind { kind }).observe(took.as_secs_f64());
    }

    /// A request goes to the API server.
    pub fn requested(&self, method: &Method, path: &str) {
        if let Some((resource, verb)) = write(method, path) {
            self.api_writes.get_or_create(&OfWrite { resource, verb }).inc();
        }
    }

    /// A request to a hub has ended.
    pub fn hub_requested(&self, operation: &'static str, result: &'static str) {
        self.hub_requests.get_or_create(&OfHubRequest { operation, result }).inc();
    }

    /// The API server lets nobody see what there is of a resource in a part of the scope.
    pub fn watch_refused(&self, resource: &str) {
        self.watches_refused.get_or_create(&OfWatch { resource: resource.to_owned() }).inc();
    }

    /// So many statuses wait to be written.
    pub fn set_status_waiting(&self, count: usize) {
        self.status_waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Whether this operator leads.
    pub fn set_leading(&self, leading: bool) {
        self.leading.set(i64::from(leading));
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("mooring_operator");
        registry.register("build", "The operator's version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("reconciles", "Reconciles, by kind and result", self.reconciles.clone());
        registry.register("reconcile_seconds", "How long reconciles take", self.reconcile_seconds.clone());
        registry.register("api_writes", "Writes to the API server", self.api_writes.clone());
        registry.register("hub_requests", "Requests to hubs, by what was asked and how it ended", self.hub_requests.clone());
        registry.register("watches_refused", "Watches that the API server refused for want of rights", self.watches_refused.clone());
        registry.register("status_waiting", "Statuses that wait to be written", self.status_waiting.clone());
        registry.register("leading", "1 while this operator leads", self.leading.clone());
        registry
    }
}

/// What is written, and how, by a request of this method and path: `/apis/apps/v1/namespaces/a/deployments/b` is a Deployment's.
fn write(method: &Method, path: &str) -> Option<(String, &'static str)> {
    let verb = match method.as_str() {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => return None,
    };
    let mut parts = path.trim_start_matches('/').split('/');
    match parts.next()? {
        "api" => parts.next()?,
        "apis" => parts.nth(1)?,
        _ => return None,
    };
    let (mut resource, mut subresource) = (parts.next()?, parts.nth(1));
    if resource == "namespaces"
        && let Some(namespaced) = subresource
    {
        (resource, subresource) = (namespaced, parts.nth(1));
    }
    Some((subresource.map_or_else(|| resource.to_owned(), |sub| format!("{resource}/{sub}")), verb))
}

/// What probes and scrapers ask about.
#[derive(Clone)]
pub struct Health {
    ready: Arc<AtomicBool>,
    registry: Arc<Registry>,
}

impl Health {
    /// Not ready yet.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self { ready: Arc::default(), registry: Arc::new(metrics.registry()) }
    }

    /// From now on `/readyz` says so.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// `/livez`, `/readyz` and `/metrics`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self.clone())
    }
}

async fn ready(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.ready.load(Ordering::Relaxed) { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not yet\n") }
}

async fn metrics(State(health): State<Health>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &health.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_told_by_what_it_writes() {
        let told = |method: Method, path| write(&method, path).map(|(resource, verb)| format!("{verb} {resource}"));
        let namespaced = "/apis/mooring.dev/v1alpha1/namespaces/a/iothubs/plant/status";
        assert_eq!(told(Method::PATCH, namespaced).as_deref(), Some("patch iothubs/status"));
        assert_eq!(told(Method::POST, "/api/v1/namespaces/a/secrets").as_deref(), Some("create secrets"));
        assert_eq!(told(Method::DELETE, "/api/v1/namespaces/a").as_deref(), Some("delete namespaces"));
        assert_eq!(told(Method::GET, "/api/v1/namespaces/a/secrets"), None);
    }

    #[test]
    fn metrics_are_named_as_documented() {
        let metrics = Metrics::default();
        metrics.reconciled("IotHub", Outcome::Done, Duration::from_millis(3));
        metrics.requested(&Method::PATCH, "/api/v1/namespaces/a/secrets/b");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &metrics.registry()).unwrap();
        assert!(text.contains("mooring_operator_reconciles_total{kind=\"IotHub\",result=\"done\"} 1"), "{text}");
        assert!(text.contains("mooring_operator_api_writes_total{resource=\"secrets\",verb=\"patch\"} 1"), "{text}");
    }
}
