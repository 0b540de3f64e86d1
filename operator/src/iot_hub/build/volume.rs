//! The hub's volume. Its class can't be changed and its size can't shrink: what is there stays as it is.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::json;

use super::Plan;
use crate::iot_hub::child::{Child, Kind};
use crate::iot_hub::quantity;
use crate::labels::{HubChildren, MANAGER};

/// The claim.
#[must_use]
pub fn claim(plan: Plan<'_>) -> Child {
    let wanted = &plan.valid.storage;
    let there = plan.volume.and_then(|claim| claim.spec.as_ref());
    let size_there = there
        .and_then(|spec| spec.resources.as_ref())
        .and_then(|resources| resources.requests.as_ref())
        .and_then(|requests| requests.get("storage"));
    let size = size_there.filter(|there| quantity::bytes(there) > quantity::bytes(&wanted.size)).unwrap_or(&wanted.size);
    let class = match there {
        // One that the cluster chose is not ours to say.
        Some(spec) => {
            spec.storage_class_name.as_ref().filter(|_| wanted.storage_class_name.is_some() || plan.volume.is_some_and(says_class))
        }
        None => wanted.storage_class_name.as_ref(),
    };
    let mut spec = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": size } } });
    if let Some(class) = class {
        spec["storageClassName"] = json!(class);
    }
    plan.retained(Kind::PersistentVolumeClaim, &HubChildren(&plan.name()).data(), json!({ "spec": spec }))
}

/// Whether the class was said by us: what was said once and can't be changed can't be left out either.
fn says_class(claim: &PersistentVolumeClaim) -> bool {
    let ours = claim.metadata.managed_fields.iter().flatten().filter(|entry| entry.manager.as_deref() == Some(MANAGER));
    ours.filter_map(|entry| entry.fields_v1.as_ref()).any(|fields| fields.0.pointer("/f:spec/f:storageClassName").is_some())
}
