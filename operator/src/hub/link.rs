//! One hub, and how it is spoken to.

use super::{Endpoint, HubInfo, HubKey};

/// A hub did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Nothing came back, or not in time.
    #[error("the hub can't be reached")]
    Unreachable,
}

/// One hub.
#[derive(Debug)]
pub struct Link {
    key: HubKey,
    endpoint: Endpoint,
}

impl Link {
    pub(super) fn new(key: HubKey, endpoint: Endpoint) -> Self {
        Self { key, endpoint }
    }

    /// Which hub.
    #[must_use]
    pub fn key(&self) -> &HubKey {
        &self.key
    }

    /// Where it is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What the hub says about itself.
    pub async fn info(&self) -> Result<HubInfo, HubError> {
        Err(HubError::Unreachable)
    }
}
