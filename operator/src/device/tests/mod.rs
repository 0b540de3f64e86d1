//! The laws, against an API server and a hub that are played: reconciled twice nothing is written; three writes bring a Device to Ready;
//! an operator that dies between any two effects loses nothing, rotates nothing twice, and lets nobody in who is held.

mod away;
mod lives;
mod namespaces;
mod plays;

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::runtime::reflector::store::Writer;
use kube::runtime::{reflector, watcher};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::caches::HubSeen;
use super::context::{Context, Guarded};
use super::index::Seen;
use super::reconcile::{ReconcileError, reconcile};
use super::{DeviceName, apply, vanished};
use crate::hub::identity::ManagedBy;
use crate::hub::{Endpoint, HubKey, Instruments, Links};
use crate::observe::Metrics;
use crate::scope::Scope;
use plays::{Fault, Shared, Stage};

const NAMESPACE: &str = "/api/v1/namespaces/plant";
const DEVICE: &str = "/apis/mooring.dev/v1alpha1/namespaces/plant/devices/pump";
const HUB: &str = "/apis/mooring.dev/v1alpha1/namespaces/plant/iothubs/hub";
const SECRET: &str = "/api/v1/namespaces/plant/secrets/pump-credentials";

/// An operator, from its start to its death. What it knows it has from the stage.
struct Operator {
    stage: Shared,
    context: Arc<Context>,
    store: Writer<Guarded>,
}

/// What outlives operators.
struct World {
    stage: Shared,
    api: std::net::SocketAddr,
    hub: std::net::SocketAddr,
}

fn pump() -> DeviceName {
    DeviceName { namespace: "plant".to_owned(), name: "pump".to_owned() }
}

fn hub_key() -> HubKey {
    HubKey { namespace: "plant".to_owned(), name: "hub".to_owned() }
}

fn device(name: &str, uid: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": mooring_crds::API_VERSION, "kind": "Device",
        "metadata": { "name": name, "namespace": "plant", "uid": uid, "generation": 1, "creationTimestamp": "2026-11-23T03:00:00Z" },
        "spec": spec,
    })
}

