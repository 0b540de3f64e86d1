//! An API server and a hub, played: as much of both as the laws need, with a fault at any effect.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// Where a fault strikes.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// At which effect, from 0.
    pub at: usize,
    /// Whether the effect has taken place, and only its answer is lost.
    pub after: bool,
}

#[derive(Default)]
pub struct Stage {
    pub objects: BTreeMap<String, Value>,
    pub identities: BTreeMap<String, Value>,
    pub api_writes: Vec<String>,
    pub hub_writes: Vec<Value>,
    /// Parts of requests to the API server, as `VERB path`, that are refused.
    pub forbidden: Vec<&'static str>,
    /// The hub takes requests and does not answer.
    pub hub_is_silent: bool,
    pub fault: Option<Fault>,
    pub effects: usize,
    version: u64,
    keys: u32,
}

pub type Shared = Arc<Mutex<Stage>>;

impl Stage {
    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// Puts an object there, as somebody else would.
    pub fn put(&mut self, path: &str, mut object: Value) {
        object["metadata"]["resourceVersion"] = self.next_version().into();
        self.objects.insert(path.to_owned(), object);
    }

    /// A new key, as the hub makes it.
    fn key(&mut self) -> String {
        self.keys += 1;
        format!("aHVi{:04}", self.keys)
    }

    fn strikes(&mut self, after: bool) -> bool {
        let strikes = self.fault.is_some_and(|fault| fault.at == self.effects && fault.after == after);
        if after {
            self.effects += 1;
        }
        strikes
    }
}

async fn serve(stage: &Shared, play: fn(&mut Stage, &Method, &Uri, &HeaderMap, &[u8]) -> Response) -> SocketAddr {
    let handler = move |State(stage): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        if uri.path().starts_with("/devices") && stage.lock().unwrap().hub_is_silent {
            return std::future::pending().await;
        }
        let mut stage = stage.lock().unwrap();
        if method == Method::GET {
            return play(&mut stage, &method, &uri, &headers, &body);
        }
        if stage.strikes(false) {
            stage.effects += 1;
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        let answer = play(&mut stage, &method, &uri, &headers, &body);
        if stage.strikes(true) { StatusCode::INTERNAL_SERVER_ERROR.into_response() } else { answer }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(handler).with_state(Arc::clone(stage));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

pub async fn api(stage: &Shared) -> SocketAddr {
    serve(stage, play_api).await
}

pub async fn hub(stage: &Shared) -> SocketAddr {
    serve(stage, play_hub).await
}

fn json_answer(status: u16, body: &Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), [("content-type", "application/json")], body.to_string()).into_response()
}

fn api_error(code: u16) -> Response {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        _ => "Conflict",
    };
    json_answer(
        code,
        &json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": reason, "code": code }),
    )
}

fn play_api(stage: &mut Stage, method: &Method, uri: &Uri, _: &HeaderMap, body: &[u8]) -> Response {
    let path = uri.path().to_owned();
    let base = path.strip_suffix("/status").unwrap_or(&path).to_owned();
    let sent: Value = serde_json::from_slice(body).unwrap_or_default();
    if *method != Method::GET {
        stage.api_writes.push(format!("{method} {path}"));
    }
    let asked = format!("{method} {path}");
    if stage.forbidden.iter().any(|forbidden| asked.contains(forbidden)) {
        return api_error(403);
    }
    let version = stage.next_version();
    match method.as_str() {
        "GET" => stage.objects.get(&base).map_or_else(|| api_error(404), |object| json_answer(200, object)),
        "POST" => {
            let path = format!("{base}/{}", sent["metadata"]["name"].as_str().unwrap());
            if stage.objects.contains_key(&path) {
                return api_error(409);
            }
            let mut object = sent;
            object["metadata"]["uid"] = format!("uid-{version}").into();
            object["metadata"]["resourceVersion"] = version.into();
            stage.objects.insert(path, object.clone());
            json_answer(201, &object)
        }
        "DELETE" => stage.objects.remove(&base).map_or_else(|| api_error(404), |object| json_answer(200, &object)),
        "PUT" => {
            let Some(has) = stage.objects.get_mut(&base) else { return api_error(404) };
            if sent["metadata"]["resourceVersion"] != has["metadata"]["resourceVersion"] {
                return api_error(409);
            }
            *has = sent;
            has["metadata"]["resourceVersion"] = version.into();
            json_answer(200, has)
        }
        _ => patch(stage, &path, &base, &sent, version),
    }
}

fn patch(stage: &mut Stage, path: &str, base: &str, sent: &Value, version: String) -> Response {
    let Some(has) = stage.objects.get_mut(base) else { return api_error(404) };
    if path.ends_with("/status") {
        if sent["metadata"]["uid"] != has["metadata"]["uid"] {
            return api_error(409);
        }
        has["status"] = sent["status"].clone();
    } else {
        for operation in sent.as_array().unwrap() {
            let at = operation["path"].as_str().unwrap();
            match operation["op"].as_str().unwrap() {
                "test" if has.pointer(at).unwrap_or(&Value::Null) != &operation["value"] => return api_error(422),
                "add" if at.ends_with("/-") => has["metadata"]["finalizers"].as_array_mut().unwrap().push(operation["value"].clone()),
                "add" => has["metadata"]["finalizers"] = operation["value"].clone(),
                "remove" => {
                    let at: usize = at.rsplit('/').next().unwrap().parse().unwrap();
                    has["metadata"]["finalizers"].as_array_mut().unwrap().remove(at);
                }
                _ => {}
            }
        }
    }
    has["metadata"]["resourceVersion"] = version.into();
    let answer = has.clone();
    let metadata = &answer["metadata"];
    if !metadata["deletionTimestamp"].is_null() && metadata["finalizers"].as_array().is_none_or(Vec::is_empty) {
        stage.objects.remove(base);
    }
    json_answer(200, &answer)
}

