//! A back end takes receipts from the hub's feedback queue: once in a while by asking, or by staying until there are some.

use std::sync::Arc;

pub use crate::core::command::feedback::ReceiptBatch;
use crate::core::command::{LockToken, Settlement};
use crate::ops::Hub;
use crate::ops::commands::request::Request;
pub use crate::ops::commands::request::{ReceiptsInHand, ReceiptsLock};
use crate::ops::settle_command::SettleError;
use crate::store::commands::CommandsError;

/// The most receipts in a batch; Azure's batches have up to 64.
pub const RECEIPTS_AT_ONCE_MAX: usize = 1000;

/// The oldest receipts that nobody has locked, at most `max` and [`RECEIPTS_AT_ONCE_MAX`], locked together; `None` when there are none.
pub async fn receive_feedback(hub: &Arc<Hub>, max: usize) -> Result<Option<ReceiptBatch>, CommandsError> {
    hub.commands.ask(|answer| Request::ReceiveReceipts(max.min(RECEIPTS_AT_ONCE_MAX), answer)).await
}

/// The same, for a back end that stays: given back when its way to the hub is lost.
pub async fn take_feedback(hub: &Hub, max: usize) -> Result<Option<ReceiptsInHand>, CommandsError> {
    hub.commands.ask(|answer| Request::TakeReceipts(max.min(RECEIPTS_AT_ONCE_MAX), answer)).await
}

/// Waits for receipts, behind those who wait already, as long as it takes. Dropped while it waits, it has asked for nothing.
pub async fn await_feedback(hub: &Hub, max: usize) -> Result<ReceiptsInHand, CommandsError> {
    hub.commands.ask(|answer| Request::AwaitReceipts(max.min(RECEIPTS_AT_ONCE_MAX), answer)).await
}

/// Settles a batch: completed it leaves the queue, abandoned it can be received again. To reject a receipt is to complete it.
pub async fn settle_feedback(hub: &Arc<Hub>, token: LockToken, settlement: Settlement) -> Result<(), SettleError> {
    Ok(hub.commands.ask(|answer| Request::SettleReceipts(token, settlement, answer)).await??)
}
