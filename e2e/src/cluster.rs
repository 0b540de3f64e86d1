//! A real Kubernetes for stories: a namespace of its own for each, kubectl as a person uses it, and waiting that is told of changes.
//!
//! `tools/stories-on-kubernetes.sh` brings up what the stories share, once: a whole cluster with the images loaded, and an API server without
//! nodes. Objects are plain JSON here: nothing is shared with the operator, whose types are what is tested.

mod kinds;
mod last_words;
mod relay;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{Stream, StreamExt};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::DynamicObject;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Config};
use serde_json::{Value, json};

pub use kinds::{
    CLAIM, CLUSTER_ROLE, CLUSTER_ROLE_BINDING, CONFIG_MAP, DEFINITION, DEPLOYMENT, DEVICE, DISRUPTION_BUDGET, EVENT, IOT_HUB, Kind, LEASE,
    NAMESPACE, NETWORK_POLICY, NODE, POD, PROMETHEUS_RULE, SECRET, SERVICE, SERVICE_ACCOUNT, SERVICE_MONITOR,
};

use crate::namespace::{Ground, on_ground};
use crate::patience::within;
use crate::program::{Outcome, Program};

/// Where the cluster's kubeconfig is.
const CLUSTER: &str = "MOORING_CLUSTER_KUBECONFIG";
/// Where the kubeconfig of the API server without nodes is.
const API_SERVER: &str = "MOORING_API_SERVER_KUBECONFIG";

/// Namespaces that this process has made.
static NAMESPACES: AtomicUsize = AtomicUsize::new(0);

/// Runs a story on the cluster, in a Kubernetes namespace that is new, and shows what happened in it when the story fails. The story sees the
/// machine's own network, from which Services are reached by their addresses, and has an /etc/hosts of its own: see
/// [`crate::namespace::point`].
///
/// # Errors
/// The story's own, or no cluster: `make test` and `make kubernetes` bring one up.
pub fn on_cluster<S>(story: S) -> Result<()>
where
    S: AsyncFnOnce(&Namespace) -> Result<()> + Send + 'static,
{
    let kubeconfig = kubeconfig_of(CLUSTER)?;
    on_ground(Ground::Host, async move || in_new_namespace(&kubeconfig, story).await)
}

/// Runs a story with the API server alone: objects are kept, checked and watched, but no Pod runs. The story has a network of its own, as
/// [`crate::namespace::isolated`] gives it, so that hubs run beside it on the real ports; the API server is reached from there as its kubeconfig says.
///
/// # Errors
/// The story's own, or no API server: `make test` and `make kubernetes` bring one up.
pub fn on_api_server<S>(story: S) -> Result<()>
where
    S: AsyncFnOnce(&Namespace) -> Result<()> + Send + 'static,
{
    let kubeconfig = kubeconfig_of(API_SERVER)?;
    let relay = relay::Relay::to(&kubeconfig)?;
    on_ground(Ground::Own, async move || {
        relay.serve().await?;
        in_new_namespace(&kubeconfig, story).await
    })
}

fn kubeconfig_of(variable: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable)
        .with_context(|| format!("{variable} is not set: run the stories by `make test` or `make kubernetes`"))?;
    Ok(path.into())
}

async fn in_new_namespace<S>(kubeconfig: &Path, story: S) -> Result<()>
where
    S: AsyncFnOnce(&Namespace) -> Result<()>,
{
    let namespace = Namespace::create(kubeconfig, &[]).await?;
    let outcome = story(&namespace).await;
    if outcome.is_err() {
        last_words::show(&namespace).await;
    }
    // What the story leaves goes in its own time: nobody else looks at it.
    namespace.give_up().await?;
    outcome
}

/// A namespace of one story.
#[derive(Clone)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    client: Client,
    kubeconfig: PathBuf,
}

impl Namespace {
    /// Makes one more, with labels; Pods in it have to keep to the restricted profile.
    ///
    /// # Errors
    /// When the API server does not answer, or refuses.
    pub async fn create(kubeconfig: &Path, labels: &[(&str, &str)]) -> Result<Self> {
        // Whichever story is first installs it; a second time it is the same.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let text = Kubeconfig::read_from(kubeconfig).with_context(|| format!("no kubeconfig in {}", kubeconfig.display()))?;
        let client = Client::try_from(Config::from_custom_kubeconfig(text, &KubeConfigOptions::default()).await?)?;
        let name = format!("story-{}-{}", std::process::id(), NAMESPACES.fetch_add(1, Ordering::Relaxed));
        let mut all = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
        for (label, value) in labels {
            all[label] = json!(value);
        }
        let namespace = Self { name, client, kubeconfig: kubeconfig.to_owned() };
        namespace.create_object(NAMESPACE, &json!({ "metadata": { "name": namespace.name, "labels": all } })).await?;
        Ok(namespace)
    }

