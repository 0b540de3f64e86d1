//! A connection that speaks AMQP: opened once, then frames in and out.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::amqp::{self, Credit, Link, Proof, Told};
use crate::connection::Connection;
use crate::tls::HOST;

/// One read takes many frames.
const RECEIVE_BYTES: usize = 64 * 1024;
/// How long the end of a link may take.
const ENDED_WITHIN: Duration = Duration::from_secs(10);
/// Longer than any run, so that no server has a reason to send what nobody needs.
const IDLE_TIME_OUT_MS: u32 = 1_200_000;

/// A connection with one session.
pub struct Client {
    connection: Connection,
    received: Vec<u8>,
    /// Up to which delivery-count the server takes messages on link 0.
    credit_end: u32,
    /// Up to which transfer-id the session takes them.
    window_end: u32,
    /// How many links lead somewhere.
    attached: usize,
}

impl Client {
    /// Introduces itself, and attaches `links`, whose handles count from 0.
    pub async fn open(connection: Connection, proof: &Proof, links: &[Link<'_>]) -> Result<Self> {
        let mut client = Self { connection, received: Vec::new(), credit_end: 0, window_end: 0, attached: 0 };
        client.write(&[&amqp::SASL_HEADER[..], &amqp::sasl_init(proof)].concat()).await?;
        let mut outcome = None;
        while outcome.is_none() {
            client
                .read(|told| {
                    if let Told::Outcome(code) = told {
                        outcome = Some(code);
                    }
                    Ok(())
                })
                .await?;
        }
        ensure!(outcome == Some(0), "the server refused the connection with SASL code {outcome:?}");
        let mut words = [&amqp::HEADER[..], &amqp::open("generator", HOST, IDLE_TIME_OUT_MS), &amqp::begin()].concat();
        for (handle, link) in (0..).zip(links) {
            words.extend(amqp::attach(handle, link));
        }
        client.write(&words).await?;
        while client.attached < links.len() {
            client.read(|_| Ok(())).await?;
        }
        Ok(client)
    }

    /// Whether another message may be sent on link 0, after `sent`.
    pub fn takes(&self, sent: u32) -> bool {
        let is_before = |end: u32| end.wrapping_sub(sent).cast_signed() > 0;
        is_before(self.credit_end) && is_before(self.window_end)
    }

    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.connection.write_all(bytes).await?;
        self.connection.flush().await?;
        Ok(())
    }

    /// Waits for something, and hands it over frame by frame. What ends anything is an error.
    pub async fn read(&mut self, mut take: impl FnMut(Told<'_>) -> Result<()>) -> Result<()> {
        self.received.reserve(RECEIVE_BYTES);
        if self.connection.read_buf(&mut self.received).await? == 0 {
            bail!("the server closed a connection");
        }
        let mut taken = 0;
        while let Some((told, length)) = amqp::first_frame(&self.received[taken..]).context("the server says what is no AMQP")? {
            match told {
                Told::Attach { handle, leads } => {
                    ensure!(leads, "the server refused link {handle}");
                    self.attached += 1;
                }
                Told::Flow { next_incoming, window, link } => {
                    self.window_end = next_incoming.unwrap_or(0).wrapping_add(window);
                    if let Some(Credit { handle: 0, count, credit }) = link {
                        self.credit_end = count.wrapping_add(credit);
                    }
                }
                Told::Ended(why) => bail!("the server has ended something: {why}"),
                told => take(told)?,
            }
            taken += length;
        }
        self.received.drain(..taken);
        if self.received.is_empty() {
            // Ten thousand silent connections need no buffers.
            self.received = Vec::new();
        }
        Ok(())
    }

    /// Ends link 0, and waits for the server to do so: it is there.
    pub async fn check_alive(mut self) -> Result<()> {
        self.write(&amqp::detach(0)).await?;
        let ending = async {
            // A peer may have something else to say first.
            loop {
                match self.read(|_| Ok(())).await {
                    Err(error) if error.to_string().starts_with("the server has ended something") => return Ok(()),
                    other => other?,
                }
            }
        };
        timeout(ENDED_WITHIN, ending).await.context("a link was not ended")?
    }
}