impl World {
    async fn new(spec: &Value) -> Self {
        let stage = Arc::new(Mutex::new(Stage::default()));
        let (api, hub) = (plays::api(&stage).await, plays::hub(&stage).await);
        let iot_hub = json!({
            "apiVersion": mooring_crds::API_VERSION, "kind": "IotHub",
            "metadata": { "name": "hub", "namespace": "plant", "uid": "hub-1" }, "spec": { "hostnames": ["h.example"] },
        });
        let mut spec = spec.clone();
        spec["hubRef"] = json!({ "name": "hub" });
        {
            let mut stage = stage.lock().unwrap();
            stage.put(NAMESPACE, json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "plant", "uid": "plant-1" } }));
            stage.put(HUB, iot_hub);
            stage.put(DEVICE, device("pump", "1", &spec));
        }
        Self { stage, api, hub }
    }

    fn operator(&self) -> Operator {
        self.operator_of(&hub_key(), Scope::Cluster, 0)
    }

    /// One that knows how to reach a hub, and waits for so many watches in each part of its scope.
    fn operator_of(&self, hub: &HubKey, scope: Scope, watches: usize) -> Operator {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut config = Config::new(format!("http://{}", self.api).parse().unwrap());
        config.default_namespace = "plant".to_owned();
        let client = Client::try_from(config).unwrap();
        let instruments = Instruments { clock: Timestamp::now, metrics: Metrics::default() };
        let links = Links::new(instruments.clone());
        links.set_plain(
            hub.clone(),
            Endpoint {
                host_name: "h.example".to_owned(),
                address: self.hub,
                roots_pem: "PEM".to_owned(),
                policy: "mooring-operator".to_owned(),
                key: "a2V5".into(),
            },
        );
        let (reader, store) = reflector::store::<Guarded>();
        let context = Context::new(client, instruments, scope, links, vec![reader], watches);
        let mut operator = Operator { stage: Arc::clone(&self.stage), context: Arc::new(context), store };
        operator.look();
        operator
    }

    fn object(&self, path: &str) -> Option<Value> {
        self.stage.lock().unwrap().objects.get(path).cloned()
    }

    fn identity(&self) -> Option<Value> {
        self.stage.lock().unwrap().identities.get("pump").cloned()
    }

    fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut stage = self.stage.lock().unwrap();
        let mut object = stage.objects[path].clone();
        change(&mut object);
        stage.put(path, object);
    }

    fn condition(&self, kind: &str) -> String {
        let device = self.object(DEVICE).unwrap();
        let conditions = device["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let condition = conditions.iter().find(|condition| condition["type"] == kind).cloned().unwrap_or_default();
        format!("{} {}", condition["status"].as_str().unwrap_or("none"), condition["reason"].as_str().unwrap_or_default())
    }

    fn writes(&self) -> (Vec<String>, usize) {
        let mut stage = self.stage.lock().unwrap();
        (std::mem::take(&mut stage.api_writes), std::mem::take(&mut stage.hub_writes).len())
    }

    /// What the credentials say, in clear.
    fn connection_string(&self) -> String {
        use base64::Engine as _;
        let secret = self.object(SECRET).expect("there are credentials");
        let bytes = base64::engine::general_purpose::STANDARD.decode(secret["data"]["connectionString"].as_str().unwrap()).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

impl Operator {
    /// What the watches would show.
    fn look(&mut self) {
        let objects = self.stage.lock().unwrap().objects.clone();
        self.store.apply_watcher_event(&watcher::Event::Init);
        for (path, object) in objects {
            if path.contains("/devices/") {
                let guarded: Guarded = serde_json::from_value(object).unwrap();
                self.store.apply_watcher_event(&watcher::Event::InitApply(guarded.clone()));
                if let Some(seen) = guarded.0.as_ref().ok().and_then(Seen::of) {
                    self.context.links.known().name(&seen.hub, &seen.device_id);
                    self.context.devices.put(seen);
                }
            } else if path.contains("/secrets/") {
                self.context.secrets.put(&serde_json::from_value(object).unwrap());
            } else if path.contains("/iothubs/") {
                self.context.hubs.put(&serde_json::from_value(object).unwrap());
            }
        }
        self.store.apply_watcher_event(&watcher::Event::InitDone);
    }

    async fn reconcile_named(&mut self, name: &DeviceName) -> Result<Action, ReconcileError> {
        self.look();
        let Some(cached) = self.context.cached(name) else { return Ok(Action::await_change()) };
        let done = reconcile(cached, Arc::clone(&self.context)).await;
        let stop = CancellationToken::new();
        stop.cancel();
        // What waits is written, and then it ends.
        self.context.statuses.clone().run(Arc::clone(&self.context), stop).await;
        done
    }

    async fn reconcile(&mut self) -> Result<Action, ReconcileError> {
        self.reconcile_named(&pump()).await
    }
}

#[tokio::test]
async fn three_writes_bring_a_device_to_ready_and_then_there_are_none() {
    let world = World::new(&json!({ "tags": { "site": "north" }, "monitoring": { "offlineAfter": "10m" } })).await;
    let mut operator = world.operator();
    operator.reconcile().await.unwrap();
    assert_eq!(world.condition("Ready"), "True InHub");
    assert_eq!(world.condition("Connected"), "False NeverConnected");
    assert_eq!(
        world.writes(),
        (vec![format!("PATCH {DEVICE}"), "POST /api/v1/namespaces/plant/secrets".to_owned(), format!("PATCH {DEVICE}/status")], 1)
    );
    assert_eq!(world.connection_string(), "HostName=h.example;DeviceId=pump;SharedAccessKey=aHVi0001");
    for mut operator in [operator, world.operator()] {
        operator.reconcile().await.unwrap();
        operator.reconcile().await.unwrap();
        assert_eq!(world.writes(), (vec![], 0), "nor by one that has just begun");
    }
}

#[tokio::test]
async fn a_lost_or_edited_secret_comes_back_with_the_same_keys_and_a_foreign_one_is_not_touched() {
    let world = World::new(&json!({})).await;
    let mut operator = world.operator();
    operator.reconcile().await.unwrap();
    let issued = world.object(SECRET).unwrap();
    world.change(SECRET, |secret| secret["data"]["connectionString"] = "ZWRpdGVk".into());
    operator.reconcile().await.unwrap();
    assert_eq!(world.object(SECRET).unwrap()["data"], issued["data"]);
    world.stage.lock().unwrap().objects.remove(SECRET);
    operator.context.secrets.remove(&pump().beside("pump-credentials"));
    operator.reconcile().await.unwrap();
    assert_eq!(world.object(SECRET).unwrap()["data"], issued["data"]);

    let foreign = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "theirs", "namespace": "plant", "uid": "x" } });
    let path = "/api/v1/namespaces/plant/secrets/theirs";
    world.stage.lock().unwrap().put(path, foreign);
    let before = world.object(path);
    world.change(DEVICE, |device| device["spec"]["credentials"] = json!({ "secretName": "theirs" }));
    operator.reconcile().await.unwrap();
    assert_eq!(world.object(path), before);
    assert_eq!(
        (world.condition("CredentialsIssued"), world.condition("Ready")),
        ("False SecretConflict".to_owned(), "False SecretConflict".to_owned())
    );
}

