//! The command desk: the one place where commands are decided, written and handed out.
//!
//! Owns the command machine and the way to it. Requests of all connections and back ends come in over one channel; [`run`] takes what
//! waits, lets the machine decide each in order, commits the writes of the whole group at once, and only then lets anything be seen. While
//! a group is being committed the next one gathers. Judges no message and knows no protocol.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use self::request::{Answer, Note, Request};
use crate::core::command::CommandLimits;
use crate::core::command::machine::{CommandMachine, Statistics};
use crate::core::command::turn::PollId;
use crate::core::device_id::DeviceId;
use crate::store::commands::CommandsError;
use crate::store::presence::Session;

mod contents;
mod desk;
mod lives;
pub(super) mod request;
#[cfg(test)]
mod tests;

pub use self::desk::run;

/// The most requests that wait for the desk or for their answer, polls that the desk has let in not counted; others wait before the door.
const UNANSWERED_MAX: usize = 4096;

/// The longest that somebody who has changed identities waits for what was under way meanwhile: longer than the store takes to say that it
/// can't be reached.
const UNDER_WAY_MAX: Duration = Duration::from_secs(15);

/// The longest that a connection waits for what may be on its way to it: far longer than a group takes.
const PASS_MAX: Duration = Duration::from_secs(5);

/// What was decided before some identities changed may still be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the change is durable, but what was under way with commands has not come to an end within {} s; make the change again", UNDER_WAY_MAX.as_secs())]
pub struct StillUnderWay;

/// The way to the desk, and what can be read without waiting for it.
pub struct Commands {
    /// Unbounded in form. What is in it is bounded by [`UNANSWERED_MAX`], by what sessions can have to say (one look, one goodbye, and a
    /// settlement for each delivery in their window), by the same of links that receive receipts, and by changes of identities, which have cost the registry a durable write.
    requests: mpsc::UnboundedSender<Request>,
    /// The other end, until the desk runs.
    inbox: Mutex<Option<mpsc::UnboundedReceiver<Request>>>,
    room: Arc<Semaphore>,
    machine: Mutex<CommandMachine>,
    polls: AtomicU64,
}

/// What was asked and is not answered. Whoever drops it before the desk has decided has asked nothing.
#[derive(Debug)]
pub(super) struct Asked<T>(oneshot::Receiver<Result<T, CommandsError>>);

impl<T> Asked<T> {
    /// Waits until what was decided is durable.
    pub(super) async fn wait(self) -> Result<T, CommandsError> {
        self.0.await.unwrap_or_else(|_| Err(stopped()))
    }
}

impl Commands {
    /// A desk that nobody sits at yet.
    pub(super) fn new(limits: CommandLimits) -> Self {
        let (requests, inbox) = mpsc::unbounded_channel();
        Self {
            requests,
            inbox: Mutex::new(Some(inbox)),
            room: Arc::new(Semaphore::new(UNANSWERED_MAX)),
            machine: Mutex::new(CommandMachine::new(limits)),
            polls: AtomicU64::new(0),
        }
    }

    /// How many commands wait for a device, locked ones included.
    #[must_use]
    pub fn pending_of(&self, device: &DeviceId) -> usize {
        self.machine().pending_of(device)
    }

    /// How much waits.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.machine().statistics()
    }

    /// Tells the desk to give back what is locked and to end, after all that was asked before.
    pub fn stop(&self) {
        self.tell(Note::Stop);
    }

    /// Asks, and waits until what was decided is durable. Whoever stops waiting before the desk has decided has asked nothing.
    pub(super) async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, CommandsError> {
        self.put(request).await?.wait().await
    }

    /// Asks, behind all that was asked before.
    pub(super) async fn put<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<Asked<T>, CommandsError> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| stopped())?;
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(Answer::new(answer, room))).map_err(|_| stopped())?;
        Ok(Asked(answered))
    }

    /// Sends what nobody waits for; after the desk has ended, into the void.
    pub(super) fn tell(&self, note: Note) {
        let _ = self.requests.send(Request::Note(note));
    }

    /// Waits, after these identities have changed and left the cache, until nothing is under way at the desk that was decided by what they
    /// were. From then on nobody who has lost his right by it is given anything, and nothing that he settles counts.
    pub(super) async fn identities_changed(&self, devices: Vec<DeviceId>) -> Result<(), StillUnderWay> {
        // Where nobody sits yet, nothing has been decided.
        if devices.is_empty() || self.inbox.lock().expect("nothing panics while it holds this lock").is_some() {
            return Ok(());
        }
        let (done, passed) = oneshot::channel();
        // Nor where nobody sits any more: then it is not sent, or dropped.
        if self.requests.send(Request::Changed(devices, done)).is_err() {
            return Ok(());
        }
        timeout(UNDER_WAY_MAX, passed).await.map(drop).map_err(|_elapsed| StillUnderWay)
    }

    /// Waits until all that was asked before has been decided, written and handed out, or can't be.
    pub(super) async fn pass(&self) {
        // Where nobody sits yet, or any more, nothing comes of it.
        if self.inbox.lock().expect("nothing panics while it holds this lock").is_some() {
            return;
        }
        let (done, passed) = oneshot::channel();
        if self.requests.send(Request::Pass(done)).is_ok() {
            let _ = timeout(PASS_MAX, passed).await;
        }
    }

    /// The identity is gone: its commands end, and its receipts leave the queue.
    pub(super) fn device_deleted(&self, device: &DeviceId) {
        // Told even when the machine knows nothing of it: what it has ended may yet come back, when that can't be written.
        self.tell(Note::Deleted(device.clone()));
    }

    /// The session's connection is gone.
    pub(super) fn session_closed(&self, session: &Session) {
        if let Some(unsent) = session.mailbox().close() {
            self.tell(Note::Closed(session.clone(), unsent));
        }
    }

    pub(super) fn machine(&self) -> MutexGuard<'_, CommandMachine> {
        self.machine.lock().expect("nothing panics while it holds this lock")
    }

    pub(super) fn next_poll(&self) -> PollId {
        PollId(self.polls.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn sender(&self) -> mpsc::UnboundedSender<Request> {
        self.requests.clone()
    }
}

fn stopped() -> CommandsError {
    CommandsError::Unavailable("the hub is shutting down".to_owned())
}
