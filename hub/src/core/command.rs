//! A command (cloud-to-device message) and what may become of it, in Azure's words.
//!
//! Owns the names. The rules are in the modules below.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::device_id::DeviceId;
use super::identity::GenerationId;
use super::session::{ConnectionId, Protocol};
use super::time::UnixMillis;

pub mod draft;
pub mod feedback;
pub mod machine;
pub mod queue;
pub mod receipt_document;
pub mod turn;
pub mod write;

/// The largest command: body, system values, and property names and values together (Azure's limit), in bytes.
pub const COMMAND_MAX_BYTES: usize = 64 * 1024;

/// The longest that a command may wait for its device, by its own expiry or the hub's default (Azure's limit).
pub const TTL_MAX: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// How long what has become of a command stays readable: its timeline, and the content of one that was dead-lettered.
pub const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A command of this hub; grows in the order of sending, is never used again, and is what `x-opt-sequence-number` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Proves that somebody holds the lock of a command, or of receipts, since one delivery: 16 random bytes, written as a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockToken(pub [u8; 16]);

/// As `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, in lower case.
impl fmt::Display for LockToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A text that is no lock token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lock token is a UUID")]
pub struct InvalidLockToken;

/// Reads a UUID with or without hyphens, in any case.
impl FromStr for LockToken {
    type Err = InvalidLockToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut digits = text.bytes().filter(|&byte| byte != b'-').map(|byte| char::from(byte).to_digit(16));
        let mut token = [0; 16];
        for byte in &mut token {
            let (Some(Some(high)), Some(Some(low))) = (digits.next(), digits.next()) else { return Err(InvalidLockToken) };
            *byte = u8::try_from(high * 16 + low).map_err(|_| InvalidLockToken)?;
        }
        if digits.next().is_some() { Err(InvalidLockToken) } else { Ok(Self(token)) }
    }
}

/// Which outcomes the sender wants a receipt of: `iothub-ack`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledgement {
    /// Of none.
    #[default]
    None,
    /// Of completion.
    Positive,
    /// Of dead-lettering.
    Negative,
    /// Of both.
    Full,
}

impl Acknowledgement {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Full => "full",
        }
    }

    /// Whether `outcome` makes a receipt. Nobody is left to be told of a deleted device.
    #[must_use]
    pub fn wants(self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Completed => matches!(self, Self::Positive | Self::Full),
            Outcome::Expired | Outcome::DeliveryCountExceeded | Outcome::Rejected | Outcome::Purged => {
                matches!(self, Self::Negative | Self::Full)
            }
            Outcome::DeviceDeleted => false,
        }
    }
}

/// A word that is no acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("iothub-ack is none, positive, negative or full")]
pub struct InvalidAcknowledgement;

/// Azure's words, without case.
impl FromStr for Acknowledgement {
    type Err = InvalidAcknowledgement;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::None, Self::Positive, Self::Negative, Self::Full]
            .into_iter()
            .find(|ack| ack.name().eq_ignore_ascii_case(text))
            .ok_or(InvalidAcknowledgement)
    }
}

/// How a command ended. There is one end, and it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The device took it.
    Completed,
    /// Dead-lettered: its time ran out before the device took it.
    Expired,
    /// Dead-lettered: it was delivered as often as the hub delivers, and never settled.
    DeliveryCountExceeded,
    /// Dead-lettered: the device rejected it.
    Rejected,
    /// A back end emptied the device's queue.
    Purged,
    /// The device it was for is gone.
    DeviceDeleted,
}

