//! mosquitto's own clients: any MQTT client will do.

use anyhow::{Result, ensure};
use e2e::connection_string::ConnectionString;
use e2e::events::Events;
use e2e::hub::Hub;
use e2e::mqtt::events_topic;
use e2e::namespace::{HUB, isolated};
use e2e::program::Program;

const DEVICE: &str = "valve-1";

#[test]
fn mosquitto_pub_sends() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let device = hub.device(DEVICE)?;
        let topic = format!("{}level=high&%24.ct=text%2Fplain&%24.ce=utf-8", events_topic(DEVICE));
        client("mosquitto_pub", &hub, &device).args(["-q", "1", "-t", &topic, "-m", "open"]).output().await?;
        client("mosquitto_pub", &hub, &device).args(["-q", "0", "-t", &events_topic(DEVICE), "-m", "at most once"]).output().await?;
        client("mosquitto_pub", &hub, &device).args(["-q", "1", "-t", &events_topic(DEVICE), "-n"]).output().await?;

        let mut back_end = Events::open(&hub, "from=earliest").await?;
        let [open, once, empty] = back_end.take(3).await?.try_into().expect("three events");
        ensure!(open.bytes()? == b"open" && open.property("level") == "high" && open.system("content-type") == "text/plain", "{open:?}");
        ensure!(once.bytes()? == b"at most once", "{once:?}");
        ensure!(empty.bytes()?.is_empty(), "{empty:?}");
        Ok(())
    })
}

#[test]
fn mosquitto_sub_subscribes_to_its_commands() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let filter = format!("devices/{DEVICE}/messages/devicebound/#");
        let sub = |filter: &str, qos: &str| -> Result<Program> {
            Ok(client("mosquitto_sub", &hub, &hub.device(DEVICE)?).args(["-E", "-d", "-q", qos, "-t", filter]))
        };
        let granted = sub(&filter, "1")?.outcome().await?;
        let said = String::from_utf8_lossy(&granted.stdout).into_owned();
        ensure!(granted.status.success() && said.contains("Subscribed (mid: 1): 1"), "{said}{}", granted.stderr);
        // MQTT has it that a hub may grant less than was asked for; IoT Hub grants at most QoS 1.
        let granted = sub(&filter, "2")?.outcome().await?;
        let said = String::from_utf8_lossy(&granted.stdout).into_owned();
        ensure!(said.contains("Subscribed (mid: 1): 1"), "{said}{}", granted.stderr);
        let refused = sub("devices/another/messages/devicebound/#", "1")?.outcome().await?;
        let said = String::from_utf8_lossy(&refused.stdout).into_owned();
        ensure!(said.contains("Subscribed (mid: 1): 128"), "{said}{}", refused.stderr);
        Ok(())
    })
}

#[test]
fn mosquitto_pub_is_refused() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let wrong = hub.device(DEVICE)?.with_key("AAECAwQFBgcICQoLDA0ODw==");
        let refused = client("mosquitto_pub", &hub, &wrong).args(["-q", "1", "-t", &events_topic(DEVICE), "-m", "x"]).outcome().await?;
        // mosquitto_pub's own words for CONNACK 5.
        ensure!(!refused.status.success() && refused.stderr.contains("not authorised"), "{} {}", refused.status, refused.stderr);
        Ok(())
    })
}

fn client(program: &str, hub: &Hub, device: &ConnectionString) -> Program {
    Program::named(program)
        .args(["-h", HUB, "-p", "8883", "-V", "mqttv311", "-i", device.device(), "-u", &device.user_name(), "-P", &device.token()])
        .arg("--cafile")
        .arg(hub.ca_file())
}
