//! A hub's life: its Pod is killed, its resource deleted and made again, its image bad and then good, its certificate renewed, its
//! consumer groups changed, its namespace deleted.

use anyhow::{Context, Result, ensure};
use e2e::cluster::{CONFIG_MAP, DEPLOYMENT, DEVICE, IOT_HUB, NAMESPACE, Namespace, SECRET, condition_of, on_cluster};
use e2e::events::{Events, check_numbers};
use e2e::mqtt::events_topic;
use e2e::namespace::{EDGE, HUB};
use e2e::program::Program;
use e2e::rest::Rest;
use e2e::tls;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::plant::{OPERATOR, PLANT, Plant, device_manifest, hub_manifest, install};

#[test]
fn a_killed_pod_costs_nothing_that_was_acknowledged() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        let credential = plant.device("pump", json!({})).await?;
        let mut connection = plant.connect(&credential).await?;
        for id in 1..=20 {
            connection.publish(&events_topic("pump"), id, &[0, 1, 2]).await?;
        }
        plant.kill_hub().await?;
        ensure!(connection.bytes_until_closed().await?.is_empty(), "the connection outlived its hub");
        let mut connection = plant.connect(&credential).await?;
        connection.publish(&events_topic("pump"), 21, b"after").await?;
        let events = Events::all(&plant.hub).await?;
        check_numbers(&events)?;
        ensure!(events.len() == 21, "{} of 21 events are there", events.len());
        namespace.until_condition(IOT_HUB, PLANT, "Ready", "True").await?;
        namespace.until_condition(DEVICE, "pump", "Ready", "True").await.map(drop)
    })
}

#[test]
fn a_hub_that_is_made_again_finds_devices_keys_and_events() -> Result<()> {
    on_cluster(async |namespace| {
        let mut plant = Plant::start(namespace).await?;
        let credential = plant.device("pump", json!({})).await?;
        plant.connect(&credential).await?.publish(&events_topic("pump"), 1, b"before").await?;
        let before = plant.owner()?.device("pump").await?;
        let policy = namespace.secret(&format!("{PLANT}-policy-service"), "primaryKey").await?;
        namespace.delete(IOT_HUB, PLANT).await?;
        for kind in [IOT_HUB, DEPLOYMENT, CONFIG_MAP] {
            let name = if kind == CONFIG_MAP { format!("{PLANT}-config") } else { PLANT.to_owned() };
            namespace.until_gone(kind, &name).await?;
        }
        namespace.until_condition(DEVICE, "pump", "Ready", "False").await?;

        namespace.apply(&hub_manifest(json!({})).to_string()).await?;
        namespace.until_condition(IOT_HUB, PLANT, "Ready", "True").await?;
        plant.read().await?;
        plant.until_answering().await?;
        namespace.until_condition(DEVICE, "pump", "Ready", "True").await?;
        let after = plant.owner()?.device("pump").await?;
        ensure!(before["generationId"] == after["generationId"], "it is another identity");
        ensure!(namespace.secret(&format!("{PLANT}-policy-service"), "primaryKey").await? == policy, "the policy has another key");
        plant.connect(&credential).await?.publish(&events_topic("pump"), 1, b"after").await?;
        let bodies: Vec<_> = Events::all(&plant.hub).await?.iter().map(e2e::events::Event::bytes).collect::<Result<_>>()?;
        ensure!(bodies == [b"before".to_vec(), b"after".to_vec()], "the events are {bodies:?}");
        Ok(())
    })
}

#[test]
fn a_device_that_vanished_with_its_hub_away_is_held() -> Result<()> {
    on_cluster(async |namespace| {
        let mut plant = Plant::start(namespace).await?;
        let credential = plant.device("pump", json!({})).await?;
        namespace.delete(IOT_HUB, PLANT).await?;
        namespace.until_gone(DEPLOYMENT, PLANT).await?;
        namespace.delete(DEVICE, "pump").await?;
        namespace.until_gone(DEVICE, "pump").await?;
        namespace.apply(&hub_manifest(json!({})).to_string()).await?;
        namespace.until_condition(IOT_HUB, PLANT, "Ready", "True").await?;
        plant.read().await?;
        plant.until_answering().await?;
        plant.until_device("pump", "held", |device| device["status"] == "disabled").await?;
        ensure!(!plant.lets_in(&credential).await, "it was let in");
        Ok(())
    })
}

