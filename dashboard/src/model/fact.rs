//! The facts of a device's story in words: a row for each connect and disconnect, refusal and change of the identity, and one for all of a
//! command's way.

use super::audit::Entry as Audited;
use super::change::{Command, Refusal, Step};
use super::format::{bytes, count, duration};
use super::hub::Connection;
use super::payload::harmless;
use super::state::{DeviceState, Look, REFUSED, REGISTRY, Tone, command_look, command_word};
use super::time::Moment;
use super::words::{disconnect_reason, disconnect_tone, protocol, sentence};

/// Which part of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Connects and disconnects.
    Connection,
    /// A command's way.
    Command,
    /// Refusals.
    SignIn,
    /// Changes of the identity.
    Registry,
}

impl Kind {
    /// Every one, in the order of the lanes.
    pub const ALL: [Self; 4] = [Self::Connection, Self::Command, Self::SignIn, Self::Registry];

    /// For people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Connection => "Connection",
            Self::Command => "Commands",
            Self::SignIn => "Sign-in",
            Self::Registry => "Registry",
        }
    }

    /// In addresses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Command => "commands",
            Self::SignIn => "sign-in",
            Self::Registry => "registry",
        }
    }

    /// Its sign among the filters.
    #[must_use]
    pub fn look(self) -> Look {
        match self {
            Self::Connection => DeviceState::Connected.look(),
            Self::Command => command_look("Enqueued"),
            Self::SignIn => REFUSED,
            Self::Registry => REGISTRY,
        }
    }
}

/// A fact of the story.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Of its row, for as long as the story is shown: a row that changes stays where it is.
    pub key: String,
    /// When.
    pub time: Moment,
    /// Which part.
    pub kind: Kind,
    /// How it is shown.
    pub look: Look,
    /// What.
    pub text: String,
    /// More of it, smaller.
    pub meta: String,
    /// At the side.
    pub side: String,
    /// A command's way, for who wants to see it.
    pub steps: Vec<WayStep>,
}

impl Entry {
    /// People and devices have a say in these.
    pub(super) fn say_what_is_there(&mut self) {
        (self.text, self.meta) = (harmless(&self.text), harmless(&self.meta));
        self.steps.iter_mut().for_each(|step| step.meta = harmless(&step.meta));
    }
}

/// A step of a command's way, in words.
#[derive(Clone, Debug, PartialEq)]
pub struct WayStep {
    /// When.
    pub time: Moment,
    /// How it is shown.
    pub look: Look,
    /// What.
    pub text: String,
    /// How long after the one before.
    pub after: String,
    /// More of it.
    pub meta: String,
}

pub(super) fn connection_entries(connection: &Connection, before: Option<Moment>) -> Vec<Entry> {
    let key = format!("connection {} {}", connection.connected_time.0, connection.connection);
    let away = before.filter(|until| *until <= connection.connected_time);
    let mut entries = vec![Entry {
        key: format!("{key} begins"),
        time: connection.connected_time,
        kind: Kind::Connection,
        look: DeviceState::Connected.look(),
        text: "Connected".to_owned(),
        meta: format!("{} from {} · connection {}", protocol(&connection.protocol), connection.address, connection.connection),
        side: away.map(|until| format!("after {} away", duration(until.millis_until(connection.connected_time)))).unwrap_or_default(),
        steps: Vec::new(),
    }];
    if let Some(until) = connection.disconnected_time {
        let reason = connection.reason.as_deref().unwrap_or("unknown");
        entries.push(Entry {
            key: format!("{key} ends"),
            time: until,
            kind: Kind::Connection,
            look: Look { tone: if reason == "TakenOver" { Tone::Mute } else { disconnect_tone(reason) }, ..DeviceState::Offline.look() },
            text: format!("Disconnected: {}", disconnect_reason(reason)),
            meta: format!("{} from {} · connection {}", protocol(&connection.protocol), connection.address, connection.connection),
            side: format!("was on for {}", duration(connection.connected_time.millis_until(until))),
            steps: Vec::new(),
        });
    }
    entries
}

pub(super) fn refusal_entry(refusal: &Refusal) -> Entry {
    Entry {
        key: format!("refusal {} {}", refusal.time.0, refusal.reason),
        time: refusal.time,
        kind: Kind::SignIn,
        look: REFUSED,
        text: "Connection attempt refused".to_owned(),
        meta: format!("{} · {} from {}", sentence(&refusal.text), protocol(&refusal.protocol), refusal.address),
        side: String::new(),
        steps: Vec::new(),
    }
}

pub(super) fn audit_entry(audited: &Audited) -> Entry {
    let by = format!("By {} · {}", audited.who.name, audited.way());
    Entry {
        key: format!("registry {} {}", audited.time.unwrap_or_default().0, audited.action),
        time: audited.time.unwrap_or_default(),
        kind: Kind::Registry,
        look: audited.look(),
        text: audited.word().to_owned(),
        meta: [by, audited.more()].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" · "),
        side: String::new(),
        steps: Vec::new(),
    }
}

/// One row for all of a command's way: where it is now, how it got there, and how long that took.
pub(super) fn command_entry(command: &Command) -> Option<Entry> {
    let begun = command.enqueued_time?;
    let steps: Vec<_> = command
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| way_step(step, index.checked_sub(1).and_then(|before| command.steps.get(before))))
        .collect();
    let (text, side) = match command.ended_time {
        Some(ended) => (format!("{} {}", command.name(), command_word(&command.state)), duration(begun.millis_until(ended))),
        None if command.state == "Invisible" => (format!("{} is with the device", command.name()), String::new()),
        None => (format!("{} waits for the device", command.name()), String::new()),
    };
    let mut meta = format!("Command {} · {}", command.id, bytes(command.size_bytes));
    if command.delivery_count > 1 {
        meta += &format!(" · {}", count(command.delivery_count, "delivery", "deliveries"));
    }
    if let (None, Some(expiry)) = (command.ended_time, command.expiry_time) {
        meta += &format!(" · expires {}", expiry.clock());
    }
    meta += &format!(" · by {}", command.sent_by);
    Some(Entry {
        key: format!("command {}", command.id),
        time: command.ended_time.unwrap_or(begun),
        kind: Kind::Command,
        look: command_look(&command.state),
        // A name of somebody's own is written as it is.
        text: if command.message_id.is_some() { text } else { sentence(&text) },
        meta,
        side,
        steps,
    })
}

fn way_step(step: &Step, before: Option<&Step>) -> WayStep {
    let mut meta: Vec<String> = Vec::new();
    meta.extend(step.protocol.as_deref().map(|name| protocol(name).to_owned()));
    meta.extend(step.delivery_count.filter(|count| *count > 1).map(|count| format!("delivery {count}")));
    meta.extend(step.reason.clone());
    meta.extend(step.r#as.as_ref().map(|id| format!("as command {id}")));
    WayStep {
        time: step.time,
        look: command_look(&step.step),
        text: sentence(command_word(&step.step)),
        after: before.map(|before| format!("+{}", duration(before.time.millis_until(step.time)))).unwrap_or_default(),
        meta: meta.join(" · "),
    }
}
