//! Where the groups stand, kept in the store: lazily, in batches, and never more than a row for each partition of each group.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::consumer_group::ConsumerGroup;
use crate::core::event::PartitionId;
use crate::core::reader_position::ReaderPosition;
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::store::EventLog;
use crate::store::group_positions::{GroupPlace, GroupPosition, GroupPositionsError};

use super::{ConsumerGroups, Place};

/// For how long it is remembered where `$Default` was read, once nobody reads there any more: it can't be taken away, and who has looked into
/// it once must not be missed for ever. Counted from the last reader's end, or from the hub's start, never from the last event: a partition may
/// have been quiet for long.
const DEFAULT_GROUP_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What the store has; `None` until it was read.
pub(super) type Stored = Option<BTreeMap<GroupPlace, ReaderPosition>>;

/// Writes where groups have moved since the last time, and forgets what is gone. The first time it reads what an earlier life of the hub has
/// left; what readers have said since counts more. After a failure all of it is tried again the next time.
pub async fn keep_group_positions(hub: &Hub) -> Result<(), GroupPositionsError> {
    let groups = &hub.consumer_groups;
    let mut stored = groups.0.stored.lock().await;
    let stored = match &mut *stored {
        Some(stored) => stored,
        none => {
            let loaded = hub.group_positions.load().await?;
            groups.take_over(&loaded, &*hub.events, hub.now());
            none.insert(loaded.into_iter().map(|kept| ((kept.group, kept.partition), kept.position)).collect())
        }
    };
    groups.forget_old(hub.now());
    let now = groups.positions();
    let gone: Vec<GroupPlace> = stored.keys().filter(|place| !now.contains_key(*place)).cloned().collect();
    let moved = now.iter().filter(|(place, position)| stored.get(*place) != Some(*position));
    let moved: Vec<_> = moved
        .map(|((group, partition), position)| GroupPosition { group: group.clone(), partition: *partition, position: *position })
        .collect();
    if !gone.is_empty() || !moved.is_empty() {
        hub.group_positions.keep(&gone, &moved).await?;
        *stored = now;
    }
    Ok(())
}

impl ConsumerGroups {
    /// Takes the places over that an earlier life of the hub has left, where groups have none of their own yet. One that can't be in this log
    /// is of another: where that group stands nobody knows.
    fn take_over(&self, loaded: &[GroupPosition], log: &dyn EventLog, now: UnixMillis) {
        let mut groups = self.0.groups();
        for GroupPosition { group, partition, position } in loaded {
            let fits = log.partition(*partition).is_some_and(|info| position.fits(&info));
            if let Some(place) = groups.place(group, *partition).filter(|place| fits && place.kept.is_none()) {
                place.kept = Some(*position);
                place.empty_since = now;
            }
        }
    }

    fn forget_old(&self, now: UnixMillis) {
        let mut groups = self.0.groups();
        let default = groups.all.iter_mut().filter(|group| group.name.is_default());
        for place in default.flat_map(|group| &mut group.places).filter(|place| place.seats.is_empty()) {
            place.kept = place.kept.filter(|_| now.since(place.empty_since) < DEFAULT_GROUP_KEPT);
        }
    }

    /// Where all groups stand now.
    fn positions(&self) -> BTreeMap<(ConsumerGroup, PartitionId), ReaderPosition> {
        let groups = self.0.groups();
        let places =
            groups.all.iter().flat_map(|group| (0..).zip(&group.places).map(move |(number, place)| (group, PartitionId(number), place)));
        places.filter_map(|(group, partition, place): (_, _, &Place)| Some(((group.name.clone(), partition), place.position()?))).collect()
    }
}
