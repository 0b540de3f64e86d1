//! Who is connected to this process: one session per device, the newer one wins.
//!
//! Holds no identities and decides nothing about rights; a session is told that it has ended, and its connection closes itself.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tokio::sync::Notify;

use crate::core::command::Delivery;
use crate::core::device_id::DeviceId;
use crate::core::identity::GenerationId;
use crate::core::session::{BootId, ConnectionId, DeviceRight, DisconnectReason, Protocol};
use crate::core::time::UnixMillis;
use crate::store::DeviceActivity;
use crate::store::mailbox::Mailbox;

/// The devices' sessions. Cheap to share behind an `Arc`.
#[derive(Debug, Default)]
pub struct Presence {
    devices: Mutex<Devices>,
    connections: AtomicU64,
}

#[derive(Debug, Default)]
struct Devices {
    live: HashMap<DeviceId, Session>,
    /// What is not in the registry yet; bounded by [`UNFLUSHED_MAX`].
    unflushed: HashMap<DeviceId, DeviceActivity>,
    /// Subscriptions of MQTT sessions with clean session 0, which outlive their connection (MQTT-3.1.2-4).
    mqtt: HashMap<DeviceId, Vec<MqttSubscription>>,
}

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

/// One device's connection, while it lasts and a moment longer. Clones are the same session.
#[derive(Clone, Debug)]
pub struct Session(Arc<SessionState>);

