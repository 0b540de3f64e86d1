//! Devices that have a session and a link each way over AMQP and say nothing: what each costs the server in memory.

use anyhow::{Context, Result};
use tokio::runtime;
use tokio::task::LocalSet;

use crate::amqp::Link;
use crate::amqp_client::Client;
use crate::connection;
use crate::report::Metrics;
use crate::sas::Device;
use crate::scenario::idle;
use crate::server::{Kind, Stage};
use crate::tls::HOST;

pub fn run(stage: &Stage, kind: Kind, connections: usize) -> Result<Metrics> {
    let server = stage.start(kind, connections)?;
    let client = stage.certificate.client(None)?;
    let address = server.addresses.amqp;
    let open = move |number| {
        let client = client.clone();
        async move {
            let device = Device::new(HOST, number);
            let connection = connection::open(address, &client, number).await?;
            let (events, commands) = (device.events(), device.commands());
            let links = [Link::To(&events), Link::From { address: &commands, selector: None }];
            Client::open(connection, &kind.proof(&device), &links).await
        }
    };
    let check = async |client: Client| client.check_alive().await;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, idle::observe(&server, open, check, connections)).with_context(|| server.log_tail())
}
