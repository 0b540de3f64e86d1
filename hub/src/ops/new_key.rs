//! A new key, for a device or a policy.

use rand::RngCore as _;

use crate::core::identity::SymmetricKey;

/// The length of a key that the hub makes, as Azure's are.
const KEY_BYTES: usize = 32;

/// A new key from the system's randomness.
#[must_use]
pub fn new_key() -> SymmetricKey {
    let mut bytes = vec![0; KEY_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    SymmetricKey::from_bytes(bytes).expect("32 bytes are a key")
}
