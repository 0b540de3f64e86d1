//! The hub's certificate, read from two PEM files and read again when they change.
//!
//! Owns the files' paths and what rustls shows to clients. Never makes a certificate.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::{fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;

use crate::core::time::UnixMillis;

/// The largest certificate or key file taken; a chain of four RSA certificates is a tenth of it.
const FILE_MAX_BYTES: u64 = 64 * 1024;

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the hub's certificate, then those that lead to the root.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

/// The certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file that can't be read.
    #[error("{path} can't be read")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is no certificate or key at all.
    #[error("{path} is too large to be a certificate or a key")]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// No certificate in the file.
    #[error("{path} has no certificate in PEM form")]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// No private key in the file.
    #[error("{path} has no private key in PEM form")]
    NoKey {
        /// Which.
        path: PathBuf,
    },
    /// Each is readable, but they do not go together, or are of a kind that TLS does not know.
    #[error("certificate {certificate} and key {key} can't be used")]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The certificate in use.
#[derive(Debug)]
pub struct ReloadingCertificate {
    files: CertificateFiles,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    /// What the files held, good or not: a damaged pair is reported once, not at every look.
    seen: Result<FileContents, ()>,
    not_after: Option<UnixMillis>,
    authority: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct FileContents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl ReloadingCertificate {
    /// Reads the files.
    pub fn load(files: CertificateFiles) -> Result<Arc<Self>, CertificateError> {
        let contents = FileContents::read(&files)?;
        let key = contents.parse(&files)?;
        let (not_after, authority) = (not_after(&key), authority(&key));
        let current = RwLock::new(Current { key: Arc::new(key), seen: Ok(contents), not_after, authority });
        Ok(Arc::new(Self { files, current }))
    }

    /// Reads the files again if they have changed. `Ok(true)`: another certificate is in use from now on. On an error the old one stays;
    /// the same damage is reported once. Blocks on the disk.
    pub fn reload(&self) -> Result<bool, CertificateError> {
        let read = FileContents::read(&self.files);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let contents = match read {
            Ok(contents) if current.seen.as_ref() == Ok(&contents) => return Ok(false),
            Ok(contents) => contents,
            Err(_) if current.seen.is_err() => return Ok(false),
            Err(error) => {
                current.seen = Err(());
                return Err(error);
            }
        };
        let parsed = contents.parse(&self.files);
        current.seen = Ok(contents);
        let key = parsed?;
        current.not_after = not_after(&key);
        current.authority = authority(&key);
        current.key = Arc::new(key);
        Ok(true)
    }

    /// What to show to a client.
    #[must_use]
    pub fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).key)
    }

    /// Whether the certificate in use is for this host name or IP address.
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        let current = self.current();
        let parsed = current.end_entity_cert().and_then(rustls::server::ParsedCertificate::try_from);
        match (parsed, ServerName::try_from(name)) {
            (Ok(certificate), Ok(name)) => rustls::client::verify_server_name(&certificate, &name).is_ok(),
            _ => false,
        }
    }

    /// When the certificate in use runs out, if it says so in a form that can be read.
    #[must_use]
    pub fn not_after(&self) -> Option<UnixMillis> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).not_after
    }

    /// The authority's certificate, as PEM, if the chain that is shown ends with one that has issued itself: what clients have to trust who
    /// do not trust it already.
    #[must_use]
    pub fn authority(&self) -> Option<String> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).authority.clone()
    }
}

impl FileContents {
    fn read(files: &CertificateFiles) -> Result<Self, CertificateError> {
        Ok(Self { certificate: read_bounded(&files.certificate)?, key: read_bounded(&files.key)? })
    }

    fn parse(&self, files: &CertificateFiles) -> Result<CertifiedKey, CertificateError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|_| CertificateError::NoCertificate { path: files.certificate.clone() })?;
        if chain.is_empty() {
            return Err(CertificateError::NoCertificate { path: files.certificate.clone() });
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| CertificateError::NoKey { path: files.key.clone() })?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|source| CertificateError::Unusable {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            source,
        })
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |source| CertificateError::Read { path: path.to_path_buf(), source };
    if fs::metadata(path).map_err(failed)?.len() > FILE_MAX_BYTES {
        return Err(CertificateError::TooLarge { path: path.to_path_buf() });
    }
    fs::read(path).map_err(failed)
}

