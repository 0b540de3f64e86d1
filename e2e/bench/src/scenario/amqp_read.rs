//! Back ends that read events over AMQP from the beginning, from a journal of which nothing is in memory: the hub was started again, and
//! the kernel has given back what it kept of the files.

use std::cell::Cell;
use std::fs::{self, File};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{Advice, fadvise};
use tokio::runtime;
use tokio::task::{JoinSet, LocalSet};

use crate::amqp::{self, BATCH_FORMAT, Link, Proof, Told, Transfer};
use crate::amqp_client::Client;
use crate::connection;
use crate::load::Reading;
use crate::report::Metrics;
use crate::sas::Device;
use crate::scenario::publish::payload;
use crate::server::{Kind, Server, Stage};
use crate::tls::HOST;

/// Devices that fill the journal: they spread over all partitions.
const DEVICES: usize = 256;
/// The generator's frames have 64 KiB.
const BATCH_BYTES: usize = 48 * 1024;
/// Batches on their way on each connection.
const WINDOW: usize = 4;
/// What Azure's clients ask for at a time, more or less: enough that credit is never what is waited for.
const CREDIT: u32 = 2000;
/// A reader that hears nothing for so long is not served.
const SILENCE: Duration = Duration::from_secs(30);
const FROM_THE_BEGINNING: &str = "amqp.annotation.x-opt-offset > '-1'";

#[derive(Clone, Copy)]
pub struct Load {
    /// Readers, and so partitions: each has its own.
    pub readers: usize,
    pub events: usize,
    pub payload_bytes: usize,
}

pub fn run(stage: &Stage, load: Load) -> Result<Metrics> {
    let mut server = stage.start_with(Kind::Hub, DEVICES, &format!("[events]\npartitions = {}", load.readers))?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, fill(stage, &server, load)).with_context(|| server.log_tail())?;
    server.stop()?;
    evict(&server.folder)?;
    server.start_again()?;
    local.block_on(&runtime, read(stage, &server, load)).with_context(|| server.log_tail())
}

/// Sends batches until there are enough events.
async fn fill(stage: &Stage, server: &Server, load: Load) -> Result<()> {
    let tls = stage.certificate.client(None)?;
    let address = server.addresses.amqp;
    let mut devices = JoinSet::new();
    for number in 0..DEVICES {
        let tls = tls.clone();
        let share = load.events * (number + 1) / DEVICES - load.events * number / DEVICES;
        devices.spawn_local(async move {
            let device = Device::new(HOST, number);
            let connection = connection::open(address, &tls, number).await?;
            let client = Client::open(connection, &Kind::Hub.proof(&device), &[Link::To(&device.events())]).await?;
            send_batches(client, &amqp::message(&payload(&device, load.payload_bytes)), share).await
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

/// From the moment when all readers are attached and get credit until all events have come.
async fn read(stage: &Stage, server: &Server, load: Load) -> Result<Metrics> {
    let tls = stage.certificate.client(None)?;
    let proof = Proof::Plain { user: format!("{}@sas.root.{HOST}", crate::hub::OWNER_POLICY), password: server.owner_token.clone() };
    let mut clients = Vec::new();
    for number in 0..load.readers {
        let address = format!("{}/ConsumerGroups/$Default/Partitions/{number}", crate::hub::EVENTS_NAME);
        let link = Link::From { address: &address, selector: Some(FROM_THE_BEGINNING) };
        let connection = connection::open(server.addresses.amqp, &tls, number).await?;
        clients.push(Client::open(connection, &proof, &[link]).await.with_context(|| format!("reader {number}"))?);
    }
    let left = Rc::new(Cell::new(load.events));
    let before = Reading::take(server.pid())?;
    let mut readers = JoinSet::new();
    for client in clients {
        readers.spawn_local(take_events(client, Rc::clone(&left)));
    }
    // A reader ends when it was the one to take the last event; the others wait for more.
    let first = readers.join_next().await.context("there are readers")?;
    first.context("a task was lost")??;
    let after = Reading::take(server.pid())?;
    Ok(after.metrics_since(&before, u64::try_from(load.events)?))
}

async fn take_events(mut client: Client, left: Rc<Cell<usize>>) -> Result<()> {
    let (mut transfers, mut count, mut granted) = (0_u32, 0_u32, CREDIT);
    client.write(&amqp::flow(0, transfers, count, CREDIT)).await?;
    while left.get() > 0 {
        let mut unsettled: Option<(u32, u32)> = None;
        let reading = client.read(|told| {
            if let Told::Transfer { delivery, settled, more, .. } = told {
                transfers = transfers.wrapping_add(1);
                if !more {
                    count = count.wrapping_add(1);
                    left.set(left.get().checked_sub(1).context("more events came than were sent")?);
                }
                if let Some(delivery) = delivery.filter(|_| !settled) {
                    unsettled = Some((unsettled.map_or(delivery, |(first, _)| first), delivery));
                }
            }
            Ok(())
        });
        match tokio::time::timeout(SILENCE, reading).await {
            Ok(read) => read?,
            Err(_) => bail!("{} events do not come", left.get()),
        }
        let mut words = unsettled.map(|(first, last)| amqp::accept(first, last)).unwrap_or_default();
        if granted.wrapping_sub(count) < CREDIT / 2 {
            granted = count.wrapping_add(CREDIT);
            words.extend(amqp::flow(0, transfers, count, CREDIT));
        }
        if !words.is_empty() {
            client.write(&words).await?;
        }
    }
    Ok(())
}
