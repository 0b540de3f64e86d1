//! What the schema can't check: what is not there yet, ranges of times, and what a spec refers to. Pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kube::ResourceExt as _;
use mooring_crds::device::{KeysReference, Rotation};
use mooring_crds::iot_hub::{DeviceAuthority, EmbeddedStorage, IssuerReference, Permission, Policy};
use mooring_crds::{GoDuration, IotHub};
use secrecy::SecretString;

use super::certificates;
use super::child::Kind;
use super::dereference::{Facts, entry};
use super::quantity;
use crate::labels::HubChildren;

/// The smallest volume: what is kept free for the registry, and one of the smallest journals.
const VOLUME_MIN_BYTES: u64 = 512 << 20;

/// The smallest journal that a hub takes.
const RETENTION_MIN_BYTES: u64 = 256 << 20;

/// The largest.
const RETENTION_MAX_BYTES: u64 = 1 << 50;

/// Why a hub is not run as its spec has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One CamelCase word.
    pub reason: &'static str,
    /// What to do about it.
    pub message: String,
}

impl Refusal {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// Where the hub's certificate comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum CertificateSource {
    /// Our own authority for this hub.
    SelfSigned,
    /// A Secret that somebody else keeps, by its name.
    Secret(String),
    /// cert-manager.
    Issuer(IssuerReference),
}

/// A policy, with what its spec leaves out.
#[derive(Clone, Debug)]
pub struct ValidPolicy {
    /// Its name.
    pub name: String,
    /// Its Secret.
    pub secret: String,
    /// What it allows, if the spec says so: for built-in ones it is known.
    pub permissions: Option<Vec<Permission>>,
    /// Whether it may read events.
    pub reads_events: bool,
    /// The keys that a Secret brings: primary, secondary.
    pub brought: Option<(SecretString, SecretString)>,
    /// The rotation that is asked for.
    pub rotation: Option<Rotation>,
}

/// What a spec says, checked.
#[derive(Clone, Debug)]
pub struct Valid {
    /// Where the certificate comes from.
    pub certificate: CertificateSource,
    /// The volume.
    pub storage: EmbeddedStorage,
    /// How large events may become.
    pub retention_bytes: u64,
    /// The policies.
    pub policies: Vec<ValidPolicy>,
}

/// Checks it all; the first thing that is wrong counts.
pub fn validate(hub: &IotHub, facts: &Facts) -> Result<Valid, Refusal> {
    let spec = &hub.spec;
    if spec.replicas > 1 {
        let message = "more than one replica needs distributed storage, which is not there yet: set spec.replicas to 1";
        return Err(Refusal::new("ReplicasNotSupported", message));
    }
    let Some(storage) = spec.storage.volume() else {
        return Err(Refusal::new("StorageNotSupported", "distributed storage is not there yet: use spec.storage.embedded"));
    };
    ranges(hub)?;
    let retention_bytes = retention(hub, &storage)?;
    for authority in &spec.device_authorities {
        bundle(authority, facts)?;
    }
    let certificate = certificate(hub, facts)?;
    let policies = spec.policies().iter().map(|policy| valid_policy(hub, policy, facts)).collect::<Result<Vec<_>, _>>()?;
    distinct(hub, &policies)?;
    Ok(Valid { certificate, storage, retention_bytes, policies })
}

fn ranges(hub: &IotHub) -> Result<(), Refusal> {
    const MINUTE: u64 = 60;
    const DAY: u64 = 86_400;
    let spec = &hub.spec;
    let commands = &spec.cloud_to_device;
    let times: [(&str, Option<GoDuration>, u64, u64); 6] = [
        ("retention.time", spec.retention.time, 60 * MINUTE, 3650 * DAY),
        ("cloudToDevice.defaultTtl", commands.default_ttl, MINUTE, 2 * DAY),
        ("cloudToDevice.lockDuration", commands.lock_duration, 5, 5 * MINUTE),
        ("cloudToDevice.feedback.ttl", commands.feedback.ttl, MINUTE, 2 * DAY),
        ("cloudToDevice.feedback.lockDuration", commands.feedback.lock_duration, 5, 5 * MINUTE),
        ("monitoring.offlineAfter", spec.monitoring.offline_after, 10, 3650 * DAY),
    ];
    for (field, time, min, max) in times {
        let Some(time) = time else { continue };
        if !(min..=max).contains(&time.0.as_secs()) {
            let from_seconds = |seconds| GoDuration(std::time::Duration::from_secs(seconds));
            let message = format!("spec.{field} is {time}: give it from {} to {}", from_seconds(min), from_seconds(max));
            return Err(Refusal::new("InvalidSpec", message));
        }
    }
    for source in spec.proxy_protocol.iter().flat_map(|proxy| &proxy.sources) {
        if source.parse::<ipnet::IpNet>().is_err() {
            let message = format!("spec.proxyProtocol.sources has {source:?}, which is no network such as 10.0.0.0/8");
            return Err(Refusal::new("InvalidSpec", message));
        }
    }
    Ok(())
}

