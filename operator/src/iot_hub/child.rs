//! The children of an IotHub: which kinds there are, and one as it is to be.

use std::fmt;

use kube::api::{ApiResource, GroupVersionKind};
use serde_json::Value;

use super::build::{alerts, service_monitor};

/// A kind of child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// core/v1
    ServiceAccount,
    /// core/v1
    Secret,
    /// core/v1
    ConfigMap,
    /// core/v1
    PersistentVolumeClaim,
    /// core/v1
    Service,
    /// networking.k8s.io/v1
    NetworkPolicy,
    /// policy/v1
    PodDisruptionBudget,
    /// cert-manager.io/v1, where it exists
    Certificate,
    /// monitoring.coreos.com/v1, where it exists
    ServiceMonitor,
    /// monitoring.coreos.com/v1, where it exists
    PrometheusRule,
    /// apps/v1. Last, because its Pods need the others.
    Deployment,
}

/// The kinds that are not part of Kubernetes, with the API that has to be there.
pub const OPTIONAL_KINDS: [(Kind, &str); 3] = [
    (Kind::Certificate, "cert-manager.io/v1"),
    (Kind::ServiceMonitor, "monitoring.coreos.com/v1"),
    (Kind::PrometheusRule, "monitoring.coreos.com/v1"),
];

impl Kind {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::Service => "Service",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::Certificate => "Certificate",
            Self::ServiceMonitor => "ServiceMonitor",
            Self::PrometheusRule => "PrometheusRule",
            Self::Deployment => "Deployment",
        }
    }

    /// Where the API server has it.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        let of = |group, plural| ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", self.name()), plural);
        match self {
            Self::ServiceAccount => of("", "serviceaccounts"),
            Self::Secret => of("", "secrets"),
            Self::ConfigMap => of("", "configmaps"),
            Self::PersistentVolumeClaim => of("", "persistentvolumeclaims"),
            Self::Service => of("", "services"),
            Self::NetworkPolicy => of("networking.k8s.io", "networkpolicies"),
            Self::PodDisruptionBudget => of("policy", "poddisruptionbudgets"),
            Self::Certificate => of("cert-manager.io", "certificates"),
            Self::ServiceMonitor => service_monitor::service_monitor_resource(),
            Self::PrometheusRule => alerts::prometheus_rule_resource(),
            Self::Deployment => of("apps", "deployments"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which child.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChildKey {
    /// Its kind.
    pub kind: Kind,
    /// Its name, in the hub's namespace.
    pub name: String,
}

impl ChildKey {
    /// This one.
    #[must_use]
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for ChildKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// A child as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Which.
    pub key: ChildKey,
    /// The whole object, as it is applied.
    pub object: Value,
}
