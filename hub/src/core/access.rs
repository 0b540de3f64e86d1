//! What somebody who is signed in may do, and what each part of our own API asks for.

use std::fmt;

use super::policy::Permission;

/// One thing that a person may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// See the fleet, its connections, commands and receipts, without bodies and without secrets.
    Read,
    /// Read the bodies of messages and of commands.
    Bodies,
    /// Send commands, send them again, purge them.
    Commands,
    /// Change devices: enable, disable, rotate, delete.
    Devices,
    /// See devices' keys.
    Secrets,
}

impl Right {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Read, Self::Bodies, Self::Commands, Self::Devices, Self::Secrets];

    /// The name in settings and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Bodies => "Bodies",
            Self::Commands => "Commands",
            Self::Devices => "Devices",
            Self::Secrets => "Secrets",
        }
    }

    /// The subresource of an `IotHub` that stands for it on Kubernetes.
    #[must_use]
    pub fn subresource(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Bodies => "bodies",
            Self::Commands => "commands",
            Self::Devices => "devices",
            Self::Secrets => "secrets",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that is no right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a right; there are Read, Bodies, Commands, Devices and Secrets")]
pub struct UnknownRight(pub String);

/// The names, without case.
impl std::str::FromStr for Right {
    type Err = UnknownRight;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|right| right.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| UnknownRight(text.to_owned()))
    }
}

/// A set of rights. Whoever may do anything may read: a person who changes what she can't see would do harm.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// None.
    pub const NONE: Self = Self(0);

    /// Every one.
    #[must_use]
    pub fn all() -> Self {
        Right::ALL.into_iter().collect()
    }

    /// Whether `right` is among them.
    #[must_use]
    pub fn have(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }

    /// Whether all of `others` are among them.
    #[must_use]
    pub fn include(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One by one.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |right| self.have(*right))
    }
}

/// With Read, unless there is none at all.
impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        match rights.into_iter().fold(0, |bits, right| bits | right.bit()) {
            0 => Self::NONE,
            bits => Self(bits | Right::Read.bit()),
        }
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// With commas between them.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, right) in self.iter().enumerate() {
            write!(f, "{}{right}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// What a part of our own API asks of whoever calls it: a permission of a policy, or a right of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To see identities, connections, refusals, the audit.
    SeeFleet,
    /// To see commands and receipts, without their bodies.
    SeeCommands,
    /// To read bodies.
    ReadBodies,
    /// To send commands and purge them.
    SendCommands,
    /// To change identities.
    ChangeDevices,
    /// To be shown keys.
    SeeSecrets,
}

impl Need {
    /// What a policy has to allow.
    #[must_use]
    pub fn permission(self) -> Permission {
        match self {
            Self::SeeFleet | Self::SeeSecrets => Permission::RegistryRead,
            Self::SeeCommands | Self::ReadBodies | Self::SendCommands => Permission::ServiceConnect,
            Self::ChangeDevices => Permission::RegistryWrite,
        }
    }

    /// What a person has to have.
    #[must_use]
    pub fn right(self) -> Right {
        match self {
            Self::SeeFleet | Self::SeeCommands => Right::Read,
            Self::ReadBodies => Right::Bodies,
            Self::SendCommands => Right::Commands,
            Self::ChangeDevices => Right::Devices,
            Self::SeeSecrets => Right::Secrets,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rights() -> impl Strategy<Value = Vec<Right>> {
        proptest::sample::subsequence(Right::ALL.to_vec(), 0..=5)
    }

    proptest! {
        #[test]
        fn a_set_holds_what_was_put_in_and_read(chosen in rights(), others in rights()) {
            let (set, other): (Rights, Rights) = (chosen.iter().copied().collect(), others.iter().copied().collect());
            for right in Right::ALL {
                prop_assert_eq!(set.have(right), chosen.contains(&right) || (right == Right::Read && !chosen.is_empty()));
            }
            prop_assert_eq!(set.include(other), other.iter().all(|right| set.have(right)));
            prop_assert_eq!(set.iter().collect::<Rights>(), set);
            prop_assert!(set.include(Rights::NONE) && Rights::all().include(set));
        }
    }

    #[test]
    fn names_are_read_back() {
        for right in Right::ALL {
            assert_eq!(right.name().to_lowercase().parse(), Ok(right));
        }
        assert!("Write".parse::<Right>().is_err());
        assert_eq!([Right::Devices, Right::Bodies].into_iter().collect::<Rights>().to_string(), "Read, Bodies, Devices");
    }
}
