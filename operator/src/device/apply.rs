//! The finalizer, and the write to the hub.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kube::Api;
use kube::api::{Patch, PatchParams};
use mooring_crds::Device;
use secrecy::SecretString;
use serde_json::json;

use super::build::Writing;
use super::context::Context;
use super::index::Seen;
use crate::hub::identity::{Identity, ManagedBy};
use crate::hub::{HubError, Link};
use crate::labels::{DEVICE_FINALIZER, MANAGER};

/// The length of a key that is made here, in bytes. Azure's generated keys have as many.
const KEY_BYTES: usize = 32;

/// Puts the finalizer on: from now on the Device does not go before its identity.
pub async fn add_finalizer(context: &Context, seen: &Seen, finalizers: Option<&Vec<String>>) -> Result<(), kube::Error> {
    let path = "/metadata/finalizers";
    let has = finalizers.filter(|has| !has.is_empty());
    let add = match has {
        Some(_) => json!({ "op": "add", "path": "/metadata/finalizers/-", "value": DEVICE_FINALIZER }),
        None => json!({ "op": "add", "path": path, "value": [DEVICE_FINALIZER] }),
    };
    patch_finalizers(
        context,
        seen,
        json!([
            { "op": "test", "path": "/metadata/uid", "value": seen.uid },
            { "op": "test", "path": path, "value": has },
            add,
        ]),
    )
    .await
}

/// Takes the finalizer off. A Device that is gone needs that no more.
pub async fn remove_finalizer(context: &Context, seen: &Seen, finalizers: &[String]) -> Result<(), kube::Error> {
    let Some(at) = finalizers.iter().position(|finalizer| finalizer == DEVICE_FINALIZER) else { return Ok(()) };
    let path = format!("/metadata/finalizers/{at}");
    let patch = json!([
        { "op": "test", "path": "/metadata/uid", "value": seen.uid },
        { "op": "test", "path": path, "value": DEVICE_FINALIZER },
        { "op": "remove", "path": path },
    ]);
    match patch_finalizers(context, seen, patch).await {
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
        other => other,
    }
}

async fn patch_finalizers(context: &Context, seen: &Seen, patch: serde_json::Value) -> Result<(), kube::Error> {
    let api = Api::<Device>::namespaced(context.client.clone(), &seen.name.namespace);
    let patch = Patch::<()>::Json(serde_json::from_value(patch).map_err(kube::Error::SerdeError)?);
    // Only the metadata comes back: a Device that can't be read as one has finalizers, too.
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch_metadata(&seen.name.name, &params, &patch).await.map(drop)
}

/// Takes the step in the hub, if there is one to take. Answers the identity as it is then.
pub async fn write(
    context: &Context,
    link: &Link,
    seen: &Seen,
    step: &mooring_crds::plan::Step,
    writing: Writing<'_>,
) -> Result<Option<Identity>, HubError> {
    let Some(row) = super::build::row(step, writing, new_key) else { return Ok(writing.current.cloned()) };
    let written = link.write(row).await?;
    // Somebody may have wanted it out while this was under way, and have been overtaken.
    if context
        .devices
        .get(&seen.name)
        .is_some_and(|now| now.uid == seen.uid && (now.deleting || !now.enabled) && (seen.enabled || seen.deleting != now.deleting))
    {
        context.lane.put(seen.name.clone());
    }
    match written {
        Some(identity) => Ok(Some(identity)),
        // A hub that does not show what it did, or a row that removed it.
        None => link.client()?.identity(writing.device_id).await,
    }
}

/// Takes an identity from an earlier life of the Device, so that this one may adopt it. Who holds it keeps the word about why.
pub async fn release_earlier(link: &Link, device_id: &str, current: &Identity, heir: &ManagedBy) -> Result<(), HubError> {
    use crate::hub::client::{Author, Ownership};
    let settings = if current.hold.is_none() { json!({ "statusReason": super::build::left_to(heir) }) } else { json!({}) };
    let etag = Some(current.etag.as_str());
    link.client()?.change(device_id, &settings, Author::Operator, Ownership::Release, etag).await.map(drop)
}

/// Shuts the device out, in the Device's own name. Others' identities are refused by the hub, and are none of ours.
pub async fn disable(client: &crate::hub::client::Client, device: &Seen, me: &ManagedBy) -> Result<(), HubError> {
    use crate::hub::client::{Author, Ownership};
    let settings = json!({ "status": "disabled", "statusReason": device.status_reason });
    not_ours(client.change(&device.device_id, &settings, Author::Device(me), Ownership::Keep, None).await.map(drop))
}

/// The same, only if it is in: every write is a change that the hub tells of, and the Device would be looked at for that again.
pub async fn disable_if_in(link: &Link, device: &Seen) -> Result<(), HubError> {
    let (client, me) = (link.shut_out()?, device.author());
    let identity = client.identity(&device.device_id).await?;
    let is_in = |identity: &Identity| identity.wanted_status.as_ref().unwrap_or(&identity.status) == "enabled";
    match identity.filter(|identity| identity.managed_by.as_ref() == Some(&me) && is_in(identity)) {
        Some(_) => disable(client, device, &me).await,
        None => Ok(()),
    }
}

/// What is somebody else's stays as it is.
pub fn not_ours(result: Result<(), HubError>) -> Result<(), HubError> {
    match result {
        Err(error) if error.is_outdated() => Ok(()),
        other => other,
    }
}

fn new_key() -> SecretString {
    SecretString::from(BASE64.encode(rand::random::<[u8; KEY_BYTES]>()))
}
