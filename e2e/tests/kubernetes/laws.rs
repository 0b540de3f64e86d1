//! The operator against an API server alone: what is right is not written again, what was lost or edited is put right, what is somebody else's is
//! left alone, and of several operators one leads.
//!
//! There are no nodes: a hub's Pod waits for one for ever, and its IotHub says that it is starting.

use anyhow::{Context, Result, ensure};
use e2e::cluster::{
    CLAIM, CONFIG_MAP, DEFINITION, DEPLOYMENT, DEVICE, DISRUPTION_BUDGET, IOT_HUB, Kind, NETWORK_POLICY, Namespace, PROMETHEUS_RULE,
    SECRET, SERVICE, SERVICE_ACCOUNT, SERVICE_MONITOR, condition_of, is_observed, on_api_server,
};
use e2e::operator::{Operator, reconciles, writes};
use e2e::program::Program;
use serde_json::{Value, json};

use crate::plant::{PLANT, device_manifest, hub_manifest};
use crate::{alerts, kinds};

mod leaders;
mod sign_in;

/// A hub that says something of everything.
const EVERYTHING: &str = include_str!("laws/everything.yaml");

/// Where operators have their metrics, each story in a network of its own.
const PORTS: [u16; 2] = [9465, 9466];

/// The children that each hub has, unless it says otherwise.
const CHILDREN: &[(Kind, &str)] = &[
    (SERVICE_ACCOUNT, "plant"),
    (SECRET, "plant-ca"),
    (SECRET, "plant-tls"),
    (SECRET, "plant-operator"),
    (SECRET, "plant-policy-service"),
    (SECRET, "reader"),
    (CONFIG_MAP, "plant-config"),
    (CLAIM, "plant-data"),
    (SERVICE, "plant"),
    (SERVICE, "plant-api"),
    (SERVICE, "plant-metrics"),
    (NETWORK_POLICY, "plant"),
    (DISRUPTION_BUDGET, "plant"),
    (SERVICE_MONITOR, "plant"),
    (PROMETHEUS_RULE, "plant"),
    (DEPLOYMENT, "plant"),
];

