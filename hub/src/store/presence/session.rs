//! One session: what its device proved, whether it still lasts, and what waits for its connection.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tokio::sync::Notify;

use super::SessionKey;
use crate::core::command::{CommandId, Delivery};
use crate::core::device_id::DeviceId;
use crate::core::device_rate::MinuteCounts;
use crate::core::session::{ConnectionId, DeviceRight, DisconnectReason, Protocol};
use crate::core::time::UnixMillis;
use crate::store::mailbox::Mailbox;

/// One device's connection, while it lasts and a moment longer. Clones are the same session.
#[derive(Clone, Debug)]
pub struct Session(Arc<SessionState>);

#[derive(Debug)]
struct SessionState {
    device_id: DeviceId,
    access: Mutex<Access>,
    connection: ConnectionId,
    protocol: Protocol,
    peer: SocketAddr,
    since: UnixMillis,
    last_activity: AtomicI64,
    counted_by: OnceLock<Option<Arc<MinuteCounts>>>,
    ended: OnceLock<DisconnectReason>,
    closed: AtomicBool,
    /// How many sessions like this one have not ended.
    lasting: Arc<AtomicUsize>,
    wake: Notify,
    mailbox: Mailbox,
}

#[derive(Debug)]
struct Access {
    /// What the device proved last.
    right: Arc<DeviceRight>,
    /// Whom to wake beside those who wait for this session alone.
    connection: Option<Arc<Notify>>,
}

impl Session {
    /// One that is counted in `lasting` until it ends.
    pub(super) fn new(
        right: DeviceRight,
        connection: ConnectionId,
        (protocol, lasting): (Protocol, Arc<AtomicUsize>),
        peer: SocketAddr,
        now: UnixMillis,
    ) -> Self {
        lasting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(SessionState {
            connection,
            protocol,
            peer,
            since: now,
            last_activity: AtomicI64::new(now.0),
            counted_by: OnceLock::new(),
            ended: OnceLock::new(),
            closed: AtomicBool::new(false),
            lasting,
            wake: Notify::new(),
            mailbox: Mailbox::default(),
            device_id: right.device_id.clone(),
            access: Mutex::new(Access { right: Arc::new(right), connection: None }),
        }))
    }

    /// Whose.
    #[must_use]
    pub fn device_id(&self) -> &DeviceId {
        &self.0.device_id
    }

    /// What the device proved, last if it did more than once.
    #[must_use]
    pub fn right(&self) -> Arc<DeviceRight> {
        Arc::clone(&self.access().right)
    }

    /// The device has proved itself again. Whoever calls this has to review the right afterwards: between them no change of the identity
    /// goes unnoticed.
    pub fn renew(&self, right: DeviceRight) {
        self.access().right = Arc::new(right);
    }

    /// From now on `connection` is notified too when the session ends or a delivery comes: it serves many sessions. What has happened
    /// already is not told.
    pub fn wake_too(&self, connection: Arc<Notify>) {
        self.access().connection = Some(connection);
    }

    /// Where it stands among all sessions.
    #[must_use]
    pub fn key(&self) -> SessionKey {
        (self.device_id().clone(), self.connection())
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

    /// What counts the messages of its device, if anything does: `find` is asked once.
    pub fn counted_by(&self, find: impl FnOnce() -> Option<Arc<MinuteCounts>>) -> Option<&MinuteCounts> {
        self.0.counted_by.get_or_init(find).as_deref()
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
        self.wake();
        Ok(())
    }

    /// Takes out the deliveries that wait for the connection, in order; none of a session that has ended.
    #[must_use]
    pub fn take_deliveries(&self) -> Vec<Delivery> {
        if self.ended().is_some() { Vec::new() } else { self.0.mailbox.take() }
    }

    /// Takes out the first of them. What is not taken out until its lock runs out has never left the hub, and does not count.
    #[must_use]
    pub fn take_delivery(&self) -> Option<Delivery> {
        if self.ended().is_some() { None } else { self.0.mailbox.take_first(|_| true) }
    }

    /// Takes out the delivery of this command, if it waits.
    #[must_use]
    pub fn take_delivery_of(&self, command: CommandId) -> Option<Delivery> {
        if self.ended().is_some() { None } else { self.0.mailbox.take_first(|delivery| delivery.command == command) }
    }

    /// Whether deliveries wait for the connection of a session that has not ended.
    #[must_use]
    pub fn has_deliveries(&self) -> bool {
        self.ended().is_none() && self.0.mailbox.has_any()
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
            self.0.lasting.fetch_sub(1, Ordering::Relaxed);
            self.wake();
        }
    }

    /// Notes that its connection is gone; says whether that was not known before.
    pub(super) fn close(&self) -> bool {
        !self.0.closed.swap(true, Ordering::Relaxed)
    }

    fn wake(&self) {
        self.0.wake.notify_waiters();
        if let Some(connection) = &self.access().connection {
            connection.notify_one();
        }
    }

    fn access(&self) -> MutexGuard<'_, Access> {
        self.0.access.lock().expect("nothing panics while it holds this lock")
    }
}
