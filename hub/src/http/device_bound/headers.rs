//! A command's properties as the headers in which a device gets them. Facts §7.2.
//!
//! A value is sent as it is, in UTF-8: ASCII, which is all that Azure allows, is itself. Clients that read header bytes as ISO 8859-1, as
//! Node and Java do, get the same bytes back by writing it as ISO 8859-1 again. Line breaks and other control characters, which no header
//! can hold, are U+FFFD; space at either end of a value is not the value's in HTTP, and is lost. Null is an empty value.
//!
//! Names of properties are sent as their sender spelt them ([`spellings`]), but over HTTP/2, which has lower case alone.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::core::command::Delivery;
use crate::core::command::draft::ACKNOWLEDGEMENT_PROPERTY;
use crate::core::message::{Message, MessageId};
use crate::http::message_headers::APPLICATION_PREFIX;

/// The headers of a delivery.
#[must_use]
pub fn of(delivery: &Delivery, message: &Message<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    describe(message, &mut headers);
    // Node's client cuts off the first and the last character.
    set(&mut headers, header::ETAG, &format!("\"{}\"", delivery.token));
    set(&mut headers, HeaderName::from_static("iothub-sequencenumber"), &delivery.command.to_string());
    set(&mut headers, HeaderName::from_static("iothub-enqueuedtime"), &delivery.enqueued_time.to_string());
    set(&mut headers, HeaderName::from_static("iothub-deliverycount"), &delivery.delivery_count.to_string());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
}

/// The names of the headers of its properties, in their senders' spelling.
pub fn spellings(message: &Message<'_>) -> impl Iterator<Item = String> {
    let names = message.application_properties.iter().map(|(name, _)| name);
    names.filter(|name| name.bytes().any(|byte| byte.is_ascii_uppercase())).map(|name| format!("{APPLICATION_PREFIX}{name}"))
}

/// Adds what the message itself says. Its content type is there twice: as Azure's clients look for it, and as HTTP has it.
pub fn describe(message: &Message<'_>, headers: &mut HeaderMap) {
    let properties = &message.properties;
    let texts = [
        ("iothub-messageid", properties.message_id.as_ref().map(MessageId::to_text)),
        ("iothub-correlationid", properties.correlation_id.as_ref().map(MessageId::to_text)),
        ("iothub-userid", properties.user_id.as_deref().map(String::from_utf8_lossy)),
        ("iothub-to", properties.to.as_deref().map(Cow::Borrowed)),
        ("iothub-expiry", properties.absolute_expiry_time.map(|time| time.to_string().into())),
        ("iothub-contenttype", properties.content_type.as_deref().map(Cow::Borrowed)),
        ("iothub-contentencoding", properties.content_encoding.as_deref().map(Cow::Borrowed)),
        ("content-encoding", properties.content_encoding.as_deref().map(Cow::Borrowed)),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            set(headers, HeaderName::from_static(name), &text);
        }
    }
    set(headers, header::CONTENT_TYPE, properties.content_type.as_deref().unwrap_or("application/octet-stream"));
    for (name, value) in &message.application_properties {
        let name = if name == ACKNOWLEDGEMENT_PROPERTY { name.to_string() } else { format!("{APPLICATION_PREFIX}{name}") };
        // No command is taken with a property that is not named as a header can be.
        if let Ok(name) = HeaderName::try_from(name) {
            headers.append(name, header_value(&value.to_text().unwrap_or_default()));
        }
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    headers.insert(name, header_value(text));
}

fn header_value(text: &str) -> HeaderValue {
    let storable = text.replace(|c: char| c.is_control() && c != '\t', "\u{fffd}");
    HeaderValue::try_from(storable).expect("what a header can't hold was replaced")
}
