//! Devices that publish with QoS 1, each with its window always full.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::clock;
use crate::connection::{self, Connection};
use crate::load::{self, ClosedLoop, Pace, Tally};
use crate::mqtt::{Pubacks, Publish};
use crate::report::Metrics;
use crate::sas::Device;
use crate::server::{Kind, Server, Stage};
use crate::tls::HOST;

/// A window's PUBACKs fit in here many times over.
const RECEIVE_BYTES: usize = 4096;

#[derive(Clone, Copy)]
pub struct Load {
    pub connections: usize,
    /// Messages in flight on each connection.
    pub window: usize,
    pub payload_bytes: usize,
}

pub fn run(stage: &Stage, kind: Kind, load: Load, pace: Pace) -> Result<Metrics> {
    let server = stage.start(kind, load.connections)?;
    send(stage, &server, load, pace)
}

/// Measures a server that runs.
pub fn send(stage: &Stage, server: &Server, load: Load, pace: Pace) -> Result<Metrics> {
    let client = stage.certificate.client(None)?;
    let address = server.addresses.mqtt;
    let open = move |number| {
        let client = client.clone();
        async move {
            let device = Device::new(HOST, number);
            let connection = connection::open_mqtt(address, &client, number, &device).await?;
            Ok(Publisher::new(connection, &device, load))
        }
    };
    load::measure(pace, load.connections, server.pid(), open).with_context(|| server.log_tail())
}

struct Publisher {
    connection: Connection,
    publish: Publish,
    window: usize,
    in_flight: VecDeque<(u16, Instant)>,
    out: Vec<u8>,
    received: Box<[u8; RECEIVE_BYTES]>,
    pubacks: Pubacks,
}

impl Publisher {
    fn new(connection: Connection, device: &Device, load: Load) -> Self {
        let publish = Publish::new(&device.topic, &payload(device, load.payload_bytes));
        let out = Vec::with_capacity(publish.encoded_bytes() * load.window);
        let in_flight = VecDeque::with_capacity(load.window);
        Self {
            connection,
            publish,
            window: load.window,
            in_flight,
            out,
            received: Box::new([0; RECEIVE_BYTES]),
            pubacks: Pubacks::default(),
        }
    }
}

/// Bytes that differ between devices and are no text: nothing should be able to profit from their pattern.
pub fn payload(device: &Device, bytes: usize) -> Vec<u8> {
    let pattern: Vec<u8> = device.token.bytes().cycle().zip(0u8..=u8::MAX).map(|(one, other)| one ^ other).collect();
    pattern.into_iter().cycle().take(bytes).collect()
}

impl ClosedLoop for Publisher {
    async fn turn(&mut self, tally: &RefCell<Tally>) -> Result<()> {
        if self.in_flight.len() < self.window {
            let now = clock::now();
            while self.in_flight.len() < self.window {
                self.in_flight.push_back((self.publish.push(&mut self.out), now));
            }
            self.connection.write_all(&self.out).await?;
            self.connection.flush().await?;
            self.out.clear();
        }
        let length = self.connection.read(&mut self.received[..]).await?;
        if length == 0 {
            bail!("the server closed a connection");
        }
        let now = clock::now();
        let mut tally = tally.borrow_mut();
        let in_flight = &mut self.in_flight;
        self.pubacks.feed(&self.received[..length], |id| match in_flight.pop_front() {
            // MQTT-4.6.0-2: in the order in which the messages came.
            Some((expected, sent)) if expected == id => {
                tally.answered(sent, now);
                Ok(())
            }
            expected => bail!("PUBACK {id} came when {:?} was due", expected.map(|(id, _)| id)),
        })
    }
}