fn retention(hub: &IotHub, storage: &EmbeddedStorage) -> Result<u64, Refusal> {
    let volume = quantity::bytes(&storage.size).filter(|bytes| *bytes >= VOLUME_MIN_BYTES).ok_or_else(|| {
        let message = format!("spec.storage.embedded.size is {}: a hub needs at least 512Mi", storage.size.0);
        Refusal::new("InvalidSpec", message)
    })?;
    let Some(size) = &hub.spec.retention.size else {
        return Ok((volume / 10 * 7).clamp(RETENTION_MIN_BYTES, RETENTION_MAX_BYTES));
    };
    match quantity::bytes(size) {
        Some(bytes) if (RETENTION_MIN_BYTES..=volume).contains(&bytes) => Ok(bytes),
        _ => {
            let message = format!("spec.retention.size is {}: give it from 256Mi to the volume's {}", size.0, storage.size.0);
            Err(Refusal::new("InvalidSpec", message))
        }
    }
}

fn certificate(hub: &IotHub, facts: &Facts) -> Result<CertificateSource, Refusal> {
    let tls = &hub.spec.tls;
    if let Some(issuer) = &tls.issuer_ref {
        if !facts.optional_kinds.contains(&Kind::Certificate) {
            let message = "spec.tls.issuerRef needs cert-manager, whose kind Certificate this cluster does not have: install it, or use \
                           selfSigned or secretRef";
            return Err(Refusal::new("CertManagerMissing", message));
        }
        return Ok(CertificateSource::Issuer(issuer.clone()));
    }
    let Some(reference) = &tls.secret_ref else { return Ok(CertificateSource::SelfSigned) };
    let name = &reference.name;
    let secret = facts.secrets.get(name).ok_or_else(|| missing("Secret", name, "spec.tls.secretRef"))?;
    let (chain, key) = (entry(secret, "tls.crt").unwrap_or_default(), entry(secret, "tls.key").unwrap_or_default());
    let Some(facts) = certificates::read(&chain).filter(|_| key.contains("PRIVATE KEY-----")) else {
        let message = format!("the Secret {name} (spec.tls.secretRef) has to hold a certificate in tls.crt and its key in tls.key, in PEM");
        return Err(Refusal::new("SecretInvalid", message));
    };
    if let Err(error) = certificates::fit_together(&chain, &key) {
        let message = format!("in the Secret {name} (spec.tls.secretRef) tls.key is not the key of the certificate in tls.crt: {error}");
        return Err(Refusal::new("SecretInvalid", message));
    }
    let missing: Vec<&str> = hub.spec.hostnames.iter().filter(|host| !facts.is_for(host)).map(String::as_str).collect();
    if !missing.is_empty() {
        let message = format!(
            "the certificate in the Secret {name} (spec.tls.secretRef) is not for {}: have one made for all of spec.hostnames, or take those out",
            missing.join(", ")
        );
        return Err(Refusal::new("CertificateNamesMissing", message));
    }
    Ok(CertificateSource::Secret(name.clone()))
}

fn bundle(authority: &DeviceAuthority, facts: &Facts) -> Result<(), Refusal> {
    let field = format!("spec.deviceAuthorities[{}]", authority.name);
    let (what, reference, text) = match (&authority.config_map_ref, &authority.secret_ref) {
        (Some(reference), _) => {
            let found = facts.config_maps.get(&reference.name).ok_or_else(|| missing("ConfigMap", &reference.name, &field))?;
            ("ConfigMap", reference, found.data.as_ref().and_then(|data| data.get(&reference.key).cloned()))
        }
        (None, Some(reference)) => {
            let found = facts.secrets.get(&reference.name).ok_or_else(|| missing("Secret", &reference.name, &field))?;
            ("Secret", reference, entry(found, &reference.key))
        }
        (None, None) => return Ok(()),
    };
    if text.is_none_or(|text| certificates::count(&text) == 0) {
        let message = format!("the {what} {} ({field}) has no certificate in PEM in its entry {:?}", reference.name, reference.key);
        return Err(Refusal::new(if what == "Secret" { "SecretInvalid" } else { "ConfigMapInvalid" }, message));
    }
    Ok(())
}

