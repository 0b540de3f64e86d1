//! What the audit says: who did what, to which device, through which door, when, and how it went. Never a secret.

use std::fmt;

use super::identity::change::Change;
use super::identity::{Authentication, DeviceIdentity, DeviceStatus};
use super::principal::By;
use super::time::UnixMillis;

/// The most characters of a text in an entry that a caller has chosen.
const TEXT_MAX_CHARACTERS: usize = 300;

/// How many entries a millisecond has numbers for.
const PER_MILLISECOND_BITS: u32 = 20;

/// An entry's number: larger than those of all earlier ones, and by its upper bits the time at which it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuditId(pub u64);

impl AuditId {
    /// The largest that there can be: databases know no larger number.
    pub const MAX: Self = Self(i64::MAX.cast_unsigned());

    /// The first of all that are made at `time` or later.
    #[must_use]
    pub fn first_at(time: UnixMillis) -> Self {
        Self(u64::try_from(time.0).unwrap_or(0) << PER_MILLISECOND_BITS)
    }

    /// The one after `last` at `now`; the clock may have been set back meanwhile.
    #[must_use]
    pub fn after(last: Self, now: UnixMillis) -> Self {
        Self::first_at(now).max(Self(last.0 + 1))
    }
}

impl fmt::Display for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What was done, or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditAction {
    /// Somebody signed in.
    SignIn,
    /// Somebody signed out.
    SignOut,
    /// A session ended, or has other rights, because its token or its account has.
    SessionReviewed,
    /// An identity was made.
    DeviceCreated,
    /// An identity was changed in some other way than those below.
    DeviceChanged,
    /// An identity was enabled: it may connect again.
    DeviceEnabled,
    /// An identity was disabled.
    DeviceDisabled,
    /// An identity got other keys or another certificate.
    CredentialsReplaced,
    /// An identity was deleted.
    DeviceDeleted,
    /// An identity's keys were shown.
    SecretsShown,
    /// Bodies of messages or commands were read.
    BodiesRead,
    /// A command was sent.
    CommandSent,
    /// A dead-lettered command was sent again.
    CommandSentAgain,
    /// A device's queue was emptied.
    CommandsPurged,
    /// A file that the hub follows has changed, and counts.
    SettingsFollowed,
}

impl AuditAction {
    /// Every one.
    pub const ALL: [Self; 15] = [
        Self::SignIn,
        Self::SignOut,
        Self::SessionReviewed,
        Self::DeviceCreated,
        Self::DeviceChanged,
        Self::DeviceEnabled,
        Self::DeviceDisabled,
        Self::CredentialsReplaced,
        Self::DeviceDeleted,
        Self::SecretsShown,
        Self::BodiesRead,
        Self::CommandSent,
        Self::CommandSentAgain,
        Self::CommandsPurged,
        Self::SettingsFollowed,
    ];

    /// The name in answers and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SignIn => "SignIn",
            Self::SignOut => "SignOut",
            Self::SessionReviewed => "SessionReviewed",
            Self::DeviceCreated => "DeviceCreated",
            Self::DeviceChanged => "DeviceChanged",
            Self::DeviceEnabled => "DeviceEnabled",
            Self::DeviceDisabled => "DeviceDisabled",
            Self::CredentialsReplaced => "CredentialsReplaced",
            Self::DeviceDeleted => "DeviceDeleted",
            Self::SecretsShown => "SecretsShown",
            Self::BodiesRead => "BodiesRead",
            Self::CommandSent => "CommandSent",
            Self::CommandSentAgain => "CommandSentAgain",
            Self::CommandsPurged => "CommandsPurged",
            Self::SettingsFollowed => "SettingsFollowed",
        }
    }
}

/// One entry. What is done and what is refused look the same, but for `refused`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number.
    pub id: AuditId,
    /// When.
    pub time: UnixMillis,
    /// Who, through which door, from where.
    pub by: By,
    /// What.
    pub action: AuditAction,
    /// Which device, if one.
    pub device: Option<String>,
    /// What more there is to say, in words.
    pub detail: Option<String>,
    /// Why it was not done; `None` when it was.
    pub refused: Option<String>,
}

/// What is to become an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// What.
    pub action: AuditAction,
    /// To which device, if to one.
    pub device: Option<String>,
    /// What more there is to say.
    pub detail: Option<String>,
    /// Why it was not done.
    pub refused: Option<String>,
}

impl Deed {
    /// It was done.
    #[must_use]
    pub fn done(action: AuditAction) -> Self {
        Self { action, device: None, detail: None, refused: None }
    }

