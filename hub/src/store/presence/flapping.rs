//! Which devices connect again and again: what the one on call wants to see first, and what no single connection shows.
//!
//! Owns the times of the latest connects, bounded. Never ends a connection and refuses nobody.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use lru::LruCache;

use crate::core::device_id::DeviceId;
use crate::core::time::UnixMillis;

/// A device flaps when it has connected so often within [`FLAPPING_WINDOW`]: more often than one that renews its token, moves from one
/// access point to another and restarts, all in five minutes.
pub const FLAPPING_CONNECTS: usize = 5;

/// See [`FLAPPING_CONNECTS`].
pub const FLAPPING_WINDOW: Duration = Duration::from_secs(5 * 60);

/// The most devices whose latest connects are remembered, 10 MB of them: when all of a million devices come back at 1000 a second, one
/// that connects every 50 s is still found.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(50_000).expect("not zero");

/// The most devices that are shown as flapping: when there are more, it is not the devices.
const FLAPPING_MAX: usize = 1000;

/// Who connects again and again.
#[derive(Debug)]
pub struct Flapping(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Each device's latest connects, the oldest first.
    latest: LruCache<DeviceId, [UnixMillis; FLAPPING_CONNECTS]>,
    flapping: BTreeMap<DeviceId, Streak>,
}

/// How a device flaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streak {
    /// How often it has connected since.
    pub connects: u64,
    /// When it began.
    pub since: UnixMillis,
    /// The connect that is [`FLAPPING_CONNECTS`] back: when that is too long ago, it is over.
    oldest: UnixMillis,
}

impl Default for Flapping {
    fn default() -> Self {
        Self(Mutex::new(State { latest: LruCache::new(REMEMBERED_MAX), flapping: BTreeMap::new() }))
    }
}

impl Flapping {
    /// A device has connected. Says so when that makes it one that flaps.
    pub fn connected(&self, id: &DeviceId, now: UnixMillis) -> Option<Streak> {
        let mut state = self.state();
        // Long ago, so that a device that was never seen does not flap.
        let latest = state.latest.get_or_insert_mut(id.clone(), || [UnixMillis(i64::MIN); FLAPPING_CONNECTS]);
        latest.rotate_left(1);
        latest[FLAPPING_CONNECTS - 1] = now;
        let oldest = latest[0];
        if !is_recent(oldest, now) {
            state.flapping.remove(id);
            return None;
        }
        if let Some(streak) = state.flapping.get_mut(id).filter(|streak| is_recent(streak.oldest, now)) {
            streak.connects += 1;
            streak.oldest = oldest;
            return None;
        }
        if state.flapping.len() >= FLAPPING_MAX {
            state.forget_the_calm(now);
        }
        let streak = Streak { connects: FLAPPING_CONNECTS as u64, since: oldest, oldest };
        if state.flapping.len() < FLAPPING_MAX {
            state.flapping.insert(id.clone(), streak);
        }
        Some(streak)
    }

    /// How a device flaps, if it does.
    pub fn of(&self, id: &DeviceId, now: UnixMillis) -> Option<Streak> {
        self.state().flapping.get(id).copied().filter(|streak| is_recent(streak.oldest, now))
    }

    /// Those that flap, in byte order of their ids; 1000 of them at most.
    pub fn all(&self, now: UnixMillis) -> Vec<(DeviceId, Streak)> {
        let mut state = self.state();
        state.forget_the_calm(now);
        state.flapping.iter().map(|(id, streak)| (id.clone(), *streak)).collect()
    }

    /// How many flap; 1000 at most.
    pub fn count(&self, now: UnixMillis) -> usize {
        let mut state = self.state();
        state.forget_the_calm(now);
        state.flapping.len()
    }

    /// Forgets a deleted device, so that another of its name begins calm.
    pub fn forget(&self, id: &DeviceId) {
        let mut state = self.state();
        state.latest.pop(id);
        state.flapping.remove(id);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

impl State {
    fn forget_the_calm(&mut self, now: UnixMillis) {
        self.flapping.retain(|_, streak| is_recent(streak.oldest, now));
    }
}

fn is_recent(time: UnixMillis, now: UnixMillis) -> bool {
    now.since(time) < FLAPPING_WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> UnixMillis {
        UnixMillis(1_700_000_000_000 + second * 1000)
    }

    fn device(name: &str) -> DeviceId {
        DeviceId::parse(name).unwrap()
    }

    #[test]
    fn five_connects_in_five_minutes_are_flapping_until_there_are_fewer() {
        let flapping = Flapping::default();
        let id = device("D");
        for second in [0, 60, 120, 180] {
            assert_eq!(flapping.connected(&id, at(second)), None);
        }
        let streak = flapping.connected(&id, at(240)).expect("it is the fifth");
        assert_eq!((streak.connects, streak.since), (5, at(0)));
        assert_eq!(flapping.connected(&id, at(250)), None, "that is no news");
        assert_eq!(flapping.of(&id, at(250)).map(|streak| streak.connects), Some(6));
        assert_eq!(flapping.all(at(359)).len(), 1);
        // The fifth connect back was at 60.
        assert_eq!((flapping.count(at(360)), flapping.of(&id, at(360))), (0, None));
        assert_eq!(flapping.connected(&id, at(400)).map(|streak| streak.since), Some(at(120)), "and again");
    }

    #[test]
    fn a_rare_connect_is_none_and_a_deleted_device_leaves_nothing() {
        let flapping = Flapping::default();
        let id = device("D");
        assert!((0..100).all(|connect| flapping.connected(&id, at(connect * 75)).is_none()));
        for second in 0..5 {
            flapping.connected(&id, at(10_000 + second));
        }
        assert_eq!(flapping.count(at(10_005)), 1);
        flapping.forget(&id);
        assert_eq!(flapping.connected(&id, at(10_006)), None);
        assert_eq!(flapping.count(at(10_006)), 0);
    }

    #[test]
    fn so_many_are_shown_and_no_more() {
        let flapping = Flapping::default();
        for number in 0..FLAPPING_MAX + 10 {
            for second in 0..5 {
                flapping.connected(&device(&number.to_string()), at(second));
            }
        }
        assert_eq!(flapping.count(at(5)), FLAPPING_MAX);
        assert_eq!(flapping.count(at(400)), 0);
    }
}
