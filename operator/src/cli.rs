//! The command line: flags, each of which is an environment variable too.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

use crate::logs::LogFormat;

/// Turns IotHub and Device resources into running hubs and device credentials
#[derive(Clone, Debug, Parser)]
#[command(name = "mooring-operator", version)]
pub struct Options {
    /// A namespace to look after; may be given several times. Without one: the whole cluster
    #[arg(long, value_name = "NAMESPACE", env = "MOORING_WATCH_NAMESPACE", value_delimiter = ',')]
    pub watch_namespace: Vec<String>,

    /// What hubs are run from, unless they say otherwise
    #[arg(long, value_name = "IMAGE", env = "MOORING_HUB_IMAGE", default_value = concat!("mooring-hub:", env!("CARGO_PKG_VERSION")))]
    pub hub_image: String,

    /// The cluster's DNS domain
    #[arg(long, value_name = "DOMAIN", env = "MOORING_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,

    /// Where health and metrics are: /livez, /readyz, /metrics
    #[arg(long, value_name = "ADDRESS", env = "MOORING_METRICS", default_value = "0.0.0.0:9465")]
    pub metrics: SocketAddr,

    /// Whether one of several operators leads, and the others wait
    #[arg(long, value_name = "ON_OR_OFF", env = "MOORING_LEADER_ELECTION", default_value = "on")]
    pub leader_election: Switch,

    /// The Lease by which the leader is known
    #[arg(long, value_name = "NAME", env = "MOORING_LEASE_NAME", default_value = "mooring-operator")]
    pub lease_name: String,

    /// Its namespace. Without one: that of the operator's Pod, or of the kubeconfig
    #[arg(long, value_name = "NAMESPACE", env = "MOORING_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// The operator's own namespace, when it runs in a Pod: hubs let it in
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    pub namespace: Option<String>,

    /// The operator's name among several. Without one: this machine's
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub identity: Option<String>,

    /// How logs look
    #[arg(long, value_name = "FORMAT", env = "MOORING_LOG_FORMAT", default_value = "auto")]
    pub log_format: LogFormat,

    /// Which events: a level, or levels per module as mooring_operator::iot_hub=debug,info
    #[arg(long, value_name = "FILTER", env = "MOORING_LOG_FILTER", default_value = "info")]
    pub log_filter: String,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is so.
    On,
    /// It is not.
    Off,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn namespaces_may_be_several() {
        Options::command().debug_assert();
        let options =
            Options::parse_from(["mooring-operator", "--watch-namespace", "a", "--watch-namespace", "b", "--leader-election", "off"]);
        assert_eq!((options.watch_namespace.len(), options.leader_election), (2, Switch::Off));
    }
}
