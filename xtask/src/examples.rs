//! The manifests that the repository shows are manifests of the kinds, as far as that can be told without an API server.

use std::path::Path;

use mooring_crds::{Device, IotHub};
use serde::Deserialize as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What the chart and the GitOps folder come to; that these are up to date is the business of `make chart`.
const FILES: [(&str, usize); 2] = [("e2e/chart/example.yaml", 3), ("e2e/chart/gitops.yaml", 4)];

#[test]
fn what_is_shown_is_of_the_kinds() {
    for (file, manifests) in FILES {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).expect("it is in the repository");
        let documents = serde_norway::Deserializer::from_str(&text).map(|document| Value::deserialize(document).expect("YAML"));
        let ours: Vec<Value> = documents.filter(|document| document["apiVersion"] == "mooring.dev/v1alpha1").collect();
        assert_eq!(ours.len(), manifests, "{file}");
        for manifest in ours {
            let understood = match manifest["kind"].as_str() {
                Some("IotHub") => understood::<IotHub>(&manifest),
                Some("Device") => understood::<Device>(&manifest),
                other => panic!("{file}: {other:?}"),
            };
            assert_eq!(lost(&manifest["spec"], &understood["spec"]), None, "{file}, {}", manifest["metadata"]["name"]);
        }
    }
}

/// The manifest as the kind has it: without what the kind does not have, and with defaults.
fn understood<K: DeserializeOwned + Serialize>(manifest: &Value) -> Value {
    let typed: K = serde_json::from_value(manifest.clone()).expect("a manifest of the kind");
    serde_json::to_value(typed).expect("a kind is JSON")
}

/// The name of a field that was given and is not in what was understood.
fn lost(given: &Value, found: &Value) -> Option<String> {
    match (given, found) {
        (Value::Object(given), Value::Object(found)) => given.iter().find_map(|(name, value)| match found.get(name) {
            None => Some(name.clone()),
            Some(found) => lost(value, found),
        }),
        (Value::Array(given), Value::Array(found)) => given.iter().zip(found).find_map(|(given, found)| lost(given, found)),
        _ => None,
    }
}
