//! `mooring-hub password-hash`: what the configuration needs of somebody's password.

use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::device::print_line;
use crate::serve::people::password_hash;

/// The longest password taken, in bytes.
const PASSWORD_MAX_BYTES: usize = 1024;

/// Reads a password from standard input and prints its hash, for a person's `password_hash_file`.
///
/// The hash is Argon2id, as a PHC string, with a salt of its own. Takes what it gets up to the end, without the last line break:
/// `mooring-hub password-hash < password.txt > ada.hash`.
#[derive(Debug, Args)]
pub struct PasswordHashCommand {}

impl PasswordHashCommand {
    /// Prints the hash.
    pub fn run(self) -> Result<()> {
        let mut text = Zeroizing::new(String::new());
        let input = std::io::stdin().lock();
        input.take(PASSWORD_MAX_BYTES as u64 + 2).read_to_string(&mut text).context("standard input can't be read")?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        let password = password.strip_suffix('\r').unwrap_or(password);
        ensure!(!password.is_empty(), "there is no password on standard input");
        ensure!(password.len() <= PASSWORD_MAX_BYTES, "a password has at most {PASSWORD_MAX_BYTES} bytes");
        print_line(&password_hash(&SecretString::from(password)))
    }
}
