//! How clients reach a hub, and which of them the network lets through.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// How clients reach the hub: a Service for devices and back ends, and one for the hub's own API and its dashboard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Services {
    /// For devices and Azure's service clients: the Service `<name>`. Azure's SDKs know the ports 8883, 5671
    /// and 443 only.
    #[serde(default)]
    pub devices: DevicesService,
    /// For the hub's own API, and Azure's for services: the Service `<name>-api`. Metrics have one of their own, `<name>-metrics`, within the
    /// cluster.
    #[serde(default)]
    pub api: ApiService,
}

/// The Service for devices and Azure's service clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.mqtt.enabled || self.amqp.enabled || self.https.enabled")
        .message("at least one of mqtt, amqp and https has to be enabled"),
    validation = Rule::new(
        "(!self.mqtt.enabled || !self.amqp.enabled || (has(self.mqtt.port) ? self.mqtt.port : 8883) != (has(self.amqp.port) ? self.amqp.port : 5671)) \
         && (!self.mqtt.enabled || !self.https.enabled || (has(self.mqtt.port) ? self.mqtt.port : 8883) != (has(self.https.port) ? self.https.port : 443)) \
         && (!self.amqp.enabled || !self.https.enabled || (has(self.amqp.port) ? self.amqp.port : 5671) != (has(self.https.port) ? self.https.port : 443))"
    )
    .message("mqtt, amqp and https need ports of their own"),
    validation = Rule::new("self.type != 'ClusterIP' || (!has(self.mqtt.nodePort) && !has(self.amqp.nodePort) && !has(self.https.nodePort))")
        .message("a nodePort needs type: NodePort or LoadBalancer"),
    validation = Rule::new("!has(self.loadBalancerClass) || self.type == 'LoadBalancer'")
        .message("loadBalancerClass needs type: LoadBalancer"),
    validation = Rule::new(
        "self.type != 'LoadBalancer' || oldSelf.type != 'LoadBalancer' || (has(self.loadBalancerClass) == has(oldSelf.loadBalancerClass) \
         && (!has(self.loadBalancerClass) || self.loadBalancerClass == oldSelf.loadBalancerClass))"
    )
    .message("Kubernetes can't change the loadBalancerClass of a Service: make it ClusterIP first, and then a LoadBalancer again")
)]
pub struct DevicesService {
    /// Whether it is reached inside the cluster (ClusterIP), at a port of every node (NodePort), or through a load balancer
    /// (LoadBalancer).
    #[serde(default, rename = "type")]
    pub kind: ServiceType,
    /// Annotations for whoever provides load balancers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,
    /// Which load balancer provides it. Absent: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Whether a connection keeps its source address, which limits count by (Local), or may come over any node (Cluster). Of account for
    /// NodePort and LoadBalancer.
    #[serde(default)]
    pub external_traffic_policy: ExternalTrafficPolicy,
    /// MQTT over TLS; the port is 8883 unless it says otherwise.
    #[serde(default)]
    pub mqtt: ServicePort,
    /// AMQP over TLS; the port is 5671 unless it says otherwise.
    #[serde(default)]
    pub amqp: ServicePort,
    /// HTTPS and WebSockets; the port is 443 unless it says otherwise.
    #[serde(default)]
    pub https: ServicePort,
}

/// The Service for the hub's own API, and Azure's for services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type != 'ClusterIP' || !has(self.nodePort)").message("a nodePort needs type: NodePort or LoadBalancer")
)]
pub struct ApiService {
    /// Whether it is reached inside the cluster (ClusterIP), at a port of every node (NodePort), or through a load balancer
    /// (LoadBalancer).
    #[serde(default, rename = "type")]
    pub kind: ServiceType,
    /// Annotations for whoever provides load balancers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
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
    #[schemars(schema_with = "schema::networks")]
    pub sources: Vec<String>,
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

fn yes() -> bool {
    true
}

fn api_port_number() -> i32 {
    8443
}