fn hub_error(status: u16, code: &str) -> Response {
    json_answer(status, &json!({ "Message": format!("ErrorCode:{code};no") }))
}

fn play_hub(stage: &mut Stage, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Response {
    let sent: Value = serde_json::from_slice(body).unwrap_or_default();
    let id = uri.path().trim_start_matches("/devices").trim_start_matches('/').to_owned();
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let claim = [header("mooring-managed-by"), header("mooring-ownership")];
    match (method.as_str(), id.as_str()) {
        ("GET", id) => stage.identities.get(id).map_or_else(|| hub_error(404, "DeviceNotFound"), |identity| json_answer(200, identity)),
        ("POST", "") => {
            let (mut errors, mut devices) = (Vec::new(), Vec::new());
            for row in sent.as_array().unwrap() {
                let text = |name: &str| row[name].as_str().map(str::to_owned);
                let id = text("id").unwrap();
                match change(
                    stage,
                    &id,
                    row,
                    text("importMode").as_deref().unwrap(),
                    [text("mooring-managed-by"), text("mooring-ownership")],
                ) {
                    Ok(Some(identity)) => devices.push(identity),
                    Ok(None) => {}
                    Err(code) => errors.push(json!({ "deviceId": id, "errorCode": code, "errorStatus": "no" })),
                }
            }
            let status = if errors.is_empty() { 200 } else { 400 };
            json_answer(status, &json!({ "isSuccessful": errors.is_empty(), "errors": errors, "warnings": [], "devices": devices }))
        }
        (verb, id) => match change(stage, id, &sent, if verb == "PUT" { "update" } else { "delete" }, claim) {
            Ok(Some(identity)) => json_answer(200, &identity),
            Ok(None) => StatusCode::NO_CONTENT.into_response(),
            Err("DeviceNotFound") => hub_error(404, "DeviceNotFound"),
            Err(code) => hub_error(409, code),
        },
    }
}

/// As the real one has it: whose it is, the hold, keys that are made when none are given.
fn change(
    stage: &mut Stage,
    id: &str,
    row: &Value,
    mode: &str,
    [owner, ownership]: [Option<String>; 2],
) -> Result<Option<Value>, &'static str> {
    let owner = owner.map(|owner| {
        let parts: Vec<&str> = owner.split('/').collect();
        json!({ "kind": "Kubernetes", "namespace": parts[1], "name": parts[2], "uid": parts[3] })
    });
    let has = stage.identities.get(id).cloned();
    let mut identity = match (has, mode) {
        (Some(_), "create") => return Err("DeviceAlreadyExists"),
        (None, "create") => json!({ "deviceId": id, "generationId": "1", "status": "enabled", "connectionState": "Disconnected",
            "managedBy": owner, "authentication": { "type": "sas", "symmetricKey": { "primaryKey": stage.key(), "secondaryKey": stage.key() } } }),
        (None, _) => return Err("DeviceNotFound"),
        (Some(has), _) => has,
    };
    if mode.contains("IfMatch") && identity["etag"] != row["eTag"] {
        return Err("PreconditionFailed");
    }
    match (&owner, ownership.as_deref()) {
        (Some(owner), Some("adopt")) if identity["managedBy"].is_null() => identity["managedBy"] = owner.clone(),
        (Some(owner), _) if identity["managedBy"] != *owner => return Err("DeviceAlreadyExists"),
        (_, Some("release")) => identity["managedBy"] = Value::Null,
        _ => {}
    }
    stage.hub_writes.push(row.clone());
    if mode.starts_with("delete") {
        stage.identities.remove(id);
        return Ok(None);
    }
    for field in ["statusReason", "tags", "monitoring", "rotation"] {
        if let Some(value) = row.get(field) {
            identity[field] = value.clone();
        }
    }
    if let Some(keys) = row["authentication"].get("symmetricKey") {
        identity["authentication"]["symmetricKey"] = keys.clone();
    }
    if let Some(status) = row.get("status") {
        identity["wantedStatus"] = status.clone();
        if owner.is_none() {
            identity["hold"] = if status == "disabled" { json!({ "by": "service", "since": "2026-11-23T03:00:00Z" }) } else { Value::Null };
        }
    }
    let is_held = !identity["hold"].is_null();
    identity["status"] = if is_held { "disabled".into() } else { identity["wantedStatus"].clone() };
    identity["etag"] = stage.next_version().into();
    stage.identities.insert(id.to_owned(), identity.clone());
    Ok(Some(identity))
}
