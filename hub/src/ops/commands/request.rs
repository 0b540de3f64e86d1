//! What the desk can be asked, and how it answers.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::core::command::draft::Draft;
use crate::core::command::feedback::{LockLost, ReceiptBatch};
use crate::core::command::machine::Poll;
use crate::core::command::{Command, Delivery, LockToken, Receiver, Settlement};
use crate::core::device_id::DeviceId;
use crate::core::session::{ConnectionId, DeviceRight};
use crate::core::time::UnixMillis;
use crate::ops::send_command::SendRefused;
use crate::ops::settle_command::SettleError;
use crate::store::commands::CommandsError;
use crate::store::presence::Session;

/// Where an answer goes once what it says is durable.
pub(in crate::ops) struct Answer<T> {
    to: oneshot::Sender<Result<T, CommandsError>>,
    /// The place that the request takes at the desk, whether or not anybody still waits for the answer.
    room: Option<OwnedSemaphorePermit>,
}

impl<T> Answer<T> {
    pub(super) fn new(to: oneshot::Sender<Result<T, CommandsError>>, room: OwnedSemaphorePermit) -> Self {
        Self { to, room: Some(room) }
    }

    /// Whether somebody still waits for it.
    pub(super) fn is_awaited(&self) -> bool {
        !self.to.is_closed()
    }

    /// The request may wait long, so from here on it takes nobody's room.
    pub(super) fn make_room(&mut self) {
        self.room = None;
    }

    pub(super) fn give(self, answer: Result<T, CommandsError>) {
        let _ = self.to.send(answer);
    }
}

/// What comes to the desk.
pub(in crate::ops) enum Request {
    /// Take a command.
    Send(Draft, Answer<Result<Arc<Command>, SendRefused>>),
    /// Wait for one command for the device.
    Poll(DeviceRight, Poll, Answer<Option<Unsent>>),
    /// A device without a session settles a delivery.
    Settle(DeviceRight, LockToken, Settlement, Answer<Result<(), SettleError>>),
    /// Empty the device's queue.
    Purge(DeviceId, Answer<usize>),
    /// Hand out so many receipts.
    ReceiveReceipts(usize, Answer<Option<ReceiptBatch>>),
    /// Hand out so many receipts to a back end that stays.
    TakeReceipts(usize, Answer<Option<ReceiptsInHand>>),
    /// The same, as soon as there are some.
    AwaitReceipts(usize, Answer<ReceiptsInHand>),
    /// A back end settles receipts.
    SettleReceipts(LockToken, Settlement, Answer<Result<(), LockLost>>),
    /// These identities are not what they were: whoever has lost his right gets nothing more. Answered when nothing is under way any more
    /// that was decided before.
    Changed(Vec<DeviceId>, oneshot::Sender<()>),
    /// Nothing but to be told when all that came before has been decided, written and handed out.
    Pass(oneshot::Sender<()>),
    /// Nobody waits for it.
    Note(Note),
}

impl Request {
    /// Whether anybody still wants it done.
    pub(super) fn is_wanted(&self) -> bool {
        match self {
            Self::Send(_, answer) => answer.is_awaited(),
            Self::Poll(_, _, answer) => answer.is_awaited(),
            Self::Settle(_, _, _, answer) => answer.is_awaited(),
            Self::Purge(_, answer) => answer.is_awaited(),
            Self::ReceiveReceipts(_, answer) => answer.is_awaited(),
            Self::TakeReceipts(_, answer) => answer.is_awaited(),
            Self::AwaitReceipts(_, answer) => answer.is_awaited(),
            Self::SettleReceipts(_, _, answer) => answer.is_awaited(),
            Self::Pass(done) => !done.is_closed(),
            Self::Changed(..) | Self::Note(_) => true,
        }
    }
}

/// What nobody waits for.
pub(in crate::ops) enum Note {
    /// Look at the window of this session.
    Look(Session),
    /// The connection is gone, and deliveries with these tokens never left it.
    Closed(Session, Vec<LockToken>),
    /// The connection is gone or going, and the delivery with this token never got to it.
    Gone(DeviceId, ConnectionId, LockToken),
    /// The session's device settles a delivery.
    Settle(Session, LockToken, Settlement),
    /// A back end that stays settles receipts, or has gone.
    SettleReceipts(LockToken, Settlement),
    /// The content of what has been handed out with this token can't be read.
    Lost(DeviceId, LockToken, Receiver),
    /// A delivery never left the hub.
    NotSent(DeviceId, LockToken),
    /// The identity is gone.
    Deleted(DeviceId),
    /// No more.
    Stop,
}

/// A delivery that does not count unless somebody takes it on: when it is dropped on the way, because the one who polled has gone, its
/// command is back at once.
pub(in crate::ops) struct Unsent {
    delivery: Option<(DeviceId, Delivery)>,
    desk: mpsc::UnboundedSender<Request>,
}

impl Unsent {
    pub(in crate::ops) fn new(device: DeviceId, delivery: Delivery, desk: mpsc::UnboundedSender<Request>) -> Self {
        Self { delivery: Some((device, delivery)), desk }
    }

    /// From here on it counts.
    pub(in crate::ops) fn take(mut self) -> Delivery {
        self.delivery.take().expect("it is taken once").1
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        if let Some((device, delivery)) = self.delivery.take() {
            let _ = self.desk.send(Request::Note(Note::NotSent(device, delivery.token)));
        }
    }
}

/// Receipts in the hands of one back end. Dropped unsettled, because the way to it is lost, they go back to the queue.
#[derive(Debug)]
pub struct ReceiptsInHand {
    batch: ReceiptBatch,
    lock: ReceiptsLock,
}

impl ReceiptsInHand {
    pub(super) fn new(batch: ReceiptBatch, desk: mpsc::UnboundedSender<Request>) -> Self {
        let lock = ReceiptsLock { token: batch.token, until: batch.locked_until, desk: Some(desk) };
        Self { batch, lock }
    }

    /// The receipts, in order; never none.
    #[must_use]
    pub fn batch(&self) -> &ReceiptBatch {
        &self.batch
    }

    /// Their lock, which is all that has to be kept of them until they are settled.
    #[must_use]
    pub fn into_lock(self) -> ReceiptsLock {
        self.lock
    }
}

/// The lock of receipts. Dropped, it gives them back.
#[derive(Debug)]
pub struct ReceiptsLock {
    token: LockToken,
    until: UnixMillis,
    /// Taken when it is said what becomes of them.
    desk: Option<mpsc::UnboundedSender<Request>>,
}

impl ReceiptsLock {
    /// Whether its time has not run out.
    #[must_use]
    pub fn holds(&self, now: UnixMillis) -> bool {
        self.until > now
    }

    /// Says what becomes of the receipts. Nobody waits for it, and a lost lock is nobody's fault.
    pub fn settle(mut self, settlement: Settlement) {
        self.say(settlement);
    }

    fn say(&mut self, settlement: Settlement) {
        if let Some(desk) = self.desk.take() {
            let _ = desk.send(Request::Note(Note::SettleReceipts(self.token, settlement)));
        }
    }
}

impl Drop for ReceiptsLock {
    fn drop(&mut self) {
        self.say(Settlement::Abandon);
    }
}
