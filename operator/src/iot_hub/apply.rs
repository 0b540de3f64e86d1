//! Server-side apply: what differs is written, what does not is not, and what is somebody else's is never touched.
//!
//! Whether something differs is told without comparing values, which the API server completes and writes in its own way: each child has
//! an annotation with the hash of what was applied, and the API server keeps which fields are still ours. A field that somebody else
//! changed or took away is not ours any more; a child that lacks one, or the hash, is applied again.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};
use mooring_crds::IotHub;
use serde_json::{Value, json};
use tracing::info;

use super::child::{Child, ChildKey, Kind};
use super::dereference::{Facts, POLICY, names};
use crate::{labels, ownership};

/// A version that no object has: one that somebody has made since it was looked for is not touched, and the API server says that there is
/// one (409).
const NEVER: &str = "1";

/// A child that can't be had, because its name is somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Which.
    pub key: ChildKey,
    /// Whose it is, as far as it says so.
    pub owner: Option<String>,
}

/// A child that the API server does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Which.
    pub key: ChildKey,
    /// What the API server said.
    pub message: String,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The children as they are now.
    pub live: BTreeMap<ChildKey, DynamicObject>,
    /// Names that are somebody else's.
    pub conflicts: Vec<Conflict>,
    /// What the API server refused for what it says.
    pub rejections: Vec<Rejection>,
    /// What was written.
    pub written: Vec<ChildKey>,
}

/// Applies the children and takes away what is ours and wanted no more.
pub async fn apply(client: &Client, hub: &IotHub, children: Vec<Child>, facts: &Facts) -> Result<Applied, kube::Error> {
    let namespace = hub.namespace().unwrap_or_default();
    let mut applied = Applied::default();
    let wanted: BTreeSet<ChildKey> = children.iter().map(|child| child.key.clone()).collect();
    for child in children {
        // A hub that would begin without something of its own would begin wrongly.
        if child.key.kind == Kind::Deployment && !(applied.conflicts.is_empty() && applied.rejections.is_empty()) {
            continue;
        }
        let live = facts.live.get(&child.key);
        if let Some(live) = live.filter(|live| !is_ours(live, hub)) {
            let owner = ownership::controller_of(&live.metadata).map(|owner| format!("{} {}", owner.kind, owner.name));
            applied.conflicts.push(Conflict { key: child.key, owner });
            continue;
        }
        let object = with_hash(child.object);
        let now = match live.filter(|live| is_applied(live, &object)) {
            Some(live) => live.clone(),
            None => match patch(client, &namespace, &child.key, &object, live).await {
                Ok(now) => {
                    info!(child = %child.key, %namespace, hub = hub.name_any(), "applied the {}", child.key);
                    applied.written.push(child.key.clone());
                    now
                }
                // Its fault, and not the moment's: the others go on.
                Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 409 | 422) => {
                    applied.rejections.push(Rejection { key: child.key, message: status.message.clone() });
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        applied.live.insert(child.key, now);
    }
    prune(client, hub, &wanted, facts, &mut applied).await?;
    Ok(applied)
}

/// Whether the object may be written: controlled by this hub, or left by one of its name.
#[must_use]
pub fn is_ours(live: &DynamicObject, hub: &IotHub) -> bool {
    let uid = hub.uid().unwrap_or_default();
    ownership::is_controlled_by(&live.metadata, &uid) || ownership::is_retained_of(&live.metadata, &hub.name_any())
}

async fn patch(
    client: &Client,
    namespace: &str,
    key: &ChildKey,
    object: &Value,
    live: Option<&DynamicObject>,
) -> Result<DynamicObject, kube::Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &key.kind.resource());
    let mut params = PatchParams::apply(labels::MANAGER);
    let mut object = object.clone();
    if let Some(live) = live {
        // Ours, and still the one that was looked at.
        params = params.force();
        object["metadata"]["uid"] = json!(live.uid());
    } else {
        object["metadata"]["resourceVersion"] = json!(NEVER);
    }
    match api.patch(&key.name, &params, &Patch::Apply(&object)).await {
        // Perhaps somebody put something into a list that ours can't stand beside, such as another port of the same name.
        Err(kube::Error::Api(status)) if status.code == 422 && live.is_some() => {
            take_back(&api, &key.name, &object).await?;
            api.patch(&key.name, &params, &Patch::Apply(&object)).await
        }
        result => result,
    }
}

