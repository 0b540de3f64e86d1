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
#[derive(Clone, Debug, PartialEq, Eq)]
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::identity::sample::identity;
    use crate::core::message::Body;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn message() -> Message<'static> {
        Message { body: Body::Data(vec![b"x"[..].into()]), ..Message::default() }
    }

    fn check(message: Message<'_>) -> Result<Draft, MessageRefused> {
        draft(message, Acknowledgement::Full, "service".to_owned(), &identity("D"), NOW)
    }

    fn with_expiry(time: UnixMillis) -> Result<Option<UnixMillis>, MessageRefused> {
        let mut message = message();
        message.properties.absolute_expiry_time = Some(time);
        check(message).map(|draft| draft.expiry_time)
    }

    fn with_property(name: &'static str, value: Value<'static>) -> Result<Draft, MessageRefused> {
        check(Message { application_properties: vec![(name.into(), value)], ..message() })
    }

    #[test]
    fn an_expiry_is_in_the_next_two_days_or_none() {
        let soon = NOW.plus(Duration::from_millis(1));
        assert_eq!(with_expiry(soon), Ok(Some(soon)));
        assert_eq!(with_expiry(NOW.plus(TTL_MAX)), Ok(Some(NOW.plus(TTL_MAX))));
        let far = NOW.plus(TTL_MAX + Duration::from_millis(1));
        assert_eq!(with_expiry(far), Err(MessageRefused::ExpiryTooFar(far)));
        assert_eq!(with_expiry(NOW), Err(MessageRefused::AlreadyExpired(NOW)));
        assert_eq!(with_expiry(UnixMillis(-1)), Ok(None), "Go says so that there is none");
    }

    #[test]
    fn a_property_is_what_an_http_header_can_carry() {
        assert!(with_property("k-1.2_3", Value::String("gr\u{fc}\u{df}e \u{1f600} & =/".into())).is_ok());
        assert!(with_property("k", Value::Null).is_ok());
        for name in ["", "a b", "\u{e9}", "a/b", "a:b"] {
            assert_eq!(with_property(name, Value::Null).unwrap_err(), MessageRefused::PropertyName(name.to_owned()), "{name}");
        }
        let refused = with_property("k", Value::String("a\nb".into())).unwrap_err();
        assert_eq!(refused, MessageRefused::PropertyValue("k".to_owned()));
    }

    #[test]
    fn a_device_sees_who_it_is_for_and_which_receipts_are_wanted() {
        let mut given = message();
        given.properties.message_id = Some(MessageId::String("".into()));
        given.properties.correlation_id = Some(MessageId::String("".into()));
        given.application_properties =
            vec![("iothub-ack".into(), Value::String("nonsense".into())), ("iothub-connection-device-id".into(), Value::Null)];
        let draft = check(given).unwrap();
        assert_eq!((draft.message_id.as_deref(), draft.ack), (None, Acknowledgement::Full));
        let stored = encoding::decode(&draft.content).unwrap();
        assert_eq!(stored.properties.to.as_deref(), Some("/devices/D/messages/devicebound"));
        assert_eq!((stored.properties.message_id, stored.properties.correlation_id), (None, None));
        assert_eq!(stored.application_properties, [("iothub-ack".into(), Value::String("full".into()))]);
    }

    #[test]
    fn sixty_four_kib_count_body_and_properties() {
        let body = vec![0; COMMAND_MAX_BYTES - "iothub-ackfull".len()];
        let of = |body: &[u8]| check(Message { body: Body::Data(vec![body.to_vec().into()]), ..Message::default() }).map(drop);
        assert_eq!(of(&body), Ok(()));
        assert_eq!(of(&[&body[..], b"x"].concat()), Err(MessageRefused::TooLarge(COMMAND_MAX_BYTES + 1)));
    }

    #[test]
    fn an_id_is_text_in_a_receipt_whatever_it_is_in_a_message() {
        for (id, text) in [
            (MessageId::String("m-1".into()), "m-1"),
            (MessageId::Ulong(7), "7"),
            (MessageId::Uuid([0x11; 16]), "11111111-1111-1111-1111-111111111111"),
            (MessageId::Binary(b"\x01\xff"[..].into()), "01ff"),
        ] {
            let mut message = message();
            message.properties.message_id = Some(id);
            assert_eq!(check(message).unwrap().message_id.as_deref(), Some(text));
        }
        let mut message = message();
        message.properties.message_id = Some(MessageId::String("a b".into()));
        assert_eq!(check(message).unwrap_err(), MessageRefused::Message(TelemetryRefused::InvalidMessageId));
    }
}
