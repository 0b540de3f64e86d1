use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::http::router;
use crate::ops::world::World;

async fn ask(world: &World, method: Method, target: &str) -> (StatusCode, Value) {
    let mut request = Request::builder().method(method).uri(target).header("host", "hub.example").body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4711))));
    let response = router::api(Arc::clone(&world.hub)).oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn document() -> Value {
    let (status, document) = ask(&World::new(), Method::GET, "/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    document
}

/// Every operation: its path, its method and what is said of it.
fn operations(document: &Value) -> Vec<(&String, &String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |(method, what)| (path, method, what))).collect()
}

fn parameters_in_template(path: &str) -> BTreeSet<&str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).collect()
}

/// The paths of our own API, as the router's page has them.
fn routed_paths() -> BTreeSet<&'static str> {
    let texts = include_str!("../router.rs").split("#[cfg(test)]").next().unwrap().split('"');
    texts.filter(|text| text.starts_with("/api/v1/") || *text == "/openapi.json").collect()
}

/// The path with something in each of its places.
fn filled(template: &str) -> String {
    template.split('/').map(|segment| if segment.starts_with('{') { "1" } else { segment }).collect::<Vec<_>>().join("/")
}

#[tokio::test(start_paused = true)]
async fn what_is_documented_is_what_is_routed() {
    let (world, document) = (World::new(), document().await);
    let documented: BTreeSet<_> =
        operations(&document).into_iter().map(|(path, method, _)| (path.as_str(), method.to_uppercase())).collect();
    let mut routed = BTreeSet::new();
    for path in routed_paths() {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let (status, body) = ask(&world, method.clone(), &filled(path)).await;
            assert_ne!(status, StatusCode::NOT_FOUND, "{path}: {body}");
            if status != StatusCode::METHOD_NOT_ALLOWED {
                routed.insert((path, method.to_string()));
            }
        }
    }
    assert!(routed.contains(&("/api/v1/events", "GET".to_owned())), "the routes were not found");
    assert_eq!(documented, routed);
}

/// What a validator would find that knows the rules which utoipa can't enforce (OpenAPI 3.1 §4.8).
#[tokio::test(start_paused = true)]
async fn the_document_holds_together() {
    let document = document().await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert!(document["info"]["version"].is_string());
    let tags: BTreeSet<_> = document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let about = format!("{method} {path}");
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "{about}: its operationId is another's too");
        assert!(operation["summary"].is_string() || operation["description"].is_string(), "{about} says nothing");
        assert!(operation["tags"].as_array().unwrap().iter().all(|tag| tags.contains(tag.as_str().unwrap())), "{about}");
        let none = Vec::new();
        let parameters = operation["parameters"].as_array().unwrap_or(&none);
        let in_path: BTreeSet<_> = parameters.iter().filter(|one| one["in"] == "path").map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(in_path, parameters_in_template(path), "{about}");
        for parameter in parameters {
            assert!(parameter["schema"].is_object() && parameter["description"].is_string(), "{about}: {parameter}");
            assert!(parameter["in"] != "path" || parameter["required"] == true, "{about}: {parameter}");
        }
        let security = operation.get("security").unwrap_or(&document["security"]).as_array().unwrap();
        let secured = security.iter().any(|way| way.as_object().unwrap().keys().any(|scheme| schemes.contains_key(scheme)));
        assert_eq!(secured, path != "/openapi.json" && !path.starts_with("/api/v1/session"), "{about}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with(['1', '2', '3'])), "{about} never succeeds");
        assert!(responses.values().all(|response| response["description"].as_str().is_some_and(|text| !text.is_empty())), "{about}");
        assert_eq!(responses.contains_key("401"), secured, "{about}");
    }
    must_resolve(&document, &document);
}

/// Every reference in `part` names something in `document`.
fn must_resolve(part: &Value, document: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                let pointer = reference.strip_prefix('#').expect("it is a reference into the document");
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            fields.values().for_each(|value| must_resolve(value, document));
        }
        Value::Array(items) => items.iter().for_each(|value| must_resolve(value, document)),
        _ => {}
    }
}
