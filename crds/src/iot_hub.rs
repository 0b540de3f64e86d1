//! The kind `IotHub`: a hub that runs in the cluster.
//!
//! Defaults and rules are in the schema, so that no webhook is needed. Optional fields only are added from now on. Doc comments here are
//! what `kubectl explain` prints.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Affinity, Toleration};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;
use crate::schema;

/// How many partitions a hub has that does not say.
const DEFAULT_PARTITIONS: i32 = 4;

/// A hub: what it is called, what it keeps, who may come in.
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
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("a hub's name has at most 40 lower-case letters, digits and hyphens, and begins with a letter: its Services are named after it")
)]
#[serde(rename_all = "camelCase")]
pub struct IotHubSpec {
    /// What clients call the hub. The first is the HostName of its connection strings; under the others it is reached too. The certificate
    /// has to be for all of them.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253), regex(pattern = schema::HOST_NAME)), extend("x-kubernetes-list-type" = "set"))]
    pub hostnames: Vec<String>,

    /// Where the hub's certificate comes from: exactly one of selfSigned, secretRef and issuerRef.
    #[serde(default)]
    #[x_kube(
        validation = Rule::new("[has(self.selfSigned), has(self.secretRef), has(self.issuerRef)].filter(given, given).size() == 1")
            .message("exactly one of selfSigned, secretRef and issuerRef")
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

    /// How long events are kept.
    #[serde(default)]
    pub retention: Retention,

    /// Consumer groups of the Event Hubs-compatible endpoint, besides $Default. Those that are missing are made; readers that go on where
    /// they were need one each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 50), regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")), extend("x-kubernetes-list-type" = "set"))]
    pub consumer_groups: Vec<String>,

    /// Where the hub keeps its data: exactly one of embedded and distributed.
    #[serde(default)]
    #[x_kube(
        validation = Rule::new("[has(self.embedded), has(self.distributed)].filter(given, given).size() == 1")
            .message("exactly one of embedded and distributed")
    )]
    pub storage: Storage,

    /// How many hubs share the work. More than one needs distributed storage, which is not there yet: such a hub is not run, and its
    /// condition Stalled says so.
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
    /// service, device, registryRead and registryReadWrite; any other name is a policy of its own and says its permissions.
    #[serde(default = "default_policies")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub policies: Vec<Policy>,

    /// Commands to devices, and their receipts.
    #[serde(default)]
    pub cloud_to_device: CloudToDevice,

    /// What the hub bears.
    #[serde(default)]
    pub limits: Limits,

    /// What is watched, and when somebody is called.
    #[serde(default)]
    pub monitoring: Monitoring,

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

    /// What the hub writes into its log: a level, or levels per module.
    #[serde(default = "default_log_filter")]
    #[schemars(length(min = 1, max = 1024))]
    pub log_filter: String,

    /// While true nothing is changed in the cluster or the hub for this hub and its Devices, except that Devices are still disabled and
    /// deleted: nobody stays in because somebody is looking at something else.
    #[serde(default)]
    pub paused: bool,
}

/// Where the hub's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// An authority of the hub's own, made once and kept in the Secret `<name>-ca`; clients trust its `ca.crt`. It renews by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_signed: Option<SelfSigned>,

    /// A Secret of type kubernetes.io/tls in the hub's namespace, kept by somebody else. It is followed: a new certificate is served
    /// without dropping a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,

    /// An issuer of cert-manager's, which is asked for a certificate and renews it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerReference>,
}

impl Default for Tls {
    fn default() -> Self {
        Self { self_signed: Some(SelfSigned {}), secret_ref: None, issuer_ref: None }
    }
}

/// Nothing more to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SelfSigned {}

/// Names a Secret in the hub's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretReference {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Names an issuer of cert-manager's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuerReference {
    /// The issuer's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its kind.
    #[serde(default = "issuer_kind")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its group.
    #[serde(default = "issuer_group")]
    #[schemars(length(min = 1, max = 253))]
    pub group: String,
}

/// An authority that issues certificates to devices: exactly one of configMapRef and secretRef.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.configMapRef) != has(self.secretRef)").message("exactly one of configMapRef and secretRef"))]
pub struct DeviceAuthority {
    /// Its name, for people; connections through it are told by it.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::LABEL))]
    pub name: String,
    /// A ConfigMap with its certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<BundleReference>,
    /// A Secret with its certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<BundleReference>,
    /// Only devices whose id begins so are the authority's. Absent: every device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub id_prefix: Option<String>,
}