#[derive(Debug)]
struct SessionState {
    right: DeviceRight,
    connection: ConnectionId,
    protocol: Protocol,
    peer: SocketAddr,
    since: UnixMillis,
    last_activity: AtomicI64,
    ended: OnceLock<DisconnectReason>,
    wake: Notify,
    mailbox: Mailbox,
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

impl Presence {
    /// Opens a session; an older one of the same device ends as taken over.
    pub fn open(&self, right: DeviceRight, protocol: Protocol, peer: SocketAddr, now: UnixMillis) -> Session {
        let connection = ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed));
        let session = Session(Arc::new(SessionState {
            connection,
            protocol,
            peer,
            since: now,
            last_activity: AtomicI64::new(now.0),
            ended: OnceLock::new(),
            wake: Notify::new(),
            mailbox: Mailbox::default(),
            right,
        }));
        let older = self.devices().live.insert(session.device_id().clone(), session.clone());
        if let Some(older) = older {
            older.end(DisconnectReason::TakenOver);
        }
        session
    }

    /// Forgets a session whose connection is gone. Says whether the device is away now: false when a newer session has taken over, or when
    /// the device is deleted.
    pub fn close(&self, session: &Session, now: UnixMillis) -> bool {
        let mut devices = self.devices();
        let id = session.device_id();
        let away = devices.is_live(session);
        if away {
            devices.live.remove(id);
            devices.note(id, &session.right().generation_id, Some(session.last_activity()), Some(now));
        }
        away
    }

    /// Ends the device's session if `review` finds a reason. Its connection closes by itself; no verb of it succeeds from now on.
    pub fn review(&self, id: &DeviceId, review: impl FnOnce(&DeviceRight) -> Result<(), DisconnectReason>) {
        let session = self.devices().live.get(id).cloned();
        if let Some((session, reason)) = session.and_then(|session| review(&session.0.right).err().map(|reason| (session, reason))) {
            session.end(reason);
        }
    }

    /// Ends all sessions.
    pub fn end_all(&self, reason: DisconnectReason) {
        let sessions: Vec<Session> = self.devices().live.values().cloned().collect();
        for session in sessions {
            session.end(reason);
        }
    }

    /// Notes that a device without a session (HTTPS) was active.
    pub fn note_activity(&self, right: &DeviceRight, now: UnixMillis) {
        self.devices().note(&right.device_id, &right.generation_id, Some(now), None);
    }

    /// What is known about a device beside its identity.
    pub fn view(&self, id: &DeviceId) -> PresenceView {
        let devices = self.devices();
        let unflushed = devices.unflushed.get(id);
        let live = devices.live.get(id);
        PresenceView {
            connected: live.is_some(),
            connection_state_updated_time: live.map(Session::since).or(unflushed.and_then(|a| a.connection_state_updated_time)),
            last_activity_time: live.map(Session::last_activity).max(unflushed.and_then(|a| a.last_activity_time)),
        }
    }

    /// The device's session; it may have ended.
    pub fn session(&self, id: &DeviceId) -> Option<Session> {
        self.devices().live.get(id).cloned()
    }

    /// How many devices are connected.
    pub fn connected(&self) -> usize {
        self.devices().live.len()
    }

    /// Forgets all about a deleted device, so that another of the same name inherits nothing: its kept MQTT session, its unwritten
    /// activity, and the session that has ended and whose connection has not noticed yet.
    pub fn forget(&self, id: &DeviceId) {
        let mut devices = self.devices();
        devices.unflushed.remove(id);
        devices.mqtt.remove(id);
        // One that has not ended belongs to the next device of that name already.
        if devices.live.get(id).is_some_and(|session| session.ended().is_some()) {
            devices.live.remove(id);
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

    /// Takes what the registry should be told: of devices that went, that use HTTPS, and that have been active since `active_since`
    /// at the earliest. Whoever has a session is connected in `boot`, the present life of the hub.
    pub fn take_unflushed(&self, boot: BootId, active_since: UnixMillis) -> Vec<DeviceActivity> {
        let mut devices = self.devices();
        let mut activity = std::mem::take(&mut devices.unflushed);
        for (id, session) in &devices.live {
            // One that went and has come back is told of too: it must not be written down as gone.
            if session.last_activity() >= active_since || activity.contains_key(id) {
                let entry = DeviceActivity::entry(&mut activity, id, &session.right().generation_id);
                entry.connected_boot = Some(boot);
                entry.last_activity_time = entry.last_activity_time.max(Some(session.last_activity()));
                entry.connection_state_updated_time = Some(session.since());
            }
        }
        activity.into_values().collect()
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
        self.live.get(session.device_id()).is_some_and(|live| live.connection() == session.connection())
    }

    fn note(&mut self, id: &DeviceId, generation: &GenerationId, last_activity: Option<UnixMillis>, state_updated: Option<UnixMillis>) {
        if self.unflushed.len() >= UNFLUSHED_MAX && !self.unflushed.contains_key(id) {
            return;
        }
        let entry = DeviceActivity::entry(&mut self.unflushed, id, generation);
        entry.last_activity_time = entry.last_activity_time.max(last_activity);
        entry.connection_state_updated_time = entry.connection_state_updated_time.max(state_updated);
    }
}

impl DeviceActivity {
    /// The device's entry in `activity`. That of another life of the device gives way: the registry would not take it.
    fn entry<'a>(activity: &'a mut HashMap<DeviceId, Self>, id: &DeviceId, generation: &GenerationId) -> &'a mut Self {
        let none_yet = || Self {
            id: id.clone(),
            generation_id: generation.clone(),
            connected_boot: None,
            last_activity_time: None,
            connection_state_updated_time: None,
        };
        let entry = activity.entry(id.clone()).or_insert_with(none_yet);
        if entry.generation_id != *generation {
            *entry = none_yet();
        }
        entry
    }
}

impl Session {
    /// Whose.
    #[must_use]
    pub fn device_id(&self) -> &DeviceId {
        &self.0.right.device_id
    }

    /// What the device proved.
    #[must_use]
    pub fn right(&self) -> &DeviceRight {
        &self.0.right
    }

