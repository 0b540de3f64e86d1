//! People sign in to the dashboard's API as a browser does: by the link that `dev` prints, and by a password; what a session is good for,
//! when it ends, and what the audit says afterwards.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use e2e::hub::{Hub, Options, binary};
use e2e::mqtt::Connection;
use e2e::namespace::{HUB, isolated};
use e2e::patience::within;
use e2e::{rest, tls};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::serve::{serve, until_ready, write_configuration};

const DEVICE: &str = "gate-1";

/// What a browser keeps of a hub, and says to it.
struct Browser {
    client: Client,
    base: String,
    origin: String,
    cookie: String,
    csrf: String,
}

/// An answer.
struct Answer {
    status: u16,
    headers: HeaderMap,
    json: Value,
}

impl Answer {
    fn expect(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "{} instead of {status}: {}", self.status, self.json);
        Ok(self)
    }
}

impl Browser {
    fn of(hub: &Hub) -> Result<Self> {
        let base = hub.ready.endpoints.api.clone();
        Ok(Self { client: rest::client(hub)?, origin: base.clone(), base, cookie: String::new(), csrf: String::new() })
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer> {
        let request = self.client.request(method, format!("{}{path}", self.base)).header("origin", &self.origin);
        let request = request.header("cookie", &self.cookie).header("mooring-csrf", &self.csrf);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Answer { status, headers, json: serde_json::from_slice(&answer.bytes().await?).unwrap_or_default() })
    }

    async fn get(&self, path: &str) -> Result<Answer> {
        self.ask(Method::GET, path, None).await
    }

    async fn sign_in(&mut self, credentials: Value) -> Result<Answer> {
        let answer = self.ask(Method::POST, "/api/v1/session", Some(credentials)).await?;
        if answer.status == 201 {
            let cookie = answer.headers["set-cookie"].to_str()?;
            self.cookie = cookie.split(';').next().context("an empty cookie")?.to_owned();
            self.csrf = answer.json["csrf"].as_str().context("no csrf")?.to_owned();
        }
        Ok(answer)
    }

    /// What the hub's audit says, as `action outcome who door`, the latest first.
    async fn audit(&self) -> Result<Vec<String>> {
        let page = self.get("/api/v1/audit?limit=1000").await?.expect(200)?.json;
        let text = |entry: &Value, field: &str| entry.pointer(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let entries = page["entries"].as_array().context("no entries")?;
        let fields = ["/action", "/outcome", "/who/name", "/door"];
        Ok(entries.iter().map(|entry| fields.map(|field| text(entry, field)).join(" ")).collect())
    }
}

/// The code of the link that the hub has printed.
fn code(hub: &Hub) -> Result<&str> {
    let link = hub.ready.dashboard.as_deref().context("the hub has printed no link")?;
    let (page, code) = link.split_once("#link=").context("a link without a code")?;
    ensure!(page.starts_with(&hub.ready.endpoints.api), "{page}");
    Ok(code)
}

#[test]
fn a_link_signs_in_once_and_a_session_is_its_browsers_alone() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let mut browser = Browser::of(&hub)?;
        let signed_in = browser.sign_in(json!({ "method": "link", "code": code(&hub)? })).await?.expect(201)?;
        let cookie = signed_in.headers["set-cookie"].to_str()?;
        for part in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
            ensure!(cookie.starts_with("__Host-mooring=") && cookie.split("; ").any(|found| found == part), "{part} in {cookie}");
        }
        let mut second = Browser::of(&hub)?;
        second.sign_in(json!({ "method": "link", "code": code(&hub)? })).await?.expect(403)?;
        second.get("/api/v1/hub").await?.expect(401)?;

        let device = browser.get(&format!("/api/v1/devices/{DEVICE}")).await?.expect(200)?.json;
        let key = hub.device(DEVICE)?.key;
        ensure!(!device.to_string().contains(&key), "{device}");
        let secrets = format!("/api/v1/devices/{DEVICE}/secrets");
        let shown = browser.ask(Method::POST, &secrets, None).await?.expect(200)?.json;
        ensure!(shown["primaryKey"] == key.as_str(), "{shown}");

        let foreign = Browser {
            origin: "https://evil.example".to_owned(),
            client: browser.client.clone(),
            base: browser.base.clone(),
            cookie: browser.cookie.clone(),
            csrf: browser.csrf.clone(),
        };
        foreign.get("/api/v1/hub").await?.expect(403)?;
        foreign.ask(Method::POST, &secrets, None).await?.expect(403)?;
        let blind = Browser { origin: browser.origin.clone(), csrf: String::new(), ..foreign };
        blind.ask(Method::POST, &secrets, None).await?.expect(403)?;
        browser.get(&format!("/devices/{DEVICE}")).await?.expect(401)?;

        let mut connection = Connection::admitted(&hub, DEVICE).await?;
        let actions = json!({ "action": "disable", "ids": [DEVICE], "reason": "stolen" });
        let acted = browser.ask(Method::POST, "/api/v1/devices/actions", Some(actions)).await?.expect(200)?.json;
        let result = &acted["results"][0];
        ensure!(result["done"] == true && result["connectionsClosed"] == 1 && result["closedInMs"].is_u64(), "{acted}");
        connection.bytes_until_closed().await?;
        let audit = browser.audit().await?;
        for entry in [
            "SignIn Done dev dashboard",
            "SignIn Refused  dashboard",
            "SecretsShown Done dev dashboard",
            "DeviceDisabled Done dev dashboard",
        ] {
            ensure!(audit.iter().any(|found| found == entry), "{entry} in {audit:?}");
        }
        ensure!(audit.last().is_some_and(|first| first == "DeviceCreated Done  file"), "{audit:?}");
        Ok(())
    })
}

