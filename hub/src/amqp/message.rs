//! Messages on the wire: what is in one, and what is in a batch of them.
//!
//! Whether a message is welcome is decided elsewhere; that nothing in it can hurt whoever reads it later is seen to here.

use crate::amqp::engine::{Malformed, check_values};
use crate::core::message::encoding::{self, Damaged};
use crate::core::message::{Body, Message};
use crate::core::telemetry::BATCH_MAX_MESSAGES;

/// The message-format of a batch: each data section of its body is a whole message (Azure's own).
pub const BATCH_FORMAT: u32 = 0x8001_3700;

/// A delivery that is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoMessage {
    /// Its bytes are no AMQP values.
    #[error("the message is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// They are values, but not a message's sections.
    #[error("the message's sections are not what and where they should be")]
    Sections(Damaged),
    /// A batch whose body is not data sections.
    #[error("the body of a batch is data sections that hold a message each")]
    Batch,
    /// A batch of more messages than are taken.
    #[error("the batch has {0} messages, more than {BATCH_MAX_MESSAGES}")]
    TooMany(usize),
}

/// The message that a delivery of format 0 is.
pub fn read(payload: &[u8]) -> Result<Message<'_>, NoMessage> {
    check_values(payload)?;
    encoding::decode_wire(payload).map_err(NoMessage::Sections)
}

/// Calls `each` with the messages of a delivery, whatever its format: one, or those of a batch in their order. What the batch says of
/// itself, such as a partition key, says nothing of them.
pub fn read_each<'a, E: From<NoMessage>>(
    message_format: u32,
    payload: &'a [u8],
    mut each: impl FnMut(Message<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let message = read(payload)?;
    if message_format != BATCH_FORMAT {
        return each(message);
    }
    let Body::Data(messages) = message.body else { return Err(NoMessage::Batch.into()) };
    if messages.len() > BATCH_MAX_MESSAGES {
        return Err(NoMessage::TooMany(messages.len()).into());
    }
    for inner in messages {
        // What was borrowed from the payload stays there.
        let std::borrow::Cow::Borrowed(inner) = inner else { return Err(NoMessage::Batch.into()) };
        each(read(inner)?)?;
    }
    Ok(())
}

/// Appends a message as a peer reads it. Symbols in it are ASCII.
pub fn write(message: &Message<'_>, out: &mut Vec<u8>) {
    encoding::encode_wire(message, out);
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp_types::messaging::message::__private::{Deserializable, Serializable};
    use fe2o3_amqp_types::messaging::{
        ApplicationProperties, Body as ForeignBody, Data, Message as Foreign, Properties as ForeignProperties,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::core::message::{MessageId, Properties, Value};

    fn foreign(id: u64, body: &[u8]) -> Vec<u8> {
        let properties = ForeignProperties::builder().message_id(id).content_type("application/json").build();
        let application_properties = ApplicationProperties::builder().insert("temperature", 21_i32).build();
        let message = Foreign::builder().properties(properties).application_properties(application_properties).data(body.to_vec()).build();
        serde_amqp::to_vec(&Serializable(message)).unwrap()
    }

    fn ours(id: u64, body: &[u8]) -> Message<'static> {
        Message {
            properties: Properties {
                message_id: Some(MessageId::Ulong(id)),
                content_type: Some("application/json".into()),
                ..Properties::default()
            },
            application_properties: vec![("temperature".into(), Value::Int(21))],
            body: Body::Data(vec![body.to_vec().into()]),
            ..Message::default()
        }
    }

    fn each(format: u32, payload: &[u8]) -> Result<Vec<Message<'_>>, NoMessage> {
        let mut messages = Vec::new();
        read_each(format, payload, |message| {
            messages.push(message);
            Ok::<_, NoMessage>(())
        })?;
        Ok(messages)
    }

    #[test]
    fn a_message_is_understood_and_understood_again() {
        assert_eq!(each(0, &foreign(7, b"{}")), Ok(vec![ours(7, b"{}")]));
        let mut bytes = Vec::new();
        write(&ours(7, b"{}"), &mut bytes);
        let read: Deserializable<Foreign<ForeignBody<serde_amqp::Value>>> = serde_amqp::from_slice(&bytes).unwrap();
        assert_eq!(read.0.properties.unwrap().message_id, Some(7_u64.into()));
    }

    #[test]
    fn a_batch_is_its_messages() {
        let inner: Vec<_> = (0..3).map(|id| Data(foreign(id, &[9; 300]).into())).collect();
        let batch = Foreign::builder().data_batch(inner).build();
        let bytes = serde_amqp::to_vec(&Serializable(batch)).unwrap();
        assert_eq!(each(BATCH_FORMAT, &bytes), Ok((0..3).map(|id| ours(id, &[9; 300])).collect()));
        // Otherwise it is one message, whatever its body looks like.
        assert_eq!(each(0, &bytes).map(|messages| messages.len()), Ok(1));
    }

    #[test]
    fn a_batch_that_holds_none_is_refused() {
        let value = [0x00, 0x53, 0x77, 0x40];
        assert_eq!(each(BATCH_FORMAT, &value), Err(NoMessage::Batch));
        let no_message = [0x00, 0x53, 0x75, 0xa0, 1, 0x99];
        assert!(each(BATCH_FORMAT, &no_message).is_err());
        // A data section with nothing in it is a message with nothing in it.
        assert_eq!(each(BATCH_FORMAT, &[]), Ok(vec![Message::default()]));
    }

    /// Each would be stored with stamps of its own, however small it came.
    #[test]
    fn a_batch_has_so_many_messages_at_most() {
        let empty = [0x00, 0x53, 0x75, 0xa0, 0];
        assert_eq!(each(BATCH_FORMAT, &empty.repeat(BATCH_MAX_MESSAGES)).map(|messages| messages.len()), Ok(BATCH_MAX_MESSAGES));
        assert_eq!(each(BATCH_FORMAT, &empty.repeat(50_000)), Err(NoMessage::TooMany(50_000)));
        assert_eq!(each(0, &empty.repeat(50_000)).map(|messages| messages.len()), Ok(1));
    }

    #[test]
    fn compound_values_are_looked_into() {
        // An annotation whose list says that it has a string of nine bytes, and has none.
        let annotation = [0xa3, 1, b'a', 0xc0, 3, 1, 0xa1, 9];
        let map = [&[0x00, 0x53, 0x72, 0xc1, 9, 2][..], &annotation].concat();
        assert_eq!(read(&map), Err(Malformed::Truncated.into()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), format in prop_oneof![Just(0), Just(BATCH_FORMAT)]) {
            let _ = each(format, &bytes);
        }
    }
}
