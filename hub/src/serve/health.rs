//! Health and metrics, for probes and scrapers. Nobody has to authenticate here: no secrets in it, and no ids but those of devices that ask
//! for time series of their own.

use std::fmt;
use std::sync::Arc;

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

use super::readiness::Readiness;
use crate::core::session::Protocol;
use crate::core::time::UnixMillis;
use crate::net::{Admissions, ReloadingCertificate};
use crate::ops::Hub;
use crate::ops::consumer_groups::PlaceStatus;
use crate::ops::expected_devices::device_series;
use crate::ops::read_connections::{flapping_count, presence_counts};
use crate::store::journal::Journal;

/// What probes and scrapers ask about.
#[derive(Clone)]
pub struct Health {
    readiness: Arc<Readiness>,
    metrics: Arc<Registry>,
}

impl Health {
    /// Not ready yet.
    #[must_use]
    pub fn new(hub: &Arc<Hub>, journal: &Arc<Journal>, admissions: &Arc<Admissions>, certificate: &Arc<ReloadingCertificate>) -> Self {
        let mut metrics = Registry::with_prefix("mooring");
        hub.metrics.register(&mut metrics);
        metrics.register_collector(Box::new(Gauges {
            hub: Arc::clone(hub),
            journal: Arc::clone(journal),
            admissions: Arc::clone(admissions),
            certificate: Arc::clone(certificate),
        }));
        Self { readiness: Arc::new(Readiness::new(Arc::clone(&hub.registry))), metrics: Arc::new(metrics) }
    }

