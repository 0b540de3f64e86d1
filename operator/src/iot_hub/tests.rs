//! Reconciles against an API server in memory, which applies, keeps whose a field is, and counts what is written.

use std::convert::Infallible;
use std::sync::PoisonError;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::*;
use crate::hub::Instruments;
use crate::labels;

const HUB: &str = "/apis/mooring.dev/v1alpha1/namespaces/north/iothubs/plant";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/north/deployments/plant";
const CONFIG: &str = "/api/v1/namespaces/north/configmaps/plant-config";
const POLICY: &str = "/api/v1/namespaces/north/secrets/plant-policy-service";
const NETWORK: &str = "/apis/networking.k8s.io/v1/namespaces/north/networkpolicies/plant";

/// 2026-11-23T12:00:00Z
fn noon() -> Timestamp {
    Timestamp::from_second(1_795_435_200).unwrap()
}

#[derive(Clone, Default)]
struct Cluster(Arc<Mutex<Objects>>);

#[derive(Default)]
struct Objects {
    by_path: std::collections::BTreeMap<String, Value>,
    written: Vec<String>,
    version: u64,
    /// Events.
    told: Vec<Value>,
    /// What can't be written for now.
    failing: Option<&'static str>,
}

impl Cluster {
    fn with_hub(spec: &Value) -> Self {
        let cluster = Self::default();
        cluster.put(
            HUB,
            json!({
                "apiVersion": "mooring.dev/v1alpha1", "kind": "IotHub",
                "metadata": { "name": "plant", "namespace": "north", "uid": "the-hub", "generation": 1 }, "spec": spec,
            }),
        );
        cluster
    }

    fn objects(&self) -> std::sync::MutexGuard<'_, Objects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, path: &str) -> Option<Value> {
        self.objects().by_path.get(path).cloned()
    }

    fn put(&self, path: &str, object: Value) {
        self.objects().by_path.insert(path.to_owned(), object);
    }

    fn remove(&self, path: &str) {
        self.objects().by_path.remove(path).unwrap();
    }

    /// Somebody changes a field, which is theirs from then on.
    fn edit(&self, path: &str, field: &[&str], value: Value) {
        let mut objects = self.objects();
        let object = objects.by_path.get_mut(path).unwrap();
        let pointer: String = field.iter().map(|part| format!("/{part}")).collect();
        *object.pointer_mut(&pointer).unwrap() = value;
        disown(&mut object["metadata"]["managedFields"][0]["fieldsV1"], field);
    }

    fn set_spec(&self, spec: Value) {
        let mut objects = self.objects();
        let hub = objects.by_path.get_mut(HUB).unwrap();
        hub["spec"] = spec;
        hub["metadata"]["generation"] = json!(hub["metadata"]["generation"].as_i64().unwrap() + 1);
    }

    fn written(&self) -> Vec<String> {
        std::mem::take(&mut self.objects().written)
    }

    fn condition(&self, kind: &str) -> (String, String) {
        let hub = self.get(HUB).unwrap();
        let conditions = hub["status"]["conditions"].as_array().unwrap().clone();
        let condition = conditions.into_iter().find(|condition| condition["type"] == kind).unwrap();
        (condition["status"].as_str().unwrap().to_owned(), condition["reason"].as_str().unwrap().to_owned())
    }

    fn context(&self) -> Arc<Context> {
        let service = Router::new().fallback(answer).with_state(self.clone());
        let client = Client::new(service, "north");
        let surroundings =
            Surroundings { hub_image: "hub:1".to_owned(), cluster_domain: "cluster.local".to_owned(), operator_namespace: None };
        let events = Events::new(client.clone(), "test".to_owned());
        Arc::new(Context::new(
            client,
            surroundings,
            Links::new(Instruments { clock: noon, metrics: Metrics::default() }),
            events,
            Metrics::default(),
            noon,
        ))
    }

    async fn reconcile(&self, context: &Arc<Context>) {
        self.try_to_reconcile(context).await.unwrap();
    }

    async fn try_to_reconcile(&self, context: &Arc<Context>) -> Result<Action, ReconcileError> {
        let hub: Guarded = serde_json::from_value(self.get(HUB).unwrap()).unwrap();
        reconcile(Arc::new(hub), Arc::clone(context)).await
    }
}

