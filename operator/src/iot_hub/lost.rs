//! What was there, and is gone while nobody remembers it: Secrets that were deleted while the operator was away. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use mooring_crds::IotHub;

use super::child::Kind;
use super::dereference::Facts;
use super::material::{self, Material};
use super::validate::{CertificateSource, Refusal, Valid};
use crate::labels::HubChildren;

/// Whether the hub's authority is lost. A new one would come without a word, and every client would have to be given it: that is for a
/// person to decide. `believed`: without the Secrets that are not the hub's own.
pub fn authority_is_there(hub: &IotHub, valid: &Valid, believed: &Facts, remembered: Option<&Material>) -> Result<(), Refusal> {
    let name = hub.name_any();
    let children = HubChildren(&name);
    let (authority, certificate) = (children.authority(), children.certificate());
    let is_new = believed.child::<Secret>(Kind::Secret, &certificate).is_none();
    let is_known =
        remembered.is_some_and(|material| material.authority.is_some()) || material::kept_authority(believed, &authority).is_some();
    if valid.certificate != CertificateSource::SelfSigned || is_new || is_known {
        return Ok(());
    }
    let message = format!(
        "the Secret {authority}, with the authority that clients trust, is gone, broken, or without the hub's labels. Restore it from your \
         backup; or delete the Secret {certificate} too: then the hub gets a new authority, which every client has to be given"
    );
    Err(Refusal { reason: "AuthorityLost", message })
}

/// The policies whose keys are lost, with their Secrets. They get new ones, and it is told: without the Secret the hub's next Pod could not
/// start, and a whole fleet would be away for the keys of a few back ends.
#[must_use]
pub fn policies(hub: &IotHub, valid: &Valid, believed: &Facts, remembered: Option<&Material>) -> BTreeMap<String, String> {
    let had: Vec<_> = hub.status.iter().flat_map(|status| &status.policies).collect();
    let is_lost = |name: &str, secret: &str| {
        had.iter().any(|before| before.name == name && before.secret == secret)
            && remembered.is_none_or(|material| !material.policies.contains_key(name))
            && believed.child::<Secret>(Kind::Secret, secret).as_ref().and_then(material::keys_of).is_none()
    };
    let made = valid.policies.iter().filter(|policy| policy.brought.is_none());
    made.filter(|policy| is_lost(&policy.name, &policy.secret)).map(|policy| (policy.name.clone(), policy.secret.clone())).collect()
}