fn valid_policy(hub: &IotHub, policy: &Policy, facts: &Facts) -> Result<ValidPolicy, Refusal> {
    let field = format!("spec.policies[{}].keysFrom", policy.name);
    let brought = policy.keys_from.as_ref().map(|keys| brought(keys, &field, facts)).transpose()?;
    let reads_events = match &policy.permissions {
        Some(permissions) => permissions.contains(&Permission::ServiceConnect),
        None => matches!(policy.name.as_str(), "iothubowner" | "service"),
    };
    Ok(ValidPolicy {
        name: policy.name.clone(),
        secret: policy.secret_name.clone().unwrap_or_else(|| HubChildren(&hub.name_any()).policy(&policy.name)),
        permissions: policy.permissions.clone(),
        reads_events,
        brought,
        rotation: policy.rotation.clone(),
    })
}

fn brought(keys: &KeysReference, field: &str, facts: &Facts) -> Result<(SecretString, SecretString), Refusal> {
    let secret = facts.secrets.get(&keys.name).ok_or_else(|| missing("Secret", &keys.name, field))?;
    let key = |name: &String| {
        let text = entry(secret, name).map(|text| text.trim().to_owned()).filter(|text| is_key(text));
        text.map(SecretString::from).ok_or_else(|| {
            let message = format!("the Secret {} ({field}) has to hold a key of 16 to 64 bytes in Base64 in its entry {name:?}", keys.name);
            Refusal::new("SecretInvalid", message)
        })
    };
    Ok((key(&keys.primary_key)?, key(&keys.secondary_key)?))
}

/// Whether the text is a key as hubs take it.
#[must_use]
pub fn is_key(text: &str) -> bool {
    BASE64.decode(text).is_ok_and(|bytes| (16..=64).contains(&bytes.len()))
}

/// No two policies may share a Secret, nor take the name of one that is for something else.
fn distinct(hub: &IotHub, policies: &[ValidPolicy]) -> Result<(), Refusal> {
    let name = hub.name_any();
    let children = HubChildren(&name);
    let mut taken: BTreeMap<String, String> = [
        (children.authority(), "the hub's authority".to_owned()),
        (children.certificate(), "the hub's certificate".to_owned()),
        (children.operator_policy(), "the operator's policy".to_owned()),
    ]
    .into();
    for policy in policies {
        if let Some(other) = taken.insert(policy.secret.clone(), format!("the policy {}", policy.name)) {
            let message = format!("the Secret {} would be for {other} and for the policy {}: set secretName", policy.secret, policy.name);
            return Err(Refusal::new("SecretNameTaken", message));
        }
    }
    Ok(())
}

