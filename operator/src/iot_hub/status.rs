//! How a hub stands: from what was read and done to its status. Pure.
//!
//! Ready is said only of the generation that runs and answers; what keeps it from that is named as far as the cluster says so.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod, Service};
use kube::ResourceExt as _;
use mooring_crds::IotHub;
use mooring_crds::device::RotationStatus;
use mooring_crds::iot_hub::{CertificateSource, DeviceCounts, Endpoints, IotHubStatus, PolicyStatus};

use super::apply::Applied;
use super::child::Kind;
use super::material::Material;
use super::validate::{Refusal, Valid};
use crate::conditions::{self, Said};
use crate::hub::HubInfo;
use crate::labels::HubChildren;

/// What has less than this left is told of.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Reasons of waiting containers that need a person, or time.
const START_REASONS: [&str; 8] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// The longest last words that are repeated.
const LAST_WORDS_MAX_CHARS: usize = 600;

/// What is known when the status is made.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The hub, with the status it has.
    pub hub: &'a IotHub,
    /// Now.
    pub now: Timestamp,
    /// The spec, checked; or what is wrong with it.
    pub valid: Result<&'a Valid, &'a Refusal>,
    /// Its keys and certificates.
    pub material: Option<&'a Material>,
    /// What was applied; `None` when nothing was.
    pub applied: Option<&'a Applied>,
    /// The Deployment as it is.
    pub deployment: Option<&'a Deployment>,
    /// Its Pods.
    pub pods: &'a [Pod],
    /// The volume.
    pub volume: Option<&'a PersistentVolumeClaim>,
    /// The Service for devices.
    pub devices_service: Option<&'a Service>,
    /// When the certificate ends, in seconds.
    pub certificate_ends: Option<i64>,
    /// What the hub says, or why it does not.
    pub info: Result<&'a HubInfo, &'a str>,
    /// The devices to tell of.
    pub devices: Option<DeviceCounts>,
}

/// How a hub stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It can't go on before somebody does something.
    Stalled(Reason),
    /// It is on its way.
    Reconciling(Reason),
    /// It runs, as the spec has it.
    Ready(Reason),
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// One CamelCase word.
    pub word: &'static str,
    /// Why, and what to do.
    pub message: String,
}

impl Reason {
    fn new(word: &'static str, message: impl Into<String>) -> Self {
        Self { word, message: message.into() }
    }
}

/// The status to write.
#[must_use]
pub fn status(known: Known<'_>) -> IotHubStatus {
    let before = known.hub.status.clone().unwrap_or_default();
    let paused = known.hub.spec.paused;
    // What is paused has not been looked at.
    let generation = if paused { before.observed_generation } else { known.hub.metadata.generation };
    let standing = standing(known);
    IotHubStatus {
        observed_generation: generation,
        conditions: conditions::conditions(&before.conditions, &said(&standing, paused), generation, known.now),
        endpoints: endpoints(known).or(before.endpoints),
        devices: known.devices.or(before.devices),
        version: known.info.ok().map(|info| info.version.clone()).or(before.version),
        certificate_expiry_time: known.certificate_ends.and_then(|second| Timestamp::from_second(second).ok()),
        policies: policies(known).unwrap_or(before.policies),
    }
}

/// The status of an IotHub that can't be read as one; what ran before runs on.
#[must_use]
pub fn unreadable(before: &IotHubStatus, generation: Option<i64>, why: &str, now: Timestamp) -> IotHubStatus {
    let message = format!("the IotHub can't be read, and is left as it was: put this right: {why}");
    let said = said(&Standing::Stalled(Reason::new("InvalidSpec", message)), false);
    IotHubStatus {
        observed_generation: generation,
        conditions: conditions::conditions(&before.conditions, &said, generation, now),
        ..before.clone()
    }
}

