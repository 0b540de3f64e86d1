//! The hub's volume. Its class can't be changed and its size can't shrink: what is there stays as it is.

use serde_json::json;

use super::Plan;
use crate::iot_hub::child::{Child, Kind};
use crate::iot_hub::quantity;
use crate::labels::HubChildren;

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
        Some(spec) => spec.storage_class_name.as_ref(),
        None => wanted.storage_class_name.as_ref(),
    };
    let mut spec = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": size } } });
    if let Some(class) = class {
        spec["storageClassName"] = json!(class);
    }
    plan.retained(Kind::PersistentVolumeClaim, &HubChildren(&plan.name()).data(), json!({ "spec": spec }))
}
