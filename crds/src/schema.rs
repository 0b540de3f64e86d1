//! Pieces of schema that several kinds use: what a field may hold, as a rule with a message that says what to write.
//!
//! A rule, and not a pattern: the API server answers a pattern that does not fit with the pattern.

use k8s_openapi::api::core::v1::Affinity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// The longest name of a Kubernetes object, in characters.
const OBJECT_NAME_MAX: usize = 253;

/// The longest value of a label, in characters.
const LABEL_VALUE_MAX: usize = 63;

/// The longest value of an annotation that is passed on, in characters: load balancers take JSON there.
const ANNOTATION_VALUE_MAX: usize = 8192;

/// The longest text of a quantity, in characters.
const QUANTITY_MAX: usize = 64;

/// The longest text of a duration, in characters.
pub(crate) const DURATION_MAX: usize = 64;

/// A hub's name in CEL and in regular expressions: its Services are named after it.
pub(crate) const HUB_NAME: &str = "^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$";

/// A DNS subdomain.
const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// As Go writes durations. Numbers are short, so that no sum is out of Go's range.
const DURATION: &str = r"^(0|([0-9]{1,6}(\\.[0-9]{0,9})?(ns|us|µs|ms|s|m|h))+)$";

fn text(min: usize, max: usize, rule: &str, message: &str) -> Schema {
    json_schema!({ "type": "string", "minLength": min, "maxLength": max, "x-kubernetes-validations": [{ "rule": rule, "message": message }] })
}

/// A host name as a hub and its certificate have it.
pub(crate) fn host_names(_: &mut SchemaGenerator) -> Schema {
    let rule = r"self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$')";
    let item = text(1, 253, rule, "a host name in lower case without a port, such as hub.example.com");
    let first = json!({
        "rule": "self.size() == 0 || !isIP(self[0])",
        "message": "the first is the HostName of connection strings and has to be a name: put the address behind it",
    });
    json_schema!({
        "type": "array", "minItems": 1, "maxItems": 16, "items": item, "x-kubernetes-list-type": "set", "x-kubernetes-validations": [first],
    })
}

/// What is written into a log.
pub(crate) fn log_filter(_: &mut SchemaGenerator) -> Schema {
    let rule = "self.matches('(?i)^([a-z0-9_:]+=)?(off|error|warn|info|debug|trace)(,([a-z0-9_:]+=)?(off|error|warn|info|debug|trace))*$')";
    text(1, 1024, rule, "a level (off, error, warn, info, debug, trace), or levels per module, as in mooring_hub::mqtt=debug,info")
}

/// Networks.
pub(crate) fn networks(_: &mut SchemaGenerator) -> Schema {
    let item = text(3, 64, "isCIDR(self)", "a network, such as 10.0.0.0/8 or fd00::/8");
    json_schema!({ "type": "array", "minItems": 1, "maxItems": 64, "items": item, "x-kubernetes-list-type": "set" })
}

/// Names of consumer groups.
pub(crate) fn consumer_groups(_: &mut SchemaGenerator) -> Schema {
    let rule = "self.matches('^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$')";
    let item = text(1, 50, rule, "letters, digits and ._- between them; $Default is there already, so leave it out");
    let once = json!({
        "rule": "self.all(a, self.exists_one(b, a.lowerAscii() == b.lowerAscii()))",
        "message": "capitals make no difference: leave one of the two out",
    });
    // Twenty with $Default.
    json_schema!({ "type": "array", "maxItems": 19, "items": item, "x-kubernetes-list-type": "set", "x-kubernetes-validations": [once] })
}

/// The name of an object.
pub(crate) fn object_name(_: &mut SchemaGenerator) -> Schema {
    let rule = format!("self.matches('{SUBDOMAIN}')");
    text(1, OBJECT_NAME_MAX, &rule, "a name as Kubernetes has them: lower-case letters, digits, and - and . between them")
}

/// The name of a hub.
pub(crate) fn hub_name(_: &mut SchemaGenerator) -> Schema {
    let rule = format!("self.matches('{HUB_NAME}')");
    text(1, 40, &rule, "a hub's name: at most 40 lower-case letters, digits and hyphens, with a letter at the beginning")
}

/// A namespace's name, and other short ones.
pub(crate) fn label_name(_: &mut SchemaGenerator) -> Schema {
    text(1, 63, "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')", "at most 63 lower-case letters, digits, and hyphens between them")
}

/// The name of an entry in a Secret or a ConfigMap.
pub(crate) fn entry(_: &mut SchemaGenerator) -> Schema {
    text(1, 253, "self.matches('^[-._a-zA-Z0-9]+$')", "the name of an entry: letters, digits and -._")
}

/// A device id.
pub(crate) fn device_id(_: &mut SchemaGenerator) -> Schema {
    let rule = r#"self.matches("^[A-Za-z0-9.+%_#*?!(),:;=@$'-]+$")"#;
    text(1, 128, rule, "a device id: 1 to 128 ASCII letters, digits and -.+%_#*?!(),:;=@$'")
}

/// The thumbprint of a certificate.
pub(crate) fn thumbprint(_: &mut SchemaGenerator) -> Schema {
    let rule = "self.matches('^([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$')";
    text(1, 128, rule, "a thumbprint: 40 (SHA-1) or 64 (SHA-256) hexadecimal digits without separators")
}

/// A point in time.
pub(crate) fn date_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

fn duration_between(min: &str, max: &str) -> Schema {
    let rule = format!("self.matches('{DURATION}') && duration(self) >= duration('{min}') && duration(self) <= duration('{max}')");
    text(
        1,
        DURATION_MAX,
        &rule,
        &format!("a duration from {min} to {max}: numbers with the units h, m, s and ms, such as 90s, 15m or 1h30m"),
    )
}

