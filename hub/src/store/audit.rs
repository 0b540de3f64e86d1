//! The seam behind which the audit is kept: entries are added, and in the end forgotten, and never changed.
//!
//! What is changed together with the registry is written by [`Registry::write`](super::Registry::write), in its transaction.

use async_trait::async_trait;

use crate::core::audit::{AuditAction, AuditEntry, AuditId};
use crate::core::principal::Principal;

/// What was done, by whom.
#[async_trait]
pub trait AuditLog: Send + Sync + 'static {
    /// Writes all of them, in one durable transaction. One that is there already stays as it is.
    async fn append(&self, entries: &[AuditEntry]) -> Result<(), AuditLogError>;

    /// Entries, the latest first.
    async fn entries(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, AuditLogError>;

    /// The number of the latest; `None` when there is none.
    async fn last(&self) -> Result<Option<AuditId>, AuditLogError>;

    /// How many entries there are of these authors. May take as long as looking at all of them.
    async fn count(&self, of: Authors) -> Result<usize, AuditLogError>;

    /// Forgets at most `limit` entries of these authors, the oldest of those before `before`. Says how many it forgot.
    async fn prune(&self, of: Authors, before: AuditId, limit: usize) -> Result<usize, AuditLogError>;
}

/// Of whom an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authors {
    /// Of anybody.
    All,
    /// Of policies and manifests, [`Principal::PROGRAMS`].
    Programs,
    /// Of people, and of the hub itself.
    Others,
}

impl Authors {
    /// Whether this one is one of them.
    #[must_use]
    pub fn include(self, principal: &Principal) -> bool {
        let program = Principal::PROGRAMS.contains(&principal.kind());
        match self {
            Self::All => true,
            Self::Programs => program,
            Self::Others => !program,
        }
    }
}

/// Which entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only those with a smaller number, up to [`AuditId::MAX`].
    pub before: Option<AuditId>,
    /// Only those about this device.
    pub device: Option<String>,
    /// Only those of the principal of this name.
    pub who: Option<String>,
    /// None of these.
    pub without: Vec<AuditAction>,
    /// At most so many, 1 to 1000.
    pub limit: usize,
}

/// The audit can't be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditLogError {
    /// No space.
    #[error("the disk for the audit is full")]
    Full,
    /// Anything else, in the store's words.
    #[error("the audit does not answer: {0}")]
    Unavailable(String),
}