fn said(standing: &Standing, paused: bool) -> [Said; 3] {
    let (ready, reconciling, stalled, reason) = match standing {
        Standing::Ready(reason) => (true, false, false, reason),
        Standing::Reconciling(reason) => (false, true, false, reason),
        Standing::Stalled(reason) => (false, false, true, reason),
    };
    let said = |kind, so: bool, otherwise: &'static str| {
        if so { Said::yes(kind, reason.word, reason.message.clone()) } else { Said::no(kind, otherwise, "") }
    };
    let is_ready = Said { kind: "Ready", status: Some(ready), reason: reason.word, message: reason.message.clone() };
    let at_work = if paused {
        Said::no("Reconciling", "Paused", "spec.paused is true: nothing is changed, except that Devices are disabled and deleted")
    } else {
        said("Reconciling", reconciling, if stalled { "Stalled" } else { "UpToDate" })
    };
    [is_ready, at_work, said("Stalled", stalled, "NotStalled")]
}

/// How the hub stands; what is nearest to the cause counts.
#[must_use]
pub fn standing(known: Known<'_>) -> Standing {
    if let Err(refusal) = known.valid {
        return Standing::Stalled(Reason { word: refusal.reason, message: refusal.message.clone() });
    }
    if let Some(reason) = known.applied.and_then(not_applied) {
        return Standing::Stalled(reason);
    }
    let Some(deployment) = known.deployment else {
        return Standing::Reconciling(Reason::new("Creating", "the hub's Deployment is being made"));
    };
    if !is_rolled_out(deployment) {
        let reason = why_not_running(known, deployment);
        // Kubernetes has stopped to count on it.
        return if has_condition(deployment, "Progressing", "False") { Standing::Stalled(reason) } else { Standing::Reconciling(reason) };
    }
    let left = known.certificate_ends.map(|ends| SignedDuration::from_secs(ends - known.now.as_second()));
    // The operator can't connect either then.
    if left.is_some_and(|left| left <= SignedDuration::ZERO) {
        let message = "the hub's certificate has ended, so that no device connects: see to it that it is renewed";
        return Standing::Stalled(Reason::new("CertificateExpired", message));
    }
    if let Err(why) = known.info {
        let mut message = format!("the hub runs, but does not answer the operator: {why}");
        if let Some(secret) = known.hub.spec.tls.secret_ref.as_ref().filter(|_| why.contains("UnknownIssuer")) {
            let hint = format!(". Put the certificate of the authority that issued the hub's into ca.crt of the Secret {}", secret.name);
            message.push_str(&hint);
        }
        return Standing::Reconciling(Reason::new("HubNotAnswering", message));
    }
    match left {
        Some(left) if left < EXPIRES_SOON => {
            let message = format!("the hub's certificate ends in {} h: see to it that it is renewed", left.as_hours());
            Standing::Ready(Reason::new("CertificateExpiring", message))
        }
        _ => Standing::Ready(Reason::new("Running", "the hub runs and answers")),
    }
}

fn not_applied(applied: &Applied) -> Option<Reason> {
    if let Some(conflict) = applied.conflicts.first() {
        let owner = conflict.owner.as_ref().map_or_else(|| "somebody else's".to_owned(), |owner| format!("the {owner}'s"));
        let message = format!(
            "the {} is there already and {owner}; it is left alone. Give the hub another name, or remove that one (what an IotHub that is \
             being deleted leaves goes by itself)",
            conflict.key
        );
        let word = if conflict.key.kind == Kind::Secret { "SecretConflict" } else { "ChildConflict" };
        return Some(Reason::new(word, message));
    }
    let rejection = applied.rejections.first()?;
    Some(Reason::new("ApplyFailed", format!("the API server refuses the {}: {}", rejection.key, rejection.message)))
}

/// Whether the Pod that runs is of the Deployment as it is now.
#[must_use]
pub fn is_rolled_out(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas == Some(1)
        && status.available_replicas == Some(1)
        && status.replicas == Some(1)
}

