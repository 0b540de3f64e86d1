//! The kinds as an API server has them: what it refuses, and with which words, what it fills in, and what can't be changed any more.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{DEVICE, IOT_HUB, Kind, Namespace, on_api_server};
use e2e::patience::within;
use serde_json::{Value, json};

/// The definitions, as they are for `kubectl apply`.
const DEFINITIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/yaml");

/// What there may be of a hub beside its hostnames, as YAML flow mapping, and what the refusal says.
const REFUSED_HUBS: &[(&str, &str)] = &[
    ("hostnames: ['Hub:8883']", "a host name in lower case without a port"),
    ("hostnames: [192.0.2.1, hub.example]", "has to be a name: put the address behind it"),
    ("hostnames: []", "should have at least 1 items"),
    ("colour: red", "unknown field \"spec.colour\""),
    ("tls: {selfSigned: {}, secretRef: {name: a}}", "spec.tls: Invalid value: only one of selfSigned, secretRef and issuerRef"),
    ("deviceAuthorities: [{name: a}]", "exactly one of configMapRef and secretRef"),
    ("partitions: 33", "should be less than or equal to 32"),
    ("retention: {time: 7d}", "a duration from 1h to 87600h"),
    ("retention: {time: 59m}", "a duration from 1h to 87600h"),
    ("retention: {size: 10Gi}", "retention.size has to be smaller than the volume"),
    ("retention: {size: much}", "a quantity from 256Mi to 1Pi"),
    ("consumerGroups: [$Default]", "$Default is there already"),
    ("consumerGroups: [a, a]", "Duplicate value"),
    ("consumerGroups: [alerts, Alerts]", "capitals make no difference"),
    ("consumerGroups: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t]", "must have at most 19 items"),
    (
        "storage: {embedded: {}, distributed: {registrySecretRef: {name: a}, eventsSecretRef: {name: b}}}",
        "only one of embedded and distributed",
    ),
    ("storage: {embedded: {size: 1Mi}}", "a quantity from 512Mi to 1Pi"),
    (
        "services: {devices: {mqtt: {enabled: false}, amqp: {enabled: false}, https: {enabled: false}}}",
        "at least one of mqtt, amqp and https has to be enabled",
    ),
    ("services: {devices: {mqtt: {port: 443}}}", "mqtt, amqp and https need ports of their own"),
    ("services: {devices: {amqp: {port: 8883}}}", "mqtt, amqp and https need ports of their own"),
    ("services: {devices: {amqp: {nodePort: 30671}}}", "a nodePort needs type: NodePort or LoadBalancer"),
    ("services: {devices: {mqtt: {nodePort: 30883}}}", "a nodePort needs type: NodePort or LoadBalancer"),
    ("services: {api: {nodePort: 30443}}", "a nodePort needs type: NodePort or LoadBalancer"),
    ("services: {devices: {loadBalancerClass: metallb}}", "loadBalancerClass needs type: LoadBalancer"),
    ("services: {devices: {type: ExternalName}}", "supported values: \"ClusterIP\", \"NodePort\", \"LoadBalancer\""),
    ("proxyProtocol: {sources: [10.0.0.1]}", "a network, such as 10.0.0.0/8"),
    ("policies: [{name: backend}]", "any other policy says its own"),
    ("policies: [{name: service, permissions: [ServiceConnect]}]", "have their permissions already"),
    ("policies: [{name: Mooring-Operator, permissions: [RegistryRead]}]", "mooring-operator is the operator's own"),
    ("policies: [{name: a_b, permissions: [RegistryRead]}]", "give the policy a secretName"),
    (
        "policies: [{name: a, permissions: [RegistryRead]}, {name: A, permissions: [RegistryRead]}]",
        "two policies would have the same Secret",
    ),
    ("policies: [{name: service, keysFrom: {name: a}, rotation: {requestedAt: '2026-11-23T12:00:00Z'}}]", "leave rotation out"),
    ("cloudToDevice: {defaultTtl: 49h}", "a duration from 1m to 48h"),
    ("cloudToDevice: {feedback: {lockDuration: 1s}}", "a duration from 5s to 5m"),
    ("limits: {unfinishedConnections: 100}", "can't be above unfinishedConnections"),
    ("logFilter: verbose", "a level (off, error, warn, info, debug, trace)"),
    ("monitoring: {offlineAfter: 9s}", "a duration from 10s to 2160h"),
    ("monitoring: {alerts: {labels: {severity: page}}}", "namespace, iothub, severity and alertname are given already"),
    ("devices: {allowedNamespaces: {from: Selector}}", "from: Selector needs a selector"),
    ("devices: {allowedNamespaces: {selector: {}}}", "a selector needs from: Selector"),
    ("resources: {requests: {cpu: lots}}", "a quantity, such as 500m, 2 or 1Gi"),
    ("resources: {requests: {cpu: 2}, limits: {cpu: 500m}}", "what is requested can't be more than the limit"),
    ("podSecurity: {runAsUser: 0}", "should be greater than or equal to 1"),
    ("podSecurity: {assigned: true, fsGroup: 1}", "leave runAsUser and fsGroup out"),
];