#[tokio::test]
async fn who_is_held_stays_out_through_reconciles_and_restarts_and_the_device_says_so() {
    let world = World::new(&json!({})).await;
    world.operator().reconcile().await.unwrap();
    {
        let mut stage = world.stage.lock().unwrap();
        let identity = stage.identities.get_mut("pump").unwrap();
        identity["hold"] = json!({ "by": "service", "since": "2026-11-23T03:00:00Z" });
        identity["status"] = "disabled".into();
    }
    for spec in [json!(null), json!({ "statusReason": "x" }), json!({ "enabled": true, "tags": { "a": 1 } })] {
        world.change(DEVICE, |device| {
            let generation = device["metadata"]["generation"].as_i64().unwrap();
            device["metadata"]["generation"] = (generation + 1).into();
            spec.as_object().into_iter().flatten().for_each(|(name, value)| device["spec"][name] = value.clone());
        });
        world.operator().reconcile().await.unwrap();
        assert_eq!(
            (world.condition("Ready"), world.condition("CredentialsIssued")),
            ("False HeldInHub".to_owned(), "True Issued".to_owned())
        );
        assert_eq!(world.identity().unwrap()["status"], "disabled");
        assert!(!world.identity().unwrap()["hold"].is_null());
    }
}

#[tokio::test]
async fn an_operator_that_dies_at_any_effect_loses_nothing_and_rotates_once() {
    for (at, after) in (0..6).flat_map(|at| [(at, false), (at, true)]) {
        let world = World::new(&json!({})).await;
        world.stage.lock().unwrap().fault = Some(Fault { at, after });
        let _ = world.operator().reconcile().await;
        world.stage.lock().unwrap().fault = None;
        settle(&world).await;
        let key = primary(&world);
        assert!(world.connection_string().ends_with(&key), "{at} {after}");

        // A rotation, with a death in the middle of it.
        world.change(DEVICE, |device| {
            device["spec"]["rotation"] = json!({ "requestedAt": "2026-11-23T04:00:00Z", "overlap": "1000000h" });
            device["metadata"]["generation"] = 2.into();
        });
        {
            let mut stage = world.stage.lock().unwrap();
            (stage.effects, stage.fault) = (0, Some(Fault { at, after }));
        }
        let _ = world.operator().reconcile().await;
        world.stage.lock().unwrap().fault = None;
        settle(&world).await;
        let identity = world.identity().unwrap();
        let keys = &identity["authentication"]["symmetricKey"];
        assert_eq!(keys["secondaryKey"], key, "rotated exactly once: {at} {after}");
        assert_ne!(keys["primaryKey"], key);
        assert!(world.connection_string().ends_with(keys["primaryKey"].as_str().unwrap()));

        // A deletion, with a death in the middle of it.
        world.change(DEVICE, |device| device["metadata"]["deletionTimestamp"] = "2026-11-23T05:00:00Z".into());
        {
            let mut stage = world.stage.lock().unwrap();
            (stage.effects, stage.fault) = (0, Some(Fault { at, after }));
        }
        let _ = world.operator().reconcile().await;
        world.stage.lock().unwrap().fault = None;
        let _ = world.operator().reconcile().await;
        assert_eq!((world.object(DEVICE), world.identity()), (None, None), "{at} {after}");
    }
}

