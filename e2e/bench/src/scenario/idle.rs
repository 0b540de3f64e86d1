//! Devices that are connected and silent: what each costs the server in memory.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
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
    let address = server.addresses.mqtt;
    let open = move |number| {
        let client = client.clone();
        async move { connection::open_mqtt(address, &client, number, &Device::new(HOST, number)).await }
    };
    LocalSet::new().block_on(&runtime, observe(&server, open, check_alive, connections)).with_context(|| server.log_tail())
}

/// Opens so many connections, and looks at the server's memory before and after. Those that the server had dropped would have made it
/// look thrifty, so `check` asks each whether it is there.
pub async fn observe<T: 'static, Opening: Future<Output = Result<T>> + 'static>(
    server: &Server,
    open: impl Fn(usize) -> Opening + Clone + 'static,
    check: impl AsyncFn(T) -> Result<()>,
    connections: usize,
) -> Result<Metrics> {
    let first = (connections / SLOPE_FROM_SHARE).max(1);
    let empty = settled_memory(server).await?;
    let mut open_connections = connection::open_many(0..first, open.clone()).await?;
    let some = settled_memory(server).await?;
    open_connections.extend(connection::open_many(first..connections, open).await?);
    let all = settled_memory(server).await?;
    for connection in open_connections {
        check(connection).await.context("an idle connection was no longer there")?;
    }

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

async fn check_alive(mut connection: Connection) -> Result<()> {
    connection.write_all(&mqtt::PINGREQ).await?;
    connection.flush().await?;
    let mut answer = [0; mqtt::PINGRESP.len()];
    connection.read_exact(&mut answer).await?;
    ensure!(answer == mqtt::PINGRESP, "{answer:02x?} is no PINGRESP");
    Ok(())
}
