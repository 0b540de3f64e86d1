//! `$cbs`: what a request for a right says, and how it is answered. Whether the token is good is not decided here.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::core::message::{Body, Message, MessageId, Properties, Value};

/// A token, and for what it is brought.
#[derive(Clone, PartialEq)]
pub struct PutToken<'a> {
    /// The token: a shared access signature.
    pub token: Cow<'a, str>,
    /// `name`, the audience as its sender spells it. The token says itself what it is for; this only helps people.
    pub audience: Option<Cow<'a, str>>,
    /// The request's id: the answer carries it in its own type, and none when there is none.
    pub message_id: Option<MessageId<'a>>,
}

/// A message to `$cbs` that brings no token of a kind that the hub knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// Another operation.
    #[error("the only operation of $cbs is put-token")]
    Operation,
    /// Another type, such as a JSON web token.
    #[error("the only type of token is servicebus.windows.net:sastoken")]
    Type,
    /// A body that is no string.
    #[error("the body of put-token is the token, a string")]
    Body,
}

/// The one kind of token that Azure IoT Hub's own clients bring.
const SAS_TOKEN: &str = "servicebus.windows.net:sastoken";

impl<'a> PutToken<'a> {
    /// From a request. The names of application properties count with case, as in Azure; what they say does not.
    pub fn read(request: Message<'a>) -> Result<Self, NoToken> {
        let (mut operation, mut kind, mut audience) = (None, None, None);
        for (name, value) in request.application_properties {
            let Value::String(text) = value else { continue };
            match &*name {
                "operation" => operation = Some(text),
                "type" => kind = Some(text),
                "name" => audience = Some(text),
                _ => {}
            }
        }
        if !operation.is_some_and(|operation| operation.eq_ignore_ascii_case("put-token")) {
            return Err(NoToken::Operation);
        }
        if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case(SAS_TOKEN)) {
            return Err(NoToken::Type);
        }
        let Body::Value(Cow::Borrowed(encoded)) = request.body else { return Err(NoToken::Body) };
        Ok(Self { token: string(encoded).ok_or(NoToken::Body)?.into(), audience, message_id: request.properties.message_id })
    }
}

impl std::fmt::Debug for PutToken<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { token: _, audience, message_id } = self;
        formatter.debug_struct("PutToken").field("audience", audience).field("message_id", message_id).finish_non_exhaustive()
    }
}

/// An answer of `$cbs` or `$management`, with HTTP's codes. `status-code` is an int and nothing else: there are clients that compare it so.
#[must_use]
pub fn answer<'a>(message_id: Option<MessageId<'a>>, status_code: i32, description: impl Into<Cow<'a, str>>) -> Message<'a> {
    Message {
        properties: Properties { correlation_id: message_id, ..Properties::default() },
        application_properties: vec![
            ("status-code".into(), Value::Int(status_code)),
            ("status-description".into(), Value::String(description.into())),
        ],
        body: Body::Value(Cow::Borrowed(&[0x40])),
        ..Message::default()
    }
}

/// The device that an audience names, as in `{host}/devices/{id}`: with or without a scheme, encoded or plain, or without the host.
#[must_use]
pub fn device_of(audience: &str) -> Option<String> {
    let decoded = percent_decode_str(audience).decode_utf8().ok()?;
    let path = decoded.split_once("://").map_or(&*decoded, |(_, rest)| rest);
    let mut segments = path.split('/').skip(1);
    let (Some(devices), Some(id), None) = (segments.next(), segments.next(), segments.next()) else { return None };
    (devices.eq_ignore_ascii_case("devices") && !id.is_empty()).then(|| id.to_owned())
}

/// A string that is the whole of an encoded value (AMQP 1.6.20).
fn string(encoded: &[u8]) -> Option<&str> {
    let bytes = match encoded {
        [0xa1, length, bytes @ ..] if bytes.len() == usize::from(*length) => bytes,
        [0xb1, l0, l1, l2, l3, bytes @ ..] if u32::try_from(bytes.len()) == Ok(u32::from_be_bytes([*l0, *l1, *l2, *l3])) => bytes,
        _ => return None,
    };
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::message;

    fn request(operation: &str, kind: &str, body: &[u8]) -> Vec<u8> {
        let text = |text: &str| Value::String(text.to_owned().into());
        let request = Message {
            properties: Properties { message_id: Some(MessageId::Ulong(0)), ..Properties::default() },
            application_properties: vec![
                ("operation".into(), text(operation)),
                ("type".into(), text(kind)),
                ("name".into(), text("hub.test/devices/D")),
                ("expiration".into(), Value::Long(1)),
            ],
            body: Body::Value(body.to_vec().into()),
            ..Message::default()
        };
        let mut bytes = Vec::new();
        message::write(&request, &mut bytes);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<PutToken<'_>, NoToken> {
        PutToken::read(message::read(bytes).unwrap())
    }

    #[test]
    fn a_token_is_brought_and_the_answer_is_for_its_request() {
        let bytes = request("put-token", SAS_TOKEN, b"\xa1\x05token");
        let put = read(&bytes).unwrap();
        assert_eq!((&*put.token, put.audience.as_deref()), ("token", Some("hub.test/devices/D")));
        assert!(!format!("{put:?}").contains("token\""), "{put:?}");
        let answered = answer(put.message_id, 200, "OK");
        assert_eq!(answered.properties.correlation_id, Some(MessageId::Ulong(0)));
        assert_eq!(answered.application_properties[0].1, Value::Int(200));
        let long = [&[0xb1, 0, 0, 1, 44][..], &[b'x'; 300]].concat();
        assert_eq!(read(&request("PUT-token", SAS_TOKEN, &long)).unwrap().token.len(), 300);
    }

    #[test]
    fn audiences_name_a_device_or_none() {
        for audience in ["H/devices/D", "H%2Fdevices%2FD", "amqps://H/Devices/D", "/devices/D", "https%3A%2F%2FH%2Fdevices%2FD"] {
            assert_eq!(device_of(audience).as_deref(), Some("D"), "{audience}");
        }
        for audience in ["", "H", "https://H", "sb://H/EH", "H/devices/", "H/devices/D/modules/M", "H/messages/events", "H%ff/devices/D"] {
            assert_eq!(device_of(audience), None, "{audience}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        assert_eq!(read(&request("delete-token", SAS_TOKEN, b"\xa1\x00")), Err(NoToken::Operation));
        assert_eq!(read(&request("put-token", "jwt", b"\xa1\x00")), Err(NoToken::Type));
        for body in [&b"\x40"[..], b"\xa0\x01x", b"\xa1\x01\xff", b"\x45"] {
            assert_eq!(read(&request("put-token", SAS_TOKEN, body)), Err(NoToken::Body), "{body:?}");
        }
        let data = Message { body: Body::Data(vec![b"token"[..].into()]), ..Message::default() };
        assert_eq!(PutToken::read(data), Err(NoToken::Operation));
    }
}
