//! The dashboard and who looks at it, on a hub that people have passwords of: whose session ends, who may only look, and what they find when the
//! hub itself was gone.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use e2e::commands::BackEnd;
use e2e::dashboard::{leaves, now_ms, say, seen, visitor};
use e2e::hub::{Hub, Options, Ready};
use e2e::mqtt::{Connection, events_topic};
use e2e::namespace::{HUB, isolated};
use e2e::patience::within;
use e2e::program::{Actor, Program};
use e2e::rest::Rest;
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::serve::{fleet, serve, until_ready, write_configuration};
use crate::sign_in::hash;

const DEVICE: &str = "pump-1";

/// What somebody may who may everything.
const ALL: &str = r#"["Read", "Bodies", "Commands", "Devices", "Secrets"]"#;

/// A hub that serves from a file, and how it is reached.
struct House {
    ready: Ready,
    server: Actor,
    /// The hub in dev mode that has made its certificate, and has ended.
    maker: Hub,
    folder: TempDir,
    configuration: PathBuf,
}

impl House {
    /// With one person, whose password is theirs, and one device.
    async fn of(name: &str, rights: &str) -> Result<Self> {
        let mut maker = Options::default().start().await?;
        maker.stop().await?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join(name);
        std::fs::write(&file, hash(&password_of(name)).await?)?;
        let key = folder.path().join("key");
        let more = format!(
            "[people.{name}]\npassword_hash_file = \"{}\"\nrights = {rights}\n\
             [policies.service]\nprimary_key_file = \"{key}\"\nsecondary_key_file = \"{key}\"",
            file.display(),
            key = key.display(),
        );
        let configuration = write_configuration(&maker, folder.path(), &more)?;
        let mut server = serve(&configuration)?.start()?;
        until_ready(&maker, &mut server).await?;
        let mut ready = maker.ready.clone();
        ready.dashboard = Some(format!("{}/dashboard/", ready.endpoints.api));
        let service = fleet()?.text.replace("SharedAccessKeyName=fleet", "SharedAccessKeyName=service");
        ready.connection_strings = [("service".to_owned(), service)].into();
        let body = json!({ "deviceId": DEVICE }).to_string().into_bytes();
        let registry = Rest::new(&ready, fleet()?)?;
        let made = registry.call(Method::PUT, &format!("/devices/{DEVICE}"), &[], body).await?.expect(200)?.json()?;
        let key = made["authentication"]["symmetricKey"]["primaryKey"].as_str().context("no key")?;
        ready.devices = [(DEVICE.to_owned(), format!("HostName={HUB};DeviceId={DEVICE};SharedAccessKey={key}"))].into();
        Ok(Self { ready, server, maker, folder, configuration })
    }

    /// A script of the person's.
    fn person(&self, script: &str, name: &str) -> Result<Program> {
        Ok(visitor(script, &self.ready)?.env("NAME", name).env("PASSWORD", password_of(name)).env("DEVICE", DEVICE))
    }

    fn device(&self, script: &str, transport: &str) -> Result<Program> {
        let text = self.ready.device(DEVICE)?.text;
        Ok(Program::node(script, &self.ready)?.env("IOTHUB_DEVICE_CONNECTION_STRING", text).env("TRANSPORT", transport))
    }

    /// SIGKILL, and nobody is there until [`Self::comes_back`].
    async fn is_killed(&mut self) -> Result<()> {
        self.server.kill9().await
    }

    async fn comes_back(&mut self) -> Result<()> {
        self.server = serve(&self.configuration)?.start()?;
        until_ready(&self.maker, &mut self.server).await
    }
}

fn password_of(name: &str) -> String {
    format!("{name}'s own")
}

/// Sends a command, and answers its id.
async fn sends(back_end: &BackEnd, called: &str) -> Result<String> {
    back_end.send(DEVICE, &[("iothub-messageid", called), ("iothub-ack", "full")], b"{}").await
}

