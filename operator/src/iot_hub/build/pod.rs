//! The Deployment: one Pod, which is gone before the next one begins, with no right that a hub does not need.
//!
//! Its template has a hash of the configuration, so that another one rolls; not of what the hub reads again by itself (consumer groups,
//! certificate, policies' keys, device authorities).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Plan;
use super::config::{
    ACCOUNT_FOLDER, AMQP_PORT, API_PORT, AUTHORITIES_FOLDER, DATA_FOLDER, FILE_PATH, FOLDER, HTTPS_PORT, METRICS_PORT, MQTT_PORT,
    POLICIES_FOLDER, SHUTDOWN_TIME_S, TLS_FOLDER,
};
use crate::iot_hub::child::{Child, Kind};
use crate::labels::{self, HubChildren, OPERATOR_POLICY};

/// The annotation with the hash of the configuration.
pub const CONFIG_HASH: &str = "mooring.dev/config";

/// The number that hubs run under, and that owns their volumes, when the spec does not say.
const NUMBER: i64 = 65532;

/// What a hub takes to end besides its connections: the last group on disk, the last locks given back.
const SHUTDOWN_MARGIN_S: u64 = 20;

/// How long a hub may take to begin: a journal of some hundred GiB without an index is read through.
const START_PROBES: i32 = 180;

/// How long a token is good with which the hub asks the cluster; the kubelet renews it in time.
const ACCOUNT_TOKEN_LIFETIME_S: i64 = 3600;

/// The Deployment.
#[must_use]
pub fn deployment(plan: Plan<'_>, config_hash: &str) -> Child {
    let name = plan.name();
    let spec = json!({
        "replicas": 1,
        // A volume belongs to one Pod at a time.
        "strategy": { "type": "Recreate" },
        "revisionHistoryLimit": 3,
        "selector": { "matchLabels": labels::hub_selector(&name) },
        "template": {
            "metadata": { "labels": labels::of_hub(&name), "annotations": { CONFIG_HASH: config_hash } },
            "spec": pod(plan),
        },
    });
    plan.child(Kind::Deployment, &name, json!({ "spec": spec }))
}

fn pod(plan: Plan<'_>) -> Value {
    let spec = &plan.hub.spec;
    let scheduling = &spec.scheduling;
    let mut pod = json!({
        "serviceAccountName": plan.name(),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": pod_security(plan),
        // Nothing before it: with one replica there is nobody to send new connections to in the meantime.
        "terminationGracePeriodSeconds": SHUTDOWN_TIME_S + SHUTDOWN_MARGIN_S,
        "containers": [container(plan)],
        "volumes": volumes(plan),
    });
    let optional = [
        ("nodeSelector", (!scheduling.node_selector.is_empty()).then(|| json!(scheduling.node_selector))),
        ("tolerations", (!scheduling.tolerations.is_empty()).then(|| json!(scheduling.tolerations))),
        ("affinity", scheduling.affinity.as_ref().map(|affinity| json!(affinity))),
        ("priorityClassName", scheduling.priority_class_name.as_ref().map(|class| json!(class))),
        ("imagePullSecrets", (!spec.image.pull_secrets.is_empty()).then(|| json!(spec.image.pull_secrets))),
    ];
    for (field, value) in optional {
        if let Some(value) = value {
            pod[field] = value;
        }
    }
    pod
}

fn pod_security(plan: Plan<'_>) -> Value {
    let given = &plan.hub.spec.pod_security;
    let mut security = json!({
        "runAsNonRoot": true,
        "seccompProfile": { "type": "RuntimeDefault" },
        "fsGroupChangePolicy": "OnRootMismatch",
    });
    if !given.assigned {
        let user = given.run_as_user.unwrap_or(NUMBER);
        security["runAsUser"] = json!(user);
        security["runAsGroup"] = json!(given.fs_group.unwrap_or(NUMBER));
        security["fsGroup"] = json!(given.fs_group.unwrap_or(NUMBER));
    }
    security
}