    /// Another one on the same cluster, with labels, which the story has to [`Namespace::give_up`].
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn sibling(&self, labels: &[(&str, &str)]) -> Result<Self> {
        Self::create(&self.kubeconfig, labels).await
    }

    /// Deletes it with all that is in it; does not wait. Nothing is left for an operator to do, which may be among what goes.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn give_up(&self) -> Result<()> {
        self.delete(NAMESPACE, &self.name).await?;
        // Where the kind is not known, there is none.
        for device in self.list(DEVICE, "").await.unwrap_or_default() {
            if let Some(name) = device["metadata"]["name"].as_str().filter(|_| !device["metadata"]["finalizers"].is_null()) {
                // It may go meanwhile by itself.
                let _ = self.patch(DEVICE, name, &json!({ "metadata": { "finalizers": null } })).await;
            }
        }
        // What the chart makes for a release in the namespace, and not in it.
        for kind in [CLUSTER_ROLE_BINDING, CLUSTER_ROLE] {
            for role in ["finalizers", "dashboard-tokens"] {
                self.delete(kind, &format!("{}-mooring-operator-{role}", self.name)).await?;
            }
        }
        Ok(())
    }

    /// The file that says how to reach the cluster.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// kubectl, in this namespace unless its arguments name another.
    #[must_use]
    pub fn kubectl(&self, arguments: &[&str]) -> Program {
        let program = Program::named("kubectl").arg("--kubeconfig").arg(&self.kubeconfig);
        program.args(["--namespace", self.name.as_str()]).args(arguments)
    }

    /// Helm, in this namespace.
    #[must_use]
    pub fn helm(&self, arguments: &[&str]) -> Program {
        let program = Program::named("helm").env("KUBECONFIG", &self.kubeconfig);
        program.args(["--namespace", self.name.as_str()]).args(arguments)
    }

    /// `kubectl apply` of manifests, YAML or JSON; they must be accepted.
    ///
    /// # Errors
    /// When they are refused.
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        let outcome = self.try_apply(manifests).await?;
        ensure!(outcome.status.success(), "kubectl apply: {}\n{manifests}", outcome.stderr);
        Ok(())
    }

    /// `kubectl apply` of manifests that must be refused; answers what it says.
    ///
    /// # Errors
    /// When they are accepted.
    pub async fn refused(&self, manifests: &str) -> Result<String> {
        let outcome = self.try_apply(manifests).await?;
        ensure!(!outcome.status.success(), "it was accepted:\n{manifests}");
        Ok(outcome.stderr)
    }

    async fn try_apply(&self, manifests: &str) -> Result<Outcome> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), manifests)?;
        self.kubectl(&["apply", "--filename"]).arg(file.path()).outcome().await
    }

    /// Makes an object from the parts that a story cares about.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn create_object(&self, kind: Kind, object: &Value) -> Result<Value> {
        let mut whole = object.clone();
        let types = kind.resource();
        whole["apiVersion"] = json!(types.api_version);
        whole["kind"] = json!(types.kind);
        let created = self.api(kind).create(&PostParams::default(), &serde_json::from_value(whole)?).await;
        plain(&created.with_context(|| format!("a {} can't be made of {object}", types.kind))?)
    }

    /// Merges a patch into an object.
    ///
    /// # Errors
    /// When it is not there, or the API server refuses.
    pub async fn patch(&self, kind: Kind, name: &str, patch: &Value) -> Result<Value> {
        let patched = self.api(kind).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        plain(&patched.with_context(|| format!("{} does not take {patch}", kind.named(name)))?)
    }

    /// Merges a patch into an object's status.
    ///
    /// # Errors
    /// When it is not there, or the API server refuses.
    pub async fn patch_status(&self, kind: Kind, name: &str, patch: &Value) -> Result<Value> {
        let patched = self.api(kind).patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        plain(&patched.with_context(|| format!("the status of {} does not take {patch}", kind.named(name)))?)
    }

    /// Deletes an object if it is there; does not wait.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn delete(&self, kind: Kind, name: &str) -> Result<()> {
        match self.api(kind).delete(name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(err) => bail!("{} is not deleted: {err}", kind.named(name)),
        }
    }

    /// Reads an object, which must be there.
    ///
    /// # Errors
    /// When it is not.
    pub async fn get(&self, kind: Kind, name: &str) -> Result<Value> {
        self.find(kind, name).await?.with_context(|| format!("no {}", kind.named(name)))
    }

    /// Reads an object, if it is there.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn find(&self, kind: Kind, name: &str) -> Result<Option<Value>> {
        self.api(kind).get_opt(name).await?.map(|object| plain(&object)).transpose()
    }

    /// Reads all objects of a kind that have the labels of a selector; all when it is empty.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn list(&self, kind: Kind, selector: &str) -> Result<Vec<Value>> {
        let list = self.api(kind).list(&ListParams::default().labels(selector)).await?;
        list.iter().map(plain).collect()
    }

    /// Waits until an object is as the story wants it, `None` being one that is not there; answers how it is then. It is told of every change
    /// and never asks.
    ///
    /// # Errors
    /// When it does not become so, with how it was last.
    pub async fn until(&self, kind: Kind, name: &str, what: &str, is_so: impl Fn(Option<&Value>) -> bool) -> Result<Option<Value>> {
        let mut last = None;
        let watching = async {
            let mut changes = std::pin::pin!(watcher::watch_object(self.api(kind), name).default_backoff());
            while let Some(change) = changes.next().await {
                // A watch that breaks off is taken up again by the stream itself.
                let Ok(change) = change else { continue };
                last = change.map(|object| plain(&object)).transpose()?;
                if is_so(last.as_ref()) {
                    return anyhow::Ok(());
                }
            }
            bail!("the watch of {} ended", kind.named(name))
        };
        let waited = within(&format!("{} to be {what}", kind.named(name)), watching).await;
        waited
            .and_then(|outcome| outcome)
            .with_context(|| format!("it was last: {}", last.as_ref().map_or("not there".to_owned(), short)))?;
        Ok(last)
    }

    /// Every change to the objects of a kind from now on, and first how they are; objects that go are passed over.
    pub fn changes(&self, kind: Kind) -> impl Stream<Item = Result<Value>> + use<> {
        let changes = watcher::watcher(self.api(kind), watcher::Config::default()).default_backoff();
        changes.filter_map(async |change| match change {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => Some(plain(&object)),
            // A watch that breaks off is taken up again by the stream itself.
            Ok(watcher::Event::Init | watcher::Event::InitDone | watcher::Event::Delete(_)) | Err(_) => None,
        })
    }

    /// Waits until a condition of an object has a status (`True`, `False`, `Unknown`), for the generation that it has by then.
    ///
    /// # Errors
    /// When it does not come to have it.
    pub async fn until_condition(&self, kind: Kind, name: &str, condition: &str, status: &str) -> Result<Value> {
        let is_so = |object: Option<&Value>| {
            object.is_some_and(|object| is_observed(object, condition) && condition_of(object, condition)["status"] == status)
        };
        let object = self.until(kind, name, &format!("{condition}={status}"), is_so).await?;
        object.context("it is not there")
    }

    /// Waits until an object is not there.
    ///
    /// # Errors
    /// When it stays.
    pub async fn until_gone(&self, kind: Kind, name: &str) -> Result<()> {
        self.until(kind, name, "gone", |object| object.is_none()).await.map(drop)
    }

    /// Waits until an object is there and another one than it was: deleted and made again.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn until_made_again(&self, kind: Kind, was: &Value) -> Result<Value> {
        let name = was["metadata"]["name"].as_str().context("no name")?;
        let is_another = |object: Option<&Value>| object.is_some_and(|object| object["metadata"]["uid"] != was["metadata"]["uid"]);
        self.until(kind, name, "there again", is_another).await?.context("it is not there")
    }

    /// An entry of a Secret, as text.
    ///
    /// # Errors
    /// When there is no such Secret or entry.
    pub async fn secret(&self, name: &str, entry: &str) -> Result<String> {
        entry_of(&self.get(SECRET, name).await?, entry)
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        if [NAMESPACE, NODE, DEFINITION, CLUSTER_ROLE, CLUSTER_ROLE_BINDING].contains(&kind) {
            return Api::all_with(self.client.clone(), &kind.resource());
        }
        Api::namespaced_with(self.client.clone(), &self.name, &kind.resource())
    }
}

