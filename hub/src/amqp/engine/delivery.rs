//! Deliveries as the caller sees them.

use bytes::Bytes;
use fe2o3_amqp_types::messaging::DeliveryState;

use super::limits::DELIVERY_TAG_MAX_BYTES;
use super::link::LinkId;
use super::session::SessionId;

/// What a sender calls a delivery: up to 32 bytes (AMQP 2.8.7).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryTag {
    length: u8,
    bytes: [u8; DELIVERY_TAG_MAX_BYTES],
}

impl DeliveryTag {
    /// `None` when it is too long.
    #[must_use]
    pub fn new(tag: &[u8]) -> Option<Self> {
        let mut bytes = [0; DELIVERY_TAG_MAX_BYTES];
        bytes.get_mut(..tag.len())?.copy_from_slice(tag);
        u8::try_from(tag.len()).ok().map(|length| Self { length, bytes })
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length.into()]
    }
}

impl std::fmt::Debug for DeliveryTag {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "DeliveryTag({:02x?})", self.as_bytes())
    }
}

/// A message that has come whole.
#[derive(Clone, PartialEq)]
pub struct Delivery {
    /// The link on which it came.
    pub link: LinkId,
    /// Its number in its session; what [`super::Connection::settle`] wants to know.
    pub id: u32,
    /// The sender's name for it.
    pub tag: DeliveryTag,
    /// 0 for an AMQP message.
    pub message_format: u32,
    /// Whether the sender has forgotten it: then there is no answer.
    pub settled: bool,
    /// The message, encoded.
    pub payload: Bytes,
}

impl std::fmt::Debug for Delivery {
    /// Without the message: what somebody sends is nobody's business.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { link, id, tag, message_format, settled, payload } = self;
        let mut fields = formatter.debug_struct("Delivery");
        fields.field("link", link).field("id", id).field("tag", tag).field("message_format", message_format).field("settled", settled);
        fields.field("payload_bytes", &payload.len()).finish()
    }
}

/// What the peer says of deliveries that the hub sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Disposition {
    /// Those that the hub has not settled yet, in the order in which they were sent.
    pub deliveries: Vec<(LinkId, u32)>,
    /// What has become of them; the link's default outcome when it is not said.
    pub state: Option<DeliveryState>,
    /// Whether the peer has forgotten them. If not, it waits for [`super::Connection::settle_sent`].
    pub settled: bool,
}

impl Disposition {
    /// What [`super::Connection::settle_sent`] wants to know: the session, the first of the deliveries and the last; there is one at least.
    #[must_use]
    pub fn range(&self) -> Option<(SessionId, u32, u32)> {
        let (&(link, first), &(_, last)) = (self.deliveries.first()?, self.deliveries.last()?);
        Some((link.session, first, last))
    }
}

/// A message to send.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    /// The hub's name for it.
    pub tag: DeliveryTag,
    /// 0 for an AMQP message.
    pub message_format: u32,
    /// Whether no answer is wanted; only asked on links whose settlement is mixed.
    pub settled: bool,
    /// The message, encoded, in pieces that are put together on the wire.
    pub payload: &'a [&'a [u8]],
}

/// Why a message was not sent. Nothing of it has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// There is no such link (any more), or the hub is not its sender.
    #[error("the link is gone")]
    NoLink,
    /// The peer has granted no credit.
    #[error("the link has no credit")]
    NoCredit,
    /// The session's window is closed, or the delivery before this one still waits for it.
    #[error("the session's window is closed")]
    NoWindow,
    /// The peer has left too many deliveries unsettled.
    #[error("too many deliveries are unsettled")]
    Unsettled,
    /// The output has to be written first.
    #[error("the output is full")]
    OutputFull,
    /// Larger than the peer takes.
    #[error("the message is larger than the peer takes")]
    TooLarge,
}
