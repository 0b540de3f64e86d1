//! The folder of credentials: a file per device, for its owner alone, with what the device connects with.
//!
//! Owns the files' names and forms. A file is replaced whole, so that a reader sees the old one or the new one; what lies at its name,
//! a link to elsewhere included, is replaced and never followed.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use mooring_crds::device::CredentialsFormat;
use secrecy::zeroize::Zeroizing;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::core::device_id::DeviceId;
use crate::core::identity::Authentication;
use crate::serve::dev::document::device_connection_string;
use crate::serve::private_file::write_private;
use crate::store::modes::{close_to_others, make_private_folder};

/// The folder's name in the data folder.
pub const CREDENTIALS_FOLDER: &str = "credentials";

/// The longest name that is only the id; file systems take 255 bytes.
const PLAIN_NAME_MAX_BYTES: usize = 200;

/// How much of a longer id its name begins with.
const LONG_NAME_START_BYTES: usize = 100;

/// The folder.
#[derive(Debug)]
pub struct CredentialsFolder {
    path: PathBuf,
    host_name: String,
}

/// Credentials can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The folder.
    #[error("the folder of credentials {path} can't be used: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file.
    #[error("the credentials {path} can't be written: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl CredentialsFolder {
    /// The one in the data folder, made if need be. A link is not taken for it.
    pub fn open(data: &Path, host_name: &str) -> Result<Self, CredentialsError> {
        let path = data.join(CREDENTIALS_FOLDER);
        let opened = make_private_folder(&path).and_then(|()| fs::symlink_metadata(&path));
        match opened {
            Ok(metadata) if metadata.is_dir() => {
                close_to_others(&path);
                Ok(Self { path, host_name: host_name.to_owned() })
            }
            Ok(_) => Err(CredentialsError::Folder { path, source: io::Error::from(io::ErrorKind::NotADirectory) }),
            Err(source) => Err(CredentialsError::Folder { path, source }),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sees to it that the device's file holds this. Answers whether it had to be written.
    pub fn keep(&self, id: &DeviceId, authentication: &Authentication, format: CredentialsFormat) -> Result<bool, CredentialsError> {
        let path = self.path.join(file_name(id));
        let wanted = self.text(id, authentication, format);
        if is_kept(&path, wanted.as_bytes()) {
            return Ok(false);
        }
        write_private(&path, wanted.as_bytes()).map_err(|source| CredentialsError::File { path, source })?;
        Ok(true)
    }

    /// Takes the device's file away, if there is one.
    pub fn remove(&self, id: &DeviceId) -> Result<(), CredentialsError> {
        let path = self.path.join(file_name(id));
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(CredentialsError::File { path, source }),
            _ => Ok(()),
        }
    }

    fn text(&self, id: &DeviceId, authentication: &Authentication, format: CredentialsFormat) -> Zeroizing<String> {
        let host = &self.host_name;
        let string = Zeroizing::new(device_connection_string(host, id, authentication));
        Zeroizing::new(match format {
            CredentialsFormat::ConnectionString => format!("{}\n", *string),
            CredentialsFormat::Keys => {
                let mut document = json!({ "hostName": host, "deviceId": id.as_str() });
                if let Authentication::SymmetricKey { primary, secondary } = authentication {
                    document["primaryKey"] = primary.expose_base64().into();
                    document["secondaryKey"] = secondary.expose_base64().into();
                }
                format!("{document:#}\n")
            }
            CredentialsFormat::Env => {
                let variables =
                    [("IOTHUB_DEVICE_CONNECTION_STRING", string.as_str()), ("IOTHUB_HOST_NAME", host), ("IOTHUB_DEVICE_ID", id.as_str())];
                variables.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect()
            }
        })
    }
}

/// For a shell that reads the file: nothing in single quotes means anything but the quote itself.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Whether the file is there, is a file, is its owner's alone, and holds exactly this.
fn is_kept(path: &Path, wanted: &[u8]) -> bool {
    let is_private = |metadata: &fs::Metadata| metadata.is_file() && metadata.mode() & 0o077 == 0 && metadata.len() == wanted.len() as u64;
    fs::symlink_metadata(path).is_ok_and(|metadata| is_private(&metadata))
        && fs::read(path).is_ok_and(|held| Zeroizing::new(held).as_slice() == wanted)
}

