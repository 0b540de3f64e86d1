//! Who did something, through which door, and from where.

use ::core::net::IpAddr;
use std::fmt;

use super::identity::ManagedBy;

/// How a person has proven who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignInMethod {
    /// By the link that `dev` prints.
    Link,
    /// By a password.
    Password,
    /// By a token of the cluster that the hub runs in.
    Kubernetes,
    /// By the word of an OpenID Connect issuer.
    OpenId,
}

impl SignInMethod {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Link, Self::Password, Self::Kubernetes, Self::OpenId];

    /// The name in answers and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Password => "password",
            Self::Kubernetes => "kubernetes",
            Self::OpenId => "openid",
        }
    }
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A person who is signed in, or tried to: the name, and how it was proven.
    Person(String, SignInMethod),
    /// Whoever has a key of this shared access policy.
    Policy(String),
    /// A manifest: `manifest-folder`, or `kubernetes/<namespace>/<name>`.
    Manifest(String),
    /// The hub itself.
    Hub,
}

/// What a principal's row in a table, or its document, begins with.
const POLICY: &str = "policy";
const MANIFEST: &str = "manifest";
const HUB: &str = "hub";

impl Principal {
    /// The kinds of those that nobody sits in front of.
    pub const PROGRAMS: [&str; 2] = [POLICY, MANIFEST];

    /// A manifest, whichever life of it.
    #[must_use]
    pub fn of_manifest(source: &ManagedBy) -> Self {
        Self::Manifest(match source {
            ManagedBy::ManifestFolder => source.to_string(),
            ManagedBy::Kubernetes { namespace, name, .. } => format!("kubernetes/{namespace}/{name}"),
        })
    }

    /// What kind it is: `policy`, `manifest`, `hub`, or how a person has signed in.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Person(_, method) => method.name(),
            Self::Policy(_) => POLICY,
            Self::Manifest(_) => MANIFEST,
            Self::Hub => HUB,
        }
    }

    /// Whether it is a person, who can be spoken to.
    #[must_use]
    pub fn is_person(&self) -> bool {
        matches!(self, Self::Person(..))
    }

    /// What it is called; the hub has no name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Person(name, _) | Self::Policy(name) | Self::Manifest(name) => name,
            Self::Hub => "",
        }
    }

    /// The one of this kind and name; `None` when there is no such kind.
    #[must_use]
    pub fn of(kind: &str, name: String) -> Option<Self> {
        match kind {
            POLICY => Some(Self::Policy(name)),
            MANIFEST => Some(Self::Manifest(name)),
            HUB => Some(Self::Hub),
            kind => SignInMethod::ALL.into_iter().find(|method| method.name() == kind).map(|method| Self::Person(name, method)),
        }
    }
}

/// For people: the name, or `the hub`.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub => f.write_str("the hub"),
            named => f.write_str(named.name()),
        }
    }
}

/// Which way somebody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// The page in a browser.
    Dashboard,
    /// A REST API, with a policy's token.
    Rest,
    /// `mooring-hub` on somebody's command line, by its own word.
    CommandLine,
    /// A manifest.
    Manifest,
    /// A file that the hub follows.
    File,
}

impl Door {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Dashboard, Self::Rest, Self::CommandLine, Self::Manifest, Self::File];

    /// The name in answers and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dashboard => "dashboard",
            Self::Rest => "rest",
            Self::CommandLine => "cli",
            Self::Manifest => "manifest",
            Self::File => "file",
        }
    }
}

/// By whom something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// Who.
    pub principal: Principal,
    /// Through which door.
    pub door: Door,
    /// From where; `None` for what is done within the hub.
    pub address: Option<IpAddr>,
}

impl By {
    /// The hub itself, because of a file that it follows.
    #[must_use]
    pub fn the_hub() -> Self {
        Self { principal: Principal::Hub, door: Door::File, address: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_found_again_by_kind_and_name() {
        let people = SignInMethod::ALL.map(|method| Principal::Person("ada".to_owned(), method));
        let others = [Principal::Policy("service".to_owned()), Principal::Manifest("manifest-folder".to_owned()), Principal::Hub];
        for principal in people.into_iter().chain(others) {
            assert_eq!(Principal::of(principal.kind(), principal.name().to_owned()), Some(principal));
        }
        assert_eq!(Principal::of("stranger", String::new()), None);
    }

    #[test]
    fn a_manifest_is_called_the_same_in_every_life() {
        let of = |uid: &str| Principal::of_manifest(&format!("kubernetes/plant/pump/{uid}").parse().unwrap());
        assert_eq!(of("u-1"), of("u-2"));
        assert_eq!(of("u-1").name(), "kubernetes/plant/pump");
    }
}
