//! Azure's device SDKs, unmodified, over TLS on the real ports: every message comes out as it went in, and stamped.

use anyhow::{Context, Result, ensure};
use e2e::catalogue::{self, LARGEST_BYTES, Sample};
use e2e::events::{Events, check_numbers};
use e2e::hub::Hub;
use e2e::namespace::isolated;
use e2e::program::Program;
use e2e::rest::Rest;
use serde_json::Value;

const DEVICE: &str = "thermostat-1";

/// azure-iot-device for Python counts its own objects' overhead (33 bytes for `bytes`) into the 256 KiB it lets through.
const PYTHON_LARGEST_BYTES: usize = LARGEST_BYTES - 33;

/// Over AMQP a client says in each message where it goes, and what it says counts.
const AMQP_LARGEST_BYTES: usize = LARGEST_BYTES - "/devices/thermostat-1/messages/events".len();

#[test]
fn python_device_over_mqtt() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        comes_out_as_it_went_in(&hub, Program::python("send.py", &hub)?, &catalogue::over_mqtt(PYTHON_LARGEST_BYTES)).await
    })
}

#[test]
fn python_device_over_websocket() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let script = Program::python("send.py", &hub)?.env("WEBSOCKETS", "1");
        comes_out_as_it_went_in(&hub, script, &catalogue::over_mqtt(PYTHON_LARGEST_BYTES)).await
    })
}

#[test]
fn node_device_over_mqtt() -> Result<()> {
    node("mqtt", catalogue::over_mqtt(LARGEST_BYTES))
}

#[test]
fn node_device_over_websocket() -> Result<()> {
    node("mqtt-ws", catalogue::over_mqtt(LARGEST_BYTES))
}

#[test]
fn node_device_over_amqp() -> Result<()> {
    node("amqp", catalogue::over_amqp(AMQP_LARGEST_BYTES))
}

#[test]
fn node_device_over_amqp_websocket() -> Result<()> {
    node("amqp-ws", catalogue::over_amqp(AMQP_LARGEST_BYTES))
}

#[test]
fn node_device_over_https() -> Result<()> {
    node("http", catalogue::over_http())
}

#[test]
fn node_device_batch_over_https() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let script = Program::node("send.js", &hub)?.env("TRANSPORT", "http").env("BATCH", "1");
        comes_out_as_it_went_in(&hub, script, &catalogue::batched()).await
    })
}

fn node(transport: &'static str, samples: Vec<Sample>) -> Result<()> {
    isolated(async move || {
        let hub = Hub::start(&[DEVICE]).await?;
        comes_out_as_it_went_in(&hub, Program::node("send.js", &hub)?.env("TRANSPORT", transport), &samples).await
    })
}

/// Lets a device script send the samples while a back end reads; checks what it gets, live and afterwards.
async fn comes_out_as_it_went_in(hub: &Hub, script: Program, samples: &[Sample]) -> Result<()> {
    let identity = Rest::owner(hub)?.device(DEVICE).await?;
    let generation = identity["generationId"].as_str().context("no generationId")?;
    let messages = tempfile::NamedTempFile::new()?;
    std::fs::write(messages.path(), serde_json::to_vec(samples)?)?;
    let mut back_end = Events::open(hub, "from=latest").await?;

    let connection_string = hub.device(DEVICE)?.text;
    let told = script.env("IOTHUB_DEVICE_CONNECTION_STRING", connection_string).env("MESSAGES", messages.path()).story().await?;
    ensure!(told.last().is_some_and(|last| last["sent"] != Value::Null), "the script said {told:?}");

    let live = back_end.take(samples.len()).await?;
    for (sample, event) in samples.iter().zip(&live) {
        catalogue::check(sample, event, DEVICE, generation)?;
    }
    let kept = Events::all(hub).await?;
    check_numbers(&kept)?;
    ensure!(kept == live, "what is kept is not what came live");
    Ok(())
}
