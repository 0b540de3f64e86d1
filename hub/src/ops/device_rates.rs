//! How many messages each device sent lately, for who looks at one device.
//!
//! Counted where the hub counts all messages, once for each batch. A session asks once what counts for its device, and then counts without a
//! lock; requests over HTTPS, which have no session, ask each time. Owns how many devices are counted; the counting is `core`'s.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::core::device_id::DeviceId;
use crate::core::device_rate::{DeviceRate, MinuteCounts};
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::store::presence::Session;

/// The most devices that are counted: those that sent within the hour, or are connected and have sent. About 700 bytes each, 70 MB.
const DEVICES_MAX: usize = 100_000;

/// How many are looked at, to be forgotten, while others wait.
const FORGOTTEN_AT_ONCE: usize = 1_000;

/// What devices sent lately.
#[derive(Debug)]
pub struct DeviceRates {
    counted: Mutex<BTreeMap<DeviceId, Arc<MinuteCounts>>>,
    devices_max: usize,
    /// When the counting began.
    since: UnixMillis,
    /// Whether there was ever no room for a device: then nobody knows of one that is not here whether it sent.
    was_full: AtomicBool,
}

impl DeviceRates {
    /// Of a hub that begins now.
    #[must_use]
    pub fn new(now: UnixMillis) -> Self {
        Self { counted: Mutex::default(), devices_max: DEVICES_MAX, since: now, was_full: AtomicBool::new(false) }
    }

    /// What counts for this device; `None` when there is no room for it.
    pub(super) fn of(&self, device: &DeviceId, now: UnixMillis) -> Option<Arc<MinuteCounts>> {
        let mut counted = self.counted();
        if let Some(counts) = counted.get(device) {
            return Some(Arc::clone(counts));
        }
        if counted.len() >= self.devices_max {
            self.was_full.store(true, Ordering::Relaxed);
            return None;
        }
        let counts = Arc::new(MinuteCounts::new(self.known_since(now)));
        counted.insert(device.clone(), Arc::clone(&counts));
        Some(counts)
    }

    /// The same for the device of a session, which is asked for once; one for which there is no room is not counted as long as it lasts.
    pub(super) fn of_session<'a>(&self, session: &'a Session, now: UnixMillis) -> Option<&'a MinuteCounts> {
        session.counted_by(|| self.of(session.device_id(), now))
    }

    /// Lets go of devices that are silent and not connected.
    pub fn forget_silent(&self, now: UnixMillis) {
        let mut after: Option<DeviceId> = None;
        loop {
            let mut counted = self.counted();
            let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let page = || counted.range::<DeviceId, _>((from, Bound::Unbounded)).take(FORGOTTEN_AT_ONCE);
            let last = page().last().map(|(device, _)| device.clone());
            // Whoever else holds one may count with it at any time.
            let silent = page().filter(|(_, counts)| Arc::strong_count(counts) == 1 && counts.is_silent(now));
            let silent: Vec<DeviceId> = silent.map(|(device, _)| device.clone()).collect();
            for device in &silent {
                counted.remove(device);
            }
            after = last;
            if after.is_none() {
                return;
            }
        }
    }

    fn rate(&self, device: &DeviceId, now: UnixMillis) -> DeviceRate {
        let counts = self.counted().get(device).cloned();
        match counts {
            Some(counts) => counts.rate(now),
            None if self.was_full.load(Ordering::Relaxed) => DeviceRate::unknown(now),
            None => DeviceRate::nothing_since(self.since, now),
        }
    }

    /// Since when it is known of a device that is not here that it sent nothing.
    fn known_since(&self, now: UnixMillis) -> UnixMillis {
        if self.was_full.load(Ordering::Relaxed) { now } else { self.since }
    }

    fn counted(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Arc<MinuteCounts>>> {
        self.counted.lock().expect("nothing panics while it holds this lock")
    }
}

/// How many messages a device sent in the last minutes before `now`, as far as that is known.
#[must_use]
pub fn device_rate(hub: &Hub, device: &DeviceId, now: UnixMillis) -> DeviceRate {
    hub.device_rates.rate(device, now)
}

#[cfg(test)]
mod tests;
