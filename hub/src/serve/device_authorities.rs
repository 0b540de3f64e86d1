//! The files with the authorities that issue certificates to devices: read at the start, and again when they change.
//!
//! Owns the files' paths. Never judges a certificate of a device.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{fs, io};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use super::settling::Settling;
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
    /// A damaged file is reported once.
    settling: Settling,
}

/// What a look at the files has found.
#[derive(Debug, Default)]
pub struct Found {
    /// The names of those that are in use in another form from now on.
    pub changed: Vec<String>,
    /// What is wrong with others, which stay as they were; each is named once.
    pub broken: Vec<AuthorityError>,
    /// Whether a file has changed since the last look, so that it may still be written: it counts when it looks the same again.
    pub unsettled: bool,
}

impl FollowedAuthorities {
    /// Reads every file.
    pub fn load(configured: &BTreeMap<String, AuthoritySettings>) -> Result<Self, AuthorityError> {
        let read = |(name, settings): (&String, &AuthoritySettings)| {
            let bytes = read(name, settings)?;
            let current = parse(name, settings, &bytes)?;
            Ok(Followed { name: name.clone(), settings: settings.clone(), current, settling: Settling::new(Some(digest(&bytes))) })
        };
        configured.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// All of them, as they are in use.
    #[must_use]
    pub fn current(&self) -> Authorities {
        self.0.iter().map(|followed| followed.current.clone()).collect()
    }

    /// Looks at the files. Blocks on the disk.
    pub fn look(&mut self) -> Found {
        let mut found = Found::default();
        for followed in &mut self.0 {
            match followed.look() {
                Ok(true) => found.changed.push(followed.name.clone()),
                Ok(false) => found.unsettled |= followed.settling.is_unsettled(),
                Err(error) => found.broken.push(error),
            }
        }
        found
    }
}

impl Followed {
    /// Says whether it is in use in another form from now on.
    fn look(&mut self) -> Result<bool, AuthorityError> {
        let read = read(&self.name, &self.settings);
        let contents = read.as_ref().ok().map(|bytes| digest(bytes));
        if !self.settling.have_changed(contents) {
            return Ok(false);
        }
        self.current = parse(&self.name, &self.settings, &read?)?;
        Ok(true)
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
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

    fn nothing(found: &Found) -> bool {
        found.changed.is_empty() && found.broken.is_empty() && !found.unsettled
    }

    /// Looks until the files have settled.
    fn settled(followed: &mut FollowedAuthorities) -> Found {
        assert!(followed.look().unsettled, "it may be about to be written");
        followed.look()
    }

    #[test]
    fn another_file_is_taken_and_a_broken_one_keeps_the_old_one_and_is_named_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let first = write_authority(&path);
        let mut followed = FollowedAuthorities::load(&configured(&path)).unwrap();
        assert!(nothing(&followed.look()));

        write_authority(&path);
        assert!(settled(&mut followed).changed == ["plant"]);
        for damaged in [&b"half written"[..], b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            fs::write(&path, damaged).unwrap();
            let found = settled(&mut followed);
            assert!(found.changed.is_empty() && found.broken.len() == 1);
            assert!(nothing(&followed.look()), "named once");
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(settled(&mut followed).broken[..], [AuthorityError::Read { .. }]));
        assert!(nothing(&followed.look()), "named once");
        fs::write(&path, first).unwrap();
        assert!(settled(&mut followed).changed == ["plant"]);
    }

    #[test]
    fn a_file_is_taken_once_it_looks_the_same_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let first = write_authority(&path);
        let mut followed = FollowedAuthorities::load(&configured(&path)).unwrap();
        let second = write_authority(&path);
        assert!(followed.look().unsettled);
        // So far it was the half of it.
        fs::write(&path, [&*second, &first].concat()).unwrap();
        let found = followed.look();
        assert!(found.unsettled && found.changed.is_empty(), "it has changed again");
        let found = followed.look();
        assert!(!found.unsettled && found.changed == ["plant"]);
        fs::write(&path, &first).unwrap();
        assert!(followed.look().unsettled);
        fs::write(&path, [&*second, &first].concat()).unwrap();
        assert!(nothing(&followed.look()), "somebody thought better of it");
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
