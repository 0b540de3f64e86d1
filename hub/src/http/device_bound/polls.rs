//! How many requests wait for a command, and that there are not too many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::device_id::DeviceId;

/// The most polls of one device that wait. Clients have one; Node's, which asks at intervals, a second one while the first still waits.
const OF_DEVICE_MAX: usize = 4;

/// The most polls that wait on a hub; each holds its request and a place at the command desk, some 10 KB.
const OF_HUB_MAX: usize = 10_000;

/// Those that wait now. One that finds too many is answered at once, which is never wrong.
#[derive(Debug, Default)]
pub struct Polls(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    of_hub: usize,
    of_devices: HashMap<DeviceId, usize>,
}

/// One that waits, until this is dropped.
#[derive(Debug)]
pub struct Poll {
    polls: Arc<Polls>,
    device: DeviceId,
}

impl Polls {
    /// Another one of this device; `None` when too many wait.
    #[must_use]
    pub fn begin(self: &Arc<Self>, device: &DeviceId) -> Option<Poll> {
        let mut waiting = self.lock();
        let of_device = waiting.of_devices.get(device).copied().unwrap_or_default();
        if of_device >= OF_DEVICE_MAX || waiting.of_hub >= OF_HUB_MAX {
            return None;
        }
        waiting.of_hub += 1;
        waiting.of_devices.insert(device.clone(), of_device + 1);
        Some(Poll { polls: Arc::clone(self), device: device.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Numbers that a panic can't leave half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        let mut waiting = self.polls.lock();
        waiting.of_hub -= 1;
        let left = waiting.of_devices.get_mut(&self.device).map_or(0, |of_device| {
            *of_device -= 1;
            *of_device
        });
        if left == 0 {
            waiting.of_devices.remove(&self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_wait_and_nothing_is_kept_of_those_that_do_not() {
        let polls = Arc::new(Polls::default());
        let device = |number: usize| DeviceId::parse(&format!("d{number}")).unwrap();
        let of_one: Vec<_> = (0..OF_DEVICE_MAX).map(|_| polls.begin(&device(0)).unwrap()).collect();
        assert!(polls.begin(&device(0)).is_none());
        let others: Vec<_> = (OF_DEVICE_MAX..OF_HUB_MAX).map(|number| polls.begin(&device(number)).unwrap()).collect();
        assert!(polls.begin(&device(1)).is_none());
        drop((of_one, others));
        assert!(polls.lock().of_devices.is_empty());
        assert!(polls.begin(&device(0)).is_some());
    }
}
