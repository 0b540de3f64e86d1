//! Which namespaces the operator looks after.

use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};

/// The namespaces that are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every one, with one watch each kind.
    All,
    /// These, with a watch each.
    Namespaces(Vec<String>),
}

impl Scope {
    /// Of what the command line names: none means all.
    #[must_use]
    pub fn of(mut namespaces: Vec<String>) -> Self {
        namespaces.sort();
        namespaces.dedup();
        if namespaces.is_empty() { Self::All } else { Self::Namespaces(namespaces) }
    }

    /// Whether the namespace is looked after.
    #[must_use]
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces(names) => names.iter().any(|name| name == namespace),
        }
    }

    /// What is to be watched of a kind.
    #[must_use]
    pub fn apis<K>(&self, client: &Client) -> Vec<Api<K>>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match self {
            Self::All => vec![Api::all(client.clone())],
            Self::Namespaces(names) => names.iter().map(|name| Api::namespaced(client.clone(), name)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_all_and_a_name_counts_once() {
        assert_eq!(Scope::of(Vec::new()), Scope::All);
        let scope = Scope::of(vec!["b".to_owned(), "a".to_owned(), "b".to_owned()]);
        assert_eq!(scope, Scope::Namespaces(vec!["a".to_owned(), "b".to_owned()]));
        assert!(scope.covers("a") && !scope.covers("c") && Scope::All.covers("c"));
    }
}
