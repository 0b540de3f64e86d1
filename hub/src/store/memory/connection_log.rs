//! The connections' log in memory: the model. Nothing else is stored beside it, so no device refers to a boot of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;

use crate::core::device_id::DeviceId;
use crate::core::session::{BootId, ConnectionId, ConnectionRecord, DisconnectReason};
use crate::core::time::UnixMillis;
use crate::store::connection_log::{ConnectionLog, ConnectionLogError};

/// Connections as plain values.
#[derive(Debug, Default)]
pub struct MemoryConnectionLog(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    heartbeats: BTreeMap<BootId, UnixMillis>,
    records: BTreeMap<(BootId, ConnectionId), ConnectionRecord>,
}

impl MemoryConnectionLog {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

#[async_trait]
impl ConnectionLog for MemoryConnectionLog {
    async fn begin_boot(&self, now: UnixMillis) -> Result<BootId, ConnectionLogError> {
        let mut tables = self.tables();
        let boot = BootId(tables.heartbeats.last_key_value().map_or(1, |(last, _)| last.0 + 1));
        tables.heartbeats.insert(boot, now);
        Ok(boot)
    }

    async fn record(&self, boot: BootId, heartbeat: UnixMillis, records: &[ConnectionRecord]) -> Result<(), ConnectionLogError> {
        let mut tables = self.tables();
        tables.heartbeats.insert(boot, heartbeat);
        for record in records {
            tables.records.insert((record.boot, record.connection), record.clone());
        }
        Ok(())
    }

    async fn connections(
        &self,
        current: BootId,
        device: &DeviceId,
        before: Option<(BootId, ConnectionId)>,
        limit: usize,
    ) -> Result<Vec<ConnectionRecord>, ConnectionLogError> {
        let tables = self.tables();
        let latest_first = tables.records.iter().rev();
        let wanted = latest_first.filter(|(key, record)| record.device_id == *device && before.is_none_or(|before| **key < before));
        Ok(wanted.take(limit).map(|(_, record)| tables.with_end(record, current)).collect())
    }

    async fn last_heartbeats(&self) -> Result<Vec<(BootId, UnixMillis)>, ConnectionLogError> {
        Ok(self.tables().heartbeats.iter().map(|(boot, time)| (*boot, *time)).collect())
    }

    async fn prune(&self, current: BootId, before: UnixMillis, limit: usize) -> Result<usize, ConnectionLogError> {
        let mut tables = self.tables();
        let ended = |record| tables.with_end(record, current).disconnected;
        let old = tables.records.iter().filter(|(_, record)| ended(record).is_some_and(|(time, _)| time < before));
        let old: Vec<_> = old.map(|(key, _)| *key).take(limit).collect();
        for key in &old {
            tables.records.remove(key);
        }
        Ok(old.len())
    }

    async fn forget_boots(&self, current: BootId, before: UnixMillis, limit: usize) -> Result<usize, ConnectionLogError> {
        let mut tables = self.tables();
        let earlier = tables.heartbeats.range(..current).filter(|(_, heartbeat)| **heartbeat < before).map(|(boot, _)| *boot);
        let used = |boot| tables.records.range((boot, ConnectionId(0))..=(boot, ConnectionId(u64::MAX))).next().is_some();
        let unused: Vec<_> = earlier.filter(|boot| !used(*boot)).take(limit).collect();
        for boot in &unused {
            tables.heartbeats.remove(boot);
        }
        Ok(unused.len())
    }
}

impl Tables {
    fn with_end(&self, record: &ConnectionRecord, current: BootId) -> ConnectionRecord {
        let mut record = record.clone();
        if record.disconnected.is_none() && record.boot != current {
            let heartbeat = self.heartbeats.get(&record.boot).copied().unwrap_or(record.connected_time);
            record.disconnected = Some((heartbeat.max(record.connected_time), DisconnectReason::HubRestarted));
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::MemoryConnectionLog;
    use crate::store::connection_log::ConnectionLog;
    use crate::store::contract::connection_log::{self as contract, connection_log_contract};

    #[derive(Default)]
    struct Place(Arc<MemoryConnectionLog>);

    impl Place {
        async fn open(&self) -> Arc<dyn ConnectionLog> {
            Arc::<MemoryConnectionLog>::clone(&self.0)
        }
    }

    async fn place() -> Place {
        Place::default()
    }

    connection_log_contract!(place);
}
