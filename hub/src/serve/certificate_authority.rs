//! The laptop's certificate authority: one that can speak for the hub's own names and for nothing else, so that trusting it is no risk.
//!
//! Owns the files in `DATA/tls`. Keeps what is there while it is valid and fits the names; makes it anew when not.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::private_file::{write_private, write_public};
use crate::config::HostName;
use crate::core::time::UnixMillis;
use crate::net::CertificateFiles;
use crate::store::modes;

/// How long an authority and its certificates are valid.
const VALIDITY_DAYS: i64 = 90;

/// What runs out within this time is made anew at the start.
const RENEWAL_DAYS: i64 = 7;

/// Clocks of test machines differ: certificates are valid from a day ago.
const BACKDATING_DAYS: i64 = 1;

/// What the authority left in its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevelopmentCertificates {
    /// PEM: the authority's certificate, which clients have to trust.
    pub authority: PathBuf,
    /// The hub's certificate and key.
    pub server: CertificateFiles,
    /// Whether clients that trusted the authority of an earlier run have to be given this one.
    pub authority_is_new: bool,
}

/// No certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificateAuthorityError {
    /// A file that can't be written.
    #[error("{path} can't be written")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate that can't be made.
    #[error("the certificate can't be made")]
    Make(#[from] rcgen::Error),
}

/// Certificates for `names` and the local names, kept from the run before or made now.
pub fn certificates_for(folder: &Path, names: &[HostName], now: UnixMillis) -> Result<DevelopmentCertificates, CertificateAuthorityError> {
    let names = Names::with_local(names);
    // Certificates are for everybody; keys are not, nor is the right to put others in their place.
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(folder);
    made.map_err(|source| CertificateAuthorityError::Write { path: folder.to_path_buf(), source })?;
    let files = Files::of(folder);
    modes::close_to_others(&files.authority_key);
    modes::close_to_others(&files.server_key);
    let kept = Authority::read(&files).filter(|authority| authority.still_fits(&names, now));
    let authority_is_new = kept.is_none();
    let authority = match kept {
        Some(authority) => authority,
        None => Authority::make(&names, now)?.write(&files)?,
    };
    if authority_is_new || !server_still_fits(&files, &authority, &names, now) {
        authority.issue(&names, now)?.write(&files)?;
    }
    let server = CertificateFiles { certificate: files.server_certificate, key: files.server_key };
    Ok(DevelopmentCertificates { authority: files.authority_certificate, server, authority_is_new })
}

struct Files {
    authority_certificate: PathBuf,
    authority_key: PathBuf,
    server_certificate: PathBuf,
    server_key: PathBuf,
}

impl Files {
    fn of(folder: &Path) -> Self {
        Self {
            authority_certificate: folder.join("ca.pem"),
            authority_key: folder.join("ca.key"),
            server_certificate: folder.join("server.pem"),
            server_key: folder.join("server.key"),
        }
    }
}

/// Host names and IP addresses, in the form certificates have them: this machine's own and the given ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    hosts: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

impl Names {
    fn with_local(names: &[HostName]) -> Self {
        let mut all = Self {
            hosts: BTreeSet::from(["localhost".to_owned()]),
            addresses: BTreeSet::from([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        };
        for name in names {
            match name.address() {
                Some(address) => all.addresses.insert(address),
                None => all.hosts.insert(name.as_str().to_owned()),
            };
        }
        all
    }

    fn alternative_names(&self) -> Result<Vec<SanType>, rcgen::Error> {
        let hosts = self.hosts.iter().map(|host| Ok(SanType::DnsName(host.as_str().try_into()?)));
        hosts.chain(self.addresses.iter().map(|address| Ok(SanType::IpAddress(*address)))).collect()
    }

    fn subtrees(&self) -> Vec<GeneralSubtree> {
        let hosts = self.hosts.iter().map(|host| GeneralSubtree::DnsName(host.clone()));
        let addresses = self.addresses.iter().map(|address| {
            let whole = if address.is_ipv4() { 32 } else { 128 };
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, whole))
        });
        hosts.chain(addresses).collect()
    }

    /// The names among these general names, with addresses as a certificate (4 or 16 bytes) or a constraint (twice that, with a mask)
    /// has them.
    fn read<'a>(names: impl Iterator<Item = &'a GeneralName<'a>>) -> Self {
        let mut all = Self::default();
        for name in names {
            match name {
                GeneralName::DNSName(host) => {
                    all.hosts.insert((*host).to_owned());
                }
                GeneralName::IPAddress(bytes) => all.addresses.extend(address_of(bytes)),
                _ => {}
            }
        }
        all
    }

    fn contain(&self, others: &Self) -> bool {
        self.hosts.is_superset(&others.hosts) && self.addresses.is_superset(&others.addresses)
    }
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 | 8 => bytes.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        16 | 32 => bytes.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
}