async fn answer(State(cluster): State<Cluster>, request: Request<Body>) -> Result<Response, Infallible> {
    let (parts, body) = request.into_parts();
    let body: Value = serde_json::from_slice(&to_bytes(body, 1 << 20).await.unwrap()).unwrap_or_default();
    let path = parts.uri.path().to_owned();
    let mut objects = cluster.objects();
    if parts.method == Method::PATCH && objects.failing == Some(path.as_str()) {
        let why =
            json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "reason": "InternalError", "message": "" });
        return Ok((StatusCode::INTERNAL_SERVER_ERROR, axum::Json(why)).into_response());
    }
    if parts.method != Method::GET && !path.contains("/events") {
        objects.written.push(format!("{} {path}", parts.method));
    } else if parts.method == Method::POST {
        objects.told.push(body.clone());
    }
    let is_namespaced_list = path.split('/').skip_while(|part| *part != "namespaces").count() == 3;
    let is_another = |object: &Value| !body["metadata"]["resourceVersion"].is_null() && !object.is_null();
    if parts.method == Method::PATCH && objects.by_path.get(&path).is_some_and(is_another) {
        let another =
            json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 409, "reason": "Conflict", "message": "x" });
        return Ok((StatusCode::CONFLICT, axum::Json(another)).into_response());
    }
    let found = match parts.method {
        Method::GET if is_namespaced_list => Some(list(&objects, &path, parts.uri.query().unwrap_or_default())),
        Method::GET => objects.by_path.get(&path).cloned(),
        Method::PATCH => Some(objects.apply(&path, body, parts.uri.query().unwrap_or_default())),
        Method::DELETE => objects.by_path.remove(&path),
        _ => Some(body),
    };
    drop(objects);
    let gone = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound", "message": "none" });
    Ok(match found {
        Some(object) => axum::Json(object).into_response(),
        None => (StatusCode::NOT_FOUND, axum::Json(gone)).into_response(),
    })
}

/// Labels are asked for by equality, or by absence.
fn list(objects: &Objects, path: &str, query: &str) -> Value {
    let selector = query.split('&').find_map(|pair| pair.strip_prefix("labelSelector=")).unwrap_or_default();
    let selector = percent_encoding::percent_decode_str(selector).decode_utf8().unwrap().into_owned();
    let fits = |object: &Value| {
        selector.split(',').filter(|term| !term.is_empty()).all(|term| match (term.strip_prefix('!'), term.split_once('=')) {
            (Some(key), _) => object["metadata"]["labels"].get(key).is_none(),
            (None, Some((key, value))) => object["metadata"]["labels"][key] == value,
            (None, None) => false,
        })
    };
    let items: Vec<Value> = objects
        .by_path
        .iter()
        .filter(|(at, object)| at.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')) && fits(object))
        .map(|(_, object)| object.clone())
        .collect();
    json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": items })
}

impl Objects {
    fn apply(&mut self, path: &str, mut wanted: Value, query: &str) -> Value {
        self.version += 1;
        let version = json!(self.version.to_string());
        if let Some(path) = path.strip_suffix("/status") {
            let object = self.by_path.get_mut(path).unwrap();
            object["status"] = wanted["status"].clone();
            object["metadata"]["resourceVersion"] = version;
            return object.clone();
        }
        assert!(query.contains("fieldManager=mooring-operator"), "{query}");
        let metadata = wanted["metadata"].as_object_mut().unwrap();
        let uid = metadata.remove("uid").unwrap_or_else(|| json!(format!("uid-{}", self.version)));
        let mut fields = fields_of(&wanted);
        fields.as_object_mut().unwrap().retain(|name, _| name != "f:apiVersion" && name != "f:kind");
        fields["f:metadata"].as_object_mut().unwrap().retain(|name, _| name != "f:name" && name != "f:namespace");
        let object = self.by_path.entry(path.to_owned()).or_insert_with(|| json!({ "metadata": {} }));
        let before = object["metadata"]["managedFields"][0]["fieldsV1"].clone();
        take_away(object, &before, &fields);
        merge(object, wanted);
        object["metadata"]["uid"] = uid;
        object["metadata"]["resourceVersion"] = version;
        object["metadata"]["managedFields"] = json!([
            { "manager": "mooring-operator", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields },
        ]);
        object.clone()
    }
}

/// Takes a field out of a set; what has nothing below any more goes too.
fn disown(fields: &mut Value, field: &[&str]) {
    let name = format!("f:{}", field[0]);
    if field.len() > 1 {
        disown(&mut fields[&name], &field[1..]);
    }
    let fields = fields.as_object_mut().unwrap();
    if field.len() == 1 || fields[&name].as_object().unwrap().is_empty() {
        fields.remove(&name).unwrap();
    }
}

/// Every list is taken as one.
fn fields_of(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(name, value)| (format!("f:{name}"), fields_of(value))).collect::<Map<_, _>>().into(),
        _ => json!({}),
    }
}

