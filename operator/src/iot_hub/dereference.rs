//! Everything that a reconcile reads, before it decides anything.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt as _};
use mooring_crds::IotHub;
use serde::de::DeserializeOwned;

use super::child::{ChildKey, Kind, OPTIONAL_KINDS};
use crate::labels::{self, HubChildren};

/// The most Pods and Secrets of a hub that are looked at.
const LISTED_MAX: u32 = 200;

/// The annotation that says which policy a Secret is for.
pub const POLICY: &str = "mooring.dev/policy";

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What is there under the names of the hub's children, whosoever it is.
    pub live: BTreeMap<ChildKey, DynamicObject>,
    /// The Secrets that the hub's spec names; absent: not there.
    pub secrets: BTreeMap<String, Secret>,
    /// The ConfigMaps that it names; absent: not there.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// The hub's Pods.
    pub pods: Vec<Pod>,
    /// Which of the kinds that are not part of Kubernetes there are.
    pub optional_kinds: BTreeSet<Kind>,
}

impl Facts {
    /// A child as its own type.
    #[must_use]
    pub fn child<T: DeserializeOwned>(&self, kind: Kind, name: &str) -> Option<T> {
        let object = self.live.get(&ChildKey::new(kind, name))?;
        serde_json::from_value(serde_json::to_value(object).ok()?).ok()
    }

    /// The Deployment.
    #[must_use]
    pub fn deployment(&self, hub: &str) -> Option<Deployment> {
        self.child(Kind::Deployment, hub)
    }

    /// The volume.
    #[must_use]
    pub fn volume(&self, hub: &str) -> Option<PersistentVolumeClaim> {
        self.child(Kind::PersistentVolumeClaim, &HubChildren(hub).data())
    }

    /// A Service.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<Service> {
        self.child(Kind::Service, name)
    }
}

/// The text of an entry of a Secret.
#[must_use]
pub fn entry(secret: &Secret, key: &str) -> Option<String> {
    let ByteString(bytes) = secret.data.as_ref()?.get(key)?;
    String::from_utf8(bytes.clone()).ok()
}

/// The Secrets and ConfigMaps that a hub's spec names.
#[must_use]
pub fn references(hub: &IotHub) -> BTreeSet<ChildKey> {
    let spec = &hub.spec;
    let secret = |name: &String| ChildKey::new(Kind::Secret, name);
    let mut named: BTreeSet<ChildKey> = spec.tls.secret_ref.iter().map(|reference| secret(&reference.name)).collect();
    named.extend(spec.policies().iter().filter_map(|policy| policy.keys_from.as_ref()).map(|keys| secret(&keys.name)));
    for authority in &spec.device_authorities {
        named.extend(authority.secret_ref.iter().map(|bundle| secret(&bundle.name)));
        named.extend(authority.config_map_ref.iter().map(|bundle| ChildKey::new(Kind::ConfigMap, &bundle.name)));
    }
    named
}

/// Every name that a child of the hub has, or may have had before its spec was changed.
#[must_use]
pub fn names(hub: &IotHub) -> BTreeSet<ChildKey> {
    let name = hub.name_any();
    let children = HubChildren(&name);
    let mut keys: BTreeSet<ChildKey> = [
        (Kind::ServiceAccount, children.hub()),
        (Kind::Secret, children.authority()),
        (Kind::Secret, children.certificate()),
        (Kind::Secret, children.operator_policy()),
        (Kind::ConfigMap, children.config()),
        (Kind::PersistentVolumeClaim, children.data()),
        (Kind::Service, children.hub()),
        (Kind::Service, children.api_service()),
        (Kind::Service, children.metrics_service()),
        (Kind::NetworkPolicy, children.hub()),
        (Kind::PodDisruptionBudget, children.hub()),
        (Kind::Certificate, children.hub()),
        (Kind::ServiceMonitor, children.hub()),
        (Kind::PrometheusRule, children.hub()),
        (Kind::Deployment, children.hub()),
    ]
    .into_iter()
    .map(|(kind, name)| ChildKey { kind, name })
    .collect();
    keys.extend(hub.spec.policies().iter().map(|policy| {
        let secret = policy.secret_name.clone().unwrap_or_else(|| children.policy(&policy.name));
        ChildKey::new(Kind::Secret, secret)
    }));
    keys
}

/// Reads it all.
pub async fn dereference(client: &Client, hub: &IotHub, optional_kinds: BTreeSet<Kind>) -> Result<Facts, kube::Error> {
    let namespace = hub.namespace().unwrap_or_default();
    let name = hub.name_any();
    let mut facts = Facts { optional_kinds, ..Facts::default() };
    for key in names(hub) {
        let is_there = OPTIONAL_KINDS.iter().all(|(kind, _)| *kind != key.kind) || facts.optional_kinds.contains(&key.kind);
        if !is_there {
            continue;
        }
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &key.kind.resource());
        if let Some(object) = api.get_opt(&key.name).await? {
            facts.live.insert(key, object);
        }
    }
    // Secrets of policies that the spec has no more.
    let resource = Kind::Secret.resource();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    let ours = format!("{}={},{}={name},!{}", labels::MANAGED_BY, labels::MANAGER, labels::HUB, labels::DEVICE_HASH);
    for object in api.list(&ListParams::default().labels(&ours).limit(LISTED_MAX)).await? {
        if object.annotations().contains_key(POLICY) {
            facts.live.insert(ChildKey::new(Kind::Secret, object.name_any()), object);
        }
    }
    for key in references(hub) {
        match key.kind {
            Kind::ConfigMap => {
                let found = Api::<ConfigMap>::namespaced(client.clone(), &namespace).get_opt(&key.name).await?;
                facts.config_maps.extend(found.map(|found| (key.name, found)));
            }
            _ => {
                let found = Api::<Secret>::namespaced(client.clone(), &namespace).get_opt(&key.name).await?;
                facts.secrets.extend(found.map(|found| (key.name, found)));
            }
        }
    }
    let pods = format!("{}={},{}={name}", labels::NAME, labels::HUB_PROGRAM, labels::INSTANCE);
    facts.pods =
        Api::<Pod>::namespaced(client.clone(), &namespace).list(&ListParams::default().labels(&pods).limit(LISTED_MAX)).await?.items;
    Ok(facts)
}
