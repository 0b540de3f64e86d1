//! Many identities in one request.

use super::*;

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

const REPRESENTATION: (&str, &str) = ("Prefer", "return=representation");

fn manifest(name: &str) -> String {
    format!("kubernetes/plant/{name}/uid-{name}")
}

#[tokio::test]
async fn each_row_has_its_own_author_and_what_was_done_is_shown() {
    let world = World::new();
    let bulk = async |headers: &[(&str, &str)], rows: Value| world.ask("POST", "/devices", headers, rows.to_string()).await;
    let names = |answer: &Answer| -> Vec<Value> {
        answer.body["devices"].as_array().unwrap().iter().map(|device| device["deviceId"].clone()).collect()
    };
    let rows = json!([
        { "id": "b", "importMode": "create", "mooring-managed-by": manifest("b"), "monitoring": { "offlineAfter": "10m" } },
        { "id": "a", "importMode": "create", "mooring-managed-by": manifest("a") },
        { "id": "nobodys", "importMode": "create", "status": "disabled" },
    ]);
    let made = bulk(&[REPRESENTATION], rows).await.expect(StatusCode::OK);
    assert_eq!(made.headers["preference-applied"], "return=representation");
    assert_eq!((&made.body["isSuccessful"], names(&made)), (&json!(true), vec![json!("b"), json!("a"), json!("nobodys")]));
    for (row, name) in ["b", "a", "nobodys"].into_iter().enumerate() {
        assert_eq!(made.body["devices"][row], world.get(&format!("/devices/{name}")).await.body, "with keys, as it is");
    }
    assert_eq!(made.body["devices"][0]["managedBy"]["name"], "b");
    assert_eq!(made.body["devices"][2]["hold"]["by"], "iothubowner");

    // The headers say it for the rows that don't.
    let rows = json!([
        { "id": "a", "importMode": "update", "status": "disabled" },
        { "id": "b", "importMode": "update", "status": "disabled" },
        { "id": "b2", "importMode": "create", "mooring-ownership": "mine" },
        { "id": "nobodys", "importMode": "update", "mooring-managed-by": manifest("c"), "mooring-ownership": "Adopt" },
        { "id": "c", "importMode": "create", "mooring-managed-by": "somebody" },
    ]);
    let own = manifest("a");
    let done = bulk(&[("mooring-managed-by", &own), REPRESENTATION], rows).await.expect(StatusCode::BAD_REQUEST);
    assert_eq!(names(&done), ["a", "nobodys"]);
    assert_eq!((&done.body["devices"][0]["status"], &done.body["devices"][0]["hold"]), (&json!("disabled"), &Value::Null));
    assert_eq!(done.body["devices"][1]["managedBy"]["name"], "c");
    let errors = done.body["errors"].as_array().unwrap();
    let errors: Vec<_> = errors.iter().map(|error| (error["deviceId"].as_str().unwrap(), error["errorCode"].as_str().unwrap())).collect();
    assert_eq!(errors, [("b", "DeviceAlreadyExists"), ("b2", "ArgumentInvalid"), ("c", "ArgumentInvalid")]);

    // What is gone is not shown, and what a hold keeps is.
    let rows = json!([
        { "id": "a", "importMode": "delete", "mooring-managed-by": manifest("a") },
        { "id": "nobodys", "importMode": "delete", "mooring-managed-by": manifest("c") },
    ]);
    let gone = bulk(&[REPRESENTATION], rows.clone()).await.expect(StatusCode::OK);
    assert_eq!((names(&gone), &gone.body["devices"][0]["managedBy"]), (vec![json!("nobodys")], &Value::Null));
    let plain = bulk(&[("Prefer", "return=minimal")], json!([{ "id": "d" }])).await.expect(StatusCode::OK);
    assert!(plain.body.get("devices").is_none() && !plain.headers.contains_key("preference-applied"));
}