fn take_away(object: &mut Value, before: &Value, now: &Value) {
    let (Some(object), Some(before)) = (object.as_object_mut(), before.as_object()) else { return };
    for (name, fields) in before {
        let plain = name.trim_start_matches("f:");
        match (object.get_mut(plain), now.get(name)) {
            (Some(value), Some(now)) => take_away(value, fields, now),
            (Some(_), None) => {
                object.remove(plain);
            }
            (None, _) => {}
        }
    }
}

fn merge(object: &mut Value, wanted: Value) {
    match (object, wanted) {
        (Value::Object(object), Value::Object(wanted)) => {
            for (name, value) in wanted {
                merge(object.entry(name).or_insert(Value::Null), value);
            }
        }
        (object, wanted) => *object = wanted,
    }
}

fn smallest() -> Value {
    json!({ "hostnames": ["hub.example"] })
}

#[tokio::test]
async fn a_second_reconcile_writes_nothing_nor_does_another_operator() {
    let cluster = Cluster::with_hub(&smallest());
    let context = cluster.context();
    cluster.reconcile(&context).await;
    let written = cluster.written();
    assert_eq!(written.iter().filter(|write| write.contains("/secrets/")).count(), 5, "{written:#?}");
    assert_eq!(written.last().unwrap(), &format!("PATCH {HUB}/status"));
    assert_eq!(cluster.condition("Reconciling"), ("True".to_owned(), "Starting".to_owned()));
    cluster.reconcile(&context).await;
    cluster.reconcile(&cluster.context()).await;
    assert_eq!(cluster.written(), [""; 0]);
}

#[tokio::test]
async fn what_is_lost_or_edited_comes_back_as_it_was() {
    let cluster = Cluster::with_hub(&smallest());
    let context = cluster.context();
    cluster.reconcile(&context).await;
    let before = |path| cluster.get(path).unwrap()["data"].clone();
    let (policy, config) = (before(POLICY), before(CONFIG));
    let _ = cluster.written();

    cluster.remove(POLICY);
    cluster.edit(CONFIG, &["data", "hub.toml"], json!("host_name = 'elsewhere'"));
    cluster.edit(DEPLOYMENT, &["spec", "replicas"], json!(0));
    cluster.reconcile(&context).await;
    assert_eq!((before(POLICY), before(CONFIG)), (policy, config));
    assert_eq!(cluster.get(DEPLOYMENT).unwrap()["spec"]["replicas"], 1);
    assert_eq!(cluster.written(), [POLICY, CONFIG, DEPLOYMENT].map(|path| format!("PATCH {path}")));
}

#[tokio::test]
async fn what_is_somebody_else_s_is_left_alone() {
    let cluster = Cluster::with_hub(&smallest());
    let theirs = json!({
        "apiVersion": "v1", "kind": "Secret", "data": { "primaryKey": "AAAA" },
        "metadata": { "name": "plant-policy-service", "namespace": "north", "uid": "theirs", "labels": { labels::HUB: "plant" } },
    });
    cluster.put(POLICY, theirs.clone());
    let context = cluster.context();
    cluster.reconcile(&context).await;
    assert_eq!(cluster.get(POLICY), Some(theirs));
    assert_eq!(cluster.condition("Stalled"), ("True".to_owned(), "SecretConflict".to_owned()));
    assert!(cluster.get(DEPLOYMENT).is_none(), "a hub without one of its policies would begin wrongly");

    let _ = cluster.written();
    cluster.remove(POLICY);
    cluster.reconcile(&context).await;
    assert!(cluster.get(DEPLOYMENT).is_some());
    assert_eq!(cluster.condition("Stalled").0, "False");
}

