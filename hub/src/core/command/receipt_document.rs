//! Receipts as back ends read them: a JSON array, as Azure has it, whatever protocol brings it.

use serde::Serialize;

use super::Receipt;
use crate::core::time::UnixMillis;

/// What Azure calls an array of receipts.
pub const CONTENT_TYPE: &str = "application/vnd.microsoft.iothub.feedback.json";

/// How many receipts an array has at most, as Azure's.
pub const RECEIPTS_MAX: usize = 64;

/// The JSON array.
#[must_use]
pub fn array(receipts: &[Receipt]) -> Vec<u8> {
    let documents: Vec<ReceiptDocument> = receipts.iter().map(ReceiptDocument::of).collect();
    serde_json::to_vec(&documents).expect("receipts are text")
}

/// A receipt: what became of a command.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptDocument {
    /// The command's message-id.
    original_message_id: String,
    /// The same as `statusCode`.
    description: &'static str,
    /// In which life of the identity.
    device_generation_id: String,
    /// Whose command it was.
    device_id: String,
    /// When the command ended.
    enqueued_time_utc: String,
    /// `Success`, `Expired`, `DeliveryCountExceeded`, `Rejected` or `Purged`.
    status_code: &'static str,
}

impl ReceiptDocument {
    /// Of one receipt.
    #[must_use]
    pub fn of(receipt: &Receipt) -> Self {
        Self {
            original_message_id: receipt.original_message_id.clone(),
            description: receipt.outcome.status_code(),
            device_generation_id: receipt.generation_id.0.clone(),
            device_id: receipt.device_id.to_string(),
            enqueued_time_utc: seven_digits(receipt.time),
            status_code: receipt.outcome.status_code(),
        }
    }
}

/// A time as .NET writes it, to the ten-millionth of a second.
fn seven_digits(time: UnixMillis) -> String {
    let text = time.to_string();
    text.strip_suffix('Z').map_or_else(|| text.clone(), |seconds| format!("{seconds}0000Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_seven_digits() {
        assert_eq!(seven_digits(UnixMillis(1_500)), "1970-01-01T00:00:01.5000000Z");
    }
}
