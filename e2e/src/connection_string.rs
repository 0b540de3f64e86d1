//! Azure's connection strings and the tokens that are signed with them (a second, independent signer).

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// How long a token lives when a story does not care.
const LIFETIME: Duration = Duration::from_secs(3600);

/// `HostName=…;DeviceId=…;SharedAccessKey=…`, or with a policy's name instead of the device's.
#[derive(Clone, Debug)]
pub struct ConnectionString {
    /// The text as it came.
    pub text: String,
    /// `HostName`.
    pub host: String,
    /// `DeviceId`, in a device's.
    pub device_id: Option<String>,
    /// `SharedAccessKeyName`, in a policy's.
    pub policy: Option<String>,
    /// `SharedAccessKey`, in base64.
    pub key: String,
}

impl ConnectionString {
    /// Takes a connection string apart.
    ///
    /// # Errors
    /// When it has no host name or no key.
    pub fn parse(text: &str) -> Result<Self> {
        let field = |name: &str| text.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned);
        Ok(Self {
            text: text.to_owned(),
            host: field("HostName").context("no HostName")?,
            device_id: field("DeviceId"),
            policy: field("SharedAccessKeyName"),
            key: field("SharedAccessKey").context("no SharedAccessKey")?,
        })
    }

    /// The device's id; empty for a policy.
    #[must_use]
    pub fn device(&self) -> &str {
        self.device_id.as_deref().unwrap_or_default()
    }

    /// The same with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { text: self.text.replace(&self.key, key), key: key.to_owned(), ..self.clone() }
    }

    /// A token for everything that this string stands for, good for an hour.
    #[must_use]
    pub fn token(&self) -> String {
        self.token_until(now_s() + LIFETIME.as_secs())
    }

    /// The same, expiring at a given second since 1970.
    #[must_use]
    pub fn token_until(&self, expiry_s: u64) -> String {
        let resource = match &self.device_id {
            Some(device) => format!("{}/devices/{device}", self.host),
            None => self.host.clone(),
        };
        sign(&resource, &self.key, self.policy.as_deref(), expiry_s)
    }

    /// The MQTT user name that goes with a device's token.
    #[must_use]
    pub fn user_name(&self) -> String {
        format!("{}/{}/?api-version=2021-04-12", self.host, self.device())
    }
}

/// `SharedAccessSignature sr=…&sig=…&se=…[&skn=…]`: HMAC-SHA256, with the decoded key, over `sr` as written, a line feed, and `se`.
#[must_use]
pub fn sign(resource: &str, key: &str, policy: Option<&str>, expiry_s: u64) -> String {
    let resource = percent_encode(resource);
    let key = STANDARD.decode(key).expect("a story's key is base64");
    let mut hmac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
    hmac.update(format!("{resource}\n{expiry_s}").as_bytes());
    let signature = percent_encode(&STANDARD.encode(hmac.finalize().into_bytes()));
    let policy = policy.map(|name| format!("&skn={name}")).unwrap_or_default();
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry_s}{policy}")
}

/// Seconds since 1970, by the machine's clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a client has to know the time; only the hub takes it as an argument")]
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}

/// RFC 3986: everything but the unreserved characters.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if unreserved(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recomputed with `openssl dgst -sha256 -mac HMAC -macopt hexkey:…`.
    #[test]
    fn signature_is_what_openssl_computes() {
        let token = sign("hub.mooring.test/devices/d", "AAECAwQFBgcICQoLDA0ODw==", None, 1_700_000_000);
        assert_eq!(token, include_str!("connection_string/golden_token.txt").trim_end());
    }

    #[test]
    fn keys_keep_their_padding() -> Result<()> {
        let parsed = ConnectionString::parse("HostName=h;DeviceId=d;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==")?;
        assert_eq!((parsed.device(), parsed.key.as_str()), ("d", "AAECAwQFBgcICQoLDA0ODw=="));
        Ok(())
    }
}
