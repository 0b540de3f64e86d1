//! A message's form on disk.

use super::{Message, Value};

/// Annotations in their stored form, made once and added to many messages.
#[derive(Clone, Debug, Default)]
pub struct EncodedAnnotations {
    _count: u16,
    _bytes: Box<[u8]>,
}

impl EncodedAnnotations {
    /// Encodes them.
    #[must_use]
    pub fn new(_annotations: &[(&str, Value<'_>)]) -> Self {
        Self::default()
    }
}

/// Appends the message's stored form to `out`.
pub fn encode(_message: &Message<'_>, _stamps: &EncodedAnnotations, _out: &mut Vec<u8>) {}
