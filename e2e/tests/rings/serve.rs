//! `mooring-hub serve`: from a file, as an operator runs it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use e2e::connection_string::ConnectionString;
use e2e::hub::{Hub, Options, binary};
use e2e::mqtt::{Connect, Connection, events_topic};
use e2e::namespace::{HUB, isolated};
use e2e::patience::within;
use e2e::program::{Actor, Program};
use e2e::rest::{self, Rest};
use reqwest::Method;

/// The key of the policy that the file brings.
const KEY: [u8; 32] = [7; 32];

/// Writes a file that `serve` can be started with, over the certificate that a hub in dev mode has made; answers its path.
fn write_configuration(hub: &Hub, folder: &Path, more: &str) -> Result<PathBuf> {
    let tls = hub.data().join("tls");
    std::fs::write(folder.join("key"), STANDARD.encode(KEY))?;
    let text = format!(
        "host_name = \"{HUB}\"\ndata = \"{}\"\n{more}\n[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n\
         [policies.fleet]\npermissions = [\"RegistryRead\", \"RegistryWrite\"]\nprimary_key_file = \"{}\"\nsecondary_key_file = \"{}\"\n",
        folder.join("data").display(),
        tls.join("server.pem").display(),
        tls.join("server.key").display(),
        folder.join("key").display(),
        folder.join("key").display(),
    );
    let path = folder.join("hub.toml");
    std::fs::write(&path, text)?;
    Ok(path)
}

fn serve(configuration: &Path) -> Result<Program> {
    Ok(Program::named(&binary()?.display().to_string()).args(["serve", "--config"]).arg(configuration))
}

/// Asks until the hub says that it is ready.
async fn until_ready(hub: &Hub, server: &mut Actor) -> Result<()> {
    let client = rest::client(hub)?;
    let asking = async {
        loop {
            match client.get(format!("https://{HUB}:9464/readyz")).send().await {
                Ok(answer) if answer.status() == 200 => return anyhow::Ok(()),
                _ => server.still_runs()?,
            }
            tokio::task::yield_now().await;
        }
    };
    within("the server to be ready", asking).await?
}

#[test]
fn serve_runs_from_a_file() -> Result<()> {
    isolated(async || {
        let mut hub = Options::default().start().await?;
        hub.stop().await?;
        let folder = tempfile::tempdir()?;
        let configuration = write_configuration(&hub, folder.path(), "")?;
        let mut server = serve(&configuration)?.start()?;
        until_ready(&hub, &mut server).await?;

        let key = STANDARD.encode(KEY);
        let fleet = ConnectionString::parse(&format!("HostName={HUB};SharedAccessKeyName=fleet;SharedAccessKey={key}"))?;
        let registry = Rest::new(&hub, fleet)?;
        let created = registry.call(Method::PUT, "/devices/d-1", &[], br#"{"deviceId":"d-1"}"#.to_vec()).await?.expect(200)?.json()?;
        let key = created["authentication"]["symmetricKey"]["primaryKey"].as_str().context("no key")?;
        let device = ConnectionString::parse(&format!("HostName={HUB};DeviceId=d-1;SharedAccessKey={key}"))?;
        let mut connection = Connection::admitted_as(&hub, &Connect::device(&device)).await?;
        connection.publish(&events_topic("d-1"), 1, b"x").await?;
        Ok(())
    })
}

#[test]
fn serve_refuses_what_it_does_not_know() -> Result<()> {
    isolated(async || {
        let mut hub = Options::default().start().await?;
        hub.stop().await?;
        let folder = tempfile::tempdir()?;
        let good = serve(&write_configuration(&hub, folder.path(), "")?)?.arg("--check").outcome().await?;
        ensure!(good.status.success(), "{} {}", good.status, good.stderr);
        ensure!(!folder.path().join("data").exists(), "--check made a data folder");

        let bad = serve(&write_configuration(&hub, folder.path(), "colour = \"red\"")?)?.arg("--check").outcome().await?;
        ensure!(!bad.status.success() && bad.stderr.contains("colour") && bad.stderr.contains('3'), "{} {}", bad.status, bad.stderr);
        Ok(())
    })
}

/// The folder belongs to one process at a time.
#[test]
fn a_data_folder_has_one_hub() -> Result<()> {
    isolated(async || {
        let hub = Options::default().start().await?;
        let second = Program::named(&binary()?.display().to_string())
            .args(["dev", "--listen", "127.0.0.2", "--data"])
            .arg(hub.data())
            .outcome()
            .await?;
        ensure!(!second.status.success() && second.stderr.contains("another hub"), "{} {}", second.status, second.stderr);
        Ok(())
    })
}
