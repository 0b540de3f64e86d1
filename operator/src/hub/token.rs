//! Shared access signatures of the operator's policy: signed here, good for an hour, renewed when half of it is over.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac as _};
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use sha2::Sha256;

/// For how long a token is good. A change stream ends with its token, and is gone on with by the next.
const LIFE: SignedDuration = SignedDuration::from_hours(1);

/// With less than this left, a token is signed anew.
const RENEWED_BELOW: SignedDuration = SignedDuration::from_mins(30);

/// What tokens leave as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A key that is not Base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key of the operator's policy is not Base64; delete the Secret that it is in, and it is made anew")]
pub struct InvalidKey;

/// Signs tokens for one hub.
#[derive(Debug)]
pub struct Signer {
    resource: String,
    policy: String,
    key: SecretSlice<u8>,
    last: Mutex<Option<(SecretString, Timestamp)>>,
}

impl Signer {
    /// For the hub of this name.
    pub fn new(host_name: &str, policy: &str, key: &SecretString) -> Result<Self, InvalidKey> {
        let key = BASE64.decode(key.expose_secret().trim()).map_err(|_| InvalidKey)?;
        Ok(Self { resource: host_name.to_owned(), policy: policy.to_owned(), key: key.into(), last: Mutex::new(None) })
    }

    /// A token that is good for a while yet.
    #[must_use]
    pub fn token(&self, now: Timestamp) -> SecretString {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((token, expiry)) if expiry.duration_since(now) > RENEWED_BELOW && expiry.duration_since(now) <= LIFE => token.clone(),
            _ => {
                let expiry = now.checked_add(LIFE).unwrap_or(now);
                let token = SecretString::from(self.sign(expiry.as_second()));
                *last = Some((token.clone(), expiry));
                token
            }
        }
    }

    fn sign(&self, expiry: i64) -> String {
        let encode = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        let resource = encode(&self.resource);
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose_secret()).expect("HMAC takes keys of any length");
        mac.update(format!("{resource}\n{expiry}").as_bytes());
        let signature = encode(&BASE64.encode(mac.finalize().into_bytes()));
        format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={}", encode(&self.policy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_token_is_azures_and_is_renewed_in_time() {
        let signer = Signer::new("hub.example", "mooring-operator", &SecretString::from("AAAAAAAAAAAAAAAAAAAAAA==")).unwrap();
        let token = |second| signer.token(at(second)).expose_secret().to_owned();
        let first = token(1_700_000_000);
        // By Python: b64encode(hmac.new(bytes(16), b"hub.example\n1700003600", sha256).digest())
        assert!(first.starts_with("SharedAccessSignature sr=hub.example&sig="), "{first}");
        assert!(first.ends_with("&se=1700003600&skn=mooring-operator"), "{first}");
        assert_eq!(token(1_700_001_000), first);
        assert_ne!(token(1_700_001_801), first, "less than half an hour is left");
        assert!(token(1_600_000_000).contains("se=1600003600"), "a clock that was set back");
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let error = Signer::new("h", "p", &SecretString::from("no key!")).unwrap_err().to_string();
        assert!(!error.contains("no key!"));
    }
}
