use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, Request as HttpRequest, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::core::identity::{GenerationId, SymmetricKey};
use crate::core::session::{Credential, DeviceRight, DisconnectReason, KeyFingerprint};
use crate::core::time::UnixMillis;
use crate::http::router;
use crate::http::websocket::Subprotocols;
use crate::ops::open_session::open_session;
use crate::ops::world::BrokenRegistry;
use crate::ops::{Session, world};
use crate::store::memory::registry::MemoryRegistry;
use crate::store::{Registry, RegistryError};

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const OTHER_KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const MANIFEST: (&str, &str) = ("mooring-managed-by", "kubernetes/plant/pump/uid-1");

/// How Azure writes that something never was.
const NEVER: &str = "0001-01-01T00:00:00";

struct World {
    hub: Arc<Hub>,
    router: Router,
}

/// An answer: status, headers, and the body as JSON (`Null` when it is empty).
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl World {
    fn new() -> Self {
        Self::on(Arc::new(MemoryRegistry::default()))
    }

    fn on(registry: Arc<dyn Registry>) -> Self {
        let hub = world::World::on(registry).hub;
        Self { router: router::azure(Arc::clone(&hub), Subprotocols::default()), hub }
    }

    async fn send(&self, mut request: HttpRequest<Body>) -> Answer {
        request.headers_mut().insert("host", "hub.example".parse().unwrap());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// As iothubowner, with these headers and this body.
    async fn ask(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        self.send(request("iothubowner", method, uri, headers, body)).await
    }

    async fn put(&self, uri: &str, headers: &[(&str, &str)], document: &Value) -> Answer {
        self.ask("PUT", uri, headers, document.to_string()).await
    }

    async fn get(&self, uri: &str) -> Answer {
        self.ask("GET", uri, &[], Body::empty()).await
    }

    async fn delete(&self, uri: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("DELETE", uri, headers, Body::empty()).await
    }

    async fn bulk(&self, rows: &Value) -> Answer {
        self.ask("POST", "/devices?api-version=2021-04-12", &[], rows.to_string()).await
    }

    async fn connect(&self, answer: &Answer) -> Session {
        let [primary, _] = answer.keys();
        let right = DeviceRight {
            device_id: DeviceId::parse(answer.body["deviceId"].as_str().unwrap()).unwrap(),
            generation_id: GenerationId(answer.body["generationId"].as_str().unwrap().to_owned()),
            credential: Credential::DeviceKey(KeyFingerprint::of(&SymmetricKey::from_base64(&primary).unwrap())),
            good_until: UnixMillis(i64::MAX),
        };
        open_session(&self.hub, right, world::origin()).await.unwrap()
    }
}

impl Answer {
    fn expect(self, status: StatusCode) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// Also checks that header and body say the same.
    fn error(&self) -> &str {
        let code = self.headers["iothub-errorcode"].to_str().unwrap();
        assert!(self.body["Message"].as_str().unwrap().starts_with(&format!("ErrorCode:{code};")), "{}", self.body);
        code
    }

    fn etag(&self) -> String {
        let etag = self.body["etag"].as_str().unwrap();
        assert_eq!(self.headers["etag"], format!("\"{etag}\""));
        etag.to_owned()
    }

    fn keys(&self) -> [String; 2] {
        ["primaryKey", "secondaryKey"].map(|slot| self.body["authentication"]["symmetricKey"][slot].as_str().unwrap().to_owned())
    }

    /// The body with what is random put to a fixed text.
    fn golden(mut self) -> String {
        for (name, text) in [("generationId", "GENERATION"), ("etag", "ETAG")] {
            if let Some(value) = self.body.get_mut(name) {
                *value = text.into();
            }
        }
        if let Some(value) = self.body.get_mut("ExceptionMessage").filter(|value| *value != "") {
            let tracking_id = value.as_str().unwrap().strip_prefix("Tracking ID:").unwrap();
            assert_eq!(tracking_id.len(), 32);
            *value = "Tracking ID:ID".into();
        }
        serde_json::to_string_pretty(&self.body).unwrap()
    }
}

fn request(policy: &str, method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> HttpRequest<Body> {
    let token = world::policy_token("hub.example", policy);
    let builder = HttpRequest::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(uri);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.header("Authorization", token).body(body.into()).unwrap()
}

fn with_keys() -> Value {
    json!({ "deviceId": "D", "authentication": { "symmetricKey": { "primaryKey": KEY, "secondaryKey": OTHER_KEY }, "type": "sas" } })
}

#[tokio::test]
async fn an_identity_looks_as_azures_do() {
    let world = World::new();
    let created = world.put("/devices/D?api-version=2021-04-12", &[], &with_keys()).await.expect(StatusCode::OK);
    assert_eq!(created.headers["content-type"], "application/json; charset=utf-8");
    created.etag();
    let read = world.get("/devices/D?api-version=2021-04-12").await.expect(StatusCode::OK);
    read.etag();
    assert_eq!(read.body, created.body);
    insta::assert_snapshot!(created.golden(), @r#"
    {
      "authentication": {
        "symmetricKey": {
          "primaryKey": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
          "secondaryKey": "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
        },
        "type": "sas",
        "x509Thumbprint": {
          "primaryThumbprint": null,
          "secondaryThumbprint": null
        }
      },
      "capabilities": {
        "iotEdge": false
      },
      "cloudToDeviceMessageCount": 0,
      "connectionState": "Disconnected",
      "connectionStateUpdatedTime": "0001-01-01T00:00:00",
      "deviceId": "D",
      "etag": "ETAG",
      "generationId": "GENERATION",
      "hold": null,
      "lastActivityTime": "0001-01-01T00:00:00",
      "managedBy": null,
      "monitoring": null,
      "rotation": null,
      "status": "enabled",
      "statusReason": null,
      "statusUpdatedTime": "0001-01-01T00:00:00",
      "tags": null,
      "wantedStatus": "enabled"
    }
    "#);
}

#[tokio::test]
async fn errors_have_the_old_form() {
    let world = World::new();
    let missing = world.get("/devices/a;b").await.expect(StatusCode::NOT_FOUND);
    assert_eq!(missing.error(), "DeviceNotFound");
    assert_eq!(missing.headers["content-type"], "application/json; charset=utf-8");
    insta::assert_snapshot!(missing.golden(), @r#"
    {
      "ExceptionMessage": "Tracking ID:ID",
      "Message": "ErrorCode:DeviceNotFound;Device a,b not registered"
    }
    "#);
    world.put("/devices/D", &[], &json!({})).await.expect(StatusCode::OK);
    let twice = world.put("/devices/D", &[], &json!({})).await.expect(StatusCode::CONFLICT);
    assert_eq!(twice.error(), "DeviceAlreadyExists");
    assert_eq!(world.delete("/devices/E", &[("If-Match", "*")]).await.expect(StatusCode::NOT_FOUND).error(), "DeviceNotFound");
    assert_eq!(world.put("/devices/E", &[("If-Match", "*")], &json!({})).await.expect(StatusCode::NOT_FOUND).error(), "DeviceNotFound");
}

#[tokio::test]
async fn each_clients_creation_is_understood() {
    let world = World::new();
    // Node asks for keys with empty texts.
    let node = json!({ "deviceId": "node", "status": "enabled", "authentication": { "type": "sas", "symmetricKey": { "primaryKey": "", "secondaryKey": "" } } });
    let node = world.put("/devices/node?api-version=2021-04-12", &[("If-None-Match", "*")], &node).await.expect(StatusCode::OK);
    // Go says nothing but the id.
    let go = world.put("/devices/go1?api-version=2020-09-30", &[], &json!({ "deviceId": "go1" })).await.expect(StatusCode::OK);
    for keys in [node.keys(), go.keys()] {
        assert_eq!(keys.clone().map(|key| SymmetricKey::from_base64(&key).unwrap().expose().len()), [32, 32]);
        assert_ne!(keys[0], keys[1]);
    }
    // Java sends every field, the server's own too, with dates that never were, and a capital letter.
    let java = json!({
        "deviceId": "java", "generationId": "mine", "etag": "mine", "status": "Enabled", "statusReason": null,
        "statusUpdatedTime": "0001-12-30T00:00:00", "connectionState": "Connected", "connectionStateUpdatedTime": "0001-12-30T00:00:00",
        "lastActivityTime": "0001-12-30T00:00:00", "cloudToDeviceMessageCount": 17, "capabilities": { "iotEdge": false },
        "authentication": { "symmetricKey": { "primaryKey": KEY, "secondaryKey": OTHER_KEY }, "type": "sas" },
        "scope": "", "parentScopes": [], "managedBy": { "kind": "ManifestFolder" }, "hold": { "by": "me", "since": "now" },
    });
    let java = world.put("/devices/java?api-version=2021-04-12", &[], &java).await.expect(StatusCode::OK);
    assert_ne!(java.body["generationId"], "mine");
    assert_ne!(java.etag(), "mine");
    assert_eq!(java.keys(), [KEY, OTHER_KEY]);
    for (field, value) in [
        ("connectionState", json!("Disconnected")),
        ("cloudToDeviceMessageCount", json!(0)),
        ("managedBy", json!(null)),
        ("hold", json!(null)),
    ] {
        assert_eq!(java.body[field], value, "{field}");
    }
    assert_eq!(java.body["lastActivityTime"], NEVER);
}

#[tokio::test]
async fn if_match_comes_in_every_spelling() {
    let world = World::new();
    let mut last = world.put("/devices/D", &[], &with_keys()).await.expect(StatusCode::OK);
    for (bare, quoted) in [(false, true), (true, false), (false, false), (true, true)] {
        let etag = if bare { "*".to_owned() } else { last.etag() };
        let header = if quoted { format!("\"{etag}\"") } else { etag };
        let next = world.put("/devices/D", &[("If-Match", &header)], &json!({ "deviceId": "D" })).await.expect(StatusCode::OK);
        assert_ne!(next.etag(), last.etag(), "every change has an ETag of its own");
        assert_eq!((&next.body["generationId"], next.keys()), (&last.body["generationId"], last.keys()));
        last = next;
    }
    let stale = world.put("/devices/D", &[("If-Match", "\"MA==\"")], &json!({})).await.expect(StatusCode::PRECONDITION_FAILED);
    assert_eq!(stale.error(), "PreconditionFailed");
    let stale = world.delete("/devices/D", &[("If-Match", "MA==")]).await.expect(StatusCode::PRECONDITION_FAILED);
    assert_eq!(stale.error(), "PreconditionFailed");
    let gone = world.delete("/devices/D", &[("If-Match", &last.etag())]).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(gone.body, Value::Null);
    let again = world.put("/devices/D", &[], &with_keys()).await.expect(StatusCode::OK);
    assert_ne!(again.body["generationId"], last.body["generationId"]);
}

#[tokio::test]
async fn ids_of_every_character_come_through_the_path() {
    let world = World::new();
    let id = "a-.+%_#*?!(),:;=@$'Z9";
    let encoded: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let plain = "a-.+%25_%23*%3F!(),:;=@$'Z9";
    let created = world.put(&format!("/devices/{encoded}"), &[], &json!({ "deviceId": id })).await.expect(StatusCode::OK);
    assert_eq!(created.body["deviceId"], id);
    assert_eq!(world.get(&format!("/devices/{plain}")).await.expect(StatusCode::OK).body, created.body);
    for wrong in ["a%20b", "%C3%B6", "a%2Fb", "%FF"] {
        let answer = world.put(&format!("/devices/{wrong}"), &[], &json!({})).await.expect(StatusCode::BAD_REQUEST);
        assert_eq!(answer.error(), "ArgumentInvalid", "{wrong}");
    }
    let other = world.put("/devices/D", &[], &json!({ "deviceId": "E" })).await.expect(StatusCode::BAD_REQUEST);
    assert_eq!(other.error(), "ArgumentInvalid");
}

/// The bodies that Python's, Node's and Java's registry clients send, and what they look at in the answer.
#[tokio::test]
async fn devices_with_certificates_are_made_changed_and_shown() {
    let world = World::new();
    let (sha1, sha256) = ("aB".repeat(20), "cd".repeat(32));
    let shown = |answer: &Answer| answer.body["authentication"].clone();
    let self_signed = |primary: &str, secondary: Option<&str>| {
        let thumbprints = json!({ "primaryThumbprint": primary, "secondaryThumbprint": secondary });
        json!({ "deviceId": "D", "authentication": { "type": "selfSigned", "symmetricKey": null, "x509Thumbprint": thumbprints } })
    };
    let made = world.put("/devices/D", &[], &self_signed(&sha1, Some(&sha256))).await.expect(StatusCode::OK);
    let thumbprints = json!({ "primaryThumbprint": sha1.to_uppercase(), "secondaryThumbprint": sha256.to_uppercase() });
    let wanted = json!({
        "symmetricKey": { "primaryKey": null, "secondaryKey": null },
        "x509Thumbprint": thumbprints,
        "type": "selfSigned",
    });
    assert_eq!(shown(&made), wanted);
    // What was read is written back, and nothing changes.
    let etag = made.etag();
    let same = world.put("/devices/D", &[("if-match", &etag)], &made.body).await.expect(StatusCode::OK);
    assert_eq!(shown(&same), wanted);
    world.put("/devices/D", &[("if-match", &etag)], &made.body).await.expect(StatusCode::PRECONDITION_FAILED);
    // Whoever disables it without a word about certificates leaves them.
    let disabled = world.put("/devices/D", &[("if-match", "*")], &json!({ "status": "disabled" })).await.expect(StatusCode::OK);
    assert_eq!(shown(&disabled), wanted);
    // A slot that is not said is empty.
    let one = world.put("/devices/D", &[("if-match", "*")], &self_signed(&sha256, None)).await.expect(StatusCode::OK);
    assert_eq!(one.body["authentication"]["x509Thumbprint"]["secondaryThumbprint"], Value::Null);

    // From thumbprints to an authority and to keys, each time with what was read before still in the body.
    let mut body = one.body.clone();
    body["authentication"]["type"] = json!("certificateAuthority");
    let issued = world.put("/devices/D", &[("if-match", "*")], &body).await.expect(StatusCode::OK);
    assert_eq!(issued.body["authentication"]["type"], "certificateAuthority");
    assert_eq!(issued.body["authentication"]["x509Thumbprint"]["primaryThumbprint"], Value::Null);
    body["authentication"]["type"] = json!("sas");
    let by_keys = world.put("/devices/D", &[("if-match", "*")], &body).await.expect(StatusCode::OK);
    assert!(by_keys.keys().iter().all(|key| key.len() == 44), "fresh ones");
    // Clients before 2017 send no type.
    let mut old = self_signed(&sha1, None);
    old["authentication"].as_object_mut().unwrap().remove("type");
    assert_eq!(shown(&world.put("/devices/D", &[("if-match", "*")], &old).await.expect(StatusCode::OK))["type"], "selfSigned");
}

#[tokio::test]
async fn what_no_identity_fits_is_refused() {
    let world = World::new();
    let authentication = |document: Value| json!({ "authentication": document });
    for (document, code) in [
        (json!({ "status": "on" }), "ArgumentInvalid"),
        (json!({ "statusReason": "x".repeat(129) }), "ArgumentInvalid"),
        (json!({ "tags": [] }), "ArgumentInvalid"),
        (json!({ "tags": { "k": "x".repeat(8192) } }), "ArgumentInvalid"),
        (json!({ "capabilities": { "iotEdge": true } }), "ArgumentInvalid"),
        (authentication(json!({ "type": "selfSigned" })), "ArgumentInvalid"),
        (
            authentication(json!({ "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": "", "secondaryThumbprint": null } })),
            "ArgumentInvalid",
        ),
        (authentication(json!({ "x509Thumbprint": { "primaryThumbprint": "A".repeat(41) } })), "ArgumentInvalid"),
        (authentication(json!({ "type": "none" })), "ArgumentInvalid"),
        (authentication(json!({ "symmetricKey": { "primaryKey": "AAAA" } })), "ArgumentInvalid"),
        (authentication(json!({ "symmetricKey": { "primaryKey": "no key" } })), "ArgumentInvalid"),
        (json!({ "status": 1 }), "IotHubFormatError"),
        (json!([]), "IotHubFormatError"),
    ] {
        let answer = world.put("/devices/D", &[], &document).await.expect(StatusCode::BAD_REQUEST);
        assert_eq!(answer.error(), code, "{document}");
    }
    for text in ["", "{", "\u{feff}{}"] {
        let answer = world.ask("PUT", "/devices/D", &[], text).await.expect(StatusCode::BAD_REQUEST);
        assert_eq!(answer.error(), "IotHubFormatError");
    }
    let large = format!("{{}}{}", " ".repeat(DEVICE_MAX_BYTES));
    let answer = world.ask("PUT", "/devices/D", &[], large).await.expect(StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.error(), "MessageTooLarge");
}

#[tokio::test]
async fn a_body_may_come_in_chunks() {
    let world = World::new();
    let chunks = with_keys()
        .to_string()
        .into_bytes()
        .chunks(7)
        .map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk)))
        .collect::<Vec<_>>();
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    assert_eq!(world.ask("PUT", "/devices/D", &[], body).await.expect(StatusCode::OK).keys(), [KEY, OTHER_KEY]);
}

