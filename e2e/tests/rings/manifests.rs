//! A folder of device manifests: what is written there happens, and what happens to the folder never costs a device.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::connection_string::ConnectionString;
use e2e::hub::{Hub, Options};
use e2e::mqtt::{Connect, Connection, events_topic};
use e2e::namespace::isolated;
use e2e::patience::within;
use e2e::program::Program;
use e2e::rest::Rest;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder of manifests, and the hub that follows it.
struct Story {
    hub: Hub,
    owner: Rest,
    disk: TempDir,
}

impl Story {
    async fn start(files: &[(&str, String)]) -> Result<Self> {
        let disk = TempDir::with_prefix("mooring-e2e-devices-")?;
        let folder = disk.path().join("devices");
        std::fs::create_dir(&folder)?;
        for (file, text) in files {
            std::fs::write(folder.join(file), text)?;
        }
        let hub = Options::default().argument("--devices").argument(&folder.display().to_string()).start().await?;
        let owner = Rest::owner(&hub)?;
        Ok(Self { hub, owner, disk })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.disk.path().join("devices").join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.file(name), text)?)
    }

    /// Asks for the device until it is as the story wants it; `None` is one that is not there.
    async fn until(&self, id: &str, what: &str, is_so: impl Fn(Option<&Value>) -> bool) -> Result<()> {
        let asking = async {
            loop {
                let answer = self.owner.call(reqwest::Method::GET, &format!("/devices/{id}"), &[], Vec::new()).await?;
                let device = if answer.status == 404 { None } else { Some(answer.expect(200)?.json()?) };
                if is_so(device.as_ref()) {
                    return anyhow::Ok(());
                }
                tokio::task::yield_now().await;
            }
        };
        within(&format!("device {id} to be {what}"), asking).await?
    }

    /// Waits for the hub's word.
    async fn until_said(&self, words: &str) -> Result<()> {
        let listening = async {
            while !self.hub.log().contains(words) {
                tokio::task::yield_now().await;
            }
        };
        within(&format!("the hub to say {words:?}"), listening).await
    }

    /// The connection string that the hub has written.
    fn credentials(&self, id: &str) -> Result<ConnectionString> {
        ConnectionString::parse(read(&self.hub.data().join("credentials").join(id))?.trim())
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn device(name: &str, spec: &str) -> String {
    format!("apiVersion: mooring.dev/v1alpha1\nkind: Device\nmetadata:\n  name: {name}\nspec: {{{spec}}}\n")
}

fn is_there(device: Option<&Value>) -> bool {
    device.is_some()
}

fn is_gone(device: Option<&Value>) -> bool {
    device.is_none()
}

#[test]
fn manifests_become_devices_that_connect_and_are_shut_out() -> Result<()> {
    isolated(async || {
        let two = format!("{}---\n{}", device("pump", "tags: {site: north}"), device("valve", "enabled: false"));
        let story = Story::start(&[("a.yaml", two), ("b.yaml", device("fan", ""))]).await?;
        for (id, status) in [("pump", "enabled"), ("valve", "disabled"), ("fan", "enabled")] {
            ensure!(story.owner.device(id).await?["status"] == status, "{id} is not {status}");
        }
        let script = Program::python("live.py", &story.hub)?;
        let mut pump = script.env("IOTHUB_DEVICE_CONNECTION_STRING", story.credentials("pump")?.text).start()?;
        pump.until("connected").await?;
        pump.tell("hello").await?;
        pump.until("sent").await?;
        let mut fan = Connection::admitted_as(&story.hub, &Connect::device(&story.credentials("fan")?)).await?;
        story.write("a.yaml", &device("pump", "enabled: false, statusReason: repair"))?;
        pump.until("disconnected").await?;
        story.until("valve", "gone", is_gone).await?;
        fan.publish(&events_topic("fan"), 1, b"undisturbed").await?;
        ensure!(story.owner.device("pump").await?["statusReason"] == "repair", "the reason is not there");
        Ok(())
    })
}

#[test]
fn manifests_half_written_doubled_and_renamed_lose_nothing() -> Result<()> {
    isolated(async || {
        let story = Story::start(&[("b.yaml", device("pump", "")), ("c.yaml", device("fan", ""))]).await?;
        let (before, credentials) = (story.owner.device("pump").await?, story.credentials("pump")?.text);
        story.write("b.yaml", "apiVersion: mooring.dev/v1alpha1\nkind: Device\nmetadata: {na")?;
        story.until_said("b.yaml: line ").await?;
        story.write("b.yaml", &device("pump", ""))?;
        story.until_said("b.yaml: what was wrong is over").await?;
        story.write("d.yaml", &device("pump", "enabled: false"))?;
        story.until_said("d.yaml, line 1: DeviceIdConflict").await?;
        std::fs::remove_file(story.file("d.yaml"))?;
        std::fs::rename(story.file("b.yaml"), story.file("renamed.yml"))?;
        // What comes after it in the folder has been seen, so the renaming has been, too.
        story.write("e.yaml", &device("last", ""))?;
        story.until("last", "there", is_there).await?;
        let after = story.owner.device("pump").await?;
        ensure!(after["etag"] == before["etag"] && after["generationId"] == before["generationId"], "{before} became {after}");
        ensure!(story.credentials("pump")?.text == credentials, "the credentials changed");
        Ok(())
    })
}

#[test]
fn manifests_that_go_take_what_they_say_and_a_vanished_folder_nothing() -> Result<()> {
    isolated(async || {
        let files =
            [("a.yaml", device("deleted", "")), ("b.yaml", device("retained", "deletionPolicy: Retain")), ("c.yaml", device("stays", ""))];
        let mut story = Story::start(&files).await?;
        std::fs::remove_file(story.file("a.yaml"))?;
        std::fs::remove_file(story.file("b.yaml"))?;
        story.until("deleted", "gone", is_gone).await?;
        story.until("retained", "unmanaged", |device| device.is_some_and(|device| device["managedBy"].is_null())).await?;
        let before = story.owner.device("stays").await?;

        let away = story.disk.path().join("away");
        std::fs::rename(story.disk.path().join("devices"), &away)?;
        story.until_said("everything stays as it is").await?;
        std::fs::create_dir(story.disk.path().join("devices"))?;
        story.until_said("1 device has no manifest any more and stays all the same").await?;
        story.hub.stop().await?;
        story.hub.restart().await?;
        std::fs::remove_dir(story.disk.path().join("devices"))?;
        std::fs::rename(&away, story.disk.path().join("devices"))?;
        story.write("d.yaml", &device("last", ""))?;
        story.until("last", "there", is_there).await?;
        ensure!(story.owner.device("stays").await?["etag"] == before["etag"], "it was touched");
        Ok(())
    })
}

#[test]
fn manifests_never_lift_a_hold() -> Result<()> {
    isolated(async || {
        let mut story = Story::start(&[("a.yaml", device("pump", "")), ("b.yaml", device("fan", ""))]).await?;
        story.owner.disable("pump").await?;
        story.until_said("HeldInHub").await?;
        story.hub.kill9().await?;
        story.hub.restart().await?;
        story.write("a.yaml", &device("pump", "enabled: true, tags: {seen: true}"))?;
        story.until("pump", "changed", |device| device.is_some_and(|device| device["tags"] == json!({ "seen": true }))).await?;
        ensure!(story.owner.device("pump").await?["status"] == "disabled", "it was let in");
        std::fs::remove_file(story.file("a.yaml"))?;
        story.until("pump", "unmanaged", |device| device.is_some_and(|device| device["managedBy"].is_null())).await?;
        ensure!(story.owner.device("pump").await?["status"] == "disabled", "it was let in");
        Ok(())
    })
}
