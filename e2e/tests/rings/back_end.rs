//! Back ends: reading from anywhere, going on where one was, and never in the devices' way.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use e2e::catalogue::payload;
use e2e::events::{Event, Events};
use e2e::hub::Hub;
use e2e::mqtt::{Connection, Packet, events_topic, publish};
use e2e::namespace::isolated;
use e2e::rest::Rest;
use reqwest::Method;

const DEVICES: [&str; 3] = ["one", "two", "three"];

/// Messages per device.
const EACH: u16 = 20;

/// More than any buffer between the hub and a reader holds.
const FLOOD_MESSAGES: u16 = 300;
const FLOOD_MESSAGE_BYTES: usize = 200 * 1024;

/// A hub whose devices have each sent their numbers.
async fn hub() -> Result<Hub> {
    let hub = Hub::start(&DEVICES).await?;
    for device in DEVICES {
        let mut connection = Connection::admitted(&hub, device).await?;
        for number in 1..=EACH {
            connection.publish(&events_topic(device), number, number.to_string().as_bytes()).await?;
        }
    }
    Ok(hub)
}

async fn read(hub: &Hub, query: &str) -> Result<Vec<Event>> {
    let mut reader = Events::open(hub, &format!("follow=false&{query}")).await?;
    let mut events = Vec::new();
    while let Some(event) = reader.next().await? {
        events.push(event);
    }
    Ok(events)
}

#[test]
fn events_are_read_from_anywhere() -> Result<()> {
    isolated(async || {
        let hub = hub().await?;
        let all = Events::all(&hub).await?;
        ensure!(all.len() == DEVICES.len() * usize::from(EACH));
        let partition = all.last().context("events")?.partition;
        let there: Vec<&Event> = all.iter().filter(|event| event.partition == partition).collect();
        let middle = there[there.len() / 2];
        let (number, offset) = (middle.sequence_number, &middle.offset);
        for from in [format!("sequence:{number}"), format!("offset:{offset}")] {
            let events = read(&hub, &format!("partition={partition}&from={from}")).await?;
            ensure!(events.iter().eq(there[there.len() / 2..].iter().copied()), "{from}: {events:?}");
        }
        let time = &middle.enqueued_time;
        let later = read(&hub, &format!("from=time:{time}")).await?;
        ensure!(later.iter().all(|event| event.enqueued_time >= *time) && later.contains(middle), "since {time}: {later:?}");
        let of_two = read(&hub, "from=earliest&device=two").await?;
        ensure!(of_two.len() == usize::from(EACH) && of_two.iter().all(|event| event.device_id == "two"), "{of_two:?}");
        let spread: BTreeSet<u16> = all.iter().map(|event| event.partition).collect();
        for partition in spread {
            let events = read(&hub, &format!("from=earliest&partition={partition}")).await?;
            ensure!(events.iter().eq(all.iter().filter(|event| event.partition == partition)), "partition {partition} differs");
        }
        Ok(())
    })
}

#[test]
fn reading_needs_service_connect() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&DEVICES).await?;
        for policy in ["device", "registryRead", "registryReadWrite"] {
            let back_end = Rest::api(&hub, hub.policy(policy)?)?;
            back_end.call(Method::GET, "/api/v1/events?follow=false&from=earliest", &[], Vec::new()).await?.expect(401)?;
        }
        let device = Rest::api(&hub, hub.device("one")?)?;
        device.call(Method::GET, "/api/v1/events?follow=false&from=earliest", &[], Vec::new()).await?.expect(401)?;
        Ok(())
    })
}

/// A back end that takes nothing for a while gets everything afterwards, and meanwhile no device waits for it.
#[test]
fn a_slow_reader_slows_nobody() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&["one"]).await?;
        let mut slow = Events::open(&hub, "from=earliest").await?;
        let mut device = Connection::admitted(&hub, "one").await?;
        let body = payload(FLOOD_MESSAGE_BYTES);
        for number in 1..=FLOOD_MESSAGES {
            device.send(&publish(&events_topic("one"), Some(number), &body, 0)).await?;
            ensure!(device.next().await? == Some(Packet::PubAck(number)), "message {number} was not taken");
        }
        let events = slow.take(usize::from(FLOOD_MESSAGES)).await?;
        ensure!(events.iter().map(|event| event.sequence_number).eq(0..u64::from(FLOOD_MESSAGES)));
        ensure!(events.iter().all(|event| event.bytes().is_ok_and(|bytes| bytes == body)), "a payload differs");
        Ok(())
    })
}