#[test]
fn a_hub_and_devices_that_are_all_made_again_go_on_as_before() -> Result<()> {
    on_cluster(async |namespace| {
        let mut plant = Plant::start(namespace).await?;
        let names = ten_devices(namespace, json!({})).await?;
        let owner = plant.owner()?;
        let mut before = Vec::new();
        for name in &names {
            before.push((owner.device(name).await?, plant.credentials(name).await?));
        }
        namespace.delete(IOT_HUB, PLANT).await?;
        namespace.until_gone(DEPLOYMENT, PLANT).await?;
        for name in &names {
            namespace.delete(DEVICE, name).await?;
            namespace.until_gone(DEVICE, name).await?;
        }
        let devices = names.iter().map(|name| device_manifest(name, json!({})).to_string());
        let manifests: Vec<_> = devices.chain([hub_manifest(json!({})).to_string()]).collect();
        namespace.apply(&manifests.join("\n---\n")).await?;
        namespace.until_condition(IOT_HUB, PLANT, "Ready", "True").await?;
        plant.read().await?;
        plant.until_answering().await?;
        for (name, (identity, credential)) in names.iter().zip(&before) {
            namespace.until_condition(DEVICE, name, "Ready", "True").await?;
            let now = plant.owner()?.device(name).await?;
            ensure!(now["generationId"] == identity["generationId"], "{name} is another identity");
            ensure!(now["managedBy"]["uid"] != identity["managedBy"]["uid"], "{name} is still the earlier Device's");
            ensure!(plant.credentials(name).await?.key == credential.key, "{name} has another key");
            ensure!(plant.lets_in(credential).await, "{name} is not let in");
        }
        Ok(())
    })
}

#[test]
fn a_good_image_heals_what_a_bad_one_broke() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        let credential = plant.device("pump", json!({})).await?;
        namespace.patch(IOT_HUB, PLANT, &json!({ "spec": { "image": { "reference": "localhost/mooring-hub:no-such-tag" } } })).await?;
        namespace.until_condition(IOT_HUB, PLANT, "Ready", "False").await?;
        let is_told =
            |hub: Option<&Value>| hub.is_some_and(|hub| condition_of(hub, "Ready")["message"].to_string().contains("no-such-tag"));
        namespace.until(IOT_HUB, PLANT, "telling of the image", is_told).await?;
        namespace.patch(IOT_HUB, PLANT, &json!({ "spec": { "image": null } })).await?;
        namespace.until_condition(IOT_HUB, PLANT, "Ready", "True").await?;
        plant.until_answering().await?;
        ensure!(plant.lets_in(&credential).await, "the device is not let in");
        Ok(())
    })
}

#[test]
fn a_paused_hub_still_shuts_devices_out() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        let disabled = plant.device("disabled", json!({})).await?;
        let deleted = plant.device("deleted", json!({})).await?;
        let (mut first, mut second) = (plant.connect(&disabled).await?, plant.connect(&deleted).await?);
        let deployment = namespace.get(DEPLOYMENT, PLANT).await?;
        // Another filter of the log is another Pod.
        namespace.patch(IOT_HUB, PLANT, &json!({ "spec": { "paused": true, "logFilter": "debug" } })).await?;
        namespace.patch(DEVICE, "disabled", &json!({ "spec": { "enabled": false } })).await?;
        namespace.delete(DEVICE, "deleted").await?;
        first.bytes_until_closed().await?;
        second.bytes_until_closed().await?;
        namespace.until_gone(DEVICE, "deleted").await?;
        let is_paused = |hub: Option<&Value>| hub.is_some_and(|hub| condition_of(hub, "Reconciling")["reason"] == "Paused");
        namespace.until(IOT_HUB, PLANT, "paused", is_paused).await?;
        let still = namespace.get(DEPLOYMENT, PLANT).await?;
        ensure!(still["metadata"]["generation"] == deployment["metadata"]["generation"], "it was rolled while it was paused");
        namespace.patch(IOT_HUB, PLANT, &json!({ "spec": { "paused": false } })).await?;
        let is_rolled = |now: Option<&Value>| now.is_some_and(|now| now["metadata"]["generation"] != deployment["metadata"]["generation"]);
        namespace.until(DEPLOYMENT, PLANT, "rolled", is_rolled).await?;
        namespace.until_condition(IOT_HUB, PLANT, "Ready", "True").await?;
        let said = namespace.kubectl(&["logs", "deployment/plant"]).output().await?;
        ensure!(String::from_utf8_lossy(&said).contains("DEBUG"), "the hub runs as it did before");
        plant.until_answering().await?;
        ensure!(!plant.lets_in(&disabled).await && !plant.lets_in(&deleted).await, "one was let in");
        Ok(())
    })
}

