//! The Secrets of a hub: its authority and certificate, and one for each policy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::Plan;
use crate::iot_hub::child::{Child, Kind};
use crate::iot_hub::dereference::POLICY;
use crate::iot_hub::material::{Keys, ROTATION_BEGUN, ROTATION_REQUESTED, signing_key};
use crate::labels::{HubChildren, OPERATOR_POLICY};

/// All of them.
#[must_use]
pub fn secrets(plan: Plan<'_>) -> Vec<Child> {
    let name = plan.name();
    let children = HubChildren(&name);
    let mut secrets = Vec::new();
    if let Some(authority) = &plan.material.authority {
        let entries = [("ca.crt", authority.certificate.as_str()), ("ca.key", authority.key.expose_secret())];
        secrets.push(plan.retained(Kind::Secret, &children.authority(), json!({ "type": "Opaque", "data": data(&entries) })));
    }
    if let Some((authority, certificate)) = plan.material.authority.as_ref().zip(plan.material.certificate.as_ref()) {
        let entries = [
            ("ca.crt", authority.certificate.as_str()),
            ("tls.crt", certificate.certificate.as_str()),
            ("tls.key", certificate.key.expose_secret()),
        ];
        let secret = json!({ "type": "kubernetes.io/tls", "data": data(&entries) });
        secrets.push(plan.child(Kind::Secret, &children.certificate(), secret));
    }
    for policy in &plan.valid.policies {
        if let Some(keys) = plan.material.policies.get(&policy.name) {
            secrets.push(policy_secret(plan, &policy.name, &policy.secret, keys, policy.reads_events));
        }
    }
    secrets.push(policy_secret(plan, OPERATOR_POLICY, &children.operator_policy(), &plan.material.operator, false));
    secrets
}

fn policy_secret(plan: Plan<'_>, policy: &str, secret: &str, keys: &Keys, reads_events: bool) -> Child {
    let host = plan.hub.spec.hostnames.first().map_or("", String::as_str);
    let (primary, secondary) = (keys.primary.expose_secret(), keys.secondary.expose_secret());
    let known = signing_key(keys, plan.now);
    let known = known.expose_secret();
    let connection = format!("HostName={host};SharedAccessKeyName={policy};SharedAccessKey={known}");
    // What a hub calls its events.
    let name = host.split_once('.').map_or(host, |(label, _)| label);
    let event_hub = format!("Endpoint=sb://{host}/;SharedAccessKeyName={policy};SharedAccessKey={known};EntityPath={name}");
    let mut entries = vec![
        ("connectionString", connection.as_str()),
        ("hostName", host),
        ("primaryKey", primary),
        ("secondaryKey", secondary),
        ("sharedAccessKeyName", policy),
    ];
    if reads_events {
        entries.push(("eventHubConnectionString", &event_hub));
    }
    if let Some(authority) = &plan.material.authority {
        entries.push(("ca.crt", &authority.certificate));
    }
    let mut annotations = Map::new();
    annotations.insert(POLICY.to_owned(), json!(policy));
    for (name, time) in [(ROTATION_REQUESTED, keys.requested_at), (ROTATION_BEGUN, keys.begun_at)] {
        annotations.extend(time.map(|time| (name.to_owned(), json!(time.to_string()))));
    }
    let rest = json!({ "metadata": { "annotations": annotations }, "type": "Opaque", "data": data(&entries) });
    plan.retained(Kind::Secret, secret, rest)
}

fn data(entries: &[(&str, &str)]) -> Value {
    entries.iter().map(|(name, text)| ((*name).to_owned(), json!(BASE64.encode(text)))).collect::<Map<_, _>>().into()
}
