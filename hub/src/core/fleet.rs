//! The fleet at a glance: what a list of all devices shows, filtered, in any order, page by page.
//!
//! Owns the rows, the filter and the order. Never reads a store: it is told what identities, connections, queues and activity have become.
//! A row takes [`ROW_BYTES`] and the device's id, 16 bytes for each of its tags (at most [`tags::TAGS_MAX`] of them), and its manifest's name.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use super::device_id::DeviceId;
use super::session::DisconnectReason;
use super::time::UnixMillis;

pub mod device;
pub mod filter;
pub mod order;
pub mod tags;

pub use device::{Credentials, DeviceState, Registered, Seen, Source};
pub use filter::FleetFilter;
pub use order::{FleetPlace, Sort};

/// What a row takes, without what is said above; the map around it takes as much again at most.
pub const ROW_BYTES: usize = 112;

/// A row of the list.
#[derive(Clone, Debug)]
struct Row {
    registered: Registered,
    seen: Seen,
    /// Commands that wait for it.
    queue: u32,
    /// In which round of reading it was found.
    round: u32,
}

/// A row, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetDevice {
    /// Whose.
    pub id: DeviceId,
    /// How it is.
    pub state: DeviceState,
    /// Since when.
    pub state_since: Option<UnixMillis>,
    /// Whether it may connect.
    pub enabled: bool,
    /// Whether somebody shut it out.
    pub held: bool,
    /// How it proves itself.
    pub credentials: Credentials,
    /// Where its identity comes from.
    pub source: Option<Source>,
    /// What is known of its connections.
    pub seen: Seen,
    /// Commands that wait for it.
    pub queue: u32,
}

/// Which rows are wanted.
#[derive(Clone, Debug, Default)]
pub struct FleetQuery {
    /// Of which devices.
    pub filter: FleetFilter,
    /// In which order.
    pub sort: Sort,
    /// The other way round.
    pub descending: bool,
    /// Behind this place in that order.
    pub after: Option<FleetPlace>,
    /// Without the first of these.
    pub skip: usize,
    /// At most so many.
    pub limit: usize,
}

/// Some rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetPage {
    /// The rows.
    pub devices: Vec<FleetDevice>,
    /// Behind which place the next page begins; `None` when there is none.
    pub next: Option<FleetPlace>,
    /// How many fit the filter, on all pages.
    pub total: usize,
    /// Whether that is all there are: not while the fleet is being read.
    pub whole: bool,
    /// Counts the changes of the fleet.
    pub revision: u64,
}

/// How many devices there are, and how they are. Those that flap count as what they are at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetCounts {
    /// All.
    pub total: usize,
    /// Of these, may connect.
    pub enabled: usize,
    /// Of these, shut out by somebody.
    pub held: usize,
    /// Have a connection.
    pub connected: usize,
    /// Had one.
    pub offline: usize,
    /// Never had one.
    pub never: usize,
}

/// All devices.
#[derive(Debug, Default)]
pub struct Fleet {
    rows: BTreeMap<DeviceId, Row>,
    counts: FleetCounts,
    revision: u64,
    whole: bool,
    round: u32,
}

impl Fleet {
    /// All are read anew: who is not found before [`Self::end_round`] is gone.
    pub fn begin_round(&mut self) {
        self.whole = false;
        self.round = self.round.wrapping_add(1);
        self.revision += 1;
    }

    /// All have been read.
    pub fn end_round(&mut self) {
        let gone: Vec<DeviceId> = self.rows.iter().filter(|(_, row)| row.round != self.round).map(|(id, _)| id.clone()).collect();
        gone.iter().for_each(|id| self.forget(id));
        self.whole = true;
        self.revision += 1;
    }

    /// The device is so. Why its connection ended stays known, unless `seen` knows better.
    pub fn put(&mut self, id: &DeviceId, registered: Registered, mut seen: Seen, queue: usize) {
        let before = self.rows.get(id);
        seen.reason = seen.reason.or(before.and_then(|row| row.seen.reason));
        let row = Row { registered, seen, queue: narrow(queue), round: self.round };
        self.counts.add(&row);
        if let Some(old) = self.rows.insert(id.clone(), row) {
            self.counts.take_away(&old);
        }
        self.revision += 1;
    }

    /// The device is gone.
    pub fn forget(&mut self, id: &DeviceId) {
        if let Some(old) = self.rows.remove(id) {
            self.counts.take_away(&old);
            self.revision += 1;
        }
    }

    /// A connection came, or ended for a reason; `connected`: whether the device has one now.
    pub fn transition(&mut self, id: &DeviceId, time: UnixMillis, ended: Option<DisconnectReason>, connected: bool) {
        self.change(id, |row| {
            // A connection that was taken over leaves its device connected, since then.
            if ended.is_none() || !(row.seen.connected && connected) {
                row.seen.since = Some(time);
            }
            row.seen.connected = connected;
            row.seen.reason = ended.or(row.seen.reason);
            row.seen.last = row.seen.last.max(Some(time));
        });
    }