/// A certificate for the hub's names, by a CA that is kept in the folder; another one each time.
async fn certificate(folder: &TempDir) -> Result<Value> {
    let script = format!(
        "exec 2>/dev/null; set -e; ec='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30'
        [ -e ca.crt ] || openssl req -x509 $ec -subj /CN=ca -keyout ca.key -out ca.crt
        openssl req $ec -x509 -CA ca.crt -CAkey ca.key -subj /CN={HUB} -addext subjectAltName=DNS:{HUB},DNS:{EDGE} \
            -addext basicConstraints=critical,CA:FALSE -keyout tls.key -out tls.crt"
    );
    Program::named("sh").args(["-c", &format!("cd '{}'; {script}", folder.path().display())]).output().await?;
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name));
    Ok(json!({ "tls.crt": read("tls.crt")?, "tls.key": read("tls.key")?, "ca.crt": read("ca.crt")? }))
}

#[test]
fn a_renewed_certificate_drops_nobody() -> Result<()> {
    on_cluster(async |namespace| {
        let folder = TempDir::with_prefix("mooring-e2e-")?;
        let secret = json!({ "metadata": { "name": "own" }, "type": "kubernetes.io/tls", "stringData": certificate(&folder).await? });
        namespace.create_object(SECRET, &secret).await?;
        install(namespace, &[]).await?;
        namespace.apply(&hub_manifest(json!({ "tls": { "selfSigned": null, "secretRef": { "name": "own" } } })).to_string()).await?;
        let plant = Plant::trusting(namespace, &folder.path().join("ca.crt")).await?;
        let credential = plant.device("pump", json!({})).await?;
        let mut connection = plant.connect(&credential).await?;
        let served = async || {
            let stream = tls::connect(HUB, 8883, &plant.hub.ca_file).await?;
            let certificates = stream.get_ref().1.peer_certificates().context("no certificate")?;
            anyhow::Ok(certificates[0].to_vec())
        };
        let before = served().await?;
        let mut log = namespace.kubectl(&["logs", "--follow", "deployment/plant"]).start()?;
        namespace.patch(SECRET, "own", &json!({ "stringData": certificate(&folder).await? })).await?;
        while !log.line().await?.context("the hub's log has ended")?.contains("the certificate has changed") {}
        ensure!(served().await? != before, "the old certificate is served");
        connection.publish(&events_topic("pump"), 1, b"undisturbed").await
    })
}

