//! What a back end sends to `/messages/devicebound`: a message, for whom it is, and which receipts are wanted.

use std::str::FromStr as _;

use super::address::Addressee;
use super::message::{self, BATCH_FORMAT, NoMessage};
use crate::core::command::draft::ACKNOWLEDGEMENT_PROPERTY;
use crate::core::command::{Acknowledgement, InvalidAcknowledgement};
use crate::core::message::{Message, Value};

/// A command, as far as it is read from its message.
#[derive(Debug, PartialEq)]
pub struct SentCommand<'a> {
    /// For whom.
    pub to: Addressee,
    /// Which receipts are wanted.
    pub ack: Acknowledgement,
    /// The message, without its `to`, which is not counted against it.
    pub message: Message<'a>,
}

/// A delivery that can't be a command. Says what its sender can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCommand {
    /// It is no message.
    #[error(transparent)]
    NoMessage(#[from] NoMessage),
    /// It is a batch of messages.
    #[error("commands are sent one by one, not in batches")]
    Batch,
    /// `to` is missing, or is no device's address.
    #[error("the property to is /devices/{{device}}/messages/devicebound")]
    To,
    /// `iothub-ack` is something else.
    #[error(transparent)]
    Acknowledgement(#[from] InvalidAcknowledgement),
}

impl<'a> SentCommand<'a> {
    /// From a delivery.
    pub fn read(message_format: u32, payload: &'a [u8]) -> Result<Self, NoCommand> {
        if message_format == BATCH_FORMAT {
            return Err(NoCommand::Batch);
        }
        let mut message = message::read(payload)?;
        let to = message.properties.to.take();
        let to = to.as_deref().and_then(Addressee::parse).ok_or(NoCommand::To)?;
        Ok(Self { to, ack: acknowledgement(&message)?, message })
    }
}

/// None when the property is missing, empty or null: that is how some senders say so.
fn acknowledgement(message: &Message<'_>) -> Result<Acknowledgement, InvalidAcknowledgement> {
    let wanted = message.application_properties.iter().find(|(name, _)| name == ACKNOWLEDGEMENT_PROPERTY).map(|(_, value)| value);
    match wanted {
        None | Some(Value::Null) => Ok(Acknowledgement::None),
        Some(Value::String(text) | Value::Symbol(text)) if text.is_empty() => Ok(Acknowledgement::None),
        Some(Value::String(text) | Value::Symbol(text)) => Acknowledgement::from_str(text),
        Some(_) => Err(InvalidAcknowledgement),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::device_id::DeviceId;
    use crate::core::message::Properties;

    fn message(to: Option<&'static str>, ack: Option<Value<'static>>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let message = Message {
            properties: Properties { to: to.map(Into::into), ..Properties::default() },
            application_properties: ack.map(|ack| (ACKNOWLEDGEMENT_PROPERTY.into(), ack)).into_iter().collect(),
            ..Message::default()
        };
        message::write(&message, &mut bytes);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<(Addressee, Acknowledgement), NoCommand> {
        SentCommand::read(0, bytes).map(|command| (command.to, command.ack))
    }

    #[test]
    fn it_says_for_whom_it_is_and_which_receipts_are_wanted() {
        let to = Some("/devices/D/messages/devicebound");
        let addressee = Addressee { device: DeviceId::parse("D").unwrap(), unencoded: None };
        for (ack, wanted) in [
            (None, Acknowledgement::None),
            (Some(Value::Null), Acknowledgement::None),
            (Some(Value::String("".into())), Acknowledgement::None),
            (Some(Value::String("full".into())), Acknowledgement::Full),
            (Some(Value::Symbol("Negative".into())), Acknowledgement::Negative),
        ] {
            assert_eq!(read(&message(to, ack.clone())), Ok((addressee.clone(), wanted)), "{ack:?}");
        }
        for ack in [Value::String("some".into()), Value::Boolean(true)] {
            assert_eq!(read(&message(to, Some(ack))), Err(InvalidAcknowledgement.into()));
        }
    }

    #[test]
    fn what_is_for_no_device_is_no_command() {
        for to in [None, Some(""), Some("/devices/D"), Some("/messages/devicebound"), Some("/devices/D/modules/M/messages/devicebound")] {
            assert_eq!(read(&message(to, None)), Err(NoCommand::To), "{to:?}");
        }
        assert_eq!(SentCommand::read(BATCH_FORMAT, &message(None, None)), Err(NoCommand::Batch));
        assert!(matches!(read(b"nonsense"), Err(NoCommand::NoMessage(_))));
    }
}
