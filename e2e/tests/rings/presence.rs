//! Who is connected: every connect and disconnect is told at once, with its reason, and kept.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use e2e::changes::Changes;
use e2e::hub::Hub;
use e2e::mqtt::{Connect, Connection, DISCONNECT};
use e2e::namespace::isolated;
use e2e::program::Program;
use e2e::rest::Rest;
use reqwest::Method;
use serde_json::Value;

const DEVICE: &str = "pump-1";

async fn ask(hub: &Hub, path: &str) -> Result<Value> {
    Rest::api(hub, hub.policy("registryRead")?)?.call(Method::GET, path, &[], Vec::new()).await?.expect(200)?.json()
}

async fn connections(hub: &Hub) -> Result<Vec<Value>> {
    let page = ask(hub, &format!("/api/v1/devices/{DEVICE}/connections")).await?;
    page["connections"].as_array().cloned().context("no connections")
}

/// What a watcher is told next: connected, or why not any more; and whether the device is there.
async fn told(watcher: &mut Changes) -> Result<(String, bool)> {
    let change = watcher.next_of("presence").await?.data;
    ensure!(change["deviceId"] == DEVICE, "{change}");
    let what = change["reason"].as_str().or(change["state"].as_str()).unwrap_or_default();
    Ok((what.to_owned(), change["deviceConnected"] == true))
}

async fn expect(watcher: &mut Changes, what: &str, connected: bool) -> Result<()> {
    let told = told(watcher).await.with_context(|| format!("waiting for {what}"))?;
    ensure!(told == (what.to_owned(), connected), "{told:?} instead of {what}");
    Ok(())
}

/// A connection that is cut without a word: a reset, as from a router that forgot it.
async fn reset(hub: &Hub) -> Result<()> {
    let address: SocketAddr = tokio::net::lookup_host((e2e::namespace::HUB, 8883)).await?.next().context("the hub has no address")?;
    let tcp = tokio::net::TcpStream::connect(address).await?;
    tcp.set_zero_linger()?;
    let mut connection = Connection::over(hub, tcp).await?;
    connection.is_admitted(&Connect::device(&hub.device(DEVICE)?)).await?;
    drop(connection);
    Ok(())
}

#[test]
fn every_transition_is_told_and_kept_with_its_reason() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let mut watcher = Changes::open(&hub, "kinds=presence").await?.until_live().await?;

        reset(&hub).await?;
        expect(&mut watcher, "connected", true).await?;
        expect(&mut watcher, "ConnectionLost", false).await?;

        // An unmodified SDK's device, taken over by another connection with its name.
        let mut python = Program::python("live.py", &hub)?.env("IOTHUB_DEVICE_CONNECTION_STRING", hub.device(DEVICE)?.text).start()?;
        python.until("connected").await?;
        expect(&mut watcher, "connected", true).await?;
        let mut newer = Connection::admitted(&hub, DEVICE).await?;
        expect(&mut watcher, "connected", true).await?;
        expect(&mut watcher, "TakenOver", true).await?;
        python.end().await?;
        newer.send(&DISCONNECT).await?;
        expect(&mut watcher, "ClientDisconnected", false).await?;

        let silent = Connect { keep_alive_s: 1, ..Connect::device(&hub.device(DEVICE)?) };
        let mut silent = Connection::admitted_as(&hub, &silent).await?;
        expect(&mut watcher, "connected", true).await?;
        silent.packets_until_closed().await?;
        expect(&mut watcher, "KeepAliveTimeout", false).await?;

        let mut shut_out = Connection::admitted(&hub, DEVICE).await?;
        expect(&mut watcher, "connected", true).await?;
        let now = ask(&hub, "/api/v1/connections").await?;
        ensure!(now["connections"][0]["deviceId"] == DEVICE && now["connections"].as_array().is_some_and(|all| all.len() == 1), "{now}");
        Rest::owner(&hub)?.disable(DEVICE).await?;
        expect(&mut watcher, "DeviceDisabled", false).await?;
        shut_out.packets_until_closed().await?;

        let kept: Vec<_> = connections(&hub).await?.iter().map(|one| one["reason"].as_str().unwrap_or_default().to_owned()).collect();
        ensure!(kept == ["DeviceDisabled", "KeepAliveTimeout", "ClientDisconnected", "TakenOver", "ConnectionLost"], "{kept:?}");
        let presence = ask(&hub, "/api/v1/presence").await?;
        ensure!(presence["connected"] == 0 && presence["connectsTotal"] == 5 && presence["takeOversTotal"] == 1, "{presence}");
        ensure!(presence["flapping"][0]["deviceId"] == DEVICE, "it connected five times within five minutes: {presence}");
        Ok(())
    })
}

/// A hub that was killed can't have noticed who went with it, and yet knows it when it begins again.
#[test]
fn whoever_was_connected_to_a_killed_hub_went_with_it() -> Result<()> {
    isolated(async || {
        let mut hub = Hub::start(&[DEVICE]).await?;
        let mut connection = Connection::admitted(&hub, DEVICE).await?;
        let connected = Rest::owner(&hub)?.device(DEVICE).await?;
        ensure!(connected["connectionState"] == "Connected", "{connected}");
        ensure!(connections(&hub).await?[0]["disconnectedTime"] == Value::Null, "it is connected");
        let mut watcher = Changes::open(&hub, "kinds=presence").await?.until_live().await?;
        hub.kill9().await?;
        ensure!(watcher.next().await.is_err(), "a killed hub told something");
        connection.packets_until_closed().await?;
        hub.restart().await?;

        let gone = Rest::owner(&hub)?.device(DEVICE).await?;
        ensure!(gone["connectionState"] == "Disconnected", "{gone}");
        let record = &connections(&hub).await?[0];
        ensure!(record["reason"] == "HubRestarted", "{record}");
        let (from, to) = (record["connectedTime"].as_str().unwrap_or_default(), record["disconnectedTime"].as_str().unwrap_or_default());
        ensure!(from <= to && !from.is_empty(), "{record}");
        let presence = ask(&hub, "/api/v1/presence").await?;
        ensure!(presence["connected"] == 0, "{presence}");
        Ok(())
    })
}
