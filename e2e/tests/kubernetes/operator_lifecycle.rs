//! The operator's life: killed in the middle of its work, upgraded, taken away; and what `kubectl wait` says is true at every moment.

use std::pin::pin;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{DEFINITION, DEVICE, IOT_HUB, POD, SECRET, condition_of, on_cluster};
use e2e::connection_string::ConnectionString;
use e2e::mqtt::events_topic;
use e2e::patience::within;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::plant::{OPERATOR, PLANT, Plant, RELEASE, device_manifest, install};

/// Devices that are under way when the operator is killed.
const DEVICES: usize = 300;

#[test]
fn an_operator_killed_in_the_middle_goes_on_where_it_was() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        let manifests: Vec<_> = (0..DEVICES).map(|number| device_manifest(&format!("pump-{number}"), json!({})).to_string()).collect();
        // All at once, so that the first one is ready long before the last one.
        let scale = async |replicas: &str| namespace.kubectl(&["scale", "deployment", OPERATOR, replicas]).output().await;
        scale("--replicas=0").await?;
        namespace.apply(&manifests.join("\n---\n")).await?;
        scale("--replicas=1").await?;
        let mut changes = pin!(namespace.changes(DEVICE));
        while let Some(device) = within("the first Device to be ready", changes.next()).await? {
            if condition_of(&device?, "Ready")["status"] == "True" {
                break;
            }
        }
        let operator = plant.pod("app.kubernetes.io/name=mooring-operator").await?;
        let operator = operator["metadata"]["name"].as_str().context("no name")?;
        namespace.kubectl(&["delete", "pod", operator, "--grace-period=0", "--force"]).output().await?;
        let under_way =
            namespace.list(DEVICE, "").await?.into_iter().filter(|device| condition_of(device, "Ready")["status"] != "True").count();
        ensure!(under_way > 0, "all were ready before the operator was killed");
        for number in 0..DEVICES {
            namespace.until_condition(DEVICE, &format!("pump-{number}"), "Ready", "True").await?;
        }
        let owner = plant.owner()?;
        for number in [0, DEVICES / 2, DEVICES - 1] {
            let name = format!("pump-{number}");
            let (identity, credential) = (owner.device(&name).await?, plant.credentials(&name).await?);
            ensure!(
                identity["authentication"]["symmetricKey"]["primaryKey"] == credential.key.as_str(),
                "the Secret of {name} has another key"
            );
            ensure!(plant.lets_in(&credential).await, "{name} is not let in");
        }
        Ok(())
    })
}

#[test]
fn an_upgrade_of_the_chart_disturbs_no_hub() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        let credential = plant.device("pump", json!({})).await?;
        let mut connection = plant.connect(&credential).await?;
        let hub = plant.pod(&format!("mooring.dev/hub={PLANT}")).await?;
        let operator = plant.pod("app.kubernetes.io/name=mooring-operator").await?;
        install(namespace, &["--set", "podAnnotations.example\\.com/upgraded=yes"]).await?;
        namespace.until_gone(POD, operator["metadata"]["name"].as_str().context("no name")?).await?;
        plant.device("fan", json!({})).await?;
        ensure!(plant.pod(&format!("mooring.dev/hub={PLANT}")).await?["metadata"]["uid"] == hub["metadata"]["uid"], "the hub was rolled");
        connection.publish(&events_topic("pump"), 1, b"undisturbed").await?;

        namespace.helm(&["uninstall", RELEASE, "--wait"]).output().await?;
        for definition in ["iothubs.mooring.dev", "devices.mooring.dev"] {
            namespace.get(DEFINITION, definition).await?;
        }
        connection.publish(&events_topic("pump"), 2, b"undisturbed").await?;
        install(namespace, &[]).await?;
        plant.device("valve", json!({})).await?;
        namespace.until_condition(IOT_HUB, PLANT, "Ready", "True").await.map(drop)
    })
}

#[test]
fn kubectl_wait_is_truthful() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        plant.device("pump", json!({})).await?;
        let owner = plant.owner()?;
        for enabled in [false, true, false, true] {
            namespace.patch(DEVICE, "pump", &json!({ "spec": { "enabled": enabled } })).await?;
            namespace.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "device/pump"]).output().await?;
            let status = owner.device("pump").await?["status"].clone();
            ensure!(status == if enabled { "enabled" } else { "disabled" }, "kubectl waited, and the device is {status}");
        }
        namespace.patch(IOT_HUB, PLANT, &json!({ "spec": { "logFilter": "debug" } })).await?;
        namespace.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", "iothub/plant"]).output().await?;
        let said = namespace.kubectl(&["logs", "deployment/plant"]).output().await?;
        ensure!(String::from_utf8_lossy(&said).contains("DEBUG"), "the hub runs as it did before");
        Ok(())
    })
}

#[test]
fn one_malformed_resource_stops_nobody_else() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        let brought = json!({ "authentication": { "symmetricKey": { "secretRef": { "name": "brought" } } } });
        namespace
            .create_object(SECRET, &json!({ "metadata": { "name": "brought" }, "stringData": { "primaryKey": "?", "secondaryKey": "?" } }))
            .await?;
        namespace.apply(&device_manifest("broken", brought).to_string()).await?;
        namespace.apply(&device_manifest("stray", json!({ "hubRef": { "name": "nowhere" } })).to_string()).await?;
        plant.device("pump", json!({})).await?;
        for device in ["broken", "stray"] {
            namespace.until_condition(DEVICE, device, "Ready", "False").await?;
        }
        let keys = json!({ "stringData": { "primaryKey": "MDEyMzQ1Njc4OWFiY2RlZg==", "secondaryKey": "ZmVkY2JhOTg3NjU0MzIxMA==" } });
        namespace.patch(SECRET, "brought", &keys).await?;
        namespace.until_condition(DEVICE, "broken", "Ready", "True").await?;
        let is_brought = |credential: &ConnectionString| credential.key == "MDEyMzQ1Njc4OWFiY2RlZg==";
        ensure!(is_brought(&plant.credentials("broken").await?), "it has another key");
        let _: Value = namespace.get(DEVICE, "stray").await?;
        Ok(())
    })
}