/// Each of them, how somebody edits it, and what of it has to be put right.
const EDITS: &[(Kind, &str, &str, &str)] = &[
    (SERVICE_ACCOUNT, "plant", r#"{"automountServiceAccountToken": true}"#, "/automountServiceAccountToken"),
    (SECRET, "plant-ca", r#"{"stringData": {"ca.key": "mine"}}"#, "/data"),
    (SECRET, "plant-tls", r#"{"stringData": {"tls.crt": "mine"}}"#, "/data"),
    (SECRET, "plant-operator", r#"{"data": {"primaryKey": null}}"#, "/data"),
    (SECRET, "plant-policy-service", r#"{"stringData": {"connectionString": "mine"}}"#, "/data"),
    (SECRET, "reader", r#"{"metadata": {"annotations": {"mooring.dev/policy": "mine"}}}"#, "/metadata/annotations/mooring.dev~1policy"),
    (CONFIG_MAP, "plant-config", r#"{"data": {"hub.toml": "mine"}}"#, "/data"),
    (CLAIM, "plant-data", r#"{"metadata": {"labels": {"app.kubernetes.io/name": "mine"}}}"#, "/metadata/labels/app.kubernetes.io~1name"),
    (SERVICE, "plant", r#"{"spec": {"selector": {"app.kubernetes.io/instance": "mine"}}}"#, "/spec/selector"),
    // As somebody does it in an editor, who wants another port.
    (
        SERVICE,
        "plant-api",
        r#"{"spec": {"ports": [{"name": "api", "port": 444}, {"name": "metrics", "port": 9464}]}}"#,
        "/spec/ports/0/port",
    ),
    // Nobody opens it to the outside.
    (SERVICE, "plant-metrics", r#"{"spec": {"type": "NodePort"}}"#, "/spec/type"),
    (NETWORK_POLICY, "plant", r#"{"spec": {"ingress": []}}"#, "/spec"),
    (DISRUPTION_BUDGET, "plant", r#"{"metadata": {"labels": {"mooring.dev/hub": null}}}"#, "/metadata/labels/mooring.dev~1hub"),
    (SERVICE_MONITOR, "plant", r#"{"spec": {"endpoints": []}}"#, "/spec"),
    (PROMETHEUS_RULE, "plant", r#"{"spec": {"groups": null}}"#, "/spec"),
    (DEPLOYMENT, "plant", r#"{"spec": {"replicas": 0}}"#, "/spec/replicas"),
];

/// All that the API server needs to know, and what the hubs refer to.
async fn prepare(namespace: &Namespace) -> Result<()> {
    kinds::install(namespace).await?;
    let script =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=maker -keyout /dev/null 2>/dev/null";
    let maker = String::from_utf8(Program::named("sh").args(["-c", script]).output().await?)?;
    namespace.create_object(CONFIG_MAP, &json!({ "metadata": { "name": "maker" }, "data": { "ca.crt": maker } })).await?;
    namespace.create_object(SECRET, &json!({ "metadata": { "name": "buyer" }, "stringData": { "ca.crt": maker } })).await.map(drop)
}

/// The kinds of the Prometheus Operator's, as soon as whoever asks is told of them.
async fn with_monitoring(namespace: &Namespace) -> Result<()> {
    let kinds = [("ServiceMonitor", "servicemonitors"), ("PrometheusRule", "prometheusrules")];
    for (kind, plural) in kinds {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), alerts::definition(kind, plural).to_string())?;
        namespace.kubectl(&["apply", "--server-side", "--force-conflicts", "--filename"]).arg(file.path()).output().await?;
        namespace.until_condition(DEFINITION, &format!("{plural}.monitoring.coreos.com"), "Established", "True").await?;
    }
    let plurals = kinds.map(|(_, plural)| plural);
    kinds::until_told(namespace, &["get", "--raw", "/apis/monitoring.coreos.com/v1"], &plurals).await
}

/// Waits until the operator has made all that it can. A Pod that goes first, because of an edit for example, is on the way there.
async fn until_made(namespace: &Namespace, hub: &str) -> Result<Value> {
    let is_made = |hub: Option<&Value>| {
        hub.is_some_and(|hub| is_observed(hub, "Reconciling") && condition_of(hub, "Reconciling")["reason"] == "Starting")
    };
    namespace.until(IOT_HUB, hub, "made, and starting", is_made).await?.context("it is not there")
}

/// An object without what Kubernetes' controllers write of it.
fn ours(kind: Kind, object: &Value) -> Value {
    let mut object = object.clone();
    if [DEPLOYMENT, DISRUPTION_BUDGET].contains(&kind) {
        object["status"] = Value::Null;
        object["metadata"]["resourceVersion"] = Value::Null;
        if let Some(entries) = object["metadata"]["managedFields"].as_array_mut() {
            entries.retain(|entry| entry["subresource"] != "status");
        }
    }
    object
}

async fn all(namespace: &Namespace, of: &[(Kind, &str)]) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for (kind, name) in of {
        objects.push(ours(*kind, &namespace.get(*kind, name).await?));
    }
    Ok(objects)
}

#[test]
fn an_operator_that_starts_again_writes_nothing() -> Result<()> {
    on_api_server(async |namespace| {
        prepare(namespace).await?;
        with_monitoring(namespace).await?;
        namespace.apply(EVERYTHING).await?;
        // The cluster has each of them once.
        let ports = json!({ "devices": { "mqtt": { "nodePort": 30883 } }, "api": { "nodePort": 30443 } });
        namespace.patch(IOT_HUB, PLANT, &json!({ "spec": { "services": ports } })).await?;
        let mut first = Operator::start(namespace, PORTS[0], &[]).await?;
        namespace.apply(&device_manifest("pump", json!({})).to_string()).await?;
        until_made(namespace, PLANT).await?;
        // No address of a Service leads anywhere here.
        let is_away = |pump: Option<&Value>| pump.is_some_and(|pump| condition_of(pump, "Ready").to_string().contains("can't be reached"));
        namespace.until(DEVICE, "pump", "told that its hub is away", is_away).await?;
        // What Kubernetes itself does to them is done.
        let has_revision = |object: Option<&Value>| object.is_some_and(|object| object["status"]["unavailableReplicas"] == 1);
        namespace.until(DEPLOYMENT, PLANT, "rolling out", has_revision).await?;
        let is_protected = |object: Option<&Value>| object.is_some_and(|object| !object["metadata"]["finalizers"].is_null());
        namespace.until(CLAIM, "plant-data", "protected", is_protected).await?;
        ensure!(!writes(&first.metrics().await?).is_empty(), "its writes are not counted");
        ensure!(first.stop().await?.success(), "it did not end well");
        let everything: Vec<_> = CHILDREN.iter().copied().chain([(IOT_HUB, PLANT), (DEVICE, "pump")]).collect();
        let before = all(namespace, &everything).await?;

        let second = Operator::start(namespace, PORTS[0], &[]).await?;
        let has_reconciled = |samples: &_| reconciles(samples, "IotHub") >= 1.0 && reconciles(samples, "Device") >= 1.0;
        let samples = second.until("it has reconciled", has_reconciled).await?;
        ensure!(writes(&samples).is_empty(), "{:?}\n{}", writes(&samples), second.log());
        // What was queued before is written before another's.
        namespace.apply(&device_manifest("valve", json!({})).to_string()).await?;
        namespace.until_condition(DEVICE, "valve", "Ready", "False").await?;
        for (before, after) in before.iter().zip(all(namespace, &everything).await?) {
            ensure!(*before == after, "it was written:\n{before}\n{after}");
        }
        Ok(())
    })
}

/// The ports of a Service, in order.
fn ports(service: &Value) -> Vec<i64> {
    let mut ports: Vec<_> = service["spec"]["ports"].as_array().into_iter().flatten().filter_map(|port| port["port"].as_i64()).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn a_lost_or_edited_child_is_put_right() -> Result<()> {
    on_api_server(async |namespace| {
        prepare(namespace).await?;
        with_monitoring(namespace).await?;
        let _operator = Operator::start(namespace, PORTS[0], &["--leader-election", "off"]).await?;
        namespace.apply(EVERYTHING).await?;
        until_made(namespace, PLANT).await?;
        let made = all(namespace, CHILDREN).await?;
        for child in &made {
            let text = child.to_string();
            for foreign in ["argocd", "not for children", "not-for-children", "last-applied-configuration"] {
                ensure!(!text.contains(foreign), "{foreign} of the IotHub is on its child: {text}");
            }
        }

        let added = json!({ "labels": { "example.com/added": "by-hand" }, "annotations": { "example.com/added": "by hand" } });
        for ((kind, name, edit, field), was) in EDITS.iter().zip(&made) {
            // In one write, which the operator sees at once.
            let mut edit: Value = serde_json::from_str(edit)?;
            for part in ["labels", "annotations"] {
                edit["metadata"][part]["example.com/added"] = added[part]["example.com/added"].clone();
            }
            namespace.patch(*kind, name, &edit).await?;
            ensure!(was.pointer(field).is_some(), "{} has no {field}", kind.named(name));
        }
        for ((kind, name, _, field), was) in EDITS.iter().zip(&made) {
            let is_right = |object: Option<&Value>| object.is_some_and(|object| object.pointer(field) == was.pointer(field));
            let object = namespace.until(*kind, name, "put right", is_right).await?.context("it is not there")?;
            for part in ["labels", "annotations"] {
                ensure!(
                    object["metadata"][part]["example.com/added"] == added[part]["example.com/added"],
                    "it lost what was added: {object}"
                );
            }
        }

        // Nothing of all this is in the way of another port.
        namespace.patch(IOT_HUB, PLANT, &json!({ "spec": { "services": { "api": { "port": 8445 } } } })).await?;
        let is_moved = |object: Option<&Value>| object.is_some_and(|object| ports(object) == [8445]);
        namespace.until(SERVICE, "plant-api", "at another port, and at no other", is_moved).await?;

        for (kind, name) in CHILDREN {
            namespace.delete(*kind, name).await?;
        }
        for ((kind, name), was) in CHILDREN.iter().zip(&made) {
            let again = namespace.until_made_again(*kind, was).await?;
            ensure!(*kind != SECRET || again["data"] == was["data"], "{name} came back with something else");
        }
        until_made(namespace, PLANT).await.map(drop)
    })
}

#[test]
fn somebody_elses_objects_are_left_alone() -> Result<()> {
    on_api_server(async |namespace| {
        prepare(namespace).await?;
        // With our labels as well: they make nothing ours that somebody else controls.
        let owner = namespace.create_object(CONFIG_MAP, &json!({ "metadata": { "name": "owner" } })).await?;
        let foreign = [
            (
                SECRET,
                "plant-policy-service",
                json!({ "metadata": { "name": "plant-policy-service" }, "stringData": { "primaryKey": "mine" } }),
            ),
            (
                SERVICE,
                PLANT,
                json!({
                    "metadata": {
                        "name": PLANT, "labels": { "app.kubernetes.io/managed-by": "mooring-operator", "mooring.dev/hub": PLANT },
                        "ownerReferences": [{
                            "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"], "controller": true,
                        }],
                    },
                    "spec": { "ports": [{ "port": 8883 }] },
                }),
            ),
        ];
        let mut before = Vec::new();
        for (kind, _, object) in &foreign {
            before.push(namespace.create_object(*kind, object).await?);
        }
        let operator = Operator::start(namespace, PORTS[0], &["--leader-election", "off"]).await?;
        namespace.apply(EVERYTHING).await?;
        let hub = namespace.until_condition(IOT_HUB, PLANT, "Stalled", "True").await?;
        let ready = condition_of(&hub, "Ready");
        ensure!(ready["reason"] == "SecretConflict", "{ready}");
        ensure!(ready["message"].to_string().contains("Secret plant-policy-service is there already"), "{ready}");
        ensure!(namespace.find(DEPLOYMENT, PLANT).await?.is_none(), "a hub without one of its policies would begin wrongly");

        namespace.delete(SECRET, "plant-policy-service").await?;
        let is_told = |hub: Option<&Value>| hub.is_some_and(|hub| condition_of(hub, "Ready")["reason"] == "ChildConflict");
        let hub = namespace.until(IOT_HUB, PLANT, "told of the Service", is_told).await?.context("no hub")?;
        let ready = condition_of(&hub, "Ready");
        ensure!(ready["message"].to_string().contains("Service plant is there already and the ConfigMap owner's"), "{ready}");
        ensure!(namespace.get(SERVICE, PLANT).await? == before[1], "it was touched\n{}", operator.log());

        namespace.delete(SERVICE, PLANT).await?;
        until_made(namespace, PLANT).await?;
        namespace.get(DEPLOYMENT, PLANT).await.map(drop)
    })
}

#[test]
fn what_is_wanted_no_more_goes_and_what_is_kept_stays() -> Result<()> {
    on_api_server(async |namespace| {
        prepare(namespace).await?;
        with_monitoring(namespace).await?;
        let _operator = Operator::start(namespace, PORTS[0], &["--leader-election", "off"]).await?;
        namespace.apply(EVERYTHING).await?;
        let hub = until_made(namespace, PLANT).await?;
        let kept = [(CLAIM, "plant-data"), (SECRET, "plant-ca"), (SECRET, "plant-policy-service"), (SECRET, "plant-operator")];
        let owner = hub["metadata"]["uid"].clone();
        let is_owned = |object: &Value| object["metadata"]["ownerReferences"].as_array().is_some_and(|owners| owners[0]["uid"] == owner);
        for (kind, name) in CHILDREN {
            let retained = kept.contains(&(*kind, name)) || *name == "reader";
            ensure!(is_owned(&namespace.get(*kind, name).await?) != retained, "{} goes with its hub: {}", kind.named(name), retained);
        }

        let less = json!({ "spec": {
            "services": { "devices": { "type": null, "annotations": null, "loadBalancerClass": null, "https": { "enabled": false } } },
            "policies": [{ "name": "service" }],
            "podDisruptionBudget": { "enabled": false },
            "networkPolicy": { "enabled": false },
            "monitoring": { "prometheus": { "enabled": false } },
            "storage": { "embedded": { "deletionPolicy": "Delete" } },
        }});
        namespace.patch(IOT_HUB, PLANT, &less).await?;
        let gone =
            [(SECRET, "reader"), (NETWORK_POLICY, PLANT), (DISRUPTION_BUDGET, PLANT), (SERVICE_MONITOR, PLANT), (PROMETHEUS_RULE, PLANT)];
        for (kind, name) in gone {
            namespace.until_gone(kind, name).await?;
        }
        until_made(namespace, PLANT).await?;
        let service = namespace.get(SERVICE, PLANT).await?;
        ensure!(service["spec"]["type"] == "ClusterIP" && ports(&service) == [5671, 8883], "{service}");
        ensure!(service["metadata"]["annotations"]["example.com/pool"].is_null(), "{service}");
        for (kind, name) in kept {
            ensure!(is_owned(&namespace.get(kind, name).await?), "{} does not go with its hub", kind.named(name));
        }

        namespace.patch(IOT_HUB, PLANT, &json!({ "spec": { "storage": { "embedded": { "deletionPolicy": "Retain" } } } })).await?;
        for (kind, name) in kept {
            let is_kept = |object: Option<&Value>| object.is_some_and(|object| !is_owned(object));
            namespace.until(kind, name, "kept when its hub goes", is_kept).await?;
        }
        Ok(())
    })
}

/// Changes a hub's spec and waits until that is carried out.
async fn change(namespace: &Namespace, filter: &str) -> Result<()> {
    namespace.patch(IOT_HUB, PLANT, &json!({ "spec": { "logFilter": filter } })).await?;
    let is_changed = |config: Option<&Value>| config.is_some_and(|config| config["data"].to_string().contains(filter));
    namespace.until(CONFIG_MAP, "plant-config", "changed", is_changed).await.map(drop)
}

/// A hub's spec, the word for what is wrong with it, and what the message tells people to do.
const REFUSED: &[(&str, &str, &str)] = &[
    (r#"{"replicas": 2}"#, "ReplicasNotSupported", "set spec.replicas to 1"),
    (
        r#"{"storage": {"embedded": null, "distributed": {"registrySecretRef": {"name": "a"}, "eventsSecretRef": {"name": "b"}}}}"#,
        "StorageNotSupported",
        "use spec.storage.embedded",
    ),
    (r#"{"tls": {"secretRef": {"name": "nowhere"}}}"#, "SecretMissing", "nowhere"),
    (r#"{"tls": {"secretRef": {"name": "buyer"}}}"#, "SecretInvalid", "a certificate in tls.crt and its key in tls.key"),
    (r#"{"deviceAuthorities": [{"name": "a", "configMapRef": {"name": "nowhere"}}]}"#, "ConfigMapMissing", "nowhere"),
    (r#"{"policies": [{"name": "service", "keysFrom": {"name": "nowhere"}}]}"#, "SecretMissing", "nowhere"),
    (r#"{"tls": {"issuerRef": {"name": "letsencrypt"}}}"#, "CertManagerMissing", "or use selfSigned or secretRef"),
    // The definition leaves it to whoever reads it.
    (r#"{"scheduling": {"affinity": {"nodeAffinity": "north"}}}"#, "InvalidSpec", "spec.scheduling.affinity.nodeAffinity"),
];

#[test]
fn one_malformed_hub_stops_nobody_else() -> Result<()> {
    on_api_server(async |namespace| {
        prepare(namespace).await?;
        let _operator = Operator::start(namespace, PORTS[0], &["--leader-election", "off"]).await?;
        let named = |name: &str, more: &str| -> Result<String> {
            let mut hub = hub_manifest(serde_json::from_str(more)?);
            hub["metadata"]["name"] = json!(name);
            Ok(hub.to_string())
        };
        for (number, (more, ..)) in REFUSED.iter().enumerate() {
            namespace.apply(&named(&format!("wrong-{number}"), more)?).await?;
        }
        namespace.apply(&named(PLANT, "{}")?).await?;
        until_made(namespace, PLANT).await?;
        for (number, (more, reason, words)) in REFUSED.iter().enumerate() {
            let hub = namespace.until_condition(IOT_HUB, &format!("wrong-{number}"), "Stalled", "True").await?;
            let ready = condition_of(&hub, "Ready");
            ensure!(ready["status"] == "False" && ready["reason"] == *reason, "of {more} it says {ready}");
            ensure!(ready["message"].to_string().contains(words), "of {more} it says {ready}, but not {words}");
            ensure!(namespace.find(DEPLOYMENT, &format!("wrong-{number}")).await?.is_none(), "{more} was carried out");
        }
        change(namespace, "debug").await
    })
}
