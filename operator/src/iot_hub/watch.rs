//! What leads to a reconcile of an IotHub: the IotHub itself, what was made for it, and what its spec names.

use std::sync::Arc;

use futures_util::{StreamExt as _, future};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::child::{ChildKey, Kind};
use super::dereference::{names, references};
use super::{CONCURRENT_MAX, Context, Guarded, LOOKED_AT_AGAIN_AFTER, WATCHES_BEGUN_AGAIN, reconcile};
use crate::hub::HubKey;
use crate::labels;

/// Reconciles the IotHubs of a namespace, or of all, until it is told to stop.
pub(super) async fn follow(context: Arc<Context>, namespace: Option<String>, stop: CancellationToken) {
    let (hubs, writer) = reflector::store();
    let changes = watcher(api::<Guarded>(&context.client, namespace.as_deref()), watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .applied_objects()
        .predicate_filter(what_counts, kube::runtime::PredicateConfig::default());
    let controller = Controller::for_stream(changes, hubs.clone())
        .with_config(controller::Config::default().concurrency(CONCURRENT_MAX))
        .graceful_shutdown_on(stop.cancelled_owned());
    let (client, namespace) = (&context.client, namespace.as_deref());
    let controller = children::<Deployment>(controller, client, namespace);
    let controller = children::<Pod>(controller, client, namespace);
    let controller = children::<Service>(controller, client, namespace);
    let controller = children::<Secret>(controller, client, namespace);
    let controller = children::<ConfigMap>(controller, client, namespace);
    let controller = children::<PersistentVolumeClaim>(controller, client, namespace);
    let controller = children::<ServiceAccount>(controller, client, namespace);
    let controller = children::<NetworkPolicy>(controller, client, namespace);
    let controller = children::<PodDisruptionBudget>(controller, client, namespace);
    let controller = referenced::<Secret>(controller, client, namespace, Kind::Secret, &hubs);
    let controller = referenced::<ConfigMap>(controller, client, namespace, Kind::ConfigMap, &hubs);
    controller
        .run(reconcile, |_, _, _| Action::requeue(LOOKED_AT_AGAIN_AFTER), Arc::clone(&context))
        .for_each(|result| {
            match result {
                Ok(_) => {}
                Err(controller::Error::ObjectNotFound(hub)) => {
                    let key = HubKey { namespace: hub.namespace.clone().unwrap_or_default(), name: hub.name.clone() };
                    debug!(hub = %hub, "{} {} is gone", key.namespace, key.name);
                    context.forget(&key);
                }
                Err(controller::Error::ReconcilerFailed(error, hub)) => {
                    warn!(%error, hub = hub.name, namespace = hub.namespace, "the hub {} is tried again: {error}", hub.name);
                }
                Err(error) => match WATCHES_BEGUN_AGAIN.speaks(Instant::now()) {
                    Some(silent) => warn!(%error, silent, "a watch is begun again: {error}"),
                    None => debug!(%error, "a watch is begun again: {error}"),
                },
            }
            future::ready(())
        })
        .await;
}

fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(client: &Client, namespace: Option<&str>) -> Api<K> {
    namespace.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace))
}

/// A status is our own, and metadata says nothing to us.
fn what_counts(hub: &Guarded) -> Option<u64> {
    let generation = u64::try_from(hub.meta().generation?).ok()?;
    Some(generation * 2 + u64::from(hub.meta().deletion_timestamp.is_some()))
}

/// What we labelled leads to its hub, and so does what has lost its labels. Credentials of Devices are not the hub's.
fn children<K>(controller: Controller<Guarded>, client: &Client, namespace: Option<&str>) -> Controller<Guarded>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    let ours = format!("{}={},{},!{}", labels::MANAGED_BY, labels::MANAGER, labels::HUB, labels::DEVICE_HASH);
    let stream = watcher(api::<PartialObjectMeta<K>>(client, namespace), watcher::Config::default().labels(&ours));
    controller.watches_stream(stream.default_backoff().touched_objects(), |child: PartialObjectMeta<K>| {
        let hub = child.labels().get(labels::HUB)?;
        Some(ObjectRef::new(hub).within(&child.namespace()?))
    })
}

/// What somebody else keeps leads to the hubs whose specs name it. Their metadata alone is watched; what is in them is read when a hub
/// needs it.
fn referenced<K>(
    controller: Controller<Guarded>,
    client: &Client,
    namespace: Option<&str>,
    kind: Kind,
    hubs: &Store<Guarded>,
) -> Controller<Guarded>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    let theirs = format!("{}!={}", labels::MANAGED_BY, labels::MANAGER);
    let stream = watcher(api::<PartialObjectMeta<K>>(client, namespace), watcher::Config::default().labels(&theirs));
    let hubs = hubs.clone();
    controller.watches_stream(stream.default_backoff().touched_objects(), move |object: PartialObjectMeta<K>| {
        let key = ChildKey::new(kind, object.name_any());
        let namespace = object.namespace();
        let concerned = |hub: &Guarded| {
            let Ok(hub) = &hub.0 else { return false };
            // By a child's name: cert-manager's, or somebody's who is in the way.
            hub.namespace() == namespace && (references(hub).contains(&key) || names(hub).contains(&key))
        };
        hubs.state().into_iter().filter(|hub| concerned(hub)).map(|hub| ObjectRef::from_obj(hub.as_ref())).collect::<Vec<_>>()
    })
}