#[test]
fn a_consumer_group_comes_and_goes_without_a_new_pod() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        let credential = plant.device("pump", json!({})).await?;
        let mut connection = plant.connect(&credential).await?;
        let groups = async || {
            let api = Rest::api(&plant.hub, plant.hub.policy("service")?)?;
            let document = api.call(Method::GET, "/api/v1/consumer-groups", &[], Vec::new()).await?.expect(200)?.json()?;
            let groups = document["consumerGroups"].as_array().context("no groups")?;
            anyhow::Ok(groups.iter().map(|group| group["name"].clone()).collect::<Vec<_>>())
        };
        let mut log = namespace.kubectl(&["logs", "--follow", "deployment/plant"]).start()?;
        for (wanted, there) in [(json!(["alerts"]), vec!["$Default", "alerts"]), (json!(null), vec!["$Default"])] {
            namespace.patch(IOT_HUB, PLANT, &json!({ "spec": { "consumerGroups": wanted } })).await?;
            while !log.line().await?.context("the hub's log has ended")?.contains("the consumer groups are others now") {}
            ensure!(groups().await? == there, "{:?}", groups().await?);
        }
        connection.publish(&events_topic("pump"), 1, b"undisturbed").await
    })
}

/// Applies ten Devices and waits until all are ready.
async fn ten_devices(site: &Namespace, more: Value) -> Result<Vec<String>> {
    let names: Vec<_> = (0..10).map(|number| format!("pump-{number}")).collect();
    let manifests: Vec<_> = names.iter().map(|name| device_manifest(name, more.clone()).to_string()).collect();
    site.apply(&manifests.join("\n---\n")).await?;
    for name in &names {
        site.until_condition(DEVICE, name, "Ready", "True").await?;
    }
    Ok(names)
}

/// Deletes a namespace and waits until it is gone. Not given up, which would help the Devices out.
async fn end(site: &Namespace) -> Result<()> {
    site.delete(NAMESPACE, &site.name).await?;
    site.until_gone(NAMESPACE, &site.name).await
}

/// An operator in the story's namespace that looks after another one too.
async fn install_for(namespace: &Namespace, site: &Namespace) -> Result<()> {
    install(namespace, &["--set", &format!("watchNamespaces={{{}}}", site.name)]).await
}

#[test]
fn a_namespace_ends_with_hub_and_devices_in_it() -> Result<()> {
    on_cluster(async |namespace| {
        let site = namespace.sibling(&[]).await?;
        install_for(namespace, &site).await?;
        site.apply(&hub_manifest(json!({})).to_string()).await?;
        ten_devices(&site, json!({})).await?;
        end(&site).await?;

        // One that begins now does not wait for what it will never see.
        namespace.kubectl(&["rollout", "restart", "deployment", OPERATOR]).output().await?;
        namespace.kubectl(&["rollout", "status", "deployment", OPERATOR]).output().await?;
        namespace.apply(&hub_manifest(json!({})).to_string()).await?;
        let plant = Plant::reached(namespace).await?;
        plant.device("pump", json!({})).await.map(drop)
    })
}

#[test]
fn a_namespace_ends_with_the_operator_in_it_too() -> Result<()> {
    on_cluster(async |namespace| {
        let site = namespace.sibling(&[]).await?;
        install(&site, &[]).await?;
        site.apply(&hub_manifest(json!({})).to_string()).await?;
        ten_devices(&site, json!({})).await?;
        end(&site).await?;
        // Nobody has uninstalled it.
        let stays = format!("{}-{OPERATOR}-finalizers", site.name);
        namespace.kubectl(&["delete", "clusterrole,clusterrolebinding", &stays]).output().await.map(drop)
    })
}

#[test]
fn a_namespace_ends_and_its_devices_leave_a_hub_that_stays() -> Result<()> {
    on_cluster(async |namespace| {
        let site = namespace.sibling(&[]).await?;
        install_for(namespace, &site).await?;
        namespace.apply(&hub_manifest(json!({ "devices": { "allowedNamespaces": { "from": "All" } } })).to_string()).await?;
        let plant = Plant::reached(namespace).await?;
        plant.device("fan", json!({})).await?;
        let names = ten_devices(&site, json!({ "hubRef": { "namespace": namespace.name } })).await?;
        let owner = plant.owner()?;
        for name in &names {
            owner.device(name).await?;
        }
        end(&site).await?;
        for name in &names {
            let answer = owner.call(Method::GET, &format!("/devices/{name}"), &[], Vec::new()).await?;
            ensure!(answer.status == 404, "{name} is in the hub: {}", answer.status);
        }
        owner.device("fan").await.map(drop)
    })
}