    /// Which connection.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        self.0.connection
    }

    /// Over what.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.0.protocol
    }

    /// From where.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// Since when.
    #[must_use]
    pub fn since(&self) -> UnixMillis {
        self.0.since
    }

    /// When the device last connected or sent.
    #[must_use]
    pub fn last_activity(&self) -> UnixMillis {
        UnixMillis(self.0.last_activity.load(Ordering::Relaxed))
    }

    /// Notes that the device sent.
    pub fn touch(&self, now: UnixMillis) {
        self.0.last_activity.store(now.0, Ordering::Relaxed);
    }

    /// Why the session has ended, or `None`. To be asked after bytes were read and before they take effect: then nothing that arrives
    /// after a revocation has returned takes effect.
    #[must_use]
    pub fn ended(&self) -> Option<DisconnectReason> {
        self.0.ended.get().copied()
    }

    /// Waits until the session ends.
    pub async fn wait_ended(&self) -> DisconnectReason {
        loop {
            let woken = self.0.wake.notified();
            if let Some(reason) = self.ended() {
                return reason;
            }
            woken.await;
        }
    }

    /// What the connection and the command desk leave for each other.
    #[must_use]
    pub fn mailbox(&self) -> &Mailbox {
        &self.0.mailbox
    }

    /// Puts a delivery into the mailbox and wakes the connection; gives it back when the session has ended or takes none any more.
    pub fn deliver(&self, delivery: Delivery) -> Result<(), Delivery> {
        if self.ended().is_some() {
            return Err(delivery);
        }
        self.0.mailbox.put(delivery)?;
        self.0.wake.notify_waiters();
        Ok(())
    }

    /// Takes out the deliveries that wait for the connection, in order; none of a session that has ended.
    #[must_use]
    pub fn take_deliveries(&self) -> Vec<Delivery> {
        if self.ended().is_some() { Vec::new() } else { self.0.mailbox.take() }
    }

    /// Waits until the session has ended or a delivery waits.
    pub async fn wait_woken(&self) {
        loop {
            let woken = self.0.wake.notified();
            if self.ended().is_some() || self.0.mailbox.has_any() {
                return;
            }
            woken.await;
        }
    }

    /// Ends it; the first reason stays.
    pub fn end(&self, reason: DisconnectReason) {
        if self.0.ended.set(reason).is_ok() {
            self.0.wake.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::identity::GenerationId;
    use crate::core::session::Credential;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn open(presence: &Presence, generation: &str) -> Session {
        let right = DeviceRight {
            device_id: DeviceId::parse("D").unwrap(),
            generation_id: GenerationId(generation.into()),
            credential: Credential::Policy("device".into()),
            good_until: NOW,
        };
        presence.open(right, Protocol::Mqtt, SocketAddr::from(([192, 0, 2, 1], 4711)), NOW)
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
        assert!(!presence.close(&ended, NOW));
        assert_eq!(presence.kept_subscriptions(id), None);
        assert_eq!(presence.view(id), PresenceView::default());
        assert!(presence.take_unflushed(BootId(1), UnixMillis(0)).is_empty());
    }

    #[test]
    fn a_device_deleted_after_it_was_disabled_leaves_nothing_either() {
        let presence = Presence::default();
        let ended = open(&presence, "1");
        ended.end(DisconnectReason::DeviceDisabled);
        delete(&presence, ended.device_id());
        presence.close(&ended, NOW);
        assert!(presence.take_unflushed(BootId(1), UnixMillis(0)).is_empty());
    }

    #[test]
    fn a_device_that_came_back_is_not_written_down_as_gone() {
        let presence = Presence::default();
        let (boot, nobody_alive) = (BootId(3), UnixMillis(i64::MAX));
        let first = open(&presence, "1");
        presence.close(&first, NOW);
        let second = open(&presence, "1");
        let flushed = presence.take_unflushed(boot, nobody_alive);
        assert_eq!(flushed.iter().map(|seen| seen.connected_boot).collect::<Vec<_>>(), [Some(boot)]);
        presence.close(&second, NOW);
        let flushed = presence.take_unflushed(boot, nobody_alive);
        assert_eq!(flushed.iter().map(|seen| seen.connected_boot).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn only_the_present_life_of_a_device_is_written() {
        let presence = Presence::default();
        let older = open(&presence, "1");
        presence.close(&older, NOW);
        let late = presence.take_unflushed(BootId(1), UnixMillis(i64::MAX));
        presence.note_activity(open(&presence, "2").right(), NOW);
        presence.put_back(late);
        let flushed = presence.take_unflushed(BootId(1), UnixMillis(i64::MAX));
        assert_eq!(flushed.iter().map(|seen| seen.generation_id.0.as_str()).collect::<Vec<_>>(), ["2"]);
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
}
