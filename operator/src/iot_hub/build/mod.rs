//! A hub's children, from its spec and what was settled: pure, and the same bytes for the same input.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt as _;
use mooring_crds::IotHub;
use mooring_crds::iot_hub::StorageDeletionPolicy;
use serde_json::{Value, json};

use super::child::{Child, ChildKey, Kind};
use super::material::Material;
use super::validate::{CertificateSource, Valid};
use crate::labels::{self, HubChildren};
use crate::ownership;

pub mod alerts;
pub mod config;
pub mod network;
pub mod pod;
pub mod secrets;
pub mod service_monitor;
pub mod services;
pub mod volume;

/// What is the same for every hub.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// What hubs are run from.
    pub hub_image: String,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// The operator's own namespace, when it runs in a Pod.
    pub operator_namespace: Option<String>,
}

/// All that a hub is built from.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The hub.
    pub hub: &'a IotHub,
    /// Its spec, checked.
    pub valid: &'a Valid,
    /// Its keys and certificates.
    pub material: &'a Material,
    /// Its volume as it is, whose class can't change and whose size can't shrink.
    pub volume: Option<&'a PersistentVolumeClaim>,
    /// Which of the kinds that are not part of Kubernetes there are.
    pub optional_kinds: &'a BTreeSet<Kind>,
    /// What is the same for every hub.
    pub surroundings: &'a Surroundings,
    /// Now: a new key is handed out once the hub has it.
    pub now: Timestamp,
}

/// Every child, in the order in which they are applied.
#[must_use]
pub fn build(plan: Plan<'_>) -> Vec<Child> {
    let hub = plan.name();
    let spec = &plan.hub.spec;
    let config = config::hub_toml(plan);
    let mut children = vec![service_account(plan)];
    children.extend(secrets::secrets(plan));
    children.push(config_map(plan, &config.file));
    children.push(volume::claim(plan));
    children.extend(services::services(plan));
    if spec.network_policy.enabled {
        children.push(network::policy(plan));
    }
    if spec.pod_disruption_budget.enabled {
        children.push(disruption_budget(plan));
    }
    if let CertificateSource::Issuer(issuer) = &plan.valid.certificate {
        children.push(certificate(plan, issuer));
    }
    children.extend(monitoring(plan));
    children.push(pod::deployment(plan, &config.hash));
    debug_assert!(children.iter().all(|child| child.object["metadata"]["labels"][labels::HUB] == hub));
    children
}

impl Plan<'_> {
    /// The hub's name.
    #[must_use]
    pub fn name(&self) -> String {
        self.hub.name_any()
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> String {
        self.hub.namespace().unwrap_or_default()
    }

    /// What its children are called.
    #[must_use]
    pub fn certificate_secret(&self) -> String {
        match &self.valid.certificate {
            CertificateSource::Secret(name) => name.clone(),
            CertificateSource::SelfSigned | CertificateSource::Issuer(_) => HubChildren(&self.name()).certificate(),
        }
    }

    /// A child that goes with the hub.
    #[must_use]
    pub fn child(&self, kind: Kind, name: &str, rest: Value) -> Child {
        self.child_of(kind, name, ownership::reference_to(self.hub), rest)
    }

    /// A child that outlives the hub, when its storage does.
    #[must_use]
    pub fn retained(&self, kind: Kind, name: &str, rest: Value) -> Child {
        let goes = self.valid.storage.deletion_policy == StorageDeletionPolicy::Delete;
        self.child_of(kind, name, goes.then(|| ownership::reference_to(self.hub)).flatten(), rest)
    }

    fn child_of(&self, kind: Kind, name: &str, owner: Option<OwnerReference>, rest: Value) -> Child {
        let resource = kind.resource();
        let mut object = rest;
        object["apiVersion"] = json!(resource.api_version);
        object["kind"] = json!(resource.kind);
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!(self.namespace());
        for (key, value) in labels::of_hub(&self.name()) {
            object["metadata"]["labels"][key] = json!(value);
        }
        if let Some(owner) = owner {
            object["metadata"]["ownerReferences"] = json!([owner]);
        }
        Child { key: ChildKey::new(kind, name), object }
    }
}

/// All the names under which a hub is reached within the cluster.
#[must_use]
pub fn cluster_names(hub: &str, namespace: &str, cluster_domain: &str) -> Vec<String> {
    let children = HubChildren(hub);
    let names = |service: String| {
        let in_namespace = format!("{service}.{namespace}");
        [format!("{in_namespace}.svc.{cluster_domain}"), format!("{in_namespace}.svc"), in_namespace, service]
    };
    [children.hub(), children.api_service()].into_iter().flat_map(names).collect()
}

/// The names that a certificate of the hub's own authority is for.
#[must_use]
pub fn certificate_names(hub: &IotHub, surroundings: &Surroundings) -> BTreeSet<String> {
    let within = cluster_names(&hub.name_any(), &hub.namespace().unwrap_or_default(), &surroundings.cluster_domain);
    hub.spec.hostnames.iter().cloned().chain(within).collect()
}

fn service_account(plan: Plan<'_>) -> Child {
    plan.child(Kind::ServiceAccount, &plan.name(), json!({ "automountServiceAccountToken": false }))
}

fn config_map(plan: Plan<'_>, config: &str) -> Child {
    plan.child(Kind::ConfigMap, &HubChildren(&plan.name()).config(), json!({ "data": { config::FILE: config } }))
}

fn disruption_budget(plan: Plan<'_>) -> Child {
    let selector = labels::hub_selector(&plan.name());
    plan.child(Kind::PodDisruptionBudget, &plan.name(), json!({ "spec": { "minAvailable": 1, "selector": { "matchLabels": selector } } }))
}

/// Names within the cluster are left out: no public issuer would sign them.
fn certificate(plan: Plan<'_>, issuer: &mooring_crds::iot_hub::IssuerReference) -> Child {
    let (addresses, names): (Vec<&String>, Vec<&String>) =
        plan.hub.spec.hostnames.iter().partition(|name| name.parse::<std::net::IpAddr>().is_ok());
    let mut spec = json!({
        "secretName": plan.certificate_secret(),
        "dnsNames": names,
        "issuerRef": { "name": issuer.name, "kind": issuer.kind, "group": issuer.group },
        "privateKey": { "algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always" },
        "usages": ["digital signature", "server auth"],
    });
    if !addresses.is_empty() {
        spec["ipAddresses"] = json!(addresses);
    }
    plan.child(Kind::Certificate, &plan.name(), json!({ "spec": spec }))
}

fn monitoring(plan: Plan<'_>) -> Vec<Child> {
    let monitoring = &plan.hub.spec.monitoring;
    let (name, namespace) = (plan.name(), plan.namespace());
    let authority = HubChildren(&name).authority();
    let identity = service_monitor::Identity {
        server_name: plan.hub.spec.hostnames.first().map_or("", String::as_str),
        authority_secret: plan.material.authority.is_some().then_some(authority.as_str()),
    };
    let objects = [
        (Kind::ServiceMonitor, service_monitor::service_monitor(&name, &namespace, monitoring, identity)),
        (Kind::PrometheusRule, alerts::prometheus_rule(&name, &namespace, monitoring)),
    ];
    let wanted = objects.into_iter().filter(|(kind, _)| monitoring.prometheus.enabled && plan.optional_kinds.contains(kind));
    wanted
        .map(|(kind, object)| {
            let labels = json!({ "labels": object.metadata.labels.unwrap_or_default() });
            plan.child(kind, &name, json!({ "metadata": labels, "spec": object.data["spec"] }))
        })
        .collect()
}

#[cfg(test)]
pub mod tests;
