//! One Device, from what it says to what is there.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use mooring_crds::Device;
use mooring_crds::plan::{self, Standing, Step, Wanted};
use tokio::time::Instant;

use super::build::{self, Reach, Writing};
use super::context::{Context, Guarded};
use super::dereference::{self, Hub};
use super::index::{self, Seen};
use super::status::{Outcome, Problem, Subject, status};
use super::{DeviceName, apply, credentials, delete};
use crate::hub::identity::{Identity, Keys};
use crate::hub::{HubError, Link};
use crate::observe;
use crate::status_writer::Shown as _;

/// How often everything is compared without being asked to: the watches tell, this is for what nobody foresees.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(3600);

/// How soon it is looked at again when what was looked at had changed meanwhile.
const AGAIN_AT_ONCE: Duration = Duration::from_millis(200);

/// What stopped a reconcile.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API server.
    #[error("the API server: {0}")]
    Kubernetes(#[from] kube::Error),
    /// The hub.
    #[error(transparent)]
    Hub(#[from] HubError),
}

/// Brings a Device to where it is to be, as far as that can be done now. Done again, it writes nothing.
pub async fn reconcile(guarded: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    context.synced().await;
    let begun = Instant::now();
    let result = reconcile_once(&guarded, &context).await;
    let outcome = if result.is_ok() { observe::Outcome::Done } else { observe::Outcome::Failed };
    context.instruments.metrics.reconciled("Device", outcome, begun.elapsed());
    result
}

async fn reconcile_once(guarded: &Guarded, context: &Context) -> Result<Action, ReconcileError> {
    let name = DeviceName::of(guarded);
    let device = match &guarded.0 {
        Ok(device) => device,
        Err(invalid) => return delete::malformed(context, &name, &invalid.metadata, &invalid.error).await,
    };
    let Some(seen) = Seen::of(device) else { return Ok(Action::await_change()) };
    // The queue may hold an older one than the watch has shown.
    if context.devices.get(&name).is_some_and(|now| now.uid == seen.uid && now.generation > seen.generation) {
        return Ok(Action::requeue(AGAIN_AT_ONCE));
    }
    let done = if seen.deleting {
        delete::delete(context, &seen, &device.metadata, Some(device)).await
    } else {
        keep(context, &seen, device).await
    };
    match done {
        Ok(action) => Ok(action),
        Err(ReconcileError::Hub(error)) if error.is_outdated() => Ok(Action::requeue(AGAIN_AT_ONCE.max(context.retry_after(&name) / 10))),
        Err(ReconcileError::Hub(error)) if error.is_transient() => {
            let message = format!("the IotHub {}: {error}; what was there stays as it was", seen.hub);
            Ok(finish(context, &seen, device, &Outcome::Waiting(Problem::new("HubNotReady", message)), None))
        }
        Err(ReconcileError::Hub(error)) => {
            let problem = Problem::new("RefusedByHub", format!("the IotHub {}: {error}", seen.hub));
            Ok(finish(context, &seen, device, &Outcome::Refused(problem), None))
        }
        // Nothing is made any more in a namespace that goes, and the operator's rights there may have gone already.
        Err(ReconcileError::Kubernetes(kube::Error::Api(error))) if error.code == 403 && context.is_ending(&name.namespace).await? => {
            tracing::debug!(device = %name, "the Device {name} goes with its namespace: {}", error.message);
            Ok(if seen.deleting { Action::requeue(context.retry_after(&name)) } else { Action::await_change() })
        }
        Err(ReconcileError::Kubernetes(kube::Error::Api(error))) if matches!(error.code, 400 | 403 | 422) => {
            let problem = Problem::new("RefusedByKubernetes", format!("the API server refuses: {}", error.message));
            Ok(finish(context, &seen, device, &Outcome::Waiting(problem), None))
        }
        Err(error) => Err(error),
    }
}

async fn keep(context: &Context, seen: &Seen, device: &Device) -> Result<Action, ReconcileError> {
    let refused = |reason: &'static str, message: String| Outcome::Refused(Problem::new(reason, message));
    let wanted = match Wanted::of(device) {
        Ok(wanted) => wanted,
        Err(invalid) => return Ok(finish(context, seen, device, &refused("Invalid", invalid.to_string()), Some(LOOKED_AT_EVERY))),
    };
    let hub = &seen.hub;
    let (link, self_signed) = match dereference::hub(context, seen).await? {
        Hub::There { link, self_signed } => (link, self_signed),
        Hub::Missing => {
            let message = format!("there is no IotHub {hub}: make it, or name another in a new Device");
            return Ok(finish(context, seen, device, &refused("HubNotFound", message), None));
        }
        Hub::NotAllowed => {
            // What came in while it was allowed goes out when its own Device says so.
            if let Some(link) = context.links.get(hub).filter(|_| !seen.enabled) {
                apply::disable_if_in(&link, seen).await?;
            }
            let message = format!(
                "the IotHub {hub} takes no Devices from this namespace: change its devices.allowedNamespaces. A device that was in the hub \
                 before still connects, until its Device is disabled or deleted"
            );
            return Ok(finish(context, seen, device, &refused("NamespaceNotAllowed", message), None));
        }
        // What its status says is as good as before.
        Hub::NotLookedAt => return Ok(Action::requeue(AGAIN_AT_ONCE)),
        Hub::NotReady => {
            let message = format!("the IotHub {hub} is not ready; what was there stays as it was");
            return Ok(finish(context, seen, device, &Outcome::Waiting(Problem::new("HubNotReady", message)), None));
        }
        Hub::Paused(link) => {
            if let Some(link) = link.filter(|_| !seen.enabled) {
                apply::disable_if_in(&link, seen).await?;
            }
            let message = format!("the IotHub {hub} is paused: nothing changes but that devices are shut out");
            return Ok(finish(context, seen, device, &Outcome::Waiting(Problem::new("Paused", message)), Some(LOOKED_AT_EVERY)));
        }
    };
    let brought = match wanted.authentication.keys_reference() {
        None => None,
        Some(reference) => match dereference::brought_keys(context, seen, reference).await? {
            Ok(keys) => Some(keys),
            Err(problem) => return Ok(finish(context, seen, device, &Outcome::Refused(problem), None)),
        },
    };
    let identity = link.client()?.identity(&wanted.device_id).await?;
    let siblings = dereference::siblings(context, seen).await?;
    let owner = identity.as_ref().and_then(|identity| identity.managed_by.as_ref());
    if let Some(first) = index::first(&siblings, owner).filter(|first| first.uid != seen.uid) {
        let refusal = plan::Refusal::DeviceIdConflict(format!("the Device {}", first.name));
        return Ok(finish(context, seen, device, &refused(refusal.reason(), refusal.to_string()), Some(LOOKED_AT_EVERY)));
    }
    carry_out(context, Subjects { seen, device, wanted: &wanted, link: &link, self_signed }, identity, brought.as_ref()).await
}

/// Whom a plan is for.
#[derive(Clone, Copy)]
struct Subjects<'a> {
    seen: &'a Seen,
    device: &'a Device,
    wanted: &'a Wanted,
    link: &'a Link,
    self_signed: bool,
}