async fn comes_to(back_end: &BackEnd, id: &str, state: &str) -> Result<()> {
    within(state, async {
        while back_end.history(id).await?["state"] != state {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    })
    .await?
}

#[test]
fn the_hub_is_killed_and_the_page_misses_nothing() -> Result<()> {
    isolated(async || {
        let mut house = House::of("ada", ALL).await?;
        let back_end = BackEnd::new(&house.ready)?;
        let mut device = house.device("commands.js", "mqtt")?.start()?;
        device.until("connected").await?;
        let before = sends(&back_end, "m-before").await?;
        comes_to(&back_end, &before, "Completed").await?;

        let mut person = house.person("restart.js", "ada")?.env("MESSAGES", "m-before,m-after").start()?;
        person.until("looking").await?;
        let killed = now_ms();
        house.is_killed().await?;
        person.tell("killed").await?;
        let down = seen(&mut person, "down", killed).await?;
        say(&down["said"].to_string());
        person.until("killed").await?;

        device.kill9().await?;
        house.comes_back().await?;
        let mut device = house.device("commands.js", "mqtt")?.start()?;
        device.until("connected").await?;
        let after = sends(&back_end, "m-after").await?;
        comes_to(&back_end, &after, "Completed").await?;
        let back = now_ms();
        person.tell("back").await?;
        seen(&mut person, "asked", back).await?;
        say(&person.until("facts").await?["facts"].to_string());
        leaves(person).await
    })
}

#[test]
fn a_session_that_has_ended_leads_to_the_sign_in_page_and_back() -> Result<()> {
    isolated(async || {
        let house = House::of("ada", ALL).await?;
        let mut person = house.person("session.js", "ada")?.env("PATH_OF_PAGE", "/devices?prefix=pump&sort=id").start()?;
        let refused = person.until("refused").await?;
        ensure!(!refused["said"].as_str().unwrap_or_default().is_empty(), "{refused}");
        person.until("signed in").await?;
        // Whoever was signed in with the password before is signed out.
        std::fs::write(house.folder.path().join("ada"), hash("another").await?)?;
        let changed = now_ms();
        house.server.hang_up()?;
        person.tell("another").await?;
        seen(&mut person, "asked", changed).await?;
        leaves(person).await
    })
}

#[test]
fn who_may_look_can_not_act_by_the_page_nor_by_the_api_behind_it() -> Result<()> {
    isolated(async || {
        let house = House::of("bob", r#"["Read"]"#).await?;
        let back_end = BackEnd::new(&house.ready)?;
        let mut device = house.device("settle.js", "amqp")?.start()?;
        device.until("open").await?;
        let id = sends(&back_end, "no-thanks").await?;
        device.tell("reject").await?;
        device.until("settled").await?;
        comes_to(&back_end, &id, "Rejected").await?;
        device.kill9().await?;
        let mut connection = Connection::admitted(&house.ready, DEVICE).await?;
        connection.publish(&events_topic(DEVICE), 1, b"a secret").await?;

        let mut person = house.person("viewer.js", "bob")?.env("COMMAND", &id).start()?;
        let mut asked = 0;
        loop {
            let told = person.next().await?;
            if told["event"] == "end" {
                break;
            }
            ensure!(told["status"] == 403 && told["said"].as_str().is_some_and(|said| said.contains("needs the right")), "{told}");
            asked += 1;
        }
        ensure!(asked == 8, "{asked} requests");
        ensure!(person.end().await?.success(), "{}", person.standard_error());
        let registry = Rest::new(&house.ready, fleet()?)?;
        let device = registry.device(DEVICE).await?;
        let key = device["authentication"]["symmetricKey"]["primaryKey"].as_str().context("no key")?;
        ensure!(device["status"] == "enabled" && key == house.ready.device(DEVICE)?.key, "{device}");
        Ok(())
    })
}
