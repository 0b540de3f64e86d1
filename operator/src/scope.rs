//! Where the operator looks: the whole cluster, or the namespaces that it was given.

use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};

/// Which namespaces are the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Cluster,
    /// These, each once.
    Namespaces(Vec<String>),
}

impl Scope {
    /// The whole cluster when none is named.
    #[must_use]
    pub fn of(mut namespaces: Vec<String>) -> Self {
        namespaces.sort();
        namespaces.dedup();
        if namespaces.is_empty() { Self::Cluster } else { Self::Namespaces(namespaces) }
    }

    /// What to watch: one for the whole cluster, or one for each namespace. (A store follows one watch: whoever starts a watch for each
    /// has a controller, and a store, for each.)
    #[must_use]
    pub fn apis<K>(&self, client: &Client) -> Vec<Api<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match self {
            Self::Cluster => vec![Api::all(client.clone())],
            Self::Namespaces(names) => names.iter().map(|name| Api::namespaced(client.clone(), name)).collect(),
        }
    }

    /// Whether the namespace is the operator's.
    #[must_use]
    pub fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::Cluster => true,
            Self::Namespaces(names) => names.iter().any(|name| name == namespace),
        }
    }
}