#[test]
fn a_web_socket_ends_with_its_session() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[]).await?;
        let mut browser = Browser::of(&hub)?;
        browser.sign_in(json!({ "method": "link", "code": code(&hub)? })).await?.expect(201)?;
        let strange = websocket(&hub, &browser.cookie, "https://evil.example").await?;
        ensure!(strange.starts_with("HTTP/1.1 403"), "{strange}");
        let origin = browser.origin.clone();
        let cookie = browser.cookie.clone();
        let watching = websocket(&hub, &cookie, &origin);
        let ended = async {
            // Until the hub counts a watcher there is nothing to end.
            loop {
                let metrics = browser.client.get(format!("https://{HUB}:9464/metrics")).send().await?.text().await?;
                if metrics.lines().any(|line| line.starts_with("mooring_change_watchers") && line.ends_with(" 1")) {
                    break;
                }
                tokio::task::yield_now().await;
            }
            browser.ask(Method::DELETE, "/api/v1/session", None).await?.expect(204)
        };
        let (told, ended) = Box::pin(within("the WebSocket to end", async { tokio::join!(watching, ended) })).await?;
        ended?;
        let told = told?;
        ensure!(told.starts_with("HTTP/1.1 101") && told.contains("you have signed out"), "{told}");
        Ok(())
    })
}

/// Asks for the change stream over a WebSocket, and answers with all that comes, up to the end of the connection.
async fn websocket(hub: &Hub, cookie: &str, origin: &str) -> Result<String> {
    let config = tls::trusting(hub.ca_file())?;
    let tcp = TcpStream::connect((HUB, 8443)).await?;
    let mut stream = TlsConnector::from(std::sync::Arc::new(config)).connect(ServerName::try_from(HUB)?, tcp).await?;
    let request = format!(
        "GET /api/v1/changes?kinds=audit HTTP/1.1\r\nHost: {HUB}:8443\r\nOrigin: {origin}\r\nCookie: {cookie}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut told = Vec::new();
    let mut piece = [0; 4096];
    loop {
        // A peer that goes without a goodbye of TLS has gone, too.
        let count = stream.read(&mut piece).await.unwrap_or(0);
        told.extend_from_slice(&piece[..count]);
        let refused = told.starts_with(b"HTTP/1.1 4") && told.windows(4).any(|end| end == b"\r\n\r\n");
        if count == 0 || refused {
            return Ok(String::from_utf8_lossy(&told).into_owned());
        }
    }
}

#[test]
fn a_viewer_can_not_act_and_who_guesses_is_stopped() -> Result<()> {
    isolated(async || {
        let mut hub = Options::default().start().await?;
        hub.stop().await?;
        let folder = tempfile::tempdir()?;
        let configuration = write_configuration(&hub, folder.path(), "")?;
        let mut people = std::fs::read_to_string(&configuration)?;
        for (name, rights) in [("ada", r#"["Read", "Devices"]"#), ("bob", r#"["Read"]"#)] {
            let file = folder.path().join(name);
            std::fs::write(&file, hash(&format!("{name}'s")).await?)?;
            people.push_str(&format!("[people.{name}]\npassword_hash_file = \"{}\"\nrights = {rights}\n", file.display()));
        }
        std::fs::write(&configuration, people)?;
        let mut server = serve(&configuration)?.start()?;
        until_ready(&hub, &mut server).await?;

        let password = |name: &str, password: &str| json!({ "method": "password", "name": name, "password": password });
        let (mut ada, mut bob) = (Browser::of(&hub)?, Browser::of(&hub)?);
        ada.sign_in(password("ada", "ada's")).await?.expect(201)?;
        bob.sign_in(password("bob", "bob's")).await?.expect(201)?;
        let delete = json!({ "action": "delete", "ids": ["none"] });
        ada.ask(Method::POST, "/api/v1/devices/actions", Some(delete.clone())).await?.expect(200)?;
        let refused = bob.ask(Method::POST, "/api/v1/devices/actions", Some(delete)).await?.expect(403)?.json;
        ensure!(refused["Message"].as_str().is_some_and(|said| said.contains("bob needs the right Devices")), "{refused}");
        bob.get("/api/v1/events?follow=false").await?.expect(403)?;
        bob.get("/api/v1/audit").await?.expect(200)?;

        let mut guesser = Browser::of(&hub)?;
        let mut statuses = Vec::new();
        for _ in 0..12 {
            statuses.push(guesser.sign_in(password("ada", "guess")).await?.status);
        }
        ensure!(statuses[0] == 403 && statuses.last() == Some(&429), "{statuses:?}");
        let audit = bob.audit().await?;
        for entry in ["SignIn Done ada dashboard", "SignIn Refused ada dashboard", "DeviceChanged Refused bob dashboard"] {
            ensure!(audit.iter().any(|found| found == entry), "{entry} in {audit:?}");
        }

        std::fs::write(folder.path().join("bob"), hash("another").await?)?;
        server.hang_up()?;
        within("bob to be signed out", async {
            while bob.get("/api/v1/hub").await?.status == 200 {
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        })
        .await??;
        ada.get("/api/v1/hub").await?.expect(200)?;
        Ok(())
    })
}

/// What `mooring-hub password-hash` makes of a password.
pub async fn hash(password: &str) -> Result<String> {
    let binary = binary()?;
    let mut child =
        tokio::process::Command::new(Path::new(&binary)).arg("password-hash").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("no standard input")?.write_all(format!("{password}\n").as_bytes()).await?;
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "password-hash failed");
    Ok(String::from_utf8(output.stdout)?)
}
