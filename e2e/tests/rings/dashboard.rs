//! The dashboard, looked at with a browser while devices come, go, send and are sent to: each page's main job, with how long it took until it
//! was on the screen.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use e2e::commands::BackEnd;
use e2e::connection_string::ConnectionString;
use e2e::dashboard::{leaves, now_ms, pictures, say, seen, visitor};
use e2e::hub::{Hub, Options};
use e2e::mqtt::{Connect, Connection, DISCONNECT, events_topic};
use e2e::namespace::{HUB, isolated};
use e2e::program::{Actor, Program};
use e2e::rest::Rest;
use reqwest::Method;
use serde_json::{Value, json};

use crate::house::comes_to;

const DEVICE: &str = "pump-1";

/// A device with Azure's SDK for Node.js.
fn device(script: &str, hub: &Hub, id: &str, transport: &str) -> Result<Program> {
    Ok(Program::node(script, hub)?.env("IOTHUB_DEVICE_CONNECTION_STRING", hub.device(id)?.text).env("TRANSPORT", transport))
}

/// Comes and says goodbye.
async fn visits(hub: &Hub, id: &str) -> Result<()> {
    let mut connection = Connection::admitted(hub, id).await?;
    connection.send(&DISCONNECT).await?;
    connection.packets_until_closed().await.map(drop)
}

#[test]
fn who_looks_on_sees_a_killed_device_go_and_why() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let mut device = device("live.js", &hub, DEVICE, "mqtt")?.start()?;
        device.until("connected").await?;
        let mut person = visitor("gone.js", &hub)?.env("DEVICE", DEVICE).env("REASON", "connection reset").start()?;
        person.until("looking").await?;
        let killed = now_ms();
        device.kill9().await?;
        person.tell("killed").await?;
        for _ in ["device", "overview", "list"] {
            seen(&mut person, "gone", killed).await?;
        }
        leaves(person).await
    })
}

#[test]
fn a_command_from_the_page_is_followed_to_its_receipt() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let back_end = BackEnd::new(&hub)?;
        let mut device = device("commands.js", &hub, DEVICE, "mqtt")?.start()?;
        device.until("connected").await?;
        let mut person = visitor("command.js", &hub)?.env("DEVICE", DEVICE).env("MESSAGE", "open-1").start()?;
        let sent = person.until("sent").await?["at"].as_u64().context("when it was sent")?;
        for _ in ["device", "commands"] {
            seen(&mut person, "acknowledged", sent).await?;
        }
        let command = device.until("command").await?;
        ensure!(command["messageId"] == "open-1" && command["properties"]["level"] == "high", "{command}");
        person.until("waiting").await?;
        let receipt = back_end.receipts(1).await?.remove(0);
        ensure!(receipt["originalMessageId"] == "open-1" && receipt["statusCode"] == "Success", "{receipt}");
        let taken = now_ms();
        person.tell("taken").await?;
        seen(&mut person, "read", taken).await?;
        leaves(person).await
    })
}

#[test]
fn a_device_is_shut_out_on_its_page_which_says_how_fast_and_let_in_again() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let mut connection = Connection::admitted(&hub, DEVICE).await?;
        let mut person = visitor("disable.js", &hub)?.env("DEVICE", DEVICE).env("WHY", "stolen on Monday").start()?;
        let closed = person.until("closed").await?;
        say(&format!("{} On the screen after {} ms", closed["said"], closed["afterMs"]));
        ensure!(connection.packets_until_closed().await?.is_empty(), "the hub said something first");
        person.until("enabled").await?;
        ensure!(Rest::owner(&hub)?.device(DEVICE).await?["status"] == "enabled", "the page says that it is, and the registry does not");
        let back = now_ms();
        let _connection = Connection::admitted(&hub, DEVICE).await?;
        person.tell("back").await?;
        seen(&mut person, "back", back).await?;
        leaves(person).await
    })
}

#[test]
fn what_happens_while_the_line_is_cut_is_there_afterwards_exactly_once() -> Result<()> {
    isolated(async || {
        let ids: Vec<String> = (0..10).map(|number| format!("tank-{number}")).collect();
        let all: Vec<&str> = ["early"].into_iter().chain(ids.iter().map(String::as_str)).collect();
        let hub = Hub::start(&all).await?;
        let mut person = visitor("cut.js", &hub)?.env("SEEN", "early").env("DEVICES", ids.join(",")).env("OUT", pictures()?).start()?;
        person.until("looking").await?;
        visits(&hub, "early").await?;
        person.tell("early was there").await?;
        say(&person.until("down").await?.to_string());
        person.until("cut").await?;
        for id in &ids {
            visits(&hub, id).await?;
        }
        person.tell("they were there").await?;
        say(&person.until("back").await?.to_string());
        leaves(person).await
    })
}

