//! The tasks of the Device controller, and how they hang together.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, future, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DeserializeGuard, NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{Controller, WatchStreamExt as _};
use kube::{Api, Client, Resource, ResourceExt as _};
use mooring_crds::IotHub;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::context::{Context, Guarded};
use super::index::Seen;
use super::reconcile::{ReconcileError, reconcile};
use super::vanished::Vanished;
use super::watch::{Observed, Roll};
use super::{DeviceName, leave, shut_out, vanished};
use crate::distinct_queue::DistinctQueue;
use crate::events::Events;
use crate::hub::known::News;
use crate::hub::{HubKey, Instruments, Links};
use crate::scope::Scope;
use crate::seldom::Seldom;
use crate::status_writer::Shown as _;

/// Reconciles at the same time: enough to fill requests of a hundred rows while one is in flight.
const CONCURRENCY: u16 = 128;

/// Devices, Secrets and IotHubs: the watches in each part of the scope.
const WATCHES: usize = 3;

/// How often failures are told at warning level: they come by the thousand, when they come.
const TOLD_EVERY: Duration = Duration::from_secs(10);
static FAILURES: Seldom = Seldom::new(TOLD_EVERY);
static REFUSALS: Seldom = Seldom::new(Duration::from_secs(60));

/// What `kubectl apply` keeps on an object, and nobody here needs.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Looks after the Devices of the scope until it is told to stop; then ends what it has begun. `home` is the operator's own namespace.
pub async fn controller(
    client: Client,
    instruments: Instruments,
    scope: Scope,
    links: Links,
    home: Option<String>,
    stop: CancellationToken,
) {
    let apis = scope.apis::<Guarded>(&client);
    let (stores, writers): (Vec<_>, Vec<_>) = apis.iter().map(|_| reflector::store::<Guarded>()).unzip();
    let context = Arc::new(Context::new(client.clone(), instruments, scope.clone(), links, stores.clone(), WATCHES));
    let parts: Vec<_> = context.parts().collect();
    let controllers = apis.into_iter().zip(writers).zip(stores).zip(parts.clone()).map(|(((api, writer), store), (part, wakes))| {
        let controller = Controller::for_stream(devices(Arc::clone(&context), part, api, writer), store)
            .with_config(Config::default().concurrency(CONCURRENCY))
            .reconcile_on(woken(wakes))
            .graceful_shutdown_on(stop.clone().cancelled_owned())
            .run(reconcile_beside, error_policy, Arc::clone(&context));
        controller.for_each(|result| {
            if let Err(error) = result {
                debug!("a reconcile: {error}");
            }
            future::ready(())
        })
    });
    let with_parts = || parts.iter().map(|(part, _)| part.clone());
    let secrets = scope.apis::<PartialObjectMeta<Secret>>(&client).into_iter().zip(with_parts());
    let secrets = secrets.map(|(api, part)| follow(api, part, Arc::clone(&context), secret));
    let hubs = scope.apis::<DeserializeGuard<IotHub>>(&client).into_iter().zip(with_parts());
    let hubs = hubs.map(|(api, part)| follow(api, part, Arc::clone(&context), hub));
    let beside = async {
        let events = Events::new(client.clone(), "devices".to_owned());
        let work = future::join5(
            future::join_all(secrets),
            future::join_all(hubs),
            let_go_of_parts(&context),
            listen(&context, &events),
            shut_out::run(Arc::clone(&context), stop.clone()),
        );
        tokio::select! {
            _ = work => {}
            () = stop.cancelled() => {}
        }
    };
    let writing = context.statuses.clone().run(Arc::clone(&context), stop.clone());
    // Reconciles that are under way are ended; then their statuses are written.
    let work = future::join3(Box::pin(future::join_all(controllers)), Box::pin(beside), Box::pin(writing));
    leave::after(&context, home.as_deref(), &stop, work).await;
}

