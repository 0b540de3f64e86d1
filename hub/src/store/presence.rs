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
use crate::core::identity::GenerationId;
use crate::core::session::{BootId, ConnectionId, DeviceRight, DisconnectReason, Protocol};
use crate::core::time::UnixMillis;
use crate::store::DeviceActivity;

use self::flapping::Flapping;
pub use self::session::Session;

pub mod flapping;
mod session;

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
    /// What is not in the registry yet; bounded by [`UNFLUSHED_MAX`].
    unflushed: BTreeMap<DeviceId, DeviceActivity>,
    /// What was taken to be written since the last flush began: whoever has read the registry before it was written there finds it here.
    flushing: HashMap<DeviceId, DeviceActivity>,
    /// Subscriptions of MQTT sessions with clean session 0, which outlive their connection (MQTT-3.1.2-4).
    mqtt: HashMap<DeviceId, Vec<MqttSubscription>>,
}

/// How many sessions are looked at while the lock is held.
const PAGE: usize = 1000;

/// The most devices whose activity waits to be written; beyond it the times of some are written late, by their next activity.
const UNFLUSHED_MAX: usize = 200_000;

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
        devices.note(id, &session.right().generation_id, Some(now), Some(now));
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
            devices.note(id, &session.right().generation_id, Some(session.last_activity()), Some(now));
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
        self.devices().note(&right.device_id, &right.generation_id, Some(now), None);
    }

    /// What is known about a device beside its identity. Disconnected from the moment in which its session ends, whether or not its
    /// connection has noticed.
    pub fn view(&self, id: &DeviceId) -> PresenceView {
        let devices = self.devices();
        let unwritten = || [devices.unflushed.get(id), devices.flushing.get(id)].into_iter().flatten();
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
        devices.unflushed.remove(id);
        devices.flushing.remove(id);
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
        let flushed = std::mem::take(&mut self.devices().flushing);
        // Outside the lock: it may be large.
        drop(flushed);
    }

    /// Takes what the registry should be told of devices that came or went, or that use HTTPS: of 1000 of them at most. Whoever has a
    /// session is connected in `boot`, the present life of the hub.
    pub fn take_unflushed(&self, boot: BootId) -> Vec<DeviceActivity> {
        let mut devices = self.devices();
        let mut taken = Vec::new();
        while taken.len() < PAGE
            && let Some((id, mut activity)) = devices.unflushed.pop_first()
        {
            // One that went and has come back must not be written down as gone.
            let is_there = devices
                .sessions_of(&id)
                .any(|session| session.ended().is_none() && session.right().generation_id == activity.generation_id);
            if is_there {
                activity.connected_boot = Some(boot);
            }
            devices.flushing.insert(id, activity.clone());
            taken.push(activity);
        }
        taken
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
            ..DeviceActivity::none_of(session.device_id(), &session.right().generation_id)
        });
        (active.collect(), page.last().map(Session::key))
    }

    /// Puts back what could not be written.
    pub fn put_back(&self, activity: Vec<DeviceActivity>) {
        let mut devices = self.devices();
        for old in activity {
            // What has come since is of a later life of the device, if it is not of the same.
            if devices.unflushed.get(&old.id).is_none_or(|newer| newer.generation_id == old.generation_id) {
                devices.note(&old.id, &old.generation_id, old.last_activity_time, old.connection_state_updated_time);
            }
        }
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
        self.live.range((id.clone(), ConnectionId(0))..=(id.clone(), ConnectionId(u64::MAX))).map(|(_, session)| session)
    }

    fn after(&self, after: Option<&SessionKey>) -> impl Iterator<Item = &Session> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.live.range((start, Bound::Unbounded)).map(|(_, session)| session)
    }

    /// Says whether it was there.
    fn remove(&mut self, session: &Session) -> bool {
        self.live.remove(&session.key()).is_some()
    }

    fn note(&mut self, id: &DeviceId, generation: &GenerationId, last_activity: Option<UnixMillis>, state_updated: Option<UnixMillis>) {
        if self.unflushed.len() >= UNFLUSHED_MAX && !self.unflushed.contains_key(id) {
            return;
        }
        let none_yet = || DeviceActivity::none_of(id, generation);
        let entry = self.unflushed.entry(id.clone()).or_insert_with(none_yet);
        if entry.generation_id != *generation {
            // That of another life of the device gives way: the registry would not take it.
            *entry = none_yet();
        }
        entry.last_activity_time = entry.last_activity_time.max(last_activity);
        entry.connection_state_updated_time = entry.connection_state_updated_time.max(state_updated);
    }
}

