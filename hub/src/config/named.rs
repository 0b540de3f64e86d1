//! The sections that there may be many of, each with a name that the file gives it: policies, people, authorities of devices.

use std::path::PathBuf;

use serde::Deserialize;

use super::value;
use crate::core::access::Right;
use crate::core::policy::Permission;

/// A shared access policy. The five that every hub has need no section: their keys are generated and kept in the data folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySettings {
    /// What it allows; not for the five that every hub has, for which it is known.
    #[serde(default, deserialize_with = "value::deserialize")]
    pub permissions: Vec<Permission>,
    /// A file with the primary key in Base64.
    pub primary_key_file: PathBuf,
    /// A file with the secondary key in Base64.
    pub secondary_key_file: PathBuf,
}

/// Somebody who signs in to the dashboard with a password.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonSettings {
    /// A file with the hash of the password: a PHC string of Argon2id, as `mooring-hub password-hash` prints it.
    pub password_hash_file: PathBuf,
    /// What she may do.
    #[serde(deserialize_with = "value::deserialize")]
    pub rights: Vec<Right>,
}

/// An authority that issues certificates to devices.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthoritySettings {
    /// PEM: one certificate, or several, any of which may have signed.
    pub file: PathBuf,
    /// Only devices whose id begins so are its own.
    #[serde(default)]
    pub id_prefix: String,
}