/// The same of Devices, beside their hubRef.
const REFUSED_DEVICES: &[(&str, &str)] = &[
    ("colour: red", "unknown field \"spec.colour\""),
    ("hubRef: {name: Plant}", "a hub's name"),
    ("deviceId: a b", "a device id: 1 to 128 ASCII letters"),
    ("authentication: {symmetricKey: {}, x509CA: {}}", "only one of symmetricKey, x509Thumbprint and x509CA"),
    ("authentication: {x509Thumbprint: {primary: 'ab:cd'}}", "hexadecimal digits without separators"),
    ("authentication: {x509CA: {}}, rotation: {requestedAt: '2026-11-23T12:00:00Z'}", "leave rotation out"),
    ("authentication: {symmetricKey: {secretRef: {name: a}}}, rotation: {requestedAt: '2026-11-23T12:00:00Z'}", "leave rotation out"),
    ("rotation: {requestedAt: tomorrow}", "a time with its zone"),
    ("rotation: {requestedAt: '2026-11-23T12:00:00'}", "a time with its zone"),
    ("rotation: {requestedAt: '2026-11-23T12:00:00Z', overlap: 1d}", "a duration from 0s to 8760h"),
    ("deletionPolicy: Keep", "supported values: \"Delete\", \"Retain\""),
    ("credentials: {labels: {mooring.dev/hub: other}}", "are the operator's own: leave them out"),
    ("credentials: {labels: {site: north side}}", "a label's value"),
    ("credentials: {secretName: Pump}", "a name as Kubernetes has them"),
    ("monitoring: {offlineAfter: 1s}", "a duration from 10s to 2160h"),
];

