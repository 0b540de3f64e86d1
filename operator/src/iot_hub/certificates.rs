//! Certificates of the hub's own authority: made, read, and told when they have to be made anew.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret as _, SecretString};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::X509Certificate;

/// How long an authority is valid.
const AUTHORITY_DAYS: i64 = 3653;

/// An authority that ends within this time is made anew, with the key that it has: whoever trusts the old one goes on until it ends.
const AUTHORITY_RENEWAL_S: i64 = 365 * 86_400;

/// How long the hub's certificate is valid. It is made anew when two thirds are over.
const CERTIFICATE_DAYS: i64 = 90;

/// Clocks differ: certificates are valid from a day ago.
const BACKDATING_DAYS: i64 = 1;

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate, then those that lead to its root.
    pub certificate: String,
    /// The key.
    pub key: SecretString,
}

/// What is read in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Seconds.
    pub not_before: i64,
    /// Seconds.
    pub not_after: i64,
    /// DNS names and IP addresses.
    pub names: BTreeSet<String>,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    key: Vec<u8>,
    key_identifier: Option<Vec<u8>>,
    authority_key_identifier: Option<Vec<u8>>,
}

impl Facts {
    /// Whether a client that looks for this name finds it; a wildcard stands for one label.
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        let is = |other: &str| self.names.iter().any(|own| own.eq_ignore_ascii_case(other));
        let is_address = name.parse::<IpAddr>().is_ok();
        is(name) || name.split_once('.').is_some_and(|(_, parent)| !is_address && is(&format!("*.{parent}")))
    }
}

/// What the first certificate of a PEM text says; `None` when there is none.
#[must_use]
pub fn read(pem: &str) -> Option<Facts> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
    let identifiers = identifiers(&certificate);
    let names = match certificate.subject_alternative_name() {
        Ok(Some(alternative)) => alternative.value.general_names.iter().filter_map(name_of).collect(),
        _ => BTreeSet::new(),
    };
    Some(Facts {
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        names,
        subject: certificate.subject().as_raw().to_vec(),
        issuer: certificate.issuer().as_raw().to_vec(),
        key: certificate.public_key().raw.to_vec(),
        key_identifier: identifiers.0,
        authority_key_identifier: identifiers.1,
    })
}

/// Whether the key is the first certificate's, and one that a hub can sign with.
pub fn fit_together(certificates: &str, key: &str) -> Result<(), rustls::Error> {
    let unreadable = |error| rustls::Error::General(format!("{error}"));
    let chain = CertificateDer::pem_slice_iter(certificates.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(unreadable)?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider()).map(|_| ())
}

/// How many certificates a PEM text has.
#[must_use]
pub fn count(pem: &str) -> usize {
    CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).count()
}

/// Those of a chain that stand behind its first certificate.
#[must_use]
pub fn behind_first(pem: &str) -> String {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    pem.match_indices(BEGIN).nth(1).map_or_else(String::new, |(at, _)| pem[at..].to_owned())
}

impl Pair {
    /// A new authority. The date tells authorities apart for a person; the key identifier does for programs.
    pub fn new_authority(hub: &str, now: Timestamp) -> Result<Self, rcgen::Error> {
        Self::authority_of(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?, hub, now)
    }

    /// The authority with the same key, from now on.
    pub fn renewed_authority(&self, hub: &str, now: Timestamp) -> Result<Self, rcgen::Error> {
        Self::authority_of(&KeyPair::from_pem(self.key.expose_secret())?, hub, now)
    }

    fn authority_of(key: &KeyPair, hub: &str, now: Timestamp) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        set_validity(&mut params, now, AUTHORITY_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("Mooring authority of {hub}"));
        let certificate = params.self_signed(key)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem().into() })
    }

    /// A certificate for a hub of these names.
    pub fn issue(&self, names: &BTreeSet<String>, now: Timestamp) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        set_validity(&mut params, now, CERTIFICATE_DAYS);
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse::<IpAddr>() {
                Ok(address) => Ok(SanType::IpAddress(address)),
                Err(_) => Ok(SanType::DnsName(name.as_str().try_into()?)),
            })
            .collect::<Result<_, rcgen::Error>>()?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Mooring hub");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let authority_key = KeyPair::from_pem(self.key.expose_secret())?;
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, &authority_key)?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem().into() })
    }

    /// Whether this is a certificate and the key for it.
    #[must_use]
    pub fn belongs_together(&self) -> bool {
        let key = KeyPair::from_pem(self.key.expose_secret()).ok();
        let facts = read(&self.certificate);
        key.zip(facts).is_some_and(|(key, facts)| rcgen::PublicKeyData::subject_public_key_info(&key) == facts.key)
    }

    /// Whether this authority is to be made anew.
    #[must_use]
    pub fn authority_ends_soon(&self, now: Timestamp) -> bool {
        read(&self.certificate).is_none_or(|facts| facts.not_after < now.as_second() + AUTHORITY_RENEWAL_S)
    }

    /// Whether the certificate is for exactly these names, of this authority, and not to be renewed yet.
    #[must_use]
    pub fn is_good(&self, authority: &Self, names: &BTreeSet<String>, now: Timestamp) -> bool {
        let (Some(facts), Some(issuer)) = (read(&self.certificate), read(&authority.certificate)) else { return false };
        let is_issued = facts.issuer == issuer.subject
            && facts.authority_key_identifier.is_some()
            && facts.authority_key_identifier == issuer.key_identifier;
        let renewed_from = facts.not_before + (facts.not_after - facts.not_before) / 3 * 2;
        is_issued && facts.names == *names && (facts.not_before..renewed_from).contains(&now.as_second()) && self.belongs_together()
    }
}

