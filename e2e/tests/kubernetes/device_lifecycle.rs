//! A Device from its manifest to its end: shut out at once, held by people, adopted when told, deleted or let go.

use std::io::Write;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{DEVICE, Namespace, POD, condition_of, on_cluster};
use e2e::mqtt::events_topic;
use e2e::program::Program;
use e2e::rest::json_body;
use reqwest::Method;
use serde_json::{Value, json};

use crate::plant::{OPERATOR, Plant, device_manifest};

/// Devices that wait to be made while one is shut out. `MOORING_PENDING` for more.
const PENDING: usize = 200;

/// How many wait for each one whose way from a patch to a closed socket is measured.
const PENDING_EACH: usize = 10;

/// Waits until a Device is not ready for a reason; answers its condition.
async fn until_reason(namespace: &Namespace, device: &str, reason: &str) -> Result<Value> {
    let is_so = |device: Option<&Value>| device.is_some_and(|device| condition_of(device, "Ready")["reason"] == reason);
    let device = namespace.until(DEVICE, device, &format!("not ready because of {reason}"), is_so).await?.context("no Device")?;
    Ok(condition_of(&device, "Ready").clone())
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn a_patch_closes_the_socket_while_others_wait() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        let pending = std::env::var("MOORING_PENDING").ok().and_then(|text| text.parse().ok()).unwrap_or(PENDING);
        let mut connections = Vec::new();
        for number in 0..pending.div_ceil(PENDING_EACH) {
            let credential = plant.device(&format!("pump-{number}"), json!({})).await?;
            connections.push(plant.connect(&credential).await?);
        }
        let waiting: Vec<_> = (0..pending).map(|number| device_manifest(&format!("waiting-{number}"), json!({})).to_string()).collect();
        namespace.apply(&waiting.join("\n---\n")).await?;
        let mut latencies_ms = Vec::new();
        for (number, connection) in connections.iter_mut().enumerate() {
            let begin = Instant::now();
            namespace.patch(DEVICE, &format!("pump-{number}"), &json!({ "spec": { "enabled": false } })).await?;
            connection.bytes_until_closed().await?;
            latencies_ms.push(begin.elapsed().as_millis());
        }
        latencies_ms.sort_unstable();
        writeln!(
            std::io::stderr(),
            "kubectl patch → socket closed, {} times, {pending} other Devices pending: median {} ms, p99 {} ms, longest {:?} ms",
            latencies_ms.len(),
            latencies_ms[latencies_ms.len() / 2],
            latencies_ms[latencies_ms.len() * 99 / 100],
            latencies_ms.last()
        )?;
        let last = format!("waiting-{}", pending - 1);
        namespace.until_condition(DEVICE, &last, "Ready", "True").await?;
        Ok(())
    })
}

#[test]
fn kubectl_disables_and_enables() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        let credential = plant.device("pump", json!({})).await?;
        let mut connection = plant.connect(&credential).await?;
        let enable = async |enabled: bool| {
            let patch = json!({ "spec": { "enabled": enabled, "statusReason": "repair" } }).to_string();
            namespace.kubectl(&["patch", "device.mooring.dev", "pump", "--type=merge", "--patch", &patch]).output().await
        };
        enable(false).await?;
        connection.bytes_until_closed().await?;
        ensure!(!plant.lets_in(&credential).await, "it was let in");
        // A device that is disabled as its manifest says is as ready as can be.
        namespace.until_condition(DEVICE, "pump", "Ready", "True").await?;
        ensure!(plant.owner()?.device("pump").await?["statusReason"] == "repair", "the reason is not there");
        enable(true).await?;
        namespace.until_condition(DEVICE, "pump", "Ready", "True").await?;
        ensure!(plant.lets_in(&credential).await, "it was not let in");
        Ok(())
    })
}

/// Sets the device's status as a person does, with Azure's SDK.
async fn set_status(plant: &Plant<'_>, status: &str, reason: &str) -> Result<()> {
    let owner = plant.hub.policy("iothubowner")?.text;
    let script = Program::python("status.py", &plant.hub)?.env("IOTHUB_CONNECTION_STRING", &owner);
    let told: Value = serde_json::from_slice(&script.args(["pump", status, reason]).output().await?)?;
    ensure!(told == json!({ "status": status, "reason": reason }), "the SDK was told {told}");
    Ok(())
}

#[test]
fn whom_people_have_shut_out_stays_out() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        let credential = plant.device("pump", json!({})).await?;
        set_status(&plant, "disabled", "stolen").await?;
        let said = until_reason(namespace, "pump", "HeldInHub").await?;
        ensure!(said["message"].as_str().is_some_and(|message| message.contains("iothubowner")), "it does not say by whom: {said}");

        let pod = plant.pod("app.kubernetes.io/name=mooring-operator").await?;
        let pod = pod["metadata"]["name"].as_str().context("no name")?;
        namespace.kubectl(&["delete", "pod", pod, "--grace-period=0", "--force"]).output().await?;
        namespace.until_gone(POD, pod).await?;
        namespace.until_condition(e2e::cluster::DEPLOYMENT, OPERATOR, "Available", "True").await?;
        namespace.patch(DEVICE, "pump", &json!({ "spec": { "enabled": true, "tags": { "seen": true } } })).await?;
        plant.until_device("pump", "tagged", |device| device["tags"]["seen"] == true).await?;
        until_reason(namespace, "pump", "HeldInHub").await?;
        ensure!(!plant.lets_in(&credential).await, "it was let in");

        set_status(&plant, "enabled", "found again").await?;
        namespace.until_condition(DEVICE, "pump", "Ready", "True").await?;
        ensure!(plant.lets_in(&credential).await, "it was not let in");
        Ok(())
    })
}

#[test]
fn an_identity_is_adopted_only_when_told_and_the_oldest_device_has_it() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        let owner = plant.owner()?;
        let made = owner.call(Method::PUT, "/devices/old", &[], json_body(&json!({ "deviceId": "old" }))).await?.expect(200)?.json()?;
        namespace.apply(&device_manifest("old", json!({})).to_string()).await?;
        until_reason(namespace, "old", "NotAdopted").await?;
        ensure!(owner.device("old").await? == made, "it was touched");
        let credential = plant.device("old", json!({ "adoption": "Adopt" })).await?;
        let adopted = owner.device("old").await?;
        ensure!(adopted["generationId"] == made["generationId"], "it is another identity");
        ensure!(made["authentication"]["symmetricKey"]["primaryKey"] == credential.key.as_str(), "it has other keys");

        namespace.apply(&device_manifest("young", json!({ "deviceId": "old", "enabled": false })).to_string()).await?;
        until_reason(namespace, "young", "DeviceIdConflict").await?;
        ensure!(plant.lets_in(&credential).await, "the younger one had its way");
        Ok(())
    })
}

#[test]
fn a_deleted_device_is_gone_unless_it_is_to_stay() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        let gone = plant.device("gone", json!({})).await?;
        let stays = plant.device("stays", json!({ "deletionPolicy": "Retain" })).await?;
        let mut connection = plant.connect(&gone).await?;
        for name in ["gone", "stays"] {
            namespace.delete(DEVICE, name).await?;
            namespace.until_gone(DEVICE, name).await?;
        }
        connection.bytes_until_closed().await?;
        let owner = plant.owner()?;
        owner.call(Method::GET, "/devices/gone", &[], Vec::new()).await?.expect(404)?;
        ensure!(owner.device("stays").await?["managedBy"].is_null(), "it is still managed");
        let mut connection = plant.connect(&stays).await?;
        connection.publish(&events_topic("stays"), 1, b"x").await?;
        Ok(())
    })
}
