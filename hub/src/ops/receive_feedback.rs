//! A back end takes receipts from the hub's feedback queue.

use std::sync::Arc;

pub use crate::core::command::feedback::ReceiptBatch;
use crate::core::command::{LockToken, Settlement};
use crate::ops::Hub;
use crate::ops::commands::request::Request;
use crate::ops::settle_command::SettleError;
use crate::store::commands::CommandsError;

/// The most receipts in a batch; Azure's batches have up to 64.
pub const RECEIPTS_AT_ONCE_MAX: usize = 1000;

/// The oldest receipts that nobody has locked, at most `max` and [`RECEIPTS_AT_ONCE_MAX`], locked together; `None` when there are none.
pub async fn receive_feedback(hub: &Arc<Hub>, max: usize) -> Result<Option<ReceiptBatch>, CommandsError> {
    hub.commands.ask(|answer| Request::ReceiveReceipts(max.min(RECEIPTS_AT_ONCE_MAX), answer)).await
}

/// Settles a batch: completed it leaves the queue, abandoned it can be received again. To reject a receipt is to complete it.
pub async fn settle_feedback(hub: &Arc<Hub>, token: LockToken, settlement: Settlement) -> Result<(), SettleError> {
    Ok(hub.commands.ask(|answer| Request::SettleReceipts(token, settlement, answer)).await??)
}
