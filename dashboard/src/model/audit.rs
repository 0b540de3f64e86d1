//! The audit: who did what, through which door, in words.

use super::json::object;
use super::payload::harmless;
use super::state::{DeviceState, Look, Tone};
use super::time::Moment;

/// `GET /api/v1/audit`: a page of it, the latest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// What to send as `before` for more.
    pub next: Option<String>,
}

object!(Page { entries: "entries", next: "next" });

/// What somebody did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// Its number.
    pub id: String,
    /// When.
    pub time: Option<Moment>,
    /// Who.
    pub who: Who,
    /// By which way.
    pub door: String,
    /// From where.
    pub address: Option<String>,
    /// What.
    pub action: String,
    /// To which device.
    pub device_id: Option<String>,
    /// What of it, or why.
    pub detail: Option<String>,
    /// `Done` or `Refused`.
    pub outcome: String,
    /// Why it was refused.
    pub reason: Option<String>,
}

object!(Entry {
    id: "entryId",
    time: "time",
    who: "who",
    door: "door",
    address: "address",
    action: "action",
    device_id: "deviceId",
    detail: "detail",
    outcome: "outcome",
    reason: "reason"
});

/// Who did it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// `person`, `policy`, `manifest` or `hub`.
    pub kind: String,
    /// What they are called.
    pub name: String,
    /// How a person had signed in.
    pub method: Option<String>,
}

object!(Who { kind: "kind", name: "name", method: "method" });

impl Who {
    /// What kind of somebody it is, for people.
    #[must_use]
    pub fn word(&self) -> String {
        match (self.kind.as_str(), &self.method) {
            ("person", Some(method)) => format!("signed in by {method}"),
            ("policy", _) => "a policy's token".to_owned(),
            ("hub", _) => "the hub itself".to_owned(),
            (kind, _) => kind.to_owned(),
        }
    }
}

impl Entry {
    /// Whether it was not let happen.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.outcome == "Refused"
    }

    /// What was done, or was to be done.
    #[must_use]
    pub fn word(&self) -> &str {
        match self.action.as_str() {
            "SignIn" => "Signed in",
            "SignOut" => "Signed out",
            "SessionReviewed" => "Rights reviewed",
            "DeviceCreated" => "Device created",
            "DeviceChanged" => "Device changed",
            "DeviceEnabled" => "Device enabled",
            "DeviceDisabled" => "Device disabled",
            "CredentialsReplaced" => "Credentials replaced",
            "DeviceDeleted" => "Device deleted",
            "SecretsShown" => "Key shown",
            "BodiesRead" => "Messages read",
            "CommandSent" => "Command sent",
            "CommandSentAgain" => "Command sent again",
            "CommandsPurged" => "Queue emptied",
            "SettingsFollowed" => "Settings followed",
            other => other,
        }
    }

    /// How it is shown.
    #[must_use]
    pub fn look(&self) -> Look {
        let look = |glyph, tone| Look { glyph, tone };
        match self.action.as_str() {
            _ if self.is_refused() => look("auth", Tone::Bad),
            "SignIn" | "SignOut" | "SessionReviewed" => look("auth", Tone::Mute),
            "DeviceDisabled" => DeviceState::Disabled.look(),
            "DeviceEnabled" => look("completed", Tone::Ok),
            "DeviceDeleted" | "CommandsPurged" => look("rejected", Tone::Mute),
            "SecretsShown" | "BodiesRead" | "CredentialsReplaced" => look("alert", Tone::Warn),
            "CommandSent" | "CommandSentAgain" => look("delivered", Tone::Wait),
            "SettingsFollowed" => look("hub", Tone::Mute),
            _ => look("registry", Tone::Mute),
        }
    }

    /// What else there is to say.
    #[must_use]
    pub fn more(&self) -> String {
        let refused = self.is_refused().then(|| format!("refused: {}", self.reason.as_deref().unwrap_or("not allowed")));
        harmless(&[refused, self.detail.clone()].into_iter().flatten().collect::<Vec<_>>().join(" · "))
    }

    /// By which way, for people.
    #[must_use]
    pub fn way(&self) -> &str {
        match self.door.as_str() {
            "dashboard" => "Dashboard",
            "rest" => "REST",
            "cli" => "Command line",
            "manifest" => "Manifest",
            "file" => "File",
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_sentence() {
        let text = r#"{"entries":[{"entryId":"1882616286412800000","time":"2026-11-23T03:00:00.000Z","who":{"kind":"person","name":"ada","method":"password"},
            "door":"dashboard","address":"192.0.2.1","action":"DeviceDisabled","deviceId":"pump","detail":"stolen","outcome":"Done"}],"next":null}"#;
        let page: Page = crate::model::json::read(text).unwrap();
        let entry = &page.entries[0];
        assert_eq!((entry.word(), entry.way(), entry.more().as_str()), ("Device disabled", "Dashboard", "stolen"));
        assert_eq!((entry.who.word().as_str(), entry.is_refused(), page.next.is_none()), ("signed in by password", false, true));
    }

    #[test]
    fn what_was_refused_says_why() {
        let entry = Entry {
            outcome: "Refused".to_owned(),
            reason: Some("MissingRight".to_owned()),
            action: "Dance".to_owned(),
            ..Entry::default()
        };
        assert_eq!((entry.word(), entry.more().as_str(), entry.look().tone), ("Dance", "refused: MissingRight", Tone::Bad));
        let detail = Some("\u{202e}nelots".to_owned());
        assert_eq!(Entry { detail, ..Entry::default() }.more(), "‹U+202E›nelots");
    }
}
