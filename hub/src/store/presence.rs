//! Who is connected to this process. A session is a device's connection; over MQTT a device has one, and the newer one wins.
//!
//! Holds no identities and decides nothing about rights; a session is told that it has ended, and its connection closes itself.
//! No call holds the lock for longer than a page takes, however many devices are connected.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::core::device_id::DeviceId;
use crate::core::session::{BootId, ConnectionId, DeviceRight, DisconnectReason, Protocol};
use crate::core::time::UnixMillis;
use crate::store::DeviceActivity;

use self::flapping::Flapping;
pub use self::session::Session;
use self::unwritten::Unwritten;

pub mod flapping;
mod session;
mod unwritten;

/// The devices' sessions. Cheap to share behind an `Arc`.
#[derive(Debug, Default)]
pub struct Presence {
    devices: Mutex<Devices>,
    /// Who connects again and again.
    pub flapping: Flapping,
    connections: AtomicU64,
    take_overs: AtomicU64,
}

/// Where a session stands among all of them: by device, in byte order, then by connection.
pub type SessionKey = (DeviceId, ConnectionId);

#[derive(Debug, Default)]
struct Devices {
    live: BTreeMap<SessionKey, Session>,
    /// How many sessions over each protocol have not ended: one at most of each device. They count themselves.
    lasting: HashMap<Protocol, Arc<AtomicUsize>>,
    /// What the registry does not have yet.
    unwritten: Unwritten,
    /// Subscriptions of MQTT sessions with clean session 0, which outlive their connection (MQTT-3.1.2-4).
    mqtt: HashMap<DeviceId, Vec<MqttSubscription>>,
}

/// How many sessions are looked at while the lock is held.
const PAGE: usize = 1000;

/// A device's subscription, kept in its MQTT session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttSubscription {
    /// The topic filter, as the device spelt it.
    pub filter: String,
    /// The granted QoS, 0 or 1.
    pub qos: u8,
}

/// What is known about a device beside its identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PresenceView {
    /// Whether it has a session.
    pub connected: bool,
    /// When that last changed, if later than what the registry has.
    pub connection_state_updated_time: Option<UnixMillis>,
    /// When it last connected or sent, if later than what the registry has.
    pub last_activity_time: Option<UnixMillis>,
}

/// How many are connected, and how it has gone so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceCounts {
    /// Devices that have a session which has not ended.
    pub connected: usize,
    /// Such sessions over each protocol; one without any may be missing.
    pub by_protocol: HashMap<Protocol, usize>,
    /// Sessions that were ever opened.
    pub connects: u64,
    /// Of these, those that ended an older one of their device.
    pub take_overs: u64,
}

