//! Devices that connect and leave again: a full TLS handshake, CONNECT, CONNACK, DISCONNECT.

use anyhow::{Context, Result};
use tokio::runtime;
use tokio::task::LocalSet;

use crate::clock;
use crate::connection;
use crate::histogram::Histogram;
use crate::load::Reading;
use crate::report::Metrics;
use crate::sas::Device;
use crate::server::{Kind, Stage};
use crate::tls::HOST;

/// Connects before the measured ones: caches fill, lazily made things get made.
const WARM_UP_CONNECTS: usize = 200;
/// Each device comes back many times.
const DEVICES: usize = 100;

pub fn run(stage: &Stage, kind: Kind, connects: usize) -> Result<Metrics> {
    let server = stage.start(kind, DEVICES)?;
    let client = stage.certificate.client(None)?;
    let address = server.addresses.mqtt;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let connect = move |number: usize| {
        let client = client.clone();
        async move {
            let device = Device::new(HOST, number % DEVICES);
            let begun = clock::now();
            let connection = connection::open_mqtt(address, &client, number, &device).await?;
            let taken = clock::now() - begun;
            connection::close_mqtt(connection).await?;
            Ok(taken)
        }
    };
    let work = LocalSet::new();
    work.block_on(&runtime, async {
        connection::open_many(0..WARM_UP_CONNECTS, connect.clone()).await?;
        let before = Reading::take(server.pid())?;
        let taken = connection::open_many(0..connects, connect).await?;
        let after = Reading::take(server.pid())?;
        let mut latencies = Histogram::new();
        taken.into_iter().for_each(|latency| latencies.record(latency));
        let mut metrics = after.metrics_since(&before, latencies.count());
        metrics.insert("p50_ms", latencies.quantile(0.5).as_secs_f64() * 1e3);
        metrics.insert("p99_ms", latencies.quantile(0.99).as_secs_f64() * 1e3);
        anyhow::Ok(metrics)
    })
    .with_context(|| server.log_tail())
}
