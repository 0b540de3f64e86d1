//! What `make run` shows: every device of a hub in dev mode, sending a reading a second with rumqttc, somebody else's MQTT client.
//!
//! `example-devices DATA/hub.json`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::connection_string::ConnectionString;
use e2e::hub::Ready;
use e2e::mqtt::events_topic;
use e2e::tls;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS, TlsConfiguration, Transport};
use serde_json::json;

/// Between two readings of a device.
const PAUSE: Duration = Duration::from_secs(1);

/// Before a device whose connection broke tries again.
const BEFORE_RECONNECT: Duration = Duration::from_secs(2);

/// The client's queue: readings that wait for a connection; a device has one reading under way at a time.
const QUEUED_MAX: usize = 8;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let file: PathBuf = std::env::args_os().nth(1).context("usage: example-devices DATA/hub.json")?.into();
    let text = std::fs::read(&file).with_context(|| format!("no hub has written {}", file.display()))?;
    let ready: Ready = serde_json::from_slice(&text)?;
    let mut devices = tokio::task::JoinSet::new();
    for (text, number) in ready.devices.values().zip(0..) {
        devices.spawn(send(ConnectionString::parse(text)?, ready.ca_file.clone(), number));
    }
    devices.join_next().await.context("the hub has no devices: start it with --device")??
}

/// One device, for ever.
async fn send(credential: ConnectionString, ca_file: PathBuf, number: u32) -> Result<()> {
    loop {
        let mut options = MqttOptions::new(credential.device(), credential.host.clone(), 8883);
        options.set_credentials(credential.user_name(), credential.token());
        options.set_transport(Transport::Tls(TlsConfiguration::Rustls(tls::trusting(&ca_file)?.into())));
        let (client, mut connection) = AsyncClient::new(options, QUEUED_MAX);
        let readings = readings(&client, credential.device(), number);
        let answers = async {
            loop {
                match connection.poll().await {
                    Ok(Event::Incoming(Packet::Disconnect)) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        };
        tokio::select! {
            outcome = readings => outcome?,
            () = answers => tokio::time::sleep(BEFORE_RECONNECT).await,
        }
    }
}

/// A temperature that goes up and down, with what a back end needs to read it.
async fn readings(client: &AsyncClient, device: &str, number: u32) -> Result<()> {
    let mut pause = tokio::time::interval(PAUSE);
    let topic = |level| format!("{}level={level}&%24.ct=application%2Fjson&%24.ce=utf-8", events_topic(device));
    for step in number.. {
        pause.tick().await;
        let temperature = 20.0 + f64::from(number) + 4.0 * (f64::from(step) / 5.0).sin();
        let level = if temperature > 23.0 { "high" } else { "normal" };
        let payload = json!({"temperature": (temperature * 10.0).round() / 10.0, "reading": step - number});
        client.publish(topic(level), QoS::AtLeastOnce, false, payload.to_string()).await?;
    }
    Ok(())
}
