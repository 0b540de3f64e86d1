//! Running it: readiness, health, metrics, a graceful end, ports that may not be bound.

use anyhow::{Result, ensure};
use e2e::events::Events;
use e2e::hub::{Hub, Options};
use e2e::mqtt::{Connection, events_topic};
use e2e::namespace::{HUB, isolated};
use e2e::rest::{self, Rest};

const DEVICE: &str = "fan-1";

#[test]
fn one_document_tells_all_when_it_is_ready() -> Result<()> {
    isolated(async || {
        let mut hub = Hub::start(&[DEVICE]).await?;
        let ready = hub.ready.clone();
        ensure!(ready.host_name == HUB, "{ready:?}");
        ensure!(ready.endpoints.mqtt == format!("mqtts://{HUB}:8883"), "{ready:?}");
        ensure!(ready.endpoints.https.as_deref() == Some(&format!("https://{HUB}")), "{ready:?}");
        ensure!(ready.endpoints.api == format!("https://{HUB}:8443"), "{ready:?}");
        ensure!(ready.endpoints.metrics == format!("https://{HUB}:9464"), "{ready:?}");
        for policy in ["iothubowner", "service", "device", "registryRead", "registryReadWrite"] {
            hub.policy(policy)?;
        }
        let (status, rest) = hub.stop().await?;
        ensure!(status.success(), "it ended with {status}");
        ensure!(rest.trim().is_empty(), "more than one document on standard output: {rest}");
        Ok(())
    })
}

#[test]
fn health_and_metrics_are_served_over_tls() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let mut connection = Connection::admitted(&hub, DEVICE).await?;
        connection.publish(&events_topic(DEVICE), 1, b"x").await?;
        let client = rest::client(&hub)?;
        for path in ["healthz", "readyz"] {
            let answer = client.get(format!("{}/{path}", hub.ready.endpoints.metrics)).send().await?;
            ensure!(answer.status() == 200, "{path}: {}", answer.status());
        }
        ensure!(client.get(format!("{}/healthz", hub.ready.endpoints.api)).send().await?.status() == 200);
        let metrics = client.get(format!("{}/metrics", hub.ready.endpoints.metrics)).send().await?.text().await?;
        ensure!(!metrics.contains(DEVICE) && !metrics.contains("SharedAccess"), "an id or a secret among the metrics");
        ensure!(metrics.lines().any(|line| !line.starts_with('#') && line.ends_with(" 1")), "{metrics}");
        Ok(())
    })
}

/// SIGTERM: connections are closed, all that was acknowledged is there after the next start, and the identities are the same.
#[test]
fn a_graceful_end_keeps_everything() -> Result<()> {
    isolated(async || {
        let mut hub = Hub::start(&[DEVICE]).await?;
        let before = Rest::owner(&hub)?.device(DEVICE).await?;
        let mut connection = Connection::admitted(&hub, DEVICE).await?;
        connection.publish(&events_topic(DEVICE), 1, b"kept").await?;
        let (status, _) = hub.stop().await?;
        ensure!(status.success(), "it ended with {status}");
        ensure!(connection.packets_until_closed().await?.is_empty());

        hub.restart().await?;
        let after = Rest::owner(&hub)?.device(DEVICE).await?;
        ensure!(
            before["generationId"] == after["generationId"] && before["authentication"] == after["authentication"],
            "{before}\n{after}"
        );
        ensure!(after["connectionState"] == "Disconnected", "{after}");
        let mut connection = Connection::admitted(&hub, DEVICE).await?;
        connection.publish(&events_topic(DEVICE), 1, b"and more").await?;
        let kept = Events::all(&hub).await?;
        ensure!(kept.len() == 2 && kept[1].sequence_number == 1, "{kept:?}");
        Ok(())
    })
}

/// Without the right to bind 443 the hub says so and serves the rest; the registry is on 8443 too.
#[test]
fn port_443_is_left_out_where_it_may_not_be_bound() -> Result<()> {
    isolated(async || {
        let unprivileged = ["setpriv", "--inh-caps=-net_bind_service", "--bounding-set=-net_bind_service", "--"];
        let hub = Options::default().devices(&[DEVICE]).started_by(&unprivileged).start().await?;
        ensure!(hub.ready.endpoints.https.is_none(), "{:?}", hub.ready.endpoints);
        ensure!(hub.log().contains("443"), "no word of port 443:\n{}", hub.log());
        let mut connection = Connection::admitted(&hub, DEVICE).await?;
        connection.publish(&events_topic(DEVICE), 1, b"x").await?;
        ensure!(Rest::owner(&hub)?.device(DEVICE).await?["deviceId"] == DEVICE);
        Ok(())
    })
}