#[test]
fn an_empty_hub_says_how_to_begin_and_counts_from_the_first_device_on() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[]).await?;
        let authority = std::fs::read_to_string(hub.ca_file())?;
        let person = visitor("overview.js", &hub)?.env("DEVICE", DEVICE).env("HOST", HUB).env("AUTHORITY", authority);
        let mut person = person.start()?;
        person.until("empty").await?;
        let credential = registered(&hub, DEVICE).await?;
        person.tell("registered").await?;
        person.until("registered").await?;
        let came = now_ms();
        let _connection = Connection::admitted_as(&hub, &Connect::device(&credential)).await?;
        person.tell("connected").await?;
        seen(&mut person, "connected", came).await?;
        person.until("refuse").await?;
        let wrong = Connect::device(&credential.with_key("AAECAwQFBgcICQoLDA0ODw=="));
        let refused = now_ms();
        let mut stranger = Connection::open(&hub).await?;
        stranger.send(&wrong.encode()).await?;
        ensure!(stranger.bytes_until_closed().await? == [0x20, 2, 0, 5], "a wrong key was let in");
        person.tell("refused").await?;
        seen(&mut person, "refused", refused).await?;
        leaves(person).await
    })
}

/// Makes a device, and answers its connection string.
async fn registered(hub: &Hub, id: &str) -> Result<ConnectionString> {
    let body = json!({ "deviceId": id }).to_string().into_bytes();
    let made = Rest::owner(hub)?.call(Method::PUT, &format!("/devices/{id}"), &[], body).await?.expect(200)?.json()?;
    let key = made["authentication"]["symmetricKey"]["primaryKey"].as_str().context("no key")?;
    ConnectionString::parse(&format!("HostName={HUB};DeviceId={id};SharedAccessKey={key}"))
}

#[test]
fn messages_flow_over_the_screen_filtered_and_paused() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE, "valve-1"]).await?;
        let mut connection = Connection::admitted(&hub, DEVICE).await?;
        let mut other = Connection::admitted(&hub, "valve-1").await?;
        let mut person = visitor("flow.js", &hub)?.env("DEVICE", DEVICE).env("OTHER", "valve-1").start()?;
        person.until("one").await?;
        let sent = now_ms();
        connection.publish(&events_topic(DEVICE), 1, br#"{"say":"one"}"#).await?;
        other.publish(&events_topic("valve-1"), 1, b"something else").await?;
        person.tell("sent").await?;
        seen(&mut person, "shown", sent).await?;
        person.until("two").await?;
        connection.publish(&format!("{}level=high", events_topic(DEVICE)), 2, br#"{"say":"two"}"#).await?;
        person.tell("sent").await?;
        leaves(person).await
    })
}

#[test]
fn many_devices_are_shut_out_at_once_after_their_number_was_typed() -> Result<()> {
    isolated(async || {
        let mut hub = Hub::start(&["crane-1", "crane-2", "crane-3", "dock-1"]).await?;
        let (tags, monitoring) = (json!({ "site": "north", "line": 7 }), json!({ "offlineAfter": "10m", "perDeviceMetrics": true }));
        let tag = |identity: &mut Value| (identity["tags"], identity["monitoring"]) = (tags.clone(), monitoring.clone());
        Rest::owner(&hub)?.change("crane-1", tag).await?;
        let person = visitor("bulk.js", &hub)?.env("PREFIX", "crane").env("COUNT", "3").env("OTHER", "dock-1");
        let mut person = person.start()?;
        let manifests = person.until("manifests").await?["text"].as_str().context("no manifests")?.to_owned();
        leaves(person).await?;
        let owner = Rest::api(&hub, hub.policy("iothubowner")?)?;
        let audit = owner.call(Method::GET, "/api/v1/audit?limit=1000", &[], Vec::new()).await?.expect(200)?.json()?;
        let entries = audit["entries"].as_array().context("no entries")?;
        for action in ["DeviceDisabled", "DeviceEnabled"] {
            let of = entries.iter().filter(|entry| entry["action"] == action);
            let ids: BTreeSet<&str> = of.filter_map(|entry| entry["deviceId"].as_str()).collect();
            ensure!(ids == BTreeSet::from(["crane-1", "crane-2", "crane-3"]), "{action}: {ids:?}");
        }
        // What was exported says all of it: a hub that knows nothing else has the same devices.
        hub.stop().await?;
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("devices.yaml"), &manifests)?;
        let hub = Options::default().argument("--devices").argument(&folder.path().display().to_string()).start().await?;
        let identity = Rest::owner(&hub)?.device("crane-1").await?;
        ensure!(identity["tags"] == tags && identity["monitoring"] == monitoring, "{identity}\n{manifests}");
        Ok(())
    })
}

#[test]
fn one_command_goes_to_many_and_a_rejected_one_goes_again() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE, "valve-1", "valve-2"]).await?;
        let back_end = BackEnd::new(&hub)?;
        let id = rejected(&back_end, &mut device("settle.js", &hub, DEVICE, "amqp")?.start()?).await?;
        let person =
            visitor("compose.js", &hub)?.env("DEVICES", "a-stranger,valve-1,valve-2").env("REJECTED", &id).env("CALLED", "no-thanks");
        let mut person = person.start()?;
        let again = person.until("again").await?;
        let history = back_end.history(again["id"].as_str().context("a command without an id")?).await?;
        ensure!(history["deviceId"] == DEVICE && history["id"] != id.as_str(), "{history}");
        leaves(person).await
    })
}

/// A command that the device was given and did not want.
async fn rejected(back_end: &BackEnd, device: &mut Actor) -> Result<String> {
    device.until("open").await?;
    let id = back_end.send(DEVICE, &[("iothub-messageid", "no-thanks")], b"{}").await?;
    device.tell("reject").await?;
    device.until("settled").await?;
    comes_to(back_end, &id, "Rejected").await?;
    device.kill9().await?;
    Ok(id)
}
