//! A hub with a journal full of events of which nothing is in memory: it was started again, and the kernel has given back what it kept of the
//! files.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::fs::{Advice, fadvise};
use tokio::runtime;
use tokio::task::{JoinSet, LocalSet};

use crate::amqp::{self, BATCH_FORMAT, Link, Told, Transfer};
use crate::amqp_client::Client;
use crate::connection;
use crate::sas::Device;
use crate::scenario::publish::payload;
use crate::server::{Kind, Server, Stage};
use crate::tls::HOST;

/// Devices that fill the journal, and that the hub knows: they spread over all partitions.
pub const DEVICES: usize = 256;
/// The generator's frames have 64 KiB.
const BATCH_BYTES: usize = 48 * 1024;
/// Batches on their way on each connection.
const WINDOW: usize = 4;

/// What the journal holds.
#[derive(Clone, Copy)]
pub struct Filling {
    pub partitions: usize,
    pub events: usize,
    pub payload_bytes: usize,
}

/// Starts a hub, fills its journal, and starts it again.
pub fn start(stage: &Stage, filling: Filling) -> Result<Server> {
    let mut server = stage.start_with(Kind::Hub, DEVICES, &format!("[events]\npartitions = {}", filling.partitions))?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, fill(stage, &server, filling)).with_context(|| server.log_tail())?;
    server.stop()?;
    evict(&server.folder)?;
    server.start_again()?;
    Ok(server)
}

/// Sends batches until there are enough events.
async fn fill(stage: &Stage, server: &Server, filling: Filling) -> Result<()> {
    let tls = stage.certificate.client(None)?;
    let address = server.addresses.amqp;
    let mut devices = JoinSet::new();
    for number in 0..DEVICES {
        let tls = tls.clone();
        let share = filling.events * (number + 1) / DEVICES - filling.events * number / DEVICES;
        devices.spawn_local(async move {
            let device = Device::new(HOST, number);
            let connection = connection::open(address, &tls, number).await?;
            let client = Client::open(connection, &Kind::Hub.proof(&device), &[Link::To(&device.events())]).await?;
            send_batches(client, &amqp::message(&payload(&device, filling.payload_bytes)), share).await
        });
    }
    while let Some(device) = devices.join_next().await {
        device.context("a task was lost")??;
    }
    Ok(())
}

async fn send_batches(mut client: Client, message: &[u8], mut events: usize) -> Result<()> {
    let per_batch = (BATCH_BYTES / message.len()).max(1);
    let (mut in_flight, mut sent) = (0, 0);
    let mut whole = Transfer::new(BATCH_FORMAT, &amqp::batch(message, per_batch));
    while events > 0 || in_flight > 0 {
        let mut out = Vec::new();
        while events > 0 && in_flight < WINDOW && client.takes(sent) {
            let count = per_batch.min(events);
            if count < per_batch {
                // The last one: it goes on counting.
                whole = whole.followed_by(BATCH_FORMAT, &amqp::batch(message, count));
            }
            whole.push(&mut out);
            (events, in_flight, sent) = (events - count, in_flight + 1, sent + 1);
        }
        client.write(&out).await?;
        client
            .read(|told| {
                if let Told::Disposition { first, last, accepted } = told {
                    ensure!(accepted, "the hub did not accept a batch");
                    in_flight -= usize::try_from(last - first)? + 1;
                }
                Ok(())
            })
            .await?;
    }
    Ok(())
}

/// Lets the kernel forget all files below `folder`, which are on disk.
fn evict(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            evict(&path)?;
        } else {
            let file = File::open(&path)?;
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed).with_context(|| format!("{}", path.display()))?;
        }
    }
    Ok(())
}