#[tokio::test]
async fn what_is_wanted_no_more_goes_and_what_is_kept_stays() {
    let cluster = Cluster::with_hub(&smallest());
    let context = cluster.context();
    cluster.reconcile(&context).await;
    assert!(cluster.get(NETWORK).is_some());
    let owner = "plant-policy-iothubowner";
    let data = "/api/v1/namespaces/north/persistentvolumeclaims/plant-data";
    assert!(cluster.get(data).unwrap()["metadata"].get("ownerReferences").is_none(), "it outlives its hub");
    cluster.set_spec(json!({ "hostnames": ["hub.example"], "policies": [{ "name": "service" }], "networkPolicy": { "enabled": false } }));
    cluster.reconcile(&context).await;
    assert!(cluster.get(NETWORK).is_none() && cluster.get(&POLICY.replace("plant-policy-service", owner)).is_none());
    assert!(cluster.get(POLICY).is_some() && cluster.get(data).is_some());
}

#[tokio::test]
async fn a_hub_made_again_finds_its_keys_and_its_volume() {
    let cluster = Cluster::with_hub(&smallest());
    cluster.reconcile(&cluster.context()).await;
    let keys = cluster.get(POLICY).unwrap()["data"].clone();
    // What the hub owned has gone with it.
    cluster.objects().by_path.retain(|_, object| object["metadata"].get("ownerReferences").is_none());
    let mut hub = cluster.get(HUB).unwrap();
    hub["metadata"]["uid"] = json!("another-hub");
    hub.as_object_mut().unwrap().remove("status");
    cluster.put(HUB, hub);
    cluster.reconcile(&cluster.context()).await;
    assert_eq!(cluster.get(POLICY).unwrap()["data"], keys);
    assert_eq!(cluster.condition("Stalled").0, "False");
}

#[tokio::test]
async fn what_is_refused_or_paused_changes_nothing_but_the_status() {
    let cluster = Cluster::with_hub(&json!({ "hostnames": ["hub.example"], "replicas": 3 }));
    cluster.reconcile(&cluster.context()).await;
    assert_eq!(cluster.condition("Stalled"), ("True".to_owned(), "ReplicasNotSupported".to_owned()));
    assert_eq!(cluster.written(), [format!("PATCH {HUB}/status")]);

    cluster.set_spec(json!({ "hostnames": ["hub.example"], "paused": true }));
    cluster.reconcile(&cluster.context()).await;
    assert_eq!(cluster.condition("Reconciling"), ("False".to_owned(), "Paused".to_owned()));
    assert_eq!(cluster.get(HUB).unwrap()["status"]["observedGeneration"], 1, "what is paused has not been looked at");
    assert_eq!(cluster.written(), [format!("PATCH {HUB}/status")]);
}

#[tokio::test]
async fn what_somebody_makes_in_the_last_moment_is_left_alone() {
    let cluster = Cluster::with_hub(&smallest());
    let context = cluster.context();
    let hub: IotHub = serde_json::from_value(cluster.get(HUB).unwrap()).unwrap();
    let theirs = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "plant-policy-service", "uid": "theirs" } });
    cluster.put(POLICY, theirs.clone());
    // As it was looked at before.
    let facts = Facts::default();
    let valid = validate(&hub, &facts).unwrap();
    let material = settled(&hub, &valid, &facts, None, &context, noon()).unwrap();
    let applied = carry_out(&hub, &valid, &material, &facts, &context, noon()).await.unwrap();
    assert_eq!(cluster.get(POLICY), Some(theirs));
    assert_eq!(applied.rejections.iter().map(|rejection| rejection.key.name.as_str()).collect::<Vec<_>>(), ["plant-policy-service"]);
    assert!(cluster.get(DEPLOYMENT).is_none());
}

#[tokio::test]
async fn a_hub_that_can_t_be_read_says_where_that_begins() {
    let spec = json!({ "hostnames": ["hub.example"], "scheduling": { "affinity": { "nodeAffinity": "north" } } });
    let cluster = Cluster::with_hub(&spec);
    let context = cluster.context();
    cluster.reconcile(&context).await;
    assert_eq!(cluster.condition("Stalled"), ("True".to_owned(), "InvalidSpec".to_owned()));
    let message = cluster.get(HUB).unwrap()["status"]["conditions"][0]["message"].to_string();
    assert!(message.contains("spec.scheduling.affinity.nodeAffinity"), "{message}");
    assert_eq!(cluster.written(), [format!("PATCH {HUB}/status")]);
    cluster.reconcile(&context).await;
    assert_eq!(cluster.written(), [""; 0]);
    cluster.set_spec(smallest());
    cluster.reconcile(&context).await;
    assert_eq!(cluster.condition("Stalled").0, "False");
}

