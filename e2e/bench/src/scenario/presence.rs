//! Devices whose connection is reset: how long until the registry says that they are disconnected.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::ClientConfig;
use tokio::runtime;
use tokio::task::LocalSet;

use crate::clock;
use crate::connection::{self, Connection};
use crate::histogram::Histogram;
use crate::http::{self, Client};
use crate::hub::device_path;
use crate::report::Metrics;
use crate::sas::Device;
use crate::server::{Kind, Server, Stage};
use crate::tls::HOST;

pub fn run(stage: &Stage, resets: usize) -> Result<Metrics> {
    let server = stage.start(Kind::Hub, resets)?;
    let (mqtt, https) = (stage.certificate.client(None)?, stage.certificate.client(Some("http/1.1"))?);
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, measure(&server, mqtt, &https, resets)).with_context(|| server.log_tail())
}

async fn measure(server: &Server, mqtt: Arc<ClientConfig>, https: &Arc<ClientConfig>, resets: usize) -> Result<Metrics> {
    let address: SocketAddr = server.addresses.mqtt;
    let open = move |number| {
        let mqtt = mqtt.clone();
        async move { Ok((number, connection::open_mqtt(address, &mqtt, number, &Device::new(HOST, number)).await?)) }
    };
    let connections: Vec<(usize, Connection)> = connection::open_many(0..resets, open).await?;
    let mut api = Client::new(connection::open(server.addresses.api, https, 0).await?);
    let mut latencies = Histogram::new();
    for (number, connection) in connections {
        let path = device_path(&Device::new(HOST, number).id);
        let look = http::request("GET", &path, &server.owner_token, &[], b"");
        reset(connection)?;
        let begun = clock::now();
        while api.exchange(&look).await?.json()?["connectionState"] != "Disconnected" {}
        latencies.record(clock::now() - begun);
    }
    let ms = |share| latencies.quantile(share).as_secs_f64() * 1e3;
    Ok(Metrics::from([("p50_ms", ms(0.5)), ("p99_ms", ms(0.99)), ("max_ms", ms(1.0))]))
}

/// Closes with RST, as a device that crashed or a NAT that forgot: without goodbye, in TLS or in MQTT.
fn reset(connection: Connection) -> Result<()> {
    connection.get_ref().0.set_zero_linger().context("SO_LINGER")?;
    drop(connection);
    Ok(())
}
