//! The kind `IotHub`: a hub that runs in the cluster.
//!
//! Defaults and rules are in the schema, so that no webhook is needed. Optional fields only are added from now on. Doc comments here are
//! what `kubectl explain` prints; a default is added to them where there is one.
//!
//! Where one of several may be given, the schema has no default for it: a default is kept with the object, and would stand beside what
//! is given later (`kubectl apply` only takes away what it has put there). What is meant then, a method says: [`Tls::source`],
//! [`Storage::volume`], [`IotHubSpec::policies`].

mod certificates;
mod commands;
mod dashboard;
mod monitoring;
mod pod;
mod policies;
mod reach;
mod status;
mod storage;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use certificates::{BundleReference, CertificateSource, DeviceAuthority, IssuerReference, SecretReference, SelfSigned, Tls};
pub use commands::{CloudToDevice, Feedback, Limits};
pub use dashboard::{Dashboard, KubernetesSignIn};
pub use monitoring::{Alerts, Monitoring, Prometheus};
pub use pod::{Image, PodDisruptionBudget, PodSecurity, PullPolicy, Resources, Scheduling};
pub use policies::{Permission, Policy};
pub use reach::{ApiService, DevicesService, ExternalTrafficPolicy, NetworkPolicy, ProxyProtocol, ServicePort, ServiceType, Services};
pub use status::{DeviceCounts, Endpoints, IotHubStatus, PolicyStatus};
pub use storage::{DistributedStorage, EmbeddedStorage, Retention, Storage, StorageDeletionPolicy};

use crate::schema;

/// How many partitions a hub has that does not say.
const DEFAULT_PARTITIONS: i32 = 4;

/// What is wanted: what the hub is called, what it keeps, who may come in, and how it runs.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mooring.dev",
    version = "v1alpha1",
    kind = "IotHub",
    namespaced,
    shortname = "mhub",
    category = "mooring",
    status = "IotHubStatus",
    derive = "PartialEq",
    doc = "A hub that speaks Azure IoT Hub's protocols. Applied, it runs; its data outlives it unless its storage says otherwise, and one \
           that is made again under the same name finds its devices, keys and events.",
    printcolumn(name = "READY", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "DEVICES", type_ = "integer", json_path = ".status.devices.total"),
    printcolumn(name = "CONNECTED", type_ = "integer", json_path = ".status.devices.connected"),
    printcolumn(name = "VERSION", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')")
        .message("a hub's name has at most 40 lower-case letters, digits and hyphens, with a letter at the beginning: its Services are named after it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "!has(self.retention.size) || has(self.storage.distributed) || !isQuantity(string(self.retention.size)) \
         || (has(self.storage.embedded) \
         ? !isQuantity(string(self.storage.embedded.size)) || quantity(string(self.retention.size)).isLessThan(quantity(string(self.storage.embedded.size))) \
         : quantity(string(self.retention.size)).isLessThan(quantity('10Gi')))"
    )
    .message("retention.size has to be smaller than the volume (storage.embedded.size), which holds the devices and commands too")
)]
pub struct IotHubSpec {
    /// What clients call the hub. The first is the HostName of its connection strings; under the others it is reached too. The certificate
    /// has to be for all of them.
    #[schemars(schema_with = "schema::host_names")]
    pub hostnames: Vec<String>,