/// Replaces the lists of an object whole, which applying never does; to be applied after that. What is not valid by itself is refused as
/// before.
async fn take_back(api: &Api<DynamicObject>, name: &str, object: &Value) -> Result<(), kube::Error> {
    let params = PatchParams { field_manager: Some(labels::MANAGER.to_owned()), ..PatchParams::default() };
    let replaced = api.patch(name, &params, &Patch::Merge(object)).await?;
    // What we own by this way as well would stay when it is applied no more.
    let is_of_this =
        |entry: &ManagedFieldsEntry| entry.manager.as_deref() == Some(labels::MANAGER) && entry.operation.as_deref() == Some("Update");
    let entries: Vec<&ManagedFieldsEntry> = replaced.managed_fields().iter().filter(|entry| !is_of_this(entry)).collect();
    let disowned =
        json!({ "metadata": { "uid": replaced.uid(), "resourceVersion": replaced.resource_version(), "managedFields": entries } });
    api.patch(name, &params, &Patch::Merge(&disowned)).await.map(drop)
}

/// What only some specs have: it goes when the spec has it no more. Volumes, authorities and the hub itself are never taken away.
async fn prune(
    client: &Client,
    hub: &IotHub,
    wanted: &BTreeSet<ChildKey>,
    facts: &Facts,
    applied: &mut Applied,
) -> Result<(), kube::Error> {
    let namespace = hub.namespace().unwrap_or_default();
    let named = names(hub);
    for (key, live) in &facts.live {
        let is_optional = match key.kind {
            Kind::NetworkPolicy | Kind::PodDisruptionBudget | Kind::Certificate | Kind::ServiceMonitor | Kind::PrometheusRule => true,
            Kind::Service => named.contains(key),
            Kind::Secret => live.annotations().contains_key(POLICY),
            _ => false,
        };
        if !is_optional || wanted.contains(key) || live.metadata.deletion_timestamp.is_some() || !is_ours(live, hub) {
            continue;
        }
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &key.kind.resource());
        let only_this = Preconditions { uid: live.uid(), resource_version: None };
        match api.delete(&key.name, &DeleteParams::default().preconditions(only_this)).await {
            Ok(_) => {
                info!(child = %key, %namespace, hub = hub.name_any(), "took away the {key}, which is wanted no more");
                applied.written.push(key.clone());
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The object with the hash of itself.
fn with_hash(mut object: Value) -> Value {
    let hash = labels::short_hash(object.to_string().as_bytes());
    object["metadata"]["annotations"][labels::APPLIED] = json!(hash);
    object
}

/// Whether the live object is what we applied, and everything in it that is ours is so still.
fn is_applied(live: &DynamicObject, object: &Value) -> bool {
    let hash = object["metadata"]["annotations"][labels::APPLIED].as_str();
    if live.metadata.deletion_timestamp.is_some() {
        // It comes back when it is gone.
        return true;
    }
    if live.annotations().get(labels::APPLIED).map(String::as_str) != hash {
        return false;
    }
    let ours = live
        .managed_fields()
        .iter()
        .find(|entry| entry.manager.as_deref() == Some(labels::MANAGER) && entry.operation.as_deref() == Some("Apply"));
    let Some(fields) = ours.and_then(|entry| entry.fields_v1.as_ref()) else { return false };
    let Ok(live) = serde_json::to_value(live) else { return false };
    object.as_object().is_some_and(|object| {
        object.iter().filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind")).all(|(name, value)| {
            let value = if name == "metadata" { &without_names(value) } else { value };
            owns(fields.0.get(format!("f:{name}")), value, &live[name])
        })
    })
}

/// Names are the object's own; nobody owns them.
fn without_names(metadata: &Value) -> Value {
    let mut metadata = metadata.clone();
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.retain(|name, _| !matches!(name.as_str(), "name" | "namespace" | "uid"));
    }
    metadata
}

