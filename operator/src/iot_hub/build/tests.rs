//! What is built, as YAML, and that Kubernetes knows every field of it.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::iot_hub::certificates::Pair;
use crate::iot_hub::dereference::Facts;
use crate::iot_hub::material::Keys;
use crate::iot_hub::validate::validate;

fn hub(spec: &str) -> IotHub {
    let spec: Value = serde_norway::from_str(spec).unwrap();
    serde_json::from_value(json!({
        "apiVersion": "mooring.dev/v1alpha1", "kind": "IotHub",
        "metadata": {
            "name": "plant", "namespace": "north", "uid": "3b9c1a1e-0000-4000-8000-000000000001", "generation": 1,
            "labels": { "argocd.argoproj.io/instance": "x" }, "annotations": { "note": "not for children" },
        },
        "spec": spec,
    }))
    .unwrap()
}

fn material(valid: &Valid) -> Material {
    let keys = |name: &str| Keys {
        primary: SecretString::from(BASE64_A),
        secondary: SecretString::from(BASE64_B),
        requested_at: (name == "device").then(|| "2026-11-23T12:00:00Z".parse().unwrap()),
        begun_at: None,
    };
    let own = valid.certificate == CertificateSource::SelfSigned;
    let pair = |what: &str| own.then(|| Pair { certificate: format!("{what} certificate\n"), key: format!("{what} key\n").into() });
    Material {
        policies: valid.policies.iter().map(|policy| (policy.name.clone(), keys(&policy.name))).collect(),
        operator: keys("operator"),
        authority: pair("authority"),
        certificate: pair("hub"),
    }
}

const BASE64_A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const BASE64_B: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn surroundings() -> Surroundings {
    Surroundings {
        hub_image: "registry.example/mooring-hub:1".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
        operator_namespace: Some("mooring-system".to_owned()),
    }
}

fn built(spec: &str, facts: &Facts) -> Vec<Child> {
    let hub = hub(spec);
    let valid = validate(&hub, facts).unwrap();
    let material = material(&valid);
    let volume = facts.volume("plant");
    let surroundings = surroundings();
    let plan = Plan {
        hub: &hub,
        valid: &valid,
        material: &material,
        volume: volume.as_ref(),
        optional_kinds: &facts.optional_kinds,
        surroundings: &surroundings,
        now: Timestamp::UNIX_EPOCH,
    };
    let children = build(plan);
    assert_eq!(children, build(plan), "the same bytes for the same input");
    children
}

fn yaml(children: &[Child]) -> String {
    children.iter().map(|child| serde_norway::to_string(&child.object).unwrap()).collect::<Vec<_>>().join("---\n")
}

const EVERYTHING: &str = "
hostnames: [hub.example.com, hub.internal.example]
deviceAuthorities:
  - { name: maker, configMapRef: { name: roots }, idPrefix: press- }
partitions: 8
retention: { time: 48h, size: 20Gi }
storage: { embedded: { size: 50Gi, storageClassName: fast, deletionPolicy: Delete } }
services:
  devices:
    type: LoadBalancer
    annotations: { example.com/pool: blue }
    loadBalancerClass: example.com/lb
    mqtt: { nodePort: 30883 }
    amqp: { port: 5672, nodePort: 30671 }
    https: { enabled: false }
  api: { type: NodePort, port: 443, nodePort: 30443 }
proxyProtocol: { sources: [10.0.0.0/8] }
policies:
  - { name: device }
  - { name: Reader_1, permissions: [RegistryRead, ServiceConnect], secretName: reader }
cloudToDevice: { defaultTtl: 2h, lockDuration: 30s, maxDeliveryCount: 5, maxQueueDepth: 100, feedback: { ttl: 3h, lockDuration: 1m, maxDeliveryCount: 7 } }
limits: { connections: 5000, unfinishedConnections: 100, unfinishedConnectionsPerAddress: 20, failedConnectionsPerAddress: 30, pendingCommands: 1000 }
monitoring: { offlineAfter: 10m }
dashboard: { kubernetes: { enabled: true } }
resources: { requests: { cpu: 500m, memory: 512Mi }, limits: { memory: 1Gi } }
scheduling:
  nodeSelector: { disk: ssd }
  tolerations: [{ key: hubs, operator: Exists, effect: NoSchedule }]
  priorityClassName: high
podSecurity: { runAsUser: 1000, fsGroup: 2000 }
image: { reference: registry.example/hub:2, pullPolicy: Always, pullSecrets: [{ name: pull }] }
podDisruptionBudget: { enabled: true }
networkPolicy: { apiFrom: [{ ipBlock: { cidr: 192.0.2.0/24 } }], metricsFrom: [{ namespaceSelector: { matchLabels: { a: b } } }] }
consumerGroups: [alerts, Billing-2]
logFilter: debug
";

