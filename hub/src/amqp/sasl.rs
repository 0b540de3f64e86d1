//! PLAIN's names and passwords, in all the shapes that Azure's clients have given them.
//!
//! Every other mechanism says nothing here: ANONYMOUS and Microsoft's own MSSBCBS put it off to `$cbs`, EXTERNAL means the certificate.

use crate::core::host::HubNames;

/// Somebody, by a name and a secret, neither of which is proven.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Plain<'a> {
    /// Who.
    pub user: User<'a>,
    /// By what.
    pub password: Password<'a>,
}

/// Who somebody says to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User<'a> {
    /// `{device}@sas.{hub}`: a device of 2015 or 2016.
    Device(&'a str),
    /// `{policy}@sas.root.{hub}`: a back end of those years.
    Policy(&'a str),
    /// A name alone: a policy's, as Event Hubs' clients have it, or a device's, as the first ones did.
    PolicyOrDevice(&'a str),
}

/// What somebody shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Password<'a> {
    /// A shared access signature.
    Token(&'a str),
    /// The policy's key itself, in Base64.
    Key(&'a str),
}

/// An initial response that is not PLAIN's (RFC 4616), or for another hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the initial response of PLAIN is not an authorization, a name and a password for this hub, with a NUL before each of the last two"
)]
pub struct NotPlain;

impl<'a> Plain<'a> {
    /// From PLAIN's initial response.
    pub fn parse(response: &'a [u8], names: &HubNames) -> Result<Self, NotPlain> {
        let text = std::str::from_utf8(response).map_err(|_| NotPlain)?;
        let mut parts = text.split('\0');
        let (Some(_), Some(name), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(NotPlain);
        };
        if name.is_empty() || password.is_empty() {
            return Err(NotPlain);
        }
        let password = if password.starts_with("SharedAccessSignature ") { Password::Token(password) } else { Password::Key(password) };
        Ok(Self { user: User::parse(name, names)?, password })
    }
}

impl<'a> User<'a> {
    /// A device's id may hold an `@`, so the hub's part is what follows the last `@sas.`.
    fn parse(name: &'a str, names: &HubNames) -> Result<Self, NotPlain> {
        let Some((who, realm)) = name.rsplit_once("@sas.") else { return Ok(Self::PolicyOrDevice(name)) };
        let is_ours = |hub: &str| names.include_label(hub);
        match realm.strip_prefix("root.") {
            Some(hub) if is_ours(hub) => Ok(Self::Policy(who)),
            None if is_ours(realm) => Ok(Self::Device(who)),
            _ => Err(NotPlain),
        }
    }
}

impl std::fmt::Debug for Plain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Plain").field("user", &self.user).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Password<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Token(_) => "Token",
            Self::Key(_) => "Key",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "SharedAccessSignature sr=h&sig=x&se=1";

    fn parse(response: &str) -> Result<Plain<'_>, NotPlain> {
        Plain::parse(response.as_bytes(), &HubNames::new("myhub.iothub.test", &[]))
    }

    #[test]
    fn every_shape_is_known() {
        let (token, key) = (Password::Token(TOKEN), Password::Key("a2V5"));
        let cases = [
            (format!("\0D@sas.myhub\0{TOKEN}"), User::Device("D"), token),
            (format!("D@sas.MYHUB\0D@sas.MYHUB\0{TOKEN}"), User::Device("D"), token),
            (format!("\0a@sas.b@sas.myhub\0{TOKEN}"), User::Device("a@sas.b"), token),
            (format!("\0service@sas.root.myhub\0{TOKEN}"), User::Policy("service"), token),
            ("\0service\0a2V5".to_owned(), User::PolicyOrDevice("service"), key),
            (format!("\0D\0{TOKEN}"), User::PolicyOrDevice("D"), token),
        ];
        for (response, user, password) in cases {
            assert!(parse(&response) == Ok(Plain { user, password }), "{response:?}: {:?}", parse(&response));
        }
    }

    #[test]
    fn other_responses_are_not_plain() {
        for response in ["", "\0", "\0policy", "\0\0key", "\0policy\0", "a\0b\0c\0d", "\0D@sas.other\0key", "\0p@sas.root.other\0key"] {
            assert_eq!(parse(response).err(), Some(NotPlain), "{response:?}");
        }
        assert_eq!(Plain::parse(b"\0\xff\0key", &HubNames::new("h", &[])).err(), Some(NotPlain));
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?} {:?}", parse("\0service\0a2V5").unwrap(), Password::Token(TOKEN));
        assert!(!shown.contains("a2V5") && !shown.contains("sig"), "{shown}");
    }
}
