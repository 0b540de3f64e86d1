//! A Device that is being deleted: what becomes of its identity, and when it may go.
//!
//! A finalizer must not hang: where the hub is gone for good, it goes without a word to it. Where the hub is only away, the Device waits,
//! because its identity would stay behind, with a key that is good.
//!
//! A namespace that is deleted takes the operator's Role with it before its Devices. Nothing here needs more than to read and patch a Device
//! then, and to see that the namespace goes.

use kube::Api;
use kube::api::{ApiResource, DynamicObject, ObjectMeta};
use kube::runtime::controller::Action;
use mooring_crds::Device;
use mooring_crds::device::DeletionPolicy;
use mooring_crds::plan::{self, Changes, Step};

use super::DeviceName;
use super::build::{self, Writing};
use super::context::Context;
use super::index::Seen;
use super::reconcile::{ReconcileError, finish};
use super::status::{Outcome, Problem};
use super::{apply, dereference};
use crate::hub::identity::Identity;
use crate::hub::{HubError, HubKey};
use crate::labels::DEVICE_FINALIZER;

/// Sees to the identity, and lets the Device go. `device`: itself, if it can be read as one, to say why it waits.
pub async fn delete(context: &Context, seen: &Seen, metadata: &ObjectMeta, device: Option<&Device>) -> Result<Action, ReconcileError> {
    if !seen.has_finalizer {
        return Ok(Action::await_change());
    }
    if !goes_with_its_hub(context, seen).await? {
        match leave_hub(context, seen).await {
            Ok(()) => {}
            Err(ReconcileError::Hub(error)) if !error.is_outdated() => {
                if !is_hub_going(context, &seen.hub).await? {
                    tracing::info!(device = %seen.name, "the Device {} waits for its hub before it goes: {error}", seen.name);
                    return Ok(waits(context, seen, device, &error));
                }
            }
            Err(error) => return Err(error),
        }
    }
    let_go(context, seen, metadata).await?;
    Ok(Action::await_change())
}

fn waits(context: &Context, seen: &Seen, device: Option<&Device>, error: &HubError) -> Action {
    let Some(device) = device else { return Action::requeue(context.retry_after(&seen.name)) };
    let message = format!(
        "the IotHub {} does not take the identity out ({error}): bring the hub back, or take the finalizer {DEVICE_FINALIZER} off: the \
         identity stays in the hub then, and its keys stay good",
        seen.hub
    );
    finish(context, seen, device, &Outcome::Waiting(Problem::new("DeletionWaitsForHub", message)), None)
}

/// Takes the finalizer off: all is done for the Device.
pub async fn let_go(context: &Context, seen: &Seen, metadata: &ObjectMeta) -> Result<(), kube::Error> {
    // Before the finalizer goes: the watch may tell at once that the Device has gone.
    context.devices.finalized(&seen.name, &seen.uid);
    apply::remove_finalizer(context, seen, metadata.finalizers.as_deref().unwrap_or_default()).await?;
    context.retried(&seen.name);
    Ok(())
}

/// Whether the Device's namespace goes, and its hub too: then nobody is left to be asked, nor an identity to be left behind.
pub async fn goes_with_its_hub(context: &Context, seen: &Seen) -> Result<bool, kube::Error> {
    let namespace = &seen.name.namespace;
    Ok(context.is_ending(namespace).await? && (seen.hub.namespace == *namespace || is_hub_going(context, &seen.hub).await?))
}

/// Takes the identity out of the hub, or leaves it there for others.
pub async fn leave_hub(context: &Context, seen: &Seen) -> Result<(), ReconcileError> {
    let Some(link) = context.links.get(&seen.hub) else {
        return Err(HubError::Unreachable("nobody has said yet where it is".to_owned()).into());
    };
    let mut identity = link.client()?.identity(&seen.device_id).await?;
    let me = seen.author();
    let view = identity.as_ref().map(|identity| build::view(identity, &me, None));
    let policy = if seen.retains { DeletionPolicy::Retain } else { DeletionPolicy::Delete };
    let step = plan::plan_deletion(policy, view.as_ref());
    if step == Step::Nothing {
        return Ok(());
    }
    // What an earlier life has left behind goes in its name: the hub knows no other.
    let earlier = identity.as_ref().and_then(|identity| identity.managed_by.clone()).filter(|owner| build::is_earlier_life(owner, &me));
    let author = earlier.unwrap_or(me);
    let row = |step: &Step, current: Option<&Identity>| {
        let writing = Writing { me: &author, device_id: &seen.device_id, current, brought: None, now: context.now() };
        build::row(step, writing, || secrecy::SecretString::from(""))
    };
    // Or it was released for this one, which has not adopted it yet.
    if identity.as_ref().is_some_and(|identity| identity.managed_by.is_none())
        && let Some(adopting) = row(&Step::Adopt(Changes::default()), identity.as_ref())
    {
        identity = link.write(adopting).await?;
    }
    if let Some(row) = row(&step, identity.as_ref()) {
        link.write(row).await?;
    }
    Ok(())
}

/// Whether there is no hub to speak to any more, or soon will be none.
async fn is_hub_going(context: &Context, hub: &HubKey) -> Result<bool, kube::Error> {
    let is_there = match context.hubs.get(hub) {
        Some(seen) if seen.deleting => return Ok(true),
        Some(_) => true,
        None => dereference::is_there(context, hub).await?,
    };
    Ok(!is_there || context.is_ending(&hub.namespace).await?)
}

/// A Device that can't be read as one: it is told in the log, and stops nobody else. When it is being deleted, what names its identity is
/// read by itself.
pub async fn malformed(context: &Context, name: &DeviceName, metadata: &ObjectMeta, error: &str) -> Result<Action, ReconcileError> {
    let has_finalizer = metadata.finalizers.iter().flatten().any(|finalizer| finalizer == DEVICE_FINALIZER);
    if metadata.deletion_timestamp.is_none() || !has_finalizer {
        tracing::warn!(device = %name, "the Device {name} can't be read, and is left as it is: {error}");
        return Ok(Action::await_change());
    }
    match read(context, name).await? {
        Some((seen, metadata)) => delete(context, &seen, &metadata, None).await,
        None => Ok(Action::await_change()),
    }
}

/// A Device as it is now, as far as its going needs that, whether it can be read as one or not.
pub async fn read(context: &Context, name: &DeviceName) -> Result<Option<(Seen, ObjectMeta)>, kube::Error> {
    let resource = ApiResource::erase::<Device>(&());
    let api = Api::<DynamicObject>::namespaced_with(context.client.clone(), &name.namespace, &resource);
    let Some(object) = api.get_opt(&name.name).await? else { return Ok(None) };
    let metadata = object.metadata;
    let spec = &object.data["spec"];
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let seen = Seen {
        name: name.clone(),
        uid: metadata.uid.clone().unwrap_or_default(),
        created: None,
        generation: metadata.generation,
        hub: HubKey {
            namespace: text(&spec["hubRef"]["namespace"]).unwrap_or_else(|| name.namespace.clone()),
            name: text(&spec["hubRef"]["name"]).unwrap_or_default(),
        },
        device_id: text(&spec["deviceId"]).unwrap_or_else(|| name.name.clone()),
        enabled: false,
        status_reason: None,
        deleting: true,
        retains: spec["deletionPolicy"] == "Retain",
        has_finalizer: metadata.finalizers.iter().flatten().any(|finalizer| finalizer == DEVICE_FINALIZER),
        is_carried_out: false,
        secrets: Vec::new(),
    };
    Ok(Some((seen, metadata)))
}
