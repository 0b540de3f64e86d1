//! What is looked at on the dashboard has an address, which can be sent to somebody, and which the way back leads to.

use anyhow::Result;
use e2e::commands::BackEnd;
use e2e::dashboard::{leaves, visitor};
use e2e::hub::Hub;
use e2e::mqtt::{Connection, events_topic};
use e2e::namespace::isolated;
use e2e::program::Program;

use crate::house::comes_to;

#[test]
fn a_view_is_in_its_address_in_another_tab_and_on_the_way_back() -> Result<()> {
    isolated(async || {
        let (connected, never, other) = ("tank-1", "tank-2", "pump-1");
        let hub = Hub::start(&[connected, never, other]).await?;
        let back_end = BackEnd::new(&hub)?;
        let program = Program::node("commands.js", &hub)?.env("IOTHUB_DEVICE_CONNECTION_STRING", hub.device(other)?.text);
        let mut device = program.env("TRANSPORT", "mqtt").start()?;
        device.until("connected").await?;
        let done = back_end.send(other, &[("iothub-messageid", "is-done")], b"{}").await?;
        comes_to(&back_end, &done, "Completed").await?;
        device.kill9().await?;
        back_end.send(never, &[("iothub-messageid", "still-waits")], b"{}").await?;
        let mut connections = Vec::new();
        for id in [connected, other] {
            let mut connection = Connection::admitted(&hub, id).await?;
            connection.publish(&events_topic(id), 1, br#"{"level":3}"#).await?;
            connections.push(connection);
        }
        let person = visitor("addresses.js", &hub)?.env("PREFIX", "tank").env("CONNECTED", connected).env("NEVER", never);
        let person = person.env("OTHER", other).env("DONE", "is-done").env("WAITS", "still-waits");
        leaves(person.start()?).await
    })
}
