//! What somebody does on the dashboard to one thing at a time: commands are sent again, a device is deleted, its keys are shown.

use anyhow::{Context, Result, ensure};
use e2e::commands::BackEnd;
use e2e::dashboard::{leaves, say, visitor};
use e2e::hub::Options;
use e2e::mqtt::Connection;
use e2e::namespace::isolated;
use e2e::patience::within;
use e2e::rest::{Rest, json_body};
use reqwest::Method;
use serde_json::{Value, json};

use crate::commands_http::in_seconds;
use crate::house::{ALL, DEVICE, House, audited, comes_to, password_of};

/// A device that is not there when it is sent something.
const AWAY: &str = "valve-1";

#[test]
fn commands_that_ended_without_effect_go_again_one_and_all() -> Result<()> {
    isolated(async || {
        let mut house = House::of(&[("ada", ALL)]).await?;
        house.registers(AWAY).await?;
        let back_end = BackEnd::new(&house.ready)?;
        rejected(&house, &back_end, &["first", "second"]).await?;
        let soon = in_seconds(2).await?;
        let headers = [("iothub-messageid", "late"), ("iothub-ack", "full"), ("iothub-expiry", soon.as_str())];
        let late = back_end.send(AWAY, &headers, b"late").await?;
        comes_to(&back_end, &late, "Expired").await?;

        let mut pump = house.device("commands.js", DEVICE, "mqtt")?.start()?;
        pump.until("connected").await?;
        let mut person = house.person("again.js", "ada")?.env("FIRST", "first").env("REST", "second,late").start()?;
        let one = person.until("one").await?;
        let again = pump.until("command").await?;
        ensure!(again["messageId"] == "first" && again["bodyBase64"] == "Zmlyc3Q=", "{again}");
        comes_to(&back_end, one["id"].as_str().context("no id")?, "Completed").await?;
        person.tell("it is there").await?;
        say(&person.until("all").await?["said"].to_string());
        let again = pump.until("command").await?;
        ensure!(again["messageId"] == "second" && again["bodyBase64"] == "c2Vjb25k", "{again}");
        let mut valve = house.device("commands.js", AWAY, "mqtt")?.start()?;
        let again = valve.until("command").await?;
        ensure!(again["messageId"] == "late" && again["bodyBase64"] == "bGF0ZQ==", "{again}");
        leaves(person).await?;

        let mut to: Vec<String> = Vec::new();
        for entry in house.audited("CommandSentAgain").await? {
            ensure!(entry["who"] == ada() && entry["outcome"] == "Done" && entry["door"] == "dashboard", "{entry}");
            to.push(entry["deviceId"].as_str().context("to nobody")?.to_owned());
        }
        to.sort();
        ensure!(to == [DEVICE, DEVICE, AWAY], "{to:?}");
        // Each was sent twice in all, and not once more.
        for (device, sent) in [(DEVICE, 4), (AWAY, 2)] {
            let path = format!("/api/v1/devices/{device}/commands?limit=100");
            let service = Rest::api(&house.ready, house.ready.policy("service")?)?;
            let page = service.call(Method::GET, &path, &[], Vec::new()).await?.expect(200)?.json()?;
            ensure!(page["commands"].as_array().is_some_and(|commands| commands.len() == sent), "{page}");
        }
        Ok(())
    })
}

/// How the audit names whoever signed in with ada's password.
fn ada() -> Value {
    json!({ "kind": "person", "name": "ada", "method": "password" })
}

/// The device is given these commands, and wants none of them.
async fn rejected(house: &House, back_end: &BackEnd, called: &[&str]) -> Result<()> {
    let mut device = house.device("settle.js", DEVICE, "amqp")?.start()?;
    device.until("open").await?;
    for name in called {
        let id = back_end.send(DEVICE, &[("iothub-messageid", name), ("iothub-ack", "full")], name.as_bytes()).await?;
        device.tell("reject").await?;
        comes_to(back_end, &id, "Rejected").await?;
    }
    device.kill9().await
}

