//! Which devices are expected to be connected, and which of them have been away for too long.
//!
//! Events in, counts out. Keeps what it needs of devices that are expected or ask for time series of their own, about 250 bytes each, and
//! nothing of all others. Never asks who is connected: it is told.
//!
//! A device is expected while it is enabled and an `offlineAfter` applies to it. It is offline once it has been away for that long: since
//! it was last connected or last enabled, whichever is later. Nobody can be connected to a hub that does not run: who had not been away for
//! too long when the hub ended has all its time again from the hub's next start, and who had been is offline at once.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::device_id::DeviceId;
use super::time::UnixMillis;

/// A device as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedDevice {
    /// Its name.
    pub id: DeviceId,
    /// After how long it counts as offline; `None`: never.
    pub offline_after: Option<Duration>,
    /// Whether it asks for time series of its own.
    pub own_series: bool,
    /// Whether it may connect.
    pub enabled: bool,
    /// When that last changed; `None` when it never did.
    pub enabled_since: Option<UnixMillis>,
    /// Whether it is connected.
    pub connected: bool,
    /// When it last connected or disconnected; `None`: never.
    pub last_transition: Option<UnixMillis>,
}

impl WatchedDevice {
    /// Whether anything has to be kept of it.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.own_series || (self.enabled && self.offline_after.is_some())
    }
}

/// How many devices are expected, and how many of them are offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Enabled, with an `offlineAfter`.
    pub devices: usize,
    /// Of these, those that have been away for too long.
    pub offline: usize,
}

/// What the time series of one device say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSeries {
    /// Whose.
    pub id: DeviceId,
    /// Whether it is connected.
    pub connected: bool,
    /// When that last changed; `None`: never.
    pub last_transition: Option<UnixMillis>,
}

/// All devices that are watched.
#[derive(Debug)]
pub struct Expectations {
    /// When this life of the hub began.
    began: UnixMillis,
    /// When the one before it ended, if that is known.
    ended_before: Option<UnixMillis>,
    devices: HashMap<DeviceId, Tracked>,
    /// Who becomes offline when, unless it connects.
    due: BTreeSet<(UnixMillis, DeviceId)>,
    series: BTreeSet<DeviceId>,
    counts: Expected,
    /// Counts the times that all devices were told anew.
    round: u32,
}

#[derive(Clone, Debug)]
struct Tracked {
    offline_after: Option<Duration>,
    own_series: bool,
    enabled: bool,
    connected: bool,
    last_transition: Option<UnixMillis>,
    /// Since when it may be connected, as far as that is known.
    since: UnixMillis,
    standing: Standing,
    round: u32,
}

/// How it stands with what is expected of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing is expected, or it is connected.
    Well,
    /// Away, and offline from then on.
    Due(UnixMillis),
    /// Away for too long.
    Offline,
}

/// Longer ago than anybody can say.
const LONG_AGO: UnixMillis = UnixMillis(i64::MIN);

impl Expectations {
    /// None yet, in a life of the hub that began then.
    #[must_use]
    pub fn new(began: UnixMillis) -> Self {
        let (devices, due, series, counts) = Default::default();
        Self { began, ended_before: None, devices, due, series, counts, round: 0 }
    }

    /// All devices are told anew by [`Self::stored`] from here on. `ended_before` is when the hub's life before this one ended, if that is
    /// known.
    pub fn begin_round(&mut self, ended_before: Option<UnixMillis>) {
        self.ended_before = ended_before;
        self.round = self.round.wrapping_add(1);
    }

    /// Those were all: what has not been told since [`Self::begin_round`] is gone.
    pub fn end_round(&mut self) {
        let round = self.round;
        let gone = self.devices.iter().filter(|(_, tracked)| tracked.round != round).map(|(id, _)| id.clone());
        for id in gone.collect::<Vec<_>>() {
            self.forget(&id);
        }
    }

    /// A device as it is stored. One that was never seen and never changed was made in an earlier life of the hub: whoever makes one in this
    /// is heard by [`Self::changed`] first.
    pub fn stored(&mut self, device: &WatchedDevice, now: UnixMillis) {
        let before = self.take(&device.id);
        let since = before.map_or(LONG_AGO, |before| before.since);
        self.keep(device, (device.connected, device.last_transition), since, now);
    }

    /// A device was made or changed. Whether it is connected counts only when nothing was known of it: otherwise that is told by
    /// [`Self::transition`].
    pub fn changed(&mut self, device: &WatchedDevice, now: UnixMillis) {
        let before = self.take(&device.id);
        let since = before.as_ref().map_or(now, |before| before.since);
        let told = (device.connected, device.last_transition);
        let connection = before.map_or(told, |before| (before.connected, before.last_transition));
        self.keep(device, connection, since, now);
    }