fn has_condition(deployment: &Deployment, kind: &str, is: &str) -> bool {
    let conditions = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_.as_deref() == Some(kind) && condition.status.as_deref() == Some(is))
}

fn why_not_running(known: Known<'_>, deployment: &Deployment) -> Reason {
    let newest = known.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let newest = newest.max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
    if let Some(reason) = newest.and_then(container_reason) {
        return reason;
    }
    let unscheduled = newest.and_then(|pod| {
        let conditions = pod.status.as_ref()?.conditions.as_ref()?;
        let scheduled = conditions.iter().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
        Some(scheduled.message.clone().unwrap_or_default())
    });
    let phase = known.volume.and_then(|volume| volume.status.as_ref()?.phase.as_deref());
    match (phase, unscheduled) {
        (Some("Lost"), _) => {
            return Reason::new("VolumeLost", "the hub's volume is lost: bring it back, or delete its PersistentVolumeClaim and its data");
        }
        (Some("Pending"), Some(why)) => {
            let message = format!("the hub's volume is not provided yet, and its Pod waits for it: {why}");
            return Reason::new("VolumePending", message);
        }
        (_, Some(why)) => return Reason::new("Unschedulable", format!("no node takes the hub's Pod: {why}")),
        _ => {}
    }
    let conditions = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let fails = |is: Option<&str>, kind: Option<&str>| kind == Some("ReplicaFailure") && is == Some("True");
    if let Some(failure) = conditions.into_iter().find(|condition| fails(condition.status.as_deref(), condition.type_.as_deref())) {
        let message = format!("the hub's Pod can't be made: {}", failure.message.clone().unwrap_or_default());
        return Reason::new("PodRefused", message);
    }
    if newest.is_none() && !known.pods.is_empty() {
        return Reason::new("Stopping", "the hub's Pod ends before the next one begins");
    }
    Reason::new("Starting", "the hub's Pod is starting")
}

fn container_reason(pod: &Pod) -> Option<Reason> {
    let status: &ContainerStatus = pod.status.as_ref()?.container_statuses.as_ref()?.iter().find(|status| status.name == "hub")?;
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let word = START_REASONS.into_iter().find(|word| waiting.reason.as_deref() == Some(word))?;
    if matches!(word, "ImagePullBackOff" | "ErrImagePull") {
        // The kubelet goes to and fro between the two, with other words each time: to a person they are one.
        let message = format!(
            "the image {} can't be had: see that its name is right and the registry lets this cluster in. `kubectl describe pod` has the \
                               registry's own words",
            status.image
        );
        return Some(Reason::new("ImagePullBackOff", message));
    }
    let why = waiting.message.clone().unwrap_or_default();
    let message = match word {
        "CrashLoopBackOff" => {
            let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            let code = last.map_or(0, |last| last.exit_code);
            let words = last.and_then(|last| last.message.as_deref()).unwrap_or("nothing");
            format!("the hub ends again and again (exit code {code}, {} restarts); its last words: {}", status.restart_count, end_of(words))
        }
        "InvalidImageName" | "ErrImageNeverPull" => {
            format!("the image {} can't be had: {why}", status.image)
        }
        _ => format!("the hub's container can't be made: {why}"),
    };
    Some(Reason::new(word, message))
}

fn end_of(words: &str) -> String {
    let words = words.trim();
    let from = words.chars().count().saturating_sub(LAST_WORDS_MAX_CHARS);
    words.chars().skip(from).collect()
}

fn endpoints(known: Known<'_>) -> Option<Endpoints> {
    known.valid.ok()?;
    let name = known.hub.name_any();
    let namespace = known.hub.namespace().unwrap_or_default();
    let children = HubChildren(&name);
    let within = |service: String| format!("{service}.{namespace}.svc");
    Some(Endpoints {
        hostname: known.hub.spec.hostnames.first().cloned().unwrap_or_default(),
        addresses: known.devices_service.map(addresses).unwrap_or_default(),
        devices_service: known.devices_service.map(|_| within(children.hub())),
        api_service: Some(within(children.api_service())),
        ca_secret: matches!(known.hub.spec.tls.source(), CertificateSource::SelfSigned).then(|| children.authority()),
    })
}