/// A point in time that people write. Nothing that the API server takes for a time and jiff does not: one object that can't be read would
/// stop whoever reads all of them.
pub(crate) fn moment(_: &mut SchemaGenerator) -> Schema {
    let rule = r"self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[-+][0-9]{2}:[0-9]{2})$') && timestamp(self) > timestamp('2000-01-01T00:00:00Z')";
    text(1, 40, rule, "a time with its zone, such as 2026-11-23T12:00:00Z")
}

/// How long the key before a rotation stays good.
pub(crate) fn overlap(_: &mut SchemaGenerator) -> Schema {
    duration_between("0s", "8760h")
}

/// How long events are kept.
pub(crate) fn retention_time(_: &mut SchemaGenerator) -> Schema {
    duration_between("1h", "87600h")
}

/// How long commands and receipts wait.
pub(crate) fn ttl(_: &mut SchemaGenerator) -> Schema {
    duration_between("1m", "48h")
}

/// How long what was delivered is locked.
pub(crate) fn lock_duration(_: &mut SchemaGenerator) -> Schema {
    duration_between("5s", "5m")
}

/// After how long without a connection a device counts as missing.
pub(crate) fn offline_after(_: &mut SchemaGenerator) -> Schema {
    duration_between("10s", "2160h")
}

/// How often metrics are read.
pub(crate) fn scrape_interval(_: &mut SchemaGenerator) -> Schema {
    duration_between("1s", "1h")
}

/// For how long something holds before somebody is called.
pub(crate) fn alert_after(_: &mut SchemaGenerator) -> Schema {
    duration_between("1m", "24h")
}

/// How long before its end a certificate is spoken of.
pub(crate) fn expires_within(_: &mut SchemaGenerator) -> Schema {
    duration_between("1h", "8760h")
}

fn quantity_that(rule: &str, message: &str) -> Schema {
    json_schema!({
        "anyOf": [{ "type": "integer" }, { "type": "string" }],
        "x-kubernetes-int-or-string": true,
        "maxLength": QUANTITY_MAX,
        "x-kubernetes-validations": [{ "rule": rule, "message": message }],
    })
}

fn quantity_between(min: &str, max: &str) -> Schema {
    let rule = format!(
        "isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('{min}')) >= 0 && quantity(string(self)).compareTo(quantity('{max}')) <= 0"
    );
    quantity_that(&rule, &format!("a quantity from {min} to {max}, such as 10Gi"))
}

/// The size of a volume.
pub(crate) fn volume_size(_: &mut SchemaGenerator) -> Schema {
    quantity_between("512Mi", "1Pi")
}

/// How much disk events may take.
pub(crate) fn retention_size(_: &mut SchemaGenerator) -> Schema {
    quantity_between("256Mi", "1Pi")
}

/// Quantities of a container's resources.
pub(crate) fn resource_list(_: &mut SchemaGenerator) -> Schema {
    let rule = "isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('0')) >= 0";
    let item = quantity_that(rule, "a quantity, such as 500m, 2 or 1Gi");
    json_schema!({ "type": "object", "maxProperties": 16, "additionalProperties": item })
}

fn label_value() -> Schema {
    let rule = "self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')";
    text(0, LABEL_VALUE_MAX, rule, "a label's value: letters, digits, and -_. between them, or nothing")
}

/// Labels.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "maxProperties": 32, "additionalProperties": label_value() })
}

/// Labels for a child whose own are not to be replaced.
pub(crate) fn labels_beside_ours(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": label_value(),
        "x-kubernetes-validations": [{
            "rule": "self.all(key, !key.startsWith('mooring.dev/') && key != 'app.kubernetes.io/managed-by')",
            "message": "mooring.dev/… and app.kubernetes.io/managed-by are the operator's own: leave them out",
        }],
    })
}

/// Labels of alerts.
pub(crate) fn alert_labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 256 },
        "x-kubernetes-validations": [{
            "rule": "self.all(key, !(key in ['namespace', 'iothub', 'severity', 'alertname']))",
            "message": "namespace, iothub, severity and alertname are given already: leave them out",
        }],
    })
}

/// Annotations.
pub(crate) fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "maxProperties": 64, "additionalProperties": { "type": "string", "maxLength": ANNOTATION_VALUE_MAX } })
}

/// Any JSON object.
pub(crate) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true, "maxProperties": 256 })
}

/// Kubernetes' own, which the API server checks when the Deployment is made: its whole schema would be larger than all the rest.
pub(crate) fn affinity(_: &mut SchemaGenerator) -> Schema {
    let description = Affinity::json_schema(&mut SchemaGenerator::default()).get("description").cloned().unwrap_or_default();
    json_schema!({ "type": "object", "description": description, "x-kubernetes-preserve-unknown-fields": true })
}

/// Conditions as Kubernetes' own types have them; the bounds are those of `metav1.Condition`.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    let described = |description: &str, mut schema: Value| {
        schema["description"] = description.into();
        schema
    };
    let properties = json!({
        "type": described("What it is about.", json!({ "type": "string", "minLength": 1, "maxLength": 316 })),
        "status": described("Whether it holds.", json!({ "type": "string", "enum": ["True", "False", "Unknown"] })),
        "reason": described(
            "Why, in one word for programs.",
            json!({ "type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$" }),
        ),
        "message": described("Why, and what to do, for people.", json!({ "type": "string", "maxLength": 32768 })),
        "lastTransitionTime": described("When the status last changed.", json!({ "type": "string", "format": "date-time" })),
        "observedGeneration": described("The generation that it is about.", json!({ "type": "integer", "format": "int64", "minimum": 0 })),
    });
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": { "type": "object", "required": ["type", "status", "reason", "message", "lastTransitionTime"], "properties": properties },
    })
}