/// In a task of its own: a Controller drives its reconciles in the task that takes in the watch's events, and whoever is to be shut out would
/// wait there until all of them had been polled.
async fn reconcile_beside(device: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    match tokio::spawn(reconcile(device, context)).await {
        Ok(result) => result,
        Err(ended) => std::panic::resume_unwind(ended.into_panic()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what a Controller calls")]
fn error_policy(device: Arc<Guarded>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let name = DeviceName::of(&*device);
    let wait = context.retry_after(&name);
    let seconds = wait.as_secs().max(1);
    match FAILURES.speaks(Instant::now()) {
        Some(0) => warn!(device = %name, "the Device {name} is tried again in {seconds} s: {error}"),
        Some(silent) => warn!(device = %name, silent, "the Device {name} is tried again in {seconds} s: {error} ({silent} more before)"),
        None => debug!(device = %name, "the Device {name} is tried again in {seconds} s: {error}"),
    }
    Action::requeue(wait)
}

fn woken(queue: Arc<DistinctQueue<DeviceName>>) -> impl Stream<Item = ObjectRef<Guarded>> + Send + 'static {
    stream::unfold(queue, |queue| async move {
        let name = queue.next().await;
        Some((ObjectRef::new(&name.name).within(&name.namespace), queue))
    })
}

/// The Devices that are to be reconciled, and everything that is to be known of them before they are.
fn devices(
    context: Arc<Context>,
    part: Option<String>,
    api: Api<Guarded>,
    writer: Writer<Guarded>,
) -> impl Stream<Item = Result<Guarded, watcher::Error>> + Send + 'static {
    let events = watcher(api, watcher::Config::default()).default_backoff().modify(|device| {
        device.meta_mut().managed_fields = None;
        device.annotations_mut().remove(LAST_APPLIED);
    });
    let (mut roll, mut is_synced) = (Roll::default(), false);
    let told = events.reflect(writer).map(move |event| match event {
        Ok(event) => {
            let observed = roll.take(event).into_iter();
            observed.filter_map(|observed| device(&context, &part, observed, &mut is_synced)).collect()
        }
        Err(error) => {
            failed::<Guarded>(&context, &part, &error);
            Vec::new()
        }
    });
    told.flat_map(|devices: Vec<Guarded>| stream::iter(devices.into_iter().map(Ok)))
}

/// Takes note of a Device. Answers it when it is to be reconciled.
fn device(context: &Context, part: &Option<String>, observed: Observed<Guarded>, is_synced: &mut bool) -> Option<Guarded> {
    match observed {
        Observed::There(guarded) => {
            let name = DeviceName::of(&guarded);
            let metadata = guarded.meta();
            context.statuses.came_back(&name, metadata.uid.as_deref().unwrap_or_default(), metadata.resource_version.as_deref());
            let Some(seen) = guarded.0.as_ref().ok().and_then(Seen::of) else { return Some(guarded) };
            context.links.known().name(&seen.hub, &seen.device_id);
            let before = context.devices.put(seen.clone());
            if let Some(before) = before.as_ref().filter(|before| before.uid != seen.uid) {
                gone(context, before, false);
            }
            if seen.shuts_out_after(before.as_ref()) {
                context.lane.put(name);
            }
            seen.is_news_after(before.as_ref()).then_some(guarded)
        }
        Observed::Gone(name) => {
            context.statuses.forget(&name);
            context.retried(&name);
            if let Some((before, finalized)) = context.devices.remove(&name) {
                gone(context, &before, finalized);
            }
            None
        }
        Observed::Synced => {
            if !std::mem::replace(is_synced, true) {
                context.one_synced(part);
            }
            None
        }
    }
}

/// A Device is gone: whoever names the same identity may have it now, and one that was not let go in good order has left it behind.
fn gone(context: &Context, before: &Seen, finalized: bool) {
    let siblings = context.devices.naming(&before.hub, &before.device_id);
    siblings.iter().for_each(|sibling| context.wake(&sibling.name));
    if siblings.is_empty() {
        context.links.known().forget(&before.hub, &before.device_id);
    }
    if !finalized && before.has_finalizer {
        context.links.known().stray(&before.hub, &before.device_id, before.author());
    }
}

/// Follows what Devices refer to.
async fn follow<K>(api: Api<K>, part: Option<String>, context: Arc<Context>, take: fn(&Context, Observed<K>))
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let mut roll = Roll::default();
    let mut is_synced = false;
    let mut events = Box::pin(watcher(api, watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                failed::<K>(&context, &part, &error);
                continue;
            }
        };
        for observed in roll.take(event) {
            if matches!(observed, Observed::Synced) && !std::mem::replace(&mut is_synced, true) {
                context.one_synced(&part);
            }
            take(&context, observed);
        }
    }
}

