//! Reads: what a Device refers to.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Api;
use kube::core::{Selector, SelectorExt as _};
use mooring_crds::IotHub;
use mooring_crds::device::KeysReference;
use mooring_crds::iot_hub::NamespacesFrom;
use secrecy::SecretString;

use super::context::Context;
use super::index::Seen;
use super::status::Problem;
use crate::hub::identity::Keys;
use crate::hub::{HubKey, Link};

/// The hub of a Device, and whether it is open to it.
pub enum Hub {
    /// There is none.
    Missing,
    /// It does not take Devices from there.
    NotAllowed,
    /// Nothing is to be changed.
    Paused(Option<Arc<Link>>),
    /// Nobody has said yet where it is.
    NotReady,
    /// Nobody has looked at it since the operator began.
    NotLookedAt,
    /// It can be spoken to.
    There {
        /// How.
        link: Arc<Link>,
        /// Whether clients have to be told of its authority.
        self_signed: bool,
    },
}

/// The hub that the Device names.
pub async fn hub(context: &Context, device: &Seen) -> Result<Hub, kube::Error> {
    let key = &device.hub;
    let Some(hub) = context.hubs.get(key) else {
        return Ok(if is_there(context, key).await? { Hub::NotReady } else { Hub::Missing });
    };
    if !is_allowed(context, key, &hub.allowed.from, hub.allowed.selector.as_ref(), &device.name.namespace).await? {
        return Ok(Hub::NotAllowed);
    }
    let link = context.links.get(key);
    Ok(match link {
        link if hub.paused => Hub::Paused(link),
        Some(link) => Hub::There { link, self_signed: hub.self_signed },
        None if !context.links.is_looked_at(key) => Hub::NotLookedAt,
        None => Hub::NotReady,
    })
}

/// Whether there is such a hub, whatever the watch has shown. One that we may not look at can't be spoken to either; unless it is where we
/// are supposed to look: then it may only be that somebody took our rights away.
pub async fn is_there(context: &Context, key: &HubKey) -> Result<bool, kube::Error> {
    let api = Api::<IotHub>::namespaced(context.client.clone(), &key.namespace);
    match api.get_metadata_opt(&key.name).await {
        Ok(hub) => Ok(hub.is_some()),
        Err(kube::Error::Api(error)) if error.code == 403 => Ok(context.is_unseen(&key.namespace)),
        Err(error) => Err(error),
    }
}

/// Whether the hub takes Devices from the namespace.
pub async fn is_allowed(
    context: &Context,
    hub: &HubKey,
    from: &NamespacesFrom,
    selector: Option<&LabelSelector>,
    namespace: &str,
) -> Result<bool, kube::Error> {
    match (from, selector) {
        _ if hub.namespace == namespace => Ok(true),
        (NamespacesFrom::Same, _) | (NamespacesFrom::Selector, None) => Ok(false),
        (NamespacesFrom::All, _) => Ok(true),
        (NamespacesFrom::Selector, Some(selector)) => {
            let Ok(selector) = Selector::try_from(selector.clone()) else { return Ok(false) };
            let namespace = Api::<Namespace>::all(context.client.clone()).get_metadata_opt(namespace).await?;
            let labels = namespace.and_then(|namespace| namespace.metadata.labels).unwrap_or_default();
            Ok(selector.matches(&labels))
        }
    }
}

/// Those that name the same identity and may: who is not allowed stands in nobody's way.
pub async fn siblings(context: &Context, device: &Seen) -> Result<Vec<Seen>, kube::Error> {
    let mut siblings = context.devices.naming(&device.hub, &device.device_id);
    if siblings.iter().any(|sibling| sibling.name.namespace != device.name.namespace)
        && let Some(hub) = context.hubs.get(&device.hub)
    {
        let mut allowed = Vec::new();
        for sibling in siblings {
            let namespace = &sibling.name.namespace;
            if is_allowed(context, &device.hub, &hub.allowed.from, hub.allowed.selector.as_ref(), namespace).await? {
                allowed.push(sibling);
            }
        }
        siblings = allowed;
    }
    Ok(siblings)
}

/// The keys that a Secret brings, or what is wrong with it.
pub async fn brought_keys(context: &Context, device: &Seen, reference: &KeysReference) -> Result<Result<Keys, Problem>, kube::Error> {
    let api = Api::<Secret>::namespaced(context.client.clone(), &device.name.namespace);
    let Some(secret) = api.get_opt(&reference.name).await? else {
        let message = format!("there is no Secret {} with the device's keys: make it, or leave secretRef out", reference.name);
        return Ok(Err(Problem::new("KeysNotFound", message)));
    };
    let data = secret.data.unwrap_or_default();
    let entry = |name: &str| {
        let text = data.get(name).and_then(|value| std::str::from_utf8(&value.0).ok()).map(|text| SecretString::from(text.trim()));
        text.ok_or_else(|| Problem::new("KeysNotFound", format!("the Secret {} has no entry {name} with a key in Base64", reference.name)))
    };
    Ok(entry(&reference.primary_key)
        .and_then(|primary| Ok(Keys { primary_key: Some(primary), secondary_key: Some(entry(&reference.secondary_key)?) })))
}