#[tokio::test]
async fn a_rotation_is_carried_out_once_whatever_fails_after_it() {
    let cluster = Cluster::with_hub(&smallest());
    let context = cluster.context();
    cluster.reconcile(&context).await;
    let key = |name: &str| cluster.get(POLICY).unwrap()["data"][name].clone();
    let old = key("primaryKey");
    let rotation = json!({ "requestedAt": "2026-11-23T11:00:00Z" });
    cluster
        .set_spec(json!({ "hostnames": ["hub.example"], "logFilter": "debug", "policies": [{ "name": "service", "rotation": rotation }] }));
    cluster.objects().failing = Some(DEPLOYMENT);
    cluster.try_to_reconcile(&context).await.unwrap_err();
    let new = key("primaryKey");
    assert_ne!(new, old);

    cluster.objects().failing = None;
    cluster.reconcile(&context).await;
    assert_eq!((key("primaryKey"), key("secondaryKey")), (new, old));
    let Value::String(connection) = key("connectionString") else { panic!("no connection string") };
    let connection = String::from_utf8(BASE64.decode(connection).unwrap()).unwrap();
    let old = String::from_utf8(BASE64.decode(key("secondaryKey").as_str().unwrap()).unwrap()).unwrap();
    assert!(connection.ends_with(&old), "the new key is on its way to the hub");
}

#[tokio::test]
async fn an_authority_that_is_lost_is_not_made_anew_before_somebody_says_so() {
    const AUTHORITY: &str = "/api/v1/namespaces/north/secrets/plant-ca";
    const CERTIFICATE: &str = "/api/v1/namespaces/north/secrets/plant-tls";
    let cluster = Cluster::with_hub(&smallest());
    let first = cluster.context();
    cluster.reconcile(&first).await;
    let kept = cluster.get(AUTHORITY).unwrap();
    cluster.remove(AUTHORITY);
    let _ = cluster.written();

    // Another operator, which remembers nothing.
    cluster.reconcile(&cluster.context()).await;
    assert_eq!(cluster.condition("Stalled"), ("True".to_owned(), "AuthorityLost".to_owned()));
    assert_eq!(cluster.written(), [format!("PATCH {HUB}/status")]);
    cluster.reconcile(&first).await;
    assert_eq!(cluster.get(AUTHORITY).unwrap()["data"], kept["data"], "the one before knows it still");

    cluster.remove(AUTHORITY);
    cluster.remove(CERTIFICATE);
    cluster.reconcile(&cluster.context()).await;
    assert_eq!(cluster.condition("Stalled").0, "False");
    assert_ne!(cluster.get(AUTHORITY).unwrap()["data"], kept["data"]);
}

#[tokio::test]
async fn a_policy_whose_keys_are_lost_has_new_ones_and_it_is_told() {
    let cluster = Cluster::with_hub(&smallest());
    cluster.reconcile(&cluster.context()).await;
    let kept = cluster.get(POLICY).unwrap();
    let told = || cluster.objects().told.iter().filter(|event| event["reason"] == "PolicyKeysLost").count();
    assert_eq!(told(), 0, "what is made the first time is not lost");
    cluster.remove(POLICY);
    let context = cluster.context();
    cluster.reconcile(&context).await;
    cluster.reconcile(&context).await;
    assert_ne!(cluster.get(POLICY).unwrap()["data"], kept["data"]);
    assert_eq!(told(), 1);
}

#[test]
fn a_hub_that_does_not_answer_is_asked_less_and_less() {
    let seconds = |unanswered| look_again(false, unanswered).as_secs();
    assert_eq!([1, 2, 3, 4, 5, u32::MAX].map(seconds), [2, 4, 8, 16, 30, 30]);
    assert_eq!((look_again(false, 0), look_again(true, 0)), (LOOKED_AT_AGAIN_AFTER, DEVICES_READ_EVERY));
}
