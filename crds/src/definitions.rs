//! The CustomResourceDefinitions as they are given to a cluster: what the derive macros make of the types, finished.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::{Value, json};

use crate::{Device, IotHub};

/// Bounds for Kubernetes' own types, which have none: beyond anything that Kubernetes accepts in them.
const FOREIGN_STRING_MAX: u32 = 4096;

/// The same, for lists and maps.
const FOREIGN_ITEMS_MAX: u32 = 256;

/// All kinds, in the order in which they are best installed.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [IotHub::crd(), Device::crd()].map(finished)
}

fn finished(definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut value = serde_json::to_value(definition).expect("a definition is JSON");
    for version in value["spec"]["versions"].as_array_mut().into_iter().flatten() {
        finish(&mut version["schema"]["openAPIV3Schema"]);
    }
    serde_json::from_value(value).expect("it is still a definition")
}

/// * `null` is no value of its own: the API server takes it for an absent field, as it does in Kubernetes' own kinds.
/// * Defaults are said in descriptions, because `kubectl explain` does not show them; it breaks their lines itself.
/// * Every string, list and map has a bound, so that what a rule may cost is known; every list says how it is merged.
fn finish(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else { return };
    node.remove("nullable");
    if let Some(description) = node.get("description").and_then(Value::as_str) {
        let default = node.get("default").and_then(scalar).map(|default| format!(" Default: {default}.")).unwrap_or_default();
        let description = format!("{}{default}", description.replace('\n', " "));
        node.insert("description".to_owned(), description.into());
    }
    let open = node.get("x-kubernetes-preserve-unknown-fields").is_some();
    let is_free_text = !node.contains_key("enum") && !node.contains_key("format");
    match node.get("type").and_then(Value::as_str) {
        Some("string") if is_free_text => drop(node.entry("maxLength").or_insert(FOREIGN_STRING_MAX.into())),
        Some("array") => {
            node.entry("maxItems").or_insert(FOREIGN_ITEMS_MAX.into());
            node.entry("x-kubernetes-list-type").or_insert(json!("atomic"));
        }
        Some("object") if node.contains_key("additionalProperties") || (open && !node.contains_key("properties")) => {
            node.entry("maxProperties").or_insert(FOREIGN_ITEMS_MAX.into());
        }
        _ => {}
    }
    for (key, value) in node.iter_mut() {
        match key.as_str() {
            "items" | "additionalProperties" => finish(value),
            "properties" => value.as_object_mut().into_iter().flat_map(|properties| properties.values_mut()).for_each(finish),
            _ => {}
        }
    }
}

fn scalar(default: &Value) -> Option<String> {
    match default {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(default.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beyond it `kubectl apply` can't keep the last configuration in an annotation.
    const DEFINITION_MAX_BYTES: usize = 256 * 1024;

    fn schemas() -> Vec<(String, Value)> {
        let definitions = definitions().map(|definition| serde_json::to_value(definition).unwrap());
        definitions
            .into_iter()
            .map(|value| {
                let kind = value["spec"]["names"]["kind"].as_str().unwrap().to_owned();
                (kind, value["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone())
            })
            .collect()
    }

    /// Every field of a schema, with its path, and whether it is within a list that is replaced as a whole.
    fn visit(path: &str, schema: &Value, atomic: bool, look: &mut dyn FnMut(&str, &Value, bool)) {
        look(path, schema, atomic);
        let atomic = atomic || schema["x-kubernetes-list-type"] == "atomic";
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            visit(&format!("{path}.{name}"), field, atomic, look);
        }
        for (part, name) in [("items", "[]"), ("additionalProperties", "{}")] {
            if schema[part].is_object() {
                visit(&format!("{path}{name}"), &schema[part], atomic, look);
            }
        }
    }

    #[test]
    fn the_definitions_are_as_they_were_agreed() {
        for definition in definitions() {
            let text = serde_json::to_string_pretty(&definition).unwrap();
            assert!(serde_json::to_string(&definition).unwrap().len() < DEFINITION_MAX_BYTES);
            insta::assert_snapshot!(definition.spec.names.singular.clone().unwrap(), text);
        }
    }

    #[test]
    fn everything_is_bounded_and_described() {
        for (kind, schema) in schemas() {
            visit(&kind, &schema, false, &mut |path, field, atomic| {
                let has = |key: &str| field.get(key).is_some();
                match field["type"].as_str() {
                    Some("string") => assert!(has("maxLength") || has("enum") || has("format"), "{path}"),
                    Some("array") => assert!(has("maxItems") && has("x-kubernetes-list-type"), "{path}"),
                    Some("object") if has("additionalProperties") => assert!(has("maxProperties"), "{path}"),
                    None => assert!(has("x-kubernetes-int-or-string") && has("maxLength"), "{path}"),
                    _ => {}
                }
                let has_name = !path.ends_with("[]") && !path.ends_with("{}");
                assert!(!has_name || field["description"].as_str().is_some_and(|text| text.len() > 8), "{path} has no description");
                assert!(!(atomic && has("default")), "{path} has a default within a list that is replaced as a whole");
                assert!(!has("nullable"), "{path}");
            });
        }
    }

    #[test]
    fn keys_of_lists_are_required() {
        for (kind, schema) in schemas() {
            visit(&kind, &schema, false, &mut |path, field, _| {
                for key in field["x-kubernetes-list-map-keys"].as_array().into_iter().flatten() {
                    let required = field["items"]["required"].as_array().unwrap();
                    assert!(required.contains(key), "{path}: {key}");
                }
            });
        }
    }

    /// A default that broke a rule would make every manifest without the field invalid.
    #[test]
    fn nothing_stands_by_default_beside_what_is_one_of_several() {
        for (kind, schema) in schemas() {
            for (path, members) in [
                ("tls", ["selfSigned", "secretRef", "issuerRef"].as_slice()),
                ("storage", &["embedded", "distributed"]),
                ("authentication", &["symmetricKey", "x509Thumbprint", "x509CA"]),
            ] {
                let field = &schema["properties"]["spec"]["properties"][path];
                if field.is_null() {
                    continue;
                }
                assert_eq!(field["default"], json!({}), "{kind}.spec.{path}");
                for member in members {
                    assert!(
                        field["properties"][member].is_object() && field["properties"][member].get("default").is_none(),
                        "{path}.{member}"
                    );
                }
            }
        }
    }
}
