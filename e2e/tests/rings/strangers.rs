//! Limits for strangers: who has not shown a credential gets little time and little memory, and devices are not disturbed by it.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use e2e::events::Events;
use e2e::hub::Hub;
use e2e::mqtt::{Connection, events_topic, packet};
use e2e::namespace::{HUB, isolated};
use e2e::patience::within;
use e2e::rest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const DEVICE: &str = "meter-1";

/// More connections than one address may leave unfinished (512 by default).
const STORM: usize = 700;

/// The storm's address: not the devices'.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Who says nothing is shown the door, on every port.
#[test]
fn silence_before_the_handshake_is_cut_short() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        for port in [8883, 443, 8443] {
            let mut silent = TcpStream::connect((HUB, port)).await?;
            let ended = within(&format!("port {port} to close"), silent.read(&mut [0; 16])).await?;
            ensure!(ended.is_err() || ended.is_ok_and(|count| count == 0), "port {port} spoke first");
        }
        let mut shaken = Connection::open(&hub).await?;
        ensure!(shaken.bytes_until_closed().await?.is_empty(), "something was said to one without CONNECT");
        Ok(())
    })
}

#[test]
fn bytes_before_authentication_are_limited() -> Result<()> {
    isolated(async || {
        let mut hub = Hub::start(&[DEVICE]).await?;
        let mut stranger = Connection::open(&hub).await?;
        // A CONNECT as large as a message: allowed to a device's telemetry, not to a stranger's first packet.
        let _ = stranger.send(&packet(0x10, &vec![0; 256 * 1024])).await;
        ensure!(stranger.bytes_until_closed().await?.is_empty(), "an enormous CONNECT was answered");
        hub.still_runs()
    })
}

/// A storm of unfinished handshakes does not keep devices out that are in, is refused, and is counted.
#[test]
fn unfinished_handshakes_are_limited() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let mut device = Connection::admitted(&hub, DEVICE).await?;
        let mut storm = Vec::new();
        for _ in 0..STORM {
            let socket = TcpSocket::new_v4()?;
            socket.bind((ELSEWHERE, 0).into())?;
            storm.push(socket.connect((Ipv4Addr::LOCALHOST, 8883).into()).await?);
        }
        let last = storm.pop().context("a storm")?;
        ensure!(turned_away(last).await?, "the storm's last connection was not turned away");
        device.publish(&events_topic(DEVICE), 1, b"in the storm").await?;
        ensure!(Events::all(&hub).await?.len() == 1);
        let metrics = rest::client(&hub)?.get(format!("{}/metrics", hub.ready.endpoints.metrics)).send().await?.text().await?;
        let counted = metrics.lines().filter(|line| line.contains("refused")).any(|line| line.rsplit(' ').next().is_some_and(|n| n != "0"));
        ensure!(counted, "no counter of refused connections:\n{metrics}");
        Ok(())
    })
}

/// Whether the hub closes a connection that has hardly begun.
async fn turned_away(mut connection: TcpStream) -> Result<bool> {
    // The first bytes of a ClientHello, so that only the limit, and no garbage, can be what closes it.
    let _ = connection.write_all(&[0x16, 3, 1, 2, 0]).await;
    let ended = within("the storm's last connection to be closed", connection.read(&mut [0; 16])).await?;
    Ok(ended.is_err() || ended.is_ok_and(|count| count == 0))
}
