//! A plant: an operator that the chart has installed for one story, a hub that it runs, and devices.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::cluster::{DEPLOYMENT, DEVICE, IOT_HUB, Namespace, POD, SECRET, SERVICE, entry_of};
use e2e::connection_string::ConnectionString;
use e2e::hub::{Endpoints, Ready};
use e2e::mqtt::{Connect, Connection};
use e2e::namespace::{EDGE, HUB, point};
use e2e::patience::within;
use e2e::program::here;
use e2e::rest::Rest;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What the stories' hub is called in Kubernetes.
pub const PLANT: &str = "plant";

/// What Helm calls the operator that it installs.
pub const RELEASE: &str = "mooring";

/// The operator's Deployment.
pub const OPERATOR: &str = "mooring-operator";

/// The policies whose Secrets a story reads.
const POLICIES: [&str; 2] = ["iothubowner", "service"];

/// An operator, a hub, and how the hub is reached from outside of the cluster.
pub struct Plant<'a> {
    /// Where it is.
    pub namespace: &'a Namespace,
    /// How the hub is reached.
    pub hub: Ready,
    _folder: TempDir,
}

/// The folder of the chart.
pub fn chart() -> PathBuf {
    here("../charts/mooring")
}

/// `--set` arguments that make the chart use the images under test.
pub fn image_values() -> Result<Vec<String>> {
    let mut values = Vec::new();
    for (variable, program) in [("MOORING_OPERATOR_IMAGE", "operator"), ("MOORING_HUB_IMAGE", "hub")] {
        let image = std::env::var(variable)
            .with_context(|| format!("{variable} is not set: run the stories by `make test` or `make kubernetes`"))?;
        let (registry, name) = image.rsplit_once('/').context("an image without a registry")?;
        let (repository, tag) = name.rsplit_once(':').context("an image without a tag")?;
        let value = format!("images.registry={registry},images.{program}.repository={repository},images.{program}.tag={tag}");
        values.extend(["--set".to_owned(), value]);
    }
    Ok(values)
}

/// Installs an operator that looks after the story's own namespace, and waits until it works. Helm is told that the definitions of the kinds are its
/// own: every story installs them.
pub async fn install(namespace: &Namespace, more: &[&str]) -> Result<()> {
    let values = image_values()?;
    let helm = namespace.helm(&["upgrade", "--install", RELEASE, "--take-ownership", "--wait", "--timeout", "3m"]);
    helm.arg(chart()).args(values).args(more).output().await?;
    namespace.until_condition(DEPLOYMENT, OPERATOR, "Available", "True").await.map(drop)
}

impl<'a> Plant<'a> {
    /// With an operator and a hub as the defaults have it.
    pub async fn start(namespace: &'a Namespace) -> Result<Self> {
        Self::start_with(namespace, json!({})).await
    }

    /// With more in the hub's spec.
    pub async fn start_with(namespace: &'a Namespace, more: Value) -> Result<Self> {
        install(namespace, &[]).await?;
        namespace.apply(&hub_manifest(more).to_string()).await?;
        Self::reached(namespace).await
    }

    /// Waits until the hub is ready and answers from outside, and reads how it is reached.
    pub async fn reached(namespace: &'a Namespace) -> Result<Self> {
        namespace.until_condition(IOT_HUB, PLANT, "Ready", "True").await?;
        let mut plant = Self::unread(namespace)?;
        plant.read().await?;
        plant.until_answering().await?;
        Ok(plant)
    }

    /// The same with a CA that the story has chosen, because the hub has none of its own.
    pub async fn trusting(namespace: &'a Namespace, ca_file: &Path) -> Result<Self> {
        namespace.until_condition(IOT_HUB, PLANT, "Ready", "True").await?;
        let mut plant = Self::unread(namespace)?;
        std::fs::copy(ca_file, &plant.hub.ca_file)?;
        plant.read().await?;
        plant.until_answering().await?;
        Ok(plant)
    }

    fn unread(namespace: &'a Namespace) -> Result<Self> {
        let folder = TempDir::with_prefix("mooring-e2e-")?;
        let endpoints = Endpoints {
            mqtt: format!("mqtts://{HUB}:8883"),
            https: Some(format!("https://{HUB}")),
            api: format!("https://{EDGE}:8443"),
            metrics: format!("https://{HUB}:9464"),
        };
        let ca_file = folder.path().join("ca.crt");
        let event_hub_connection_string = String::new();
        let connection_strings = BTreeMap::new();
        let hub = Ready {
            host_name: HUB.to_owned(),
            ca_file,
            endpoints,
            dashboard: None,
            connection_strings,
            event_hub_connection_string,
            devices: BTreeMap::new(),
        };
        Ok(Self { namespace, hub, _folder: folder })
    }

