//! Devices that post telemetry over HTTPS, one request after another on a connection that stays open.

use std::cell::RefCell;

use anyhow::{Context, Result};

use crate::clock;
use crate::connection;
use crate::http::{self, Client};
use crate::load::{self, ClosedLoop, Pace, Tally};
use crate::report::Metrics;
use crate::sas::Device;
use crate::server::{Kind, Stage};
use crate::tls::HOST;

pub fn run(stage: &Stage, connections: usize, payload_bytes: usize, pace: Pace) -> Result<Metrics> {
    let server = stage.start(Kind::Hub, connections)?;
    let client = stage.certificate.client(Some("http/1.1"))?;
    let address = server.addresses.https;
    let open = move |number| {
        let client = client.clone();
        async move {
            let device = Device::new(HOST, number);
            let connection = connection::open(address, &client, number).await?;
            let target = format!("/devices/{}/messages/events?api-version=2021-04-12", device.id);
            let request =
                http::request("POST", &target, &device.token, &[("Content-Type", "application/octet-stream")], &vec![0x5A; payload_bytes]);
            Ok(Poster { client: Client::new(connection), request })
        }
    };
    load::measure(pace, connections, server.pid(), open).with_context(|| server.log_tail())
}

struct Poster {
    client: Client,
    request: Vec<u8>,
}

impl ClosedLoop for Poster {
    async fn turn(&mut self, tally: &RefCell<Tally>) -> Result<()> {
        let sent = clock::now();
        self.client.exchange(&self.request).await?;
        tally.borrow_mut().answered(sent, clock::now());
        Ok(())
    }
}
