//! `mooring-hub serve`: from a file, as an operator runs it.

use std::net::Ipv4Addr;
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
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

/// The key of the policy that the file brings.
const KEY: [u8; 32] = [7; 32];

/// Writes a file that `serve` can be started with, over the certificate that a hub in dev mode has made; answers its path.
pub fn write_configuration(hub: &Hub, folder: &Path, more: &str) -> Result<PathBuf> {
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

/// The policy that the file brings.
pub fn fleet() -> Result<ConnectionString> {
    let key = STANDARD.encode(KEY);
    ConnectionString::parse(&format!("HostName={HUB};SharedAccessKeyName=fleet;SharedAccessKey={key}"))
}

/// The program that serves from it.
pub fn serve(configuration: &Path) -> Result<Program> {
    Ok(Program::named(&binary()?.display().to_string()).args(["serve", "--config"]).arg(configuration))
}

/// Asks until the hub says that it is ready.
pub async fn until_ready(hub: &Hub, server: &mut Actor) -> Result<()> {
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

        let registry = Rest::new(&hub, fleet()?)?;
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

/// Behind a load balancer, a client's address is the one in the PROXY protocol header, which is believed from configured sources alone.
#[test]
fn proxy_protocol_tells_where_a_client_is() -> Result<()> {
    isolated(async || {
        let mut hub = Options::default().start().await?;
        hub.stop().await?;
        let folder = tempfile::tempdir()?;
        let more = format!("[proxy_protocol]\nsources = [\"{BALANCER}/32\"]");
        let mut server = serve(&write_configuration(&hub, folder.path(), &more)?)?.start()?;
        until_ready(&hub, &mut server).await?;

        let device = ConnectionString::parse(&format!("HostName={HUB};DeviceId=d-1;SharedAccessKey={}", STANDARD.encode(KEY)))?;
        let mut tcp = from_the_balancer().await?;
        tcp.write_all(&PROXY_HEADER).await?;
        let mut connection = Connection::over(&hub, tcp).await?;
        connection.send(&Connect::device(&device).encode()).await?;
        ensure!(connection.bytes_until_closed().await? == [0x20, 2, 0, 5], "a device that is not there was let in");
        let refusals = Rest::api(&hub, fleet()?)?.call(Method::GET, "/api/v1/devices/d-1/refusals", &[], Vec::new()).await?.expect(200)?;
        let peer = refusals.json()?[0]["peer"].clone();
        ensure!(peer == "203.0.113.9:4660", "refused {peer}");

        let without = Connection::over(&hub, from_the_balancer().await?).await;
        ensure!(without.is_err(), "a load balancer was served without a header");
        let mut stranger = TcpStream::connect((HUB, 8883)).await?;
        stranger.write_all(&PROXY_HEADER).await?;
        ensure!(Connection::over(&hub, stranger).await.is_err(), "anybody may say where they are");
        Ok(())
    })
}

/// The load balancer's address.
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// PROXY, TCP over IPv4, from 203.0.113.9 port 4660 to 127.0.0.1 port 8883 (proxy-protocol.txt 2.2).
const PROXY_HEADER: [u8; 28] = *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x7f\0\0\x01\x12\x34\x22\xb3";

async fn from_the_balancer() -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((BALANCER, 0).into())?;
    Ok(socket.connect((Ipv4Addr::LOCALHOST, 8883).into()).await?)
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
