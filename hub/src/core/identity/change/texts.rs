//! The texts that an author may set of an identity, and their limits.

use serde_json::Value;

/// The longest status reason, in characters, as Azure has it.
pub const STATUS_REASON_MAX_CHARACTERS: usize = 128;

/// Why a device is enabled or disabled: at most 128 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusReason(pub(super) String);

/// Longer than [`STATUS_REASON_MAX_CHARACTERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a status reason has at most {STATUS_REASON_MAX_CHARACTERS} characters, this one has {0}")]
pub struct StatusReasonTooLong(pub usize);

impl StatusReason {
    /// The one check.
    pub fn parse(text: &str) -> Result<Self, StatusReasonTooLong> {
        match text.chars().count() {
            length if length > STATUS_REASON_MAX_CHARACTERS => Err(StatusReasonTooLong(length)),
            // PostgreSQL's text can't hold NUL, and nobody wants to read one.
            _ => Ok(Self(text.replace('\0', ""))),
        }
    }

    /// What it says.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The most bytes of tags, as compact JSON. Azure's limit for a twin's tags.
pub const TAGS_MAX_BYTES: usize = 8 * 1024;

/// A JSON object of at most [`TAGS_MAX_BYTES`], compact and with its names in order, so that equal tags are equal texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags(pub(super) String);

/// JSON that can't be tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTags {
    /// An array, a text, a number, a truth value.
    #[error("tags are a JSON object")]
    NotAnObject,
    /// More than [`TAGS_MAX_BYTES`].
    #[error("tags have at most {TAGS_MAX_BYTES} bytes as compact JSON, these have {0}")]
    TooLong(usize),
}

impl Tags {
    /// The one check.
    pub fn parse(value: &Value) -> Result<Self, InvalidTags> {
        if !value.is_object() {
            return Err(InvalidTags::NotAnObject);
        }
        let text = value.to_string();
        if text.len() > TAGS_MAX_BYTES { Err(InvalidTags::TooLong(text.len())) } else { Ok(Self(text)) }
    }
}
