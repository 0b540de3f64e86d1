//! Devices that send over AMQP while back ends read from the beginning of a cold journal: what those who catch up cost those who send.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};

use crate::amqp_client::Client;
use crate::clock;
use crate::load::Pace;
use crate::process;
use crate::report::Metrics;
use crate::scenario::cold_journal::{self, Filling};
use crate::scenario::{amqp_read, amqp_send, publish};
use crate::server::{Server, Stage};

/// The same for all, so that only the number of readers differs.
pub const PARTITIONS: usize = 32;
const MIB: f64 = 1024.0 * 1024.0;

#[derive(Clone, Copy)]
pub struct Load {
    /// Readers of the first partitions, one each.
    pub readers: usize,
    /// Events in the journal when sending begins.
    pub events: usize,
    pub sending: publish::Load,
}

/// What is measured is the sending. The server's CPU is that of sending and reading together, so how much was read stands beside it.
pub fn run(stage: &Stage, load: Load, pace: Pace) -> Result<Metrics> {
    let filling = Filling { partitions: PARTITIONS, events: load.events, payload_bytes: load.sending.payload_bytes };
    let server = cold_journal::start(stage, filling)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let clients = LocalSet::new().block_on(&runtime, amqp_read::open_readers(stage, &server, load.readers))?;
    let count = Arc::new(AtomicU64::new(0));
    let (stop, stopped) = oneshot::channel();
    let (begin, disk_before) = (clock::now(), process::bytes_read_from_disk(server.pid())?);
    let reading = {
        let count = Arc::clone(&count);
        // The runtime goes along, since the connections are its own.
        thread::spawn(move || LocalSet::new().block_on(&runtime, read(clients, &count, stopped)))
    };
    let sent = amqp_send::send(stage, &server, load.sending, pace);
    let elapsed = (clock::now() - begin).as_secs_f64();
    // Readers that have failed have gone already, and say why below.
    let _ = stop.send(());
    reading.join().map_err(|_| anyhow!("the readers panicked"))?.with_context(|| server.log_tail())?;
    let mut metrics = sent?;
    metrics.insert("read_per_second", count.load(Ordering::Relaxed) as f64 / elapsed);
    metrics.insert("disk_mib", disk_read_since(&server, disk_before)?);
    Ok(metrics)
}

/// Reads until it is told to stop.
async fn read(clients: Vec<Client>, count: &Arc<AtomicU64>, stopped: oneshot::Receiver<()>) -> Result<()> {
    let mut readers = JoinSet::new();
    for client in clients {
        let count = Arc::clone(count);
        readers.spawn_local(async move {
            let come = || {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            amqp_read::take_events(client, || true, come).await
        });
    }
    tokio::select! {
        _ = stopped => Ok(()),
        Some(ended) = readers.join_next() => {
            ended.context("a task was lost")??;
            bail!("a reader has ended early")
        }
    }
}

fn disk_read_since(server: &Server, before: u64) -> Result<f64> {
    Ok(process::bytes_read_from_disk(server.pid())?.saturating_sub(before) as f64 / MIB)
}
