//! Back ends that read events over AMQP from the beginning, from a journal of which nothing is in memory.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::runtime;
use tokio::task::{JoinSet, LocalSet};

use crate::amqp::{self, Link, Proof, Told};
use crate::amqp_client::Client;
use crate::connection;
use crate::load::Reading;
use crate::process;
use crate::report::Metrics;
use crate::scenario::cold_journal::{self, Filling};
use crate::server::{Server, Stage};
use crate::tls::HOST;

/// What Azure's clients ask for at a time, more or less: enough that credit is never what is waited for.
const CREDIT: u32 = 2000;
/// A reader that hears nothing for so long is not served.
const SILENCE: Duration = Duration::from_secs(30);
const FROM_THE_BEGINNING: &str = "amqp.annotation.x-opt-offset > '-1'";
const MIB: f64 = 1024.0 * 1024.0;

#[derive(Clone, Copy)]
pub struct Load {
    /// Readers, and so partitions: each has its own.
    pub readers: usize,
    pub events: usize,
    pub payload_bytes: usize,
}

pub fn run(stage: &Stage, load: Load) -> Result<Metrics> {
    let Load { readers, events, payload_bytes } = load;
    let server = cold_journal::start(stage, Filling { partitions: readers, events, payload_bytes })?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, read(stage, &server, load)).with_context(|| server.log_tail())
}

/// From the moment when all readers are attached and get credit until all events have come.
async fn read(stage: &Stage, server: &Server, load: Load) -> Result<Metrics> {
    let clients = open_readers(stage, server, load.readers).await?;
    let left = Rc::new(Cell::new(load.events));
    let read_before = process::bytes_read_from_disk(server.pid())?;
    let before = Reading::take(server.pid())?;
    let mut readers = JoinSet::new();
    for client in clients {
        let left = Rc::clone(&left);
        readers.spawn_local(async move {
            let come = || {
                left.set(left.get().checked_sub(1).context("more events came than were sent")?);
                Ok(())
            };
            take_events(client, || left.get() > 0, come).await.with_context(|| format!("{} events have not come", left.get()))
        });
    }
    // A reader ends when it was the one to take the last event; the others wait for more.
    let first = readers.join_next().await.context("there are readers")?;
    first.context("a task was lost")??;
    let after = Reading::take(server.pid())?;
    let from_disk = process::bytes_read_from_disk(server.pid())?.saturating_sub(read_before);
    let mut metrics = after.metrics_since(&before, u64::try_from(load.events)?);
    metrics.insert("disk_mib", from_disk as f64 / MIB);
    Ok(metrics)
}

/// Readers of the first partitions, one each, from the beginning; they have no credit yet.
pub async fn open_readers(stage: &Stage, server: &Server, count: usize) -> Result<Vec<Client>> {
    let tls = stage.certificate.client(None)?;
    let proof = Proof::Plain { user: format!("{}@sas.root.{HOST}", crate::hub::OWNER_POLICY), password: server.owner_token.clone() };
    let mut clients = Vec::new();
    for number in 0..count {
        let address = format!("{}/ConsumerGroups/$Default/Partitions/{number}", crate::hub::EVENTS_NAME);
        let link = Link::From { address: &address, selector: Some(FROM_THE_BEGINNING) };
        let connection = connection::open(server.addresses.amqp, &tls, number).await?;
        clients.push(Client::open(connection, &proof, &[link]).await.with_context(|| format!("reader {number}"))?);
    }
    Ok(clients)
}

/// Takes a partition's events for as long as it `goes_on`, and tells `come` of each. Each must come once and in order, from the first one on.
pub async fn take_events(mut client: Client, goes_on: impl Fn() -> bool, mut come: impl FnMut() -> Result<()>) -> Result<()> {
    let (mut transfers, mut count, mut granted) = (0_u32, 0_u32, CREDIT);
    // Whether the next frame begins an event, and which event that has to be.
    let (mut begins, mut next) = (true, 0_i64);
    client.write(&amqp::flow(0, transfers, count, CREDIT)).await?;
    while goes_on() {
        let mut unsettled: Option<(u32, u32)> = None;
        let reading = client.read(|told| {
            if let Told::Transfer { delivery, settled, more, payload } = told {
                transfers = transfers.wrapping_add(1);
                if begins {
                    let number = amqp::sequence_number(payload).context("an event without a number")?;
                    ensure!(number == next, "event {number} came when {next} was due");
                    next += 1;
                }
                begins = !more;
                if !more {
                    count = count.wrapping_add(1);
                    come()?;
                }
                if let Some(delivery) = delivery.filter(|_| !settled) {
                    unsettled = Some((unsettled.map_or(delivery, |(first, _)| first), delivery));
                }
            }
            Ok(())
        });
        match tokio::time::timeout(SILENCE, reading).await {
            Ok(read) => read?,
            Err(_) => bail!("nothing comes behind event {next}"),
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
