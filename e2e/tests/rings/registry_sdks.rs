//! Azure's service SDKs, unmodified, keeping the registry.

use anyhow::{Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use e2e::hub::Hub;
use e2e::namespace::isolated;
use e2e::program::Program;
use serde_json::{Value, json};

#[test]
fn python_registry() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[]).await?;
        let script = Program::python("registry.py", &hub)?.env("IOTHUB_CONNECTION_STRING", hub.policy("iothubowner")?.text);
        let mut told = script.story().await?;
        check_creation(&told.remove(0), "py-1")?;
        same(
            &told,
            &[
                json!({"step": "create again", "refusal": 409}),
                json!({"step": "read", "same": true}),
                json!({"step": "read another", "refusal": 404}),
                json!({"step": "update", "status": "disabled", "reason": "lost", "newEtag": true, "sameKeys": true, "sameGeneration": true}),
                json!({"step": "update with an old etag", "refusal": 412}),
                json!({"step": "bulk", "successful": true, "errors": 0}),
                json!({"step": "list", "ids": ["py-1", "py-2", "py-3"]}),
                json!({"step": "statistics", "total": 3, "enabled": 1, "disabled": 2}),
                json!({"step": "service statistics", "connected": 0}),
                json!({"step": "delete with an old etag", "refusal": 412}),
                json!({"step": "delete", "refusal": 404}),
                json!({"step": "create anew", "newGeneration": true, "ownKey": true}),
            ],
        )
    })
}

#[test]
fn node_registry() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[]).await?;
        let script = Program::node("registry.js", &hub)?.env("IOTHUB_CONNECTION_STRING", hub.policy("iothubowner")?.text);
        let mut told = script.story().await?;
        check_creation(&told.remove(0), "js-1")?;
        same(
            &told,
            &[
                json!({"step": "create again", "refusal": "DeviceAlreadyExistsError"}),
                json!({"step": "read", "same": true}),
                json!({"step": "read another", "refusal": "DeviceNotFoundError"}),
                json!({"step": "update", "status": "disabled", "reason": "lost", "newEtag": true, "sameKeys": true}),
                json!({"step": "update with an old etag", "refusal": "ArgumentError"}),
                json!({"step": "bulk add", "successful": true}),
                json!({"step": "bulk update", "successful": true}),
                json!({"step": "list", "ids": ["js-1", "js-2", "js-3"]}),
                json!({"step": "statistics", "total": 3, "enabled": 0, "disabled": 3}),
                json!({"step": "bulk remove", "successful": true}),
                json!({"step": "delete", "refusal": "DeviceNotFoundError"}),
            ],
        )
    })
}

/// A new identity is enabled, disconnected, and has two keys that the hub made.
fn check_creation(told: &Value, id: &str) -> Result<()> {
    ensure!(told["step"] == "create" && told["id"] == id && told["status"] == "enabled" && told["state"] == "Disconnected", "{told}");
    ensure!([&told["etag"], &told["generation"]].iter().all(|text| text.as_str().is_some_and(|text| !text.is_empty())), "{told}");
    for key in told["keys"].as_array().into_iter().flatten() {
        let bytes = STANDARD.decode(key.as_str().unwrap_or_default())?.len();
        ensure!((16..=64).contains(&bytes), "a key of {bytes} bytes");
    }
    ensure!(told["keys"][0] != told["keys"][1], "both keys are the same");
    Ok(())
}

fn same(told: &[Value], expected: &[Value]) -> Result<()> {
    for (told, expected) in told.iter().zip(expected) {
        ensure!(told == expected, "{told}\ninstead of\n{expected}");
    }
    ensure!(told.len() == expected.len(), "{} steps instead of {}", told.len(), expected.len());
    Ok(())
}
