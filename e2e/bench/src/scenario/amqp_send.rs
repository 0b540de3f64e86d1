//! Devices that send over AMQP, each with its window always full.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::amqp::{self, Link, Told, Transfer};
use crate::amqp_client::Client;
use crate::clock;
use crate::connection;
use crate::load::{self, ClosedLoop, Pace, Tally};
use crate::report::Metrics;
use crate::sas::Device;
use crate::scenario::publish::{Load, payload};
use crate::server::{Kind, Server, Stage};
use crate::tls::HOST;

pub fn run(stage: &Stage, kind: Kind, load: Load, pace: Pace) -> Result<Metrics> {
    let server = stage.start(kind, load.connections)?;
    send(stage, &server, load, pace)
}

/// The same to a server that runs already, and knows the devices.
pub fn send(stage: &Stage, server: &Server, load: Load, pace: Pace) -> Result<Metrics> {
    let kind = server.kind();
    let client = stage.certificate.client(None)?;
    let address = server.addresses.amqp;
    let open = move |number| {
        let client = client.clone();
        async move {
            let device = Device::new(HOST, number);
            let connection = connection::open(address, &client, number).await?;
            let events = device.events();
            let client = Client::open(connection, &kind.proof(&device), &[Link::To(&events)]).await?;
            Ok(Sender::new(client, &device, load))
        }
    };
    load::measure(pace, load.connections, server.pid(), open).with_context(|| server.log_tail())
}

struct Sender {
    client: Client,
    transfer: Transfer,
    window: usize,
    sent: u32,
    in_flight: VecDeque<(u32, Instant)>,
    out: Vec<u8>,
}

impl Sender {
    fn new(client: Client, device: &Device, load: Load) -> Self {
        let transfer = Transfer::new(0, &amqp::message(&payload(device, load.payload_bytes)));
        let out = Vec::with_capacity(transfer.encoded_bytes() * load.window);
        Self { client, transfer, window: load.window, sent: 0, in_flight: VecDeque::with_capacity(load.window), out }
    }
}

impl ClosedLoop for Sender {
    async fn turn(&mut self, tally: &RefCell<Tally>) -> Result<()> {
        if self.in_flight.len() < self.window && self.client.takes(self.sent) {
            let now = clock::now();
            while self.in_flight.len() < self.window && self.client.takes(self.sent) {
                self.in_flight.push_back((self.transfer.push(&mut self.out), now));
                self.sent = self.sent.wrapping_add(1);
            }
            self.client.write(&self.out).await?;
            self.out.clear();
        }
        let in_flight = &mut self.in_flight;
        self.client
            .read(|told| {
                let Told::Disposition { first, last, accepted } = told else { return Ok(()) };
                ensure!(accepted, "the server did not accept {first} to {last}");
                let now = clock::now();
                let mut tally = tally.borrow_mut();
                // Nobody has to answer in order, but everybody here does.
                while in_flight.front().is_some_and(|(id, _)| last.wrapping_sub(*id).cast_signed() >= 0) {
                    let (id, sent) = in_flight.pop_front().context("it was there")?;
                    ensure!(id.wrapping_sub(first).cast_signed() >= 0, "{id} was passed over");
                    tally.answered(sent, now);
                }
                Ok(())
            })
            .await
    }
}
