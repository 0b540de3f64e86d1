//! `iothub-…`: what is said about a message in HTTP headers, or in a batch's properties.
//!
//! Owns the names, and what HTTP allows in values. Never judges what the message then is: `core` does, for each direction.

use std::borrow::Cow;

use axum::http::HeaderMap;

use super::error::Failure;
use super::header_case::Spellings;
use crate::core::message::{Message, MessageId, Value};
use crate::core::telemetry::parse_expiry;
use crate::core::time::UnixMillis;

const PREFIX: &str = "iothub-";
/// In front of the names of application properties.
pub const APPLICATION_PREFIX: &str = "iothub-app-";

/// What one header, or one property of a batch's message, says: its name, as the sender spelt it where that is known, and its value.
pub type Field<'a> = (Cow<'a, str>, Cow<'a, str>);

/// What the headers say about a message. Values are UTF-8, which for Azure's clients is ASCII.
pub fn of<'a>(headers: &'a HeaderMap, spellings: Option<&Spellings>) -> Result<Vec<Field<'a>>, Failure> {
    let mut fields = Vec::new();
    for (name, value) in headers {
        if concern_messages(name.as_str()) {
            let value =
                str::from_utf8(value.as_bytes()).map_err(|_| Failure::argument_invalid(format!("the header {name} is not UTF-8")))?;
            let spelt = spellings.and_then(|spellings| spellings.of(name.as_str()));
            fields.push((spelt.map_or(Cow::Borrowed(name.as_str()), Cow::Owned), Cow::Borrowed(value)));
        }
    }
    Ok(fields)
}

/// Whether a header of this name says something about the message.
pub fn concern_messages(name: &str) -> bool {
    strip_prefix_without_case(name, PREFIX).is_some()
}

/// Sets what `name` says. Names are compared without case, except for the part behind `iothub-app-`, which is the property's own name.
/// Names with `iothub-` that mean nothing here are passed over, as Azure does; among them are those that only the hub may set.
pub fn set<'a>(message: &mut Message<'a>, name: &'a str, value: &'a str) -> Result<(), Failure> {
    if let Some(property) = strip_prefix_without_case(name, APPLICATION_PREFIX) {
        if property.is_empty() {
            return Err(Failure::argument_invalid(format!("{name}: a property's name has at least one character")));
        }
        check_characters(name, property, "a property's name")?;
        set_property(message, Cow::Borrowed(property), value);
        return Ok(());
    }
    let name = name.to_ascii_lowercase();
    let properties = &mut message.properties;
    match name.as_str() {
        "iothub-messageid" => properties.message_id = id(value),
        "iothub-correlationid" => properties.correlation_id = id(value),
        "iothub-userid" => properties.user_id = text(value).map(|user| user.as_bytes().into()),
        "iothub-to" => properties.to = text(value).map(Into::into),
        "iothub-contenttype" => properties.content_type = text(value).map(Into::into),
        "iothub-contentencoding" => properties.content_encoding = text(value).map(Into::into),
        "iothub-expiry" => properties.absolute_expiry_time = expiry(&name, value)?,
        "iothub-interface-id" => message.annotations.push(("iothub-interface-id".into(), Value::String(value.into()))),
        "iothub-ack" => set_property(message, "iothub-ack".into(), value),
        "iothub-creation-time-utc" => set_property(message, "iothub-creation-time-utc".into(), value),
        "iothub-message-schema" => set_property(message, "iothub-message-schema".into(), value),
        "iothub-outputname" => set_property(message, "iothub-outputname".into(), value),
        _ => {}
    }
    Ok(())
}

/// Refuses a property whose value a device may not send over HTTPS. Back ends may send any text.
pub fn check_devices_value(name: &str, value: &str) -> Result<(), Failure> {
    match strip_prefix_without_case(name, APPLICATION_PREFIX) {
        Some(_) => check_characters(name, value, "a property's value"),
        None => Ok(()),
    }
}

/// Of two properties of the same name the later counts.
fn set_property<'a>(message: &mut Message<'a>, name: Cow<'a, str>, value: &'a str) {
    let value = Value::String(value.into());
    match message.application_properties.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = value,
        None => message.application_properties.push((name, value)),
    }
}

fn text(value: &str) -> Option<&str> {
    (!value.is_empty()).then_some(value)
}

fn id(value: &str) -> Option<MessageId<'_>> {
    text(value).map(|id| MessageId::String(id.into()))
}

fn expiry(name: &str, value: &str) -> Result<Option<UnixMillis>, Failure> {
    if value.is_empty() {
        return Ok(None);
    }
    parse_expiry(value).map_err(|error| Failure::argument_invalid(format!("{name} is {value:?}, but {error}")))
}

/// What names and values of properties are made of over HTTPS (RFC 9110's token characters).
fn check_characters(field: &str, text: &str, what: &str) -> Result<(), Failure> {
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && !"!#$%&'*+-.^_`|~".contains(*c)) {
        None => Ok(()),
        Some(character) => Err(Failure::argument_invalid(format!(
            "{field}: over HTTPS {what} is made of ASCII letters, digits and !#$%&'*+-.^_`|~, not {character:?}"
        ))),
    }
}

fn strip_prefix_without_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}
