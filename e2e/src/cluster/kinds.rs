//! The kinds of object that stories read and write, as Kubernetes' and the project's own documents name them.

use kube::core::{ApiResource, GroupVersionKind};

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
}

impl Kind {
    const fn new(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Self {
        Self { group, version, kind, plural }
    }

    /// As a person names an object of it to kubectl: `devices.mooring.dev/pump`.
    #[must_use]
    pub fn named(&self, name: &str) -> String {
        if self.group.is_empty() { format!("{}/{name}", self.plural) } else { format!("{}.{}/{name}", self.plural, self.group) }
    }

    /// As the client wants it.
    #[must_use]
    pub(super) fn resource(&self) -> ApiResource {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(self.group, self.version, self.kind), self.plural)
    }
}

/// A hub.
pub const IOT_HUB: Kind = Kind::new("mooring.dev", "v1alpha1", "IotHub", "iothubs");
/// A device.
pub const DEVICE: Kind = Kind::new("mooring.dev", "v1alpha1", "Device", "devices");
/// A Pod.
pub const POD: Kind = Kind::new("", "v1", "Pod", "pods");
/// A Secret.
pub const SECRET: Kind = Kind::new("", "v1", "Secret", "secrets");
/// A ConfigMap.
pub const CONFIG_MAP: Kind = Kind::new("", "v1", "ConfigMap", "configmaps");
/// A Service.
pub const SERVICE: Kind = Kind::new("", "v1", "Service", "services");
/// A claim of storage.
pub const CLAIM: Kind = Kind::new("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims");
/// A service account.
pub const SERVICE_ACCOUNT: Kind = Kind::new("", "v1", "ServiceAccount", "serviceaccounts");
/// An Event.
pub const EVENT: Kind = Kind::new("", "v1", "Event", "events");
/// A namespace; it is in none.
pub const NAMESPACE: Kind = Kind::new("", "v1", "Namespace", "namespaces");
/// A node; it is in no namespace.
pub const NODE: Kind = Kind::new("", "v1", "Node", "nodes");
/// A Deployment.
pub const DEPLOYMENT: Kind = Kind::new("apps", "v1", "Deployment", "deployments");
/// A NetworkPolicy.
pub const NETWORK_POLICY: Kind = Kind::new("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies");
/// A PodDisruptionBudget.
pub const DISRUPTION_BUDGET: Kind = Kind::new("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets");
/// A Lease.
pub const LEASE: Kind = Kind::new("coordination.k8s.io", "v1", "Lease", "leases");
/// Rights in the whole cluster; they are in no namespace.
pub const CLUSTER_ROLE: Kind = Kind::new("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles");
/// Who has them; it is in no namespace.
pub const CLUSTER_ROLE_BINDING: Kind = Kind::new("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings");
/// The definition of a kind; it is in no namespace.
pub const DEFINITION: Kind = Kind::new("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
/// Rules of the Prometheus Operator's.
pub const PROMETHEUS_RULE: Kind = Kind::new("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules");
/// What the Prometheus Operator scrapes.
pub const SERVICE_MONITOR: Kind = Kind::new("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors");
