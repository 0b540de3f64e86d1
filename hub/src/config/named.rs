//! The sections that there may be many of, each with a name that the file gives it: policies, people, authorities of devices; and the issuer
//! that people come from, whose groups have names.

use std::collections::BTreeMap;
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

/// The OpenID Connect issuer whose word is taken on people.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenIdSettings {
    /// Its URL, as it says it itself.
    pub issuer: String,
    /// What this hub is called there.
    pub client_id: String,
    /// A file with the hub's secret there. Absent: it has none.
    pub client_secret_file: Option<PathBuf>,
    /// What is asked for beside `openid`.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    /// The claim that people are called by.
    #[serde(default = "default_name_claim")]
    pub name_claim: String,
    /// The claim with people's groups.
    #[serde(default = "default_groups_claim")]
    pub groups_claim: String,
    /// PEM: who may vouch for the issuer's certificate. Absent: whoever the machine trusts.
    pub authority_file: Option<PathBuf>,
    /// What each group may do.
    #[serde(default)]
    pub groups: BTreeMap<String, GroupRights>,
}

/// What a group may do.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct GroupRights(#[serde(deserialize_with = "value::deserialize")] pub Vec<Right>);

fn default_scopes() -> Vec<String> {
    ["email", "profile"].map(str::to_owned).to_vec()
}

fn default_name_claim() -> String {
    "email".to_owned()
}

fn default_groups_claim() -> String {
    "groups".to_owned()
}
