//! Devices that are connected and silent: what each costs the server in memory.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime;
use tokio::task::LocalSet;

use crate::connection::{self, Connection};
use crate::mqtt;
use crate::process::{self, Memory};
use crate::report::Metrics;
use crate::sas::Device;
use crate::server::{Kind, Server, Stage};
use crate::tls::HOST;

/// Time for a server to finish what it does after the last CONNACK.
const SETTLE: Duration = Duration::from_secs(3);
/// The first of the connections pay for what all share; the slope is taken from here on.
const SLOPE_FROM_SHARE: usize = 10;

pub fn run(stage: &Stage, kind: Kind, connections: usize) -> Result<Metrics> {
    let server = stage.start(kind, connections)?;
    let client = stage.certificate.client(None)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let work = LocalSet::new();
    work.block_on(&runtime, observe(&server, client, connections)).with_context(|| server.log_tail())
}

async fn observe(server: &Server, client: Arc<ClientConfig>, connections: usize) -> Result<Metrics> {
    let address = server.addresses.mqtt;
    let open = move |number| {
        let client = client.clone();
        async move { connection::open_mqtt(address, &client, number, &Device::new(HOST, number)).await }
    };
    let first = (connections / SLOPE_FROM_SHARE).max(1);
    let empty = settled_memory(server).await?;
    let mut open_connections = connection::open_many(0..first, open.clone()).await?;
    let some = settled_memory(server).await?;
    open_connections.extend(connection::open_many(first..connections, open).await?);
    let all = settled_memory(server).await?;
    check_alive(open_connections).await?;

    let each = |more: u64, less: u64, count: usize| more.saturating_sub(less) as f64 / count.max(1) as f64;
    Ok(Metrics::from([
        ("rss_kib_each", each(all.rss_kib, empty.rss_kib, connections)),
        ("pss_kib_each", each(all.pss_kib, empty.pss_kib, connections)),
        ("anonymous_kib_each", each(all.anonymous_kib, empty.anonymous_kib, connections)),
        ("rss_kib_slope", each(all.rss_kib, some.rss_kib, connections - first)),
        ("rss_mib_empty", empty.rss_kib as f64 / 1024.0),
        ("rss_mib_full", all.rss_kib as f64 / 1024.0),
    ]))
}

async fn settled_memory(server: &Server) -> Result<Memory> {
    tokio::time::sleep(SETTLE).await;
    process::memory(server.pid())
}

/// Connections that the server had dropped would have made it look thrifty.
async fn check_alive(connections: Vec<Connection>) -> Result<()> {
    for mut connection in connections {
        connection.write_all(&mqtt::PINGREQ).await?;
        connection.flush().await?;
        let mut answer = [0; mqtt::PINGRESP.len()];
        connection.read_exact(&mut answer).await.context("an idle connection was no longer there")?;
        ensure!(answer == mqtt::PINGRESP, "{answer:02x?} is no PINGRESP");
    }
    Ok(())
}
