//! What has happened to devices that the registry has not been told yet, and what is being told it.

use std::collections::{BTreeMap, HashMap};

use crate::core::device_id::DeviceId;
use crate::core::identity::GenerationId;
use crate::core::session::BootId;
use crate::core::time::UnixMillis;
use crate::store::DeviceActivity;

/// The most devices whose activity waits to be written; beyond it the times of some are written late, by their next activity.
pub const WAITING_MAX: usize = 200_000;

#[derive(Debug, Default)]
pub struct Unwritten {
    /// Bounded by [`WAITING_MAX`].
    waiting: BTreeMap<DeviceId, DeviceActivity>,
    /// What was taken since the last flush began: whoever has read the registry before it was written there finds it here.
    flushing: HashMap<DeviceId, DeviceActivity>,
}

impl Unwritten {
    pub fn note(&mut self, id: &DeviceId, generation: &GenerationId, last_activity: Option<UnixMillis>, state_updated: Option<UnixMillis>) {
        if self.waiting.len() >= WAITING_MAX && !self.waiting.contains_key(id) {
            return;
        }
        let none_yet = || none_of(id, generation);
        let entry = self.waiting.entry(id.clone()).or_insert_with(none_yet);
        if entry.generation_id != *generation {
            // That of another life of the device gives way: the registry would not take it.
            *entry = none_yet();
        }
        entry.last_activity_time = entry.last_activity_time.max(last_activity);
        entry.connection_state_updated_time = entry.connection_state_updated_time.max(state_updated);
    }

    /// What is known of one device.
    pub fn of(&self, id: &DeviceId) -> impl Iterator<Item = &DeviceActivity> {
        [self.waiting.get(id), self.flushing.get(id)].into_iter().flatten()
    }

    /// Forgets a device that is gone.
    pub fn forget(&mut self, id: &DeviceId) {
        self.waiting.remove(id);
        self.flushing.remove(id);
    }

    /// What was taken before is in the registry for everybody. Answers it, for the caller to drop: it may be large.
    pub fn begin_flush(&mut self) -> HashMap<DeviceId, DeviceActivity> {
        std::mem::take(&mut self.flushing)
    }

    /// Takes what waits, of `limit` devices at most. `boot_of` says in which life of the hub a device is connected, if it is.
    pub fn take(&mut self, limit: usize, boot_of: impl Fn(&DeviceActivity) -> Option<BootId>) -> Vec<DeviceActivity> {
        let mut taken = Vec::new();
        while taken.len() < limit
            && let Some((id, mut activity)) = self.waiting.pop_first()
        {
            activity.connected_boot = boot_of(&activity);
            self.flushing.insert(id, activity.clone());
            taken.push(activity);
        }
        taken
    }

    /// Puts back what could not be written.
    pub fn put_back(&mut self, activity: Vec<DeviceActivity>) {
        for old in activity {
            // What has come since is of a later life of the device, if it is not of the same.
            if self.waiting.get(&old.id).is_none_or(|newer| newer.generation_id == old.generation_id) {
                self.note(&old.id, &old.generation_id, old.last_activity_time, old.connection_state_updated_time);
            }
        }
    }
}

/// A device of which nothing is known.
pub fn none_of(id: &DeviceId, generation: &GenerationId) -> DeviceActivity {
    DeviceActivity {
        id: id.clone(),
        generation_id: generation.clone(),
        connected_boot: None,
        last_activity_time: None,
        connection_state_updated_time: None,
    }
}