impl Presence {
    /// Opens a session; an older one of the same device ends as taken over (MQTT-3.1.4-2). `told` is called before anybody else can
    /// open or close a session, so that what is told of sessions is told in the order in which it happened.
    pub fn open(&self, right: DeviceRight, protocol: Protocol, peer: SocketAddr, now: UnixMillis, told: impl FnOnce(&Session)) -> Session {
        let connection = ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed));
        let mut devices = self.devices();
        let lasting = Arc::clone(devices.lasting.entry(protocol).or_default());
        let session = Session::new(right, connection, (protocol, lasting), peer, now);
        let id = session.device_id();
        for older in devices.sessions_of(id).cloned().collect::<Vec<_>>() {
            devices.remove(&older);
            older.end(DisconnectReason::TakenOver);
            self.take_overs.fetch_add(1, Ordering::Relaxed);
        }
        devices.live.insert(session.key(), session.clone());
        devices.unwritten.note(id, &session.right().generation_id, Some(now), Some(now));
        told(&session);
        session
    }

    /// Forgets a session that has ended and whose connection is gone. `told`, called as in [`Self::open`], is given whether the device has
    /// another one. Says whether there was something to do: not for one that has been closed before.
    pub fn close(&self, session: &Session, now: UnixMillis, told: impl FnOnce(bool)) -> bool {
        let mut devices = self.devices();
        if !session.close() {
            return false;
        }
        let id = session.device_id();
        // Not of one that has been taken over, nor of a deleted device.
        let removed = devices.remove(session);
        let connected = devices.is_connected(id);
        if removed && !connected {
            devices.unwritten.note(id, &session.right().generation_id, Some(session.last_activity()), Some(now));
        }
        told(connected);
        true
    }

    /// Ends the device's sessions for which `review` finds a reason. Their connections close by themselves; no verb of them succeeds
    /// from now on.
    pub fn review(&self, id: &DeviceId, review: impl Fn(&DeviceRight) -> Result<(), DisconnectReason>) {
        let sessions: Vec<Session> = self.devices().sessions_of(id).cloned().collect();
        for session in sessions {
            if let Err(reason) = review(&session.right()) {
                session.end(reason);
            }
        }
    }

    /// Ends every session for which `review` finds a reason. Those that open meanwhile have to be reviewed by whoever opens them.
    pub fn review_all(&self, review: impl Fn(&DeviceRight) -> Result<(), DisconnectReason>) {
        self.each(|session| {
            if let Err(reason) = review(&session.right()) {
                session.end(reason);
            }
        });
    }

    /// Ends all sessions.
    pub fn end_all(&self, reason: DisconnectReason) {
        self.each(|session| session.end(reason));
    }

    /// Does it to every session, a page at a time. One that opens meanwhile may be left out.
    fn each(&self, act: impl Fn(&Session)) {
        let mut after = None;
        loop {
            let page = self.sessions(after.as_ref(), PAGE);
            let Some(last) = page.last() else { return };
            after = Some(last.key());
            page.iter().for_each(&act);
        }
    }

    /// The sessions after `after`, at most `limit` and 1000.
    pub fn sessions(&self, after: Option<&SessionKey>, limit: usize) -> Vec<Session> {
        let devices = self.devices();
        devices.after(after).take(limit.min(PAGE)).cloned().collect()
    }

    /// The sessions of one device.
    pub fn sessions_of(&self, id: &DeviceId) -> Vec<Session> {
        self.devices().sessions_of(id).cloned().collect()
    }

    /// Notes that a device without a session (HTTPS) was active.
    pub fn note_activity(&self, right: &DeviceRight, now: UnixMillis) {
        self.devices().unwritten.note(&right.device_id, &right.generation_id, Some(now), None);
    }

    /// What is known about a device beside its identity. Disconnected from the moment in which its session ends, whether or not its
    /// connection has noticed.
    pub fn view(&self, id: &DeviceId) -> PresenceView {
        let devices = self.devices();
        let unwritten = || devices.unwritten.of(id);
        let live = || devices.sessions_of(id).filter(|session| session.ended().is_none());
        PresenceView {
            connected: live().next().is_some(),
            connection_state_updated_time: live()
                .map(Session::since)
                .max()
                .or(unwritten().filter_map(|a| a.connection_state_updated_time).max()),
            last_activity_time: live().map(Session::last_activity).max().max(unwritten().filter_map(|a| a.last_activity_time).max()),
        }
    }

    /// The device's session on this connection; it may have ended.
    pub fn session(&self, id: &DeviceId, connection: ConnectionId) -> Option<Session> {
        self.devices().live.get(&(id.clone(), connection)).cloned()
    }

    /// How many devices are connected.
    pub fn connected(&self) -> usize {
        self.devices().lasting.values().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Whether every session has ended and is closed.
    pub fn is_empty(&self) -> bool {
        self.devices().live.is_empty()
    }

    /// How many are connected, and how it has gone since the hub began.
    pub fn counts(&self) -> PresenceCounts {
        let lasting = self.devices().lasting.clone();
        let by_protocol: HashMap<_, _> = lasting.iter().map(|(protocol, count)| (*protocol, count.load(Ordering::Relaxed))).collect();
        PresenceCounts {
            connected: by_protocol.values().sum(),
            by_protocol,
            connects: self.connections.load(Ordering::Relaxed),
            take_overs: self.take_overs.load(Ordering::Relaxed),
        }
    }

    /// Forgets all about a deleted device, so that another of the same name inherits nothing: its kept MQTT session, its unwritten
    /// activity, and the sessions that have ended and whose connections have not noticed yet.
    pub fn forget(&self, id: &DeviceId) {
        self.flapping.forget(id);
        let mut devices = self.devices();
        devices.unwritten.forget(id);
        devices.mqtt.remove(id);
        // One that has not ended belongs to the next device of that name already.
        let ended: Vec<Session> = devices.sessions_of(id).filter(|session| session.ended().is_some()).cloned().collect();
        for session in ended {
            devices.remove(&session);
        }
    }

    /// Begins the MQTT session of `session`'s device: with `clean` a kept one is thrown away. `None` when there is none to go on with, or
    /// when `session` has ended.
    pub fn begin_mqtt_session(&self, session: &Session, clean: bool) -> Option<Vec<MqttSubscription>> {
        let mut devices = self.devices();
        if !devices.has(session) {
            return None;
        }
        let id = session.device_id();
        if clean {
            devices.mqtt.remove(id);
            return None;
        }
        match devices.mqtt.get(id) {
            Some(kept) => Some(kept.clone()),
            None => {
                devices.mqtt.insert(id.clone(), Vec::new());
                None
            }
        }
    }

    /// Replaces the subscriptions that the MQTT session of `session`'s device keeps, if it keeps any (clean session 0) and `session` has
    /// not ended: they are its successor's then.
    pub fn keep_subscriptions(&self, session: &Session, subscriptions: &[MqttSubscription]) {
        let mut devices = self.devices();
        if !devices.has(session) {
            return;
        }
        if let Some(kept) = devices.mqtt.get_mut(session.device_id()) {
            *kept = subscriptions.to_vec();
        }
    }

    /// The subscriptions that a device's MQTT session keeps; `None` when it keeps none.
    #[cfg(test)]
    pub fn kept_subscriptions(&self, id: &DeviceId) -> Option<Vec<MqttSubscription>> {
        self.devices().mqtt.get(id).cloned()
    }

    /// A flush begins: what the one before took is in the registry for everybody.
    pub fn begin_flush(&self) {
        let flushed = self.devices().unwritten.begin_flush();
        // Outside the lock: it may be large.
        drop(flushed);
    }

    /// Takes what the registry should be told of devices that came or went, or that use HTTPS: of 1000 of them at most. Whoever has a
    /// session is connected in `boot`, the present life of the hub.
    pub fn take_unflushed(&self, boot: BootId) -> Vec<DeviceActivity> {
        let Devices { live, unwritten, .. } = &mut *self.devices();
        // One that went and has come back must not be written down as gone.
        let is_there = |activity: &DeviceActivity| {
            of_device(live, &activity.id)
                .any(|session| session.ended().is_none() && session.right().generation_id == activity.generation_id)
        };
        unwritten.take(PAGE, |activity| is_there(activity).then_some(boot))
    }

    /// What the registry should be told of devices that are connected, in `boot`, and were active since `since`: those of the next 1000
    /// sessions after `after`, and where to go on; `None` at the end.
    pub fn active(&self, boot: BootId, after: Option<&SessionKey>, since: UnixMillis) -> (Vec<DeviceActivity>, Option<SessionKey>) {
        let page = self.sessions(after, PAGE);
        let active = page.iter().filter(|session| session.last_activity() >= since && session.ended().is_none());
        let active = active.map(|session| DeviceActivity {
            connected_boot: Some(boot),
            last_activity_time: Some(session.last_activity()),
            connection_state_updated_time: Some(session.since()),
            ..unwritten::none_of(session.device_id(), &session.right().generation_id)
        });
        (active.collect(), page.last().map(Session::key))
    }

    /// Puts back what could not be written.
    pub fn put_back(&self, activity: Vec<DeviceActivity>) {
        self.devices().unwritten.put_back(activity);
    }

    fn devices(&self) -> MutexGuard<'_, Devices> {
        self.devices.lock().expect("nothing panics while it holds this lock")
    }
}

