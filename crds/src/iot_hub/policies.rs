//! Shared access policies, and the Secrets that they get.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::device::{KeysReference, Rotation};
use crate::schema;

/// A shared access policy, and the Secret that it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.name in ['iothubowner', 'service', 'device', 'registryRead', 'registryReadWrite']) != has(self.permissions)")
        .message("iothubowner, service, device, registryRead and registryReadWrite have their permissions already; any other policy says its own"),
    validation = Rule::new("!(has(self.keysFrom) && has(self.rotation))")
        .message("only keys that are generated can be rotated: change the keys where they come from, and leave rotation out"),
    validation = Rule::new("self.name.lowerAscii() != 'mooring-operator'").message("mooring-operator is the operator's own: choose another name"),
    validation = Rule::new("has(self.secretName) || self.name.matches('^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$')")
        .message("this name can't be part of a Secret's name, because of an underscore or a hyphen at its end: give the policy a secretName")
)]
pub struct Policy {
    /// The policy's name, as in SharedAccessKeyName.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9][A-Za-z0-9_-]*$')").message("a policy's name: letters, digits, hyphens and underscores"))]
    pub name: String,
    /// What it allows: to read identities, presence and refusals (RegistryRead), to make, change and delete identities (RegistryWrite), to
    /// read events, send commands and read receipts (ServiceConnect), to act as any device (DeviceConnect).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub permissions: Option<Vec<Permission>>,
    /// A Secret in the hub's namespace that brings its keys. Absent: they are generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_from: Option<KeysReference>,
    /// Asks for new keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// The Secret's name. Absent: `<hub>-policy-<name in lower case>`. One that is there already and somebody else's is never touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub secret_name: Option<String>,
}

impl Policy {
    /// One of the five that every hub has, with nothing more to say.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), permissions: None, keys_from: None, rotation: None, secret_name: None }
    }
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
