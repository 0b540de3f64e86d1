//! The name of a device.

use std::fmt;
use std::sync::Arc;

/// 1 to 128 ASCII letters, digits and ``- . + % _ # * ? ! ( ) , : ; = @ $ '``, case-sensitive: the union of what Azure's pages list.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(Arc<str>);

/// The longest device id, in bytes.
pub const DEVICE_ID_MAX_BYTES: usize = 128;

/// A text that is not a device id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDeviceId {
    /// Nothing at all.
    #[error("a device id has at least one character")]
    Empty,
    /// Longer than [`DEVICE_ID_MAX_BYTES`].
    #[error("a device id has at most 128 characters, this one has {0} bytes")]
    TooLong(usize),
    /// A character that device ids may not hold.
    #[error("a device id is made of ASCII letters, digits and -.+%_#*?!(),:;=@$', not {0:?}")]
    Character(char),
}

impl DeviceId {
    /// The one check: everything that holds a `DeviceId` may rely on it.
    pub fn parse(text: &str) -> Result<Self, InvalidDeviceId> {
        if text.is_empty() {
            return Err(InvalidDeviceId::Empty);
        }
        if text.len() > DEVICE_ID_MAX_BYTES {
            return Err(InvalidDeviceId::TooLong(text.len()));
        }
        match text.chars().find(|c| !c.is_ascii_alphanumeric() && !"-.+%_#*?!(),:;=@$'".contains(*c)) {
            Some(character) => Err(InvalidDeviceId::Character(character)),
            None => Ok(Self(text.into())),
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl std::borrow::Borrow<str> for DeviceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}