/// A condition of an object; null when it has none of that name.
#[must_use]
pub fn condition_of<'a>(object: &'a Value, condition: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|entry| entry["type"] == condition).unwrap_or(&Value::Null)
}

/// Whether a condition speaks of the generation that the object has. Kubernetes' own kinds say so once for the whole status, or not at all.
#[must_use]
pub fn is_observed(object: &Value, condition: &str) -> bool {
    let observed = [&condition_of(object, condition)["observedGeneration"], &object["status"]["observedGeneration"]];
    observed.iter().all(|observed| observed.is_null() || **observed == object["metadata"]["generation"])
}

/// An entry of a Secret that was read, as text.
///
/// # Errors
/// When there is no such entry.
pub fn entry_of(secret: &Value, entry: &str) -> Result<String> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let encoded = secret["data"][entry].as_str().with_context(|| format!("the Secret has no {entry}"))?;
    Ok(String::from_utf8(STANDARD.decode(encoded)?)?)
}

fn plain(object: &DynamicObject) -> Result<Value> {
    Ok(serde_json::to_value(object)?)
}

/// What a person wants to see of an object.
fn short(object: &Value) -> String {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    // Values of Secrets are in nobody's log.
    if object["kind"] == "Secret"
        && let Some(data) = object["data"].as_object_mut()
    {
        data.values_mut().for_each(|value| *value = json!("…"));
    }
    object.to_string()
}
