//! Which connections the network lets through to a hub: devices from everywhere, its API from where the spec says, and nothing out.

use serde_json::{Value, json};

use super::Plan;
use super::config::{AMQP_PORT, API_PORT, HTTPS_PORT, METRICS_PORT, MQTT_PORT};
use crate::iot_hub::child::{Child, Kind};
use crate::labels;

/// The ports of API servers: of the Service, and of most servers behind it.
const API_SERVER_PORTS: [u16; 2] = [443, 6443];

/// The NetworkPolicy. (Kubelets' probes pass in any case.)
#[must_use]
pub fn policy(plan: Plan<'_>) -> Child {
    let spec = &plan.hub.spec;
    let devices = &spec.services.devices;
    let device_ports: Vec<Value> =
        [(devices.mqtt.enabled, MQTT_PORT), (devices.amqp.enabled, AMQP_PORT), (devices.https.enabled, HTTPS_PORT)]
            .into_iter()
            .filter(|(enabled, _)| *enabled)
            .map(|(_, number)| port(number))
            .collect();
    let mut api_from = vec![json!({ "podSelector": {} })];
    api_from.extend(plan.surroundings.operator_namespace.as_ref().map(|namespace| {
        json!({
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
            "podSelector": { "matchLabels": { labels::NAME: labels::MANAGER } },
        })
    }));
    api_from.extend(spec.network_policy.api_from.iter().map(|peer| json!(peer)));
    let metrics_from = match spec.network_policy.metrics_from.as_slice() {
        [] => json!([{ "namespaceSelector": {} }]),
        peers => json!(peers),
    };
    let mut ingress = Vec::new();
    if !device_ports.is_empty() {
        ingress.push(json!({ "ports": device_ports }));
    }
    ingress.push(json!({ "from": api_from, "ports": [port(API_PORT)] }));
    ingress.push(json!({ "from": metrics_from, "ports": [port(METRICS_PORT)] }));
    let mut rest = json!({
        "spec": {
            "podSelector": { "matchLabels": labels::hub_selector(&plan.name()) },
            // Egress with no rule: nothing goes out. A hub that keeps its data on its own volume looks nobody up.
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
        },
    });
    if spec.dashboard.kubernetes.enabled {
        // A NetworkPolicy can't name the API server, so it is whoever has its ports. The hub knows its address, and asks no DNS.
        rest["spec"]["egress"] = json!([{ "ports": API_SERVER_PORTS.map(port) }]);
    }
    plan.child(Kind::NetworkPolicy, &plan.name(), rest)
}

fn port(number: u16) -> Value {
    json!({ "protocol": "TCP", "port": number })
}
