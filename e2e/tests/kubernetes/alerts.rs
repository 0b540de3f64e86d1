//! A real Prometheus scrapes a real hub as its ServiceMonitor says, and judges its PrometheusRule: thirty of a hundred devices are cut off, somebody is
//! called, they return, it is over.
//!
//! Time runs twenty times as fast as in the rules: a minute of theirs is three seconds here, and the hub is scraped once a minute of theirs.

use anyhow::{Context, Result, ensure};
use e2e::cluster::{DEFINITION, DEVICE, Kind, PROMETHEUS_RULE, SECRET, SERVICE, SERVICE_MONITOR, entry_of, on_cluster};
use e2e::connection_string::ConnectionString;
use e2e::mqtt::{Connect, Connection};
use e2e::pager::Pager;
use e2e::program::Program;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::plant::{PLANT, Plant, device_manifest, file};

/// Devices, and how many of them are cut off.
const FLEET: usize = 100;
const CUT_OFF: usize = 30;

/// How long a minute of the rules takes.
const MINUTE_S: usize = 3;

#[test]
fn an_alert_fires_for_devices_that_are_cut_off_and_ends_with_their_return() -> Result<()> {
    on_cluster(async |namespace| {
        for (kind, plural) in [("ServiceMonitor", "servicemonitors"), ("PrometheusRule", "prometheusrules")] {
            namespace.apply(&definition(kind, plural).to_string()).await?;
            namespace.until_condition(DEFINITION, &format!("{plural}.monitoring.coreos.com"), "Established", "True").await?;
        }
        let plant = Plant::start_with(namespace, json!({ "monitoring": { "offlineAfter": "10s" } })).await?;
        let credentials = fleet(&plant).await?;
        let mut connections = connect(&plant, &credentials).await?;

        let folder = TempDir::with_prefix("mooring-e2e-")?;
        let mut pager = Pager::listen().await?;
        let configuration = configuration(&plant, &folder, pager.port).await?;
        let mut prometheus = Program::named("prometheus")
            .args(["--web.listen-address=127.0.0.1:0", "--rules.alert.resend-delay=1s", "--config.file", &configuration])
            .arg("--storage.tsdb.path")
            .arg(folder.path().join("data"))
            .start()?;
        // It has seen them all, and called nobody.
        pager.until("AllConnected", true).await?;

        connections.truncate(FLEET - CUT_OFF);
        for alert in ["MooringFleetDrop", "MooringDevicesOffline"] {
            let firing = pager.until(alert, true).await?;
            let labels = &firing["labels"];
            ensure!(labels["namespace"] == namespace.name.as_str() && labels["iothub"] == PLANT, "{alert} says {labels}");
            ensure!(
                firing["annotations"]["runbook_url"].as_str().is_some_and(|page| page.contains(alert)),
                "{alert} has no page: {firing}"
            );
        }
        connections.extend(connect(&plant, &credentials[FLEET - CUT_OFF..]).await?);
        for alert in ["MooringFleetDrop", "MooringDevicesOffline"] {
            pager.until(alert, false).await?;
        }
        prometheus.still_runs()
    })
}

/// The Prometheus Operator's kinds, as far as objects of them have to be kept.
pub fn definition(kind: &str, plural: &str) -> Value {
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.monitoring.coreos.com") },
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": { "kind": kind, "plural": plural },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": anything } }],
        },
    })
}

/// Makes the devices; answers their connection strings.
async fn fleet(plant: &Plant<'_>) -> Result<Vec<ConnectionString>> {
    let names: Vec<_> = (0..FLEET).map(|number| format!("pump-{number}")).collect();
    let manifests: Vec<_> = names.iter().map(|name| device_manifest(name, json!({})).to_string()).collect();
    plant.namespace.apply(&manifests.join("\n---\n")).await?;
    let mut credentials = Vec::new();
    for name in &names {
        plant.namespace.until_condition(DEVICE, name, "Ready", "True").await?;
        credentials.push(plant.credentials(name).await?);
    }
    Ok(credentials)
}

async fn connect(plant: &Plant<'_>, credentials: &[ConnectionString]) -> Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for credential in credentials {
        // Longer than the story: these devices have nothing to say.
        let connect = Connect { keep_alive_s: 1000, ..Connect::device(credential) };
        connections.push(Connection::admitted_as(&plant.hub, &connect).await?);
    }
    Ok(connections)
}