#[test]
fn a_device_is_deleted_on_its_page_and_one_of_a_manifest_is_not() -> Result<()> {
    isolated(async || {
        let folder = tempfile::tempdir()?;
        // The hub does not believe a folder that is empty all at once.
        let manifests = ["fan", "belt"].map(|name| (name, folder.path().join(format!("{name}.yaml"))));
        for (name, file) in &manifests {
            std::fs::write(file, format!("apiVersion: mooring.dev/v1alpha1\nkind: Device\nmetadata:\n  name: {name}\nspec: {{}}\n"))?;
        }
        let hub = Options::default().argument("--devices").argument(&folder.path().display().to_string()).start().await?;
        let owner = Rest::owner(&hub)?;
        let made = owner.call(Method::PUT, "/devices/gate", &[], json_body(&json!({ "deviceId": "gate" }))).await?.expect(200)?.json()?;
        let key = made["authentication"]["symmetricKey"]["primaryKey"].as_str().context("no key")?;
        let mut ready = hub.ready.clone();
        ready.devices.insert("gate".to_owned(), format!("HostName={};DeviceId=gate;SharedAccessKey={key}", hub.host_name));
        let mut connection = Connection::admitted(&ready, "gate").await?;

        let person = visitor("delete.js", &hub)?.env("DEVICE", "gate").env("MANAGED", "fan").env("WHY", "scrapped on Friday");
        let mut person = person.start()?;
        person.until("deleted").await?;
        ensure!(connection.packets_until_closed().await?.is_empty(), "the hub said something first");
        ensure!(status(&owner, "gate").await? == 404, "the page says that it is gone, and the registry does not");
        let refused = person.until("refused").await?["said"].to_string();
        say(&refused);
        ensure!(refused.contains("manifest"), "{refused}");
        ensure!(owner.device("fan").await?["status"] == "enabled", "what a manifest speaks for is gone");
        std::fs::remove_file(&manifests[0].1)?;
        within("the hub to follow the folder", async {
            while status(&owner, "fan").await? != 404 {
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        })
        .await??;
        person.tell("the manifest is gone").await?;
        leaves(person).await?;

        let entries = audited(&Rest::api(&hub, hub.policy("iothubowner")?)?, "DeviceDeleted").await?;
        let of = |id: &str| entries.iter().filter(|entry| entry["deviceId"] == id && entry["outcome"] == "Done").collect::<Vec<_>>();
        let [gate] = of("gate")[..] else { anyhow::bail!("{entries:?}") };
        ensure!(gate["who"]["kind"] == "person" && gate["door"] == "dashboard" && gate["detail"] == "scrapped on Friday", "{gate}");
        let [fan] = of("fan")[..] else { anyhow::bail!("{entries:?}") };
        ensure!(fan["who"]["kind"] == "manifest", "{fan}");
        Ok(())
    })
}

async fn status(owner: &Rest, id: &str) -> Result<u16> {
    Ok(owner.call(Method::GET, &format!("/devices/{id}"), &[], Vec::new()).await?.status.as_u16())
}

#[test]
fn keys_are_shown_for_a_while_to_those_who_may_see_them() -> Result<()> {
    isolated(async || {
        let house = House::of(&[("ada", ALL), ("bob", r#"["Read", "Bodies", "Commands", "Devices"]"#)]).await?;
        let device = house.ready.device(DEVICE)?;
        let person = house.person("keys.js", "ada")?.env("STRING", &device.text).env("KEY", &device.key);
        let mut person = person.env("OTHER", "bob").env("OTHER_PASSWORD", password_of("bob")).start()?;
        let times = person.until("seen").await?["times"].as_u64().context("how often")?;
        let refused = person.until("refused").await?;
        ensure!(refused["status"] == 403 && refused["said"].as_str().is_some_and(|said| said.contains("needs the right")), "{refused}");
        leaves(person).await?;
        let (done, others): (Vec<_>, Vec<_>) =
            house.audited("SecretsShown").await?.into_iter().partition(|entry| entry["outcome"] == "Done");
        ensure!(u64::try_from(done.len())? == times && done.iter().all(|entry| entry["who"] == ada()), "{done:?}");
        ensure!(others.len() == 1 && others[0]["who"]["name"] == "bob" && others[0]["outcome"] == "Refused", "{others:?}");
        for entry in done.iter().chain(&others) {
            ensure!(entry["deviceId"] == DEVICE && !entry.to_string().contains(&device.key), "{entry}");
        }
        Ok(())
    })
}