    /// A device was deleted, or needs no watching any more.
    pub fn forget(&mut self, id: &DeviceId) {
        self.take(id);
    }

    /// A connection of a device began (`ended` is false) or ended at `time`; `connected` says whether the device has one now.
    pub fn transition(&mut self, id: &DeviceId, (ended, connected): (bool, bool), time: UnixMillis, now: UnixMillis) {
        let Some(mut tracked) = self.take(id) else { return };
        if !ended || tracked.connected != connected {
            tracked.last_transition = Some(time);
        }
        tracked.connected = connected;
        self.place(id.clone(), tracked, now);
    }

    /// Lets time pass until `now`, for at most `limit` devices; says whether that was all.
    pub fn advance(&mut self, now: UnixMillis, limit: usize) -> bool {
        for _ in 0..limit {
            match self.due.first() {
                Some((time, _)) if *time <= now => {}
                _ => return true,
            }
            let Some((_, id)) = self.due.pop_first() else { return true };
            if let Some(tracked) = self.devices.get_mut(&id) {
                tracked.standing = Standing::Offline;
                self.counts.offline += 1;
            }
        }
        self.due.first().is_none_or(|(time, _)| *time > now)
    }

    /// How many are expected, and how many of them are offline, at the time until which [`Self::advance`] has let it pass.
    #[must_use]
    pub fn counts(&self) -> Expected {
        self.counts
    }

    /// What the time series say of the first `limit` devices, in byte order, that ask for some; and how many more ask.
    #[must_use]
    pub fn series(&self, limit: usize) -> (Vec<DeviceSeries>, usize) {
        let of = |id: &DeviceId| {
            let tracked = self.devices.get(id)?;
            Some(DeviceSeries { id: id.clone(), connected: tracked.connected, last_transition: tracked.last_transition })
        };
        let shown: Vec<_> = self.series.iter().take(limit).filter_map(of).collect();
        (shown, self.series.len().saturating_sub(limit))
    }

    fn keep(
        &mut self,
        device: &WatchedDevice,
        (connected, last_transition): (bool, Option<UnixMillis>),
        since: UnixMillis,
        now: UnixMillis,
    ) {
        if !device.is_watched() {
            return;
        }
        let tracked = Tracked {
            offline_after: device.offline_after,
            own_series: device.own_series,
            enabled: device.enabled,
            connected,
            last_transition,
            since: device.enabled_since.unwrap_or(since),
            standing: Standing::Well,
            round: self.round,
        };
        self.place(device.id.clone(), tracked, now);
    }

    /// Takes a device in, with its share of the counts.
    fn place(&mut self, id: DeviceId, mut tracked: Tracked, now: UnixMillis) {
        tracked.standing = self.standing(&tracked, now);
        self.counts.devices += usize::from(tracked.is_expected());
        match tracked.standing {
            Standing::Well => {}
            Standing::Due(time) => {
                self.due.insert((time, id.clone()));
            }
            Standing::Offline => self.counts.offline += 1,
        }
        if tracked.own_series {
            self.series.insert(id.clone());
        }
        self.devices.insert(id, tracked);
    }

    /// Takes a device out, with its share of the counts.
    fn take(&mut self, id: &DeviceId) -> Option<Tracked> {
        let tracked = self.devices.remove(id)?;
        self.counts.devices -= usize::from(tracked.is_expected());
        match tracked.standing {
            Standing::Well => {}
            Standing::Due(time) => {
                self.due.remove(&(time, id.clone()));
            }
            Standing::Offline => self.counts.offline -= 1,
        }
        if tracked.own_series {
            self.series.remove(id);
        }
        Some(tracked)
    }

    fn standing(&self, tracked: &Tracked, now: UnixMillis) -> Standing {
        let Some(offline_after) = tracked.offline_after.filter(|_| tracked.enabled && !tracked.connected) else { return Standing::Well };
        let away_since = tracked.since.max(tracked.last_transition.unwrap_or(LONG_AGO));
        let time = away_since.plus(offline_after);
        let was_offline = self.ended_before.is_some_and(|ended| time <= ended);
        let time = if was_offline { time } else { away_since.max(self.began).plus(offline_after) };
        if time <= now { Standing::Offline } else { Standing::Due(time) }
    }
}

impl Tracked {
    fn is_expected(&self) -> bool {
        self.enabled && self.offline_after.is_some()
    }
}

#[cfg(test)]
mod tests;
