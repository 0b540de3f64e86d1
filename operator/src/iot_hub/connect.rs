//! How the operator comes to speak to a hub: its address, whom it has to prove to be, and with which key.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use mooring_crds::IotHub;

use super::certificates::behind_first;
use super::child::{ChildKey, Kind};
use super::dereference::{Facts, entry};
use super::material::{self, signing_key};
use super::{ANSWER_MAX, Context, apply};
use crate::hub::{Endpoint, HubInfo, HubKey};
use crate::labels::{self, HubChildren};

/// The certificate that the hub serves, with what stands behind it.
pub(super) fn certificate_pem(hub: &IotHub, facts: &Facts) -> Option<String> {
    let secret = certificate_secret(hub, facts)?;
    entry(&secret, "tls.crt")
}

fn certificate_secret(hub: &IotHub, facts: &Facts) -> Option<Secret> {
    match &hub.spec.tls.secret_ref {
        Some(reference) => facts.secrets.get(&reference.name).cloned(),
        None => facts.child(Kind::Secret, &HubChildren(&hub.name_any()).certificate()),
    }
}

/// Says where the hub is, as soon as it has an address and the operator a key.
pub(super) fn connect(hub: &IotHub, key: &HubKey, facts: &Facts, certificate: Option<&str>, context: &Context, now: Timestamp) {
    let children = HubChildren(&key.name);
    let ours = |kind, name: String| facts.live.get(&ChildKey::new(kind, name)).is_some_and(|live| apply::is_ours(live, hub));
    if !ours(Kind::Service, children.api_service()) || !ours(Kind::Secret, children.operator_policy()) {
        return;
    }
    let service = facts.service(&children.api_service()).and_then(|service| service.spec);
    let address: Option<IpAddr> = service.as_ref().and_then(|spec| spec.cluster_ip.as_ref()?.parse().ok());
    let port = service.as_ref().and_then(|spec| spec.ports.as_ref()?.iter().find(|port| port.name.as_deref() == Some("api")));
    let port = port.and_then(|port| u16::try_from(port.port).ok());
    let keys = facts.child::<Secret>(Kind::Secret, &children.operator_policy()).as_ref().and_then(material::keys_of);
    let (Some(address), Some(port), Some(keys)) = (address, port, keys) else { return };
    let authority = certificate_secret(hub, facts).and_then(|secret| entry(&secret, "ca.crt")).unwrap_or_default();
    // Whoever made a certificate by hand often leaves ca.crt out: what it brings with it is as good.
    let chain = certificate.map(behind_first).unwrap_or_default();
    let roots_pem = if hub.spec.tls.issuer_ref.is_some() && authority.is_empty() { String::new() } else { format!("{authority}{chain}") };
    let endpoint = Endpoint {
        host_name: hub.spec.hostnames.first().cloned().unwrap_or_default(),
        address: SocketAddr::new(address, port),
        roots_pem,
        policy: labels::OPERATOR_POLICY.to_owned(),
        key: signing_key(&keys, now),
    };
    context.links.set(key.clone(), endpoint);
}

/// What the hub says about itself, or why it says nothing.
pub(super) async fn ask(key: &HubKey, context: &Context) -> Result<HubInfo, String> {
    let Some(link) = context.links.get(key) else { return Err("its address is not known yet".to_owned()) };
    match tokio::time::timeout(ANSWER_MAX, link.info()).await {
        Ok(info) => info.map_err(|error| error.to_string()),
        Err(_) => Err("it takes too long".to_owned()),
    }
}