fn container(plan: Plan<'_>) -> Value {
    let spec = &plan.hub.spec;
    let devices = &spec.services.devices;
    let ports: Vec<Value> = [
        ("mqtts", MQTT_PORT, devices.mqtt.enabled),
        ("amqps", AMQP_PORT, devices.amqp.enabled),
        ("https", HTTPS_PORT, devices.https.enabled),
        ("api", API_PORT, true),
        ("metrics", METRICS_PORT, true),
    ]
    .into_iter()
    .filter(|(_, _, enabled)| *enabled)
    .map(|(name, port, _)| json!({ "name": name, "containerPort": port, "protocol": "TCP" }))
    .collect();
    let probe = |path: &str, every_s: i32, failures: i32| {
        json!({
            "httpGet": { "path": path, "port": METRICS_PORT, "scheme": "HTTPS" },
            "periodSeconds": every_s,
            "timeoutSeconds": 5,
            "failureThreshold": failures,
        })
    };
    let mut container = json!({
        "name": "hub",
        "image": spec.image.reference.as_ref().unwrap_or(&plan.surroundings.hub_image),
        "args": ["serve", "--config", FILE_PATH],
        "ports": ports,
        "startupProbe": probe("/healthz", 2, START_PROBES),
        "livenessProbe": probe("/healthz", 10, 6),
        "readinessProbe": probe("/readyz", 5, 2),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
        },
        // What it wrote last is what a person asks for when it does not start.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts(plan),
    });
    if let Some(policy) = spec.image.pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    let resources: BTreeMap<&str, Value> = [("requests", &spec.resources.requests), ("limits", &spec.resources.limits)]
        .into_iter()
        .filter(|(_, given)| !given.is_empty())
        .map(|(name, given)| (name, json!(given)))
        .collect();
    if !resources.is_empty() {
        container["resources"] = json!(resources);
    }
    container
}

fn mounts(plan: Plan<'_>) -> Value {
    let mut mounts = vec![
        json!({ "name": "data", "mountPath": DATA_FOLDER }),
        json!({ "name": "config", "mountPath": FOLDER, "readOnly": true }),
        json!({ "name": "tls", "mountPath": TLS_FOLDER, "readOnly": true }),
        json!({ "name": "policies", "mountPath": POLICIES_FOLDER, "readOnly": true }),
        // For SQLite, which sorts what is too large for memory.
        json!({ "name": "tmp", "mountPath": "/tmp" }),
    ];
    if !plan.hub.spec.device_authorities.is_empty() {
        mounts.push(json!({ "name": "authorities", "mountPath": AUTHORITIES_FOLDER, "readOnly": true }));
    }
    if plan.hub.spec.dashboard.kubernetes.enabled {
        mounts.push(json!({ "name": "account", "mountPath": ACCOUNT_FOLDER, "readOnly": true }));
    }
    json!(mounts)
}

fn volumes(plan: Plan<'_>) -> Value {
    let name = plan.name();
    let children = HubChildren(&name);
    // The volume's group may read; without a group of ours, whoever the cluster lets the hub run as.
    let mode = if plan.hub.spec.pod_security.assigned { 0o444 } else { 0o440 };
    let items = |keys: &[&str], folder: &str| -> Vec<Value> {
        keys.iter().map(|key| json!({ "key": key, "path": format!("{folder}{key}") })).collect()
    };
    let operators = (OPERATOR_POLICY, children.operator_policy());
    let policies: Vec<Value> = plan
        .valid
        .policies
        .iter()
        .map(|policy| (policy.name.as_str(), policy.secret.clone()))
        .chain([operators])
        .map(|(policy, secret)| {
            json!({ "secret": { "name": secret, "items": items(&["primaryKey", "secondaryKey"], &format!("{policy}/")) } })
        })
        .collect();
    let mut volumes = vec![
        json!({ "name": "data", "persistentVolumeClaim": { "claimName": children.data() } }),
        json!({ "name": "config", "configMap": { "name": children.config() } }),
        json!({
            "name": "tls",
            "secret": { "secretName": plan.certificate_secret(), "defaultMode": mode, "items": items(&["tls.crt", "tls.key"], "") },
        }),
        json!({ "name": "policies", "projected": { "defaultMode": mode, "sources": policies } }),
        json!({ "name": "tmp", "emptyDir": { "sizeLimit": "1Gi" } }),
    ];
    let authorities: Vec<Value> = plan
        .hub
        .spec
        .device_authorities
        .iter()
        .filter_map(|authority| {
            let (kind, bundle) = match (&authority.config_map_ref, &authority.secret_ref) {
                (Some(bundle), _) => ("configMap", bundle),
                (None, bundle) => ("secret", bundle.as_ref()?),
            };
            let items = items(&[&bundle.key], &format!("{}/", authority.name));
            Some(json!({ kind: { "name": bundle.name, "items": items } }))
        })
        .collect();
    if !authorities.is_empty() {
        volumes.push(json!({ "name": "authorities", "projected": { "defaultMode": mode, "sources": authorities } }));
    }
    volumes.extend(plan.hub.spec.dashboard.kubernetes.enabled.then(|| account(mode)));
    json!(volumes)
}

/// The ServiceAccount's token, mounted by hand: a Pod has it only where the hub has something to ask.
fn account(mode: i32) -> Value {
    json!({
        "name": "account",
        "projected": {
            "defaultMode": mode,
            "sources": [
                { "serviceAccountToken": { "path": "token", "expirationSeconds": ACCOUNT_TOKEN_LIFETIME_S } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
            ],
        },
    })
}
