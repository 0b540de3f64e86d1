//! Shared access signatures: reading a token, checking who signed it, and what it speaks for.
//!
//! Never decides what a policy or a device may do; that is [`super::policy`] and the verbs.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac as _};
use percent_encoding::percent_decode_str;
use sha2::Sha256;

use super::host::HubNames;
use super::identity::SymmetricKey;
use super::time::UnixMillis;

/// How long after its expiry a token is still taken, and a session it opened still lives. Small, because `se` is what its signer
/// wanted: a device whose clock is behind asks for a shorter session, not for a refused one.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// The longest token. Azure's have some 200 bytes; ids and host names can each be percent-encoded to three times their length.
pub const TOKEN_MAX_BYTES: usize = 4096;

const PREFIX: &str = "SharedAccessSignature ";

/// Event Hubs' own for Python, Node.js and Go; for Java; for .NET.
const EVENT_HUBS_SCHEMES: [&str; 3] = ["sb", "amqp", "amqps"];

/// Where events are read, as a path in the hub.
const EVENTS_PATH: [&str; 2] = ["messages", "events"];

/// A token, taken apart. `sr` and `se` stay as they arrived, since the signature covers exactly that.
#[derive(Clone, Debug)]
pub struct SasToken<'a> {
    resource: &'a str,
    expiry_text: &'a str,
    signature: [u8; 32],
    /// When it runs out: the integer seconds of `se`.
    pub expiry: UnixMillis,
    /// `skn`: the shared access policy whose key signed it; absent when a device's own key did.
    pub policy: Option<Cow<'a, str>>,
}

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedToken {
    /// Longer than [`TOKEN_MAX_BYTES`].
    #[error("the token is longer than {TOKEN_MAX_BYTES} bytes")]
    TooLong,
    /// It begins with something else.
    #[error("the token does not begin with \"SharedAccessSignature \"")]
    Prefix,
    /// A field without `=`, or the same field twice.
    #[error("the token's fields are not name=value, each once")]
    Field,
    /// `sr`, `sig` or `se` is missing.
    #[error("the token has no {0}")]
    Missing(&'static str),
    /// `se` is not a number of seconds.
    #[error("the token's se is not a number of seconds since 1970")]
    Expiry,
    /// `sig` is not 32 bytes in percent-encoded Base64.
    #[error("the token's sig is not a percent-encoded Base64 text of 32 bytes")]
    Signature,
    /// `skn` is not UTF-8.
    #[error("the token's skn is not percent-encoded UTF-8")]
    Policy,
}

impl<'a> SasToken<'a> {
    /// Takes a token apart: `SharedAccessSignature ` and `sr`, `sig`, `se`, optional `skn`, joined by `&`, in any order.
    pub fn parse(text: &'a str) -> Result<Self, MalformedToken> {
        if text.len() > TOKEN_MAX_BYTES {
            return Err(MalformedToken::TooLong);
        }
        let fields = text.strip_prefix(PREFIX).ok_or(MalformedToken::Prefix)?;
        let (mut sr, mut sig, mut se, mut skn) = (None, None, None, None);
        for field in fields.split('&') {
            let (name, value) = field.split_once('=').ok_or(MalformedToken::Field)?;
            let slot = match name {
                "sr" => &mut sr,
                "sig" => &mut sig,
                "se" => &mut se,
                "skn" => &mut skn,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(MalformedToken::Field);
            }
        }
        let expiry_text = se.ok_or(MalformedToken::Missing("se"))?;
        let seconds: i64 = expiry_text.parse().map_err(|_| MalformedToken::Expiry)?;
        Ok(Self {
            resource: sr.ok_or(MalformedToken::Missing("sr"))?,
            expiry_text,
            signature: decode_signature(sig.ok_or(MalformedToken::Missing("sig"))?)?,
            expiry: UnixMillis(seconds.saturating_mul(1000)),
            policy: skn
                .filter(|name| !name.is_empty())
                .map(|name| percent_decode_str(name).decode_utf8().map_err(|_| MalformedToken::Policy))
                .transpose()?,
        })
    }

    /// Whether `key` signed it: HMAC-SHA256 over `sr`, a line feed and `se`, each as it arrived; compared in constant time.
    #[must_use]
    pub fn is_signed_with(&self, key: &SymmetricKey) -> bool {
        mac(key.expose(), self.resource, self.expiry_text).verify_slice(&self.signature).is_ok()
    }

    /// Whether the Base64 text of `key` signed it, undecoded, as Event Hubs' clients take their keys; compared in constant time.
    #[must_use]
    pub fn is_signed_with_text_of(&self, key: &SymmetricKey) -> bool {
        mac(key.expose_base64().as_bytes(), self.resource, self.expiry_text).verify_slice(&self.signature).is_ok()
    }

    /// Whether its `sr` is written as Event Hubs' clients write theirs, with one of AMQP's schemes: `sb://`, `amqp://`, `amqps://`.
    #[must_use]
    pub fn is_for_event_hubs(&self) -> bool {
        let is_amqps = |scheme: &str| EVENT_HUBS_SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known));
        self.resource().split_once("://").is_some_and(|(scheme, _)| is_amqps(scheme))
    }

    /// How long ago it ran out by the hub's clock, beyond [`CLOCK_TOLERANCE`]; `None` while it is good.
    #[must_use]
    pub fn expired_for(&self, now: UnixMillis) -> Option<Duration> {
        (now > self.good_until()).then(|| now.since(self.expiry))
    }

    /// The last moment at which it, and a session it opened, is good.
    #[must_use]
    pub fn good_until(&self) -> UnixMillis {
        self.expiry.plus(CLOCK_TOLERANCE)
    }

    /// `sr`, for people.
    #[must_use]
    pub fn resource(&self) -> Cow<'a, str> {
        percent_decode_str(self.resource).decode_utf8_lossy()
    }

    /// Whether its `sr` is the hub or a prefix, segment by segment, of `/devices/{device_id}`. Host and fixed segments are compared
    /// without case. The documented algorithm of 2015 lower-cases the whole resource, id included, and some clients don't encode it:
    /// both are taken from a token signed with the device's own key, which can't speak for another device anyway.
    #[must_use]
    pub fn covers_device(&self, names: &HubNames, device_id: &str) -> bool {
        let own_key = self.policy.is_none();
        let is_id = |segment: &str| segment == device_id || (own_key && segment == device_id.to_ascii_lowercase());
        let covers = |resource: &str| match *segments_within(names, resource).as_deref().unwrap_or(&["another host"]) {
            [] => true,
            [devices] => devices.eq_ignore_ascii_case("devices"),
            [devices, id] => devices.eq_ignore_ascii_case("devices") && is_id(id),
            _ => false,
        };
        covers(&self.resource()) || (own_key && covers(self.resource))
    }

    /// Whether its `sr` is the hub as a whole, or a prefix of `path` (as in `devices/D` or `messages/events`) in it. Case does not count
    /// but in what follows `devices`, which is an id. Event Hubs' clients say the Event Hub-compatible name for `messages/events`.
    #[must_use]
    pub fn covers_path(&self, names: &HubNames, path: &str) -> bool {
        let resource = self.resource();
        let Some(signed) = self.segments(names, &resource) else { return false };
        let wanted: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let is_id = |at: usize| at == 1 && wanted[0].eq_ignore_ascii_case("devices");
        let fits = |(at, segment): (usize, &&str)| match wanted.get(at) {
            Some(other) if is_id(at) => other == segment,
            Some(other) => other.eq_ignore_ascii_case(segment),
            None => false,
        };
        signed.iter().enumerate().all(fits)
    }

    /// What its `sr` is in this hub, as a path that [`Self::covers_path`] understands; `None` when it is for another host.
    #[must_use]
    pub fn path(&self, names: &HubNames) -> Option<String> {
        self.segments(names, &self.resource()).map(|segments| segments.join("/"))
    }

    fn segments<'r>(&self, names: &HubNames, resource: &'r str) -> Option<Vec<&'r str>> {
        let mut segments = segments_within(names, resource)?;
        if self.is_for_event_hubs() && segments.first().is_some_and(|name| names.include_label(name)) {
            segments.splice(0..1, EVENTS_PATH);
        }
        Some(segments)
    }
}

