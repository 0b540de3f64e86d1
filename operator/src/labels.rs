//! What the operator's objects are called and labelled: the names of a hub's children, labels, annotations, field managers.
//!
//! Ids of devices are no label values: a hash stands in labels, the id in an annotation.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

/// Who the operator is, in labels and for server-side apply.
pub const MANAGER: &str = "mooring-operator";

/// Who it is when it writes status. Another name: what a spec's writer leaves out must not take a status away.
pub const STATUS_MANAGER: &str = "mooring-operator-status";

/// The finalizer of a Device: its identity is taken out of the hub before it goes.
pub const DEVICE_FINALIZER: &str = "mooring.dev/device";

/// The label that names a child's hub.
pub const HUB: &str = "mooring.dev/hub";

/// The label with the hash of a device's id, on its credentials.
pub const DEVICE_HASH: &str = "mooring.dev/device-hash";

/// The annotation with a device's id, on its credentials.
pub const DEVICE_ID: &str = "mooring.dev/device-id";

/// The annotation with the hash of what was applied to a child.
pub const APPLIED: &str = "mooring.dev/applied";

/// The label that names the program in a Pod.
pub const NAME: &str = "app.kubernetes.io/name";

/// The label that names the installation of the program.
pub const INSTANCE: &str = "app.kubernetes.io/instance";

/// The label that names who looks after an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// What [`NAME`] says on a hub's children.
pub const HUB_PROGRAM: &str = "mooring-hub";

/// The policy that the operator signs its own tokens as.
pub const OPERATOR_POLICY: &str = "mooring-operator";

/// The labels of a hub's children.
#[must_use]
pub fn of_hub(hub: &str) -> BTreeMap<String, String> {
    [(NAME, HUB_PROGRAM), (INSTANCE, hub), (MANAGED_BY, MANAGER), (HUB, hub)].map(owned).into()
}

/// The labels by which a hub's Pods are chosen. They can never change: a Deployment's selector is immutable.
#[must_use]
pub fn hub_selector(hub: &str) -> BTreeMap<String, String> {
    [(NAME, HUB_PROGRAM), (INSTANCE, hub)].map(owned).into()
}

/// The labels of a device's credentials; the manifest's own come to them.
#[must_use]
pub fn of_credentials(hub: &str, device_id: &str) -> BTreeMap<String, String> {
    [(MANAGED_BY, MANAGER), (HUB, hub), (DEVICE_HASH, &device_hash(device_id))].map(owned).into()
}

/// The first 16 hexadecimal digits of the SHA-256 of a device's id.
#[must_use]
pub fn device_hash(device_id: &str) -> String {
    short_hash(device_id.as_bytes())
}

/// The first 16 hexadecimal digits of a SHA-256.
#[must_use]
pub fn short_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What the children of a hub are called. Deployment, Service for devices, NetworkPolicy, PodDisruptionBudget, ServiceAccount,
/// ServiceMonitor and PrometheusRule have the hub's own name.
#[derive(Clone, Copy, Debug)]
pub struct HubChildren<'a>(pub &'a str);

impl HubChildren<'_> {
    /// Deployment, Service for devices, NetworkPolicy, PodDisruptionBudget, ServiceAccount, ServiceMonitor, PrometheusRule.
    #[must_use]
    pub fn hub(self) -> String {
        self.0.to_owned()
    }

    /// The Service for the hub's own API.
    #[must_use]
    pub fn api_service(self) -> String {
        format!("{}-api", self.0)
    }

    /// The Service for metrics.
    #[must_use]
    pub fn metrics_service(self) -> String {
        format!("{}-metrics", self.0)
    }

    /// The ConfigMap with the hub's configuration.
    #[must_use]
    pub fn config(self) -> String {
        format!("{}-config", self.0)
    }

    /// The PersistentVolumeClaim.
    #[must_use]
    pub fn data(self) -> String {
        format!("{}-data", self.0)
    }

    /// The Secret with the hub's own authority: `ca.crt`, `ca.key`.
    #[must_use]
    pub fn authority(self) -> String {
        format!("{}-ca", self.0)
    }

    /// The Secret with the hub's certificate, unless somebody else keeps it.
    #[must_use]
    pub fn certificate(self) -> String {
        format!("{}-tls", self.0)
    }

    /// The Secret of a policy that does not name one.
    #[must_use]
    pub fn policy(self, policy: &str) -> String {
        format!("{}-policy-{}", self.0, policy.to_ascii_lowercase().replace('_', "-"))
    }

    /// The Secret of the operator's own policy.
    #[must_use]
    pub fn operator_policy(self) -> String {
        format!("{}-operator", self.0)
    }
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_and_names_are_what_others_rely_on() {
        // sha256("press-7") by `printf press-7 | sha256sum`
        assert_eq!(device_hash("press-7").len(), 16);
        assert_eq!(short_hash(b""), "e3b0c44298fc1c14");
        let children = HubChildren("plant");
        assert_eq!(children.policy("Registry_Read"), "plant-policy-registry-read");
        assert_eq!([children.api_service(), children.operator_policy()], ["plant-api", "plant-operator"]);
        assert_eq!(of_credentials("plant", "press-7")[HUB], "plant");
    }
}