impl Outcome {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Completed, Self::Expired, Self::DeliveryCountExceeded, Self::Rejected, Self::Purged, Self::DeviceDeleted];

    /// The name in logs, metrics and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Expired => "Expired",
            Self::DeliveryCountExceeded => "DeliveryCountExceeded",
            Self::Rejected => "Rejected",
            Self::Purged => "Purged",
            Self::DeviceDeleted => "DeviceDeleted",
        }
    }

    /// Azure's `statusCode` in a receipt.
    #[must_use]
    pub fn status_code(self) -> &'static str {
        match self {
            Self::Completed => "Success",
            Self::Expired | Self::DeliveryCountExceeded | Self::Rejected | Self::Purged | Self::DeviceDeleted => self.name(),
        }
    }

    /// Whether the content stays readable, so that it can be sent again.
    #[must_use]
    pub fn keeps_content(self) -> bool {
        match self {
            Self::Expired | Self::DeliveryCountExceeded | Self::Rejected | Self::Purged => true,
            Self::Completed | Self::DeviceDeleted => false,
        }
    }
}

/// What a device, or somebody who speaks for it, makes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// It is done with: AMQP's `accepted`, MQTT's PUBACK, HTTPS's DELETE.
    Complete,
    /// It is not wanted: AMQP's `rejected`.
    Reject,
    /// It is to come again: AMQP's `released`.
    Abandon,
}

/// Why a delivered command went back to its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReturnReason {
    /// The device abandoned it.
    Abandoned,
    /// The lock ran out.
    LockExpired,
    /// The connection that it went to is gone.
    ConnectionClosed,
    /// Its bytes never left the hub; the delivery does not count.
    NotSent,
    /// The hub was restarted while it was locked.
    HubRestarted,
}

impl ReturnReason {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Abandoned, Self::LockExpired, Self::ConnectionClosed, Self::NotSent, Self::HubRestarted];

    /// The name in timelines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Abandoned => "Abandoned",
            Self::LockExpired => "LockExpired",
            Self::ConnectionClosed => "ConnectionClosed",
            Self::NotSent => "NotSent",
            Self::HubRestarted => "HubRestarted",
        }
    }
}

/// Where a delivery went: over what, and on which connection; HTTPS has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receiver {
    /// Over what.
    pub protocol: Protocol,
    /// On which connection of the hub's present life.
    pub connection: Option<ConnectionId>,
}

/// One entry of a command's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub time: UnixMillis,
    /// What.
    pub kind: StepKind,
}

/// What happened to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// It was taken, and is on disk.
    Enqueued,
    /// It was handed to its device, for the `delivery_count`th time.
    Delivered {
        /// To which of the device's connections.
        receiver: Receiver,
        /// How often that has happened now.
        delivery_count: u32,
    },
    /// It went back to its queue.
    Returned(ReturnReason),
    /// It ended, settled by `receiver` when it was the device that ended it.
    Ended {
        /// How.
        outcome: Outcome,
        /// By which of the device's connections.
        receiver: Option<Receiver>,
    },
    /// A back end took the receipt from the feedback queue, and said so.
    ReceiptRead,
    /// The receipt left the feedback queue without having been taken.
    ReceiptLost(ReceiptLoss),
    /// It was sent again, as another command.
    SentAgain(CommandId),
}

/// Why a receipt was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReceiptLoss {
    /// Its time ran out.
    Expired,
    /// It was received as often as the hub hands it out.
    DeliveryCountExceeded,
    /// More receipts waited than the hub keeps, and it was the oldest.
    QueueFull,
    /// Its device was deleted.
    DeviceDeleted,
}

impl ReceiptLoss {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Expired, Self::DeliveryCountExceeded, Self::QueueFull, Self::DeviceDeleted];

    /// The name in timelines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "Expired",
            Self::DeliveryCountExceeded => "DeliveryCountExceeded",
            Self::QueueFull => "QueueFull",
            Self::DeviceDeleted => "DeviceDeleted",
        }
    }
}