#[tokio::test(start_paused = true)]
async fn each_policy_may_do_what_it_says_and_no_more() {
    let world = World::new();
    let reads =
        [("GET", "/devices"), ("GET", "/devices/"), ("GET", "/devices/D"), ("GET", "/statistics/devices"), ("GET", "/statistics/service")];
    let writes = [("PUT", "/devices/D"), ("DELETE", "/devices/D"), ("POST", "/devices")];
    for (policy, may_read, may_write) in [
        ("iothubowner", true, true),
        ("registryReadWrite", true, true),
        ("registryRead", true, false),
        ("service", false, false),
        ("device", false, false),
    ] {
        for (routes, may) in [(&reads[..], may_read), (&writes[..], may_write)] {
            for (method, uri) in routes {
                let answer = world.send(request(policy, method, uri, &[], Body::empty())).await;
                assert_eq!(answer.status != StatusCode::UNAUTHORIZED, may, "{policy} {method} {uri}");
                assert!(may || answer.error() == "IotHubUnauthorizedAccess");
            }
        }
    }
    let mut nobody = request("iothubowner", "GET", "/devices/D", &[], Body::empty());
    nobody.headers_mut().remove("Authorization");
    let refused = world.send(nobody).await.expect(StatusCode::UNAUTHORIZED);
    insta::assert_snapshot!(refused.golden(), @r#"
    {
      "ExceptionMessage": "",
      "Message": "ErrorCode:IotHubUnauthorizedAccess;Unauthorized"
    }
    "#);
}

#[tokio::test(start_paused = true)]
async fn a_strangers_body_is_not_read() {
    let world = World::new();
    let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    world.send(request("device", "PUT", "/devices/D", &[], body)).await.expect(StatusCode::UNAUTHORIZED);
    let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    world.ask("PUT", "/devices/D", &[], body).await.expect(StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn lists_and_counts() {
    let world = World::new();
    for id in ["b", "a", "c"] {
        world.put(&format!("/devices/{id}"), &[], &json!({})).await.expect(StatusCode::OK);
    }
    world.put("/devices/c", &[("If-Match", "*")], &json!({ "status": "disabled" })).await.expect(StatusCode::OK);
    let names = |answer: &Answer| -> Vec<String> {
        answer.body.as_array().unwrap().iter().map(|device| device["deviceId"].as_str().unwrap().to_owned()).collect()
    };
    for uri in ["/devices", "/devices/?api-version=2021-04-12", "/devices?top=5000"] {
        assert_eq!(names(&world.get(uri).await.expect(StatusCode::OK)), ["a", "b", "c"], "{uri}");
    }
    assert_eq!(names(&world.get("/devices?top=2&api-version=2020-09-30").await.expect(StatusCode::OK)), ["a", "b"]);
    for uri in ["/devices?top=0", "/devices?top=some", "/devices?top=-1"] {
        assert_eq!(world.get(uri).await.expect(StatusCode::BAD_REQUEST).error(), "ArgumentInvalid", "{uri}");
    }
    let counts = world.get("/statistics/devices").await.expect(StatusCode::OK);
    assert_eq!(counts.body, json!({ "totalDeviceCount": 3, "enabledDeviceCount": 2, "disabledDeviceCount": 1 }));
    let _session = world.connect(&world.get("/devices/a").await).await;
    assert_eq!(world.get("/statistics/service").await.body, json!({ "connectedDeviceCount": 1 }));
    let connected = world.get("/devices/a").await;
    assert_eq!(connected.body["connectionState"], "Connected");
    assert_eq!(connected.body["connectionStateUpdatedTime"], "2023-11-14T22:13:20.000Z");
    assert_eq!(connected.body["lastActivityTime"], "2023-11-14T22:13:20.000Z");
}

#[tokio::test]
async fn a_device_is_out_before_the_disabling_answer_comes() {
    let world = World::new();
    for (method, headers, document, reason) in [
        ("PUT", &[("If-Match", "*")][..], json!({ "status": "Disabled" }), DisconnectReason::DeviceDisabled),
        (
            "PUT",
            &[("If-Match", "*")][..],
            json!({ "authentication": { "symmetricKey": { "primaryKey": OTHER_KEY, "secondaryKey": OTHER_KEY } } }),
            DisconnectReason::KeyReplaced,
        ),
        ("DELETE", &[][..], json!({}), DisconnectReason::DeviceDeleted),
    ] {
        let created = world.put("/devices/D", &[], &with_keys()).await.expect(StatusCode::OK);
        let session = world.connect(&created).await;
        let answer = world.ask(method, "/devices/D", headers, document.to_string()).await;
        assert!(answer.status.is_success(), "{}", answer.body);
        assert_eq!(session.ended(), Some(reason));
        world.delete("/devices/D", &[]).await;
    }
}

#[tokio::test]
async fn bulk_does_each_row_by_itself() {
    let world = World::new();
    let rows = json!([
        { "id": "a", "importMode": "create", "status": "enabled", "authentication": { "symmetricKey": { "primaryKey": KEY, "secondaryKey": OTHER_KEY } } },
        { "id": "b", "importMode": "Create", "status": "Disabled", "statusReason": "new" },
        { "id": "c" },
    ]);
    let done = world.bulk(&rows).await.expect(StatusCode::OK);
    assert_eq!(done.body, json!({ "isSuccessful": true, "errors": [], "warnings": [] }));
    let a = world.get("/devices/a").await;
    assert_eq!(a.keys(), [KEY, OTHER_KEY]);
    let mixed = json!([
        { "id": "a", "importMode": "UPDATEIFMATCHETAG", "eTag": a.etag(), "statusReason": "one" },
        { "id": "b", "importMode": "updateIfMatchETag", "eTag": "MA==" },
        { "id": "c", "importMode": "create" },
        { "id": "c", "importMode": "delete" },
        { "id": "d", "importMode": "Update" },
        { "id": "e", "importMode": "createOrUpdateIfMatchETag", "eTag": "\"MA==\"" },
        { "id": "f g" },
        { "id": "g", "importMode": "updateTwin" },
        { "id": "h", "importMode": "deleteIfMatchETag" },
        { "importMode": "create" },
        { "id": "i", "authentication": { "type": "none" } },
        [],
    ]);
    let done = world.bulk(&mixed).await.expect(StatusCode::BAD_REQUEST);
    insta::assert_snapshot!(done.golden(), @r#"
    {
      "errors": [
        {
          "deviceId": "b",
          "errorCode": "PreconditionFailed",
          "errorStatus": "Device b has another ETag than the one given"
        },
        {
          "deviceId": "c",
          "errorCode": "DeviceAlreadyExists",
          "errorStatus": "Device c already registered"
        },
        {
          "deviceId": "c",
          "errorCode": "DeviceDefinedMultipleTimes",
          "errorStatus": "device c comes more than once"
        },
        {
          "deviceId": "d",
          "errorCode": "DeviceNotFound",
          "errorStatus": "Device d not registered"
        },
        {
          "deviceId": "f g",
          "errorCode": "ArgumentInvalid",
          "errorStatus": "a device id is made of ASCII letters, digits and -.+%_#*?!(),:;=@$', not ' '"
        },
        {
          "deviceId": "g",
          "errorCode": "ArgumentInvalid",
          "errorStatus": "\"updateTwin\" is not an importMode of this hub"
        },
        {
          "deviceId": "h",
          "errorCode": "ArgumentInvalid",
          "errorStatus": "deleteIfMatchETag needs an eTag"
        },
        {
          "deviceId": "",
          "errorCode": "ArgumentInvalid",
          "errorStatus": "the device has no id"
        },
        {
          "deviceId": "i",
          "errorCode": "ArgumentInvalid",
          "errorStatus": "a device authenticates by sas, selfSigned or certificateAuthority, not by \"none\""
        },
        {
          "deviceId": "",
          "errorCode": "IotHubFormatError",
          "errorStatus": "a device is a JSON object"
        }
      ],
      "isSuccessful": false,
      "warnings": []
    }
    "#);
    assert_eq!(world.get("/devices/a").await.body["statusReason"], "one");
    world.get("/devices/e").await.expect(StatusCode::OK);

    let a = world.get("/devices/a").await;
    let rows = json!([{ "id": "a", "importMode": "deleteIfMatchETag", "eTag": a.etag() }, { "id": "b", "importMode": "delete" }]);
    world.bulk(&rows).await.expect(StatusCode::OK);
    world.get("/devices/a").await.expect(StatusCode::NOT_FOUND);

    let many: Vec<Value> = (0..101).map(|number| json!({ "id": format!("d{number}") })).collect();
    assert_eq!(world.bulk(&json!(many)).await.expect(StatusCode::BAD_REQUEST).error(), "ArgumentInvalid");
    assert_eq!(world.bulk(&json!({})).await.expect(StatusCode::BAD_REQUEST).error(), "ArgumentInvalid");
    world.bulk(&json!(many[..100])).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_manifest_says_who_it_is_and_a_hold_is_shown() {
    let world = World::new();
    let document =
        json!({ "tags": { "site": "plant" }, "authentication": { "symmetricKey": { "primaryKey": KEY, "secondaryKey": OTHER_KEY } } });
    world.put("/devices/D", &[MANIFEST], &document).await.expect(StatusCode::OK);
    let held = json!({ "status": "disabled", "statusReason": "stolen" });
    let held = world.put("/devices/D", &[("If-Match", "*")], &held).await.expect(StatusCode::OK);
    insta::assert_snapshot!(held.golden(), @r#"
    {
      "authentication": {
        "symmetricKey": {
          "primaryKey": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
          "secondaryKey": "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
        },
        "type": "sas",
        "x509Thumbprint": {
          "primaryThumbprint": null,
          "secondaryThumbprint": null
        }
      },
      "capabilities": {
        "iotEdge": false
      },
      "cloudToDeviceMessageCount": 0,
      "connectionState": "Disconnected",
      "connectionStateUpdatedTime": "0001-01-01T00:00:00",
      "deviceId": "D",
      "etag": "ETAG",
      "generationId": "GENERATION",
      "hold": {
        "by": "iothubowner",
        "since": "2023-11-14T22:13:20.000Z"
      },
      "lastActivityTime": "0001-01-01T00:00:00",
      "managedBy": {
        "kind": "Kubernetes",
        "name": "pump",
        "namespace": "plant",
        "uid": "uid-1"
      },
      "monitoring": null,
      "rotation": null,
      "status": "disabled",
      "statusReason": "stolen",
      "statusUpdatedTime": "2023-11-14T22:13:20.000Z",
      "tags": {
        "site": "plant"
      },
      "wantedStatus": "enabled"
    }
    "#);

    let insists = world.put("/devices/D", &[MANIFEST, ("If-Match", "*")], &json!({ "status": "enabled" })).await.expect(StatusCode::OK);
    assert_eq!(insists.body["status"], "disabled");
    let other = [("mooring-managed-by", "kubernetes/plant/pump/uid-2"), ("If-Match", "*"), ("mooring-ownership", "adopt")];
    let refused = world.put("/devices/D", &other, &json!({})).await.expect(StatusCode::CONFLICT);
    assert_eq!(refused.error(), "DeviceAlreadyExists");
    insta::assert_snapshot!(refused.golden(), @r#"
    {
      "ExceptionMessage": "Tracking ID:ID",
      "Message": "ErrorCode:DeviceAlreadyExists;Device D is managed by kubernetes/plant/pump/uid-1, not by kubernetes/plant/pump/uid-2"
    }
    "#);
    assert_eq!(world.delete("/devices/D", &[]).await.expect(StatusCode::BAD_REQUEST).error(), "InvalidOperation");

    let lifted = world.put("/devices/D", &[("If-Match", "*")], &json!({ "status": "enabled" })).await.expect(StatusCode::OK);
    assert_eq!((&lifted.body["status"], &lifted.body["hold"]), (&json!("enabled"), &json!(null)));
    world.put("/devices/D", &[MANIFEST, ("If-Match", "*")], &json!({ "status": "disabled" })).await.expect(StatusCode::OK);
    let refused = world.put("/devices/D", &[("If-Match", "*")], &json!({ "status": "enabled" })).await.expect(StatusCode::BAD_REQUEST);
    assert_eq!(refused.error(), "InvalidOperation");
    insta::assert_snapshot!(refused.golden(), @r#"
    {
      "ExceptionMessage": "Tracking ID:ID",
      "Message": "ErrorCode:InvalidOperation;Device D is disabled by its manifest kubernetes/plant/pump/uid-1, and held by nobody, enable it there"
    }
    "#);

    let releasing = [("If-Match", "*"), ("mooring-ownership", "release")];
    let released = world.put("/devices/D", &releasing, &json!({ "status": "enabled" })).await.expect(StatusCode::OK);
    assert_eq!((&released.body["status"], &released.body["managedBy"]), (&json!("enabled"), &json!(null)));
    let adopting = [MANIFEST, ("If-Match", "*"), ("mooring-ownership", "Adopt")];
    world.put("/devices/D", &[MANIFEST, ("If-Match", "*")], &json!({})).await.expect(StatusCode::CONFLICT);
    world.put("/devices/D", &adopting, &json!({})).await.expect(StatusCode::OK);
    world.delete("/devices/D", &[MANIFEST]).await.expect(StatusCode::NO_CONTENT);

    for headers in [
        &[("mooring-managed-by", "kubernetes/plant/pump")][..],
        &[("mooring-managed-by", "manifest-folder")],
        &[("mooring-managed-by", "kubernetes/plant/p p/uid")],
        &[("mooring-ownership", "adopt")],
        &[MANIFEST, ("mooring-ownership", "mine")],
    ] {
        let refused = world.put("/devices/D", headers, &json!({})).await.expect(StatusCode::BAD_REQUEST);
        assert_eq!(refused.error(), "ArgumentInvalid", "{headers:?}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    let world = World::new();
    assert_eq!(world.get("/twins/D").await.expect(StatusCode::NOT_FOUND).error(), "InvalidOperation");
    assert_eq!(world.ask("PATCH", "/devices/D", &[], "").await.expect(StatusCode::METHOD_NOT_ALLOWED).error(), "InvalidOperation");
}

#[tokio::test]
async fn a_registry_in_trouble_says_when_to_come_again_and_shows_nothing() {
    let secret = "the store's own words";
    for (error, status, code) in [
        (RegistryError::Full, StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        (RegistryError::Unavailable(secret.to_owned()), StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        (RegistryError::Damaged { id: "D".to_owned(), reason: secret.to_owned() }, StatusCode::INTERNAL_SERVER_ERROR, "ServerError"),
    ] {
        let world = World::on(Arc::new(BrokenRegistry(error)));
        for (method, uri, body) in [
            ("GET", "/devices/D", ""),
            ("GET", "/devices", ""),
            ("PUT", "/devices/D", "{}"),
            ("DELETE", "/devices/D", ""),
            ("POST", "/devices", "[{\"id\": \"D\"}]"),
            ("GET", "/statistics/devices", ""),
        ] {
            let answer = world.ask(method, uri, &[], body).await.expect(status);
            assert_eq!(answer.error(), code, "{method} {uri}");
            assert!(!answer.body.to_string().contains(secret), "{}", answer.body);
            assert_eq!(answer.headers.contains_key("retry-after"), status == StatusCode::SERVICE_UNAVAILABLE);
        }
    }
}