fn missing(what: &str, name: &str, field: &str) -> Refusal {
    let reason = if what == "Secret" { "SecretMissing" } else { "ConfigMapMissing" };
    Refusal::new(reason, format!("the {what} {name} ({field}) is not there: make it in the hub's namespace"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::Secret;
    use secrecy::ExposeSecret as _;
    use serde_json::{Value, json};

    use super::*;

    fn hub(spec: &Value) -> IotHub {
        let mut whole = json!({ "hostnames": ["hub.example"] });
        whole.as_object_mut().unwrap().append(&mut spec.as_object().unwrap().clone());
        serde_json::from_value(json!({
            "apiVersion": "mooring.dev/v1alpha1", "kind": "IotHub",
            "metadata": { "name": "plant", "namespace": "a" }, "spec": whole,
        }))
        .unwrap()
    }

    fn refusal(spec: &Value, facts: &Facts) -> (&'static str, String) {
        let refusal = validate(&hub(spec), facts).unwrap_err();
        (refusal.reason, refusal.message)
    }

    #[test]
    fn what_is_not_there_yet_is_named() {
        let facts = Facts::default();
        assert_eq!(refusal(&json!({ "replicas": 3 }), &facts).0, "ReplicasNotSupported");
        let distributed = json!({ "distributed": { "registrySecretRef": { "name": "a" }, "eventsSecretRef": { "name": "b" } } });
        assert_eq!(refusal(&json!({ "storage": distributed }), &facts).0, "StorageNotSupported");
        let issuer = json!({ "tls": { "issuerRef": { "name": "letsencrypt" } } });
        assert_eq!(refusal(&issuer, &facts).0, "CertManagerMissing");
        let with_cert_manager = Facts { optional_kinds: BTreeSet::from([Kind::Certificate]), ..Facts::default() };
        assert!(validate(&hub(&issuer), &with_cert_manager).is_ok());
    }

    #[test]
    fn what_is_referred_to_has_to_be_there_and_make_sense() {
        let keys = json!({ "policies": [{ "name": "service", "keysFrom": { "name": "k" } }] });
        let (reason, message) = refusal(&keys, &Facts::default());
        assert_eq!(reason, "SecretMissing");
        assert!(message.contains("spec.policies[service].keysFrom") && message.contains("Secret k"), "{message}");
        let data = |text: &str| [("primaryKey", text), ("secondaryKey", text)].map(|(k, v)| (k.to_owned(), ByteString(v.into()))).into();
        let facts = |text: &str| Facts {
            secrets: [("k".to_owned(), Secret { data: Some(data(text)), ..Secret::default() })].into(),
            ..Facts::default()
        };
        let (reason, message) = refusal(&keys, &facts("hunter2"));
        assert!(reason == "SecretInvalid" && !message.contains("hunter2"), "{message}");
        assert!(validate(&hub(&keys), &facts("AAAAAAAAAAAAAAAAAAAAAA==")).unwrap().policies[0].brought.is_some());
        assert_eq!(refusal(&json!({ "tls": { "secretRef": { "name": "k" } } }), &facts("x")).0, "SecretInvalid");
        let tls = json!({ "hostnames": ["hub.example", "other.example"], "tls": { "secretRef": { "name": "k" } } });
        let issued = |names: &[&str]| {
            let now = jiff::Timestamp::UNIX_EPOCH;
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let pair = certificates::Pair::new_authority("a", now).and_then(|authority| authority.issue(&names, now)).unwrap();
            (pair.certificate, pair.key.expose_secret().to_owned())
        };
        let of = |certificate: &str, key: &str| {
            let data = [("tls.crt", certificate), ("tls.key", key)].map(|(k, v)| (k.to_owned(), ByteString(v.into())));
            let secret = Secret { data: Some(data.into()), ..Secret::default() };
            Facts { secrets: [("k".to_owned(), secret)].into(), ..Facts::default() }
        };
        let (one, two) = (issued(&["hub.example"]), issued(&["*.example"]));
        let (reason, message) = refusal(&tls, &of(&one.0, &one.1));
        assert!(reason == "CertificateNamesMissing" && message.contains("is not for other.example:"), "{message}");
        assert_eq!(refusal(&tls, &of(&two.0, &one.1)).0, "SecretInvalid", "another's key");
        assert!(validate(&hub(&tls), &of(&two.0, &two.1)).is_ok());
        let bundle = json!({ "deviceAuthorities": [{ "name": "maker", "configMapRef": { "name": "roots" } }] });
        assert_eq!(refusal(&bundle, &Facts::default()).0, "ConfigMapMissing");
    }

    #[test]
    fn ranges_and_names_are_checked() {
        let facts = Facts::default();
        let (reason, message) = refusal(&json!({ "retention": { "time": "10m" } }), &facts);
        assert_eq!((reason, message.as_str()), ("InvalidSpec", "spec.retention.time is 10m: give it from 1h to 87600h"));
        assert_eq!(refusal(&json!({ "proxyProtocol": { "sources": ["here"] } }), &facts).0, "InvalidSpec");
        assert_eq!(refusal(&json!({ "storage": { "embedded": { "size": "10Mi" } } }), &facts).0, "InvalidSpec");
        assert_eq!(refusal(&json!({ "retention": { "size": "11Gi" } }), &facts).0, "InvalidSpec");
        let twice = json!({ "policies": [
            { "name": "Reader", "permissions": ["RegistryRead"] }, { "name": "reader", "permissions": ["RegistryRead"] },
        ] });
        assert_eq!(refusal(&twice, &facts).0, "SecretNameTaken");
        assert_eq!(validate(&hub(&json!({})), &facts).unwrap().retention_bytes, 10 * (1 << 30) / 10 * 7);
    }
}