async fn carry_out(
    context: &Context,
    subjects: Subjects<'_>,
    identity: Option<Identity>,
    brought: Option<&Keys>,
) -> Result<Action, ReconcileError> {
    let Subjects { seen, device, wanted, link, self_signed } = subjects;
    let (me, now) = (seen.author(), context.now());
    let view = identity.as_ref().map(|identity| build::view(identity, &me, brought));
    let seen_rotation = identity.as_ref().and_then(build::rotation_seen);
    let planned = plan::plan(wanted, view.as_ref(), seen_rotation, now);
    if let Standing::Refused(refusal) = &planned.standing {
        if let Some(owner) = identity.as_ref().and_then(|identity| identity.managed_by.clone()).filter(|owner| owner.is_device()) {
            // Its Device may be gone.
            context.links.known().stray(&seen.hub, &wanted.device_id, owner);
        }
        let problem = Problem::new(refusal.reason(), refusal.to_string());
        return Ok(finish(context, seen, device, &Outcome::Refused(problem), Some(LOOKED_AT_EVERY)));
    }
    if !seen.has_finalizer {
        // Nobody may be there any more to take it off again.
        if context.is_ending(&seen.name.namespace).await? {
            return Ok(Action::await_change());
        }
        apply::add_finalizer(context, seen, device.metadata.finalizers.as_ref()).await?;
    }
    let earlier = identity.as_ref().filter(|identity| identity.managed_by.as_ref().is_some_and(|owner| build::is_earlier_life(owner, &me)));
    if let (Step::Adopt(_), Some(earlier)) = (&planned.step, earlier) {
        apply::release_earlier(link, &wanted.device_id, earlier, &me).await?;
        return Ok(Action::requeue(AGAIN_AT_ONCE));
    }
    let writing = Writing { me: &me, device_id: &wanted.device_id, current: identity.as_ref(), brought, now };
    let written = apply::write(context, link, seen, &planned.step, writing).await?;
    let Some(identity) = written else { return Ok(Action::requeue(AGAIN_AT_ONCE)) };
    context.links.known().reconciled(&seen.hub, &identity);
    let reach = Reach {
        hub: seen.hub.name.clone(),
        host_name: link.endpoint().host_name.clone(),
        authority_pem: self_signed.then(|| link.endpoint().roots_pem.clone()),
    };
    let credentials = issue(context, seen, device, &identity, &reach).await?;
    let hold = match planned.standing {
        Standing::Held(hold) => Some(hold),
        Standing::InHub | Standing::Refused(_) => None,
    };
    let again = overlap_ends_in(wanted, &identity, now).map_or(LOOKED_AT_EVERY, |ends| ends.min(LOOKED_AT_EVERY));
    let conflict = credentials.is_err();
    let outcome = Outcome::InHub { identity: Box::new(identity), hold, credentials };
    context.retried(&seen.name);
    Ok(finish(context, seen, device, &outcome, Some(if conflict { LOOKED_AT_EVERY } else { again })))
}