fn name_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(host) => Some((*host).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => bytes.first_chunk::<4>().map(|octets| IpAddr::from(*octets).to_string()),
            16 => bytes.first_chunk::<16>().map(|octets| IpAddr::from(*octets).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// (the certificate's own key identifier, its authority's)
fn identifiers(certificate: &X509Certificate<'_>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let (mut own, mut authority) = (None, None);
    for extension in certificate.iter_extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(identifier) => own = Some(identifier.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(identifier) => authority = identifier.key_identifier.as_ref().map(|key| key.0.to_vec()),
            _ => {}
        }
    }
    (own, authority)
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, days: i64) {
    let day = |days: i64| {
        let timestamp = Timestamp::from_second(now.as_second() + days * 86_400).unwrap_or(now);
        let date = timestamp.to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = day(-BACKDATING_DAYS);
    params.not_after = day(days);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(days: i64) -> Timestamp {
        Timestamp::from_second(1_795_435_200 + days * 86_400).unwrap()
    }

    #[test]
    fn a_certificate_is_good_for_two_thirds_of_its_life_for_its_names_and_of_its_authority() {
        let names: BTreeSet<String> = ["hub.example", "192.0.2.1"].map(str::to_owned).into();
        let authority = Pair::new_authority("a/plant", after(0)).unwrap();
        let certificate = authority.issue(&names, after(0)).unwrap();
        assert!(certificate.is_good(&authority, &names, after(59)));
        assert!(!certificate.is_good(&authority, &names, after(60)));
        assert!(!certificate.is_good(&authority, &["hub.example".to_owned()].into(), after(1)), "other names");
        let other = Pair::new_authority("a/plant", after(0)).unwrap();
        assert!(!certificate.is_good(&other, &names, after(1)), "another authority of the same name");
        let mixed = Pair { certificate: certificate.certificate, key: authority.key.clone() };
        assert!(!mixed.is_good(&authority, &names, after(1)), "another key");
    }

    #[test]
    fn names_and_keys_are_told_apart() {
        let names: BTreeSet<String> = ["hub.example", "*.plants.example", "192.0.2.1"].map(str::to_owned).into();
        let authority = Pair::new_authority("a/plant", after(0)).unwrap();
        let certificate = authority.issue(&names, after(0)).unwrap();
        let facts = read(&certificate.certificate).unwrap();
        assert!(["hub.example", "HUB.example", "north.plants.example", "192.0.2.1"].into_iter().all(|name| facts.is_for(name)));
        assert!(!["example", "plants.example", "a.b.plants.example", "192.0.2.2"].into_iter().any(|name| facts.is_for(name)));
        fit_together(&certificate.certificate, certificate.key.expose_secret()).unwrap();
        fit_together(&certificate.certificate, authority.key.expose_secret()).unwrap_err();
        fit_together(&certificate.certificate, "no key").unwrap_err();
    }

    #[test]
    fn an_authority_is_renewed_with_its_key() {
        let authority = Pair::new_authority("a/plant", after(0)).unwrap();
        assert!(!authority.authority_ends_soon(after(9 * 365)) && authority.authority_ends_soon(after(9 * 365 + 30)));
        let names: BTreeSet<String> = ["hub.example".to_owned()].into();
        let certificate = authority.issue(&names, after(0)).unwrap();
        let renewed = authority.renewed_authority("a/plant", after(1)).unwrap();
        assert!(certificate.is_good(&renewed, &names, after(2)), "what the old one issued is the new one's too");
        assert_eq!(count(&behind_first(&format!("{}{}", certificate.certificate, authority.certificate))), 1);
    }
}
