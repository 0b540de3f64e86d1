//! Device certificates: what a client presented, whose it is, and whether it proves that.
//!
//! Owns the rules for self-signed certificates (the identity knows their thumbprint) and for issued ones (an authority of the hub stands
//! behind them, [`authorities`]). That the client has the private key was proved in the TLS handshake; nothing here is about that. Reads
//! strangers' DER with parsers that are pure functions; knows no file, no clock and no TLS.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use x509_parser::certificate::X509Certificate;

use super::device_id::DeviceId;
use super::time::UnixMillis;

pub mod authorities;

/// The certificates of a chain that are looked at: a device's own and more intermediates than anybody has.
pub const CHAIN_MAX: usize = 6;

/// The bytes of a chain that are kept: six RSA-4096 certificates with room to spare.
pub const CHAIN_MAX_BYTES: usize = 16 * 1024;

/// What a client presented: its own certificate in DER, then those that lead to an authority. Clones share it.
#[derive(Clone, PartialEq, Eq)]
pub struct PresentedChain(Arc<[Bytes]>);

impl PresentedChain {
    /// As much of the chain as the bounds take; a certificate that does not fit ends it.
    #[must_use]
    pub fn new<'a>(certificates: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut room = CHAIN_MAX_BYTES;
        let fits = |certificate: &&[u8]| {
            let left = room.checked_sub(certificate.len());
            room = left.unwrap_or(0);
            left.is_some()
        };
        Self(certificates.into_iter().take(CHAIN_MAX).take_while(fits).map(Bytes::copy_from_slice).collect())
    }

    fn split(&self) -> Result<(&Bytes, &[Bytes]), CertificateRefused> {
        self.0.split_first().ok_or(CertificateRefused::Unreadable)
    }

    /// Proves a device of which the hub knows the thumbprint of its certificate. Both are always compared, and in constant time. The
    /// certificate has to be in its time, although nobody but its holder says what that is: a certificate that was made to end, ends.
    pub fn prove_self_signed(
        &self,
        primary: Option<&Thumbprint>,
        secondary: Option<&Thumbprint>,
        now: UnixMillis,
    ) -> Result<(CertificateFingerprint, UnixMillis), CertificateRefused> {
        let (own, _) = self.split()?;
        let fingerprint = CertificateFingerprint::of(own);
        if !fingerprint.is_one_of(primary, secondary) {
            return Err(CertificateRefused::UnknownThumbprint(Thumbprint::Sha256(fingerprint.sha256)));
        }
        let validity = Validity::of(&parse(own)?);
        validity.check(now)?;
        Ok((fingerprint, validity.not_after))
    }
}

/// Says how much there is, and nothing of it.
impl fmt::Debug for PresentedChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedChain({} certificates)", self.0.len())
    }
}

/// Why a certificate proves nothing. What the certificate says is in it as the stranger wrote it: to be cut and cleaned before it is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefused {
    /// It is too long, or no X.509 certificate.
    #[error("the certificate can't be read")]
    Unreadable,
    /// Self-signed, and not the one that the identity names.
    #[error("its thumbprint {0} is not one of the device's")]
    UnknownThumbprint(Thumbprint),
    /// It begins to hold later.
    #[error("it is not valid before {0}")]
    NotYetValid(UnixMillis),
    /// It holds no more.
    #[error("it expired at {0}")]
    Expired(UnixMillis),
    /// Issued to somebody else, or to nobody, or to several.
    #[error("its common name is {}, not the device's id", .0.as_ref().map_or_else(|| "missing or not single".to_owned(), |name| format!("{name:?}")))]
    OtherCommonName(Option<String>),
    /// No authority of this hub stands behind it.
    #[error("no authority of this hub stands behind it; its issuer is {issuer:?}")]
    UnknownAuthority {
        /// The distinguished name of the last issuer in the chain.
        issuer: String,
    },
    /// The authority that stands behind it may not speak for devices of that name.
    #[error("the authority {authority} stands behind it, but may not speak for this device's name")]
    NameNotAllowed {
        /// Its name in the hub's configuration.
        authority: String,
    },
    /// The chain breaks some other rule: a signature, a purpose, a constraint.
    #[error("its chain does not hold: {0}")]
    Unsound(String),
}

