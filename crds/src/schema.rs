//! Pieces of schema that several kinds use.

use k8s_openapi::api::core::v1::Affinity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A DNS name.
pub(crate) const HOST_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// An RFC 1123 label.
pub(crate) const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// A Kubernetes quantity that is 0 or more: `10Gi`, `500m`, `2`.
const QUANTITY: &str = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|([eE][-+]?[0-9]+))?$";

pub(crate) fn date_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

/// Numbers are quantities too: `cpu: 2`.
pub(crate) fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "type": "integer" }, { "type": "string" }], "pattern": QUANTITY, "x-kubernetes-int-or-string": true })
}

pub(crate) fn optional_quantity(generator: &mut SchemaGenerator) -> Schema {
    quantity(generator)
}

pub(crate) fn quantities(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "maxProperties": 16, "additionalProperties": quantity(generator) })
}

/// Kubernetes' own, which the API server checks when the Deployment is made: its whole schema would be larger than all the rest.
pub(crate) fn affinity(_: &mut SchemaGenerator) -> Schema {
    let description = Affinity::json_schema(&mut SchemaGenerator::default()).get("description").cloned().unwrap_or_default();
    json_schema!({ "type": "object", "description": description, "x-kubernetes-preserve-unknown-fields": true })
}
