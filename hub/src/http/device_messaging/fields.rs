//! `iothub-…`: what a device says about a message, as HTTP headers or in a batch's properties.

use std::borrow::Cow;

use crate::core::message::{Message, MessageId, Value};
use crate::core::telemetry::parse_expiry;
use crate::core::time::UnixMillis;
use crate::http::error::Failure;

const PREFIX: &str = "iothub-";
const APPLICATION_PREFIX: &str = "iothub-app-";

/// Whether a header of this name says something about the message.
pub(super) fn concern_messages(name: &str) -> bool {
    strip_prefix_without_case(name, PREFIX).is_some()
}

/// Sets what `name` says. Names are compared without case, except for the part behind `iothub-app-`, which is the property's own name.
/// Names with `iothub-` that mean nothing here are passed over, as Azure does; among them are those that only the hub may set.
pub(super) fn set<'a>(message: &mut Message<'a>, name: &'a str, value: &'a str) -> Result<(), Failure> {
    if let Some(property) = strip_prefix_without_case(name, APPLICATION_PREFIX) {
        check_token(name, property, "a property's name").and_then(|()| check_characters(name, value, "a property's value"))?;
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

fn check_token(field: &str, name: &str, what: &str) -> Result<(), Failure> {
    if name.is_empty() {
        return Err(Failure::argument_invalid(format!("{field}: {what} has at least one character")));
    }
    check_characters(field, name, what)
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
