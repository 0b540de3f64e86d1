//! Who asks for a change of an identity: by the headers of the request, by a row of it, and else by the token's policy.

use axum::http::{HeaderMap, HeaderName};
use serde::Deserialize;

use crate::core::identity::change::{Author, Claim};
use crate::core::identity::{InvalidManifest, ManagedBy};
use crate::http::error::Failure;

const MANAGED_BY: HeaderName = HeaderName::from_static("mooring-managed-by");
const OWNERSHIP: HeaderName = HeaderName::from_static("mooring-ownership");

/// What a request, or a row of one, says of its author.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Signature {
    #[serde(rename = "mooring-managed-by")]
    managed_by: Option<String>,
    #[serde(rename = "mooring-ownership")]
    ownership: Option<String>,
}

/// A signature of nobody.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSignature {
    /// No manifest.
    #[error("{MANAGED_BY}: {0}")]
    Manifest(#[from] InvalidManifest),
    /// A person adopts.
    #[error("only a manifest adopts: {MANAGED_BY} is missing")]
    NoManifest,
    /// No such claim.
    #[error("{OWNERSHIP} is adopt or release")]
    Ownership,
}

impl Signature {
    /// In the headers. What is no text there is no valid name either.
    #[must_use]
    pub fn of_request(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("").to_owned());
        Self { managed_by: text(&MANAGED_BY), ownership: text(&OWNERSHIP) }
    }

    /// A row's: what it does not say, its request says for it.
    #[must_use]
    pub fn within(self, request: &Self) -> Self {
        Self {
            managed_by: self.managed_by.or_else(|| request.managed_by.clone()),
            ownership: self.ownership.or_else(|| request.ownership.clone()),
        }
    }

    /// Whose it is; without a manifest, the policy's that signed the token.
    pub fn author(&self, policy: &str) -> Result<Author, InvalidSignature> {
        let source = self.managed_by.as_deref().map(str::parse::<ManagedBy>).transpose()?;
        let ownership = self.ownership.as_deref().map(str::to_ascii_lowercase);
        let person = |release| Author::Policy { name: policy.to_owned(), release };
        match (source, ownership.as_deref()) {
            (None, None) => Ok(person(false)),
            (None, Some("release")) => Ok(person(true)),
            (None, Some("adopt")) => Err(InvalidSignature::NoManifest),
            (Some(source), None) => Ok(Author::Manifest { source, claim: Claim::Own }),
            (Some(source), Some("adopt")) => Ok(Author::Manifest { source, claim: Claim::Adopt }),
            (Some(source), Some("release")) => Ok(Author::Manifest { source, claim: Claim::Release }),
            (_, Some(_)) => Err(InvalidSignature::Ownership),
        }
    }
}

impl From<InvalidSignature> for Failure {
    fn from(error: InvalidSignature) -> Self {
        Self::argument_invalid(error.to_string())
    }
}
