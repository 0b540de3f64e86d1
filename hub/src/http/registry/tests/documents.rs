//! What clients send, and what they get.

use super::*;

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
        (json!({ "monitoring": { "offlineAfter": "5s" } }), "ArgumentInvalid"),
        (json!({ "monitoring": { "offlineAfter": "ten minutes" } }), "ArgumentInvalid"),
        (json!({ "monitoring": "10m" }), "IotHubFormatError"),
        (json!({ "rotation": {} }), "IotHubFormatError"),
        (json!({ "rotation": { "requestedAt": "yesterday" } }), "IotHubFormatError"),
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
async fn what_is_watched_is_said_shown_and_taken_back() {
    let world = World::new();
    let any = [("If-Match", "*")];
    let shown = |answer: &Answer| answer.body["monitoring"].clone();
    let made = json!({ "monitoring": { "offlineAfter": "90m0s" }, "wantedStatus": "disabled" });
    let made = world.put("/devices/D", &[], &made).await.expect(StatusCode::OK);
    assert_eq!(shown(&made), json!({ "offlineAfter": "1h30m", "perDeviceMetrics": false }));
    assert_eq!(made.body["wantedStatus"], "enabled", "only read: it follows from the status");
    let left = world.put("/devices/D", &any, &json!({ "statusReason": "new" })).await.expect(StatusCode::OK);
    assert_eq!(shown(&left), shown(&made));
    let metrics = json!({ "monitoring": { "offlineAfter": null, "perDeviceMetrics": true } });
    let metrics = world.put("/devices/D", &any, &metrics).await.expect(StatusCode::OK);
    assert_eq!(shown(&metrics), json!({ "offlineAfter": null, "perDeviceMetrics": true }));
    for nothing in [json!(null), json!({})] {
        world.put("/devices/D", &any, &metrics.body).await.expect(StatusCode::OK);
        let taken = world.put("/devices/D", &any, &json!({ "monitoring": nothing })).await.expect(StatusCode::OK);
        assert_eq!(shown(&taken), Value::Null);
    }
}