/// A kind, fields of an object of it, a patch that it does not take, and what the refusal says.
const UNCHANGEABLE: &[(Kind, &str, &str, &str)] = &[
    (IOT_HUB, "", r#"{"partitions": 8}"#, "partitions can't be changed"),
    (IOT_HUB, "storage: {embedded: {size: 20Gi}}", r#"{"storage": {"embedded": {"size": "19Gi"}}}"#, "can grow, but not shrink"),
    (IOT_HUB, "storage: {embedded: {size: 20Gi}}", r#"{"storage": {"embedded": null}}"#, "embedded can't be removed"),
    (IOT_HUB, "", r#"{"storage": {"embedded": {"size": "9Gi"}}}"#, "a size that is not smaller"),
    (IOT_HUB, "", r#"{"storage": {"embedded": {"storageClassName": "fast"}}}"#, "say no storageClassName"),
    (IOT_HUB, "storage: {embedded: {}}", r#"{"storage": {"embedded": {"storageClassName": "fast"}}}"#, "storageClassName can't be changed"),
    (DEVICE, "", r#"{"hubRef": {"name": "other"}}"#, "a device can't move to another hub"),
    (DEVICE, "", r#"{"deviceId": "unit"}"#, "deviceId can't be changed, added or removed"),
    (DEVICE, "deviceId: unit", r#"{"deviceId": null}"#, "deviceId can't be changed, added or removed"),
    (DEVICE, "deviceId: unit", r#"{"deviceId": "Unit"}"#, "deviceId can't be changed, added or removed"),
];

/// The same with patches that are taken.
const CHANGEABLE: &[(Kind, &str, &str)] = &[
    (IOT_HUB, "", r#"{"storage": {"embedded": {"size": "20Gi"}}}"#),
    (IOT_HUB, "storage: {embedded: {size: 1024Mi}}", r#"{"storage": {"embedded": {"size": "1Gi", "deletionPolicy": "Delete"}}}"#),
    // What a person adds to a manifest that said nothing of it: no default stands beside it.
    (IOT_HUB, "", r#"{"tls": {"secretRef": {"name": "tls"}}}"#),
    (IOT_HUB, "tls: {secretRef: {name: tls}}", r#"{"tls": {"secretRef": null, "issuerRef": {"name": "letsencrypt"}}}"#),
    (DEVICE, "", r#"{"authentication": {"x509CA": {}}}"#),
    (DEVICE, "authentication: {x509CA: {}}", r#"{"authentication": null, "enabled": false}"#),
];

fn manifest(kind: Kind, name: &str, fields: &str) -> String {
    let (kind, required) = if kind == IOT_HUB { ("IotHub", "hostnames: [hub.example.com]") } else { ("Device", "hubRef: {name: plant}") };
    let says_it = required.split(':').next().is_some_and(|field| fields.starts_with(field));
    let required = if says_it { String::new() } else { format!("{required}, ") };
    format!("{{apiVersion: mooring.dev/v1alpha1, kind: {kind}, metadata: {{name: {name}}}, spec: {{{required}{fields}}}}}")
}

/// Gives the definitions to the API server; every story may, since the second time changes nothing.
pub async fn install(namespace: &Namespace) -> Result<()> {
    ensure!(Path::new(DEFINITIONS).is_dir(), "no definitions in {DEFINITIONS}");
    namespace.kubectl(&["apply", "--server-side", "--force-conflicts", "--filename", DEFINITIONS]).output().await?;
    let wait = ["wait", "--for=condition=Established", "--timeout=30s", "crd/iothubs.mooring.dev", "crd/devices.mooring.dev"];
    namespace.kubectl(&wait).output().await.map(drop)
}

/// Waits until kubectl has these words from the API server: an established kind is in its lists and documents a moment later.
///
/// # Errors
/// When it does not come to have them.
pub async fn until_told(namespace: &Namespace, asks: &[&str], words: &[&str]) -> Result<()> {
    let telling = async {
        loop {
            let said = namespace.kubectl(asks).outcome().await?;
            let said = String::from_utf8(said.stdout)?;
            if words.iter().all(|word| said.contains(word)) {
                return Ok(());
            }
        }
    };
    within(&format!("kubectl {} to tell of {}", asks.join(" "), words.join(", ")), telling).await?
}

#[test]
fn wrong_manifests_are_refused_with_words_that_say_what_to_do() -> Result<()> {
    on_api_server(async |namespace| {
        install(namespace).await?;
        for (kind, cases) in [(IOT_HUB, REFUSED_HUBS), (DEVICE, REFUSED_DEVICES)] {
            for (fields, words) in cases {
                let said = namespace.refused(&manifest(kind, "plant", fields)).await?;
                ensure!(said.contains(words), "of {fields} it says\n{said}\nbut not {words}");
            }
        }
        let names = [
            (IOT_HUB, "1plant".to_owned(), "with a letter at the beginning"),
            (IOT_HUB, "p".repeat(41), "at most 40 lower-case letters"),
            (DEVICE, "p".repeat(129), "give the device a deviceId of its own"),
        ];
        for (kind, name, words) in names {
            let said = namespace.refused(&manifest(kind, &name, "")).await?;
            ensure!(said.contains(words), "of {name} it says\n{said}\nbut not {words}");
        }
        let said = namespace.refused(&manifest(DEVICE, &"p".repeat(242), "deviceId: unit")).await?;
        ensure!(said.contains("give the device a credentials.secretName"), "{said}");
        Ok(())
    })
}

#[test]
fn what_a_manifest_leaves_out_is_filled_in() -> Result<()> {
    on_api_server(async |namespace| {
        install(namespace).await?;
        namespace.apply(&manifest(IOT_HUB, "plant", "tls: {}, storage: null, scheduling: {affinity: {podAffinity: {}}}")).await?;
        let hub = namespace.get(IOT_HUB, "plant").await?;
        for (path, value) in [
            ("/spec/tls", json!({})),
            ("/spec/storage", json!({})),
            ("/spec/partitions", json!(4)),
            ("/spec/replicas", json!(1)),
            ("/spec/services/devices/externalTrafficPolicy", json!("Local")),
            ("/spec/services/devices/mqtt/enabled", json!(true)),
            ("/spec/services/devices/amqp/enabled", json!(true)),
            ("/spec/services/api/port", json!(8443)),
            ("/spec/devices/allowedNamespaces/from", json!("Same")),
            ("/spec/monitoring/alerts/fleetDropPercent", json!(20)),
            ("/spec/networkPolicy/enabled", json!(true)),
            ("/spec/podDisruptionBudget/enabled", json!(false)),
            ("/spec/scheduling/affinity", json!({ "podAffinity": {} })),
        ] {
            ensure!(hub.pointer(path) == Some(&value), "{path} is not {value} in {hub}");
        }
        namespace.apply(&manifest(DEVICE, "pump", "authentication: {}, credentials: {}, tags: {a: {b: [1]}}")).await?;
        let spec = json!({
            "hubRef": { "name": "plant" }, "enabled": true, "authentication": {}, "deletionPolicy": "Delete", "adoption": "Fail",
            "credentials": { "format": "connectionString" }, "tags": { "a": { "b": [1] } },
        });
        ensure!(namespace.get(DEVICE, "pump").await?["spec"] == spec, "the Device is filled in otherwise");
        // Distributed storage and replicas are for the operator to refuse, with a condition.
        let later = "replicas: 3, storage: {distributed: {registrySecretRef: {name: a}, eventsSecretRef: {name: b}}}";
        namespace.apply(&manifest(IOT_HUB, "fleet", later)).await
    })
}

#[test]
fn what_can_not_be_changed_is_said_and_what_can_is_taken() -> Result<()> {
    on_api_server(async |namespace| {
        install(namespace).await?;
        let spec = |patch: &str| -> Result<Value> { Ok(json!({ "spec": serde_json::from_str::<Value>(patch)? })) };
        for (number, (kind, fields, patch, words)) in UNCHANGEABLE.iter().enumerate() {
            let name = format!("fixed-{number}");
            namespace.apply(&manifest(*kind, &name, fields)).await?;
            let error = namespace.patch(*kind, &name, &spec(patch)?).await.err().with_context(|| format!("{patch} was accepted"))?;
            ensure!(format!("{error:#}").contains(words), "of {patch} it says {error:#}, but not {words}");
        }
        for (number, (kind, fields, patch)) in CHANGEABLE.iter().enumerate() {
            let name = format!("free-{number}");
            namespace.apply(&manifest(*kind, &name, fields)).await?;
            namespace.patch(*kind, &name, &spec(patch)?).await?;
        }
        Ok(())
    })
}

#[test]
fn people_find_what_they_look_for() -> Result<()> {
    on_api_server(async |namespace| {
        install(namespace).await?;
        until_told(namespace, &["api-resources", "--api-group=mooring.dev"], &["mhub", "mdev"]).await?;
        let documents = "/openapi/v3/apis/mooring.dev/v1alpha1";
        until_told(namespace, &["get", "--raw", documents], &["v1alpha1.IotHub\"", "v1alpha1.Device\""]).await?;
        // What kubectl remembers of the kinds it shares with other stories, which may have asked before they were there.
        let memory = tempfile::tempdir()?;
        let said = async |arguments: &[&str]| -> Result<String> {
            let kubectl = namespace.kubectl(arguments).arg("--cache-dir").arg(memory.path());
            Ok(String::from_utf8(kubectl.output().await?)?)
        };
        for (field, words) in [
            ("mhub.spec", "hostnames\t<[]string> -required-"),
            ("mhub.spec.storage.embedded.deletionPolicy", "Default: Retain."),
            ("mhub.spec.services.devices.type", "ENUM:"),
            ("mdev.spec.adoption", "Default: Fail."),
            ("mdev.status.conditions", "what to do, for people"),
        ] {
            let explained = said(&["explain", field]).await?;
            ensure!(explained.contains(words), "of {field} it says\n{explained}\nbut not {words}");
        }
        namespace.apply(&manifest(IOT_HUB, "plant", "")).await?;
        for (name, fields) in [("pump", "enabled: true"), ("valve", "enabled: false")] {
            namespace.apply(&manifest(DEVICE, name, fields)).await?;
        }
        let status = json!({ "status": { "authenticationType": "symmetricKey", "conditions": [{
            "type": "Ready", "status": "True", "reason": "InHub", "message": "", "lastTransitionTime": "2026-11-23T12:00:00Z",
        }]}});
        namespace.patch_status(DEVICE, "pump", &status).await?;
        let table = said(&["get", "mdev", "--field-selector", "spec.hubRef.name=plant,spec.enabled=true"]).await?;
        let (heading, row) = table.trim_end().split_once('\n').context("no row")?;
        let heading: Vec<_> = heading.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect();
        ensure!(heading == ["NAME", "READY", "ENABLED", "AUTH", "CONNECTED", "LAST SEEN", "AGE"], "{heading:?}");
        ensure!(row.split_whitespace().take(4).eq(["pump", "True", "true", "symmetricKey"]), "{row}");
        let table = said(&["get", "mhub"]).await?;
        let heading: Vec<_> = table.lines().next().unwrap_or_default().split_whitespace().collect();
        ensure!(heading == ["NAME", "READY", "DEVICES", "CONNECTED", "VERSION", "AGE"], "{heading:?}");
        Ok(())
    })
}
