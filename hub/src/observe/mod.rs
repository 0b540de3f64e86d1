//! What the hub counts about itself, for Prometheus. A leaf: it is told, it asks nobody. No ids and no secrets in it.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::core::session::{DisconnectReason, Protocol};

/// The hub's counters.
#[derive(Default)]
pub struct Metrics {
    telemetry_messages: Counter,
    telemetry_bytes: Counter,
    connects: Family<ProtocolLabel, Counter>,
    disconnects: Family<DisconnectLabels, Counter>,
    refusals: Family<ReasonLabel, Counter>,
}

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
struct ReasonLabel {
    reason: &'static str,
}

impl Metrics {
    /// Names everything in `registry`, whose prefix is the product's.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("telemetry_messages", "Device-to-cloud messages appended", self.telemetry_messages.clone());
        registry.register(
            "telemetry_bytes",
            "Bytes of device-to-cloud messages appended, in their stored form",
            self.telemetry_bytes.clone(),
        );
        registry.register("device_connects", "Device connections accepted", self.connects.clone());
        registry.register("device_disconnects", "Device connections ended, by reason", self.disconnects.clone());
        registry.register("refusals", "Devices and services refused, by reason", self.refusals.clone());
    }

    /// Messages were appended.
    pub fn telemetry(&self, messages: usize, bytes: usize) {
        self.telemetry_messages.inc_by(messages as u64);
        self.telemetry_bytes.inc_by(bytes as u64);
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
}