    /// Where the hub's certificate comes from: at most one of selfSigned, secretRef and issuerRef. Without any, selfSigned is meant.
    #[serde(default)]
    #[x_kube(
        validation = Rule::new("[has(self.selfSigned), has(self.secretRef), has(self.issuerRef)].filter(given, given).size() <= 1")
            .message("only one of selfSigned, secretRef and issuerRef: remove the others")
    )]
    pub tls: Tls,

    /// Authorities that issue certificates to devices. A device that is registered as CA-signed comes in with a certificate whose common
    /// name is its id and behind which one of them stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub device_authorities: Vec<DeviceAuthority>,

    /// Into how many partitions events are spread. Can't be changed.
    #[serde(default = "default_partitions")]
    #[schemars(range(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("partitions can't be changed: where a device's events are depends on their number"))]
    pub partitions: i32,

    /// How long events are kept: until the time or the size is reached, whichever comes first.
    #[serde(default)]
    pub retention: Retention,

    /// Consumer groups of the Event Hubs-compatible endpoint, besides $Default; back ends that go on where they were need one each. A change
    /// reaches the hub within two minutes, and no Pod restarts. Who reads in a group that is taken away is sent away, and the hub forgets where
    /// it stood.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::consumer_groups")]
    pub consumer_groups: Vec<String>,

    /// Where the hub keeps its data: at most one of embedded and distributed. Without any, embedded is meant, with 10Gi.
    #[serde(default)]
    #[x_kube(
        validation = Rule::new("!(has(self.embedded) && has(self.distributed))")
            .message("only one of embedded and distributed: remove the other"),
        validation = Rule::new(
            "has(self.distributed) || !has(self.embedded) || has(oldSelf.embedded) || has(oldSelf.distributed) \
             || (!has(self.embedded.storageClassName) && quantity(string(self.embedded.size)).compareTo(quantity('10Gi')) >= 0)"
        )
        .message("the volume of 10Gi and the cluster's default class is there already: say no storageClassName, and a size that is not smaller"),
        validation = Rule::new(
            "has(self.distributed) || has(self.embedded) || !has(oldSelf.embedded) \
             || (!has(oldSelf.embedded.storageClassName) && quantity(string(oldSelf.embedded.size)).compareTo(quantity('10Gi')) <= 0)"
        )
        .message("embedded can't be removed: the volume is there already, with another size or class than the default")
    )]
    pub storage: Storage,

    /// How many hubs share the work. More than one needs distributed storage, which is not there yet: the condition Stalled says so, a hub
    /// that runs already runs on as it was, and a new one is not started.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: i32,

    /// How clients reach the hub.
    #[serde(default)]
    pub services: Services,

    /// Networks whose connections begin with a PROXY protocol header, which is believed: those of the load balancer in front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,

    /// The shared access policies that get a Secret each, with keys and connection strings. The five that every hub has are iothubowner,
    /// service, device, registryRead and registryReadWrite; any other name is a policy of its own and says its permissions. Absent:
    /// iothubowner and service. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(
        validation = Rule::new(
            "self.all(one, self.exists_one(other, (has(one.secretName) ? one.secretName : one.name.lowerAscii()) \
             == (has(other.secretName) ? other.secretName : other.name.lowerAscii())))"
        )
        .message("two policies would have the same Secret, whose name is in lower case: give one of them a secretName")
    )]
    pub policies: Option<Vec<Policy>>,

    /// Commands to devices, and their receipts.
    #[serde(default)]
    pub cloud_to_device: CloudToDevice,

    /// What the hub bears.
    #[serde(default)]
    pub limits: Limits,

    /// What is watched, and when somebody is called.
    #[serde(default)]
    pub monitoring: Monitoring,

    /// The page on which people see the hub.
    #[serde(default)]
    pub dashboard: Dashboard,

    /// Who may attach Devices to the hub.
    #[serde(default)]
    pub devices: DevicesPolicy,

    /// CPU and memory for the hub.
    #[serde(default)]
    pub resources: Resources,

    /// On which nodes the hub runs.
    #[serde(default)]
    pub scheduling: Scheduling,

    /// Numbers under which the hub runs. It never runs as root, can't gain privileges, and has a read-only root file system.
    #[serde(default)]
    pub pod_security: PodSecurity,

    /// What the hub is run from.
    #[serde(default)]
    pub image: Image,

    /// Keeps nodes from being drained while the hub is on them. Off, because a hub of one replica could never be moved.
    #[serde(default)]
    pub pod_disruption_budget: PodDisruptionBudget,

    /// Which connections the network lets through to the hub.
    #[serde(default)]
    pub network_policy: NetworkPolicy,

    /// What the hub writes into its log: a level (error, warn, info, debug, trace), or levels per module, as in
    /// `mooring_hub::mqtt=debug,info`.
    #[serde(default = "default_log_filter")]
    #[schemars(schema_with = "schema::log_filter")]
    pub log_filter: String,

    /// While true nothing is changed in the cluster or the hub for this hub and its Devices, except that Devices are still disabled and
    /// deleted: nobody stays in because somebody is looking at something else.
    #[serde(default)]
    pub paused: bool,
}

impl IotHubSpec {
    /// The policies that get a Secret.
    #[must_use]
    pub fn policies(&self) -> Vec<Policy> {
        self.policies.clone().unwrap_or_else(|| ["iothubowner", "service"].map(Policy::named).into())
    }
}

/// Who may attach Devices to the hub.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DevicesPolicy {
    /// From which namespaces.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,
}

/// From which namespaces Devices may name the hub.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("(self.from == 'Selector') == has(self.selector)")
        .message("from: Selector needs a selector, and a selector needs from: Selector")
)]
pub struct AllowedNamespaces {
    /// The hub's own (Same), every one (All), or those that the selector chooses (Selector).
    #[serde(default)]
    pub from: NamespacesFrom,
    /// Chooses namespaces by their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Which namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// The hub's own.
    #[default]
    Same,
    /// Every one.
    All,
    /// Those whose labels fit.
    Selector,
}

fn one() -> i32 {
    1
}

fn default_partitions() -> i32 {
    DEFAULT_PARTITIONS
}

fn default_log_filter() -> String {
    "info".to_owned()
}

#[cfg(test)]
mod tests;
