//! Who is called when an alert fires: takes what Prometheus sends to an Alertmanager, so that stories are told and need not ask.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::patience::within;

/// Longest body that is taken.
const BODY_MAX_BYTES: usize = 4 << 20;

/// Calls that wait to be looked at.
const WAITING: usize = 1024;

/// The Alertmanager of one story.
pub struct Pager {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    calls: mpsc::Receiver<Vec<Value>>,
    /// What was said last about each alert, which may be many times the same.
    last: BTreeMap<String, Value>,
}

impl Pager {
    /// Listens.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn listen() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (told, calls) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let told = told.clone();
                tokio::spawn(async move {
                    // Prometheus tells it again when a connection breaks.
                    let _ = take(connection, &told).await;
                });
            }
        });
        Ok(Self { port, calls, last: BTreeMap::new() })
    }

    /// Waits until an alert of this name fires, or has ended; answers what was said about it.
    ///
    /// # Errors
    /// When that does not come about, with what was said about it last.
    pub async fn until(&mut self, alert: &str, firing: bool) -> Result<Value> {
        let wanted = if firing { "to fire" } else { "to end" };
        let what = format!("the alert {alert} {wanted}");
        let waited = within(&what, async {
            while self.last.get(alert).is_none_or(|said| is_firing(said) != firing) {
                let call = self.calls.recv().await.context("nobody listens any more")?;
                for said in call {
                    self.last.insert(said["labels"]["alertname"].as_str().unwrap_or_default().to_owned(), said);
                }
            }
            anyhow::Ok(())
        });
        waited.await.and_then(|outcome| outcome).with_context(|| format!("it was last: {:?}", self.last.get(alert)))?;
        Ok(self.last.get(alert).cloned().unwrap_or_default())
    }
}

/// One that has ended has its end behind it, one that fires before it.
fn is_firing(said: &Value) -> bool {
    let end = said["endsAt"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    end.is_none_or(|end| end > Timestamp::now())
}

/// HTTP/1.1, as far as Prometheus needs it: a length and a body, any number on a connection.
async fn take(connection: TcpStream, told: &mpsc::Sender<Vec<Value>>) -> Result<()> {
    let mut connection = BufReader::new(connection);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse()?,
                _ if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        ensure!(length <= BODY_MAX_BYTES, "{length} bytes are too many");
        let mut body = vec![0; length];
        connection.read_exact(&mut body).await?;
        let Value::Array(alerts) = serde_json::from_slice(&body)? else { bail!("not a list") };
        told.send(alerts).await?;
        connection.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
    }
}