async fn issue(
    context: &Context,
    seen: &Seen,
    device: &Device,
    identity: &Identity,
    reach: &Reach,
) -> Result<Result<String, Problem>, ReconcileError> {
    let secret = build::credentials(device, &seen.device_id, identity, reach);
    let name = secret.name_any();
    let kept = credentials::keep(context, &seen.uid, &secret).await?;
    let before = device.status.as_ref().and_then(|status| status.credentials_secret.as_ref()).filter(|before| **before != name);
    if let (Ok(()), Some(before)) = (&kept, before) {
        credentials::give_up(context, &seen.uid, &seen.name.beside(before)).await?;
    }
    Ok(kept.map(|()| name))
}

/// When the key before a rotation has to go.
fn overlap_ends_in(wanted: &Wanted, identity: &Identity, now: jiff::Timestamp) -> Option<Duration> {
    let begun_at = identity.rotation?.begun_at?;
    let overlap = wanted.rotation?.overlap;
    let end = begun_at.checked_add(overlap).ok()?;
    Some(Duration::try_from(end.duration_since(now)).unwrap_or_default() + AGAIN_AT_ONCE)
}

/// Says how it stands. `again`: when to look at it without being asked to; `None` for soon, and later every time.
pub fn finish(context: &Context, seen: &Seen, device: &Device, outcome: &Outcome, again: Option<Duration>) -> Action {
    let shown = || context.shown(&seen.name).filter(|shown| shown.uid == seen.uid).unwrap_or_default();
    let before = context.statuses.current(&seen.name, shown);
    let authentication = &device.spec.authentication;
    let kind = match (&authentication.x509_thumbprint, &authentication.x509_ca) {
        (Some(_), _) => "x509Thumbprint",
        (None, Some(_)) => "x509CA",
        (None, None) => "symmetricKey",
    };
    let subject = Subject { generation: seen.generation, device_id: &seen.device_id, authentication: kind };
    let says = status(&before.status, subject, outcome, context.now());
    context.statuses.put(&seen.name, &seen.uid, says);
    Action::requeue(again.unwrap_or_else(|| context.retry_after(&seen.name)))
}
