//! What is told of a hub: its status, if it is another one, and Events of what a person needs to hear.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Resource as _, ResourceExt as _};
use mooring_crds::IotHub;
use mooring_crds::iot_hub::IotHubStatus;
use serde_json::json;
use tracing::info;

use super::{Context, status};
use crate::hub::HubKey;
use crate::labels;

/// Not as IotHubs: one that can't be read as one has a status, too.
fn hubs(namespace: &str, context: &Context) -> Api<DynamicObject> {
    Api::namespaced_with(context.client.clone(), namespace, &ApiResource::erase::<IotHub>(&()))
}

/// Writes the status if it is another one than before, and tells of what a person needs to hear.
pub async fn say(about: &ObjectReference, before: &IotHubStatus, next: &IotHubStatus, context: &Context) -> Result<(), kube::Error> {
    if before == next {
        return Ok(());
    }
    let (namespace, name) = (about.namespace.as_deref().unwrap_or_default(), about.name.as_deref().unwrap_or_default());
    let document = json!({
        "apiVersion": mooring_crds::API_VERSION, "kind": "IotHub",
        "metadata": { "name": name, "namespace": namespace, "uid": about.uid }, "status": next,
    });
    let params = PatchParams::apply(labels::STATUS_MANAGER).force();
    match hubs(namespace, context).patch_status(name, &params, &Patch::Apply(&document)).await {
        Ok(_) => {}
        // Deleted in the meantime, and perhaps made again.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return Ok(()),
        Err(error) => return Err(error),
    }
    let reason = |status: &IotHubStatus| status.conditions.first().map(|ready| (ready.status.clone(), ready.reason.clone()));
    let Some(ready) = next.conditions.first().filter(|_| reason(before) != reason(next)) else { return Ok(()) };
    info!(hub = name, namespace, reason = ready.reason, "the hub {name}: {} {}", ready.reason, ready.message);
    let on_its_way = matches!(ready.reason.as_str(), "Creating" | "Starting" | "Stopping" | "HubNotAnswering");
    match ready.status.as_str() {
        "True" if ready.reason == "Running" => context.events.tell(about, &ready.reason, &ready.message).await,
        _ if !on_its_way => context.events.warn(about, &ready.reason, &ready.message).await,
        _ => {}
    }
    Ok(())
}

/// Says of an IotHub that can't be read as one where that begins. The definition leaves some fields to whoever reads them.
pub async fn unreadable(key: &HubKey, context: &Context) -> Result<(), kube::Error> {
    let Some(object) = hubs(&key.namespace, context).get_opt(&key.name).await? else { return Ok(()) };
    let whole = json!({ "apiVersion": mooring_crds::API_VERSION, "kind": "IotHub", "metadata": {}, "spec": object.data["spec"] });
    // Readable by now: the watch brings it.
    let Err(error) = serde_path_to_error::deserialize::<_, IotHub>(&whole) else { return Ok(()) };
    let before: IotHubStatus = serde_json::from_value(object.data["status"].clone()).unwrap_or_default();
    let next = status::unreadable(&before, object.metadata.generation, &error.to_string(), (context.clock)());
    let about = ObjectReference {
        api_version: Some(mooring_crds::API_VERSION.to_owned()),
        kind: Some(IotHub::kind(&()).into_owned()),
        name: Some(object.name_any()),
        namespace: object.namespace(),
        uid: object.uid(),
        ..ObjectReference::default()
    };
    say(&about, &before, &next, context).await
}
