//! The seam behind which the places are kept that consumer groups have come to, so that their lag counts on over a restart.
//!
//! Never on the way of an event: positions come in batches, some time after readers have moved on. Readers never ask for them: where a reader
//! begins, it says itself.

use async_trait::async_trait;

use crate::core::consumer_group::ConsumerGroup;
use crate::core::event::PartitionId;
use crate::core::reader_position::ReaderPosition;

/// Where consumer groups stand: one position at most for each group and partition.
#[async_trait]
pub trait GroupPositions: Send + Sync + 'static {
    /// All of them, by the groups' names in lower case and by partition. Groups are spelt as [`ConsumerGroup`] has it for lower case.
    async fn load(&self) -> Result<Vec<GroupPosition>, GroupPositionsError>;

    /// Forgets the places that are `gone`, and then writes those that have `moved`, each over what was there, the last one of a place if it
    /// is named twice: one transaction.
    async fn keep(&self, gone: &[GroupPlace], moved: &[GroupPosition]) -> Result<(), GroupPositionsError>;
}

/// One partition in one group.
pub type GroupPlace = (ConsumerGroup, PartitionId);

/// Where a group stands in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPosition {
    /// Which group.
    pub group: ConsumerGroup,
    /// Which partition.
    pub partition: PartitionId,
    /// Where.
    pub position: ReaderPosition,
}

/// Positions can't be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GroupPositionsError {
    /// No space.
    #[error("the disk for the consumer groups' positions is full")]
    Full,
    /// Anything else, in the store's words.
    #[error("the store of the consumer groups' positions does not answer: {0}")]
    Unavailable(String),
}
