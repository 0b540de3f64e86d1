//! Many Devices at once: how long they take, how often the operator writes, and that it writes nothing when there is nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::pin::pin;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{DEVICE, NODE, Namespace, SECRET, condition_of, is_observed, on_cluster};
use e2e::patience::within;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::plant::{Plant, device_manifest};

/// Devices. `MOORING_FLEET` for more.
const FLEET: usize = 500;

/// Devices that are applied at once.
const AT_ONCE: usize = 16;

/// Writes that bring a Device to Ready: its finalizer, its Secret, its status.
const WRITES_EACH: usize = 3;

#[test]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn a_fleet_becomes_ready_with_few_writes_and_then_none() -> Result<()> {
    on_cluster(async |namespace| {
        let fleet = std::env::var("MOORING_FLEET").ok().and_then(|text| text.parse().ok()).unwrap_or(FLEET);
        let plant = Plant::start(namespace).await?;
        let mut devices = pin!(namespace.changes(DEVICE));
        let mut secrets = pin!(namespace.changes(SECRET));
        let begin = Instant::now();
        let making = async {
            let names = (0..fleet).map(|number| format!("pump-{number}"));
            let made = stream::iter(names).map(async |name| namespace.create_object(DEVICE, &device_manifest(&name, json!({}))).await);
            made.buffer_unordered(AT_ONCE).try_for_each(async |_| Ok(())).await
        };
        let mut writes = Writes::default();
        let (made, became) = tokio::join!(making, writes.until_ready(&mut devices, fleet, begin));
        made?;
        became?;
        let took = begin.elapsed();
        writes.count_secrets(&mut secrets, fleet).await?;
        let written = writes.seen() - fleet;
        writeln!(
            std::io::stderr(),
            "{fleet} Devices ready after {:.1} s; {:.2} writes each; the operator has {} MiB",
            took.as_secs_f64(),
            written as f64 / fleet as f64,
            resident_bytes(namespace, "mooring-operator").await? >> 20
        )?;
        ensure!(written <= WRITES_EACH * fleet, "{written} writes for {fleet} Devices; most for {:?}", writes.most());

        // Whatever would be written without need is written before what is asked for now.
        let before = writes.seen();
        namespace.patch(DEVICE, "pump-0", &json!({ "spec": { "tags": { "last": true } } })).await?;
        plant.until_device("pump-0", "tagged", |device| device["tags"]["last"] == true).await?;
        writes.until_observed(&mut devices, "pump-0").await?;
        ensure!(writes.seen() - before <= 2, "{} writes for one change; most for {:?}", writes.seen() - before, writes.most());
        Ok(())
    })
}

/// What the API server has told of.
#[derive(Default)]
struct Writes {
    /// The versions of each object.
    versions: BTreeMap<String, BTreeMap<String, String>>,
}

impl Writes {
    /// Versions of all objects, the first ones included.
    fn seen(&self) -> usize {
        self.versions.values().map(BTreeMap::len).sum()
    }

    /// The object that was written most often, and how its status was each time.
    fn most(&self) -> Option<(&String, &BTreeMap<String, String>)> {
        self.versions.iter().max_by_key(|(_, versions)| versions.len())
    }

    fn note(&mut self, object: &Value) {
        let metadata = &object["metadata"];
        self.versions
            .entry(format!("{}/{}", object["kind"], metadata["name"]))
            .or_default()
            .insert(metadata["resourceVersion"].to_string(), object["status"].to_string());
    }

    /// Waits until so many are ready, and prints after each tenth of them how long it took since `begin`.
    async fn until_ready(&mut self, devices: &mut (impl Stream<Item = Result<Value>> + Unpin), count: usize, begin: Instant) -> Result<()> {
        let mut ready = BTreeSet::new();
        while ready.len() < count {
            let device = devices.next().await.context("the watch ended")??;
            self.note(&device);
            let is_one_more = condition_of(&device, "Ready")["status"] == "True" && ready.insert(device["metadata"]["name"].to_string());
            if is_one_more && ready.len() % (count / 10).max(1) == 0 {
                writeln!(std::io::stderr(), "{:>6} Devices ready after {:.1} s", ready.len(), begin.elapsed().as_secs_f64())?;
            }
        }
        Ok(())
    }

    async fn until_observed(&mut self, devices: &mut (impl Stream<Item = Result<Value>> + Unpin), name: &str) -> Result<()> {
        loop {
            let device = devices.next().await.context("the watch ended")??;
            self.note(&device);
            if device["metadata"]["name"] == name && device["spec"]["tags"]["last"] == true && is_observed(&device, "Ready") {
                return Ok(());
            }
        }
    }

    /// Credentials of Devices, which are written once.
    async fn count_secrets(&mut self, secrets: &mut (impl Stream<Item = Result<Value>> + Unpin), count: usize) -> Result<()> {
        let mut names = BTreeSet::new();
        while names.len() < count {
            let secret = secrets.next().await.context("the watch ended")??;
            if secret["metadata"]["annotations"]["mooring.dev/device-id"].is_string() {
                names.insert(secret["metadata"]["name"].to_string());
                self.note(&secret);
            }
        }
        Ok(())
    }
}

/// Memory of a Pod whose name begins so, as its kubelet counts it, which it does every some seconds.
async fn resident_bytes(namespace: &Namespace, pod: &str) -> Result<u64> {
    let counted = async {
        loop {
            if let Some(bytes) = counted_bytes(namespace, pod).await?.filter(|bytes| *bytes > 0) {
                return anyhow::Ok(bytes);
            }
        }
    };
    within("the kubelet to count memory", counted).await?
}

async fn counted_bytes(namespace: &Namespace, pod: &str) -> Result<Option<u64>> {
    let nodes = namespace.list(NODE, "").await?;
    for node in nodes {
        let path = format!("/api/v1/nodes/{}/proxy/stats/summary", node["metadata"]["name"].as_str().context("no name")?);
        let summary: Value = serde_json::from_slice(&namespace.kubectl(&["get", "--raw", &path]).output().await?)?;
        let is_it = |entry: &&Value| {
            entry["podRef"]["namespace"] == namespace.name.as_str()
                && entry["podRef"]["name"].as_str().is_some_and(|name| name.starts_with(pod))
        };
        if let Some(entry) = summary["pods"].as_array().into_iter().flatten().find(is_it) {
            return Ok(entry["memory"]["rssBytes"].as_u64());
        }
    }
    Ok(None)
}
