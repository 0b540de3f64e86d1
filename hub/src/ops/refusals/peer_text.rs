//! What a peer said, as far as it is kept and shown: short, and without control characters.

use std::fmt;

/// The most of it that is kept, in bytes: as much as the longest device id, which is told whole.
const KEPT_MAX_BYTES: usize = crate::core::device_id::DEVICE_ID_MAX_BYTES;

/// A stranger's text, cut, so that strangers rule neither the hub's memory nor what a log looks like. There is no other way to make one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PeerText(Box<str>);

impl PeerText {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Cuts what is too long, with `…` for the rest, and puts U+FFFD in the place of control characters.
impl From<&str> for PeerText {
    fn from(text: &str) -> Self {
        let mut kept = String::new();
        for character in text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }) {
            if kept.len() + character.len_utf8() > KEPT_MAX_BYTES {
                kept.push('…');
                break;
            }
            kept.push(character);
        }
        Self(kept.into())
    }
}

impl fmt::Display for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// In quotes.
impl fmt::Debug for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_says_is_cut_and_shows_no_control_characters() {
        let kept = |text: &str| PeerText::from(text).to_string();
        assert_eq!(kept("hub.example"), "hub.example");
        assert_eq!(kept(&"x".repeat(128)), "x".repeat(128));
        assert_eq!(kept(&"x".repeat(129)), format!("{}…", "x".repeat(128)));
        assert_eq!(kept(&"é".repeat(10_000)), format!("{}…", "é".repeat(64)));
        assert_eq!(kept("a\r\n\u{1b}[31mb\u{85}"), "a\u{fffd}\u{fffd}\u{fffd}[31mb\u{fffd}");
    }
}
