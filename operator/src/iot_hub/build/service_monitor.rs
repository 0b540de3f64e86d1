//! How the Prometheus Operator finds a hub: a ServiceMonitor.
//!
//! Pure. The hub's series carry the labels `namespace` and `iothub`, which its alerts are about; they are the target's, so that `up` has
//! them too.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use mooring_crds::iot_hub::Monitoring;
use serde_json::{Value, json};

use crate::labels;

/// What the port for health and metrics is called, in the Service that has it.
pub const METRICS_PORT_NAME: &str = "metrics";

/// How the hub proves to a scraper that it is itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The name that its certificate is for: the hub's first host name.
    pub server_name: &'a str,
    /// The Secret in the hub's namespace whose `ca.crt` it is checked against; `None`: the roots that Prometheus has.
    pub authority_secret: Option<&'a str>,
}

/// The kind ServiceMonitor of the Prometheus Operator.
#[must_use]
pub fn service_monitor_resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("monitoring.coreos.com", "v1", "ServiceMonitor"), "servicemonitors")
}

/// The hub's ServiceMonitor. Of the hub's Services it means the one that has a port [`METRICS_PORT_NAME`]. It bears the labels of
/// `spec.monitoring.prometheus`; the operator's own labels and the owner are the caller's to add.
#[must_use]
pub fn service_monitor(name: &str, namespace: &str, monitoring: &Monitoring, identity: Identity<'_>) -> DynamicObject {
    let mut object = DynamicObject::new(name, &service_monitor_resource()).within(namespace);
    object.metadata.labels = Some(monitoring.prometheus.labels.clone());
    object.data = json!({
        "spec": {
            "selector": { "matchLabels": { labels::NAME: labels::HUB_PROGRAM, labels::HUB: name } },
            "namespaceSelector": { "matchNames": [namespace] },
            "endpoints": [endpoint(name, namespace, monitoring, identity)],
        },
    });
    object
}

fn endpoint(name: &str, namespace: &str, monitoring: &Monitoring, identity: Identity<'_>) -> Value {
    let mut tls = json!({ "serverName": identity.server_name });
    if let Some(secret) = identity.authority_secret {
        tls["ca"] = json!({ "secret": { "name": secret, "key": "ca.crt" } });
    }
    let mut endpoint = json!({
        "port": METRICS_PORT_NAME,
        "path": "/metrics",
        "scheme": "https",
        "tlsConfig": tls,
        // What the hub itself may come to call a label never passes for these.
        "honorLabels": false,
        "relabelings": [label("namespace", namespace), label("iothub", name)],
    });
    if let Some(interval) = monitoring.prometheus.interval {
        endpoint["interval"] = json!(super::alerts::whole_seconds(interval));
    }
    endpoint
}

fn label(name: &str, value: &str) -> Value {
    json!({ "action": "replace", "targetLabel": name, "replacement": value })
}

#[cfg(test)]
mod tests {
    use mooring_crds::GoDuration;

    use super::*;

    #[test]
    fn it_scrapes_the_hub_as_the_hub_proves_itself() {
        let mut monitoring = Monitoring::default();
        monitoring.prometheus.interval = Some(GoDuration::minutes(1));
        monitoring.prometheus.labels = [("release".to_owned(), "prometheus".to_owned())].into();
        let identity = Identity { server_name: "hub.example.com", authority_secret: Some("plant-ca") };
        let object = service_monitor("plant", "plants", &monitoring, identity);
        let expected = json!({
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": { "name": "plant", "namespace": "plants", "labels": { "release": "prometheus" } },
            "spec": {
                "selector": { "matchLabels": { "app.kubernetes.io/name": "mooring-hub", "mooring.dev/hub": "plant" } },
                "namespaceSelector": { "matchNames": ["plants"] },
                "endpoints": [{
                    "port": "metrics",
                    "path": "/metrics",
                    "scheme": "https",
                    "interval": "1m",
                    "honorLabels": false,
                    "tlsConfig": { "serverName": "hub.example.com", "ca": { "secret": { "name": "plant-ca", "key": "ca.crt" } } },
                    "relabelings": [
                        { "action": "replace", "targetLabel": "namespace", "replacement": "plants" },
                        { "action": "replace", "targetLabel": "iothub", "replacement": "plant" },
                    ],
                }],
            },
        });
        assert_eq!(serde_json::to_value(&object).unwrap(), expected);
        let public = service_monitor("plant", "plants", &Monitoring::default(), Identity { authority_secret: None, ..identity });
        let endpoint = &public.data["spec"]["endpoints"][0];
        assert_eq!(endpoint["tlsConfig"], json!({ "serverName": "hub.example.com" }), "the roots that Prometheus has");
        assert!(endpoint.get("interval").is_none(), "as Prometheus has it");
    }
}
