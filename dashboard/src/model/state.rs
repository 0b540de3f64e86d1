//! What can be the case with a device, a command or a fact: always a tone, a glyph with an outline of its own, and a word.

use super::words::sentence;

/// The colour of a meaning. The style knows what it looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tone {
    /// Connected, completed.
    Ok,
    /// Offline, rejected, failed.
    Bad,
    /// Flapping, throttled, soon at its end.
    Warn,
    /// Waiting, or on its way.
    Wait,
    /// Expired.
    Late,
    /// Disabled, never seen, unknown.
    Mute,
    /// Plain data.
    Flow,
}

impl Tone {
    /// As the style has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Wait => "wait",
            Self::Late => "late",
            Self::Mute => "mute",
            Self::Flow => "flow",
        }
    }

    /// The smaller, the sooner somebody should look.
    #[must_use]
    pub fn urgency(self) -> u8 {
        match self {
            Self::Bad => 0,
            Self::Warn => 1,
            Self::Late => 2,
            Self::Ok | Self::Wait | Self::Mute | Self::Flow => 3,
        }
    }
}

/// How something is shown: its glyph's name, and its tone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Look {
    /// The symbol, without `g-`.
    pub glyph: &'static str,
    /// Its colour.
    pub tone: Tone,
}

const fn look(glyph: &'static str, tone: Tone) -> Look {
    Look { glyph, tone }
}

/// Somebody was refused.
pub const REFUSED: Look = look("auth", Tone::Bad);
/// The registry changed.
pub const REGISTRY: Look = look("registry", Tone::Mute);
/// A receipt.
pub const RECEIPT: Look = look("receipt", Tone::Mute);
/// A receipt that nobody will read.
pub const RECEIPT_LOST: Look = look("receipt", Tone::Bad);
/// Something to look at.
pub const ALERT: Look = look("alert", Tone::Warn);
/// The hub itself.
pub const HUB: Look = look("hub", Tone::Mute);

/// How a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceState {
    /// Has a connection.
    Connected,
    /// Had one.
    Offline,
    /// Comes and goes.
    Flapping,
    /// May not connect.
    Disabled,
    /// Has never connected.
    Never,
}

impl DeviceState {
    /// Every one, in the order of the filters.
    pub const ALL: [Self; 5] = [Self::Offline, Self::Flapping, Self::Disabled, Self::Never, Self::Connected];

    /// For people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Connected => "Connected",
            Self::Offline => "Offline",
            Self::Flapping => "Flapping",
            Self::Disabled => "Disabled",
            Self::Never => "Never seen",
        }
    }

    /// For programs, and in addresses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Offline => "offline",
            Self::Flapping => "flapping",
            Self::Disabled => "disabled",
            Self::Never => "never",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// How it is shown.
    #[must_use]
    pub fn look(self) -> Look {
        match self {
            Self::Connected => look("connected", Tone::Ok),
            Self::Offline => look("offline", Tone::Bad),
            Self::Flapping => look("flapping", Tone::Warn),
            Self::Disabled => look("disabled", Tone::Mute),
            Self::Never => look("never", Tone::Mute),
        }
    }
}

/// How a command is shown that is in this state of the API, or has just done this step.
#[must_use]
pub fn command_look(state: &str) -> Look {
    match state {
        "Enqueued" | "Returned" | "SentAgain" => look("enqueued", Tone::Wait),
        "Invisible" | "Delivered" => look("delivered", Tone::Wait),
        "Completed" => look("completed", Tone::Ok),
        "Expired" => look("expired", Tone::Late),
        "Rejected" => look("rejected", Tone::Bad),
        "DeliveryCountExceeded" => look("exceeded", Tone::Bad),
        "ReceiptRead" => RECEIPT,
        "ReceiptLost" => RECEIPT_LOST,
        _ => look("disabled", Tone::Mute),
    }
}

/// The same where there is room for a badge.
#[must_use]
pub fn command_badge(state: &str) -> String {
    match state {
        "Invisible" => "Awaiting ack".to_owned(),
        "DeliveryCountExceeded" => "Gave up".to_owned(),
        "Rejected" => "Rejected".to_owned(),
        other => sentence(command_word(other)),
    }
}

/// The same in a word.
#[must_use]
pub fn command_word(state: &str) -> &str {
    match state {
        "Enqueued" => "enqueued",
        "Returned" => "returned to its queue",
        "SentAgain" => "sent again",
        "Invisible" | "Delivered" => "delivered",
        "Completed" => "completed",
        "Expired" => "expired",
        "Rejected" => "rejected by the device",
        "DeliveryCountExceeded" => "given up",
        "Purged" => "purged",
        "DeviceDeleted" => "gone with its device",
        "ReceiptRead" => "receipt read",
        "ReceiptLost" => "receipt lost",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_state_of_a_device_has_an_outline_and_a_word_of_its_own() {
        let glyphs: HashSet<_> = DeviceState::ALL.map(|state| state.look().glyph).into();
        let words: HashSet<_> = DeviceState::ALL.map(DeviceState::word).into();
        assert_eq!((glyphs.len(), words.len()), (5, 5));
        assert!(DeviceState::ALL.iter().all(|state| DeviceState::named(state.name()) == Some(*state)));
        assert_eq!(DeviceState::named("x"), None);
    }

    #[test]
    fn a_state_that_is_not_known_yet_is_shown_as_it_is_called() {
        assert_eq!((command_badge("Invisible").as_str(), command_badge("Expired").as_str()), ("Awaiting ack", "Expired"));
        assert_eq!((command_word("Teleported"), command_look("Teleported").tone), ("Teleported", Tone::Mute));
    }
}