struct Authority {
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    fn make(names: &Names, now: UnixMillis) -> Result<Self, CertificateAuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        set_validity(&mut params, now);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = Some(NameConstraints { permitted_subtrees: names.subtrees(), excluded_subtrees: vec![] });
        // The date tells authorities apart for a person; the key identifier does for programs.
        let since = now.to_string().chars().take(10).collect::<String>();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("Mooring development authority of {since}"));
        let certificate = params.self_signed(&key)?;
        Ok(Self { certificate_pem: certificate.pem(), certificate: certificate.der().clone(), key })
    }

    fn read(files: &Files) -> Option<Self> {
        let certificate_pem = fs::read_to_string(&files.authority_certificate).ok()?;
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).ok()?;
        let key = KeyPair::from_pem(&fs::read_to_string(&files.authority_key).ok()?).ok()?;
        Some(Self { certificate_pem, certificate, key })
    }

    fn write(self, files: &Files) -> Result<Self, CertificateAuthorityError> {
        write(write_private, &files.authority_key, &self.key.serialize_pem())?;
        write(write_public, &files.authority_certificate, &self.certificate_pem)?;
        Ok(self)
    }

    fn still_fits(&self, names: &Names, now: UnixMillis) -> bool {
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(&self.certificate) else { return false };
        let permitted = match certificate.name_constraints() {
            Ok(Some(constraints)) => Names::read(constraints.value.permitted_subtrees.iter().flatten().map(|subtree| &subtree.base)),
            _ => return false,
        };
        let same_key = rcgen::PublicKeyData::subject_public_key_info(&self.key) == certificate.public_key().raw;
        same_key && permitted.contain(names) && is_valid_long_enough(&certificate, now)
    }

    fn issue(&self, names: &Names, now: UnixMillis) -> Result<Issued, CertificateAuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        set_validity(&mut params, now);
        params.subject_alt_names = names.alternative_names()?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Mooring development hub");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key)?;
        let certificate = params.signed_by(&key, &issuer)?;
        // The authority is shown beside it, so that whoever gets started can be told whom to trust.
        Ok(Issued { certificate_pem: certificate.pem() + &self.certificate_pem, key_pem: key.serialize_pem() })
    }
}

struct Issued {
    certificate_pem: String,
    key_pem: String,
}

impl Issued {
    fn write(self, files: &Files) -> Result<(), CertificateAuthorityError> {
        write(write_private, &files.server_key, &self.key_pem)?;
        write(write_public, &files.server_certificate, &self.certificate_pem)
    }
}

/// Whether the hub's certificate is for exactly these names, of this authority, valid, and has authority and key beside it.
fn server_still_fits(files: &Files, authority: &Authority, names: &Names, now: UnixMillis) -> bool {
    let Ok(pem) = fs::read(&files.server_certificate) else { return false };
    let Ok(chain) = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() else { return false };
    let [der, shown] = chain.as_slice() else { return false };
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else { return false };
    let Ok((_, issuer)) = x509_parser::parse_x509_certificate(&authority.certificate) else { return false };
    let key = fs::read_to_string(&files.server_key).ok().and_then(|pem| KeyPair::from_pem(&pem).ok());
    let same_key = key.is_some_and(|key| rcgen::PublicKeyData::subject_public_key_info(&key) == certificate.public_key().raw);
    let own_names = match certificate.subject_alternative_name() {
        Ok(Some(alternative)) => Names::read(alternative.value.general_names.iter()),
        _ => return false,
    };
    let is_issued = certificate.issuer().as_raw() == issuer.subject().as_raw() && key_identifiers_match(&certificate, &issuer);
    same_key && own_names == *names && is_issued && *shown == authority.certificate && is_valid_long_enough(&certificate, now)
}

/// Whether the certificate names the authority's key as its issuer's. (Both are files of ours: a signature check would find nothing more.)
fn key_identifiers_match(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    use x509_parser::extensions::ParsedExtension;
    let wanted = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(identifier) => identifier.key_identifier.as_ref(),
        _ => None,
    });
    let found = issuer.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier),
        _ => None,
    });
    wanted.is_some() && wanted == found
}

fn is_valid_long_enough(certificate: &X509Certificate<'_>, now: UnixMillis) -> bool {
    let now_s = now.0.div_euclid(1000);
    certificate.validity().not_before.timestamp() <= now_s && certificate.validity().not_after.timestamp() >= now_s + RENEWAL_DAYS * 86_400
}