    /// It was not, because `why`.
    #[must_use]
    pub fn refused(action: AuditAction, why: impl Into<String>) -> Self {
        Self { refused: Some(why.into()), ..Self::done(action) }
    }

    /// To this device.
    #[must_use]
    pub fn to(self, device: impl Into<String>) -> Self {
        Self { device: Some(device.into()), ..self }
    }

    /// With this to be said.
    #[must_use]
    pub fn saying(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// The entry of it. What callers have written is cut, and has no control characters.
    #[must_use]
    pub fn entry(self, id: AuditId, time: UnixMillis, by: By) -> AuditEntry {
        let Self { action, device, detail, refused } = self;
        AuditEntry { id, time, by, action, device: device.map(plain), detail: detail.map(plain), refused: refused.map(plain) }
    }
}

/// A text as it may stand in the audit.
#[must_use]
pub fn plain(text: String) -> String {
    if text.chars().count() <= TEXT_MAX_CHARACTERS && !text.chars().any(char::is_control) {
        return text;
    }
    let shown = text.chars().take(TEXT_MAX_CHARACTERS).map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let more = if text.chars().nth(TEXT_MAX_CHARACTERS).is_some() { "…" } else { "" };
    shown.chain(more.chars()).collect()
}

/// What a change of an identity was. The weightiest word for it, and the names of what is different; never what it was or is.
#[must_use]
pub fn deed_of_change(before: Option<&DeviceIdentity>, after: Option<&DeviceIdentity>) -> Deed {
    match (before, after) {
        (None, Some(after)) => Deed::done(AuditAction::DeviceCreated).to(after.device_id.as_str()),
        (Some(before), None) => Deed::done(AuditAction::DeviceDeleted).to(before.device_id.as_str()),
        (None, None) => Deed::done(AuditAction::DeviceDeleted),
        (Some(before), Some(after)) => {
            let action = match (before.status(), after.status()) {
                (DeviceStatus::Enabled, DeviceStatus::Disabled) => AuditAction::DeviceDisabled,
                (DeviceStatus::Disabled, DeviceStatus::Enabled) => AuditAction::DeviceEnabled,
                _ if before.authentication != after.authentication => AuditAction::CredentialsReplaced,
                _ => AuditAction::DeviceChanged,
            };
            // Why somebody shut a device out is what others will ask first, and then what was changed along with it.
            let reason = after.status_reason.as_deref();
            let reason = reason.filter(|_| matches!(action, AuditAction::DeviceDisabled | AuditAction::DeviceEnabled));
            let mut differing: Vec<&str> = Vec::new();
            let mut differs = |name, differ: bool| differing.extend(differ.then_some(name));
            if reason.is_none() {
                differs("status", before.status() != after.status());
                differs("hold", before.hold.is_some() != after.hold.is_some());
                differs("status reason", before.status_reason != after.status_reason);
            }
            for name in credentials(&before.authentication, &after.authentication) {
                differs(name, true);
            }
            differs("tags", before.tags != after.tags);
            differs("monitoring", before.monitoring != after.monitoring);
            differs("rotation", before.rotation != after.rotation);
            differs("manager", before.managed_by != after.managed_by);
            let detail = match (reason, differing.join(", ")) {
                (Some(reason), differing) if differing.is_empty() => reason.to_owned(),
                (Some(reason), differing) => format!("{reason}; {differing}"),
                (None, differing) if differing.is_empty() => "nothing".to_owned(),
                (None, differing) => differing,
            };
            Deed::done(action).to(after.device_id.as_str()).saying(detail)
        }
    }
}

/// What a change that was refused would have been, by what was asked for: the weightiest word for it.
#[must_use]
pub fn action_asked_for(change: &Change) -> AuditAction {
    match change {
        Change::Create(_) => AuditAction::DeviceCreated,
        Change::Delete(_) => AuditAction::DeviceDeleted,
        Change::Update(settings, _) | Change::CreateOrUpdate(settings, _) => match settings.status {
            Some(DeviceStatus::Disabled) => AuditAction::DeviceDisabled,
            Some(DeviceStatus::Enabled) => AuditAction::DeviceEnabled,
            None if settings.gives_credentials() => AuditAction::CredentialsReplaced,
            None => AuditAction::DeviceChanged,
        },
    }
}

fn credentials(before: &Authentication, after: &Authentication) -> Vec<&'static str> {
    use Authentication::{SelfSigned, SymmetricKey};
    let slots = |first: bool, second: bool, [one, two]: [&'static str; 2]| -> Vec<&'static str> {
        [(first, one), (second, two)].into_iter().filter_map(|(differs, name)| differs.then_some(name)).collect()
    };
    match (before, after) {
        (SymmetricKey { primary, secondary }, SymmetricKey { primary: new_primary, secondary: new_secondary }) => {
            slots(primary != new_primary, secondary != new_secondary, ["primary key", "secondary key"])
        }
        (SelfSigned { primary, secondary }, SelfSigned { primary: new_primary, secondary: new_secondary }) => {
            slots(primary != new_primary, secondary != new_secondary, ["primary thumbprint", "secondary thumbprint"])
        }
        (before, after) if before == after => Vec::new(),
        _ => vec!["authentication"],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::identity::Hold;
    use crate::core::identity::change::{Precondition, Settings};
    use crate::core::identity::sample::{self, key};

    fn identity() -> DeviceIdentity {
        sample::identity("pump")
    }

    #[test]
    fn a_change_is_named_for_what_weighs_most() {
        let hold = Some(Hold { by: "ada".into(), since: UnixMillis(1) });
        let keys = Authentication::SymmetricKey { primary: key(3), secondary: key(2) };
        let held = DeviceIdentity { hold, status_reason: Some("stolen".into()), authentication: keys.clone(), ..identity() };
        let deed = |before: Option<&DeviceIdentity>, after: Option<&DeviceIdentity>| {
            let deed = deed_of_change(before, after);
            (deed.action, deed.detail.unwrap_or_default())
        };
        assert_eq!(deed(None, Some(&held)), (AuditAction::DeviceCreated, String::new()));
        assert_eq!(deed(Some(&held), None), (AuditAction::DeviceDeleted, String::new()));
        assert_eq!(deed(Some(&identity()), Some(&held)), (AuditAction::DeviceDisabled, "stolen; primary key".into()));
        let held_alone = DeviceIdentity { authentication: identity().authentication, ..held.clone() };
        assert_eq!(deed(Some(&identity()), Some(&held_alone)), (AuditAction::DeviceDisabled, "stolen".into()));
        let enabled = DeviceIdentity { authentication: keys, ..identity() };
        let lifted = deed(Some(&held), Some(&enabled));
        assert_eq!(lifted, (AuditAction::DeviceEnabled, "status, hold, status reason".into()));
        assert_eq!(deed(Some(&identity()), Some(&enabled)), (AuditAction::CredentialsReplaced, "primary key".into()));
        assert_eq!(deed(Some(&enabled), Some(&enabled)), (AuditAction::DeviceChanged, "nothing".into()));
    }

    #[test]
    fn what_was_refused_is_named_for_what_was_asked() {
        let update = |settings| action_asked_for(&Change::Update(settings, Precondition::Any));
        let disable = Settings { status: Some(DeviceStatus::Disabled), primary_key: Some(key(3)), ..Settings::default() };
        assert_eq!(update(disable.clone()), AuditAction::DeviceDisabled);
        assert_eq!(update(Settings { status: Some(DeviceStatus::Enabled), ..disable.clone() }), AuditAction::DeviceEnabled);
        assert_eq!(update(Settings { status: None, ..disable.clone() }), AuditAction::CredentialsReplaced);
        assert_eq!(update(Settings { status_reason: Some(None), ..Settings::default() }), AuditAction::DeviceChanged);
        assert_eq!(action_asked_for(&Change::Create(disable)), AuditAction::DeviceCreated);
        assert_eq!(action_asked_for(&Change::Delete(Precondition::Any)), AuditAction::DeviceDeleted);
    }

    #[test]
    fn nothing_that_is_said_of_a_change_is_a_key() {
        let after = DeviceIdentity { authentication: Authentication::SymmetricKey { primary: key(7), secondary: key(8) }, ..identity() };
        let said = format!("{:?}", deed_of_change(Some(&identity()), Some(&after)));
        assert!((1..9).all(|byte| !said.contains(&key(byte).expose_base64())), "{said}");
    }

    proptest! {
        #[test]
        fn numbers_rise_whatever_the_clock_does(times in proptest::collection::vec(0..1_000_000_000_000_i64, 1..50)) {
            let mut last = AuditId::default();
            for time in times {
                let next = AuditId::after(last, UnixMillis(time));
                prop_assert!(next > last && next >= AuditId::first_at(UnixMillis(time)));
                last = next;
            }
        }

        #[test]
        fn texts_are_short_and_on_one_line(text in ".{0,400}") {
            let shown = plain(text);
            prop_assert!(shown.chars().count() <= TEXT_MAX_CHARACTERS + 1 && !shown.chars().any(char::is_control));
        }
    }
}
