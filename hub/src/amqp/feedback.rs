//! Receipts as a back end receives them: a message with the JSON array that every protocol carries.

use crate::core::command::receipt_document::{CONTENT_TYPE, array};
use crate::core::message::{Body, Message, MessageId, Properties, Value};
use crate::ops::receive_feedback::ReceiptBatch;

use super::message;

/// Appends the message, with what HTTPS says in headers.
pub fn write(hub_name: &str, batch: &ReceiptBatch, out: &mut Vec<u8>) {
    let (token, newest) = (batch.token.to_string(), batch.receipts.last());
    let count = batch.receipts.iter().map(|receipt| receipt.delivery_count).max();
    let mut annotations = vec![("iothub-messagelocktoken".into(), Value::String(token.as_str().into()))];
    if let (Some(newest), Some(count)) = (newest, count) {
        annotations.push(("iothub-enqueuedtime".into(), Value::Timestamp(newest.time)));
        annotations.push(("iothub-deliverycount".into(), Value::Ubyte(u8::try_from(count).unwrap_or(u8::MAX))));
        annotations.push(("iothub-sequencenumber".into(), Value::Ulong(newest.id.0)));
    }
    let properties = Properties {
        message_id: Some(MessageId::String(token.as_str().into())),
        user_id: Some(hub_name.as_bytes().into()),
        to: Some("/messages/serviceBound/feedback".into()),
        content_type: Some(CONTENT_TYPE.into()),
        creation_time: newest.map(|newest| newest.time),
        ..Properties::default()
    };
    let body = Body::Data(vec![array(&batch.receipts).into()]);
    message::write(&Message { annotations, properties, body, ..Message::default() }, out);
}