fn set_validity(params: &mut CertificateParams, now: UnixMillis) {
    let day = |days: i64| {
        let timestamp = jiff::Timestamp::from_millisecond(now.0 + days * 86_400_000).unwrap_or_default();
        let date = timestamp.to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = day(-BACKDATING_DAYS);
    params.not_after = day(VALIDITY_DAYS);
}

fn write(how: fn(&Path, &[u8]) -> io::Result<()>, path: &Path, contents: &str) -> Result<(), CertificateAuthorityError> {
    how(path, contents.as_bytes()).map_err(|source| CertificateAuthorityError::Write { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    /// 2026-11-23T12:00:00Z
    const NOW: UnixMillis = UnixMillis(1_795_435_200_000);

    fn owned(names: &[&str]) -> Vec<HostName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn read_all(made: &DevelopmentCertificates) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        (fs::read(&made.authority).unwrap(), fs::read(&made.server.certificate).unwrap(), fs::read(&made.server.key).unwrap())
    }

    #[test]
    fn certificates_are_kept_while_they_are_valid_and_fit() {
        let folder = tempfile::tempdir().unwrap();
        let first = certificates_for(folder.path(), &owned(&["Hub.Example", "192.0.2.1"]), NOW).unwrap();
        assert!(first.authority_is_new);
        let (authority, server, _) = read_all(&first);

        let again = certificates_for(folder.path(), &owned(&["192.0.2.1", "hub.example"]), NOW.plus(80 * DAY)).unwrap();
        assert!(!again.authority_is_new);
        assert_eq!(read_all(&again), read_all(&first));

        let fewer = certificates_for(folder.path(), &[], NOW).unwrap();
        assert!(!fewer.authority_is_new, "an authority for more names is as good");
        assert_eq!(read_all(&fewer).0, authority);
        assert_ne!(read_all(&fewer).1, server);

        let more = certificates_for(folder.path(), &owned(&["other.example"]), NOW).unwrap();
        assert!(more.authority_is_new);
        let (authority, server, _) = read_all(&more);

        let later = certificates_for(folder.path(), &owned(&["other.example"]), NOW.plus(84 * DAY)).unwrap();
        assert!(later.authority_is_new);
        assert!(read_all(&later).0 != authority && read_all(&later).1 != server);
    }

    #[test]
    fn what_is_damaged_or_does_not_belong_together_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let made = certificates_for(folder.path(), &[], NOW).unwrap();
        for (file, authority_changes) in [("server.key", false), ("server.pem", false), ("ca.key", true), ("ca.pem", true)] {
            let authority = read_all(&made).0;
            fs::write(folder.path().join(file), KeyPair::generate().unwrap().serialize_pem()).unwrap();
            let repaired = certificates_for(folder.path(), &[], NOW).unwrap();
            assert_eq!(repaired.authority_is_new, authority_changes, "{file}");
            assert_eq!(read_all(&repaired).0 != authority, authority_changes, "{file}");
            assert!(crate::net::ReloadingCertificate::load(repaired.server).is_ok(), "{file}");
        }
    }

    #[test]
    fn the_authority_is_shown_beside_the_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let made = certificates_for(folder.path(), &[], NOW).unwrap();
        let (authority, server, key) = read_all(&made);
        assert!(server.ends_with(&authority) && server.len() > authority.len());

        let alone = &server[..server.len() - authority.len()];
        fs::write(&made.server.certificate, alone).unwrap();
        let again = read_all(&certificates_for(folder.path(), &[], NOW).unwrap());
        assert!(
            again.0 == authority && again.1.ends_with(&authority) && again.2 != key,
            "one without it, of an earlier version, is issued anew"
        );
    }

    #[test]
    fn keys_are_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        certificates_for(folder.path(), &[], NOW).unwrap();
        for key in ["ca.key", "server.key"] {
            assert_eq!(fs::metadata(folder.path().join(key)).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    /// OpenSSL, which Python, Ruby, curl and most devices use, is the judge: the right names pass, and the authority can't be abused.
    #[test]
    fn openssl_accepts_the_names_and_keeps_the_authority_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let made = certificates_for(folder.path(), &owned(&["hub.example", "192.0.2.1"]), NOW).unwrap();
        let verify = |options: &[&str], certificate: &Path| {
            let output = Command::new("openssl")
                .args(["verify", "-x509_strict", "-purpose", "sslserver", "-attime", "1795435200", "-CAfile"])
                .arg(&made.authority)
                .args(options)
                .arg(certificate)
                .output()
                .unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        for host in ["localhost", "hub.example"] {
            let (fine, words) = verify(&["-verify_hostname", host], &made.server.certificate);
            assert!(fine, "{host}: {words}");
        }
        for address in ["127.0.0.1", "::1", "192.0.2.1"] {
            let (fine, words) = verify(&["-verify_ip", address], &made.server.certificate);
            assert!(fine, "{address}: {words}");
        }
        assert!(!verify(&["-verify_hostname", "other.example"], &made.server.certificate).0);

        let authority = Authority::read(&Files::of(folder.path())).unwrap();
        let forged = authority.issue(&Names::with_local(&owned(&["bank.example"])), NOW).unwrap();
        let forgery = folder.path().join("forged.pem");
        fs::write(&forgery, forged.certificate_pem).unwrap();
        let (fine, words) = verify(&[], &forgery);
        assert!(!fine && words.contains("permitted subtree violation"), "{words}");
    }
}