/// Names an entry with certificates in PEM, in a ConfigMap or a Secret of the hub's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundleReference {
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The entry.
    #[serde(default = "bundle_entry")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// How long events are kept. What comes first counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Retention {
    /// At least an hour. Absent: a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<GoDuration>,
    /// How much disk events may take. Absent: seven tenths of the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_quantity")]
    pub size: Option<Quantity>,
}

/// Where the hub keeps its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Storage {
    /// A volume of the hub's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<EmbeddedStorage>,
    /// An engine that several hubs share. Not there yet: such a hub is not run, and its condition Stalled says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distributed: Option<DistributedStorage>,
}

impl Default for Storage {
    fn default() -> Self {
        Self { embedded: Some(EmbeddedStorage::default()), distributed: None }
    }
}

/// A volume of the hub's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmbeddedStorage {
    /// Its size. It can grow where the storage class allows it.
    #[serde(default = "default_size")]
    #[schemars(schema_with = "schema::quantity")]
    pub size: Quantity,
    /// Its storage class. Absent: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// What becomes of the volume, the policies' keys and the hub's own authority when the IotHub is deleted.
    #[serde(default)]
    pub deletion_policy: StorageDeletionPolicy,
}

impl Default for EmbeddedStorage {
    fn default() -> Self {
        Self { size: default_size(), storage_class_name: None, deletion_policy: StorageDeletionPolicy::default() }
    }
}

/// What becomes of a hub's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StorageDeletionPolicy {
    /// It stays, and an IotHub of the same name finds it again.
    #[default]
    Retain,
    /// It goes with the IotHub.
    Delete,
}

/// An engine that several hubs share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DistributedStorage {
    /// A Secret whose entry `url` is that of a PostgreSQL database, for identities, commands and receipts.
    pub registry_secret_ref: SecretReference,
    /// A Secret whose entry `url` is that of the engine that keeps events.
    pub events_secret_ref: SecretReference,
}

/// How clients reach the hub: a Service for devices and back ends, and one for the hub's own API and its dashboard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Services {
    /// For devices and Azure's service clients.
    #[serde(default)]
    pub devices: DevicesService,
    /// For the hub's own API, and Azure's for services.
    #[serde(default)]
    pub api: ApiService,
}

/// The Service for devices and Azure's service clients. Azure's SDKs know the ports 8883 and 443 only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DevicesService {
    /// How it is reached.
    #[serde(default, rename = "type")]
    pub kind: ServiceType,
    /// Annotations for whoever provides load balancers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// Which load balancer provides it. Absent: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Whether a connection keeps its source address (Local), or may come over any node (Cluster). Of account for NodePort and
    /// LoadBalancer.
    #[serde(default)]
    pub external_traffic_policy: ExternalTrafficPolicy,
    /// MQTT over TLS, 8883.
    #[serde(default)]
    pub mqtt: ServicePort,
    /// HTTPS and WebSockets, 443.
    #[serde(default)]
    pub https: ServicePort,
}

/// The Service for the hub's own API, and Azure's for services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiService {
    /// How it is reached.
    #[serde(default, rename = "type")]
    pub kind: ServiceType,
    /// Annotations for whoever provides load balancers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// The Service's port.
    #[serde(default = "api_port_number")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The nodes' port, for NodePort and LoadBalancer. Absent: the cluster chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<i32>,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Whether the hub listens for it at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The Service's port. Absent: the protocol's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// The nodes' port, for NodePort and LoadBalancer. Absent: the cluster chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<i32>,
}

impl Default for ApiService {
    fn default() -> Self {
        Self { kind: ServiceType::default(), annotations: BTreeMap::new(), port: api_port_number(), node_port: None }
    }
}

impl Default for ServicePort {
    fn default() -> Self {
        Self { enabled: true, port: None, node_port: None }
    }
}

/// How a Service is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Inside the cluster.
    #[default]
    ClusterIP,
    /// At a port of every node.
    NodePort,
    /// Through a load balancer.
    LoadBalancer,
}

/// Over which nodes a connection from outside may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExternalTrafficPolicy {
    /// Over that where the hub is: it keeps its source address, which limits count by.
    #[default]
    Local,
    /// Over any.
    Cluster,
}

/// Whose PROXY protocol headers are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyProtocol {
    /// Networks in CIDR form. Connections from them have to begin with a header.
    #[schemars(length(min = 1, max = 64), inner(length(min = 3, max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub sources: Vec<String>,
}

