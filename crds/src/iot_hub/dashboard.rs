//! The page on which people see the hub.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The page on which people see the hub.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dashboard {
    /// Signing in with the cluster's tokens, made for the audience mooring:NAMESPACE/NAME. What somebody may do is what she may get of the
    /// IotHub's subresources read, bodies, commands, devices and secrets.
    #[serde(default)]
    pub kubernetes: KubernetesSignIn,
}

/// Signing in with the cluster's tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KubernetesSignIn {
    /// Whether people can. The hub's Pod then has its ServiceAccount's token, and may reach the API server. The account has to be allowed to
    /// ask: name the hub in the chart's rbac.dashboards.
    #[serde(default)]
    pub enabled: bool,
}
