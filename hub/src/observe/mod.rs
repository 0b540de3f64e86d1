//! What the hub counts about itself, for Prometheus. A leaf: it is told, it asks nobody. No ids and no secrets in it. docs/metrics.md.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::core::command::Outcome;
use crate::core::command::machine::Statistics;
use crate::core::expectation::Expected;
use crate::core::rates::{Counted, Totals};
use crate::core::session::{DisconnectReason, Protocol};

/// The hub's counters.
#[derive(Default)]
pub struct Metrics {
    telemetry_messages: Family<ProtocolLabel, Counter>,
    telemetry_bytes: Family<ProtocolLabel, Counter>,
    connects: Family<ProtocolLabel, Counter>,
    disconnects: Family<DisconnectLabels, Counter>,
    devices: Family<StatusLabel, Gauge>,
    devices_expected: Gauge,
    devices_expected_offline: Gauge,
    refusals: Family<ReasonLabel, Counter>,
    http_requests: Family<StatusLabel, Counter>,
    event_readers: Gauge,
    change_watchers: Gauge,
    connection_records_lost: Counter,
    commands_enqueued: Counter,
    command_bytes: Counter,
    command_deliveries: Family<ProtocolLabel, Counter>,
    commands_ended: Family<OutcomeLabel, Counter>,
    commands_pending: Gauge,
    commands_invisible: Gauge,
    receipts_waiting: Gauge,
    receipts: Family<OutcomeLabel, Counter>,
    receipts_read: Counter,
    receipts_lost: Counter,
    throttled: Counter,
    registry_failures: Counter,
    manifests: Family<StateLabel, Gauge>,
    manifest_problems: Gauge,
    configuration_broken: Gauge,
}

/// How devices stand that have a manifest in the hub's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestState {
    /// As the manifest wants.
    InHub,
    /// Shut out by a person or a back end.
    Held,
    /// Not carried out.
    Refused,
    /// Did not go through, and tried again.
    Failed,
    /// Without a manifest any more, and still there.
    Missing,
}

impl ManifestState {
    const ALL: [Self; 5] = [Self::InHub, Self::Held, Self::Refused, Self::Failed, Self::Missing];

    fn name(self) -> &'static str {
        match self {
            Self::InHub => "InHub",
            Self::Held => "Held",
            Self::Refused => "Refused",
            Self::Failed => "Failed",
            Self::Missing => "Missing",
        }
    }
}

/// A reader of events, counted until it is dropped.
#[derive(Debug)]
pub struct CountedReader(Gauge);

