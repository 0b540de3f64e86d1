//! The Services of a hub: one for devices, one for its own API, one for metrics. None sends anybody to a hub that is not ready.

use mooring_crds::iot_hub::{ExternalTrafficPolicy, ServicePort, ServiceType};
use serde_json::{Value, json};

use super::Plan;
use super::config::{AMQP_PORT, API_PORT, HTTPS_PORT, METRICS_PORT, MQTT_PORT};
use super::service_monitor::METRICS_PORT_NAME;
use crate::iot_hub::child::{Child, Kind};
use crate::labels::{self, HubChildren};

/// The port of HTTPS, as Azure's SDKs know it.
const HTTPS_SERVICE_PORT: i32 = 443;

/// All of them; that for devices only when the hub listens for any.
#[must_use]
pub fn services(plan: Plan<'_>) -> Vec<Child> {
    let mut services: Vec<Child> = devices(plan).into_iter().collect();
    services.push(api(plan));
    services.push(metrics(plan));
    services
}

fn devices(plan: Plan<'_>) -> Option<Child> {
    let spec = &plan.hub.spec.services.devices;
    let outside = spec.kind != ServiceType::ClusterIP;
    let ports: Vec<Value> = [
        ("mqtts", &spec.mqtt, i32::from(MQTT_PORT), MQTT_PORT),
        ("amqps", &spec.amqp, i32::from(AMQP_PORT), AMQP_PORT),
        ("https", &spec.https, HTTPS_SERVICE_PORT, HTTPS_PORT),
    ]
    .into_iter()
    .filter(|(_, given, ..)| given.enabled)
    .map(|(name, given, usual, target)| port(name, given.port.unwrap_or(usual), target, node_port(given, outside)))
    .collect();
    if ports.is_empty() {
        return None;
    }
    let mut service = json!({
        "type": type_name(spec.kind),
        "selector": labels::hub_selector(&plan.name()),
        "ports": ports,
    });
    if outside {
        service["externalTrafficPolicy"] = json!(match spec.external_traffic_policy {
            ExternalTrafficPolicy::Local => "Local",
            ExternalTrafficPolicy::Cluster => "Cluster",
        });
    }
    if let Some(class) = spec.load_balancer_class.as_ref().filter(|_| spec.kind == ServiceType::LoadBalancer) {
        service["loadBalancerClass"] = json!(class);
    }
    let mut rest = json!({ "spec": service });
    if !spec.annotations.is_empty() {
        rest["metadata"]["annotations"] = json!(spec.annotations);
    }
    Some(plan.child(Kind::Service, &plan.name(), rest))
}

fn api(plan: Plan<'_>) -> Child {
    let spec = &plan.hub.spec.services.api;
    let outside = spec.kind != ServiceType::ClusterIP;
    let mut service = json!({
        "type": type_name(spec.kind),
        "selector": labels::hub_selector(&plan.name()),
        "ports": [port("api", spec.port, API_PORT, spec.node_port.filter(|_| outside))],
    });
    if outside {
        // The network policy and the hub's limits go by source addresses.
        service["externalTrafficPolicy"] = json!("Local");
    }
    let mut rest = json!({ "spec": service });
    if !spec.annotations.is_empty() {
        rest["metadata"]["annotations"] = json!(spec.annotations);
    }
    plan.child(Kind::Service, &HubChildren(&plan.name()).api_service(), rest)
}

/// One of its own, and always within the cluster: nobody has to authenticate there, wherever the others are opened to.
fn metrics(plan: Plan<'_>) -> Child {
    let service = json!({
        "type": "ClusterIP",
        "selector": labels::hub_selector(&plan.name()),
        "ports": [port(METRICS_PORT_NAME, METRICS_PORT.into(), METRICS_PORT, None)],
    });
    plan.child(Kind::Service, &HubChildren(&plan.name()).metrics_service(), json!({ "spec": service }))
}

fn node_port(port: &ServicePort, outside: bool) -> Option<i32> {
    port.node_port.filter(|_| outside)
}

fn port(name: &str, number: i32, target: u16, node_port: Option<i32>) -> Value {
    let mut port = json!({ "name": name, "protocol": "TCP", "port": number, "targetPort": target });
    if let Some(node_port) = node_port {
        port["nodePort"] = json!(node_port);
    }
    port
}

fn type_name(kind: ServiceType) -> &'static str {
    match kind {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    }
}
