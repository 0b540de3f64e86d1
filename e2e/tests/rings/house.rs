//! A hub that people have passwords of, as an operator runs it, for those who look at its dashboard under a name.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use e2e::commands::BackEnd;
use e2e::dashboard::visitor;
use e2e::hub::{Hub, Options, Ready};
use e2e::namespace::HUB;
use e2e::patience::within;
use e2e::program::{Actor, Program};
use e2e::rest::{Rest, json_body};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::serve::{fleet, serve, until_ready, write_configuration};
use crate::sign_in::hash;

/// The device that is there from the beginning.
pub const DEVICE: &str = "pump-1";

/// What somebody may who may everything.
pub const ALL: &str = r#"["Read", "Bodies", "Commands", "Devices", "Secrets"]"#;

/// A hub that serves from a file, and how it is reached.
pub struct House {
    pub ready: Ready,
    server: Actor,
    /// The hub in dev mode that has made its certificate, and has ended.
    maker: Hub,
    folder: TempDir,
    configuration: PathBuf,
}

impl House {
    /// With people, each with their rights, whose passwords are theirs, and one device.
    pub async fn of(people: &[(&str, &str)]) -> Result<Self> {
        let mut maker = Options::default().start().await?;
        maker.stop().await?;
        let folder = tempfile::tempdir()?;
        let key = folder.path().join("key");
        let mut more = format!("[policies.service]\nprimary_key_file = \"{key}\"\nsecondary_key_file = \"{key}\"\n", key = key.display());
        for (name, rights) in people {
            let file = folder.path().join(name);
            std::fs::write(&file, hash(&password_of(name)).await?)?;
            writeln!(more, "[people.{name}]\npassword_hash_file = \"{}\"\nrights = {rights}", file.display())?;
        }
        let configuration = write_configuration(&maker, folder.path(), &more)?;
        let mut server = serve(&configuration)?.start()?;
        until_ready(&maker, &mut server).await?;
        let mut ready = maker.ready.clone();
        ready.dashboard = Some(format!("{}/dashboard/", ready.endpoints.api));
        let service = fleet()?.text.replace("SharedAccessKeyName=fleet", "SharedAccessKeyName=service");
        ready.connection_strings = [("service".to_owned(), service)].into();
        ready.devices.clear();
        let mut house = Self { ready, server, maker, folder, configuration };
        house.registers(DEVICE).await?;
        Ok(house)
    }

    /// One device more.
    pub async fn registers(&mut self, id: &str) -> Result<()> {
        let body = json_body(&json!({ "deviceId": id }));
        let made = self.registry()?.call(Method::PUT, &format!("/devices/{id}"), &[], body).await?.expect(200)?.json()?;
        let key = made["authentication"]["symmetricKey"]["primaryKey"].as_str().context("no key")?;
        self.ready.devices.insert(id.to_owned(), format!("HostName={HUB};DeviceId={id};SharedAccessKey={key}"));
        Ok(())
    }

    pub fn registry(&self) -> Result<Rest> {
        Rest::new(&self.ready, fleet()?)
    }

    /// A script of the person's.
    pub fn person(&self, script: &str, name: &str) -> Result<Program> {
        Ok(visitor(script, &self.ready)?.env("NAME", name).env("PASSWORD", password_of(name)).env("DEVICE", DEVICE))
    }

    pub fn device(&self, script: &str, id: &str, transport: &str) -> Result<Program> {
        let text = self.ready.device(id)?.text;
        Ok(Program::node(script, &self.ready)?.env("IOTHUB_DEVICE_CONNECTION_STRING", text).env("TRANSPORT", transport))
    }

    /// What the audit has of this action, the latest first.
    pub async fn audited(&self, action: &str) -> Result<Vec<Value>> {
        audited(&Rest::api(&self.ready, fleet()?)?, action).await
    }

    /// From now on this is what the person signs in with, and nobody is signed in with what it was before.
    pub async fn changes_password(&self, name: &str, password: &str) -> Result<()> {
        std::fs::write(self.folder.path().join(name), hash(password).await?)?;
        self.server.hang_up()
    }

    /// SIGKILL, and nobody is there until [`Self::comes_back`].
    pub async fn is_killed(&mut self) -> Result<()> {
        self.server.kill9().await
    }

    pub async fn comes_back(&mut self) -> Result<()> {
        self.server = serve(&self.configuration)?.start()?;
        until_ready(&self.maker, &mut self.server).await
    }
}

pub fn password_of(name: &str) -> String {
    format!("{name}'s own")
}

/// What the audit has of this action, the latest first, as whoever may read it is told.
pub async fn audited(api: &Rest, action: &str) -> Result<Vec<Value>> {
    let audit = api.call(Method::GET, "/api/v1/audit?limit=1000", &[], Vec::new()).await?.expect(200)?.json()?;
    let entries = audit["entries"].as_array().context("no entries")?;
    Ok(entries.iter().filter(|entry| entry["action"] == action).cloned().collect())
}

/// Waits until the command has come to this state.
pub async fn comes_to(back_end: &BackEnd, id: &str, state: &str) -> Result<()> {
    within(state, async {
        while back_end.history(id).await?["state"] != state {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    })
    .await?
}
