//! The change stream: how things stand, then what happens, without a gap, over cuts and restarts.

use anyhow::{Context, Result, ensure};
use e2e::changes::Changes;
use e2e::hub::{Hub, binary};
use e2e::mqtt::Connection;
use e2e::namespace::isolated;
use e2e::program::Program;
use e2e::rest::Rest;
use serde_json::Value;

const DEVICE: &str = "pump-1";

#[test]
fn first_how_things_stand_and_then_what_happens() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE, "pump-2"]).await?;
        let _connection = Connection::admitted(&hub, "pump-2").await?;
        let mut watcher = Changes::open(&hub, "").await?;
        ensure!(watcher.next().await?.kind == "snapshot-begin");
        let (mut standing, mut position) = (Vec::new(), None);
        while position.is_none() {
            let change = watcher.next().await?;
            ensure!(change.position.is_none() || change.kind == "snapshot-end", "nobody may go on from {change:?}");
            standing.push(format!("{} {}", change.kind, change.data["deviceId"].as_str().unwrap_or_default()));
            position = change.position;
        }
        ensure!(standing == ["registry pump-1", "registry pump-2", "presence pump-2", "snapshot-end "], "{standing:?}");

        let disabled = Rest::owner(&hub)?.disable(DEVICE).await?;
        let change = watcher.next_of("registry").await?;
        ensure!(change.data["device"]["status"] == "disabled" && change.data["device"]["etag"] == disabled["etag"], "{change:?}");
        let key = disabled["authentication"]["symmetricKey"]["primaryKey"].as_str().context("no key")?;
        ensure!(!change.data.to_string().contains(key), "a key is in the stream");

        // Another watcher goes on where the snapshot ended.
        let mut later = Changes::open(&hub, &format!("from={}", position.context("no position")?)).await?;
        ensure!(later.next().await? == change, "what happened since is not told again");
        Ok(())
    })
}

#[test]
fn a_watch_goes_on_over_a_restart_of_the_hub() -> Result<()> {
    isolated(async || {
        let mut hub = Hub::start(&[DEVICE]).await?;
        let words = ["watch", "--json", "--kinds", "presence,registry", "--device", DEVICE, "--snapshot"];
        let mut watch = Program::named(&binary()?.display().to_string()).args(words).env("MOORING_DATA", hub.data()).start()?;
        let mut until = async |wanted: &str| -> Result<Value> {
            loop {
                let line: Value = watch.next().await.with_context(|| format!("waiting for {wanted}"))?;
                if line["kind"] == wanted {
                    return Ok(line);
                }
            }
        };
        ensure!(until("registry").await?["deviceId"] == DEVICE);
        until("snapshot-end").await?;
        let connection = Connection::admitted(&hub, DEVICE).await?;
        let change = until("presence").await?;
        ensure!(change["state"] == "connected" && change["position"].is_string(), "{change}");

        hub.kill9().await?;
        drop(connection);
        hub.restart().await?;
        let reset = until("reset").await?;
        ensure!(reset["reason"] == "HubRestarted", "{reset}");
        let _connection = Connection::admitted(&hub, DEVICE).await?;
        ensure!(until("presence").await?["state"] == "connected");
        let said = watch.standard_error();
        ensure!(said.contains("trying again") && said.contains("connected again"), "{said}");
        Ok(())
    })
}
