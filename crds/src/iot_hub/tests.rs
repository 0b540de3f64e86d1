use serde_json::{Value, json};

use super::*;

fn hub(spec: &Value) -> IotHub {
    serde_json::from_value(json!({ "apiVersion": crate::API_VERSION, "kind": "IotHub", "metadata": { "name": "plant" }, "spec": spec }))
        .unwrap()
}

#[test]
fn the_shortest_manifest_says_everything_by_default() {
    let spec = hub(&json!({ "hostnames": ["hub.example.com"] })).spec;
    assert_eq!(spec.tls.source(), CertificateSource::SelfSigned);
    assert_eq!(spec.storage.volume(), Some(EmbeddedStorage::default()));
    assert_eq!(spec.storage.volume().unwrap().deletion_policy, StorageDeletionPolicy::Retain);
    assert_eq!(spec.policies().iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>(), ["iothubowner", "service"]);
    assert_eq!((spec.partitions, spec.replicas, spec.paused), (4, 1, false));
    assert_eq!(spec.services.devices.external_traffic_policy, ExternalTrafficPolicy::Local);
    assert_eq!((spec.services.devices.mqtt.enabled, spec.services.api.port), (true, 8443));
    assert_eq!((spec.network_policy.enabled, spec.pod_disruption_budget.enabled), (true, false));
    assert_eq!(spec.devices.allowed_namespaces.from, NamespacesFrom::Same);
}

#[test]
fn what_is_given_takes_the_place_of_the_default() {
    let spec = hub(&json!({
        "hostnames": ["a"], "policies": [], "tls": { "issuerRef": { "name": "letsencrypt" } },
        "storage": { "distributed": { "registrySecretRef": { "name": "a" }, "eventsSecretRef": { "name": "b" } } },
    }))
    .spec;
    let issuer = IssuerReference { name: "letsencrypt".to_owned(), kind: "Issuer".to_owned(), group: "cert-manager.io".to_owned() };
    assert_eq!(spec.tls.source(), CertificateSource::Issuer(&issuer));
    assert_eq!((spec.policies(), spec.storage.volume()), (Vec::new(), None));
    let spec =
        hub(&json!({ "hostnames": ["a"], "tls": { "secretRef": { "name": "tls" } }, "storage": { "embedded": { "size": "20Gi" } } })).spec;
    assert_eq!(spec.tls.source(), CertificateSource::Secret(&SecretReference { name: "tls".to_owned() }));
    assert_eq!(spec.storage.volume().unwrap().size.0, "20Gi");
}
