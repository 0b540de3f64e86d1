//! The files with the authorities that issue certificates to devices: read at the start, and again when they change.
//!
//! Owns the files' paths. Never judges a certificate of a device.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{fs, io};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::config::settings::AuthoritySettings;
use crate::core::certificate::authorities::{Authorities, Authority, InvalidAuthority};

/// The largest file taken: a hundred authorities, and more than anybody should believe.
const FILE_MAX_BYTES: u64 = 256 * 1024;

/// An authority can't be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file that can't be read.
    #[error("the file {path} of the device authority {name} can't be read")]
    Read {
        /// Whose.
        name: String,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is no bundle of certificates at all.
    #[error("the file {path} of the device authority {name} is too large")]
    TooLarge {
        /// Whose.
        name: String,
        /// Which.
        path: PathBuf,
    },
    /// A file without certificates in PEM form.
    #[error("the file {path} of the device authority {name} is not in PEM form")]
    NotPem {
        /// Whose.
        name: String,
        /// Which.
        path: PathBuf,
    },
    /// Its certificates can't be an authority's.
    #[error("the file {path} of the device authority {name} can't be used: {source}")]
    Invalid {
        /// Whose.
        name: String,
        /// Which.
        path: PathBuf,
        /// Why.
        source: InvalidAuthority,
    },
}

/// The authorities as they were read last.
#[derive(Debug)]
pub struct FollowedAuthorities(Vec<Followed>);

#[derive(Debug)]
struct Followed {
    name: String,
    settings: AuthoritySettings,
    current: Authority,
    /// What the file held at the last look, good or not: a damaged file is reported once. `None` when it could not be read.
    seen: Option<Vec<u8>>,
}

impl FollowedAuthorities {
    /// Reads every file.
    pub fn load(configured: &BTreeMap<String, AuthoritySettings>) -> Result<Self, AuthorityError> {
        let read = |(name, settings): (&String, &AuthoritySettings)| {
            let bytes = read(name, settings)?;
            let current = parse(name, settings, &bytes)?;
            Ok(Followed { name: name.clone(), settings: settings.clone(), current, seen: Some(bytes) })
        };
        configured.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// All of them, as they are in use.
    #[must_use]
    pub fn current(&self) -> Authorities {
        self.0.iter().map(|followed| followed.current.clone()).collect()
    }

    /// Reads the files that have changed. Answers the names of those that are in use in another form from now on, and what is wrong with
    /// the others: a broken file keeps what was there, and is named once. Blocks on the disk.
    pub fn reload(&mut self) -> (Vec<String>, Vec<AuthorityError>) {
        let (mut changed, mut broken) = (Vec::new(), Vec::new());
        for followed in &mut self.0 {
            match followed.reload() {
                Ok(true) => changed.push(followed.name.clone()),
                Ok(false) => {}
                Err(error) => broken.push(error),
            }
        }
        (changed, broken)
    }
}

impl Followed {
    fn reload(&mut self) -> Result<bool, AuthorityError> {
        let bytes = match read(&self.name, &self.settings) {
            Ok(bytes) if self.seen.as_ref() == Some(&bytes) => return Ok(false),
            Ok(bytes) => bytes,
            Err(_) if self.seen.is_none() => return Ok(false),
            Err(error) => {
                self.seen = None;
                return Err(error);
            }
        };
        let parsed = parse(&self.name, &self.settings, &bytes);
        self.seen = Some(bytes);
        self.current = parsed?;
        Ok(true)
    }
}

fn read(name: &str, settings: &AuthoritySettings) -> Result<Vec<u8>, AuthorityError> {
    let path = &settings.file;
    let failed = |source| AuthorityError::Read { name: name.to_owned(), path: path.clone(), source };
    if fs::metadata(path).map_err(failed)?.len() > FILE_MAX_BYTES {
        return Err(AuthorityError::TooLarge { name: name.to_owned(), path: path.clone() });
    }
    fs::read(path).map_err(failed)
}

fn parse(name: &str, settings: &AuthoritySettings, bytes: &[u8]) -> Result<Authority, AuthorityError> {
    let path = || settings.file.clone();
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| AuthorityError::NotPem { name: name.to_owned(), path: path() })?;
    Authority::new(name, &settings.id_prefix, &certificates).map_err(|source| AuthorityError::Invalid {
        name: name.to_owned(),
        path: path(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    fn write_authority(path: &Path) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        fs::write(path, &pem).unwrap();
        pem.into_bytes()
    }

    fn configured(file: &Path) -> BTreeMap<String, AuthoritySettings> {
        [("plant".to_owned(), AuthoritySettings { file: file.to_path_buf(), id_prefix: "pump-".to_owned() })].into()
    }

    #[test]
    fn another_file_is_taken_and_a_broken_one_keeps_the_old_one_and_is_named_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let first = write_authority(&path);
        let mut followed = FollowedAuthorities::load(&configured(&path)).unwrap();
        assert!(matches!(followed.reload(), (changed, broken) if changed.is_empty() && broken.is_empty()));

        write_authority(&path);
        assert!(matches!(followed.reload(), (changed, broken) if changed == ["plant"] && broken.is_empty()));
        for damaged in [&b"half written"[..], b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(followed.reload(), (changed, broken) if changed.is_empty() && broken.len() == 1));
            assert!(matches!(followed.reload(), (changed, broken) if changed.is_empty() && broken.is_empty()), "named once");
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(followed.reload(), (_, broken) if matches!(broken[..], [AuthorityError::Read { .. }])));
        assert!(matches!(followed.reload(), (_, broken) if broken.is_empty()), "named once");
        fs::write(&path, first).unwrap();
        assert!(matches!(followed.reload(), (changed, _) if changed == ["plant"]));
    }

    #[test]
    fn what_signs_no_certificates_is_no_authority() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        fs::write(&path, rcgen::generate_simple_self_signed(["device".to_owned()]).unwrap().cert.pem()).unwrap();
        let error = FollowedAuthorities::load(&configured(&path)).unwrap_err().to_string();
        assert!(error.contains("plant") && error.contains("CA:TRUE"), "{error}");
        fs::write(&path, vec![b' '; 300 * 1024]).unwrap();
        assert!(matches!(FollowedAuthorities::load(&configured(&path)), Err(AuthorityError::TooLarge { .. })));
    }
}
