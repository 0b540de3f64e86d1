//! What somebody may mean who types a piece of an id.

use super::payload::harmless;
use crate::routes::{Query, Route};

/// Somewhere to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// In words.
    pub words: String,
    /// Where that is.
    pub address: String,
}

/// The likeliest first: a number is a command's, but may be a device's; anything else is a device's, or how several begin.
#[must_use]
pub fn choices(text: &str) -> Vec<Choice> {
    let text = text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    let shown = harmless(text);
    let mut found = Vec::new();
    if text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok() {
        found.push(Choice { words: format!("Command {text}"), address: Route::Command(text.to_owned()).path() });
    }
    found.push(Choice { words: format!("Device {shown}"), address: Route::Device(text.to_owned()).path() });
    let beginning = Query::default().with("prefix", text).text();
    found.push(Choice { words: format!("Devices that begin with {shown}"), address: Route::Devices.path() + &beginning });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_command_or_a_device() {
        let addresses = |text| choices(text).into_iter().map(|choice| choice.address).collect::<Vec<_>>();
        assert_eq!(addresses(" 42 "), ["/dashboard/commands/42", "/dashboard/devices/42", "/dashboard/devices?prefix=42"]);
        assert_eq!(addresses("pump#1"), ["/dashboard/devices/pump%231", "/dashboard/devices?prefix=pump%231"]);
        assert_eq!(addresses("99999999999999999999").len(), 2, "no command has such a number");
        assert!(choices("  ").is_empty());
        assert_eq!(choices("a\u{202e}b")[0].words, "Device a‹U+202E›b");
    }
}