/// The text of a new token.
#[must_use]
pub fn sign(resource: &str, expiry: UnixMillis, key: &SymmetricKey, policy: Option<&str>) -> String {
    const RESERVED: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let encode = |text: &str| percent_encoding::utf8_percent_encode(text, RESERVED).to_string();
    let (sr, se) = (encode(resource), expiry.0.div_euclid(1000).to_string());
    let signature = BASE64.encode(mac(key.expose(), &sr, &se).finalize().into_bytes());
    let skn = policy.map(|name| format!("&skn={}", encode(name))).unwrap_or_default();
    format!("{PREFIX}sr={sr}&sig={}&se={se}{skn}", encode(&signature))
}

fn mac(key: &[u8], sr: &str, se: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(sr.as_bytes());
    mac.update(b"\n");
    mac.update(se.as_bytes());
    mac
}

/// `+` stays `+`: some clients leave it and `/` unescaped.
fn decode_signature(text: &str) -> Result<[u8; 32], MalformedToken> {
    let base64 = percent_decode_str(text).collect::<Vec<u8>>();
    BASE64.decode(base64).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(MalformedToken::Signature)
}

/// The segments of `resource` below this hub, or `None` when it names another. A scheme, and the parameters that old samples
/// append as a last segment (`H/devices/D/api-version=…`), say nothing about the resource.
fn segments_within<'r>(names: &HubNames, resource: &'r str) -> Option<Vec<&'r str>> {
    let path = resource.split_once("://").map_or(resource, |(_, rest)| rest);
    let below = match path.strip_prefix('/') {
        Some(below) => below,
        None => {
            let (host, below) = path.split_once('/').unwrap_or((path, ""));
            names.contain(host).then_some(below)?
        }
    };
    let mut segments: Vec<&str> = below.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.len() > 2 && segments.last().is_some_and(|last| last.starts_with("api-version=")) {
        segments.pop();
    }
    Some(segments)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> SymmetricKey {
        SymmetricKey::from_bytes(vec![byte; 32]).unwrap()
    }

    fn names() -> HubNames {
        HubNames::new("hub.example", &["old.azure-devices.net".into()])
    }

    fn raw(sr: &str, skn: &str) -> String {
        let signature = BASE64.encode(mac(key(1).expose(), sr, "100").finalize().into_bytes());
        // As Python's service client does: `/` stays, `+` and `=` are escaped.
        format!("{PREFIX}sr={sr}&sig={}&se=100{skn}", signature.replace('+', "%2B").replace('=', "%3d"))
    }

    #[test]
    fn the_signature_covers_the_text_as_it_arrived() {
        for sr in ["hub.example%2Fdevices%2FD", "hub.example%2fdevices%2fD", "hub.example/devices/D", "HUB.example"] {
            let text = raw(sr, "");
            let token = SasToken::parse(&text).unwrap();
            assert!(token.is_signed_with(&key(1)), "{sr}");
            assert!(!token.is_signed_with(&key(2)), "{sr}");
            assert!(token.covers_device(&names(), "D"), "{sr}");
        }
    }

    #[test]
    fn every_spelling_of_a_device_is_understood() {
        for (sr, covers) in [
            ("hub.example", true),
            ("hub.example:8883", true),
            ("old.azure-devices.net/devices/Dev-1", true),
            ("https://hub.example/devices/Dev-1", true),
            ("hub.example/devices", true),
            ("hub.example/DEVICES/Dev-1", true),
            ("hub.example/devices/dev-1", true),
            ("/devices/Dev-1", true),
            ("hub.example/devices/Dev-1/api-version=2016-11-14", true),
            ("hub.example/devices/Dev-1/", true),
            ("hub.example/devices/Dev-10", false),
            ("hub.example/devices/Dev", false),
            ("hub.example/devices/Dev-1/messages/events", false),
            ("another.example/devices/Dev-1", false),
            ("hub.example.another", false),
        ] {
            let text = raw(sr, "");
            assert_eq!(SasToken::parse(&text).unwrap().covers_device(&names(), "Dev-1"), covers, "{sr}");
        }
    }

    #[test]
    fn a_policy_token_names_the_device_exactly() {
        for (sr, covers) in [("hub.example/devices/Dev-1", true), ("hub.example/devices/dev-1", false), ("hub.example", true)] {
            let text = raw(sr, "&skn=device");
            let token = SasToken::parse(&text).unwrap();
            assert_eq!(token.policy.as_deref(), Some("device"));
            assert_eq!(token.covers_device(&names(), "Dev-1"), covers, "{sr}");
        }
    }

    #[test]
    fn an_id_with_a_percent_sign_is_found_encoded_or_not() {
        for sr in ["hub.example%2Fdevices%2Fa%2541", "hub.example/devices/a%41"] {
            let text = raw(sr, "");
            assert!(SasToken::parse(&text).unwrap().covers_device(&names(), "a%41"), "{sr}");
        }
    }

    #[test]
    fn a_service_token_covers_what_it_was_signed_for() {
        for (sr, path, covers) in [
            ("hub.example", "devices", true),
            ("hub.example/devices", "devices", true),
            ("hub.example/messages", "devices", false),
            ("hub.example/Devices/Dev-1", "/devices/Dev-1", true),
            ("hub.example/devices/dev-1", "/devices/Dev-1", false),
            ("hub.example/messages/events", "messages/Events", true),
            ("hub.example/messages/events/x", "messages/events", false),
        ] {
            let text = raw(sr, "&skn=service");
            assert_eq!(SasToken::parse(&text).unwrap().covers_path(&names(), path), covers, "{sr}");
        }
    }

    #[test]
    fn event_hubs_tokens_are_signed_with_the_keys_text() {
        // Computed by Python's hmac and by `openssl dgst -sha256 -mac HMAC -macopt key:AQEB…`.
        let token = "SharedAccessSignature sr=sb%3A%2F%2Fhub.example%2Fhub&sig=7XAB7sF9qkY%2FL2Dfrw5ZotlXyskWhJeLohsD0O3D%2B2s%3D\
            &se=1700000060&skn=service";
        let java = "SharedAccessSignature sr=amqp%3A%2F%2Fhub.example%2Fhub%2FConsumerGroups%2F%24Default%2FPartitions%2F0\
            &sig=vR2Bz7CRvbZ5gPiNlb4o3sIR%2Bk8lg%2Fo5SJ%2Bk1%2BwD16o%3D&se=1700000060&skn=service";
        for text in [token, java] {
            let token = SasToken::parse(text).unwrap();
            assert!(token.is_for_event_hubs() && token.is_signed_with_text_of(&key(1)), "{text}");
            assert!(!token.is_signed_with(&key(1)) && !token.is_signed_with_text_of(&key(2)), "{text}");
        }
        for sr in ["hub.example", "hub.example%2Fdevices%2FD", "https%3A%2F%2Fhub.example"] {
            assert!(!SasToken::parse(&raw(sr, "")).unwrap().is_for_event_hubs(), "{sr}");
        }
    }

    #[test]
    fn an_event_hub_is_the_place_where_events_are_read() {
        let partition = "messages/events/ConsumerGroups/$Default/Partitions/0";
        for (sr, path, covers) in [
            ("sb://hub.example/hub", partition, true),
            ("sb://HUB.example/Hub/consumergroups/$default", partition, true),
            ("amqp://hub.example/hub/ConsumerGroups/$Default/Partitions/0", partition, true),
            ("amqps://hub.example/messages/events", partition, true),
            ("sb://hub.example", partition, true),
            ("sb://hub.example/old/$management", "messages/events/$management", true),
            ("hub.example/messages/events", partition, true),
            ("sb://hub.example/hub/ConsumerGroups/$Default/Partitions/1", partition, false),
            ("sb://hub.example/hub/ConsumerGroups/$Default", "messages/events/$management", false),
            ("sb://hub.example/other", partition, false),
            ("sb://other.example/hub", partition, false),
            // Without one of AMQP's schemes it is a path like any other.
            ("hub.example/hub", partition, false),
            ("sb://hub.example/hub", "devices/D", false),
        ] {
            let text = raw(sr, "&skn=service");
            assert_eq!(SasToken::parse(&text).unwrap().covers_path(&names(), path), covers, "{sr}");
        }
        let path = |sr| SasToken::parse(&raw(sr, "&skn=service")).unwrap().path(&names());
        assert_eq!(path("sb://hub.example/hub/$management").as_deref(), Some("messages/events/$management"));
        assert_eq!(path("https://hub.example").as_deref(), Some(""));
        assert_eq!(path("sb://other.example/hub"), None);
    }

    #[test]
    fn a_token_is_good_until_its_expiry_and_the_tolerance() {
        let text = raw("hub.example", "");
        let token = SasToken::parse(&text).unwrap();
        assert_eq!(token.expired_for(UnixMillis(105_000)), None);
        assert_eq!(token.expired_for(UnixMillis(142_000)), Some(Duration::from_secs(42)));
    }

    #[test]
    fn what_is_no_token_is_named() {
        let good = raw("hub.example", "");
        for (text, error) in [
            ("Bearer x".to_owned(), MalformedToken::Prefix),
            (format!("{good}&sr=again"), MalformedToken::Field),
            (good.replace("&se=100", ""), MalformedToken::Missing("se")),
            (good.replace("se=100", "se=1e3"), MalformedToken::Expiry),
            (good.replace("sig=", "sig=x"), MalformedToken::Signature),
            (format!("{good}{}", "x".repeat(TOKEN_MAX_BYTES)), MalformedToken::TooLong),
        ] {
            assert_eq!(SasToken::parse(&text).unwrap_err(), error, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_signed_is_read_back(device in "[A-Za-z0-9%#?+._:@$'=,!()*-]{1,40}", seconds in 0i64..4_000_000_000, bytes in proptest::collection::vec(any::<u8>(), 16..=64)) {
            let key = SymmetricKey::from_bytes(bytes).unwrap();
            let text = sign(&format!("hub.example/devices/{device}"), UnixMillis(seconds * 1000), &key, None);
            let token = SasToken::parse(&text).unwrap();
            prop_assert!(token.is_signed_with(&key));
            prop_assert_eq!(token.expiry, UnixMillis(seconds * 1000));
            prop_assert!(token.covers_device(&names(), &device));
        }

        #[test]
        fn garbage_is_refused_without_a_panic(text in "\\PC{0,200}") {
            let _ = SasToken::parse(&text);
            let _ = SasToken::parse(&format!("{PREFIX}{text}"));
        }
    }
}