/// A shared access policy, and the Secret that it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.name in ['iothubowner', 'service', 'device', 'registryRead', 'registryReadWrite']) != has(self.permissions)")
        .message("iothubowner, service, device, registryRead and registryReadWrite have their permissions already; any other policy says its own"),
    validation = Rule::new("!(has(self.keysFrom) && has(self.rotation))")
        .message("only keys that are generated can be rotated: change the keys where they come from, and leave rotation out"),
    validation = Rule::new("self.name != 'mooring-operator'").message("mooring-operator is the operator's own")
)]
pub struct Policy {
    /// The policy's name, as in SharedAccessKeyName.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9][A-Za-z0-9_-]*$"))]
    pub name: String,
    /// What it allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub permissions: Option<Vec<Permission>>,
    /// A Secret that brings its keys. Absent: they are generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_from: Option<crate::device::KeysReference>,
    /// Asks for new keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<crate::device::Rotation>,
    /// The Secret's name. Absent: `<hub>-policy-<name in lower case>`. One that is there already and somebody else's is never touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
}

/// What a policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Permission {
    /// To read identities, presence and refusals.
    RegistryRead,
    /// To make, change and delete identities.
    RegistryWrite,
    /// To read events, send commands and read receipts.
    ServiceConnect,
    /// To act as any device.
    DeviceConnect,
}

/// Commands to devices, and their receipts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudToDevice {
    /// How long a command waits for its device, unless the sender gives it an expiry: 1m to 48h. Absent: an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_ttl: Option<GoDuration>,
    /// How long a command that was delivered is locked: 5s to 5m. Absent: a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_duration: Option<GoDuration>,
    /// How often a command is delivered before it is dead-lettered. Absent: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_delivery_count: Option<i32>,
    /// How many commands of one device may wait. Absent: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_queue_depth: Option<i32>,
    /// Receipts.
    #[serde(default)]
    pub feedback: Feedback,
}

/// Receipts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Feedback {
    /// How long a receipt waits for a back end: 1m to 48h. Absent: an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<GoDuration>,
    /// How long receipts that were received are locked: 5s to 5m. Absent: a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_duration: Option<GoDuration>,
    /// How often a receipt is handed out before it is dropped. Absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_delivery_count: Option<i32>,
}

/// What the hub bears. Absent: the hub's defaults, which are in its configuration reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Connections at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_000_000))]
    pub connections: Option<i32>,
    /// Connections on which nobody has authenticated yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60_000))]
    pub unfinished_connections: Option<i32>,
    /// The same, of one address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60_000))]
    pub unfinished_connections_per_address: Option<i32>,
    /// Connections of one address that may end without anybody's authentication, in a burst.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub failed_connections_per_address: Option<i32>,
    /// Commands of all devices that may wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub pending_commands: Option<i32>,
}

/// What is watched, and when somebody is called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// After how long without a connection an enabled device counts as missing, at least 10s; Devices may say otherwise for themselves.
    /// Absent: only Devices that say so are expected to be connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_after: Option<GoDuration>,
    /// For the Prometheus Operator, where its kinds exist.
    #[serde(default)]
    pub prometheus: Prometheus,
    /// When somebody is called.
    #[serde(default)]
    pub alerts: Alerts,
}

/// For the Prometheus Operator, where its kinds exist: a ServiceMonitor, and a PrometheusRule with the hub's alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Prometheus {
    /// Whether they are made.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Labels that both get, by which Prometheus finds them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
    /// How often the hub is scraped. Absent: as Prometheus has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<GoDuration>,
}

/// When somebody is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alerts {
    /// Labels that every alert gets besides namespace, iothub and severity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
    /// MooringHubAbsent: nothing has been heard of the hub's metrics for so long.
    #[serde(default = "five_minutes")]
    pub hub_absent_for: GoDuration,
    /// MooringFleetDrop: so many percent fewer devices are connected than at the most in the last fifteen minutes.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 100))]
    pub fleet_drop_percent: i32,
    /// MooringDevicesOffline: more devices than this are missing (see offlineAfter).
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub devices_offline_more_than: i32,
    /// MooringRefusalBurst: more refusals than this in five minutes.
    #[serde(default = "three_hundred")]
    #[schemars(range(min = 1))]
    pub refusals_more_than: i32,
    /// MooringCertificateExpiry: the hub's certificate ends within this time.
    #[serde(default = "two_weeks")]
    pub certificate_expires_within: GoDuration,
}