fn not_after(key: &CertifiedKey) -> Option<UnixMillis> {
    let (_, certificate) = x509_parser::parse_x509_certificate(key.end_entity_cert().ok()?).ok()?;
    Some(UnixMillis(certificate.validity().not_after.timestamp().saturating_mul(1000)))
}

fn authority(key: &CertifiedKey) -> Option<String> {
    let last = key.cert.last()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(last).ok()?;
    if certificate.subject() != certificate.issuer() {
        return None;
    }
    let text = BASE64.encode(last);
    // RFC 7468 §2: lines of 64 characters, which are ASCII.
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n").collect::<String>();
    Some(format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_pair(folder: &Path, name: &str) -> CertificateFiles {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let files = CertificateFiles { certificate: folder.join("server.pem"), key: folder.join("server.key") };
        fs::write(&files.certificate, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn another_pair_is_taken_and_a_damaged_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = write_pair(folder.path(), "one.example");
        let certificate = ReloadingCertificate::load(files.clone()).unwrap();
        let first = certificate.current().cert.clone();
        assert!(certificate.not_after().is_some());
        assert!(certificate.is_for("one.example") && !certificate.is_for("two.example") && !certificate.is_for("127.0.0.1"));
        assert!(!certificate.reload().unwrap());

        write_pair(folder.path(), "two.example");
        assert!(certificate.reload().unwrap());
        assert_ne!(certificate.current().cert, first);

        let second = certificate.current().cert.clone();
        let good_key = fs::read(&files.key).unwrap();
        fs::write(&files.key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(matches!(certificate.reload(), Err(CertificateError::Unusable { .. })), "another certificate's key");
        assert!(!certificate.reload().unwrap(), "said once");
        fs::remove_file(&files.key).unwrap();
        assert!(matches!(certificate.reload(), Err(CertificateError::Read { .. })));
        assert!(!certificate.reload().unwrap());
        assert_eq!(certificate.current().cert, second);

        fs::write(&files.key, good_key).unwrap();
        assert!(certificate.reload().unwrap());
    }

    #[test]
    fn the_authority_is_the_one_that_has_issued_itself() {
        let folder = tempfile::tempdir().unwrap();
        let files = write_pair(folder.path(), "one.example");
        let own = fs::read_to_string(&files.certificate).unwrap();
        let told = ReloadingCertificate::load(files.clone()).unwrap().authority().unwrap();
        assert_eq!(told.lines().collect::<Vec<_>>(), own.lines().collect::<Vec<_>>(), "it is its own");

        let mut issuer = rcgen::CertificateParams::new(Vec::new()).unwrap();
        issuer.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        issuer.distinguished_name.push(rcgen::DnType::CommonName, "an authority");
        let (issuer_key, key) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
        let root = issuer.self_signed(&issuer_key).unwrap();
        let issuer = rcgen::Issuer::new(issuer, issuer_key);
        let leaf = rcgen::CertificateParams::new(["one.example".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        for (chain, authority) in [(leaf.pem(), None), (leaf.pem() + &root.pem(), Some(root.pem()))] {
            fs::write(&files.certificate, chain).unwrap();
            let told = ReloadingCertificate::load(files.clone()).unwrap().authority();
            let lines = |pem: Option<String>| pem.map(|pem| pem.lines().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(lines(told), lines(authority));
        }
    }

    #[test]
    fn each_damage_has_its_word() {
        let folder = tempfile::tempdir().unwrap();
        let files = write_pair(folder.path(), "one.example");
        fs::write(&files.key, "").unwrap();
        assert!(matches!(ReloadingCertificate::load(files.clone()), Err(CertificateError::NoKey { .. })));
        fs::write(&files.certificate, "not PEM").unwrap();
        assert!(matches!(ReloadingCertificate::load(files.clone()), Err(CertificateError::NoCertificate { .. })));
        fs::write(&files.certificate, vec![b' '; 65 * 1024]).unwrap();
        assert!(matches!(ReloadingCertificate::load(files), Err(CertificateError::TooLarge { .. })));
    }
}