fn primary(world: &World) -> String {
    world.identity().expect("it is in the hub")["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap().to_owned()
}

async fn settle(world: &World) {
    let mut operator = world.operator();
    for _ in 0..3 {
        operator.reconcile().await.unwrap();
    }
    assert_eq!(world.condition("Ready"), "True InHub");
    world.writes();
    operator.reconcile().await.unwrap();
    assert_eq!(world.writes(), (vec![], 0));
}

#[tokio::test]
async fn an_identity_is_adopted_only_when_told_and_anothers_never() {
    let world = World::new(&json!({})).await;
    let nobodys = json!({ "deviceId": "pump", "generationId": "9", "etag": "0", "status": "enabled", "wantedStatus": "enabled",
        "authentication": { "type": "sas", "symmetricKey": { "primaryKey": "b2xk", "secondaryKey": "b2xk" } } });
    world.stage.lock().unwrap().identities.insert("pump".to_owned(), nobodys.clone());
    let mut operator = world.operator();
    operator.reconcile().await.unwrap();
    assert_eq!((world.condition("Ready"), world.identity().unwrap()), ("False NotAdopted".to_owned(), nobodys));
    assert!(world.object(DEVICE).unwrap()["metadata"]["finalizers"].is_null(), "it has nothing to see to");
    world.change(DEVICE, |device| device["spec"]["adoption"] = "Adopt".into());
    operator.reconcile().await.unwrap();
    assert_eq!(world.condition("Ready"), "True InHub");
    assert!(world.connection_string().ends_with("b2xk"), "with its keys");
    world.stage.lock().unwrap().identities.get_mut("pump").unwrap()["managedBy"]["name"] = "other".into();
    operator.reconcile().await.unwrap();
    assert_eq!(world.condition("Ready"), "False ManagedByAnother");
}

#[tokio::test]
async fn of_two_for_one_identity_the_oldest_has_it_and_the_other_takes_over() {
    let world = World::new(&json!({ "deviceId": "pump" })).await;
    let mut younger = device("spare", "2", &json!({ "deviceId": "pump", "hubRef": { "name": "hub" } }));
    younger["metadata"]["creationTimestamp"] = "2026-11-23T04:00:00Z".into();
    let path = DEVICE.replace("pump", "spare");
    world.stage.lock().unwrap().put(&path, younger);
    let mut operator = world.operator();
    let spare = pump().beside("spare");
    operator.reconcile_named(&spare).await.unwrap();
    operator.reconcile().await.unwrap();
    assert_eq!(world.condition("Ready"), "True InHub");
    assert_eq!(world.object(&path).unwrap()["status"]["conditions"][0]["reason"], "DeviceIdConflict");
    world.change(DEVICE, |device| device["metadata"]["deletionTimestamp"] = "2026-11-23T05:00:00Z".into());
    operator.reconcile().await.unwrap();
    operator.context.devices.remove(&pump());
    operator.reconcile_named(&spare).await.unwrap();
    assert_eq!(world.identity().unwrap()["managedBy"]["name"], "spare");
    assert_eq!(world.object(&path).unwrap()["status"]["conditions"][0]["status"], "True");
}

#[tokio::test]
async fn a_finalizer_goes_with_a_hub_that_is_gone_and_waits_for_one_that_is_away() {
    for gone in [false, true] {
        let world = World::new(&json!({})).await;
        let mut operator = world.operator();
        operator.reconcile().await.unwrap();
        world.change(DEVICE, |device| device["metadata"]["deletionTimestamp"] = "2026-11-23T05:00:00Z".into());
        operator.context.links.remove(&hub_key());
        if gone {
            world.stage.lock().unwrap().objects.remove(HUB);
            operator.context.hubs.remove(&hub_key());
        }
        operator.reconcile().await.unwrap();
        assert_eq!(world.object(DEVICE).is_none(), gone);
        assert!(world.identity().is_some(), "nobody has said a word to the hub");
    }
}

#[tokio::test]
async fn an_operator_that_has_just_begun_says_nothing_of_a_hub_that_nobody_has_looked_at() {
    let world = World::new(&json!({})).await;
    world.operator().reconcile().await.unwrap();
    let _ = world.writes();
    let mut another = world.operator();
    another.context.links.remove(&hub_key());
    another.reconcile().await.unwrap();
    assert_eq!((world.condition("Synced").as_str(), world.writes()), ("True InHub", (Vec::new(), 0)));
    another.context.links.looked_at(&hub_key());
    another.reconcile().await.unwrap();
    assert_eq!(world.condition("Synced"), "Unknown HubNotReady");
}

#[tokio::test]
async fn while_paused_a_device_is_shut_out_and_nothing_else() {
    let world = World::new(&json!({})).await;
    let mut operator = world.operator();
    operator.reconcile().await.unwrap();
    world.change(HUB, |hub| hub["spec"]["paused"] = true.into());
    world.change(DEVICE, |device| {
        device["spec"]["enabled"] = false.into();
        device["spec"]["tags"] = json!({ "a": 1 });
        device["metadata"]["generation"] = 2.into();
    });
    operator.reconcile().await.unwrap();
    let identity = world.identity().unwrap();
    assert_eq!((&identity["status"], &identity["tags"]), (&json!("disabled"), &Value::Null));
    assert!(identity["hold"].is_null(), "it is the manifest's doing");
    assert_eq!(world.condition("Ready"), "False Paused");
    world.writes();
    operator.reconcile().await.unwrap();
    assert_eq!(world.writes(), (vec![], 0), "once");
    world.change(DEVICE, |device| device["metadata"]["deletionTimestamp"] = "2026-11-23T05:00:00Z".into());
    operator.reconcile().await.unwrap();
    assert_eq!((world.identity(), world.object(DEVICE)), (None, None));
}

#[tokio::test]
async fn what_cannot_be_read_stops_at_itself_and_can_be_deleted() {
    let world = World::new(&json!({})).await;
    let mut operator = world.operator();
    operator.reconcile().await.unwrap();
    world.change(DEVICE, |device| device["spec"]["tags"] = 7.into());
    operator.reconcile().await.unwrap();
    assert_eq!(world.condition("Ready"), "True InHub", "it is left as it is");
    world.change(DEVICE, |device| device["metadata"]["deletionTimestamp"] = "2026-11-23T05:00:00Z".into());
    operator.reconcile().await.unwrap();
    assert_eq!((world.identity(), world.object(DEVICE)), (None, None));
}

#[tokio::test]
async fn a_vanished_device_is_held_and_one_that_is_there_is_not() {
    let world = World::new(&json!({})).await;
    let mut operator = world.operator();
    operator.reconcile().await.unwrap();
    let owner = |uid: &str| ManagedBy {
        kind: "Kubernetes".to_owned(),
        namespace: "plant".to_owned(),
        name: "pump".to_owned(),
        uid: uid.to_owned(),
    };
    let context = &operator.context;
    assert!(!vanished::look_at(context, &hub_key(), "pump", &owner("1")).await.unwrap());
    assert!(!vanished::look_at(context, &hub_key(), "pump", &owner("0")).await.unwrap(), "the identity is another's by now");
    world.stage.lock().unwrap().objects.remove(DEVICE);
    assert!(vanished::look_at(context, &hub_key(), "pump", &owner("1")).await.unwrap());
    assert!(!world.identity().unwrap()["hold"].is_null());
    assert!(!vanished::look_at(context, &hub_key(), "pump", &owner("1")).await.unwrap(), "once");
    let seen = HubSeen { paused: true, ..context.hubs.get(&hub_key()).unwrap() };
    assert!(seen.paused && seen.uid == "hub-1");
    let gone = context.devices.get(&pump()).unwrap();
    apply::disable(context.links.get(&hub_key()).unwrap().shut_out().unwrap(), &gone, &owner("0")).await.unwrap();
}