impl DeviceActivity {
    fn none_of(id: &DeviceId, generation: &GenerationId) -> Self {
        Self {
            id: id.clone(),
            generation_id: generation.clone(),
            connected_boot: None,
            last_activity_time: None,
            connection_state_updated_time: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::identity::{GenerationId, SymmetricKey};
    use crate::core::session::{Credential, KeyFingerprint};

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn credential() -> Credential {
        let key = SymmetricKey::from_bytes(vec![1; 32]).unwrap();
        Credential::Policy { name: "device".into(), key: KeyFingerprint::of(&key) }
    }

    fn open(presence: &Presence, generation: &str) -> Session {
        let right = DeviceRight {
            device_id: DeviceId::parse("D").unwrap(),
            generation_id: GenerationId(generation.into()),
            credential: credential(),
            good_until: NOW,
        };
        presence.open(right, Protocol::Mqtt, SocketAddr::from(([192, 0, 2, 1], 4711)), NOW, |_| {})
    }

    fn delete(presence: &Presence, id: &DeviceId) {
        presence.review(id, |_| Err(DisconnectReason::DeviceDeleted));
        presence.forget(id);
    }

    fn subscription(filter: &str) -> Vec<MqttSubscription> {
        vec![MqttSubscription { filter: filter.into(), qos: 1 }]
    }

    #[test]
    fn a_session_that_was_taken_over_changes_nothing_of_its_successors() {
        let presence = Presence::default();
        let older = open(&presence, "1");
        assert_eq!(presence.begin_mqtt_session(&older, false), None);
        presence.keep_subscriptions(&older, &subscription("a"));
        let newer = open(&presence, "1");
        assert_eq!(presence.begin_mqtt_session(&newer, false), Some(subscription("a")));
        presence.keep_subscriptions(&newer, &subscription("b"));
        presence.keep_subscriptions(&older, &subscription("late"));
        presence.begin_mqtt_session(&older, true);
        assert_eq!(presence.kept_subscriptions(newer.device_id()), Some(subscription("b")));
    }

    #[test]
    fn a_device_inherits_nothing_from_a_deleted_one_of_its_name() {
        let presence = Presence::default();
        let ended = open(&presence, "1");
        let id = ended.device_id();
        presence.begin_mqtt_session(&ended, false);
        delete(&presence, id);
        // What the connection still does before it notices.
        presence.begin_mqtt_session(&ended, false);
        presence.keep_subscriptions(&ended, &subscription("a"));
        presence.close(&ended, NOW, |connected| assert!(!connected));
        assert_eq!(presence.kept_subscriptions(id), None);
        assert_eq!(presence.view(id), PresenceView::default());
        assert!(presence.take_unflushed(BootId(1)).is_empty());
    }

    #[test]
    fn a_device_deleted_after_it_was_disabled_leaves_nothing_either() {
        let presence = Presence::default();
        let ended = open(&presence, "1");
        ended.end(DisconnectReason::DeviceDisabled);
        delete(&presence, ended.device_id());
        presence.close(&ended, NOW, |_| {});
        assert!(presence.take_unflushed(BootId(1)).is_empty());
    }

    #[test]
    fn a_device_that_came_back_is_not_written_down_as_gone() {
        let presence = Presence::default();
        let boot = BootId(3);
        let first = open(&presence, "1");
        presence.close(&first, NOW, |_| {});
        let second = open(&presence, "1");
        let flushed = presence.take_unflushed(boot);
        assert_eq!(flushed.iter().map(|seen| seen.connected_boot).collect::<Vec<_>>(), [Some(boot)]);
        presence.close(&second, NOW, |_| {});
        let flushed = presence.take_unflushed(boot);
        assert_eq!(flushed.iter().map(|seen| seen.connected_boot).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn what_is_being_written_is_seen_until_it_is_in_the_registry_for_everybody() {
        let presence = Presence::default();
        let session = open(&presence, "1");
        presence.close(&session, NOW, |_| {});
        let id = session.device_id();
        presence.begin_flush();
        assert_eq!(presence.take_unflushed(BootId(1)).len(), 1);
        assert_eq!(presence.view(id).last_activity_time, Some(NOW));
        presence.begin_flush();
        assert_eq!(presence.view(id), PresenceView::default());
    }

    #[test]
    fn only_the_present_life_of_a_device_is_written() {
        let presence = Presence::default();
        let older = open(&presence, "1");
        presence.close(&older, NOW, |_| {});
        let late = presence.take_unflushed(BootId(1));
        presence.note_activity(&open(&presence, "2").right(), NOW);
        presence.put_back(late);
        let flushed = presence.take_unflushed(BootId(1));
        assert_eq!(flushed.iter().map(|seen| seen.generation_id.0.as_str()).collect::<Vec<_>>(), ["2"]);
    }

    #[test]
    fn sessions_come_in_pages_and_are_counted() {
        let presence = Presence::default();
        let right = |id: &str| DeviceRight {
            device_id: DeviceId::parse(id).unwrap(),
            generation_id: GenerationId("1".into()),
            credential: credential(),
            good_until: NOW,
        };
        let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
        let sessions: Vec<Session> =
            ["c", "a", "b"].iter().map(|id| presence.open(right(id), Protocol::MqttWs, peer, NOW, |_| {})).collect();
        let again = presence.open(right("a"), Protocol::Mqtt, peer, NOW, |_| {});
        assert_eq!(sessions[1].ended(), Some(DisconnectReason::TakenOver));
        presence.close(&sessions[1], NOW, |connected| assert!(connected, "by the newer one"));

        let page = presence.sessions(None, 2);
        assert_eq!(page.iter().map(|session| session.device_id().as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let rest = presence.sessions(Some(&page[1].key()), 2);
        assert_eq!(rest.iter().map(Session::connection).collect::<Vec<_>>(), [sessions[0].connection()]);

        let counts = presence.counts();
        assert_eq!((counts.connected, counts.connects, counts.take_overs), (3, 4, 1));
        assert_eq!((counts.by_protocol[&Protocol::Mqtt], counts.by_protocol[&Protocol::MqttWs]), (1, 2));
        presence.end_all(DisconnectReason::HubShutdown);
        assert!(!presence.view(again.device_id()).connected, "as soon as it has ended");
        let counts = presence.counts();
        assert_eq!((presence.connected(), counts.connected, counts.by_protocol[&Protocol::Mqtt]), (0, 0, 0), "like the view");
        assert!(!presence.is_empty(), "their connections are still there");
        for session in sessions.iter().chain([&again]) {
            presence.close(session, NOW, |connected| assert!(!connected));
        }
        assert!(presence.is_empty());
        assert!(!presence.close(&again, NOW, |_| unreachable!("it has been told")));
    }

    #[test]
    fn all_are_reviewed_and_others_may_come_and_go_meanwhile() {
        let presence = Presence::default();
        let right_of = |number: usize| DeviceRight {
            device_id: DeviceId::parse(&format!("d-{number:05}")).unwrap(),
            generation_id: GenerationId("1".into()),
            credential: credential(),
            good_until: NOW,
        };
        let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
        let sessions: Vec<Session> =
            (0..2 * PAGE + 1).map(|number| presence.open(right_of(number), Protocol::Mqtt, peer, NOW, |_| {})).collect();
        let late = std::cell::OnceCell::new();
        presence.review_all(|right| {
            // Nobody who reviews holds the lock, and the later pages are taken later.
            late.get_or_init(|| presence.open(right_of(8 * PAGE + 7), Protocol::Mqtt, peer, NOW, |_| {}));
            if right.device_id.as_str().ends_with('7') { Err(DisconnectReason::CertificateReplaced) } else { Ok(()) }
        });
        for session in sessions.iter().chain(late.get()) {
            assert_eq!(session.ended().is_some(), session.device_id().as_str().ends_with('7'));
        }
    }

    #[test]
    fn a_device_made_anew_keeps_its_session_when_the_deletion_comes_late() {
        let presence = Presence::default();
        let older = open(&presence, "1");
        let newer = open(&presence, "2");
        older.end(DisconnectReason::DeviceDeleted);
        presence.forget(newer.device_id());
        assert!(presence.view(newer.device_id()).connected, "whoever disables it must find it");
    }

    #[test]
    #[ignore = "measures"]
    #[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures, and says what")]
    fn a_million_sessions_cost() {
        const SESSIONS: u32 = 1_000_000;
        let presence = Presence::default();
        let right = |number: u32| DeviceRight {
            // In no order, as devices come.
            device_id: DeviceId::parse(&format!("device-{:07}", u64::from(number) * 7919 % u64::from(SESSIONS))).unwrap(),
            generation_id: GenerationId("1".into()),
            credential: credential(),
            good_until: NOW,
        };
        let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
        let timed = |what: &str, count: u32, work: &mut dyn FnMut()| {
            let began = std::time::Instant::now();
            work();
            println!("{what}: {:?}", began.elapsed() / count);
        };
        let mut sessions = Vec::new();
        timed("open one", SESSIONS, &mut || {
            sessions.extend((0..SESSIONS).map(|number| presence.open(right(number), Protocol::Mqtt, peer, NOW, |_| {})));
        });
        timed("how many", 1000, &mut || (0..1000).for_each(|_| assert_eq!(presence.counts().connected, SESSIONS as usize)));
        timed("view one", 1000, &mut || sessions.iter().take(1000).for_each(|one| assert!(presence.view(one.device_id()).connected)));
        timed("a page of 1000", SESSIONS / 1000, &mut || {
            let mut after = None;
            while let Some(last) = presence.sessions(after.as_ref(), PAGE).last() {
                after = Some(last.key());
            }
        });
        timed("take 1000 that came", UNFLUSHED_MAX as u32 / 1000, &mut || while !presence.take_unflushed(BootId(1)).is_empty() {});
        timed("close one", SESSIONS, &mut || sessions.iter().for_each(|one| assert!(presence.close(one, NOW, |_| {}))));
    }
}
