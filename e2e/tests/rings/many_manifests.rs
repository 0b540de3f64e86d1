//! Many manifests' changes in one request, as an operator makes them.

use anyhow::{Context, Result, ensure};
use e2e::connection_string::ConnectionString;
use e2e::hub::Hub;
use e2e::namespace::{HUB, isolated};
use e2e::rest::{Rest, json_body};
use reqwest::Method;
use serde_json::{Value, json};

/// Writes rows, and gives the answer with the identities that are there then.
async fn bulk(owner: &Rest, status: u16, rows: &Value) -> Result<Value> {
    let answer = owner.call(Method::POST, "/devices", &[("Prefer", "return=representation")], json_body(rows)).await?.expect(status)?;
    ensure!(answer.header("preference-applied") == "return=representation", "{:?}", answer.headers);
    answer.json()
}

#[test]
fn two_manifests_share_a_request_and_their_devices_come_in_with_what_it_answers() -> Result<()> {
    isolated(async || {
        let mut hub = Hub::start(&[]).await?;
        let owner = Rest::owner(&hub)?;
        let manifest = |name: &str| format!("kubernetes/plant/{name}/uid-{name}");
        let rotation = json!({"requestedAt": "2026-11-23T03:00:00.123456789Z", "begunAt": "2026-11-23T03:00:01Z"});
        let made = bulk(
            &owner,
            200,
            &json!([
                {"id": "pump", "importMode": "create", "mooring-managed-by": manifest("pump"), "monitoring": {"offlineAfter": "10m"}},
                {"id": "valve", "importMode": "create", "mooring-managed-by": manifest("valve"), "rotation": rotation},
            ]),
        )
        .await?;
        for (row, id) in ["pump", "valve"].into_iter().enumerate() {
            let device = &made["devices"][row];
            ensure!(device["deviceId"] == id && device["managedBy"]["name"] == id, "{device}");
            let key = device["authentication"]["symmetricKey"]["primaryKey"].as_str().context("no key")?;
            let credential = ConnectionString::parse(&format!("HostName={HUB};DeviceId={id};SharedAccessKey={key}"))?;
            Rest::new(&hub, credential)?.send(b"21").await?.expect(204)?;
        }
        let held = owner.disable("pump").await?;
        ensure!(held["status"] == "disabled" && held["wantedStatus"] == "enabled", "{held}");

        // Each row is its own manifest's, and one that is not hinders nobody.
        let rows = json!([
            {"id": "pump", "importMode": "update", "mooring-managed-by": manifest("valve"), "tags": {"site": "south"}},
            {"id": "valve", "importMode": "update", "mooring-managed-by": manifest("valve"), "tags": {"site": "south"}},
        ]);
        let mixed = bulk(&owner, 400, &rows).await?;
        ensure!(mixed["errors"][0]["deviceId"] == "pump" && mixed["errors"][0]["errorCode"] == "DeviceAlreadyExists", "{mixed}");
        ensure!(mixed["devices"].as_array().is_some_and(|devices| devices.len() == 1), "{mixed}");
        ensure!(mixed["devices"][0]["tags"]["site"] == "south", "{mixed}");

        hub.kill9().await?;
        hub.restart().await?;
        let (owner, api) = (Rest::owner(&hub)?, Rest::api(&hub, hub.policy("iothubowner")?)?);
        let pump = owner.device("pump").await?;
        ensure!(pump["monitoring"] == json!({"offlineAfter": "10m", "perDeviceMetrics": false}), "{pump}");
        ensure!(owner.device("valve").await?["rotation"] == rotation, "exact to the nanosecond");
        let about = api.call(Method::GET, "/api/v1/hub", &[], Vec::new()).await?.expect(200)?.json()?;
        ensure!(about["hostName"] == HUB && about["devices"] == json!({"total": 2, "enabled": 1, "connected": 0}), "{about}");
        ensure!(about["boot"] == "2" && about["certificateExpiryTime"].is_string(), "{about}");
        Ok(())
    })
}