fn facts() -> Facts {
    let key = rcgen::KeyPair::generate().unwrap();
    let root = rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    let roots = ConfigMap { data: Some([("ca.crt".to_owned(), root)].into()), ..ConfigMap::default() };
    Facts {
        config_maps: [("roots".to_owned(), roots)].into(),
        optional_kinds: [Kind::ServiceMonitor, Kind::PrometheusRule].into(),
        ..Facts::default()
    }
}

#[test]
fn the_smallest_hub() {
    insta::assert_snapshot!(yaml(&built("hostnames: [hub.example.com]", &Facts::default())));
}

#[test]
fn a_hub_with_everything() {
    let children = built(EVERYTHING, &facts());
    let without_alerts: Vec<Child> = children.into_iter().filter(|child| child.key.kind != Kind::PrometheusRule).collect();
    insta::assert_snapshot!(yaml(&without_alerts));
}

#[test]
fn kubernetes_knows_every_field() {
    fn known<T: DeserializeOwned + Serialize>(child: &Child) {
        let typed: T = serde_json::from_value(child.object.clone()).unwrap();
        assert_eq!(serde_json::to_value(typed).unwrap(), child.object, "{}", child.key);
    }
    for child in built("hostnames: [hub.example.com]", &Facts::default()).iter().chain(&built(EVERYTHING, &facts())) {
        match child.key.kind {
            Kind::ServiceAccount => known::<ServiceAccount>(child),
            Kind::Secret => known::<Secret>(child),
            Kind::ConfigMap => known::<ConfigMap>(child),
            Kind::PersistentVolumeClaim => known::<PersistentVolumeClaim>(child),
            Kind::Service => known::<Service>(child),
            Kind::NetworkPolicy => known::<NetworkPolicy>(child),
            Kind::PodDisruptionBudget => known::<PodDisruptionBudget>(child),
            Kind::Deployment => known::<Deployment>(child),
            Kind::Certificate | Kind::ServiceMonitor | Kind::PrometheusRule => {}
        }
    }
}

#[test]
fn labels_and_annotations_of_the_hub_stay_with_it() {
    let all = yaml(&built(EVERYTHING, &facts()));
    assert!(!all.contains("argocd") && !all.contains("not for children"), "{all}");
}

#[test]
fn what_the_hub_reads_by_itself_does_not_roll_it() {
    let spec = "hostnames: [hub.example.com]";
    let (hub, surroundings) = (hub(spec), surroundings());
    let valid = validate(&hub, &Facts::default()).unwrap();
    let template = |material: &Material| {
        let optional_kinds = BTreeSet::new();
        let plan = Plan {
            hub: &hub,
            valid: &valid,
            material,
            volume: None,
            optional_kinds: &optional_kinds,
            surroundings: &surroundings,
            now: Timestamp::UNIX_EPOCH,
        };
        build(plan).pop().unwrap().object["spec"]["template"].clone()
    };
    let before = material(&valid);
    let mut after = before.clone();
    after.certificate.as_mut().unwrap().certificate = "renewed\n".to_owned();
    after.operator.primary = BASE64_B.into();
    assert_eq!(template(&before), template(&after));
    let mut children = built("{ hostnames: [hub.example.com], consumerGroups: [alerts] }", &Facts::default());
    assert_eq!(template(&before), children.pop().unwrap().object["spec"]["template"], "consumer groups are followed");
    let config = children.iter().find(|child| child.key.kind == Kind::ConfigMap).unwrap();
    let file = config.object["data"]["hub.toml"].as_str().unwrap();
    assert!(file.contains("consumer_groups = [\"alerts\"]"), "{file}");
    let other = built("{ hostnames: [hub.example.com], logFilter: debug }", &Facts::default()).pop().unwrap();
    assert_ne!(template(&before), other.object["spec"]["template"], "another configuration rolls");
}

#[test]
fn a_volume_grows_and_keeps_its_class() {
    let there = |size: &str| {
        let claim = json!({
            "metadata": { "name": "plant-data" },
            "spec": { "storageClassName": "slow", "resources": { "requests": { "storage": size } } },
        });
        let mut facts = facts();
        facts.live.insert(ChildKey::new(Kind::PersistentVolumeClaim, "plant-data"), serde_json::from_value(claim).unwrap());
        let children = built(EVERYTHING, &facts);
        let claim = children.iter().find(|child| child.key.kind == Kind::PersistentVolumeClaim).unwrap();
        claim.object["spec"].clone()
    };
    assert_eq!(there("10Gi")["resources"]["requests"]["storage"], "50Gi");
    assert_eq!(there("100Gi")["resources"]["requests"]["storage"], "100Gi");
    assert_eq!(there("100Gi")["storageClassName"], "slow");
}
