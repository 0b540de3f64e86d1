//! Random texts that prove something by being known, and what is kept of them: a digest, which proves nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// What is kept of a secret. To compare digests of what an attacker sends says nothing about the secrets, however long it takes.
pub type Digest = [u8; 32];

/// 256 bits that nobody guesses, in letters, digits, `-` and `_`.
pub fn fresh() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// What is kept of it.
pub fn digest(secret: &str) -> Digest {
    Sha256::digest(secret).into()
}
