//! Identities whose Device has vanished without its finalizer: they are held, because nobody speaks for them any more.
//!
//! A hold, not a deletion: whoever took a finalizer off by hand, or restored a cluster without its Devices, gets nothing back that is gone.
//! Nothing is held before all Devices have been seen, and each is looked for once more in the API server itself.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use mooring_crds::IotHub;
use serde_json::json;

use super::context::Context;
use super::reconcile::ReconcileError;
use super::{DeviceName, delete};
use crate::events::Events;
use crate::hub::HubKey;
use crate::hub::client::{Author, Ownership};
use crate::hub::identity::ManagedBy;

/// Holds the identity, if its Device is gone. Answers whether it did.
pub async fn look_at(context: &Context, hub: &HubKey, device_id: &str, owner: &ManagedBy) -> Result<bool, ReconcileError> {
    context.synced().await;
    // Where not all can be seen nothing is known to be missing. It is told again with the next snapshot.
    if !context.scope.contains(&owner.namespace) || context.is_unseen(&owner.namespace) {
        return Ok(false);
    }
    let name = DeviceName { namespace: owner.namespace.clone(), name: owner.name.clone() };
    if let Some((there, _)) = delete::read(context, &name).await? {
        if there.uid == owner.uid {
            return Ok(false);
        }
        if (&there.hub, there.device_id.as_str()) == (hub, device_id) {
            // It was made again, and takes over.
            context.wake(&name);
            return Ok(false);
        }
    }
    let Some(link) = context.links.get(hub) else { return Ok(false) };
    let Some(identity) = link.client()?.identity(device_id).await? else { return Ok(false) };
    if identity.managed_by.as_ref() != Some(owner) || identity.hold.is_some() {
        return Ok(false);
    }
    let reason = format!("its Device {}/{} has vanished", owner.namespace, owner.name);
    let settings = json!({ "status": "disabled", "statusReason": reason.chars().take(128).collect::<String>() });
    link.shut_out()?.change(device_id, &settings, Author::Operator, Ownership::Keep, Some(&identity.etag)).await?;
    tracing::warn!(hub = %hub, device_id, "the device {device_id} of the IotHub {hub} is held: {reason}");
    Ok(true)
}

/// Tells of it, at the IotHub.
pub async fn tell(context: &Context, events: &Events, hub: &HubKey, device_id: &str, owner: &ManagedBy) {
    let reference = ObjectReference {
        api_version: Some(IotHub::api_version(&()).into_owned()),
        kind: Some(IotHub::kind(&()).into_owned()),
        namespace: Some(hub.namespace.clone()),
        name: Some(hub.name.clone()),
        uid: context.hubs.get(hub).map(|hub| hub.uid),
        ..ObjectReference::default()
    };
    let note = format!(
        "The device {device_id} is disabled: its Device {}/{} is gone, and nobody speaks for it. Delete it in the hub, or enable it there.",
        owner.namespace, owner.name
    );
    events.warn(&reference, "DeviceVanished", &note).await;
}