/// Where devices come in: nowhere yet while a load balancer is being made; at which ports of the nodes, for NodePort.
fn addresses(service: &Service) -> Vec<String> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let outside: Vec<String> = balancer
        .into_iter()
        .flat_map(|balancer| balancer.ingress.iter().flatten())
        .filter_map(|ingress| ingress.ip.clone().or_else(|| ingress.hostname.clone()))
        .take(16)
        .collect();
    let Some(spec) = service.spec.as_ref().filter(|_| outside.is_empty()) else { return outside };
    match spec.type_.as_deref() {
        Some("LoadBalancer") => Vec::new(),
        Some("NodePort") => {
            let ports = spec.ports.iter().flatten().filter_map(|port| port.node_port);
            ports.map(|port| format!("<any node>:{port}")).collect()
        }
        _ => spec.cluster_ip.clone().filter(|address| address != "None").into_iter().collect(),
    }
}

fn policies(known: Known<'_>) -> Option<Vec<PolicyStatus>> {
    let (valid, material) = (known.valid.ok()?, known.material?);
    let policies = valid.policies.iter().map(|policy| {
        let keys = material.policies.get(&policy.name);
        let rotation = keys.and_then(|keys| Some(RotationStatus { requested_at: keys.requested_at?, begun_at: keys.begun_at }));
        PolicyStatus { name: policy.name.clone(), secret: policy.secret.clone(), rotation }
    });
    Some(policies.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::iot_hub::dereference::Facts;
    use crate::iot_hub::validate::validate;

    fn hub() -> IotHub {
        serde_json::from_value(json!({
            "apiVersion": "mooring.dev/v1alpha1", "kind": "IotHub",
            "metadata": { "name": "plant", "namespace": "a", "generation": 3 }, "spec": { "hostnames": ["hub.example"] },
        }))
        .unwrap()
    }

    fn deployment(status: &Value) -> Deployment {
        serde_json::from_value(json!({ "metadata": { "generation": 2 }, "status": status })).unwrap()
    }

    fn running() -> Deployment {
        deployment(&json!({ "observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1 }))
    }

    fn info() -> HubInfo {
        serde_json::from_value(json!({
            "hostName": "hub.example", "version": "1", "boot": "b", "startedTime": "2026-11-23T00:00:00Z", "partitions": 4,
            "devices": { "total": 3, "enabled": 2, "connected": 1 },
        }))
        .unwrap()
    }

    fn stands(deployment: &Deployment, pods: &[Pod], info: Result<&HubInfo, &str>, ends: i64) -> (String, bool, bool, bool) {
        let hub = hub();
        let valid = validate(&hub, &Facts::default()).unwrap();
        let status = status(Known {
            hub: &hub,
            now: Timestamp::from_second(1_000_000).unwrap(),
            valid: Ok(&valid),
            material: None,
            applied: None,
            deployment: Some(deployment),
            pods,
            volume: None,
            devices_service: None,
            certificate_ends: Some(1_000_000 + ends),
            info,
            devices: None,
        });
        assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(3)));
        let is = |kind| conditions::is_true(&status.conditions, kind);
        (status.conditions[0].reason.clone(), is("Ready"), is("Reconciling"), is("Stalled"))
    }

    fn pod(status: &Value) -> Vec<Pod> {
        vec![serde_json::from_value(json!({ "metadata": { "name": "p" }, "status": status })).unwrap()]
    }

    #[test]
    fn ready_is_said_of_what_runs_and_answers() {
        const YEAR: i64 = 31_536_000;
        let info = info();
        assert_eq!(stands(&running(), &[], Ok(&info), YEAR), ("Running".to_owned(), true, false, false));
        assert_eq!(stands(&running(), &[], Err("no route"), YEAR), ("HubNotAnswering".to_owned(), false, true, false));
        assert_eq!(stands(&running(), &[], Ok(&info), 3600), ("CertificateExpiring".to_owned(), true, false, false));
        assert_eq!(stands(&running(), &[], Ok(&info), -1), ("CertificateExpired".to_owned(), false, false, true));
        assert_eq!(stands(&running(), &[], Err("expired"), -1).0, "CertificateExpired", "nor does the operator");
        let outdated = deployment(&json!({ "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1 }));
        assert_eq!(stands(&outdated, &[], Ok(&info), YEAR), ("Starting".to_owned(), false, true, false));
    }

    #[test]
    fn what_keeps_it_is_named() {
        let starting = deployment(&json!({ "observedGeneration": 2, "replicas": 1, "updatedReplicas": 1 }));
        let waiting = |reason: &str| {
            pod(&json!({ "containerStatuses": [{
                "name": "hub", "image": "hub:1", "imageID": "", "ready": false, "restartCount": 4,
                "state": { "waiting": { "reason": reason, "message": "back-off" } },
                "lastState": { "terminated": { "exitCode": 2, "message": "[tls] certificate: no such file" } },
            }] }))
        };
        let why = |pods: &[Pod]| stands(&starting, pods, Err("-"), 1).0;
        assert_eq!(why(&waiting("ImagePullBackOff")), "ImagePullBackOff");
        assert_eq!(container_reason(&waiting("ErrImagePull")[0]), container_reason(&waiting("ImagePullBackOff")[0]), "one reason");
        assert_eq!(why(&waiting("CrashLoopBackOff")), "CrashLoopBackOff");
        assert!(container_reason(&waiting("CrashLoopBackOff")[0]).unwrap().message.contains("no such file"));
        let unschedulable = json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "message": "0/1 nodes" }] });
        assert_eq!(why(&pod(&unschedulable)), "Unschedulable");
        assert_eq!(why(&[]), "Starting");
        let given_up = json!({ "observedGeneration": 2, "conditions": [{ "type": "Progressing", "status": "False" }] });
        assert!(stands(&deployment(&given_up), &[], Err("-"), 1).3, "stalled");
    }

    #[test]
    fn an_address_is_one_that_devices_reach() {
        let of = |spec: &Value, status: &Value| addresses(&serde_json::from_value(json!({ "spec": spec, "status": status })).unwrap());
        let balancer = json!({ "type": "LoadBalancer", "clusterIP": "10.0.0.1" });
        assert_eq!(of(&balancer, &json!({})), [""; 0], "it is on its way");
        let ingress = json!({ "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } });
        assert_eq!(of(&balancer, &ingress), ["192.0.2.1"]);
        let ports = json!([{ "port": 8883, "nodePort": 30883 }, { "port": 443, "nodePort": 30443 }]);
        let nodes = json!({ "type": "NodePort", "clusterIP": "10.0.0.1", "ports": ports });
        assert_eq!(of(&nodes, &json!({})), ["<any node>:30883", "<any node>:30443"]);
        assert_eq!(of(&json!({ "type": "ClusterIP", "clusterIP": "10.0.0.1" }), &json!({})), ["10.0.0.1"]);
    }

    #[test]
    fn a_conflict_and_a_refusal_stall() {
        use crate::iot_hub::apply::Conflict;
        use crate::iot_hub::child::ChildKey;
        let key = ChildKey::new(Kind::Secret, "plant-tls");
        let applied = Applied { conflicts: vec![Conflict { key, owner: None }], ..Applied::default() };
        let reason = not_applied(&applied).unwrap();
        assert!(reason.word == "SecretConflict" && reason.message.contains("plant-tls"), "{}", reason.message);
    }
}