/// A name for each id, and never the same for two: letters, digits, `-`, `_` and `.` stay, the rest is percent-encoded, and so is what
/// the file system or [`write_private`] takes for something else. Of one that would be too long there is the beginning and a hash.
fn file_name(id: &DeviceId) -> String {
    let id = id.as_str();
    let tail = if id.ends_with(".new") { id.len() - ".new".len() } else { usize::MAX };
    let mut name = String::with_capacity(id.len());
    for (at, byte) in id.bytes().enumerate() {
        match byte {
            b'.' if at == 0 || at == tail => name.push_str("%2E"),
            byte if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) => name.push(char::from(byte)),
            byte => {
                let _ = write!(name, "%{byte:02X}");
            }
        }
    }
    if name.len() > PLAIN_NAME_MAX_BYTES {
        name.truncate(LONG_NAME_START_BYTES);
        // No plain name has a tilde.
        name.push('~');
        name.extend(Sha256::digest(id).iter().map(|byte| format!("{byte:02x}")));
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use proptest::prelude::*;

    use super::*;
    use crate::core::identity::SymmetricKey;

    fn id(text: &str) -> DeviceId {
        DeviceId::parse(text).unwrap()
    }

    fn keys(byte: u8) -> Authentication {
        let key = |byte| SymmetricKey::from_bytes(vec![byte; 16]).unwrap();
        Authentication::SymmetricKey { primary: key(byte), secondary: key(byte + 1) }
    }

    #[test]
    fn a_file_is_its_owners_alone_and_written_only_when_it_must_be() {
        let data = tempfile::tempdir().unwrap();
        let folder = CredentialsFolder::open(data.path(), "hub.example").unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o700);
        let path = folder.path().join("pump");
        let keep = |byte| folder.keep(&id("pump"), &keys(byte), CredentialsFormat::ConnectionString).unwrap();
        assert!(keep(0) && !keep(0) && keep(1), "it changes with the key");
        assert_eq!(fs::read_to_string(&path).unwrap(), "HostName=hub.example;DeviceId=pump;SharedAccessKey=AQEBAQEBAQEBAQEBAQEBAQ==\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(keep(1), "opened to others, it is closed again");
        fs::remove_file(&path).unwrap();
        assert!(keep(1), "a lost one comes back");
        folder.remove(&id("pump")).unwrap();
        folder.remove(&id("pump")).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn links_are_replaced_and_not_followed() {
        let data = tempfile::tempdir().unwrap();
        let elsewhere = data.path().join("elsewhere");
        fs::write(&elsewhere, "precious").unwrap();
        let folder = CredentialsFolder::open(data.path(), "h").unwrap();
        symlink(&elsewhere, folder.path().join("pump")).unwrap();
        assert!(folder.keep(&id("pump"), &keys(0), CredentialsFormat::Keys).unwrap());
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
        assert!(fs::symlink_metadata(folder.path().join("pump")).unwrap().is_file());

        let other = tempfile::tempdir().unwrap();
        symlink(data.path(), other.path().join(CREDENTIALS_FOLDER)).unwrap();
        assert!(CredentialsFolder::open(other.path(), "h").is_err());
    }

    #[test]
    fn each_format_says_the_same() {
        let data = tempfile::tempdir().unwrap();
        let folder = CredentialsFolder::open(data.path(), "h").unwrap();
        let text = folder.text(&id("a'b"), &keys(0), CredentialsFormat::Env);
        assert!(text.starts_with(r"IOTHUB_DEVICE_CONNECTION_STRING='HostName=h;DeviceId=a'\''b;SharedAccessKey="), "{}", *text);
        let document: serde_json::Value = serde_json::from_str(&folder.text(&id("a"), &keys(0), CredentialsFormat::Keys)).unwrap();
        assert_eq!(document["hostName"], "h");
        assert_eq!(document["secondaryKey"], "AQEBAQEBAQEBAQEBAQEBAQ==");
    }

    #[test]
    fn names_stay_within_the_folder() {
        for (device, name) in
            [("pump-1.a_B", "pump-1.a_B"), ("..", "%2E."), (".hidden", "%2Ehidden"), ("a%b", "a%25b"), ("a.new", "a%2Enew")]
        {
            assert_eq!(file_name(&id(device)), name);
        }
        let long = file_name(&id(&"#".repeat(128)));
        assert!(long.len() <= 200 && long.contains('~'), "{long}");
    }

    proptest! {
        #[test]
        fn no_two_ids_share_a_name(ids in proptest::collection::hash_set("[A-Za-z0-9.%_#*?!(),:;=@$'+-]{1,128}", 2..20)) {
            let names: HashSet<String> = ids.iter().map(|text| file_name(&id(text))).collect();
            prop_assert_eq!(names.len(), ids.len());
            // Nor a name with what `write_private` writes beside it.
            prop_assert!(names.iter().all(|name| !name.ends_with(".new") && !name.starts_with('.') && !name.contains('/') && name.len() <= 200));
        }
    }
}