/// Writes what Prometheus has to know, from what the operator made for the Prometheus Operator; answers the file's path.
async fn configuration(plant: &Plant<'_>, folder: &TempDir, pager: u16) -> Result<String> {
    let made = async |kind: Kind| plant.namespace.until(kind, PLANT, "made", |object| object.is_some()).await?.context("not made");
    let (rule, monitor) = (made(PROMETHEUS_RULE).await?, made(SERVICE_MONITOR).await?);
    let rules = file(folder.path(), "rules.json", &faster(&rule["spec"]).to_string())?;
    let endpoint = &monitor["spec"]["endpoints"][0];
    let services = plant.namespace.list(SERVICE, &format!("mooring.dev/hub={PLANT}")).await?;
    let target =
        services.iter().find_map(|service| target(service, &endpoint["port"])).context("no Service has the port of the ServiceMonitor")?;
    let relabelings = endpoint["relabelings"].as_array().context("no labels")?;
    let labels: serde_json::Map<_, _> = relabelings
        .iter()
        .map(|label| (label["targetLabel"].as_str().unwrap_or_default().to_owned(), label["replacement"].clone()))
        .collect();
    let ca = &endpoint["tlsConfig"]["ca"]["secret"];
    let secret = plant.namespace.get(SECRET, ca["name"].as_str().context("no CA")?).await?;
    let ca_file = file(folder.path(), "ca.crt", &entry_of(&secret, ca["key"].as_str().context("no entry")?)?)?;
    let text = json!({
        "global": { "scrape_interval": format!("{MINUTE_S}s"), "scrape_timeout": format!("{MINUTE_S}s"), "evaluation_interval": "1s" },
        "rule_files": [rules],
        "alerting": { "alertmanagers": [{ "static_configs": [{ "targets": [format!("127.0.0.1:{pager}")] }] }] },
        "scrape_configs": [{
            "job_name": "hub",
            "scheme": endpoint["scheme"],
            "metrics_path": endpoint["path"],
            "tls_config": { "ca_file": ca_file, "server_name": endpoint["tlsConfig"]["serverName"] },
            "static_configs": [{ "targets": [target], "labels": labels }],
        }],
    });
    file(folder.path(), "prometheus.json", &text.to_string())
}

fn target(service: &Value, port: &Value) -> Option<String> {
    let ports = service["spec"]["ports"].as_array()?;
    let found = ports.iter().find(|entry| entry["name"] == *port)?;
    Some(format!("{}:{}", service["spec"]["clusterIP"].as_str()?, found["port"]))
}

/// The same rules with each minute in [`MINUTE_S`] seconds, and one alert more that fires at once.
fn faster(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for group in spec["groups"].as_array_mut().into_iter().flatten() {
        for rule in group["rules"].as_array_mut().into_iter().flatten() {
            rule["expr"] = json!(with_short_ranges(rule["expr"].as_str().unwrap_or_default()));
            rule["for"] = json!(short(rule["for"].as_str().unwrap_or_default()));
        }
    }
    let connected = format!("sum(mooring_devices_connected) == {FLEET}");
    let witness = json!({ "name": "witness", "rules": [{ "alert": "AllConnected", "expr": connected }] });
    if let Some(groups) = spec["groups"].as_array_mut() {
        groups.push(witness);
    }
    spec
}

/// An expression with the ranges that it looks back over: `[15m]` becomes `[45s]`.
fn with_short_ranges(expression: &str) -> String {
    let mut parts = expression.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (range, rest) = part.split_once(']').unwrap_or((part, ""));
        format!("{text}[{}]{rest}", short(range))
    })
}

/// `2m` becomes `6s`; what is in other units stays.
fn short(duration: &str) -> String {
    let minutes = duration.strip_suffix('m').and_then(|number| number.parse::<usize>().ok());
    minutes.map_or(duration.to_owned(), |minutes| format!("{}s", minutes * MINUTE_S))
}

#[test]
fn ranges_become_short_and_nothing_else_does() {
    assert_eq!(with_short_ranges("max_over_time(x{a=\"1m\"}[15m]) > 5 and y[30s]"), "max_over_time(x{a=\"1m\"}[45s]) > 5 and y[30s]");
}
