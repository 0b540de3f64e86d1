//! A command before it is taken: what is refused, what the hub says in the sender's place, and the form in which it will be kept.

use bytes::Bytes;

use super::{Acknowledgement, COMMAND_MAX_BYTES, CommandId, TTL_MAX};
use crate::core::device_id::DeviceId;
use crate::core::identity::{DeviceIdentity, GenerationId};
use crate::core::message::encoding::{self, EncodedAnnotations};
use crate::core::message::{Message, MessageId, Value};
use crate::core::telemetry::{self, TelemetryRefused};
use crate::core::time::UnixMillis;

/// The application property in which a device finds which receipts the sender wants.
pub const ACKNOWLEDGEMENT_PROPERTY: &str = "iothub-ack";

/// A command that may be taken if there is room for it.
#[derive(Clone, Debug)]
pub struct Draft {
    /// For whom.
    pub device_id: DeviceId,
    /// For which life of that identity.
    pub generation_id: GenerationId,
    /// The sender's message-id, as text.
    pub message_id: Option<String>,
    /// Which receipts the sender wants.
    pub ack: Acknowledgement,
    /// The policy that sends it.
    pub sent_by: String,
    /// Of which command it is a repetition.
    pub again_of: Option<CommandId>,
    /// Its own expiry; without it, the hub's default counts.
    pub expiry_time: Option<UnixMillis>,
    /// The stored form.
    pub content: Bytes,
}

/// Why a message can't be a command. Says what the sender can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageRefused {
    /// Larger than [`COMMAND_MAX_BYTES`].
    #[error("the command has {0} bytes with its properties, more than {COMMAND_MAX_BYTES}")]
    TooLarge(usize),
    /// Its expiry is not in the future.
    #[error("the command expired at {0}, before it was sent; is the sender's clock right?")]
    AlreadyExpired(UnixMillis),
    /// Its expiry is more than [`TTL_MAX`] away.
    #[error("the command expires at {0}, more than 2 days from now; leave its expiry out for the hub's default")]
    ExpiryTooFar(UnixMillis),
    /// A name that could not be the name of an HTTP header, which is what a property is for a device that uses HTTPS.
    #[error("the property {0:?} is not named with ASCII letters, digits and !#$%&'*+-.^_`|~ alone")]
    PropertyName(String),
    /// A value with a line break or another control character, which no HTTP header can carry.
    #[error("the value of property {0:?} has a control character in it")]
    PropertyValue(String),
    /// A rule that telemetry has too: ids, symbols, how many properties.
    #[error(transparent)]
    Message(TelemetryRefused),
}

/// Checks a message for the device `to`, and puts it into its stored form.
pub fn draft(
    mut message: Message<'_>,
    ack: Acknowledgement,
    sent_by: String,
    to: &DeviceIdentity,
    now: UnixMillis,
) -> Result<Draft, MessageRefused> {
    settle_unset(&mut message);
    message.annotations.retain(|(name, _)| !telemetry::is_server_owned(name));
    message.application_properties.retain(|(name, _)| !telemetry::is_server_owned(name) && name != ACKNOWLEDGEMENT_PROPERTY);
    if ack != Acknowledgement::None {
        message.application_properties.push((ACKNOWLEDGEMENT_PROPERTY.into(), Value::String(ack.name().into())));
    }
    telemetry::check_fields(&message).map_err(MessageRefused::Message)?;
    message.application_properties.iter().try_for_each(|(name, value)| check_property(name, value))?;
    let expiry_time = message.properties.absolute_expiry_time;
    check_expiry(expiry_time, now)?;
    let size = telemetry::size(&message);
    if size > COMMAND_MAX_BYTES {
        return Err(MessageRefused::TooLarge(size));
    }
    // The hub's own words are not counted against the sender.
    message.properties.to = Some(format!("/devices/{}/messages/devicebound", to.device_id).into());
    let mut content = Vec::with_capacity(size + ENCODING_ROOM_BYTES);
    encoding::encode(&message, &EncodedAnnotations::default(), &mut content);
    Ok(Draft {
        device_id: to.device_id.clone(),
        generation_id: to.generation_id.clone(),
        message_id: message.properties.message_id.as_ref().map(|id| id.to_text().into_owned()),
        ack,
        sent_by,
        again_of: None,
        expiry_time,
        content: content.into(),
    })
}

/// Room for `to`, lengths and type codes, in bytes, so that encoding seldom grows its buffer.
const ENCODING_ROOM_BYTES: usize = 256;

/// Some senders say "not set" with a value: Go with an expiry in 1754 and with empty ids.
fn settle_unset(message: &mut Message<'_>) {
    let is_empty = |id: &mut MessageId<'_>| matches!(id, MessageId::String(text) if text.is_empty());
    message.properties.message_id.take_if(is_empty);
    message.properties.correlation_id.take_if(is_empty);
    message.properties.absolute_expiry_time.take_if(|time| time.0 < 0);
}

fn check_expiry(expiry: Option<UnixMillis>, now: UnixMillis) -> Result<(), MessageRefused> {
    match expiry {
        Some(time) if time <= now => Err(MessageRefused::AlreadyExpired(time)),
        Some(time) if time > now.plus(TTL_MAX) => Err(MessageRefused::ExpiryTooFar(time)),
        _ => Ok(()),
    }
}

fn check_property(name: &str, value: &Value<'_>) -> Result<(), MessageRefused> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(MessageRefused::PropertyName(name.to_owned()));
    }
    match value {
        Value::String(text) | Value::Symbol(text) if text.chars().any(char::is_control) => {
            Err(MessageRefused::PropertyValue(name.to_owned()))
        }
        _ => Ok(()),
    }
}
