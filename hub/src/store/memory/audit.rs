//! The audit in memory: the model.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;

use crate::core::audit::{AuditEntry, AuditId};
use crate::store::audit::{AuditLog, AuditLogError, AuditQuery, Authors};

/// Entries as plain values.
#[derive(Debug, Default)]
pub struct MemoryAuditLog(Mutex<BTreeMap<AuditId, AuditEntry>>);

impl MemoryAuditLog {
    /// Adds one.
    pub(super) fn add(&self, entry: AuditEntry) {
        self.log().entry(entry.id).or_insert(entry);
    }

    fn log(&self) -> MutexGuard<'_, BTreeMap<AuditId, AuditEntry>> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

#[async_trait]
impl AuditLog for MemoryAuditLog {
    async fn append(&self, entries: &[AuditEntry]) -> Result<(), AuditLogError> {
        entries.iter().for_each(|entry| self.add(entry.clone()));
        Ok(())
    }

    async fn entries(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, AuditLogError> {
        let log = self.log();
        let wanted = log.values().rev().filter(|entry| {
            query.before.is_none_or(|before| entry.id < before)
                && query.device.as_ref().is_none_or(|device| entry.device.as_ref() == Some(device))
                && query.who.as_ref().is_none_or(|who| entry.by.principal.name() == who)
                && !query.without.contains(&entry.action)
        });
        Ok(wanted.take(query.limit).cloned().collect())
    }

    async fn last(&self) -> Result<Option<AuditId>, AuditLogError> {
        Ok(self.log().last_key_value().map(|(id, _)| *id))
    }

    async fn count(&self, of: Authors) -> Result<usize, AuditLogError> {
        Ok(self.log().values().filter(|entry| of.include(&entry.by.principal)).count())
    }

    async fn prune(&self, of: Authors, before: AuditId, limit: usize) -> Result<usize, AuditLogError> {
        let mut log = self.log();
        let old = log.range(..before).filter(|(_, entry)| of.include(&entry.by.principal));
        let old: Vec<AuditId> = old.map(|(id, _)| *id).take(limit).collect();
        old.iter().for_each(|id| drop(log.remove(id)));
        Ok(old.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::MemoryAuditLog;
    use crate::store::Registry;
    use crate::store::audit::AuditLog;
    use crate::store::contract::audit::{self as contract, audit_contract};
    use crate::store::memory::registry::MemoryRegistry;

    #[derive(Default)]
    struct Place(Arc<MemoryAuditLog>);

    impl Place {
        async fn open(&self) -> (Arc<dyn AuditLog>, Arc<dyn Registry>) {
            (Arc::<MemoryAuditLog>::clone(&self.0), Arc::new(MemoryRegistry::audited(Arc::clone(&self.0))))
        }
    }

    async fn place() -> Place {
        Place::default()
    }

    audit_contract!(place);
}