impl Drop for CountedReader {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A watcher of changes, counted until it is dropped.
#[derive(Debug)]
pub struct CountedWatcher(Gauge);

impl Drop for CountedWatcher {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The classes of HTTP's status codes, from 1xx.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// HTTP's status for somebody who is to come again later.
const TOO_MANY_REQUESTS: u16 = 429;

/// How a device's status is called.
const DEVICE_STATUSES: [&str; 2] = ["enabled", "disabled"];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProtocolLabel {
    protocol: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DisconnectLabels {
    protocol: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

impl Metrics {
    /// All at zero, and there: a rate misses the first of what appears only when it has happened. `refusals` are the reasons for which
    /// somebody can be refused.
    #[must_use]
    pub fn new(refusals: &[&'static str]) -> Self {
        let metrics = Self::default();
        for protocol in Protocol::ALL.map(|protocol| ProtocolLabel { protocol: protocol.name() }) {
            drop(metrics.telemetry_messages.get_or_create(&protocol));
            drop(metrics.telemetry_bytes.get_or_create(&protocol));
            drop(metrics.command_deliveries.get_or_create(&protocol));
        }
        for outcome in Outcome::ALL.map(Outcome::name) {
            drop(metrics.commands_ended.get_or_create(&OutcomeLabel { outcome }));
            drop(metrics.receipts.get_or_create(&OutcomeLabel { outcome }));
        }
        for protocol in Protocol::CONNECTED.map(Protocol::name) {
            drop(metrics.connects.get_or_create(&ProtocolLabel { protocol }));
            for reason in DisconnectReason::ALL.map(DisconnectReason::name) {
                drop(metrics.disconnects.get_or_create(&DisconnectLabels { protocol, reason }));
            }
        }
        for reason in refusals {
            drop(metrics.refusals.get_or_create(&ReasonLabel { reason }));
        }
        for state in ManifestState::ALL.map(ManifestState::name) {
            drop(metrics.manifests.get_or_create(&StateLabel { state }));
        }
        for status in DEVICE_STATUSES {
            drop(metrics.devices.get_or_create(&StatusLabel { status }));
        }
        for status in STATUS_CLASSES {
            drop(metrics.http_requests.get_or_create(&StatusLabel { status }));
        }
        metrics
    }

    /// Names everything in `registry`, whose prefix is the product's.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("build", "The program; always 1", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("telemetry_messages", "Device-to-cloud messages appended", self.telemetry_messages.clone());
        registry.register(
            "telemetry_bytes",
            "Bytes of device-to-cloud messages appended, in their stored form",
            self.telemetry_bytes.clone(),
        );
        registry.register("connects", "Device connections accepted", self.connects.clone());
        registry.register("disconnects", "Device connections ended, by reason", self.disconnects.clone());
        registry.register("refusals", "Devices and services refused, by reason", self.refusals.clone());
        registry.register("devices", "Devices in the registry, by whether they may connect", self.devices.clone());
        let help = "Devices that may connect and are expected to: an offlineAfter applies to them";
        registry.register("devices_expected", help, self.devices_expected.clone());
        let help = "Expected devices that have been away for longer than their offlineAfter";
        registry.register("devices_expected_offline", help, self.devices_expected_offline.clone());
        registry.register("http_requests", "HTTP requests answered, by class of status", self.http_requests.clone());
        registry.register("event_readers", "Readers of events now", self.event_readers.clone());
        registry.register("change_watchers", "Watchers of the change stream now", self.change_watchers.clone());
        registry.register(
            "connection_records_lost",
            "Connects and disconnects that are missing in the connections' log, because it did not take them in time",
            self.connection_records_lost.clone(),
        );
        registry.register("commands_enqueued", "Commands taken for devices", self.commands_enqueued.clone());
        registry.register("command_bytes", "Bytes of commands taken for devices, in their stored form", self.command_bytes.clone());
        registry.register("command_deliveries", "Commands handed to devices, each time", self.command_deliveries.clone());
        registry.register("commands_ended", "Commands that ended, by how", self.commands_ended.clone());
        registry.register("commands_pending", "Commands that have not ended now", self.commands_pending.clone());
        registry.register("commands_invisible", "Commands that are locked by a delivery now", self.commands_invisible.clone());
        registry.register("receipts_waiting", "Receipts in the feedback queue now", self.receipts_waiting.clone());
        registry.register("receipts", "Receipts that came to be, by how their commands ended", self.receipts.clone());
        registry.register("receipts_read", "Receipts that a back end took from the feedback queue", self.receipts_read.clone());
        registry.register("receipts_lost", "Receipts that left the feedback queue without having been taken", self.receipts_lost.clone());
        let help = "Requests answered 429, and commands refused because queues are full";
        registry.register("throttled", help, self.throttled.clone());
        registry.register("registry_failures", "Calls of the registry that failed", self.registry_failures.clone());
        registry.register("manifests", "Devices of the manifest folder, by how they stand", self.manifests.clone());
        let help = "Files of the manifest folder that can't be taken as they are, and the folder itself if it can't be read";
        registry.register("manifest_problems", help, self.manifest_problems.clone());
        let help = "1 while the configuration file, which has changed since the start, can't be used";
        registry.register("configuration_broken", help, self.configuration_broken.clone());
    }

    /// Messages were appended.
    pub fn telemetry(&self, protocol: Protocol, messages: usize, bytes: usize) {
        let protocol = ProtocolLabel { protocol: protocol.name() };
        self.telemetry_messages.get_or_create(&protocol).inc_by(messages as u64);
        self.telemetry_bytes.get_or_create(&protocol).inc_by(bytes as u64);
    }

    /// An HTTP request was answered with this status code.
    pub fn http_answered(&self, status: u16) {
        let class = STATUS_CLASSES.get(usize::from(status / 100).saturating_sub(1)).copied().unwrap_or("other");
        self.http_requests.get_or_create(&StatusLabel { status: class }).inc();
        if status == TOO_MANY_REQUESTS {
            self.throttled.inc();
        }
    }

    /// Somebody reads events, until the answer is dropped.
    #[must_use]
    pub fn reads_events(&self) -> CountedReader {
        self.event_readers.inc();
        CountedReader(self.event_readers.clone())
    }

    /// Somebody watches changes, until the answer is dropped.
    #[must_use]
    pub fn watches_changes(&self) -> CountedWatcher {
        self.change_watchers.inc();
        CountedWatcher(self.change_watchers.clone())
    }

    /// A connect or disconnect found no room in the buffer before the connections' log.
    pub fn connection_record_lost(&self) {
        self.connection_records_lost.inc();
    }

    /// A command of so many bytes was taken.
    pub fn command_enqueued(&self, bytes: u32) {
        self.commands_enqueued.inc();
        self.command_bytes.inc_by(bytes.into());
    }

    /// A command was refused, because queues are full.
    pub fn command_throttled(&self) {
        self.throttled.inc();
    }

    /// There is a receipt of a command that ended so.
    pub fn receipt_made(&self, outcome: Outcome) {
        self.receipts.get_or_create(&OutcomeLabel { outcome: outcome.name() }).inc();
    }

    /// A receipt left the feedback queue, taken or not.
    pub fn receipt_left(&self, taken: bool) {
        if taken {
            self.receipts_read.inc()
        } else {
            self.receipts_lost.inc()
        };
    }

    /// A command was handed to its device.
    pub fn command_delivered(&self, protocol: Protocol) {
        self.command_deliveries.get_or_create(&ProtocolLabel { protocol: protocol.name() }).inc();
    }

    /// A command ended.
    pub fn command_ended(&self, outcome: Outcome) {
        self.commands_ended.get_or_create(&OutcomeLabel { outcome: outcome.name() }).inc();
    }

    /// So much waits now.
    pub fn commands_waiting(&self, statistics: Statistics) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.commands_pending.set(gauge(statistics.pending));
        self.commands_invisible.set(gauge(statistics.invisible));
        self.receipts_waiting.set(gauge(statistics.receipts_waiting));
    }

    /// A call of the registry failed.
    pub fn registry_failed(&self) {
        self.registry_failures.inc();
    }

    /// So many devices of the manifest folder stand so.
    pub fn manifests(&self, state: ManifestState, devices: usize) {
        self.manifests.get_or_create(&StateLabel { state: state.name() }).set(i64::try_from(devices).unwrap_or(i64::MAX));
    }

    /// So much is wrong with the manifest folder.
    pub fn manifest_problems(&self, problems: usize) {
        self.manifest_problems.set(i64::try_from(problems).unwrap_or(i64::MAX));
    }

    /// The configuration file can't be used as it is now; or it can again.
    pub fn configuration_broken(&self, broken: bool) {
        self.configuration_broken.set(i64::from(broken));
    }

    /// So many devices there are, and so many of them may connect.
    pub fn devices(&self, total: u64, enabled: u64) {
        for (status, count) in DEVICE_STATUSES.into_iter().zip([enabled, total.saturating_sub(enabled)]) {
            self.devices.get_or_create(&StatusLabel { status }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// So many are expected, and so many of them offline.
    pub fn devices_expected(&self, expected: Expected) {
        self.devices_expected.set(i64::try_from(expected.devices).unwrap_or(i64::MAX));
        self.devices_expected_offline.set(i64::try_from(expected.offline).unwrap_or(i64::MAX));
    }

    /// A device connected.
    pub fn connected(&self, protocol: Protocol) {
        self.connects.get_or_create(&ProtocolLabel { protocol: protocol.name() }).inc();
    }

    /// A device's connection ended.
    pub fn disconnected(&self, protocol: Protocol, reason: DisconnectReason) {
        self.disconnects.get_or_create(&DisconnectLabels { protocol: protocol.name(), reason: reason.name() }).inc();
    }

    /// Somebody was refused.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// How far the counters are that rates are made of; `refusals` as in [`Self::new`].
    #[must_use]
    pub fn totals(&self, refusals: &[&'static str]) -> Totals {
        let mut totals = Totals::default();
        let protocols = Protocol::ALL.map(|protocol| ProtocolLabel { protocol: protocol.name() });
        let of_all = |family: &Family<ProtocolLabel, Counter>| protocols.iter().filter_map(|label| Some(family.get(label)?.get())).sum();
        let ended = |reason: DisconnectReason| {
            let labels = protocols.iter().map(|label| DisconnectLabels { protocol: label.protocol, reason: reason.name() });
            labels.filter_map(|labels| Some(self.disconnects.get(&labels)?.get())).sum()
        };
        let by_outcome = |family: &Family<OutcomeLabel, Counter>| {
            Outcome::ALL.map(|outcome| family.get_or_create(&OutcomeLabel { outcome: outcome.name() }).get())
        };
        totals.set(Counted::Connects, [of_all(&self.connects)]);
        totals.set(Counted::Disconnects, DisconnectReason::ALL.map(ended));
        totals.set(Counted::EventMessages, [of_all(&self.telemetry_messages)]);
        totals.set(Counted::EventBytes, [of_all(&self.telemetry_bytes)]);
        totals.set(Counted::CommandsEnqueued, [self.commands_enqueued.get()]);
        totals.set(Counted::CommandBytes, [self.command_bytes.get()]);
        totals.set(Counted::CommandsDelivered, [of_all(&self.command_deliveries)]);
        totals.set(Counted::CommandsEnded, by_outcome(&self.commands_ended));
        totals.set(Counted::ReceiptsMade, by_outcome(&self.receipts));
        totals.set(Counted::ReceiptsRead, [self.receipts_read.get()]);
        totals.set(Counted::ReceiptsLost, [self.receipts_lost.get()]);
        totals.set(Counted::Refusals, refusals.iter().map(|reason| self.refusals.get_or_create(&ReasonLabel { reason }).get()));
        totals.set(Counted::Throttled, [self.throttled.get()]);
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        let (mut registry, mut text) = (Registry::with_prefix("mooring"), String::new());
        metrics.register(&mut registry);
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn what_has_not_happened_yet_is_there_with_zero() {
        let text = text(&Metrics::new(&["NoToken"]));
        for line in [
            "mooring_refusals_total{reason=\"NoToken\"} 0",
            "mooring_devices{status=\"disabled\"} 0",
            "mooring_disconnects_total{protocol=\"mqtt-ws\",reason=\"TokenExpired\"} 0",
            "mooring_telemetry_messages_total{protocol=\"https\"} 0",
            "mooring_http_requests_total{status=\"5xx\"} 0",
            "mooring_event_readers 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn what_happens_is_counted() {
        let metrics = Metrics::default();
        metrics.telemetry(Protocol::Https, 2, 100);
        metrics.http_answered(204);
        let reader = metrics.reads_events();
        drop(metrics.reads_events());
        let text = text(&metrics);
        drop(reader);
        for line in [
            "mooring_telemetry_bytes_total{protocol=\"https\"} 100",
            "mooring_http_requests_total{status=\"2xx\"} 1",
            "mooring_event_readers 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
    }
}
