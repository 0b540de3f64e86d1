//! What the desk can be asked, and how it answers.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::core::command::draft::Draft;
use crate::core::command::feedback::{LockLost, ReceiptBatch};
use crate::core::command::machine::{NoRoom, Poll};
use crate::core::command::{Command, Delivery, LockToken, Receiver, Settlement};
use crate::core::device_id::DeviceId;
use crate::core::identity::GenerationId;
use crate::core::session::ConnectionId;
use crate::store::commands::CommandsError;
use crate::store::presence::Session;

/// Where an answer goes once what it says is durable.
pub(in crate::ops) type Answer<T> = oneshot::Sender<Result<T, CommandsError>>;

/// What comes to the desk.
pub(in crate::ops) enum Request {
    /// Take a command.
    Send(Draft, Answer<Result<Arc<Command>, NoRoom>>),
    /// Wait for one command for the device.
    Poll(DeviceId, GenerationId, Poll, Answer<Option<Unsent>>),
    /// The device settles a delivery.
    Settle(DeviceSettles, Answer<Result<(), LockLost>>),
    /// Empty the device's queue.
    Purge(DeviceId, Answer<usize>),
    /// Hand out so many receipts.
    ReceiveReceipts(usize, Answer<Option<ReceiptBatch>>),
    /// A back end settles receipts.
    SettleReceipts(LockToken, Settlement, Answer<Result<(), LockLost>>),
    /// Nobody waits for it.
    Note(Note),
}

/// What nobody waits for.
pub(in crate::ops) enum Note {
    /// Look at the window of this session.
    Look(Session),
    /// The connection is gone, and deliveries with these tokens never left it.
    Closed(Session, Vec<LockToken>),
    /// The connection is gone or going, and the delivery with this token never got to it.
    Gone(DeviceId, ConnectionId, LockToken),
    /// A connection's device settles a delivery.
    Settle(DeviceSettles),
    /// A delivery never left the hub.
    NotSent(DeviceId, LockToken),
    /// The identity is gone.
    Deleted(DeviceId),
    /// No more.
    Stop,
}

/// A device settles.
pub(in crate::ops) struct DeviceSettles {
    pub device: DeviceId,
    pub token: LockToken,
    pub settlement: Settlement,
    pub by: Receiver,
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
