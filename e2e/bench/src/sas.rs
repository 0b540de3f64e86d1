//! Device identities and shared access signatures, written from Azure's description of them and not from the hub's code.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::clock;

/// Longer than any run: a token that expired on the way would be a failure of the benchmark, not of the hub.
const TOKEN_LIFETIME_S: u64 = 24 * 3600;
/// Device keys are derived from this and the id: they protect nothing that lives longer than a run.
const KEY_SEED: &[u8] = b"mooring benchmark";
const API_VERSION: &str = "2021-04-12";

/// A device as it introduces itself over MQTT and HTTPS. A server without authentication gets the same bytes.
pub struct Device {
    pub id: String,
    /// Base64, as in a connection string.
    pub key: String,
    pub username: String,
    /// The shared access signature: MQTT's password, and HTTP's `Authorization`.
    pub token: String,
    pub topic: String,
}

impl Device {
    /// The name of the device with this number.
    pub fn id(number: usize) -> String {
        format!("bench-{number:05}")
    }

    /// Where it sends to over AMQP.
    pub fn events(&self) -> String {
        format!("/devices/{}/messages/events", self.id)
    }

    /// Where it receives its commands from over AMQP.
    pub fn commands(&self) -> String {
        format!("/devices/{}/messages/devicebound", self.id)
    }

    pub fn new(host: &str, number: usize) -> Self {
        let id = Self::id(number);
        let key = BASE64.encode(hmac_sha256(KEY_SEED, id.as_bytes()));
        let token = sign(&format!("{host}/devices/{id}"), &key, None);
        Self {
            username: format!("{host}/{id}/?api-version={API_VERSION}&DeviceClientType=mooring-bench"),
            topic: format!("devices/{id}/messages/events/"),
            id,
            key,
            token,
        }
    }
}

/// A new policy key: the run's only secret that a stranger on this machine could use.
pub fn random_key() -> anyhow::Result<String> {
    use std::io::Read as _;
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(BASE64.encode(bytes))
}

/// A token for `resource`, signed with `key` (base64), which is the named policy's key or, without a policy, the device's own.
pub fn sign(resource: &str, key: &str, policy: Option<&str>) -> String {
    let expiry = clock::unix_seconds() + TOKEN_LIFETIME_S;
    sign_until(resource, key, policy, expiry)
}

fn sign_until(resource: &str, key: &str, policy: Option<&str>, expiry: u64) -> String {
    let resource = percent_encode(resource);
    let key = BASE64.decode(key).expect("the benchmark made this key itself, as base64");
    let signature = percent_encode(&BASE64.encode(hmac_sha256(&key, format!("{resource}\n{expiry}").as_bytes())));
    let policy = policy.map(|name| format!("&skn={name}")).unwrap_or_default();
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}{policy}")
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_openssl_says_it_is() {
        // printf 'h%%2Fdevices%%2Fd\n1700000000' | openssl dgst -sha256 -hmac 'secret' -binary | base64
        let token = sign_until("h/devices/d", &BASE64.encode("secret"), Some("device"), 1_700_000_000);
        assert_eq!(
            token,
            "SharedAccessSignature sr=h%2Fdevices%2Fd&sig=aREuxlvhaQIVGnb65jQtrQlUXCD08Hr8Bxo6Pdzafpc%3D&se=1700000000&skn=device"
        );
    }
}