    /// From now on `/readyz` says whether the hub takes work, if `open`; or that it does not.
    pub fn set_open(&self, open: bool) {
        self.readiness.set_open(open);
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

/// A full disk, which stops events alone, is for `/metrics`: identities can still be changed, so the hub has to be reached.
async fn ready(State(health): State<Health>) -> (StatusCode, String) {
    match health.readiness.check().await {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn metrics(State(health): State<Health>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &health.metrics) {
        Ok(()) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What others count, put into words when somebody asks.
struct Gauges {
    hub: Arc<Hub>,
    journal: Arc<Journal>,
    admissions: Arc<Admissions>,
    certificate: Arc<ReloadingCertificate>,
}

impl Gauges {
    fn edge(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Connections of all kinds at all ports but this one";
        gauge(encoder, "listener_connections", help, self.admissions.connections())?;
        let help = "Connections on which nobody has authenticated yet";
        gauge(encoder, "listener_connections_unfinished", help, self.admissions.unfinished())?;
        let help = "Connections turned away at the edge, by reason";
        let mut refused = encoder.encode_descriptor("listener_connections_refused", help, None, MetricType::Counter)?;
        for (refusal, count) in self.admissions.refusals().iter() {
            let labels = [("reason", refusal.name())];
            ConstCounter::new(count).encode(refused.encode_family(&labels)?)?;
        }
        if let Some(not_after) = self.certificate.not_after() {
            gauge(encoder, "certificate_expiry_timestamp_seconds", "When the hub's certificate runs out", seconds(not_after))?;
        }
        Ok(())
    }

    fn presence(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counts = presence_counts(&self.hub);
        let mut connections = encoder.encode_descriptor("connections", "Device connections open now", None, MetricType::Gauge)?;
        for protocol in Protocol::CONNECTED {
            let open = counts.by_protocol.get(&protocol).copied().unwrap_or_default();
            let labels = [("protocol", protocol.name())];
            ConstGauge::new(i64::try_from(open).unwrap_or(i64::MAX)).encode(connections.encode_family(&labels)?)?;
        }
        gauge(encoder, "devices_connected", "Devices with an open connection", counts.connected as u64)?;
        gauge(encoder, "devices_flapping", "Devices that connect again and again, a thousand at most", flapping_count(&self.hub) as u64)?;
        counter(encoder, "take_overs", "Device connections that ended an older one of their device", counts.take_overs)
    }

    fn device_series(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (series, left_out) = device_series(&self.hub);
        let help = "Devices that ask for time series of their own and have none, because a thousand others have";
        gauge(encoder, "device_series_left_out", help, left_out as u64)?;
        let mut connected = encoder.encode_descriptor("device_connected", "1 while the device is connected", None, MetricType::Gauge)?;
        for device in &series {
            let labels = [("device_id", device.id.as_str())];
            ConstGauge::new(i64::from(device.connected)).encode(connected.encode_family(&labels)?)?;
        }
        let (name, help) = ("device_last_transition_timestamp_seconds", "When the device last connected or disconnected");
        let mut last = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (device, time) in series.iter().filter_map(|device| Some((device, device.last_transition?))) {
            let labels = [("device_id", device.id.as_str())];
            ConstGauge::new(i64::try_from(seconds(time)).unwrap_or(i64::MAX)).encode(last.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// At most 20 groups and 32 partitions. A group that nobody has read in yet has no lag.
    fn consumer_groups(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (groups, now) = (self.hub.consumer_groups.status(&*self.hub.events), self.hub.now());
        type Value = fn(&PlaceStatus, UnixMillis) -> Option<u64>;
        let all: [(&str, &str, Value); 3] = [
            ("consumer_group_readers", "Readers of the partition in the consumer group now", |place, _| Some(place.readers.len() as u64)),
            ("consumer_group_lag_events", "Events of the partition that are kept and were not given to the consumer group", |place, _| {
                place.lag()
            }),
            ("consumer_group_lag_seconds", "Age of the oldest of these events; 0 when there is none", |place, now| {
                place.lag_time(now).map(|time| time.as_secs())
            }),
        ];
        for (name, help, value) in all {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (group, place) in groups.iter().flat_map(|group| group.partitions.iter().map(move |place| (group, place))) {
                if let Some(value) = value(place, now) {
                    let partition = place.partition.to_string();
                    let labels = [("group", group.name.as_str()), ("partition", partition.as_str())];
                    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }

    fn journal(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.journal.stats();
        counter(encoder, "journal_groups", "Groups of events made durable, each by one fdatasync", stats.groups)?;
        counter(encoder, "journal_records", "Events made durable", stats.records)?;
        counter(encoder, "journal_bytes", "Bytes written to make events durable", stats.bytes)?;
        let sync_ms = u64::try_from(stats.sync_time.as_millis()).unwrap_or(u64::MAX);
        counter(encoder, "journal_sync_milliseconds", "Milliseconds spent in writing groups and waiting for the disk", sync_ms)?;
        counter(encoder, "journal_failures", "Writes to the journal that failed", stats.failures)?;
        counter(encoder, "journal_holes", "Damaged stretches of acknowledged events, stepped over", stats.holes)?;
        gauge(encoder, "journal_segments", "Segment files", stats.segments)?;
        gauge(encoder, "journal_bytes_on_disk", "Bytes that the segments take on disk", stats.bytes_on_disk)?;
        if let Some(time) = stats.oldest_event_time {
            let help = "When the oldest event that is kept was enqueued";
            gauge(encoder, "journal_oldest_event_timestamp_seconds", help, seconds(time))?;
        }
        if let Some(held) = stats.ballast_held {
            let help = "1 while the space is held that lets the registry be written when events have filled the disk";
            gauge(encoder, "journal_ballast_held", help, u64::from(held))?;
        }
        gauge(encoder, "journal_disk_full", "1 while events are refused because the disk is full", u64::from(stats.disk_full))?;
        gauge(encoder, "journal_refusing", "1 while events are refused for whatever reason", u64::from(stats.refusing))
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.edge(&mut encoder)?;
        self.presence(&mut encoder)?;
        self.device_series(&mut encoder)?;
        self.consumer_groups(&mut encoder)?;
        self.journal(&mut encoder)
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauges")
    }
}

fn seconds(time: UnixMillis) -> u64 {
    u64::try_from(time.0.div_euclid(1000)).unwrap_or(0)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: impl Into<u64>) -> fmt::Result {
    let gauge = ConstGauge::new(i64::try_from(value.into()).unwrap_or(i64::MAX));
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let counter = ConstCounter::new(value);
    counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
}
