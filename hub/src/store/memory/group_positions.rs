//! The [`GroupPositions`] in memory: the model, and what tests run on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;

use crate::core::consumer_group::ConsumerGroup;
use crate::core::event::PartitionId;
use crate::core::reader_position::ReaderPosition;
use crate::store::group_positions::{GroupPlace, GroupPosition, GroupPositions, GroupPositionsError};

/// Positions as plain values.
#[derive(Debug, Default)]
pub struct MemoryGroupPositions(Mutex<BTreeMap<(String, PartitionId), ReaderPosition>>);

impl MemoryGroupPositions {
    fn positions(&self) -> MutexGuard<'_, BTreeMap<(String, PartitionId), ReaderPosition>> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

#[async_trait]
impl GroupPositions for MemoryGroupPositions {
    async fn load(&self) -> Result<Vec<GroupPosition>, GroupPositionsError> {
        let positions = self.positions();
        let position = |((group, partition), position): (&(String, PartitionId), &ReaderPosition)| {
            Some(GroupPosition { group: ConsumerGroup::parse(group).ok()?, partition: *partition, position: *position })
        };
        Ok(positions.iter().filter_map(position).collect())
    }

    async fn keep(&self, gone: &[GroupPlace], moved: &[GroupPosition]) -> Result<(), GroupPositionsError> {
        let mut positions = self.positions();
        for (group, partition) in gone {
            positions.remove(&(group.folded(), *partition));
        }
        for GroupPosition { group, partition, position } in moved {
            positions.insert((group.folded(), *partition), *position);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::MemoryGroupPositions;
    use crate::store::contract::group_positions::{self as contract, group_positions_contract};
    use crate::store::group_positions::GroupPositions;

    #[derive(Default)]
    struct Place(Arc<MemoryGroupPositions>);

    impl Place {
        async fn open(&self) -> Arc<dyn GroupPositions> {
            Arc::<MemoryGroupPositions>::clone(&self.0)
        }
    }

    async fn place() -> Place {
        Place::default()
    }

    group_positions_contract!(place);
}