impl Devices {
    /// Whether `session` is its device's, and has not ended. Asked under the lock: whoever ends a session because its device is deleted
    /// forgets the device afterwards, so nothing that is written on a yes outlives it.
    fn has(&self, session: &Session) -> bool {
        session.ended().is_none() && self.is_live(session)
    }

    fn is_live(&self, session: &Session) -> bool {
        self.live.contains_key(&session.key())
    }

    /// Whether the device has a session that has not ended.
    fn is_connected(&self, id: &DeviceId) -> bool {
        self.sessions_of(id).any(|session| session.ended().is_none())
    }

    fn sessions_of(&self, id: &DeviceId) -> impl Iterator<Item = &Session> {
        of_device(&self.live, id)
    }

    fn after(&self, after: Option<&SessionKey>) -> impl Iterator<Item = &Session> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.live.range((start, Bound::Unbounded)).map(|(_, session)| session)
    }

    /// Says whether it was there.
    fn remove(&mut self, session: &Session) -> bool {
        self.live.remove(&session.key()).is_some()
    }
}

fn of_device<'a>(live: &'a BTreeMap<SessionKey, Session>, id: &DeviceId) -> impl Iterator<Item = &'a Session> + use<'a> {
    live.range((id.clone(), ConnectionId(0))..=(id.clone(), ConnectionId(u64::MAX))).map(|(_, session)| session)
}

#[cfg(test)]
mod tests;