    /// So many commands wait for it.
    pub fn queue(&mut self, id: &DeviceId, queue: usize) {
        self.change(id, |row| row.queue = narrow(queue));
    }

    /// It was active then.
    pub fn active(&mut self, id: &DeviceId, time: UnixMillis) {
        self.change(id, |row| row.seen.last = row.seen.last.max(Some(time)));
    }

    fn change(&mut self, id: &DeviceId, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.rows.get_mut(id) {
            self.counts.take_away(row);
            change(row);
            self.counts.add(row);
            self.revision += 1;
        }
    }

    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> FleetCounts {
        self.counts
    }

    /// Whether all are here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Counts its changes.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How these devices are; of those that are there.
    #[must_use]
    pub fn states<'a>(&self, ids: impl IntoIterator<Item = &'a DeviceId>, flapping: &HashSet<DeviceId>) -> Vec<DeviceState> {
        ids.into_iter().filter_map(|id| Some(self.rows.get(id)?.state(flapping.contains(id)))).collect()
    }

    /// One row.
    #[cfg(test)]
    pub fn device(&self, id: &DeviceId, flapping: bool) -> Option<FleetDevice> {
        self.rows.get(id).map(|row| row.show(id, flapping))
    }

    /// Some rows, while these flap. Looks at every row whose id begins as is wanted.
    #[must_use]
    pub fn page(&self, query: &FleetQuery, flapping: &HashSet<DeviceId>) -> FleetPage {
        let FleetQuery { filter, sort, descending, after, skip, limit } = query;
        let in_order =
            |one: &(i64, &DeviceId, &Row), other: &(i64, &DeviceId, &Row)| order::compare((one.0, one.1), (other.0, other.1), *descending);
        // One more than is wanted tells that there are more.
        let kept = skip.saturating_add(*limit).saturating_add(1);
        // As they lie there: whoever comes behind the page need only be counted.
        let in_row = *sort == Sort::Id && !descending;
        let (mut total, mut found) = (0, Vec::new());
        for (id, row) in self.rows.range::<str, _>((Bound::Included(filter.prefix.as_str()), Bound::Unbounded)) {
            if !id.as_str().starts_with(&filter.prefix) {
                break;
            }
            let flaps = flapping.contains(id);
            if !filter.includes(row, row.state(flaps)) {
                continue;
            }
            total += 1;
            if in_row && found.len() == kept {
                continue;
            }
            let key = sort.key(row, row.state(flaps));
            if after.as_ref().is_none_or(|after| order::compare((key, id), (after.key, &after.id), *descending).is_gt()) {
                found.push((key, id, row));
                // Never more than twice as many, however many fit.
                if found.len() == kept.saturating_mul(2) {
                    found.select_nth_unstable_by(kept - 1, in_order);
                    found.truncate(kept);
                }
            }
        }
        if *skip < found.len() {
            found.select_nth_unstable_by(*skip, in_order);
        }
        found.drain(..found.len().min(*skip));
        let more = found.len() > *limit;
        if more {
            found.select_nth_unstable_by(*limit, in_order);
            found.truncate(*limit);
        }
        found.sort_unstable_by(in_order);
        let next = found.last().filter(|_| more).map(|(key, id, _)| FleetPlace { key: *key, id: (*id).clone() });
        let devices = found.into_iter().map(|(_, id, row)| row.show(id, flapping.contains(id))).collect();
        FleetPage { devices, next, total, whole: self.whole, revision: self.revision }
    }
}

impl Row {
    fn state(&self, flapping: bool) -> DeviceState {
        DeviceState::of(self.registered.enabled, flapping, self.seen)
    }

    fn since(&self) -> Option<UnixMillis> {
        if self.registered.enabled { self.seen.since } else { self.registered.status_since.or(self.seen.since) }
    }

    fn show(&self, id: &DeviceId, flapping: bool) -> FleetDevice {
        FleetDevice {
            id: id.clone(),
            state: self.state(flapping),
            state_since: self.since(),
            enabled: self.registered.enabled,
            held: self.registered.held,
            credentials: self.registered.credentials,
            source: self.registered.source.clone(),
            seen: self.seen,
            queue: self.queue,
        }
    }
}

impl FleetCounts {
    fn add(&mut self, row: &Row) {
        self.each(row, |count| *count += 1);
    }

    fn take_away(&mut self, row: &Row) {
        self.each(row, |count| *count -= 1);
    }

    fn each(&mut self, row: &Row, count: impl Fn(&mut usize)) {
        count(&mut self.total);
        if row.registered.enabled {
            count(&mut self.enabled);
        }
        if row.registered.held {
            count(&mut self.held);
        }
        // Of those that are disabled only who has a connection still: its end is on its way.
        match row.state(false) {
            DeviceState::Connected => count(&mut self.connected),
            DeviceState::Offline => count(&mut self.offline),
            DeviceState::Never => count(&mut self.never),
            DeviceState::Disabled | DeviceState::Flapping => {}
        }
    }
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
