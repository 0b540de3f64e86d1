//! An event for people. Everything in it was written by somebody else: nothing that a terminal would obey gets through.

use std::io::IsTerminal as _;

use serde_json::{Map, Value};

use crate::cli::device::sanitized;

/// How many bytes of a payload that is neither JSON nor text are shown.
const SHOWN_BYTES_MAX: usize = 48;

/// How long a JSON payload may be to stay on one line, in characters.
const ONE_LINE_MAX: usize = 100;

/// How it may look.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Style {
    /// Whether the terminal shows colours.
    pub(in crate::cli) colour: bool,
}

impl Style {
    /// For standard output: colours when it is a terminal, unless NO_COLOR is set.
    pub(in crate::cli) fn of_output() -> Self {
        Self { colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    pub(in crate::cli) fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(in crate::cli) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(in crate::cli) fn device(self, text: &str) -> String {
        self.paint("1;36", text)
    }
}

/// The event as lines: time, device and place first, then what it carries.
pub(super) fn event(event: &Value, style: Style) -> String {
    let text = |name: &str| sanitized(event[name].as_str().unwrap_or_default());
    let place = format!("{}:{}", event["partition"], text("offset"));
    let mut lines = format!("{}  {}  {}\n", style.dim(&text("enqueuedTime")), style.device(&text("deviceId")), style.dim(&place));
    let mut system = event["systemProperties"].clone();
    let usual = format!("/devices/{}/messages/events", event["deviceId"].as_str().unwrap_or_default());
    if let Some(system) = system.as_object_mut().filter(|system| system.get("to").is_some_and(|to| *to == usual)) {
        system.remove("to");
    }
    for (name, values) in [("properties", &event["properties"]), ("system", &system)] {
        if let Some(shown) = values.as_object().filter(|values| !values.is_empty()).map(pairs) {
            lines.push_str(&format!("  {}  {shown}\n", style.dim(name)));
        }
    }
    for line in body(event).lines() {
        lines.push_str(&format!("  {line}\n"));
    }
    lines
}

fn pairs(values: &Map<String, Value>) -> String {
    let pair = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{}={}", sanitized(name), sanitized(text)),
        other => format!("{}={}", sanitized(name), sanitized(&other.to_string())),
    };
    values.iter().map(pair).collect::<Vec<_>>().join("  ")
}

fn body(event: &Value) -> String {
    match event.get("body") {
        Some(Value::String(text)) => text.lines().map(|line| sanitized(&line.replace('\t', "    "))).collect::<Vec<_>>().join("\n"),
        Some(json) => {
            let line = json.to_string();
            if line.chars().count() <= ONE_LINE_MAX {
                return sanitized(&line);
            }
            let pretty = serde_json::to_string_pretty(json).unwrap_or_default();
            pretty.lines().map(sanitized).collect::<Vec<_>>().join("\n")
        }
        None => {
            let base64 = event["bodyBase64"].as_str().unwrap_or_default();
            let shown = base64.get(..SHOWN_BYTES_MAX * 4 / 3).map_or_else(|| base64.to_owned(), |start| format!("{start}…"));
            if base64.is_empty() { "(empty)".to_owned() } else { format!("(Base64) {}", sanitized(&shown)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_a_head_and_what_it_carries() {
        let event = super::event(
            &json!({
                "partition": 2, "offset": "15", "enqueuedTime": "2026-11-23T03:00:00.000Z", "deviceId": "d",
                "systemProperties": {"message-id": "m", "to": "/devices/d/messages/events"}, "properties": {"level": "high", "n": {"int": 5}},
                "bodyBase64": "…", "body": {"t": 21.5}
            }),
            Style { colour: false },
        );
        assert_eq!(
            event,
            "2026-11-23T03:00:00.000Z  d  2:15\n  properties  level=high  n={\"int\":5}\n  system  message-id=m\n  {\"t\":21.5}\n"
        );
    }

    #[test]
    fn a_long_document_gets_lines_of_its_own() {
        let long = json!({ "deviceId": "d", "body": { "name": "x".repeat(100) } });
        assert!(super::event(&long, Style { colour: false }).contains("\n  {\n    \"name\": \"xxx"));
    }

    #[test]
    fn a_device_cannot_write_to_the_terminal() {
        let evil = "\x1b]0;owned\x07\u{9b}31m";
        let shown = super::event(
            &json!({ "deviceId": "d", "properties": {evil: evil}, "systemProperties": {"to": evil}, "body": evil }),
            Style { colour: false },
        );
        assert!(!shown.contains(['\x1b', '\x07', '\u{9b}']), "{shown:?}");
    }

    #[test]
    fn bytes_are_shown_in_part() {
        let style = Style { colour: false };
        assert!(super::event(&json!({ "bodyBase64": "A".repeat(100) }), style).ends_with(&format!("  (Base64) {}…\n", "A".repeat(64))));
        assert!(super::event(&json!({ "bodyBase64": "" }), style).ends_with("  (empty)\n"));
    }
}
