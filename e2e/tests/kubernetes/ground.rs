//! The ground that the other stories stand on: the image as a restricted Pod, storage that outlives it, an API server without nodes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use e2e::cluster::{CONFIG_MAP, Namespace, POD, SECRET, SERVICE, is_observed, on_api_server, on_cluster};
use e2e::connection_string::ConnectionString;
use e2e::hub::{Endpoints, Hub, Ready};
use e2e::namespace::{HUB, point};
use e2e::patience::within;
use e2e::program::Program;
use e2e::rest::Rest;
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

/// The key of the policy that the Pod is given.
const KEY: [u8; 32] = [7; 32];

/// The smallest Pod of the hub's image that the restricted profile lets in, with what it needs beside it.
const POD_OF_A_HUB: &str = include_str!("ground/pod.yaml");

/// A CA, and a certificate of it for the hub: as people make them.
async fn certificates(folder: &TempDir) -> Result<()> {
    let script = format!(
        "exec 2>/dev/null; set -e; ec='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2'
        openssl req -x509 $ec -subj /CN=ca -keyout ca.key -out ca.crt
        openssl req $ec -x509 -CA ca.crt -CAkey ca.key -subj /CN={HUB} -addext subjectAltName=DNS:{HUB} -addext basicConstraints=critical,CA:FALSE \
            -keyout tls.key -out tls.crt"
    );
    Program::named("sh").args(["-c", &format!("cd '{}'; {script}", folder.path().display())]).output().await.map(drop)
}

/// Starts the hub in a Pod and lets its name lead to its Service; answers a client of its registry when it is ready.
async fn hub_in_a_pod(namespace: &Namespace, folder: &TempDir) -> Result<Rest> {
    certificates(folder).await?;
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name));
    let tls = json!({ "metadata": { "name": "tls" }, "stringData": { "tls.crt": read("tls.crt")?, "tls.key": read("tls.key")? } });
    namespace.create_object(SECRET, &tls).await?;
    let key = STANDARD.encode(KEY);
    namespace.create_object(SECRET, &json!({ "metadata": { "name": "fleet" }, "stringData": { "key": key } })).await?;
    let configuration = format!(
        "host_name = \"{HUB}\"\ndata = \"/var/lib/mooring\"\n\
         [listeners]\nhttps = \"0.0.0.0:10443\"\n[tls]\ncertificate = \"/etc/mooring/tls/tls.crt\"\nkey = \"/etc/mooring/tls/tls.key\"\n\
         [policies.fleet]\npermissions = [\"RegistryRead\", \"RegistryWrite\"]\n\
         primary_key_file = \"/etc/mooring/policies/fleet/key\"\nsecondary_key_file = \"/etc/mooring/policies/fleet/key\"\n"
    );
    namespace.create_object(CONFIG_MAP, &json!({ "metadata": { "name": "hub" }, "data": { "hub.toml": configuration } })).await?;
    let image = std::env::var("MOORING_HUB_IMAGE").context("MOORING_HUB_IMAGE is not set")?;
    namespace.apply(&POD_OF_A_HUB.replace("IMAGE", &image)).await?;
    namespace.until_condition(POD, "hub", "Ready", "True").await?;
    let service = namespace.get(SERVICE, "hub").await?;
    point(HUB, service["spec"]["clusterIP"].as_str().context("no address")?)?;
    let fleet = ConnectionString::parse(&format!("HostName={HUB};SharedAccessKeyName=fleet;SharedAccessKey={key}"))?;
    let endpoints = Endpoints {
        mqtt: format!("mqtts://{HUB}:8883"),
        https: Some(format!("https://{HUB}")),
        api: String::new(),
        metrics: String::new(),
    };
    let (ca_file, none) = (folder.path().join("ca.crt"), BTreeMap::new);
    let event_hub_connection_string = String::new();
    let reached = Ready {
        host_name: HUB.to_owned(),
        ca_file,
        endpoints,
        dashboard: None,
        connection_strings: none(),
        event_hub_connection_string,
        devices: none(),
    };
    Rest::new(&reached, fleet)
}

/// Asks until there is an answer: a Service leads to a Pod some time after it is ready.
async fn answers(registry: &Rest, path: &str) -> Result<u16> {
    let asking = async {
        loop {
            if let Ok(answer) = registry.call(Method::GET, path, &[], Vec::new()).await {
                return answer.status.as_u16();
            }
        }
    };
    within(&format!("an answer to {path}"), asking).await
}

#[test]
fn a_hub_is_a_restricted_pod_and_its_claim_survives_it() -> Result<()> {
    on_cluster(async |namespace| {
        let folder = TempDir::with_prefix("mooring-e2e-")?;
        let registry = hub_in_a_pod(namespace, &folder).await?;
        ensure!(answers(&registry, "/devices/pump").await? == 404, "a device is there already");
        registry.call(Method::PUT, "/devices/pump", &[], br#"{"deviceId":"pump"}"#.to_vec()).await?.expect(200)?;

        let before = namespace.get(POD, "hub").await?;
        namespace.kubectl(&["delete", "pod", "hub", "--now"]).output().await?;
        let image = before["spec"]["containers"][0]["image"].as_str().context("no image")?;
        namespace.apply(&POD_OF_A_HUB.replace("IMAGE", image)).await?;
        let after = namespace.until_condition(POD, "hub", "Ready", "True").await?;
        ensure!(after["metadata"]["uid"] != before["metadata"]["uid"], "it is the same Pod");
        ensure!(answers(&registry, "/devices/pump").await? == 200, "the device has gone");
        Ok(())
    })
}

#[test]
fn the_restricted_profile_is_in_force() -> Result<()> {
    on_cluster(async |namespace| {
        let said = namespace
            .refused(r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[{"name":"x","image":"x"}]}}"#)
            .await?;
        ensure!(said.contains("restricted"), "it says {said}");
        Ok(())
    })
}

#[test]
fn a_hub_runs_beside_the_api_server() -> Result<()> {
    on_api_server(async |namespace| {
        let hub = Hub::start(&["pump"]).await?;
        let registry = Rest::owner(&hub)?;
        registry.call(Method::GET, "/devices/pump", &[], Vec::new()).await?.expect(200)?;
        let account = namespace.until(e2e::cluster::SERVICE_ACCOUNT, "default", "there", |account| account.is_some()).await?;
        ensure!(account.is_some_and(|account| is_observed(&account, "Ready")), "an object without conditions is observed");
        namespace.create_object(SECRET, &json!({ "metadata": { "name": "s" }, "stringData": { "a": "b" } })).await?;
        ensure!(namespace.secret("s", "a").await? == "b", "the Secret says something else");
        namespace.delete(SECRET, "s").await?;
        namespace.until_gone(SECRET, "s").await
    })
}
