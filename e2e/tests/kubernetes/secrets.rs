//! Credentials: what is lost comes back the same, what is changed is put right, what is somebody else's is left alone, and keys overlap.

use anyhow::{Context, Result, ensure};
use e2e::cluster::{DEVICE, SECRET, condition_of, entry_of, on_cluster};
use e2e::connection_string::ConnectionString;
use e2e::mqtt::events_topic;
use serde_json::{Value, json};

use crate::plant::{PLANT, Plant, device_manifest};

#[test]
fn a_lost_or_changed_secret_comes_back_with_the_same_keys() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        for (device, secret) in [(Some("pump"), "pump-credentials".to_owned()), (None, format!("{PLANT}-policy-service"))] {
            if let Some(device) = device {
                plant.device(device, json!({})).await?;
            }
            let first = namespace.get(SECRET, &secret).await?;
            namespace.delete(SECRET, &secret).await?;
            let second = namespace.until_made_again(SECRET, &first).await?;
            ensure!(first["data"] == second["data"], "{secret} came back with something else");
            namespace.patch(SECRET, &secret, &json!({ "stringData": { "connectionString": "mine" } })).await?;
            let is_right = |secret: Option<&Value>| secret.is_some_and(|secret| secret["data"] == first["data"]);
            namespace.until(SECRET, &secret, "put right", is_right).await?;
        }
        Ok(())
    })
}

#[test]
fn somebody_elses_secret_is_left_alone() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        let foreign = json!({ "metadata": { "name": "pump-credentials" }, "stringData": { "connectionString": "mine" } });
        let before = namespace.create_object(SECRET, &foreign).await?;
        namespace.apply(&device_manifest("pump", json!({})).to_string()).await?;
        let is_told =
            |device: Option<&Value>| device.is_some_and(|device| condition_of(device, "CredentialsIssued")["reason"] == "SecretConflict");
        namespace.until(DEVICE, "pump", "told of the conflict", is_told).await?;
        namespace.until_condition(DEVICE, "pump", "Ready", "False").await?;
        ensure!(namespace.get(SECRET, "pump-credentials").await? == before, "it was touched");

        namespace.delete(SECRET, "pump-credentials").await?;
        namespace.until_condition(DEVICE, "pump", "Ready", "True").await?;
        ensure!(plant.lets_in(&plant.credentials("pump").await?).await, "the credentials are no good");
        Ok(())
    })
}

#[test]
fn rotation_overlaps_and_disturbs_nobody() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        let first = plant.device("pump", json!({})).await?;
        let mut connection = plant.connect(&first).await?;
        let before = namespace.get(SECRET, "pump-credentials").await?;
        rotate(&plant, "2030-01-01T00:00:00Z").await?;
        let is_new = |secret: Option<&Value>| secret.is_some_and(|secret| secret["data"] != before["data"]);
        let secret = namespace.until(SECRET, "pump-credentials", "new", is_new).await?.context("no Secret")?;
        let second = ConnectionString::parse(&entry_of(&secret, "connectionString")?)?;
        ensure!(first.key != second.key, "the key is the same");
        ensure!(plant.lets_in(&second).await, "the new key is no good");
        ensure!(plant.lets_in(&first).await, "the old key is no good");
        connection.publish(&events_topic("pump"), 1, b"undisturbed").await?;
        namespace.until_condition(DEVICE, "pump", "Ready", "True").await?;

        // The first key has no place any more; who came in by it is shown out.
        rotate(&plant, "2030-01-02T00:00:00Z").await?;
        connection.bytes_until_closed().await?;
        ensure!(!plant.lets_in(&first).await, "a key of the time before last is good");
        ensure!(plant.lets_in(&second).await, "the last key is no good");
        Ok(())
    })
}

async fn rotate(plant: &Plant<'_>, requested_at: &str) -> Result<()> {
    let rotation = json!({ "spec": { "rotation": { "requestedAt": requested_at, "overlap": "1h" } } });
    plant.namespace.patch(DEVICE, "pump", &rotation).await?;
    let rotated = |device: Option<&Value>| {
        device.is_some_and(|device| device["status"]["rotation"]["requestedAt"].to_string().contains(&requested_at[..10]))
    };
    plant.namespace.until(DEVICE, "pump", "rotated", rotated).await.map(drop)
}
