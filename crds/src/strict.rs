//! Which fields a kind has: for those who read manifests where no API server refuses the others.

use std::sync::LazyLock;

use kube::CustomResourceExt as _;
use serde_json::Value;

use crate::device::Device;

/// The path to the first field of a Device manifest that the kind does not have.
///
/// What Kubernetes keeps in `metadata`, and `status`, which is somebody else's, are in manifests that come from a cluster: both are let
/// through.
#[must_use]
pub fn unknown_field(device: &Value) -> Option<Vec<String>> {
    static SPEC: LazyLock<Value> = LazyLock::new(|| {
        let crd = serde_json::to_value(Device::crd()).expect("a CRD is JSON");
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
    });
    let mut path = Vec::new();
    for (name, value) in device.as_object()? {
        path.push(name.clone());
        let found = match name.as_str() {
            "apiVersion" | "kind" | "metadata" | "status" => false,
            "spec" => leads_to_unknown(value, &SPEC, &mut path),
            _ => true,
        };
        if found {
            return Some(path);
        }
        path.pop();
    }
    None
}

fn leads_to_unknown(value: &Value, schema: &Value, path: &mut Vec<String>) -> bool {
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true || schema["additionalProperties"].is_object();
    let Some(fields) = value.as_object().filter(|_| !open) else { return false };
    for (name, value) in fields {
        path.push(name.clone());
        let known = &schema["properties"][name];
        if known.is_null() || leads_to_unknown(value, known, path) {
            return true;
        }
        path.pop();
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_fields_that_there_are_pass() {
        let spec = |spec: Value| json!({ "apiVersion": "a", "kind": "b", "metadata": { "x": 1 }, "status": { "x": 1 }, "spec": spec });
        let open = json!({ "tags": { "any": { "thing": 1 } }, "credentials": { "labels": { "any": "thing" } }, "enabled": true });
        assert_eq!(unknown_field(&spec(open)), None);
        for (manifest, path) in [
            (spec(json!({ "colour": 1 })), "spec.colour"),
            (spec(json!({ "authentication": { "symmetricKey": { "secretReff": {} } } })), "spec.authentication.symmetricKey.secretReff"),
            (json!({ "specs": {} }), "specs"),
        ] {
            assert_eq!(unknown_field(&manifest).unwrap().join("."), path);
        }
    }
}
