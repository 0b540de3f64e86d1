//! Shared access policies: names with keys and permissions, for those who are not one device.

use std::collections::BTreeMap;
use std::fmt;

use super::identity::SymmetricKey;
use super::session::KeyFingerprint;

/// One thing that a principal may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Read identities.
    RegistryRead,
    /// Write identities; implies reading them.
    RegistryWrite,
    /// Send commands, read feedback and events.
    ServiceConnect,
    /// Act as a device.
    DeviceConnect,
}

impl Permission {
    /// Azure's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RegistryRead => "RegistryRead",
            Self::RegistryWrite => "RegistryWrite",
            Self::ServiceConnect => "ServiceConnect",
            Self::DeviceConnect => "DeviceConnect",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Azure's names, without case.
impl std::str::FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::RegistryRead, Self::RegistryWrite, Self::ServiceConnect, Self::DeviceConnect]
            .into_iter()
            .find(|permission| permission.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownPermission(text.to_owned()))
    }
}

/// A word that is no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a permission; there are RegistryRead, RegistryWrite, ServiceConnect and DeviceConnect")]
pub struct UnknownPermission(pub String);

/// A shared access policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name, the `skn` of its tokens.
    pub name: String,
    /// Slot one.
    pub primary: SymmetricKey,
    /// Slot two.
    pub secondary: SymmetricKey,
    /// What it allows.
    pub permissions: Vec<Permission>,
}

impl Policy {
    /// Whether it allows `permission`, directly or because RegistryWrite implies RegistryRead.
    #[must_use]
    pub fn allows(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
            || (permission == Permission::RegistryRead && self.permissions.contains(&Permission::RegistryWrite))
    }
}

/// The five policies that every hub has, and what each allows.
pub const BUILT_IN_POLICIES: [(&str, &[Permission]); 5] = [
    ("iothubowner", &[Permission::RegistryRead, Permission::RegistryWrite, Permission::ServiceConnect, Permission::DeviceConnect]),
    ("service", &[Permission::ServiceConnect]),
    ("device", &[Permission::DeviceConnect]),
    ("registryRead", &[Permission::RegistryRead]),
    ("registryReadWrite", &[Permission::RegistryRead, Permission::RegistryWrite]),
];

/// All policies of a hub, by name; names are compared with case, as Azure does.
#[derive(Clone, Debug, Default)]
pub struct Policies(BTreeMap<String, Policy>);

impl Policies {
    /// The policy of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Policy> {
        self.0.get(name)
    }

    /// Whether the policy of that name has this key, in either slot.
    #[must_use]
    pub fn have(&self, name: &str, key: KeyFingerprint) -> bool {
        let slots = self.get(name).into_iter().flat_map(|policy| [&policy.primary, &policy.secondary]);
        slots.map(KeyFingerprint::of).any(|known| known == key)
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.0.values()
    }
}

impl FromIterator<Policy> for Policies {
    fn from_iter<I: IntoIterator<Item = Policy>>(policies: I) -> Self {
        Self(policies.into_iter().map(|policy| (policy.name.clone(), policy)).collect())
    }
}
