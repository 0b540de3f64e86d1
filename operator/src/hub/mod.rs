//! The hubs that the operator speaks to, each over its public REST API and its change stream.
//!
//! The IotHub controller says where a hub is and how it is spoken to ([`Links::set`]), and when it is gone ([`Links::remove`]); the Device
//! controller asks for the link. Nobody else opens a connection to a hub.

use std::net::SocketAddr;

use secrecy::SecretString;

/// An IotHub, by its names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HubKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// How a hub is spoken to. Two that are equal need no new connection.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The hub's first host name: the `HostName` of connection strings, the name in its certificate.
    pub host_name: String,
    /// Where its API is: the API Service's cluster address and port. The name above is never looked up.
    pub address: SocketAddr,
    /// The roots that its certificate is checked against, in PEM; empty: those of the system.
    pub roots_pem: String,
    /// The policy that the operator signs its tokens as.
    pub policy: String,
    /// That policy's primary key, in Base64.
    pub key: SecretString,
}