impl Default for Prometheus {
    fn default() -> Self {
        Self { enabled: true, labels: BTreeMap::new(), interval: None }
    }
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            labels: BTreeMap::new(),
            hub_absent_for: five_minutes(),
            fleet_drop_percent: twenty(),
            devices_offline_more_than: 0,
            refusals_more_than: three_hundred(),
            certificate_expires_within: two_weeks(),
        }
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
#[x_kube(validation = Rule::new("(self.from == 'Selector') == has(self.selector)").message("selector goes with from: Selector, and with nothing else"))]
pub struct AllowedNamespaces {
    /// The hub's own, all, or those that the selector chooses.
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

/// CPU and memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resources {
    /// What is set aside for the hub.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::quantities")]
    pub requests: BTreeMap<String, Quantity>,
    /// What it can't exceed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

/// On which nodes the hub runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// Labels that the node has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the hub bears.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,
    /// Near to what, or far from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::affinity")]
    pub affinity: Option<Affinity>,
    /// Its priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

/// Numbers under which the hub runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSecurity {
    /// The user, never 0. Absent: 65532. OpenShift's own choice: set `assigned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub run_as_user: Option<i64>,
    /// The group that owns the volume. Absent: 65532.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub fs_group: Option<i64>,
    /// Leaves both numbers to the cluster, as OpenShift wants it.
    #[serde(default)]
    pub assigned: bool,
}

/// What the hub is run from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The image's reference. Absent: the one that came with the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub reference: Option<String>,
    /// When it is pulled. Absent: as Kubernetes has it for its tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// Secrets in the hub's namespace to pull it with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub pull_secrets: Vec<SecretReference>,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// Every time.
    Always,
    /// When it is not there.
    IfNotPresent,
    /// It has to be there.
    Never,
}

/// Keeps nodes from being drained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PodDisruptionBudget {
    /// Whether there is one.
    #[serde(default)]
    pub enabled: bool,
}

/// Which connections the network lets through. Devices come in from everywhere, and out goes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// Whether there is one.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Who may reach the hub's own API, besides its namespace and the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub api_from: Vec<NetworkPolicyPeer>,
    /// Who may read metrics. Absent or empty: every Pod in the cluster; there are no ids or secrets in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub metrics_from: Vec<NetworkPolicyPeer>,
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        Self { enabled: true, api_from: Vec::new(), metrics_from: Vec::new() }
    }
}

/// How the hub stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IotHubStatus {
    /// The generation of the spec that the rest is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// Where it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,

    /// Its devices, read at most every 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<DeviceCounts>,

    /// The version of the hub that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// When its certificate ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date_time")]
    pub certificate_expiry_time: Option<Timestamp>,

    /// The Secrets of its policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub policies: Vec<PolicyStatus>,
}

/// Where a hub is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// The HostName of its connection strings.
    pub hostname: String,
    /// Where its name has to lead: the load balancer's addresses, or the Service's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub addresses: Vec<String>,
    /// The Service for devices, within the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices_service: Option<String>,
    /// The Service for the hub's own API, within the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_service: Option<String>,
    /// The Secret whose `ca.crt` clients trust; absent when the certificate comes from somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<String>,
}

/// A hub's devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceCounts {
    /// All of them.
    pub total: i64,
    /// Those that may connect.
    pub enabled: i64,
    /// Those that are connected.
    pub connected: i64,
}

/// A policy's Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// The policy.
    pub name: String,
    /// Its Secret.
    pub secret: String,
    /// The last rotation that was carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<crate::device::RotationStatus>,
}

fn yes() -> bool {
    true
}

fn one() -> i32 {
    1
}

fn twenty() -> i32 {
    20
}

fn three_hundred() -> i32 {
    300
}

fn five_minutes() -> GoDuration {
    GoDuration::minutes(5)
}

fn two_weeks() -> GoDuration {
    GoDuration::hours(14 * 24)
}

fn default_partitions() -> i32 {
    DEFAULT_PARTITIONS
}

fn default_size() -> Quantity {
    Quantity("10Gi".to_owned())
}

fn default_log_filter() -> String {
    "info".to_owned()
}

fn api_port_number() -> i32 {
    8443
}

fn issuer_kind() -> String {
    "Issuer".to_owned()
}

fn issuer_group() -> String {
    "cert-manager.io".to_owned()
}

fn bundle_entry() -> String {
    "ca.crt".to_owned()
}

fn default_policies() -> Vec<Policy> {
    ["iothubowner", "service"]
        .map(|name| Policy { name: name.to_owned(), permissions: None, keys_from: None, rotation: None, secret_name: None })
        .into()
}