/// How a certificate is named in a registry.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thumbprint {
    /// The older form.
    Sha1([u8; 20]),
    /// The better one: nobody can make two certificates that share it.
    Sha256([u8; 32]),
}

/// A text that is no thumbprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a thumbprint has 40 (SHA-1) or 64 (SHA-256) hexadecimal digits")]
pub struct InvalidThumbprint;

/// Reads hexadecimal digits in either case, also with the colons that OpenSSL prints between bytes.
impl std::str::FromStr for Thumbprint {
    type Err = InvalidThumbprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16)).collect::<Option<Vec<_>>>().ok_or(InvalidThumbprint)?;
        let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).expect("two hexadecimal digits are a byte");
        // An odd digit is left over here, and is too many or too few for either form.
        let bytes: Vec<u8> = digits.chunks_exact(2).map(byte).collect();
        match digits.len() {
            40 => bytes.try_into().map(Self::Sha1).map_err(|_| InvalidThumbprint),
            64 => bytes.try_into().map(Self::Sha256).map_err(|_| InvalidThumbprint),
            _ => Err(InvalidThumbprint),
        }
    }
}

/// In upper case, as Azure's portal and Windows show them.
impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        };
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

/// Both thumbprints of one certificate, so that it can be told whatever form an identity uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateFingerprint {
    sha1: [u8; 20],
    sha256: [u8; 32],
}

impl CertificateFingerprint {
    /// Of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self { sha1: Sha1::digest(certificate).into(), sha256: Sha256::digest(certificate).into() }
    }

    /// The thumbprint to register.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        Thumbprint::Sha256(self.sha256)
    }

    /// Whether one of the two is this certificate's.
    #[must_use]
    pub fn is_one_of(&self, primary: Option<&Thumbprint>, secondary: Option<&Thumbprint>) -> bool {
        let is = |known: Option<&Thumbprint>| match known {
            None => subtle::Choice::from(0),
            Some(Thumbprint::Sha1(known)) => known.ct_eq(&self.sha1),
            Some(Thumbprint::Sha256(known)) => known.ct_eq(&self.sha256),
        };
        bool::from(is(primary) | is(secondary))
    }
}

/// From when until when a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Validity {
    not_before: UnixMillis,
    not_after: UnixMillis,
}

impl Validity {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        // Whole seconds, of which the last one counts to its end (RFC 5280 §4.1.2.5).
        let not_after = validity.not_after.timestamp().saturating_mul(1000).saturating_add(999);
        Self { not_before: UnixMillis(validity.not_before.timestamp().saturating_mul(1000)), not_after: UnixMillis(not_after) }
    }

    fn check(self, now: UnixMillis) -> Result<(), CertificateRefused> {
        if now < self.not_before {
            Err(CertificateRefused::NotYetValid(self.not_before))
        } else if now > self.not_after {
            Err(CertificateRefused::Expired(self.not_after))
        } else {
            Ok(())
        }
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateRefused> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(CertificateRefused::Unreadable),
    }
}

/// Refuses a certificate that is not issued to exactly this device: one common name, and that one to the letter.
fn must_be_issued_to(certificate: &X509Certificate<'_>, device: &DeviceId) -> Result<(), CertificateRefused> {
    let mut names = certificate.subject().iter_common_name();
    let name = match (names.next(), names.next()) {
        (Some(only), None) => only.as_str().ok(),
        _ => None,
    };
    if name == Some(device.as_str()) { Ok(()) } else { Err(CertificateRefused::OtherCommonName(name.map(str::to_owned))) }
}

#[cfg(test)]
pub(crate) mod tests;
