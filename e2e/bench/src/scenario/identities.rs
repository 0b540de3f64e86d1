//! A registry with many identities: how fast they are made, what they cost in memory, how soon the hub is back after a restart, how fast one
//! is read, and how soon a disabled device is out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncReadExt as _;
use tokio::runtime;
use tokio::task::{JoinSet, LocalSet};

use crate::clock;
use crate::connection;
use crate::histogram::Histogram;
use crate::http::{self, Client};
use crate::hub::{self, JSON, device_path};
use crate::load::Pace;
use crate::process;
use crate::report::Metrics;
use crate::sas::Device;
use crate::server::{Kind, Server, Stage};
use crate::tls::HOST;

/// Connections on which identities are made and read.
const CONNECTIONS: usize = 8;
/// Steps through the identities so that each comes once and neighbours are far apart: a prime that divides no count that anybody would ask for.
const STRIDE: usize = 7_919;

pub fn run(stage: &Stage, identities: usize, disables: usize, pace: Pace) -> Result<Metrics> {
    let mut server = stage.start(Kind::Hub, 0)?;
    measure(stage, &mut server, identities, disables.min(identities), pace).with_context(|| server.log_tail())
}

fn measure(stage: &Stage, server: &mut Server, identities: usize, disables: usize, pace: Pace) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let (begun, cpu) = (clock::now(), process::cpu_time(server.pid())?);
    hub::register(server.addresses.api, &stage.certificate, &server.owner_token, 0..identities, CONNECTIONS)?;
    let (taken, cpu) = (clock::now() - begun, process::cpu_time(server.pid())? - cpu);
    metrics.insert("creates_per_second", identities as f64 / taken.as_secs_f64());
    metrics.insert("create_cpu_us", cpu.as_secs_f64() * 1e6 / identities as f64);
    metrics.insert("rss_mib", process::memory(server.pid())?.rss_kib as f64 / 1024.0);

    server.stop()?;
    let begun = clock::now();
    server.start_again()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let work = LocalSet::new();
    work.block_on(&runtime, look_up(stage, server, identities - 1))?;
    metrics.insert("ready_s", (clock::now() - begun).as_secs_f64());
    metrics.insert("rss_restarted_mib", process::memory(server.pid())?.rss_kib as f64 / 1024.0);

    let lookups = work.block_on(&runtime, look_up_for_a_while(stage, server, identities, pace))?;
    metrics.insert("lookups_per_second", lookups.count() as f64 / pace.measured.as_secs_f64());
    metrics.insert("lookup_p99_ms", lookups.quantile(0.99).as_secs_f64() * 1e3);

    let closes = work.block_on(&runtime, disable(stage, server, identities, disables))?;
    metrics.insert("disable_p50_ms", closes.quantile(0.5).as_secs_f64() * 1e3);
    metrics.insert("disable_p99_ms", closes.quantile(0.99).as_secs_f64() * 1e3);
    Ok(metrics)
}

async fn api(stage: &Stage, server: &Server, number: usize) -> Result<Client> {
    Ok(Client::new(connection::open(server.addresses.api, &stage.certificate.client(Some("http/1.1"))?, number).await?))
}

/// The request that reads an identity.
fn look(token: &str, number: usize) -> Vec<u8> {
    http::request("GET", &device_path(&Device::id(number)), token, &[], b"")
}

async fn look_up(stage: &Stage, server: &Server, number: usize) -> Result<()> {
    let mut api = api(stage, server, 0).await?;
    let identity = api.exchange(&look(&server.owner_token, number)).await?.json()?;
    ensure!(identity["deviceId"] == Device::id(number), "the hub answered with {identity}");
    Ok(())
}

/// Reads one identity after another on each connection, all over the registry.
async fn look_up_for_a_while(stage: &Stage, server: &Server, identities: usize, pace: Pace) -> Result<Histogram> {
    let latencies = Rc::new(RefCell::new(Histogram::new()));
    let next = Rc::new(Cell::new(0));
    let begin = clock::now() + pace.warm_up;
    let end = begin + pace.measured;
    let mut readers = JoinSet::new();
    for number in 0..CONNECTIONS {
        let mut api = api(stage, server, number).await?;
        let (latencies, next) = (Rc::clone(&latencies), Rc::clone(&next));
        let token = server.owner_token.clone();
        readers.spawn_local(async move {
            loop {
                let place = next.replace(next.get() + 1) * STRIDE % identities;
                let request = look(&token, place);
                let sent = clock::now();
                if sent >= end {
                    return anyhow::Ok(());
                }
                api.exchange(&request).await?;
                if sent >= begin {
                    latencies.borrow_mut().record(clock::now() - sent);
                }
            }
        });
    }
    while let Some(reader) = readers.join_next().await {
        reader.context("a task was lost")??;
    }
    Ok(latencies.replace(Histogram::new()))
}

/// From the request that disables a device until its connection is closed.
async fn disable(stage: &Stage, server: &Server, identities: usize, disables: usize) -> Result<Histogram> {
    let mqtt = stage.certificate.client(None)?;
    let address = server.addresses.mqtt;
    let open = move |number: usize| {
        let mqtt = mqtt.clone();
        async move {
            let device = Device::new(HOST, number * STRIDE % identities);
            let connection = connection::open_mqtt(address, &mqtt, number, &device).await?;
            Ok((device.id, connection))
        }
    };
    let devices = connection::open_many(0..disables, open).await?;
    let mut api = api(stage, server, 0).await?;
    let mut latencies = Histogram::new();
    for (id, mut connection) in devices {
        let headers = [JSON[0], ("If-Match", "\"*\"")];
        let body = format!(r#"{{"deviceId":"{id}","status":"disabled"}}"#);
        let request = http::request("PUT", &device_path(&id), &server.owner_token, &headers, body.as_bytes());
        let begun = clock::now();
        let closed = async {
            let mut rest = [0; 64];
            // An unclean end is an end as well.
            while connection.read(&mut rest).await.is_ok_and(|length| length > 0) {}
            clock::now() - begun
        };
        let (answered, taken) = tokio::join!(api.exchange(&request), closed);
        answered?;
        latencies.record(taken);
    }
    Ok(latencies)
}
