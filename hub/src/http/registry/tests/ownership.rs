//! Who may change what, and what it does to whom.

use super::*;

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

/// What a manifest says is its own, and whoever reads an identity may write it back as it is.
#[tokio::test]
async fn what_is_watched_and_what_was_rotated_is_the_manifests_to_say() {
    let world = World::new();
    let any = [("If-Match", "*")];
    let said = json!({
        "monitoring": { "offlineAfter": "10m", "perDeviceMetrics": true },
        "rotation": { "requestedAt": "2026-11-23T03:00:00.5Z", "begunAt": "2026-11-23T03:00:01Z" },
    });
    let made = world.put("/devices/D", &[MANIFEST], &said).await.expect(StatusCode::OK);
    for field in ["monitoring", "rotation"] {
        assert_eq!(made.body[field], said[field]);
    }
    let held = world.put("/devices/D", &any, &json!({ "status": "disabled" })).await.expect(StatusCode::OK);
    assert_eq!((&held.body["status"], &held.body["wantedStatus"]), (&json!("disabled"), &json!("enabled")));
    let same = world.put("/devices/D", &any, &held.body).await.expect(StatusCode::OK);
    assert_eq!(same.body["rotation"], said["rotation"]);
    for (field, value) in [
        ("monitoring", json!({ "offlineAfter": "11m", "perDeviceMetrics": true })),
        ("monitoring", json!(null)),
        ("rotation", json!({ "requestedAt": "2026-11-23T03:00:00.5Z", "begunAt": null })),
        ("rotation", json!(null)),
    ] {
        let refused = world.put("/devices/D", &any, &json!({ field: value })).await.expect(StatusCode::BAD_REQUEST);
        assert_eq!(refused.error(), "InvalidOperation", "{field}");
    }
    let finished = json!({ "rotation": { "requestedAt": "2026-11-23T03:00:00.5Z" } });
    let finished = world.put("/devices/D", &[MANIFEST, ("If-Match", "*")], &finished).await.expect(StatusCode::OK);
    assert_eq!(finished.body["rotation"], json!({ "requestedAt": "2026-11-23T03:00:00.5Z", "begunAt": null }));
    let forgotten = world.put("/devices/D", &[MANIFEST, ("If-Match", "*")], &json!({ "rotation": null })).await.expect(StatusCode::OK);
    assert_eq!(forgotten.body["rotation"], Value::Null);
    assert_eq!(forgotten.body["monitoring"], said["monitoring"]);
}
