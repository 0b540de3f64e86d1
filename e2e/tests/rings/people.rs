//! The commands for people: `mooring-hub device …`, `mooring-hub token`, `mooring-hub events`, beside a hub that runs.

use anyhow::{Context, Result, ensure};
use e2e::connection_string::ConnectionString;
use e2e::hub::{Hub, binary};
use e2e::mqtt::{Connect, Connection, events_topic};
use e2e::namespace::isolated;
use e2e::program::Program;
use serde_json::Value;

const DEVICE: &str = "boiler-1";

/// `mooring-hub WORDS`, told where the hub's own file is, with address and credentials.
fn mooring_hub(hub: &Hub, words: &[&str]) -> Result<Program> {
    Ok(Program::named(&binary()?.display().to_string()).args(words).env("MOORING_DATA", hub.data()))
}

async fn says(hub: &Hub, words: &[&str]) -> Result<String> {
    Ok(String::from_utf8(mooring_hub(hub, words)?.output().await?)?)
}

#[test]
fn people_keep_devices() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[]).await?;
        says(&hub, &["device", "create", DEVICE]).await?;
        let text = says(&hub, &["device", "connection-string", DEVICE]).await?;
        let credential = ConnectionString::parse(text.trim())?;
        let mut connection = Connection::admitted_as(&hub, &Connect::device(&credential)).await?;
        connection.publish(&events_topic(DEVICE), 1, b"21.5").await?;
        ensure!(says(&hub, &["device", "list"]).await?.contains(DEVICE));
        ensure!(says(&hub, &["device", "show", DEVICE]).await?.contains(DEVICE));

        says(&hub, &["device", "disable", DEVICE]).await?;
        ensure!(connection.packets_until_closed().await?.is_empty());
        ensure!(says(&hub, &["device", "show", DEVICE]).await?.contains("disabled"));
        says(&hub, &["device", "enable", DEVICE]).await?;
        let mut connection = Connection::admitted_as(&hub, &Connect::device(&credential)).await?;
        connection.publish(&events_topic(DEVICE), 1, b"22").await?;

        says(&hub, &["device", "rotate", DEVICE]).await?;
        let rotated = ConnectionString::parse(says(&hub, &["device", "connection-string", DEVICE]).await?.trim())?;
        ensure!(rotated.key != credential.key, "rotation changed nothing");
        Connection::admitted_as(&hub, &Connect::device(&rotated)).await?;

        says(&hub, &["device", "delete", DEVICE]).await?;
        let gone = mooring_hub(&hub, &["device", "show", DEVICE])?.outcome().await?;
        ensure!(!gone.status.success() && gone.stderr.contains(DEVICE), "{gone:?}");
        Ok(())
    })
}

#[test]
fn people_follow_events() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE, "boiler-2"]).await?;
        let mut one = Connection::admitted(&hub, DEVICE).await?;
        let mut two = Connection::admitted(&hub, "boiler-2").await?;
        one.publish(&events_topic(DEVICE), 1, br#"{"bar":1}"#).await?;
        two.publish(&events_topic("boiler-2"), 1, b"not for this tail").await?;

        let mut tail = mooring_hub(&hub, &["events", "--device", DEVICE, "--from", "earliest", "--json"])?.start()?;
        let first: Value = tail.next().await?;
        ensure!(first["deviceId"] == DEVICE && first["body"]["bar"] == 1, "{first}");
        one.publish(&events_topic(DEVICE), 2, br#"{"bar":2}"#).await?;
        let second: Value = tail.next().await?;
        ensure!(second["body"]["bar"] == 2, "{second}");

        let all = says(&hub, &["events", "--from", "earliest", "--no-follow"]).await?;
        ensure!(all.contains(DEVICE) && all.contains("boiler-2") && all.contains("not for this tail"), "{all}");
        Ok(())
    })
}

#[test]
fn people_make_tokens() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let said = says(&hub, &["token", "--device", DEVICE]).await?;
        let token = said.lines().last().context("no token")?;
        let connect = Connect::with_password(&hub.device(DEVICE)?, token);
        Connection::admitted_as(&hub, &connect).await?;
        Ok(())
    })
}