    /// Reads the addresses, the CA and the policies again.
    pub async fn read(&mut self) -> Result<()> {
        for (name, service) in [(HUB, PLANT.to_owned()), (EDGE, format!("{PLANT}-api"))] {
            let service = self.namespace.get(SERVICE, &service).await?;
            point(name, service["spec"]["clusterIP"].as_str().context("a Service without an address")?)?;
        }
        for policy in POLICIES {
            let secret = self.namespace.get(SECRET, &format!("{PLANT}-policy-{policy}")).await?;
            self.hub.connection_strings.insert(policy.to_owned(), entry_of(&secret, "connectionString")?);
            if let Ok(authority) = entry_of(&secret, "ca.crt") {
                std::fs::write(&self.hub.ca_file, authority)?;
            }
        }
        Ok(())
    }

    /// Asks until the hub answers at its Services: they lead to a Pod some time after it is ready.
    pub async fn until_answering(&self) -> Result<()> {
        let asking = async {
            for rest in [self.owner()?, Rest::api(&self.hub, self.hub.policy("iothubowner")?)?] {
                while !rest.call(Method::GET, "/devices/nobody", &[], Vec::new()).await.is_ok_and(|answer| answer.status == 404) {
                    tokio::task::yield_now().await;
                }
            }
            anyhow::Ok(())
        };
        within("the hub to answer from outside", asking).await?
    }

    /// The hub's owner.
    pub fn owner(&self) -> Result<Rest> {
        Rest::owner(&self.hub)
    }

    /// Applies a Device and waits until it is ready; answers the connection string in its Secret.
    pub async fn device(&self, name: &str, spec: Value) -> Result<ConnectionString> {
        self.namespace.apply(&device_manifest(name, spec).to_string()).await?;
        self.namespace.until_condition(DEVICE, name, "Ready", "True").await?;
        self.credentials(name).await
    }

    /// The connection string in a Device's Secret.
    pub async fn credentials(&self, device: &str) -> Result<ConnectionString> {
        ConnectionString::parse(&self.namespace.secret(&format!("{device}-credentials"), "connectionString").await?)
    }

    /// Connects as a device.
    pub async fn connect(&self, credential: &ConnectionString) -> Result<Connection> {
        Connection::admitted_as(&self.hub, &Connect::device(credential)).await
    }

    /// Whether a device with this credential is let in.
    pub async fn lets_in(&self, credential: &ConnectionString) -> bool {
        self.connect(credential).await.is_ok()
    }

    /// Asks until an identity in the hub is as the story wants it.
    pub async fn until_device(&self, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        let owner = self.owner()?;
        let asking = async {
            loop {
                let device = owner.device(id).await?;
                if is_so(&device) {
                    return anyhow::Ok(device);
                }
                tokio::task::yield_now().await;
            }
        };
        within(&format!("device {id} to be {what}"), asking).await?
    }

    /// The only Pod with these labels.
    pub async fn pod(&self, selector: &str) -> Result<Value> {
        let mut pods = self.namespace.list(POD, selector).await?;
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        ensure!(pods.len() == 1, "{} Pods are {selector}", pods.len());
        pods.pop().context("no Pod")
    }

    /// Kills the hub's Pod, and waits until another one is ready and answers.
    pub async fn kill_hub(&self) -> Result<()> {
        let pod = self.pod(&format!("mooring.dev/hub={PLANT}")).await?;
        let name = pod["metadata"]["name"].as_str().context("no name")?;
        self.namespace.kubectl(&["delete", "pod", name, "--grace-period=0", "--force"]).output().await?;
        self.namespace.until_gone(POD, name).await?;
        self.namespace.until_condition(DEPLOYMENT, PLANT, "Available", "True").await?;
        self.until_answering().await
    }
}

/// The manifest of the stories' hub, with more in its spec.
pub fn hub_manifest(more: Value) -> Value {
    let mut spec = json!({ "hostnames": [HUB, EDGE], "storage": { "embedded": { "size": "1Gi" } } });
    merge(&mut spec, more);
    json!({ "apiVersion": "mooring.dev/v1alpha1", "kind": "IotHub", "metadata": { "name": PLANT }, "spec": spec })
}

/// The manifest of one of its devices, with more in its spec.
pub fn device_manifest(name: &str, more: Value) -> Value {
    let mut spec = json!({ "hubRef": { "name": PLANT } });
    merge(&mut spec, more);
    json!({ "apiVersion": "mooring.dev/v1alpha1", "kind": "Device", "metadata": { "name": name }, "spec": spec })
}

/// Writes a file that is a story's, and answers its path as text.
pub fn file(folder: &Path, name: &str, text: &str) -> Result<String> {
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}