/// Whether a set of fields, as the API server keeps it, has everything that the value has. A field without fields below is owned whole: a
/// scalar, or a list or map that is replaced as one; or it is what is left of a map whose fields were taken away.
fn owns(fields: Option<&Value>, value: &Value, live: &Value) -> bool {
    let Some(fields) = fields.and_then(Value::as_object) else { return false };
    let below = !fields.is_empty();
    match value {
        Value::Object(value) if below => value.iter().all(|(name, value)| owns(fields.get(&format!("f:{name}")), value, &live[name])),
        Value::Array(items) if below => items.iter().all(|item| {
            fields.iter().any(|(name, fields)| match name.split_at_checked(2) {
                Some(("k:", key)) => has_key(item, key) && owns(Some(fields), item, with_key(live, key)),
                Some(("v:", key)) => serde_json::from_str::<Value>(key).is_ok_and(|key| key == *item),
                _ => false,
            })
        }),
        Value::Object(value) => value.iter().all(|(name, value)| is_empty(value) || !live[name].is_null()),
        Value::Array(items) => items.is_empty() || live.as_array().is_some_and(|live| !live.is_empty()),
        _ => true,
    }
}

/// What the API server may leave out of what it keeps.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_so) => !is_so,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// The item of a list with these keys.
fn with_key<'a>(list: &'a Value, key: &str) -> &'a Value {
    list.as_array().into_iter().flatten().find(|item| has_key(item, key)).unwrap_or(&Value::Null)
}

/// Whether the item is the one with these keys. One that we leave out is the API server's to complete.
fn has_key(item: &Value, key: &str) -> bool {
    let Ok(Value::Object(key)) = serde_json::from_str(key) else { return false };
    key.iter().all(|(name, value)| item.get(name).is_none_or(|given| given == value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_somebody_else_took_is_seen() {
        let value = json!({
            "replicas": 1, "strategy": {}, "args": ["a"],
            "ports": [{ "name": "x", "port": 1 }, { "name": "y", "port": 2 }], "finalizers": ["z"],
        });
        let fields = json!({
            "f:replicas": {}, "f:strategy": {}, "f:args": {},
            "f:ports": {
                "k:{\"port\":1,\"protocol\":\"TCP\"}": { ".": {}, "f:name": {}, "f:port": {} },
                "k:{\"port\":2,\"protocol\":\"TCP\"}": { ".": {}, "f:name": {}, "f:port": {} },
            },
            "f:finalizers": { ".": {}, "v:\"z\"": {} },
        });
        assert!(owns(Some(&fields), &value, &value));
        for taken in ["/f:replicas", "/f:ports/k:{\"port\":1,\"protocol\":\"TCP\"}", "/f:finalizers/v:\"z\""] {
            let mut without = fields.clone();
            let (parent, name) = taken.rsplit_once('/').unwrap();
            without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
            assert!(!owns(Some(&without), &value, &value), "{taken}");
        }
    }

    #[test]
    fn a_map_that_was_emptied_is_not_one_that_is_owned_whole() {
        let value = json!({ "spec": { "groups": [{ "name": "a" }], "paused": false } });
        let (whole, kept) = (json!({ "f:spec": {} }), json!({ "spec": { "groups": [{ "name": "a" }] } }));
        assert!(owns(Some(&whole), &value, &kept), "what is as good as left out may be left out");
        assert!(!owns(Some(&whole), &value, &json!({ "spec": {} })));
        assert!(!owns(Some(&whole), &value, &json!({})));
        let list = json!({ "args": ["a"] });
        assert!(!owns(Some(&json!({ "f:args": {} })), &list, &json!({ "args": [] })));
    }
}
