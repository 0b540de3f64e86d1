//! The page about the kinds: every field with its type, its default and what it means.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

/// Kubernetes' own types, which are described there.
const KUBERNETES_TYPES: [(&str, &str); 6] = [
    ("affinity", "Affinity"),
    ("tolerations[]", "Toleration"),
    ("apiFrom[]", "NetworkPolicyPeer"),
    ("metricsFrom[]", "NetworkPolicyPeer"),
    ("selector", "LabelSelector"),
    ("conditions[]", "Condition"),
];

const INTRODUCTION: &str = "\
# The kinds

`IotHub` and `Device` of `mooring.dev/v1alpha1`, as the API server checks them: what `kubectl explain` says, on one page. Fields are only
added from now on, and are optional. Durations are as Go writes them (`90s`, `15m`, `1h30m`; no days), quantities as Kubernetes has them
(`10Gi`, `500m`). A field in **bold** is required.

This page is made from the kinds' sources by `cargo xtask crds`; `make check` keeps the two the same.
";

/// The page.
pub fn page(definitions: &[CustomResourceDefinition]) -> String {
    let mut page = INTRODUCTION.to_owned();
    for definition in definitions {
        let value = serde_json::to_value(definition).expect("a definition is JSON");
        let names = &value["spec"]["names"];
        let version = &value["spec"]["versions"][0];
        let schema = &version["schema"]["openAPIV3Schema"];
        let kind = text(&names["kind"]);
        let _ = write!(page, "\n## {kind}\n\n{}\n\n", text(&schema["description"]));
        let _ =
            writeln!(page, "`kubectl get {}` (or `{}`) shows {}.", text(&names["plural"]), text(&names["shortNames"][0]), columns(version));
        let selectable: Vec<_> =
            list(&version["selectableFields"]).map(|field| format!("`{}`", text(&field["jsonPath"]).trim_start_matches('.'))).collect();
        if !selectable.is_empty() {
            let _ = writeln!(page, "`--field-selector` knows {}.", selectable.join(", "));
        }
        for rule in rules(schema) {
            let _ = writeln!(page, "\nThe API server insists: {rule}.");
        }
        for part in ["spec", "status"] {
            let root = &schema["properties"][part];
            let _ = write!(page, "\n### `{part}` of {kind}\n\n{}\n\n", description(root));
            page.push_str("| field | type | default | |\n|---|---|---|---|\n");
            rows("", root, &mut page);
        }
    }
    page
}

fn columns(version: &Value) -> String {
    list(&version["additionalPrinterColumns"]).map(|column| text(&column["name"])).collect::<Vec<_>>().join(", ")
}

fn rows(path: &str, schema: &Value, page: &mut String) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let required = list(&schema["required"]).any(|required| required == name);
        let shown = if required { format!("**`{path}`**") } else { format!("`{path}`") };
        let default = field.get("default").filter(|default| !default.is_object()).map(|default| format!("`{default}`")).unwrap_or_default();
        let _ = writeln!(
            page,
            "| {shown} | {} | {} | {} |",
            type_of(name, field),
            default.replace('"', ""),
            description(field).replace('|', "\\|")
        );
        inner_rows(name, &path, field, page);
    }
}

fn inner_rows(name: &str, path: &str, field: &Value, page: &mut String) {
    let (suffix, inner) = if field["items"].is_object() { ("[]", &field["items"]) } else { ("", field) };
    if kubernetes_type(&format!("{name}{suffix}")).is_none() {
        rows(&format!("{path}{suffix}"), inner, page);
    }
}

/// What a field means, without its default, which has a column; with what the API server insists on.
fn description(field: &Value) -> String {
    let whole = text(&field["description"]);
    let said = match &field["default"] {
        Value::String(default) => whole.strip_suffix(&format!(" Default: {default}.")),
        default => whole.strip_suffix(&format!(" Default: {default}.")),
    };
    let mut parts = vec![said.unwrap_or(&whole).to_owned()];
    let inner = [&field["items"], &field["additionalProperties"]].into_iter().flat_map(rules);
    parts.extend(rules(field).chain(inner).map(|rule| format!("*{rule}.*")));
    parts.join(" ")
}

fn rules(schema: &Value) -> impl Iterator<Item = String> {
    list(&schema["x-kubernetes-validations"]).map(|rule| text(&rule["message"]).replace('*', "\\*"))
}

fn type_of(name: &str, field: &Value) -> String {
    if let Some(known) = kubernetes_type(name) {
        return format!("Kubernetes' {known}");
    }
    if field["x-kubernetes-int-or-string"] == true {
        return "quantity".to_owned();
    }
    let values: Vec<_> = list(&field["enum"]).map(|value| format!("`{}`", text(value))).collect();
    match (field["type"].as_str().unwrap_or_default(), field["format"].as_str()) {
        ("string", _) if !values.is_empty() => values.join(", "),
        ("string", Some("date-time")) => "time".to_owned(),
        ("integer", _) => match (field["minimum"].as_f64(), field["maximum"].as_f64()) {
            (Some(least), Some(most)) => format!("integer, {least} to {most}"),
            _ => "integer".to_owned(),
        },
        ("array", _) => format!("list of {}", type_of(&format!("{name}[]"), &field["items"])),
        ("object", _) if field["additionalProperties"].is_object() => format!("map of {}", type_of("", &field["additionalProperties"])),
        (other, _) => other.to_owned(),
    }
}

fn kubernetes_type(name: &str) -> Option<&'static str> {
    KUBERNETES_TYPES.into_iter().find(|(field, _)| *field == name).map(|(_, known)| known)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
