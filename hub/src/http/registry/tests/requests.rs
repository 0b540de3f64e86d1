//! Paths, headers, lists, errors, and who may ask.

use super::*;

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
