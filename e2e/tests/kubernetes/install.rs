//! From nothing to a device that talks: `helm install`, one IotHub, one Device, and unmodified Azure SDKs outside of the cluster.

use anyhow::{Context, Result, ensure};
use e2e::cluster::{DEVICE, IOT_HUB, on_cluster};
use e2e::commands::BackEnd;
use e2e::events::Events;
use e2e::program::Program;
use serde_json::json;

use crate::plant::{PLANT, Plant, device_manifest, hub_manifest, install};

#[test]
fn helm_brings_an_operator_a_hub_and_a_device_that_talks() -> Result<()> {
    on_cluster(async |namespace| {
        install(namespace, &[]).await?;
        namespace.apply(&hub_manifest(json!({})).to_string()).await?;
        namespace.apply(&device_manifest("pump", json!({ "tags": { "site": "north" } })).to_string()).await?;
        namespace.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "iothub/plant", "device/pump"]).output().await?;
        let plant = Plant::reached(namespace).await?;

        let mut back_end = Events::open(&plant.hub, "from=latest").await?;
        let connection_string = plant.credentials("pump").await?.text;
        let script = |name: &str| anyhow::Ok(Program::python(name, &plant.hub)?.env("IOTHUB_DEVICE_CONNECTION_STRING", &connection_string));
        let mut sender = script("live.py")?.start()?;
        sender.until("connected").await?;
        sender.tell("hello from outside").await?;
        sender.until("sent").await?;
        let event = back_end.next().await?.context("no event")?;
        ensure!(
            (event.device_id.as_str(), event.bytes()?.as_slice()) == ("pump", b"hello from outside".as_slice()),
            "it came as {event:?}"
        );
        sender.end().await?;

        let mut receiver = script("commands.py")?.start()?;
        receiver.until("subscribed").await?;
        let sent = BackEnd::new(&plant.hub)?.send("pump", &[], b"open").await?;
        let command = receiver.until("command").await?;
        ensure!(command["messageId"] == sent || command["bodyBase64"] == "b3Blbg==", "it got {command}");
        namespace.until_condition(DEVICE, "pump", "Connected", "True").await?;
        receiver.end().await?;

        let node = Program::node("live.js", &plant.hub)?.env("TRANSPORT", "amqp");
        let mut sender = node.env("IOTHUB_DEVICE_CONNECTION_STRING", &connection_string).start()?;
        sender.until("connected").await?;
        sender.tell("hello over AMQP").await?;
        sender.until("sent").await?;
        let event = back_end.next().await?.context("no event")?;
        ensure!(event.bytes()? == b"hello over AMQP", "it came as {event:?}");
        sender.end().await?;
        Ok(())
    })
}

#[test]
fn what_people_look_at_answers_their_question() -> Result<()> {
    on_cluster(async |namespace| {
        let plant = Plant::start(namespace).await?;
        plant.device("pump", json!({})).await?;
        let hub = namespace
            .until(IOT_HUB, PLANT, "counting its devices", |hub| hub.is_some_and(|hub| hub["status"]["devices"]["total"] == 1))
            .await?;
        ensure!(hub.is_some_and(|hub| hub["status"]["version"] == env!("CARGO_PKG_VERSION")), "the version is not there");
        for (kind, columns) in [
            ("iothubs", ["READY", "DEVICES", "CONNECTED", "VERSION", "AGE"].as_slice()),
            ("devices.mooring.dev", &["READY", "ENABLED", "AUTH", "CONNECTED", "LAST SEEN", "AGE"]),
        ] {
            let printed = String::from_utf8(namespace.kubectl(&["get", kind]).output().await?)?;
            let heading = printed.lines().next().unwrap_or_default();
            ensure!(columns.iter().all(|column| heading.contains(column)), "kubectl get {kind} prints {printed}");
        }
        let explained = String::from_utf8(namespace.kubectl(&["explain", "device.spec.rotation"]).output().await?)?;
        ensure!(explained.contains("requestedAt") && explained.contains("overlap"), "kubectl explain says {explained}");
        Ok(())
    })
}

#[test]
fn wrong_manifests_are_refused_with_what_to_do() -> Result<()> {
    on_cluster(async |namespace| {
        install(namespace, &[]).await?;
        for (manifest, words) in [
            (device_manifest("a", json!({ "deviceId": "a/b" })), "a device id: 1 to 128 ASCII letters, digits and -.+%_#*?!(),:;=@$'"),
            (
                device_manifest("a", json!({ "authentication": { "symmetricKey": {}, "x509CA": {} } })),
                "only one of symmetricKey, x509Thumbprint and x509CA: remove the others",
            ),
            (
                hub_manifest(json!({ "tls": { "selfSigned": {}, "secretRef": { "name": "x" } } })),
                "only one of selfSigned, secretRef and issuerRef: remove the others",
            ),
            (hub_manifest(json!({ "partitions": 33 })), "spec.partitions in body should be less than or equal to 32"),
            (hub_manifest(json!({ "hostnames": [] })), "spec.hostnames in body should have at least 1 items"),
        ] {
            let said = namespace.refused(&manifest.to_string()).await?;
            ensure!(said.contains(words), "{manifest} is refused with {said}");
        }
        namespace.apply(&device_manifest("b", json!({ "deviceId": "b-1" })).to_string()).await?;
        let said = namespace.refused(&device_manifest("b", json!({ "deviceId": "b-2" })).to_string()).await?;
        ensure!(
            said.contains("deviceId can't be changed, added or removed: a device of another name is another device"),
            "it is refused with {said}"
        );
        Ok(())
    })
}
