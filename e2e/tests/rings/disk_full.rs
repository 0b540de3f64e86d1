//! A full disk: nothing is acknowledged that is not stored, the hub stays up, devices can be shut out, and all recovers by itself.

use anyhow::{Context, Result, ensure};
use e2e::catalogue::payload;
use e2e::events::{Events, check_numbers};
use e2e::hub::Options;
use e2e::mqtt::{Connection, Packet, events_topic, publish};
use e2e::namespace::{isolated, mount_small};
use e2e::rest::{Answer, Rest};
use serde_json::json;

const DEVICE: &str = "logger-1";
const SUSPECT: &str = "logger-2";

/// The data folder's file system: a journal segment or two beside the ballast.
const DISK_MIB: u32 = 256;

/// As much as one message holds, so that the disk fills fast.
const MESSAGE_BYTES: usize = 200 * 1024;

#[test]
fn a_full_disk_stops_events_and_nothing_else() -> Result<()> {
    isolated(async || {
        let folder = tempfile::tempdir()?;
        mount_small(folder.path(), DISK_MIB)?;
        let mut hub = Options::default().devices(&[DEVICE, SUSPECT]).data(folder.path()).start().await?;
        let https = Rest::new(&hub, hub.device(DEVICE)?)?;
        // Somebody else's file takes what is free, but for a little.
        let hog = folder.path().join("hog");
        fill(&hog)?;

        let (mut stored, refusal) = fill_by_https(&https).await?;
        ensure!(!refusal.header("retry-after").is_empty(), "503 without Retry-After");
        let mut connection = Connection::admitted(&hub, DEVICE).await?;
        connection.send(&publish(&events_topic(DEVICE), Some(1), &payload(MESSAGE_BYTES), 0)).await?;
        let packets = connection.packets_until_closed().await?;
        ensure!(!packets.contains(&Packet::PubAck(1)), "acknowledged on a full disk");

        hub.still_runs()?;
        let owner = Rest::owner(&hub)?;
        let suspect = Connection::admitted(&hub, SUSPECT).await;
        owner.disable(SUSPECT).await.context("a device can't be shut out when the disk is full")?;
        if let Ok(mut suspect) = suspect {
            suspect.packets_until_closed().await?;
        }
        ensure!(owner.device(SUSPECT).await?["status"] == "disabled");

        std::fs::remove_file(&hog)?;
        stored += until_it_recovers(&https).await?;
        let mut connection = Connection::admitted(&hub, DEVICE).await?;
        connection.publish(&events_topic(DEVICE), 2, b"over MQTT again").await?;
        let kept = Events::all(&hub).await?;
        check_numbers(&kept)?;
        ensure!(kept.len() > stored, "{} events kept, {stored} and one acknowledged", kept.len());
        owner.change(SUSPECT, |identity| identity["status"] = json!("enabled")).await?;
        Connection::admitted(&hub, SUSPECT).await?;
        Ok(())
    })
}

/// Writes until nothing more fits.
fn fill(path: &std::path::Path) -> Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(path)?;
    while file.write_all(&[0x5a; 64 * 1024]).is_ok() {}
    Ok(())
}

/// Sends until the hub has no room: how many messages it took, and its refusal.
async fn fill_by_https(device: &Rest) -> Result<(usize, Answer)> {
    let body = payload(MESSAGE_BYTES);
    for stored in 0..usize::try_from(DISK_MIB)? * 1024 * 1024 / MESSAGE_BYTES + 1 {
        let answer = device.send(&body).await?;
        if answer.status != 204 {
            return Ok((stored, answer.expect(503)?));
        }
    }
    anyhow::bail!("the disk never filled")
}

/// Sends, and sends again while the hub answers that it has no room, until it takes a message: how many it took.
async fn until_it_recovers(device: &Rest) -> Result<usize> {
    let attempts = async {
        loop {
            let answer = device.send(b"again").await?;
            if answer.status == 204 {
                return anyhow::Ok(1);
            }
            answer.expect(503)?;
            tokio::task::yield_now().await;
        }
    };
    e2e::patience::within("the hub to take messages again", attempts).await?
}