/// A watch broke off, and is begun again.
fn failed<K: Resource<DynamicType = ()>>(context: &Context, part: &Option<String>, error: &watcher::Error) {
    debug!("the watch of {}: {error}", K::plural(&()));
    let is_refusal = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            status.code == 403
        }
        watcher::Error::WatchError(status) => status.code == 403,
        _ => false,
    };
    if is_refusal {
        context.instruments.metrics.watch_refused(&K::plural(&()));
        context.refused.put(part.clone());
    } else if let Some(silent) = FAILURES.speaks(Instant::now()) {
        warn!(silent, "the watch of {} is begun again: {error}", K::plural(&()));
    }
}

/// Finds out why watches were refused. What is elsewhere must not wait for a namespace in which the operator has no rights: they went with
/// it, or somebody took them away, and may give them back.
pub async fn let_go_of_parts(context: &Context) {
    loop {
        let part = context.refused.next().await;
        let namespace = part.as_deref().unwrap_or("the cluster");
        let is_news = part.is_some() && context.not_awaited(&part);
        if part.is_some() && context.is_ending(namespace).await.unwrap_or(false) {
            if is_news {
                info!(namespace, "nothing is seen of {namespace} any more: it is being deleted, or gone");
            }
        } else if let Some(silent) = REFUSALS.speaks(Instant::now()) {
            let meanwhile = if part.is_some() { "nobody waits for it" } else { "nothing is done" };
            warn!(
                namespace,
                silent, "what is in {namespace} can't be watched, and {meanwhile}: give the operator its role there, by the chart"
            );
        }
    }
}

fn secret(context: &Context, observed: Observed<PartialObjectMeta<Secret>>) {
    let name = match observed {
        Observed::There(secret) => {
            if !context.secrets.put(&secret) {
                return;
            }
            DeviceName::of(&secret)
        }
        Observed::Gone(name) => {
            context.secrets.remove(&name);
            name
        }
        Observed::Synced => return,
    };
    context.devices.of_secret(&name).iter().for_each(|device| context.wake(device));
}

fn hub(context: &Context, observed: Observed<DeserializeGuard<IotHub>>) {
    let key = match observed {
        Observed::There(hub) => context.hubs.put(&hub),
        Observed::Gone(name) => {
            let key = HubKey { namespace: name.namespace, name: name.name };
            context.hubs.remove(&key);
            Some(key)
        }
        Observed::Synced => None,
    };
    if let Some(key) = key {
        context.devices.of_hub(&key).iter().for_each(|device| context.wake(device));
    }
}

/// A hub can be spoken to again, or can't be any more. Who is to be out goes first.
pub fn hub_news(context: &Context, hub: &HubKey) {
    let devices = context.devices.of_hub(hub);
    let is_to_be_out = |name: &&DeviceName| context.devices.get(name).is_some_and(|seen| seen.is_to_be_out());
    devices.iter().filter(is_to_be_out).for_each(|name| context.lane.put(name.clone()));
    for name in &devices {
        context.retried(name);
        context.wake(name);
    }
}

/// Hears what happens in the hubs.
async fn listen(context: &Context, events: &Events) {
    context.synced().await;
    context.links.known().all_named();
    let mut vanished = Vanished::default();
    loop {
        match context.links.known().news.next().await {
            News::Identity(hub, id) => context.devices.naming(&hub, &id).iter().for_each(|seen| context.wake(&seen.name)),
            News::Presence(hub, id) => {
                for seen in context.devices.naming(&hub, &id) {
                    // Of several only the one whose it is has a status with an identity.
                    let shown = context.shown(&seen.name).map(|shown| context.statuses.current(&seen.name, || shown));
                    if shown.is_some_and(|shown| shown.status.generation_id.is_some()) {
                        context.statuses.presence(&seen.name, Instant::now());
                    }
                }
            }
            News::Hub(hub) => hub_news(context, &hub),
            News::Stray(hub, id, owner) => match vanished::look_at(context, &hub, &id, &owner).await {
                Ok(true) => vanished.put(hub, id),
                Ok(false) => {}
                // It is told again with the next snapshot.
                Err(error) => warn!(hub = %hub, device_id = id, "the device {id} of the IotHub {hub} can't be looked at: {error}"),
            },
        }
        if vanished.is_due(context.links.known().news.len()) {
            vanished.tell(context, events).await;
        }
    }
}