/// A command as it is known without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Which.
    pub id: CommandId,
    /// For whom.
    pub device_id: DeviceId,
    /// For which life of that identity.
    pub generation_id: GenerationId,
    /// The sender's message-id, as text; what its receipt will say.
    pub message_id: Option<String>,
    /// Which receipts the sender wants.
    pub ack: Acknowledgement,
    /// The shared access policy that sent it.
    pub sent_by: String,
    /// The command of which it is a repetition, if a person had one sent again.
    pub again_of: Option<CommandId>,
    /// How large its stored form is, in bytes.
    pub size_bytes: u32,
    /// When it was taken.
    pub enqueued_time: UnixMillis,
    /// When its time runs out.
    pub expiry_time: UnixMillis,
    /// How often it was delivered.
    pub delivery_count: u32,
    /// How it ended, and when; `None` while it waits for its device.
    pub ended: Option<(Outcome, UnixMillis)>,
}

/// A receipt in the order in which receipts came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiptId(pub u64);

/// What a back end reads from the feedback queue about one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which.
    pub id: ReceiptId,
    /// Of which command: it has at most one.
    pub command: CommandId,
    /// The sender's message-id.
    pub original_message_id: String,
    /// Whose command it was.
    pub device_id: DeviceId,
    /// In which life of that identity.
    pub generation_id: GenerationId,
    /// How the command ended.
    pub outcome: Outcome,
    /// When it ended.
    pub time: UnixMillis,
    /// When the receipt leaves the queue unread.
    pub expiry_time: UnixMillis,
    /// How often it was received and not completed.
    pub delivery_count: u32,
}

/// A command on its way to its device, locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Which command.
    pub command: CommandId,
    /// Its lock.
    pub token: LockToken,
    /// Until when the lock holds.
    pub locked_until: UnixMillis,
    /// How often it has been delivered, this time included: 1 and up.
    pub delivery_count: u32,
    /// When it was taken by the hub.
    pub enqueued_time: UnixMillis,
    /// The message in its stored form ([`super::message::encoding`]).
    pub content: bytes::Bytes,
}

/// What commands and receipts are held to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLimits {
    /// How long a command waits that has no expiry of its own: 1 minute to 2 days.
    pub default_ttl: Duration,
    /// How long a delivery is locked: 5 to 300 seconds.
    pub lock_time: Duration,
    /// How often a command is delivered before it is dead-lettered: 1 to 100.
    pub delivery_count_max: u32,
    /// How many commands of one device may wait, locked ones included.
    pub queue_depth_max: usize,
    /// How many commands of all devices may wait; each takes about 500 bytes of memory.
    pub pending_max: usize,
    /// How long a receipt waits: 1 minute to 2 days.
    pub feedback_ttl: Duration,
    /// How long received receipts are locked: 5 to 300 seconds.
    pub feedback_lock_time: Duration,
    /// How often a receipt is handed out before it is dropped: 1 to 100.
    pub feedback_delivery_count_max: u32,
    /// How many receipts may wait; each takes about 500 bytes of memory. The oldest make room for new ones.
    pub feedback_max: usize,
}

/// Azure's defaults, and bounds of ours where Azure names none.
impl Default for CommandLimits {
    fn default() -> Self {
        Self {
            default_ttl: Duration::from_secs(60 * 60),
            lock_time: Duration::from_secs(60),
            delivery_count_max: 10,
            queue_depth_max: 50,
            pending_max: 1_000_000,
            feedback_ttl: Duration::from_secs(60 * 60),
            feedback_lock_time: Duration::from_secs(60),
            feedback_delivery_count_max: 100,
            feedback_max: 500_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_token_is_a_uuid_in_any_spelling() {
        let token = LockToken(std::array::from_fn(|place| u8::try_from(place * 16 + 1).unwrap()));
        assert_eq!(token.to_string(), "01112131-4151-6171-8191-a1b1c1d1e1f1");
        assert_eq!(token.to_string().to_uppercase().parse(), Ok(token));
        assert_eq!(token.to_string().replace('-', "").parse(), Ok(token));
        for wrong in ["", "01112131", "01112131-4151-6171-8191-a1b1c1d1e1f1f1", "01112131-4151-6171-8191-a1b1c1d1e1fé"] {
            assert_eq!(wrong.parse::<LockToken>(), Err(InvalidLockToken), "{wrong}");
        }
    }
}
